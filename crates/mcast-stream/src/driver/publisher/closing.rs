//! Ending a publisher: waiting for its subscribers, the end of the stream, and what dropping it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Publisher;
use super::shared::Shared;
use crate::publisher::{AckProgress, Audience, PublisherStatistics, Standing, Watermarks};
use crate::wire::{FlowControl, SubscriberId};

/// How long a publisher that closes waits for applications that have not read everything that they received.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the end of the stream is repeated, and at which interval. At 20 % loss, 1 of 390,625 subscribers misses
/// all repetitions.
pub(crate) const END_REPEATS: u32 = 8;
const END_INTERVAL: Duration = Duration::from_millis(2);
/// Without feedback, parity and what was overtaken may arrive a while after the data.
const ONE_WAY_END_INTERVAL: Duration = Duration::from_millis(10);

/// What dropping a publisher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// Sends everything accepted and waits for subscribers on the thread that drops it.
    Drain,
    /// Does the same on a blocking thread of the runtime, so that no executor is blocked.
    #[cfg(feature = "tokio")]
    DrainInBackground,
}

/// How a publisher ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closing {
    /// Subscribers that have everything.
    pub complete: usize,
    /// Present subscribers that have not confirmed everything, with the number of datagrams that they miss.
    pub behind: Vec<(SubscriberId, u64)>,
    /// The numbers of subscribers by standing, of all that ever joined. Delivery to all is certain only if
    /// [`Audience::complete`] counts all of them.
    pub audience: Audience,
    /// The standing of each subscriber. Of subscribers that have left, only the last few thousand are listed.
    pub standings: Vec<(SubscriberId, SocketAddr, Standing)>,
    /// Whether there was no feedback, so that it is unknown what subscribers have.
    pub is_one_way: bool,
    /// Datagrams that were accepted and never sent, because the rate, flow control or the system did not allow it in
    /// time.
    pub unsent: u64,
    /// Messages that are only in the [log](crate::LoggedPublisher): the next publisher sends them.
    pub unsent_messages: u64,
    /// How far messages were acknowledged as required; `None` if nothing is.
    pub acknowledged: Option<AckProgress>,
    /// What each subscriber has acknowledged, if acknowledgements are required. Of subscribers that have left, only the last
    /// few thousand are listed.
    pub watermarks: Vec<Watermarks>,
    /// The publisher's final counters.
    pub statistics: PublisherStatistics,
}

impl Closing {
    /// Returns whether everything was sent, and read by every subscriber that did not leave on its own. Without feedback,
    /// that is never known.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        let Audience { unread, behind, incomplete, unknown, .. } = self.audience;
        !self.is_one_way
            && self.unsent == 0
            && self.unsent_messages == 0
            && unread == 0
            && behind == 0
            && incomplete == 0
            && unknown == 0
    }

    pub(crate) fn of(machine: &crate::PublisherMachine) -> Self {
        Self {
            complete: machine.subscribers().1,
            behind: machine.behind().collect(),
            audience: machine.audience(),
            standings: machine.standings().collect(),
            is_one_way: machine.config().flow == FlowControl::OneWay,
            unsent: machine.unsent(),
            unsent_messages: 0,
            acknowledged: machine.ack_progress(),
            watermarks: machine.watermarks().collect(),
            statistics: machine.statistics(),
        }
    }
}

impl Publisher {
    /// Waits until this number of subscribers have joined; returns `false` when the time is over.
    #[must_use]
    pub fn wait_for(&self, subscribers: usize, timeout: Duration) -> bool {
        self.shared.wait_until(timeout, |machine| machine.subscribers().0 >= subscribers)
    }

    /// Waits until all subscribers have everything that was published; returns `false` when the time is over.
    #[must_use]
    pub fn wait_complete(&self, timeout: Duration) -> bool {
        self.flush();
        self.shared.wait_until(timeout, is_complete)
    }

    /// Waits until the applications of all subscribers have read everything; returns `false` when the time is over.
    /// Before the stream has [ended](Self::end), what applications have read is not known: then it waits until all
    /// subscribers have received everything.
    #[must_use]
    pub fn wait_read(&self, timeout: Duration) -> bool {
        self.shared.wait_until(timeout, |machine| is_complete(machine) && is_read(machine))
    }

