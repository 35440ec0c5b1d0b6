//! Waiting for subscribers, and what dropping a publisher does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Publisher;
use super::shared::{LISTEN_INTERVAL, Shared};
use crate::driver::until::Until;
#[cfg(feature = "acknowledgements")]
use crate::publisher::{AckProgress, Watermarks};
use crate::publisher::{Audience, KnownSubscribers, PublisherStatistics, SubscriberProgress};
#[cfg(feature = "acknowledgements")]
use crate::wire::SubscriberName;
use crate::wire::{FlowControl, SubscriberId};
use crate::{ClockTime, StreamError};

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
    pub subscriber_progress: Vec<(SubscriberId, SocketAddr, SubscriberProgress)>,
    /// Whether there was no feedback, so that it is unknown what subscribers have.
    pub is_one_way: bool,
    /// Datagrams that were accepted and never sent, because the rate, flow control or the system did not allow it in
    /// time.
    pub unsent: u64,
    /// Messages that are only in the [log](crate::LoggedPublisher): the next publisher sends them.
    pub unsent_messages: u64,
    /// How far messages were acknowledged as required; `None` if nothing is.
    #[cfg(feature = "acknowledgements")]
    pub acknowledged: Option<AckProgress>,
    /// What each subscriber has acknowledged, if acknowledgements are required. Of subscribers that have left, only the last
    /// few thousand are listed.
    #[cfg(feature = "acknowledgements")]
    pub watermarks: Vec<Watermarks>,
    /// The publisher's final counters.
    pub statistics: PublisherStatistics,
}

impl Closing {
    /// Returns whether everything was sent, and read by every subscriber that ever joined: one that left before the end, or
    /// because of an error, does not have everything. Without feedback, that is never known.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_delivered() && self.audience.left == 0 && self.audience.failed == 0
    }

    /// Returns whether everything was sent, and nobody lacks anything that has not left.
    pub(crate) const fn is_delivered(&self) -> bool {
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
            subscriber_progress: machine.subscriber_progress().collect(),
            is_one_way: machine.config().flow == FlowControl::OneWay,
            unsent: machine.unsent(),
            unsent_messages: 0,
            #[cfg(feature = "acknowledgements")]
            acknowledged: machine.ack_progress(),
            #[cfg(feature = "acknowledgements")]
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

    /// Waits for at most `timeout`; returns whether what is waited for is so. `false`: the time is over, or messages were given
    /// up, which [`ack_state`](Self::ack_state) and [`ack_progress`](Self::ack_progress) show. A message that was given up is
    /// not waited for.
    ///
    /// # Errors
    /// [`StreamError::AcksNotRequired`] for acknowledgements if the publisher requires none, and [`StreamError::NoLog`] for what
    /// [a log](crate::LoggedPublisher) stores.
    pub fn wait(&self, until: Until, timeout: Duration) -> Result<bool, StreamError> {
        self.flush();
        match until {
            Until::Stored | Until::MessageStored(_) => Err(StreamError::NoLog),
            Until::Sent => Ok(self.shared.wait_until(timeout, crate::PublisherMachine::is_sent)),
            Until::Received => Ok(self.wait_received(timeout)),
            Until::Read => Ok(self.shared.wait_until(timeout, crate::PublisherMachine::is_read)),
            #[cfg(feature = "acknowledgements")]
            Until::Acknowledged => self.wait_all_acked(timeout),
            #[cfg(feature = "acknowledgements")]
            Until::MessageAcknowledged(message) => self.wait_acked(message, timeout),
            #[cfg(not(feature = "acknowledgements"))]
            Until::Acknowledged | Until::MessageAcknowledged(_) => Err(StreamError::AcksNotRequired),
        }
    }

    fn wait_received(&self, timeout: Duration) -> bool {
        self.shared.wait_until(timeout, crate::PublisherMachine::is_complete)
    }

    /// Ends the stream without waiting for subscribers: nothing more can be published. Published messages are still
    /// repaired until the publisher is dropped; [`wait`](Self::wait) and [`close`](Self::close) wait for that.
    pub fn end(&self) {
        let mut core = self.shared.core();
        core.machine.close(self.shared.clock.now());
        self.shared.send(&mut core);
    }

    /// Ends the stream, and waits until all subscribers have received everything, and have read what they read from a
    /// history, for at most `timeout`. Then it waits for applications that have not read everything, for at most one second
    /// and within `timeout`. Time in which this process does not run does not count. Returns the standing of each subscriber:
    /// [`SubscriberProgress::Unread`] if its application is still reading. Other owners of a shared publisher can publish nothing
    /// more.
    #[must_use]
    pub fn close(&self, timeout: Duration) -> Closing {
        self.shared.finish(timeout);
        self.skip_drain();
        Closing::of(&self.shared.core().machine)
    }

    /// Sets for how long the caller waits for subscribers before it [closes](Self::close) the publisher: from now on, or from
    /// when the last datagram is sent, if that is later.
    pub fn set_time_at_end(&self, time: Duration) {
        self.shared.core().machine.wait_at_end(self.shared.clock.now(), time);
    }

    /// Returns how much of that time is left. Time in which this process does not run does not count.
    #[must_use]
    pub fn left_at_end(&self) -> Duration {
        self.shared.core().machine.left_at_end(self.shared.clock.now())
    }

    /// Waits until all subscribers have everything, for at most `timeout`, without ending the stream.
    pub(in crate::driver) fn stop(&self, timeout: Duration) -> Closing {
        self.flush();
        self.wait_received(timeout);
        self.skip_drain();
        Closing::of(&self.shared.core().machine)
    }

    /// Notes that the caller knows how the stream ended, so that dropping the publisher does not wait.
    pub(crate) fn skip_drain(&self) {
        self.shared.is_drained.store(true, Ordering::Release);
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.on_drop = on_drop;
    }
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
    /// Ends the stream, and waits until the machine has finished.
    fn finish(&self, timeout: Duration) {
        let mut core = self.core();
        core.machine.finish(self.clock.now(), timeout);
        while !core.machine.is_over(self.clock.now()) {
            self.send(&mut core);
            let sleep = self
                .clock
                .until(core.machine.poll_timeout().unwrap_or(ClockTime::NEVER))
                .min(LISTEN_INTERVAL);
            core = self.progress.wait(core, sleep);
        }
    }

    /// Sends everything accepted and waits until all subscribers have it: for the time that the rate takes to send it,
    /// and in addition for at most the drop timeout.
    pub(super) fn drain(&self) {
        if self.is_drained.load(Ordering::Acquire) || self.drop_timeout.is_zero() {
            return;
        }
        let timeout = {
            let mut core = self.core();
            core.machine.flush(self.clock.now());
            self.send(&mut core);
            self.drop_timeout.saturating_add(time_to_send(&core.machine))
        };
        self.wait_until(timeout, crate::PublisherMachine::is_complete);
    }

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

impl KnownSubscribers for Publisher {
    fn address_of(&self, subscriber: SubscriberId) -> Option<SocketAddr> {
        self.address_of(subscriber)
    }

    #[cfg(feature = "acknowledgements")]
    fn name_of(&self, subscriber: SubscriberId) -> Option<SubscriberName> {
        self.name_of(subscriber)
    }
}
