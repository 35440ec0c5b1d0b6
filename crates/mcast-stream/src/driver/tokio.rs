//! The same two types for tokio (feature `tokio`).
//!
//! Every call is cancel-safe: a future that is dropped has taken no message, and published all of one or
//! nothing. A subscriber repairs what it misses within its calls, as the blocking one does: keep asking for the next.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::publisher::{BETWEEN_LAST_WORDS, LAST_WORDS, OnDrop, READING, is_complete, is_read};
use super::subscriber::Look;
use crate::receiver::Item;
use crate::seal::Keys;
use crate::sender::Refusal;
use crate::wire::Incarnation;
use crate::{Closing, Found, Snapshot, StreamError};

/// While a publisher waits for receivers, it looks again so often.
const AGAIN: Duration = Duration::from_micros(500);
/// So often it looks again without a pause.
const SOON: u32 = 64;

/// A [`Publisher`](crate::Publisher) whose publishing, waiting and closing wait without blocking. All else is the publisher's own, and may
/// block for as long as the system's queue is full.
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
    /// [`StreamError::Refused`] when it can never be taken.
    pub async fn publish(&self, message: &[u8]) -> Result<u64, StreamError> {
        self.publish_by(|sender, now| sender.publish(now, message)).await
    }

    /// The same for a message about what the key names: to those who only want the latest of each.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_keyed(&self, key: u64, message: &[u8]) -> Result<u64, StreamError> {
        self.publish_by(|sender, now| sender.publish_keyed(now, key, message)).await
    }

    async fn publish_by(
        &self,
        mut publish: impl FnMut(&mut crate::Sender, u64) -> Result<u64, Refusal>,
    ) -> Result<u64, StreamError> {
        let mut tried = 0;
        loop {
            match self.0.post(&mut publish) {
                // Who has it has it for a moment, as a rule.
                None if tried < SOON => tokio::task::yield_now().await,
                None => tokio::time::sleep(AGAIN).await,
                Some(Err(refusal)) if refusal.is_temporary() => tokio::time::sleep(AGAIN).await,
                Some(result) => return Ok(result?),
            }
            tried += 1;
        }
    }

    /// Waits until so many receivers have joined; `false` when the time is over.
    pub async fn wait_for(&self, receivers: usize, timeout: Duration) -> bool {
        self.until(timeout, |sender| sender.receivers().0 >= receivers).await
    }

    /// Waits until all that listen have everything that was published; `false` when the time is over.
    pub async fn wait_complete(&self, timeout: Duration) -> bool {
        self.until(timeout, is_complete).await
    }

    /// Ends the stream, and waits for no longer than this until all that listen have everything. Tells who has not.
    pub async fn close(&self, timeout: Duration) -> Closing {
        self.done(crate::Sender::close).await;
        let deadline = Instant::now().checked_add(timeout);
        if self.wait_complete(timeout).await {
            let left =
                deadline.map_or(READING, |deadline| deadline.saturating_duration_since(Instant::now()));
            self.until(left.min(READING), is_read).await;
        }
        for _ in 0..LAST_WORDS {
            tokio::time::sleep(BETWEEN_LAST_WORDS).await;
            self.done(crate::Sender::close).await;
        }
        self.0.settle();
        self.done(|sender, _| Closing::of(sender)).await
    }

    async fn until(&self, timeout: Duration, is_it_so: impl Fn(&crate::Sender) -> bool) -> bool {
        let waiting = async {
            while !self.done(|sender, _| is_it_so(sender)).await {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(timeout, waiting).await.is_ok()
    }

    /// Does something with the sender as soon as nobody else does.
    async fn done<T>(&self, mut work: impl FnMut(&mut crate::Sender, u64) -> T) -> T {
        loop {
            match self.0.post(&mut work) {
                Some(done) => return done,
                None => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// The blocking publisher.
    #[must_use]
    pub fn into_inner(mut self) -> crate::Publisher {
        self.0.set_on_drop(OnDrop::Drain);
        self.0
    }
}

impl Deref for Publisher {
    type Target = crate::Publisher;

    fn deref(&self) -> &crate::Publisher {
        &self.0
    }
}

/// A [`Subscriber`](crate::Subscriber) whose waits don't block.
#[derive(Debug)]
pub struct Subscriber {
    subscriber: crate::Subscriber,
    readiness: readiness::Readiness,
}

impl Subscriber {
    /// Wraps a subscriber, within a runtime with I/O and time.
    ///
    /// # Errors
    /// When the runtime cannot wait for its sockets.
    pub fn new(subscriber: crate::Subscriber) -> Result<Self, StreamError> {
        let readiness = readiness::Readiness::new(&subscriber)?;
        Ok(Self { subscriber, readiness })
    }

    /// The next message or event; waits for it. `None` when the stream has ended, or a waker ended the wait.
    ///
    /// # Errors
    /// What the system says.
    pub async fn next(&mut self) -> Result<Option<Item<'_>>, StreamError> {
        let step = loop {
            match self.subscriber.look()? {
                Look::Step(step) => break step,
                Look::Over => return Ok(None),
                Look::Nothing(due) => self.readiness.wait(due).await?,
            }
        };
        Ok(self.subscriber.item(&step))
    }

    /// Goes on behind a snapshot that has all messages before this number.
    pub fn resume(&mut self, message: u64) {
        self.subscriber.resume(message);
    }

    /// Opens with these secrets from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        self.subscriber.set_keys(keys);
    }

    /// The blocking subscriber.
    #[must_use]
    pub fn into_inner(self) -> crate::Subscriber {
        self.subscriber
    }
}

impl Deref for Subscriber {
    type Target = crate::Subscriber;

    fn deref(&self) -> &crate::Subscriber {
        &self.subscriber
    }
}

/// [`Found::fetch_snapshot_while`] on a thread that may wait; dropping the future ends that, too.
///
/// # Errors
/// Why the last try failed.
pub async fn fetch_snapshot(
    found: &Found,
    incarnation: Incarnation,
    message: u64,
    keys: &Keys,
    max_size: u64,
    time: Duration,
) -> Result<Snapshot, StreamError> {
    let (found, keys) = (found.clone(), keys.clone());
    let wanted = Arc::new(());
    let still = Arc::downgrade(&wanted);
    let mut go_on = move || still.strong_count() > 0;
    let fetch = move || found.fetch_snapshot_while(incarnation, message, &keys, max_size, time, &mut go_on);
    let fetched = tokio::task::spawn_blocking(fetch).await;
    drop(wanted);
    fetched.unwrap_or_else(|failed| Err(StreamError::Thread(failed.into())))
}

#[cfg(unix)]
mod readiness {
    //! By the descriptors of the two sockets, duplicated so that the subscriber keeps its own.

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

        /// Waits until one of them may have something, or the time is over.
        ///
        /// Whoever waits has just found both empty, so that what they told before is forgotten.
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
    //! Sockets that no foreign runtime can wait for are looked at every millisecond.

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