    /// Ends the stream without waiting for subscribers: nothing more can be published. Published messages are still
    /// repaired until the publisher is dropped; [`wait_complete`](Self::wait_complete) and [`close`](Self::close) wait
    /// for that.
    pub fn end(&self) {
        let mut core = self.shared.core();
        core.machine.close(self.shared.clock.now());
        self.shared.send(&mut core);
    }

    /// Ends the stream, and waits until all subscribers have received everything, for at most `timeout`. Then it waits
    /// for applications that have not read everything, for at most one second and within `timeout`. Returns the
    /// standing of each subscriber: [`Standing::Unread`] if its application is still reading. Other owners of a shared
    /// publisher can publish nothing more.
    #[must_use]
    pub fn close(&self, timeout: Duration) -> Closing {
        let deadline = Instant::now().checked_add(timeout);
        self.end();
        if self.shared.wait_until(timeout, is_complete) {
            let left =
                deadline.map_or(READ_TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
            self.shared.wait_until(left.min(READ_TIMEOUT), is_read);
        }
        self.repeat_the_end();
        self.settle();
        Closing::of(&self.shared.core().machine)
    }

    /// Waits until all subscribers have everything, for at most `timeout`, without ending the stream.
    pub(in crate::driver) fn stop(&self, timeout: Duration) -> Closing {
        let _ = self.wait_complete(timeout);
        self.settle();
        Closing::of(&self.shared.core().machine)
    }

    /// Notes that the caller knows how the stream ended, so that dropping the publisher does not wait.
    pub(crate) fn settle(&self) {
        self.shared.is_settled.store(true, Ordering::Release);
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.on_drop = on_drop;
    }

    /// Repeats the end of the stream: best-effort subscribers, which request no repairs, learn of it only by this.
    fn repeat_the_end(&self) {
        for _ in 0..END_REPEATS {
            std::thread::sleep(end_interval(&self.shared.core().machine));
            self.end();
        }
    }
}

/// Returns whether all subscribers have everything that was published and, after the end of the stream, know that it
/// has ended.
pub(crate) fn is_complete(machine: &crate::PublisherMachine) -> bool {
    machine.is_sent() && !machine.awaits_claims() && machine.behind().next().is_none()
}

/// Returns the time between two repetitions of the end.
pub(crate) fn end_interval(machine: &crate::PublisherMachine) -> Duration {
    if machine.config().flow == FlowControl::OneWay { ONE_WAY_END_INTERVAL } else { END_INTERVAL }
}

/// Returns whether the applications of all subscribers have read everything.
pub(crate) fn is_read(machine: &crate::PublisherMachine) -> bool {
    machine.audience().unread == 0
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let (shared, threads) = (Arc::clone(&self.shared), std::mem::take(&mut self.threads));
        let end = move || {
            shared.drain();
            shared.end_threads();
            for thread in threads {
                let _ = thread.join();
            }
        };
        match self.on_drop {
            OnDrop::Drain => end(),
            #[cfg(feature = "tokio")]
            OnDrop::DrainInBackground => match tokio::runtime::Handle::try_current() {
                // A runtime that shuts down waits for it.
                Ok(runtime) => drop(runtime.spawn_blocking(end)),
                Err(_) => end(),
            },
        }
    }
}

impl Shared {
    /// Sends everything accepted and waits until all subscribers have it: for the time that the rate takes to send it,
    /// and in addition for at most the drop timeout.
    pub(super) fn drain(&self) {
        if self.is_settled.load(Ordering::Acquire) || self.drop_timeout.is_zero() {
            return;
        }
        let timeout = {
            let mut core = self.core();
            core.machine.flush(self.clock.now());
            self.send(&mut core);
            self.drop_timeout.saturating_add(time_to_send(&core.machine))
        };
        self.wait_until(timeout, is_complete);
    }

    /// Ends the threads.
    pub(super) fn end_threads(&self) {
        self.is_ending.store(true, Ordering::Release);
        drop(self.core());
        self.timer.notify_all();
    }
}

/// Returns how long the configured rate takes for everything that is not sent yet.
fn time_to_send(machine: &crate::PublisherMachine) -> Duration {
    let config = machine.config();
    let bytes = machine.unsent().saturating_mul(config.datagram as u64);
    let rate = machine.statistics().rate.unwrap_or(u64::MAX).max(1);
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}
