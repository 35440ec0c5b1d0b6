//! [`Publisher`] and [`Subscriber`] for tokio (feature `tokio`).
//!
//! Every call is cancel-safe: a dropped future has consumed no message, and published either a whole message or
//! nothing. A subscriber requests repairs within its calls, like the blocking one: keep calling
//! [`next`](Subscriber::next).

#[cfg(feature = "futures")]
mod futures;
#[cfg(feature = "history")]
mod snapshot;

use std::task::{self, Context};
use std::time::Duration;

#[cfg(feature = "futures")]
pub use futures::{Items, OwnedItem, OwnedMessage, OwnedOutgoingMessage};
#[cfg(feature = "history")]
pub use snapshot::fetch_snapshot;

use super::publisher::OnDrop;
use super::spinning::Spinning;
use super::subscriber::Poll;
use super::until::Until;
use crate::ClockTime;
use crate::publisher::{OutgoingMessage, Refusal};
use crate::seal::Keys;
#[cfg(feature = "signatures")]
use crate::sign::PinnedKeys;
use crate::subscriber::{Item, Position, Step};
use crate::wire::MessageNumber;
use crate::{Closing, StreamError};

/// How often the lock is tried again while another thread has it, which sends.
const RETRY_INTERVAL: Duration = Duration::from_micros(500);
/// How often it is tried again without a pause.
const YIELDS: u32 = 64;
/// A waiting publisher looks again after this time even without progress, like the blocking one.
const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A [`Publisher`](crate::Publisher) that publishes, waits and closes without blocking. Everything else is at the
/// [blocking](Self::blocking) publisher. It does not implement [`Publish`](crate::Publish), because its calls are
/// asynchronous; they have the same names.
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
    /// configured rate allows; messages that are published meanwhile share datagrams. Waits while there is no room, and never
    /// blocks the executor.
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
            match self.attempt(message).await {
                Err(refusal) if refusal.is_temporary() => wait_for(progress).await,
                result => return Ok(result?),
            }
        }
    }

    /// Waits until this number of subscribers have joined; returns `false` when the time is over.
    pub async fn wait_for(&self, subscribers: usize, timeout: Duration) -> bool {
        self.until(timeout, |machine| machine.subscribers().0 >= subscribers).await
    }

    /// Publishes many messages like [`publish`](Self::publish); returns the number of the last. A future that is dropped has
    /// published those before the one that it waits for.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). The messages before the one that fails are published.
    pub async fn publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        let mut last = None;
        for message in messages {
            last = Some(self.publish(message).await?);
        }
        Ok(last)
    }

    /// Publishes a message like [`publish`](Self::publish), without waiting for room. It waits for other calls on this
    /// publisher.
    ///
    /// # Errors
    /// [`StreamError::Refused`], with the reason, when there is no room.
    pub async fn try_publish(
        &self,
        message: impl Into<OutgoingMessage<'_>>,
    ) -> Result<MessageNumber, StreamError> {
        Ok(self.attempt(message.into()).await?)
    }

    async fn attempt(&self, message: OutgoingMessage<'_>) -> Result<MessageNumber, Refusal> {
        let attempt = self.run(|machine, now| {
            let is_first = machine.is_sent();
            let published = machine.publish(now, message);
            if is_first {
                machine.flush(now);
            }
            published
        });
        attempt.await
    }

    /// Waits for at most `timeout`; returns whether what is waited for is so, like the blocking
    /// [`wait`](crate::Publisher::wait).
    ///
    /// # Errors
    /// As the blocking [`wait`](crate::Publisher::wait).
    pub async fn wait(&self, until: Until, timeout: Duration) -> Result<bool, StreamError> {
        let is_flushed = self.flush_soon(timeout).await;
        let left = if is_flushed { timeout } else { Duration::ZERO };
        match until {
            Until::Stored | Until::MessageStored(_) => Err(StreamError::NoLog),
            Until::Sent => Ok(self.until(left, crate::PublisherMachine::is_sent).await),
            Until::Received => Ok(self.until(left, crate::PublisherMachine::is_complete).await),
            Until::Read => Ok(self.until(left, crate::PublisherMachine::is_read).await),
            #[cfg(feature = "acknowledgements")]
            Until::Acknowledged => {
                let settled = |machine: &crate::PublisherMachine| {
                    machine.ack_progress().is_none_or(|progress| progress.is_settled())
                };
                self.until(left, settled).await;
                let progress = self.run(|machine, _| machine.ack_progress()).await;
                progress.map(|progress| progress.is_complete()).ok_or(StreamError::AcksNotRequired)
            }
            #[cfg(feature = "acknowledgements")]
            Until::MessageAcknowledged(message) => {
                use crate::publisher::AckState;

                self.until(left, |machine| machine.ack_state(message) != Some(AckState::Pending)).await;
                let state = self.run(|machine, _| machine.ack_state(message)).await;
                state.map(|state| state == AckState::Acknowledged).ok_or(StreamError::AcksNotRequired)
            }
            #[cfg(not(feature = "acknowledgements"))]
            Until::Acknowledged | Until::MessageAcknowledged(_) => Err(StreamError::AcksNotRequired),
        }
    }

    /// Ends the stream, waits up to `timeout` until all subscribers have everything, and returns the standing of each,
    /// like the blocking [`close`](crate::Publisher::close).
    pub async fn close(&self, timeout: Duration) -> Closing {
        self.run(|machine, now| machine.finish(now, timeout)).await;
        loop {
            let progress = self.0.next_progress();
            let left = self.run(|machine, now| {
                (!machine.is_over(now)).then(|| machine.poll_timeout().unwrap_or(ClockTime::NEVER).since(now))
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
    spinning: Spinning,
}

impl Subscriber {
    /// Wraps a subscriber. Call it within a runtime with I/O and time enabled.
    ///
    /// # Errors
    /// If the runtime cannot wait for its sockets.
    pub fn new(subscriber: crate::Subscriber) -> Result<Self, StreamError> {
        let readiness = readiness::Readiness::new(&subscriber)?;
        Ok(Self { subscriber, readiness, spinning: Spinning::default() })
    }

    /// Waits for the next message or event and returns it; `None` when the stream has ended, or a loss has stopped it.
    ///
    /// # Errors
    /// [`StreamError::Woken`] when a waker ended the wait; otherwise if a socket fails.
    pub async fn next(&mut self) -> Result<Option<Item<'_>>, StreamError> {
        let step = std::future::poll_fn(|context| self.poll_step(context)).await?;
        Ok(step.and_then(|step| self.subscriber.item(&step)))
    }

    /// Polls for the next step; `None` when the stream has ended.
    fn poll_step(&mut self, context: &mut Context<'_>) -> task::Poll<Result<Option<Step>, StreamError>> {
        let result = loop {
            match self.subscriber.poll()? {
                Poll::Step(step) => break Ok(Some(step)),
                Poll::Ended => break Ok(None),
                Poll::Woken => break Err(StreamError::Woken),
                Poll::Pending(_) if self.spinning.lasts(self.subscriber.spin) => {
                    // Other tasks run meanwhile.
                    context.waker().wake_by_ref();
                    return task::Poll::Pending;
                }
                Poll::Pending(due) => task::ready!(self.readiness.poll_wait(context, due))?,
            }
        };
        self.spinning = Spinning::default();
        task::Poll::Ready(result)
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

    /// Acknowledges nothing before this position any more, like the blocking
    /// [`withdraw_before`](crate::Subscriber::withdraw_before).
    pub fn withdraw_before(&mut self, position: Position) {
        self.subscriber.withdraw_before(position);
    }

    /// Replaces the secrets of sealed streams.
    pub fn set_keys(&mut self, keys: Keys) {
        self.subscriber.set_keys(keys);
    }

    /// Replaces the public keys of the publisher, if the subscriber was built with any.
    #[cfg(feature = "signatures")]
    pub fn set_signed_by(&mut self, keys: PinnedKeys) {
        self.subscriber.set_signed_by(keys);
    }

    /// Keeps the subscription alive for `timeout` while the program is busy with a message, like the blocking
    /// [`keep_alive`](crate::Subscriber::keep_alive). A future that is dropped loses nothing.
    ///
    /// # Errors
    /// If a socket fails.
    pub async fn keep_alive(&mut self, timeout: Duration) -> Result<(), StreamError> {
        self.subscriber.begin_busy();
        let busy = Busy(self);
        let step = std::future::poll_fn(|context| busy.0.poll_step(context));
        match tokio::time::timeout(timeout, step).await {
            Ok(Err(error)) if !matches!(error, StreamError::Woken) => Err(error),
            _ => Ok(()),
        }
    }

    /// Stops receiving, like the blocking [`abandon`](crate::Subscriber::abandon).
    pub fn abandon(&mut self) {
        self.subscriber.abandon();
    }

    /// Reports to the publisher, when it is dropped, that this subscriber ends because of an error, like the blocking
    /// [`fail`](crate::Subscriber::fail).
    pub const fn fail(&mut self) {
        self.subscriber.fail();
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

/// A subscriber whose program is busy, also if the wait is cancelled.
struct Busy<'a>(&'a mut Subscriber);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.subscriber.end_busy();
    }
}

mod readiness {
    //! Readiness of the two sockets, by duplicates of their descriptors, and a timer. Where tokio cannot wait for foreign
    //! sockets, a timer of a millisecond replaces it.

    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::time::{Instant, Sleep, sleep};

    use crate::StreamError;

    #[derive(Debug)]
    pub(super) struct Readiness {
        sockets: Sockets,
        timer: Pin<Box<Sleep>>,
    }

    impl Readiness {
        pub(super) fn new(subscriber: &crate::Subscriber) -> Result<Self, StreamError> {
            Ok(Self { sockets: Sockets::new(subscriber)?, timer: Box::pin(sleep(Duration::ZERO)) })
        }

        /// Waits until one of them may be readable, or `due` has passed since the call. Each call starts the time again.
        ///
        /// The caller has just found both empty, so earlier readiness is cleared.
        pub(super) fn poll_wait(
            &mut self,
            context: &mut Context<'_>,
            due: Duration,
        ) -> Poll<Result<(), StreamError>> {
            if let Poll::Ready(ready) = self.sockets.poll_readable(context) {
                return Poll::Ready(ready);
            }
            let due = due.min(Sockets::LONGEST_WAIT);
            self.timer.as_mut().reset(Instant::now() + due);
            self.timer.as_mut().poll(context).map(Ok)
        }
    }

    #[cfg(unix)]
    use on_unix::Sockets;

    #[cfg(unix)]
    mod on_unix {
        use std::os::fd::{AsFd, OwnedFd};
        use std::task::{Context, Poll};
        use std::time::Duration;

        use mcast_sys::registration::register;
        use tokio::io::Interest;
        use tokio::io::unix::AsyncFd;

        use crate::{StreamError, StreamStep};

        #[derive(Debug)]
        pub(super) struct Sockets([AsyncFd<OwnedFd>; 2]);

        impl Sockets {
            /// Long, but no overflow when added to the present.
            pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

            pub(super) fn new(subscriber: &crate::Subscriber) -> Result<Self, StreamError> {
                let watch =
                    |descriptor| register(descriptor, Interest::READABLE).map_err(StreamStep::Wait.failed());
                Ok(Self([watch(subscriber.receiver().as_fd())?, watch(subscriber.control().as_fd())?]))
            }

            pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
                // Both are polled, so that both wake the task.
                let mut result = Poll::Pending;
                for socket in &self.0 {
                    if let Poll::Ready(ready) = socket.poll_read_ready(context) {
                        result = Poll::Ready(
                            ready.map(|mut ready| ready.clear_ready()).map_err(StreamStep::Wait.failed()),
                        );
                    }
                }
                result
            }
        }
    }

    #[cfg(not(unix))]
    use elsewhere::Sockets;

    #[cfg(not(unix))]
    mod elsewhere {
        use std::task::{Context, Poll};
        use std::time::Duration;

        use crate::StreamError;

        #[derive(Debug)]
        pub(super) struct Sockets;

        impl Sockets {
            pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(1);

            pub(super) fn new(_: &crate::Subscriber) -> Result<Self, StreamError> {
                Ok(Self)
            }

            pub(super) fn poll_readable(&self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
                Poll::Pending
            }
        }
    }
}
