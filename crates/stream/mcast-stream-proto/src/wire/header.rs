//! The fixed header of 32 bytes at the beginning of every datagram.

use super::identity::{Incarnation, KeyEpoch, StreamId};
use super::view::{WireError, array};

/// The first two bytes of every datagram.
pub const MAGIC: [u8; 2] = *b"MC";
/// The major version. Datagrams of another one are rejected.
pub const MAJOR: u8 = 1;
/// The minor version that is written. A greater one may add kinds and extensions that can be ignored.
pub const MINOR: u8 = 0;
/// The length of the header without extensions, in bytes.
pub const HEADER_LENGTH: usize = 32;
/// The length of the longest header with extensions, in bytes.
pub(crate) const LONGEST_HEADER: usize = 63 * 4;

/// The kind of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Messages, or a fragment of one.
    Data,
    /// A parity symbol, from which lost datagrams of data, and manifests, are recovered.
    Parity,
    /// The publisher's state.
    Heartbeat,
    /// The datagrams that a subscriber is missing.
    Nak,
    /// The progress of a subscriber.
    Status,
    /// The repairs that the publisher is about to send, and the oldest datagram that it can repair.
    Ncf,
    /// A subscriber requests an echo, to prove its address and to measure the round-trip time.
    Probe,
    /// The digests of the datagrams before it, signed. It has a sequence like data.
    Manifest,
    /// The name and the paths of a stream.
    Announce,
    /// The publisher evicts, refuses or releases a subscriber.
    Reset,
    /// The answer to a probe: of the publisher, or of a subscriber that repairs for others, which names itself.
    Echo,
    /// The address of a server that keeps the messages of a stream.
    History,
    /// A subscriber searches such a server.
    HistorySearch,
}

impl Kind {
    const ALL: [(u8, Self); 13] = [
        (1, Self::Data),
        (2, Self::Parity),
        (3, Self::Heartbeat),
        (4, Self::Nak),
        (5, Self::Status),
        (6, Self::Ncf),
        (7, Self::Probe),
        (8, Self::Manifest),
        (9, Self::Announce),
        (10, Self::Reset),
        (11, Self::Echo),
        (12, Self::History),
        (13, Self::HistorySearch),
    ];

    /// Returns the kind with this number; `None` if it is unknown.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1..=13 => Some(Self::ALL[number as usize - 1].1),
            _ => None,
        }
    }

    /// Returns the number of the kind on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        Self::ALL[self as usize].0
    }

    /// Returns whether datagrams of this kind have a sequence of the data, and are repaired.
    #[inline]
    #[must_use]
    pub const fn is_in_sequence(self) -> bool {
        matches!(self, Self::Data | Self::Manifest)
    }

    /// Returns whether subscribers send this kind to the publisher.
    #[must_use]
    pub const fn is_from_subscribers(self) -> bool {
        matches!(self, Self::Nak | Self::Status | Self::Probe)
    }
}

/// The flags of a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// A message begins here.
    pub const BEGIN: Self = Self(0x80);
    /// The message ends here.
    pub const END: Self = Self(0x40);
    /// The datagram is a repair. Not authenticated: the other bytes are those of the original.
    pub const REPAIR: Self = Self(0x20);
    /// Of a heartbeat: the stream ends before the sequence `next`.
    pub const END_OF_STREAM: Self = Self(0x10);
    /// Of a heartbeat: the publisher waits for statuses.
    pub const URGENT: Self = Self(0x80);
    /// Of a heartbeat: the publisher waits only for subscribers that have no room for the datagram `next`.
    pub const NO_ROOM: Self = Self(0x40);
    /// Of a heartbeat: statuses are to report what applications have received and processed.
    pub const ACKNOWLEDGE: Self = Self(0x08);
    /// Of parity: the last symbol of the block that is sent without a request.
    pub const LAST_AHEAD: Self = Self(0x40);
    /// Whole messages, each prefixed with its length.
    pub const BATCH: Self = Self(0x08);
    /// Must be zero.
    pub const RESERVED: Self = Self(0x04);
    /// The path on which the datagram is sent, 0 to 3. Not authenticated.
    pub const PATH: Self = Self(0x03);
    /// The flags that may differ between two copies of a datagram.
    pub const MUTABLE: Self = Self(Self::REPAIR.0 | Self::PATH.0);

    /// Returns whether all of these flags are set.
    #[inline]
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Returns the flags with these set.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Returns the flags with these cleared.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// Returns the path on which the datagram was sent, 0 to 3.
    #[must_use]
    pub const fn path(self) -> u8 {
        self.0 & Self::PATH.0
    }
}

