//! What all blocking publishers can do.

use std::time::Duration;

use super::error::StreamError;
use super::publisher::{Closing, Publisher, PublisherProgress};
use super::until::Until;
use crate::publisher::{Audience, OutgoingMessage, PublisherEvent, PublisherStatistics};
use crate::seal::Keys;
use crate::wire::MessageNumber;

/// Publishes messages: a [`Publisher`], or a [`LoggedPublisher`](crate::LoggedPublisher), for code that is to work with both.
///
/// A [`Publisher`] has these methods itself, so that a program without a log does not need the trait. What is the same for
/// both, such as hosts, snapshots and acknowledgements, is at [`publisher`](Self::publisher). The publisher for tokio does not
/// implement it, because its calls are asynchronous; they have the same names.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_stream::{Publish, StreamError, Until};
///
/// fn feed(publisher: &impl Publish) -> Result<bool, StreamError> {
///     publisher.publish(b"EUR 1.08")?;
///     publisher.wait(Until::Received, Duration::from_secs(1))
/// }
/// ```
pub trait Publish {
    /// Publishes a message and returns its number. Waits for room, and in a log for what the
    /// [`SyncPolicy`](mcast_log::SyncPolicy) says.
    ///
    /// # Errors
    /// [`StreamError::Refused`] if the message can never be accepted, [`StreamError::Log`] if it cannot be stored.
    fn publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError>;

    /// Publishes a message like [`publish`](Self::publish), but waits for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`StreamError::Refused`] if there was no room in time.
    fn publish_timeout<'m>(
        &self,
        message: impl Into<OutgoingMessage<'m>>,
        timeout: Duration,
    ) -> Result<MessageNumber, StreamError>;

    /// Publishes a message without waiting for room or the disk.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`StreamError::Refused`] if there is no room.
    fn try_publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError>;

    /// Publishes many messages like [`publish`](Self::publish), and returns the number of the last one.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). Without a log, the messages before the one that fails are published; with a log, none.
    fn publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError>;

    /// Publishes many messages like [`try_publish`](Self::try_publish), and returns the number of the last one.
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish). Without a log, the messages before the one that fails are published
    /// ([`next_message`](Self::next_message)); with a log, none.
    fn try_publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError>;

    /// Waits for at most `timeout`; returns whether what is waited for is so. `false`: the time is over, or the messages were
    /// given up ([`Publisher::ack_state`]).
    ///
    /// # Errors
    /// [`StreamError::AcksNotRequired`] and [`StreamError::NoLog`] for what this publisher does not do, [`StreamError::Log`]
    /// if messages cannot be synced.
    fn wait(&self, until: Until, timeout: Duration) -> Result<bool, StreamError>;

    /// Ends the stream without waiting for subscribers.
    ///
    /// # Errors
    /// [`StreamError::Log`] if the end cannot be recorded in the log.
    fn end(&self) -> Result<(), StreamError>;

    /// Ends the stream, waits for subscribers for at most `timeout`, and returns how it ended.
    ///
    /// # Errors
    /// [`StreamError::Log`] if what was accepted cannot be synced, or the end cannot be recorded in the log.
    fn close(&self, timeout: Duration) -> Result<Closing, StreamError>;

    /// Seals with the greatest epoch of these from now on.
    ///
    /// # Errors
    /// [`StreamError::Log`] if the segment of the log cannot be closed.
    fn set_keys(&self, keys: Keys) -> Result<(), StreamError>;

    /// Returns the number of the next message.
    fn next_message(&self) -> MessageNumber;

    /// Returns the publisher that sends. Messages are published with it directly only if there is no log.
    fn publisher(&self) -> &Publisher;

    /// Sends the messages that wait for others to share their datagrams.
    fn flush(&self) {
        self.publisher().flush();
    }

    /// Waits until this number of subscribers have joined; returns `false` when the time is over.
    #[must_use]
    fn wait_for(&self, subscribers: usize, timeout: Duration) -> bool {
        self.publisher().wait_for(subscribers, timeout)
    }

    /// Returns how far the publisher is, for [`wait_for_room`](Self::wait_for_room).
    fn progress(&self) -> PublisherProgress {
        self.publisher().progress()
    }

    /// Waits until something may have made room since `since`, for at most `timeout`.
    fn wait_for_room(&self, since: PublisherProgress, timeout: Duration) {
        self.publisher().wait_for_room(since, timeout);
    }

    /// Returns the next event, the oldest first.
    fn event(&self) -> Option<PublisherEvent> {
        self.publisher().event()
    }

    /// Returns why a path went down or its queue was full, the oldest failure first, each once.
    fn failure(&self) -> Option<mcast::Error> {
        self.publisher().failure()
    }

    /// Returns the numbers of subscribers by standing, of all that ever joined.
    fn audience(&self) -> Audience {
        self.publisher().audience()
    }

    /// Returns the publisher's counters.
    fn statistics(&self) -> PublisherStatistics {
        self.publisher().statistics()
    }
}

impl Publish for Publisher {
    #[inline]
    fn publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError> {
        self.publish(message)
    }

    fn publish_timeout<'m>(
        &self,
        message: impl Into<OutgoingMessage<'m>>,
        timeout: Duration,
    ) -> Result<MessageNumber, StreamError> {
        self.publish_timeout(message, timeout)
    }

    fn try_publish<'m>(&self, message: impl Into<OutgoingMessage<'m>>) -> Result<MessageNumber, StreamError> {
        self.try_publish(message)
    }

    fn publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        self.publish_all(messages)
    }

    fn try_publish_all<'m>(
        &self,
        messages: impl IntoIterator<Item: Into<OutgoingMessage<'m>>>,
    ) -> Result<Option<MessageNumber>, StreamError> {
        self.try_publish_all(messages)
    }

    fn wait(&self, until: Until, timeout: Duration) -> Result<bool, StreamError> {
        self.wait(until, timeout)
    }

    fn end(&self) -> Result<(), StreamError> {
        self.end();
        Ok(())
    }

    fn close(&self, timeout: Duration) -> Result<Closing, StreamError> {
        Ok(self.close(timeout))
    }

    fn set_keys(&self, keys: Keys) -> Result<(), StreamError> {
        self.set_keys(keys);
        Ok(())
    }

    fn next_message(&self) -> MessageNumber {
        self.next_message()
    }

    fn publisher(&self) -> &Publisher {
        self
    }
}
