//! A message to be published.

use crate::wire::MessageKey;

/// A message to be published: its bytes, and a key if subscribers may keep only the latest message of each key.
///
/// Functions that publish take whatever becomes one, bytes among it:
///
/// ```
/// use mcast_stream_proto::publisher::OutgoingMessage;
/// use mcast_stream_proto::wire::MessageKey;
///
/// let plain = OutgoingMessage::from(b"EUR 1.08");
/// let keyed = plain.key(MessageKey(7));
/// assert_eq!((plain.key, keyed.key), (None, Some(MessageKey(7))));
/// assert_eq!(keyed, OutgoingMessage::from((MessageKey(7), b"EUR 1.08")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingMessage<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// Subscribers with [`Policy::Latest`](crate::subscriber::Policy::Latest) get only the latest message of each key.
    pub key: Option<MessageKey>,
}

impl OutgoingMessage<'_> {
    /// Sets the key.
    #[must_use]
    pub const fn key(mut self, key: MessageKey) -> Self {
        self.key = Some(key);
        self
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for OutgoingMessage<'a> {
    fn from(bytes: &'a T) -> Self {
        Self { bytes: bytes.as_ref(), key: None }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<(MessageKey, &'a T)> for OutgoingMessage<'a> {
    fn from((key, bytes): (MessageKey, &'a T)) -> Self {
        Self { bytes: bytes.as_ref(), key: Some(key) }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<(Option<MessageKey>, &'a T)> for OutgoingMessage<'a> {
    fn from((key, bytes): (Option<MessageKey>, &'a T)) -> Self {
        Self { bytes: bytes.as_ref(), key }
    }
}
