//! [`Publisher`] and [`Subscriber`] for tokio (feature `tokio`).
//!
//! Every call is cancel-safe: a dropped future has consumed no message, and published either a whole message or
//! nothing. A subscriber requests repairs within its calls, like the blocking one: keep calling
//! [`next`](Subscriber::next).

use std::sync::Arc;
use std::time::Duration;

use super::publisher::OnDrop;
use super::subscriber::Poll;
use crate::ClockTime;
use crate::publisher::{AckState, OutgoingMessage};
use crate::seal::Keys;
use crate::subscriber::{Item, Position};
use crate::wire::{Incarnation, MessageNumber};
use crate::{AnnouncedStream, Closing, Snapshot, StreamError};

/// How often the lock is tried again while another thread has it, which sends.
const RETRY_INTERVAL: Duration = Duration::from_micros(500);
/// How often it is tried again without a pause.
const YIELDS: u32 = 64;
/// A waiting publisher looks again after this time even without progress, like the blocking one.
const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A [`Publisher`](crate::Publisher) that publishes, waits and closes without blocking. Everything else is at the
/// [blocking](Self::blocking) publisher.
///
/// Dropping it sends what was accepted, like dropping the blocking publisher, but on a blocking thread of the
/// runtime: a runtime that is dropped waits for that, one that is shut down in the background does not.
#[derive(Debug)]
pub struct Publisher(crate::Publisher);

impl Publisher {
    /// Wraps a publisher.
    #[must_use]
    pub const fn new(mut publisher: crate::Publisher) -> Self {
        publisher.set_on_drop(OnDrop::DrainInBackground);
        Self(publisher)
    }

    /// Publishes a message and returns its number. The publisher's own thread sends it at once, or as soon as the
    /// configured rate allows. Waits while there is no room, and never blocks the executor.
    ///
    /// # Errors
    /// [`StreamError::Refused`] if the message can never be accepted.
    pub async fn publish(
        &self,
        message: impl Into<OutgoingMessage<'_>>,
    ) -> Result<MessageNumber, StreamError> {
        let message = message.into();
        loop {
            // Created first, so that no progress after the attempt is missed.
            let progress = self.0.next_progress();
            let attempt = self.run(|machine, now| {
                let published = machine.publish(now, message);
                machine.flush(now);
                published
            });
            match attempt.await {
                Err(refusal) if refusal.is_temporary() => wait_for(progress).await,
                result => return Ok(result?),
            }
        }
    }

    /// Waits until this number of subscribers have joined; returns `false` when the time is over.
    pub async fn wait_for(&self, subscribers: usize, timeout: Duration) -> bool {
        self.until(timeout, |machine| machine.subscribers().0 >= subscribers).await
    }

    /// Waits until all subscribers have everything that was published; returns `false` when the time is over.
    pub async fn wait_complete(&self, timeout: Duration) -> bool {
        self.flush_soon(timeout).await && self.until(timeout, crate::PublisherMachine::is_complete).await
    }

    /// Waits until a message is acknowledged as required, or given up, like the blocking
    /// [`wait_acked`](crate::Publisher::wait_acked).
    ///
    /// # Errors
    /// [`StreamError::AcksNotRequired`] if the publisher requires no acknowledgements.
    pub async fn wait_acked(
        &self,
        message: MessageNumber,
        timeout: Duration,
    ) -> Result<AckState, StreamError> {
        if self.flush_soon(timeout).await {
            self.until(timeout, |machine| machine.ack_state(message) != Some(AckState::Pending)).await;
        }
        self.run(|machine, _| machine.ack_state(message)).await.ok_or(StreamError::AcksNotRequired)
    }

    /// Ends the stream, waits up to `timeout` until all subscribers have everything, and returns the standing of each,
    /// like the blocking [`close`](crate::Publisher::close).
    pub async fn close(&self, timeout: Duration) -> Closing {
        self.run(|machine, now| machine.finish(now, timeout.into())).await;
        loop {
            let progress = self.0.next_progress();
            let left = self.run(|machine, now| {
                (!machine.is_over(now)).then(|| Duration::from(machine.poll_timeout().since(now)))
            });
            let Some(left) = left.await else { break };
            let _ = tokio::time::timeout(left.clamp(RETRY_INTERVAL, RECHECK_INTERVAL), progress).await;
        }
        self.0.skip_drain();
        self.run(|machine, _| Closing::of(machine)).await
    }

    /// Sends what is queued, unless the lock is not free in time.
    async fn flush_soon(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.run(crate::PublisherMachine::flush)).await.is_ok()
    }

    /// Waits until `holds` returns `true`, for at most `timeout`; returns whether it did. This sends nothing, so that the
    /// batches of other tasks stay open.
    pub(crate) async fn until(
        &self,
        timeout: Duration,
        holds: impl Fn(&crate::PublisherMachine) -> bool,
    ) -> bool {
        let waiting = async {
            loop {
                let progress = self.0.next_progress();
                if self.run(|machine, _| holds(machine)).await {
                    return;
                }
                wait_for(progress).await;
            }
        };
        tokio::time::timeout(timeout, waiting).await.is_ok()
    }

    /// Runs `work` as soon as the lock is free.
    async fn run<T>(&self, mut work: impl FnMut(&mut crate::PublisherMachine, ClockTime) -> T) -> T {
        let mut tried = 0;
        loop {
            match self.0.post(&mut work) {
                Some(done) => return done,
                // The lock is usually held only for a moment.
                None if tried < YIELDS => tokio::task::yield_now().await,
                None => tokio::time::sleep(RETRY_INTERVAL).await,
            }
            tried += 1;
        }
    }

    /// Returns the blocking publisher, for what does not wait: events, statistics, keys. Its calls that publish or wait
    /// block the executor; others may for as long as a call on another thread sends into the full queue of the system.
    #[must_use]
    pub const fn blocking(&self) -> &crate::Publisher {
        &self.0
    }

    /// Returns the blocking publisher.
    #[must_use]
    pub fn into_inner(mut self) -> crate::Publisher {
        self.0.set_on_drop(OnDrop::Drain);
        self.0
    }
}

