//! What every message begins with.

use super::bytes::Reader;

pub(super) const LENGTH: usize = 32;
const MAGIC: [u8; 3] = *b"mcp";
const VERSION: u8 = 1;
const SEQUENCE_AT: usize = 16;
/// Far beyond what anybody sends; what is above it is forged, and could overflow sums.
const HIGHEST_SEQUENCE: u64 = 1 << 62;

/// A session: what one sender sends from one opening to its closing. A random number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Nanoseconds since 1970 (UTC), by whoever's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// How much later this is than `earlier`, which may be of another clock: negative where the
    /// clocks are apart.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Data: what is counted.
    Data = 1,
    /// A stream begins.
    Opening = 2,
    /// A stream has ended, and so many were sent.
    Closing = 3,
    /// What a receiver counted: the answer to a closing.
    Report = 4,
    /// Who plays ping-pong?
    Call = 5,
    /// I do, if you send this token: the answer to a call.
    Token = 6,
    /// A ping, with the token of whoever is to answer.
    Ping = 7,
    /// The answer to a ping.
    Pong = 8,
    /// A probe of `mcast ping`.
    Probe = 9,
    /// The answer to a probe.
    Answer = 10,
    /// A probe of `mcast doctor --probe`.
    PathProbe = 11,
    /// The answer to a probe of the path.
    PathAnswer = 12,
}

impl Kind {
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
        Self::Answer,
        Self::PathProbe,
        Self::PathAnswer,
    ];

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// What every message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What kind of message it is.
    pub kind: Kind,
    /// The stream within the session.
    pub stream: u16,
    /// The session.
    pub session: SessionId,
    /// The number within the stream, from 0; in a closing, how many were sent.
    pub sequence: u64,
    /// When it was sent, by the sender's clock.
    pub time: UnixNanos,
}

impl Header {
    /// How many bytes it takes.
    pub const LENGTH: usize = LENGTH;

    /// As the first bytes of a message.
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

    /// Writes it over the start of a datagram; what is too short for it is left as it is.
    pub fn write(&self, datagram: &mut [u8]) {
        if let Some(place) = datagram.first_chunk_mut() {
            *place = self.encode();
        }
    }

    /// Changes number and time of a datagram that has a header: the cheap way from one datagram
    /// to the next.
    pub fn renumber(datagram: &mut [u8], sequence: u64, time: UnixNanos) {
        if let Some(place) = datagram.get_mut(SEQUENCE_AT..LENGTH) {
            let (number, when) = place.split_at_mut(8);
            number.copy_from_slice(&sequence.to_be_bytes());
            when.copy_from_slice(&time.0.to_be_bytes());
        }
    }

    /// Reads it from the start of a message; `None` if this is none.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = message.first_chunk()?;
        if bytes[..3] != MAGIC || bytes[3] != VERSION {
            return None;
        }
        let kind = Kind::of_number(bytes[4])?;
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

    /// The same as another kind, as an answer echoes what it answers.
    #[must_use]
    pub const fn as_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_numbers() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_number(kind as u8), Some(kind));
        }
        assert_eq!((Kind::of_number(0), Kind::of_number(13)), (None, None));
    }

    #[test]
    fn renumbering_is_as_writing_anew() {
        let first =
            Header { kind: Kind::Data, stream: 3, session: SessionId(77), sequence: 5, time: UnixNanos(6) };
        let mut datagram = vec![9; 40];
        first.write(&mut datagram);
        Header::renumber(&mut datagram, 1_000, UnixNanos(u64::MAX));
        let expected = Header { sequence: 1_000, time: UnixNanos(u64::MAX), ..first };
        assert_eq!(Header::decode(&datagram), Some(expected));
        assert_eq!(datagram[LENGTH..], [9; 8]);
    }

    #[test]
    fn what_is_too_short_is_left_alone() {
        let mut short = [1; LENGTH - 1];
        let header =
            Header { kind: Kind::Data, stream: 0, session: SessionId(0), sequence: 0, time: UnixNanos(0) };
        header.write(&mut short);
        Header::renumber(&mut short, 1, UnixNanos(1));
        assert_eq!(short, [1; LENGTH - 1]);
    }

    #[test]
    fn a_difference_of_clocks_may_be_negative() {
        assert_eq!(UnixNanos(5).since(UnixNanos(8)), -3);
        assert_eq!(UnixNanos(8).since(UnixNanos(5)), 3);
    }
}
