//! Fetching snapshots on a separate thread.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{MAX_SNAPSHOT, Snapshot};
use crate::driver::discovery::AnnouncedStream;
use crate::driver::error::StreamError;
use crate::seal::Keys;
use crate::subscriber::SubscriberEvent;
use crate::{
    Subscriber,
    wire::{Incarnation, MessageNumber},
};

/// The time limit for fetching a snapshot.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches the snapshots that a [`Subscriber`] wants on a separate thread, while the stream is being received.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_stream::seal::Keys;
/// use mcast_stream::subscriber::{Item, Start};
/// use mcast_stream::{SnapshotFetcher, StreamError, find_stream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = find_stream("prices", None, None, &Keys::none(), Duration::from_secs(10))?;
/// let mut subscriber = stream.subscriber()?.start(Start::Snapshot).build()?;
/// let mut fetcher = SnapshotFetcher::new(stream, Keys::none());
/// while !subscriber.has_ended() {
///     if let Some(snapshot) = fetcher.fetched() {
///         let snapshot = snapshot?;
///         println!("a state of {} bytes", snapshot.bytes.len());
///         subscriber.resume(snapshot.message);
///     }
///     let event = match subscriber.next() {
///         Ok(Some(Item::Event(event))) => event,
///         Ok(Some(Item::Message(message))) => {
///             println!("{} bytes", message.bytes.len());
///             continue;
///         }
///         // The fetcher wakes the subscriber when the snapshot has arrived.
///         Ok(None) | Err(StreamError::Woken) => continue,
///         Err(error) => return Err(error.into()),
///     };
///     fetcher.handle(&event, &subscriber)?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SnapshotFetcher {
    stream: AnnouncedStream,
    keys: Keys,
    max_size: u64,
    incarnation: Option<Incarnation>,
    pending: Option<Receiver<Result<Snapshot, StreamError>>>,
}

impl SnapshotFetcher {
    /// Returns a fetcher of snapshots of this stream, of at most [`MAX_SNAPSHOT`] bytes.
    #[must_use]
    pub const fn new(stream: AnnouncedStream, keys: Keys) -> Self {
        Self { stream, keys, max_size: MAX_SNAPSHOT, incarnation: None, pending: None }
    }

    /// Sets the size of the largest snapshot to accept, in bytes.
    #[must_use]
    pub fn max_size(self, bytes: u64) -> Self {
        Self { max_size: bytes, ..self }
    }

    /// Replaces the secrets of a sealed stream.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Handles an event of the subscriber: starts to fetch a snapshot if the subscriber wants one. It replaces an
    /// earlier request.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn handle(&mut self, event: &SubscriberEvent, subscriber: &Subscriber) -> Result<(), StreamError> {
        match (event, self.incarnation) {
            (SubscriberEvent::Joined { incarnation, .. }, _) => self.incarnation = Some(*incarnation),
            (SubscriberEvent::SnapshotWanted { message }, Some(incarnation)) => {
                return self.fetch(incarnation, *message, subscriber);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the result of the latest request, once.
    pub fn fetched(&mut self) -> Option<Result<Snapshot, StreamError>> {
        let result = self.pending.as_ref()?.try_recv().ok()?;
        self.pending = None;
        Some(result)
    }

    fn fetch(
        &mut self,
        incarnation: Incarnation,
        message: MessageNumber,
        subscriber: &Subscriber,
    ) -> Result<(), StreamError> {
        let (sender, pending) = channel();
        let (stream, keys, max_size) = (self.stream.clone(), self.keys.clone(), self.max_size);
        let waker = subscriber.waker();
        let work = move || {
            let mut keep_trying = || true;
            let fetched =
                stream.fetch_snapshot_while(incarnation, message, &keys, max_size, TIMEOUT, &mut keep_trying);
            // It fails if the request was replaced.
            let _ = sender.send(fetched);
            let _ = waker.wake();
        };
        let thread = std::thread::Builder::new().name("mcast-snapshot".to_owned()).spawn(work);
        thread.map_err(StreamError::Thread)?;
        self.pending = Some(pending);
        Ok(())
    }
}