/// Waits for progress, but not for long.
async fn wait_for(progress: impl Future<Output = ()>) {
    let _ = tokio::time::timeout(RECHECK_INTERVAL, progress).await;
}

/// A [`Subscriber`](crate::Subscriber) whose waits don't block.
#[derive(Debug)]
pub struct Subscriber {
    subscriber: crate::Subscriber,
    readiness: readiness::Readiness,
}

impl Subscriber {
    /// Wraps a subscriber. Call it within a runtime with I/O and time enabled.
    ///
    /// # Errors
    /// If the runtime cannot wait for its sockets.
    pub fn new(subscriber: crate::Subscriber) -> Result<Self, StreamError> {
        let readiness = readiness::Readiness::new(&subscriber)?;
        Ok(Self { subscriber, readiness })
    }

    /// Waits for the next message or event and returns it; `None` when the stream has ended, or a loss has stopped it.
    ///
    /// # Errors
    /// [`StreamError::Woken`] when a waker ended the wait; otherwise if a socket fails.
    pub async fn next(&mut self) -> Result<Option<Item<'_>>, StreamError> {
        let step = loop {
            match self.subscriber.poll()? {
                Poll::Step(step) => break step,
                Poll::Ended => return Ok(None),
                Poll::Woken => return Err(StreamError::Woken),
                Poll::Pending(due) => self.readiness.wait(due).await?,
            }
        };
        Ok(self.subscriber.item(&step))
    }

    /// Continues after a snapshot that covers all messages before this number.
    pub fn resume(&mut self, message: MessageNumber) {
        self.subscriber.resume(message);
    }

    /// Notes that the application has processed the message at this position, like the blocking
    /// [`ack`](crate::Subscriber::ack).
    pub fn ack(&mut self, position: Position) {
        self.subscriber.ack(position);
    }

    /// Replaces the secrets of sealed streams.
    pub fn set_keys(&mut self, keys: Keys) {
        self.subscriber.set_keys(keys);
    }

    /// Returns the blocking subscriber, for what does not wait: statistics, the state, the stream.
    #[must_use]
    pub const fn blocking(&self) -> &crate::Subscriber {
        &self.subscriber
    }

    /// Returns the blocking subscriber.
    #[must_use]
    pub fn into_inner(self) -> crate::Subscriber {
        self.subscriber
    }
}

/// Runs [`AnnouncedStream::fetch_snapshot_while`] on a blocking thread. Dropping the future cancels it.
///
/// # Errors
/// The error of the last attempt.
pub async fn fetch_snapshot(
    found: &AnnouncedStream,
    incarnation: Incarnation,
    message: MessageNumber,
    keys: &Keys,
    max_size: u64,
    time: Duration,
) -> Result<Snapshot, StreamError> {
    let (found, keys) = (found.clone(), keys.clone());
    let alive = Arc::new(());
    let future = Arc::downgrade(&alive);
    let mut keep_going = move || future.strong_count() > 0;
    let fetch =
        move || found.fetch_snapshot_while(incarnation, message, &keys, max_size, time, &mut keep_going);
    let fetched = tokio::task::spawn_blocking(fetch).await;
    drop(alive);
    fetched.unwrap_or_else(|failed| Err(StreamError::Thread(failed.into())))
}

#[cfg(unix)]
mod readiness {
    //! Readiness of the two sockets, by duplicates of their descriptors.

    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    use tokio::io::unix::AsyncFd;

    use mcast_sys::registration::register;
    use tokio::io::Interest;

    use crate::StreamError;

    #[derive(Debug)]
    pub(super) struct Readiness {
        receiver: AsyncFd<OwnedFd>,
        control: AsyncFd<OwnedFd>,
    }

    impl Readiness {
        pub(super) fn new(subscriber: &crate::Subscriber) -> Result<Self, StreamError> {
            let watch = |descriptor| register(descriptor, Interest::READABLE).map_err(StreamError::Control);
            Ok(Self {
                receiver: watch(subscriber.receiver().as_fd())?,
                control: watch(subscriber.control().as_fd())?,
            })
        }

        /// Waits until one of them may be readable, or the time is over.
        ///
        /// The caller has just found both empty, so earlier readiness is cleared.
        pub(super) async fn wait(&self, due: Duration) -> Result<(), StreamError> {
            tokio::select! {
                ready = self.receiver.readable() => ready.map_err(StreamError::Control)?.clear_ready(),
                ready = self.control.readable() => ready.map_err(StreamError::Control)?.clear_ready(),
                () = tokio::time::sleep(due) => {}
            }
            Ok(())
        }
    }
}

#[cfg(not(unix))]
mod readiness {
    //! Polls every millisecond, where tokio cannot wait for foreign sockets.

    use std::time::Duration;

    use crate::StreamError;

    #[derive(Debug)]
    pub(super) struct Readiness;

    impl Readiness {
        pub(super) fn new(_: &crate::Subscriber) -> Result<Self, StreamError> {
            Ok(Self)
        }

        pub(super) async fn wait(&self, due: Duration) -> Result<(), StreamError> {
            tokio::time::sleep(due.min(Duration::from_millis(1))).await;
            Ok(())
        }
    }
}
