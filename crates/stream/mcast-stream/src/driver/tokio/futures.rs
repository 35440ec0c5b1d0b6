//! Messages as a `Stream`, and a publisher as a `Sink` (feature `futures`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::FusedStream;
use futures_util::{Sink, Stream, sink};

use super::{Publisher, Subscriber};
use crate::StreamError;
use crate::publisher::OutgoingMessage;
use crate::subscriber::{Item, Message, Position, SubscriberEvent};
use crate::wire::{Incarnation, MessageKey, MessageNumber};

/// A [`Message`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedMessage {
    /// As [`Message::incarnation`].
    pub incarnation: Incarnation,
    /// As [`Message::number`].
    pub number: MessageNumber,
    /// As [`Message::key`].
    pub key: Option<MessageKey>,
    /// Its bytes, copied once.
    pub bytes: Bytes,
}

impl OwnedMessage {
    /// Returns its position in the stream.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position::new(self.incarnation, self.number)
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        let Message { incarnation, number, key, bytes } = message;
        Self { incarnation, number, key, bytes: Bytes::copy_from_slice(bytes) }
    }
}

/// An [`Item`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedItem {
    /// A message.
    Message(OwnedMessage),
    /// An event that happened between messages.
    Event(SubscriberEvent),
}

impl From<Item<'_>> for OwnedItem {
    fn from(item: Item<'_>) -> Self {
        match item {
            Item::Message(message) => Self::Message(message.into()),
            Item::Event(event) => Self::Event(event),
        }
    }
}

impl Subscriber {
    /// Returns a stream of messages and events. A loop over it is a loop over [`next`](Self::next).
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    /// use mcast_stream::tokio::{OwnedItem, Subscriber};
    ///
    /// # async fn receive(mut subscriber: Subscriber) -> Result<(), mcast_stream::StreamError> {
    /// let mut items = subscriber.items();
    /// while let Some(item) = items.next().await {
    ///     if let OwnedItem::Message(message) = item? {
    ///         println!("{}: {} bytes", message.number.0, message.bytes.len());
    ///         items.subscriber().ack(message.position());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn items(&mut self) -> Items<'_> {
        Items { subscriber: self, has_ended: false }
    }
}

/// The stream of [`Subscriber::items`]. An error is an item: [`StreamError::Woken`] does not end it, and after any other error
/// the next item is the result of another attempt. It ends when the stream of messages has ended, or a loss has stopped it.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Items<'a> {
    subscriber: &'a mut Subscriber,
    has_ended: bool,
}

impl Items<'_> {
    /// Returns the subscriber, to acknowledge messages or to continue after a snapshot.
    pub const fn subscriber(&mut self) -> &mut Subscriber {
        self.subscriber
    }
}

impl Stream for Items<'_> {
    type Item = Result<OwnedItem, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let step = ready!(self.subscriber.poll_step(context))?;
        let item = step.and_then(|step| self.subscriber.subscriber.item(&step)).map(OwnedItem::from);
        self.has_ended = item.is_none();
        Poll::Ready(item.map(Ok))
    }
}

impl FusedStream for Items<'_> {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

/// An [`OutgoingMessage`] that owns its bytes, which every [`Bytes`] and [`Vec<u8>`] becomes, also together with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedOutgoingMessage {
    /// The payload.
    pub bytes: Bytes,
    /// As [`OutgoingMessage::key`].
    pub key: Option<MessageKey>,
}

impl From<Bytes> for OwnedOutgoingMessage {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, key: None }
    }
}

impl From<Vec<u8>> for OwnedOutgoingMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), key: None }
    }
}

impl<T: Into<Bytes>> From<(MessageKey, T)> for OwnedOutgoingMessage {
    fn from((key, bytes): (MessageKey, T)) -> Self {
        Self { bytes: bytes.into(), key: Some(key) }
    }
}

impl<'a> From<&'a OwnedOutgoingMessage> for OutgoingMessage<'a> {
    fn from(message: &'a OwnedOutgoingMessage) -> Self {
        Self { bytes: &message.bytes, key: message.key }
    }
}

impl Publisher {
    /// Returns a sink that publishes each item, like [`publish`](Self::publish).
    ///
    /// Flushing and closing wait until the publisher has accepted the last message, not until subscribers have it: see
    /// [`wait`](Self::wait). Closing does not end the stream. After an error the sink is closed; make
    /// another to continue.
    pub fn sink<'a, T>(&'a self) -> Pin<Box<dyn Sink<T, Error = StreamError> + Send + 'a>>
    where
        T: Into<OwnedOutgoingMessage> + Send + 'a,
    {
        let publish = move |(), message: T| {
            let message = message.into();
            async move { self.publish(&message).await.map(drop) }
        };
        Box::pin(sink::unfold((), publish))
    }
}