/// The fixed header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The kind.
    pub kind: Kind,
    /// The flags.
    pub flags: Flags,
    /// The epoch of the secret that sealed it.
    pub epoch: KeyEpoch,
    /// The stream.
    pub stream: StreamId,
    /// The incarnation of the stream's publisher.
    pub incarnation: Incarnation,
    /// In data, the lower half of the number of the first message in the datagram, or of the message that it continues.
    pub message: u32,
    /// In data, the sequence, from 1 on; in all other kinds, a count kept by their publisher.
    pub sequence: u64,
}

impl Header {
    /// The offset of the flags.
    pub(crate) const FLAGS_AT: usize = 5;
    /// The offset of the length in words.
    pub(crate) const LENGTH_AT: usize = 4;

    /// Creates a header without flags, seal and message number.
    #[must_use]
    pub const fn new(kind: Kind, stream: StreamId, incarnation: Incarnation, sequence: u64) -> Self {
        let (flags, epoch) = (Flags(0), KeyEpoch::CLEAR);
        Self { kind, flags, epoch, stream, incarnation, message: 0, sequence }
    }

    /// Reads a header, and returns it with the offset at which the extensions end.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a datagram of this protocol, or are malformed.
    #[inline]
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), WireError> {
        let Some(fixed) = bytes.first_chunk::<HEADER_LENGTH>() else {
            return Err(if bytes.starts_with(&MAGIC) { WireError::Short } else { WireError::Foreign });
        };
        if fixed[..2] != MAGIC {
            return Err(WireError::Foreign);
        }
        if fixed[2] >> 4 != MAJOR {
            return Err(WireError::Version(fixed[2]));
        }
        let kind = Kind::from_number(fixed[3]).ok_or(WireError::UnknownKind(fixed[3]))?;
        let end = usize::from(fixed[Self::LENGTH_AT]) * 4;
        if !(HEADER_LENGTH..=LONGEST_HEADER).contains(&end) || end > bytes.len() {
            return Err(WireError::HeaderLength(fixed[Self::LENGTH_AT]));
        }
        let flags = Flags(fixed[Self::FLAGS_AT]);
        if flags.0 & Flags::RESERVED.0 != 0 {
            return Err(WireError::ReservedFlag);
        }
        let header = Self {
            kind,
            flags,
            epoch: KeyEpoch(u16::from_be_bytes([fixed[6], fixed[7]])),
            stream: StreamId(u64::from_be_bytes(array(fixed, 8).ok_or(WireError::Short)?)),
            incarnation: Incarnation(u32::from_be_bytes(array(fixed, 16).ok_or(WireError::Short)?)),
            message: u32::from_be_bytes(array(fixed, 20).ok_or(WireError::Short)?),
            sequence: u64::from_be_bytes(array(fixed, 24).ok_or(WireError::Short)?),
        };
        Ok((header, end))
    }

    /// Returns the bytes of the header for a datagram without extensions.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = MAJOR << 4 | MINOR;
        bytes[3] = self.kind.number();
        bytes[Self::LENGTH_AT] = (HEADER_LENGTH / 4) as u8;
        bytes[Self::FLAGS_AT] = self.flags.0;
        bytes[6..8].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.stream.0.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.incarnation.0.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.message.to_be_bytes());
        bytes[24..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}
