//! The header of every message, and the integers in it; and the messages of `mcast perf --stream`, each of which contains
//! its number, the time and clock of its publication, and bytes derived from its number.

use alloc::vec::Vec;

pub(super) const LENGTH: usize = 32;
const MAGIC: [u8; 3] = *b"mcp";
const VERSION: u8 = 1;
const SEQUENCE_AT: usize = 16;
/// No sender comes near this number. Higher ones are forged, and could make sums overflow.
const HIGHEST_SEQUENCE: u64 = 1 << 62;

/// A session: everything that one sender sends between an opening and its closing message. The id is random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Nanoseconds since 1970-01-01 UTC, by an unspecified clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// Returns the difference to `earlier`, which may come from another clock; negative if the clocks differ.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

#[cfg(feature = "std")]
impl UnixNanos {
    /// Returns the time of this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        std::time::SystemTime::now().into()
    }
}

#[cfg(feature = "std")]
impl From<std::time::SystemTime> for UnixNanos {
    /// Converts a time of this machine's clock. Times before 1970 become 1970.
    fn from(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(feature = "std")]
impl SessionId {
    /// Returns a random id, which is unique in practice.
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};

        Self(RandomState::new().build_hasher().finish())
    }
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// Counted data.
    Data = 1,
    /// Start of a stream.
    Opening = 2,
    /// End of a stream, with the number of datagrams sent.
    Closing = 3,
    /// A receiver's statistics, in reply to a closing message.
    Report = 4,
    /// Asks for a receiver that replies to pings.
    Call = 5,
    /// Offers to reply to pings that carry a token; the reply to a call.
    Token = 6,
    /// A ping, with the token of the receiver that is to reply.
    Ping = 7,
    /// The reply to a ping.
    Pong = 8,
    /// A probe of `mcast ping` or `mcast doctor --probe`.
    Probe = 9,
    /// The reply to a probe.
    Reply = 10,
    /// Asks listeners to examine themselves.
    Examine = 11,
    /// What a listener found; the reply to `Examine`.
    Examination = 12,
}

impl MessageType {
    const ALL: [Self; 12] = [
        Self::Data,
        Self::Opening,
        Self::Closing,
        Self::Report,
        Self::Call,
        Self::Token,
        Self::Ping,
        Self::Pong,
        Self::Probe,
        Self::Reply,
        Self::Examine,
        Self::Examination,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// The header of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// The message type.
    pub kind: MessageType,
    /// The stream within the session.
    pub stream: u16,
    /// The session.
    pub session: SessionId,
    /// The number within the stream, from 0; in a closing message, the number of datagrams sent.
    pub sequence: u64,
    /// The send time, by the sender's clock.
    pub time: UnixNanos,
}

impl SessionHeader {
    /// Length in bytes.
    pub const LENGTH: usize = LENGTH;

    /// Creates a header of stream 0, with sequence number and time 0.
    #[must_use]
    pub const fn new(kind: MessageType, session: SessionId) -> Self {
        Self { kind, stream: 0, session, sequence: 0, time: UnixNanos(0) }
    }

    /// Returns the encoded header.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[3] = VERSION;
        bytes[4] = self.kind as u8;
        bytes[6..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.session.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..].copy_from_slice(&self.time.0.to_be_bytes());
        bytes
    }

    /// Overwrites the start of a datagram with the header; a datagram that is too short stays unchanged.
    pub fn write(&self, datagram: &mut [u8]) {
        if let Some(bytes) = datagram.first_chunk_mut() {
            *bytes = self.encode();
        }
    }

    /// Updates the sequence number and time of a datagram that has a header, which is cheaper than encoding
    /// it again.
    pub fn renumber(datagram: &mut [u8], sequence: u64, time: UnixNanos) {
        if let Some(bytes) = datagram.get_mut(SEQUENCE_AT..LENGTH) {
            let (number, send_time) = bytes.split_at_mut(8);
            number.copy_from_slice(&sequence.to_be_bytes());
            send_time.copy_from_slice(&time.0.to_be_bytes());
        }
    }

    /// Reads the header from the start of a message; `None` if it is not a message of this protocol.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = message.first_chunk()?;
        if bytes[..3] != MAGIC || bytes[3] != VERSION {
            return None;
        }
        let kind = MessageType::from_number(bytes[4])?;
        let mut reader = Reader(&bytes[6..]);
        let header = Self {
            kind,
            stream: reader.u16()?,
            session: SessionId(reader.u64()?),
            sequence: reader.u64()?,
            time: UnixNanos(reader.u64()?),
        };
        (header.sequence <= HIGHEST_SEQUENCE).then_some(header)
    }

    /// Returns the same header with another message type, because a reply echoes the header of its request.
    #[must_use]
    pub const fn with_kind(self, kind: MessageType) -> Self {
        Self { kind, ..self }
    }
}

/// Reads integers from the front of a message; returns `None` when it is too short.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

