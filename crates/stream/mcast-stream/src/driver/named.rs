//! Subscribing by name.

use std::time::Duration;

use mcast::{Membership, SourceFilter};

use super::discovery::{AnnouncedStream, find_stream};
use super::error::StreamError;
use super::subscriber::{Subscriber, SubscriberBuilder};
use crate::seal::Keys;

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
    /// Returns settings for a subscriber to this stream: its paths, where this host receives it, and its identity. For a sealed stream, add the
    /// [keys](SubscriberBuilder::keys).
    ///
    /// # Errors
    /// As [`memberships`](Self::memberships).
    pub fn subscriber(&self) -> Result<SubscriberBuilder, StreamError> {
        let builder = Subscriber::builder().stream(self.stream);
        let builder = self.hosts.iter().cloned().fold(builder, SubscriberBuilder::listen);
        match self.memberships() {
            Err(_) if !self.hosts.is_empty() => Ok(builder),
            memberships => Ok(memberships?.into_iter().fold(builder, SubscriberBuilder::join)),
        }
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

    fn with_its_source(&self, path: &Membership) -> Membership {
        match path.address.group.is_source_specific() {
            true => path.clone().from_sources(SourceFilter::Include([self.source.ip()].into())),
            false => path.clone(),
        }
    }
}
