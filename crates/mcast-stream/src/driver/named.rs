//! Subscribing by name.

use std::time::Duration;

use mcast::{Membership, SourceFilter};

use super::discovery::{AnnouncedStream, find_stream};
use super::error::StreamError;
use super::snapshot::{MAX_SNAPSHOT, Snapshot, fetch_from_announced};
use super::subscriber::{Subscriber, SubscriberBuilder};
use crate::seal::Keys;
use crate::wire::Incarnation;

/// Announcements are sent once per second, and some may be lost.
const ANNOUNCEMENT_TIMEOUT: Duration = Duration::from_secs(10);

impl Subscriber {
    /// Subscribes to the stream that is announced under this name in clear, with default settings. Waits for its
    /// announcement for up to ten seconds, on every interface. For other settings, use [`find_stream`] and
    /// [`AnnouncedStream::subscriber`].
    ///
    /// ```no_run
    /// use mcast_stream::{Subscriber, subscriber::Item};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut prices = Subscriber::named("prices")?;
    ///     while let Some(item) = prices.next()? {
    ///         match item {
    ///             Item::Message(message) => println!("{}: {:?}", message.number, message.bytes),
    ///             Item::Event(event) => eprintln!("{event:?}"),       // a loss is never silent
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`find_stream`], [`AnnouncedStream::memberships`] and [`SubscriberBuilder::build`].
    pub fn named(name: &str) -> Result<Self, StreamError> {
        find_stream(name, None, None, &Keys::none(), ANNOUNCEMENT_TIMEOUT)?.subscriber()?.build()
    }
}

impl AnnouncedStream {
    /// Returns settings for a subscriber to this stream: its paths and its identity. For a sealed stream, add the
    /// [keys](SubscriberBuilder::keys).
    ///
    /// # Errors
    /// As [`memberships`](Self::memberships).
    pub fn subscriber(&self) -> Result<SubscriberBuilder, StreamError> {
        let builder = Subscriber::builder().stream(self.stream);
        Ok(self.memberships()?.into_iter().fold(builder, SubscriberBuilder::path))
    }

    /// Returns the memberships of its paths. Source-specific groups are joined with the address that announced it.
    ///
    /// # Errors
    /// [`StreamError::NoDestination`] if it was announced without a group.
    pub fn memberships(&self) -> Result<Vec<Membership>, StreamError> {
        match self.paths.is_empty() {
            true => Err(StreamError::NoDestination),
            false => Ok(self.paths.iter().map(|path| self.with_its_source(path)).collect()),
        }
    }

    /// Fetches a snapshot of this incarnation that covers all messages before `message`, or more, and has at most
    /// [`MAX_SNAPSHOT`] bytes, from the address that the publisher announces. Waits for at most `time` for such an
    /// announcement or for a newer snapshot.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub fn fetch_snapshot(
        &self,
        incarnation: Incarnation,
        message: u64,
        keys: &Keys,
        time: Duration,
    ) -> Result<Snapshot, StreamError> {
        fetch_from_announced(self, incarnation, message, keys, MAX_SNAPSHOT, time, &mut || true)
    }

    /// Fetches a snapshot of at most `max_size` bytes for as long as `keep_going` returns `true`. It is called on this
    /// thread, about twenty times per second.
    ///
    /// # Errors
    /// The error of the last attempt, or that the caller gave up.
    pub fn fetch_snapshot_while(
        &self,
        incarnation: Incarnation,
        message: u64,
        keys: &Keys,
        max_size: u64,
        time: Duration,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Snapshot, StreamError> {
        fetch_from_announced(self, incarnation, message, keys, max_size, time, keep_going)
    }

    fn with_its_source(&self, path: &Membership) -> Membership {
        match path.address.group.is_source_specific() {
            true => path.clone().from_sources(SourceFilter::Include([self.source.ip()].into())),
            false => path.clone(),
        }
    }
}