/// Appends integers to a message.
#[derive(Debug)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Returns the message, padded with zeros to at least `length` bytes.
    pub(super) fn padded(mut self, length: usize) -> Vec<u8> {
        self.0.resize(self.0.len().max(length), 0);
        self.0
    }
}

/// The minimum length of a message: a header, and the id of a clock.
pub const STREAM_MESSAGE_LENGTH: usize = LENGTH + 8;

/// What a message of `mcast perf --stream` states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamMessage {
    /// The session of the publisher.
    pub session: SessionId,
    /// The time of publication.
    pub time: UnixNanos,
    /// The id of the clock that the time refers to; 0 if it is unknown.
    pub clock: u64,
}

impl StreamMessage {
    /// Writes the message with this number, which fills the buffer. A buffer that is too short for a header
    /// stays unchanged.
    pub fn write(&self, number: u64, buffer: &mut [u8]) {
        let Self { session, time, clock } = *self;
        SessionHeader { kind: MessageType::Data, stream: 0, session, sequence: number, time }.write(buffer);
        if let Some(bytes) = buffer.get_mut(LENGTH..STREAM_MESSAGE_LENGTH) {
            bytes.copy_from_slice(&clock.to_be_bytes());
        }
        let filling = filling(number);
        for chunk in buffer.get_mut(STREAM_MESSAGE_LENGTH..).unwrap_or_default().chunks_mut(8) {
            chunk.copy_from_slice(&filling[..chunk.len()]);
        }
    }

    /// Reads the message with this number; `None` if it differs from the one written.
    #[must_use]
    pub fn read(number: u64, message: &[u8]) -> Option<Self> {
        let header = SessionHeader::decode(message)?;
        let clock = message.get(LENGTH..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
        let filling = filling(number);
        let is_whole =
            message.get(STREAM_MESSAGE_LENGTH..)?.chunks(8).all(|chunk| chunk == &filling[..chunk.len()]);
        let is_valid = header.kind == MessageType::Data && header.sequence == number && is_whole;
        is_valid.then_some(Self { session: header.session, time: header.time, clock })
    }
}

/// Returns bytes that are unique to the number: the finalizer of splitmix64, a bijection.
fn filling(number: u64) -> [u8; 8] {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_match_their_numbers() {
        for kind in MessageType::ALL {
            assert_eq!(MessageType::from_number(kind as u8), Some(kind));
        }
        assert_eq!((MessageType::from_number(0), MessageType::from_number(13)), (None, None));
    }

    #[test]
    fn renumbering_equals_encoding_again() {
        let first = SessionHeader { stream: 3, ..SessionHeader::new(MessageType::Data, SessionId(77)) };
        let mut datagram = vec![9; 40];
        first.write(&mut datagram);
        SessionHeader::renumber(&mut datagram, 1_000, UnixNanos(u64::MAX));
        let expected = SessionHeader { sequence: 1_000, time: UnixNanos(u64::MAX), ..first };
        assert_eq!(SessionHeader::decode(&datagram), Some(expected));
        assert_eq!(datagram[LENGTH..], [9; 8]);
    }

    #[test]
    fn short_datagrams_stay_unchanged() {
        let mut short = [1; LENGTH - 1];
        SessionHeader::new(MessageType::Data, SessionId(0)).write(&mut short);
        SessionHeader::renumber(&mut short, 1, UnixNanos(1));
        assert_eq!(short, [1; LENGTH - 1]);
    }

    #[test]
    #[cfg(feature = "std")]
    fn random_sessions_differ_and_times_count_from_1970() {
        use std::time::{Duration, UNIX_EPOCH};

        assert_ne!(SessionId::random(), SessionId::random());
        assert_eq!(UnixNanos::from(UNIX_EPOCH + Duration::from_micros(3)), UnixNanos(3_000));
        assert_eq!(UnixNanos::from(UNIX_EPOCH - Duration::from_secs(1)), UnixNanos(0));
    }

    #[test]
    fn time_difference_may_be_negative() {
        assert_eq!(UnixNanos(5).since(UnixNanos(8)), -3);
        assert_eq!(UnixNanos(8).since(UnixNanos(5)), 3);
    }

    const MESSAGE: StreamMessage = StreamMessage { session: SessionId(7), time: UnixNanos(8), clock: 9 };

    #[test]
    fn any_changed_byte_of_a_message_is_detected() {
        for length in [STREAM_MESSAGE_LENGTH, 41, 64, 1_001] {
            let mut message = vec![0; length];
            MESSAGE.write(5, &mut message);
            assert_eq!(StreamMessage::read(5, &message), Some(MESSAGE));
            assert_eq!(StreamMessage::read(6, &message), None);
            for at in STREAM_MESSAGE_LENGTH..length {
                message[at] ^= 1;
                assert_eq!(StreamMessage::read(5, &message), None, "byte {at} of {length}");
                message[at] ^= 1;
            }
        }
        for length in 0..STREAM_MESSAGE_LENGTH {
            assert_eq!(StreamMessage::read(0, &vec![0; length]), None);
        }
    }
}
