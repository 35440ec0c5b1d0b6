//! Subscribing by name.

use std::time::Duration;

use mcast::{Membership, SourceFilter};

use super::discovery::{Found, find_stream};
use super::error::StreamError;
use super::snapshot::{MAX_SNAPSHOT, Snapshot, fetch_from_announced};
use super::subscriber::{Subscriber, SubscriberBuilder};
use crate::seal::Keys;
use crate::wire::Incarnation;

/// Announcements come once a second, and some may be lost.
const PATIENCE: Duration = Duration::from_secs(10);

impl Subscriber {
    /// A subscriber to the stream that is announced by this name in clear, with default settings; waits for its
    /// announcement for ten seconds, on every interface. For anything else there are [`find_stream`] and
    /// [`Found::subscriber`].
    ///
    /// ```no_run
    /// use mcast_stream::{Subscriber, receiver::Item};
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
    /// As [`find_stream`], [`Found::memberships`] and [`SubscriberBuilder::build`].
    pub fn named(name: &str) -> Result<Self, StreamError> {
        find_stream(name, None, None, &Keys::none(), PATIENCE)?.subscriber()?.build()
    }
}

impl Found {
    /// Settings for a subscriber to it: its paths, and no other stream that may share them. Of a sealed stream
    /// the [keys](SubscriberBuilder::keys) are missing still.
    ///
    /// # Errors
    /// As [`memberships`](Self::memberships).
    pub fn subscriber(&self) -> Result<SubscriberBuilder, StreamError> {
        let builder = Subscriber::builder().stream(self.stream);
        Ok(self.memberships()?.into_iter().fold(builder, SubscriberBuilder::path))
    }

    /// What to join: its paths, where groups that are source-specific are joined with who announced it.
    ///
    /// # Errors
    /// [`StreamError::NoDestination`] when it was announced without a group.
    pub fn memberships(&self) -> Result<Vec<Membership>, StreamError> {
        match self.paths.is_empty() {
            true => Err(StreamError::NoDestination),
            false => Ok(self.paths.iter().map(|path| self.with_its_source(path)).collect()),
        }
    }

    /// Fetches a snapshot of at most [`MAX_SNAPSHOT`] bytes of this life of its publisher, that has all messages before this
    /// one, or more: from where the publisher announces it. Waits for an announcement that helps, or for a fresh snapshot, for no
    /// longer than this.
    ///
    /// # Errors
    /// Why the last try failed.
    pub fn fetch_snapshot(
        &self,
        incarnation: Incarnation,
        message: u64,
        keys: &Keys,
        time: Duration,
    ) -> Result<Snapshot, StreamError> {
        fetch_from_announced(self, incarnation, message, keys, MAX_SNAPSHOT, time, &mut || true)
    }

    /// Fetches a snapshot of at most `max_size` bytes for as long as `go_on` returns `true`: it is called on this thread, about
    /// twenty times per second.
    ///
    /// # Errors
    /// Why the last try failed, or that the caller gave up.
    pub fn fetch_snapshot_while(
        &self,
        incarnation: Incarnation,
        message: u64,
        keys: &Keys,
        max_size: u64,
        time: Duration,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Snapshot, StreamError> {
        fetch_from_announced(self, incarnation, message, keys, max_size, time, go_on)
    }

    fn with_its_source(&self, path: &Membership) -> Membership {
        match path.address.group.is_source_specific() {
            true => path.clone().from_sources(SourceFilter::Include([self.source.ip()].into())),
            false => path.clone(),
        }
    }
}
