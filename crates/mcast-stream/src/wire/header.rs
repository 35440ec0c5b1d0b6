//! The 32 bytes that every datagram begins with.

use super::bytes::array;
use super::identity::{Incarnation, KeyEpoch, StreamId};
use super::packet::WireError;

/// The first two bytes of every datagram.
pub const MAGIC: [u8; 2] = *b"MC";
/// The version whose datagrams are understood; another major version is not.
pub const MAJOR: u8 = 1;
/// The minor version that is written. A greater one may add kinds and extensions that can be
/// passed over.
pub const MINOR: u8 = 0;
/// The length of the header without extensions, in bytes.
pub const HEADER_LENGTH: usize = 32;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Messages, or a piece of one.
    Data,
    /// Repair symbols: room that is kept for them; nothing sends them yet.
    Parity,
    /// The sender's state.
    Heartbeat,
    /// What a receiver misses.
    Nak,
    /// What a receiver has.
    Status,
    /// What the sender is about to repair, and what it no longer can.
    Ncf,
    /// A receiver asks for a heartbeat, or proves its address.
    Probe,
    /// Hashes that are signed: room that is kept for them; nothing sends them yet.
    Manifest,
    /// A stream tells its name and places.
    Announce,
    /// The sender refuses a receiver.
    Reset,
    /// The sender's answer to a probe.
    Echo,
}

impl Kind {
    const ALL: [(u8, Self); 11] = [
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
    ];

    /// The kind of this number; `None` for those to come.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1..=11 => Some(Self::ALL[number as usize - 1].1),
            _ => None,
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        Self::ALL[self as usize].0
    }

    /// Whether receivers send it, and the stream's sender is who reads it.
    #[must_use]
    pub const fn is_from_receivers(self) -> bool {
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
    /// It is sent again. Not authenticated: a repair is the same bytes but for this.
    pub const REPAIR: Self = Self(0x20);
    /// The stream ends before the sequence number that the heartbeat tells.
    pub const END_OF_STREAM: Self = Self(0x10);
    /// Of a heartbeat: the sender waits to hear what receivers have.
    pub const URGENT: Self = Self(0x80);
    /// Whole messages, each behind its length.
    pub const BATCH: Self = Self(0x08);
    /// Must be zero.
    pub const RESERVED: Self = Self(0x04);
    /// The path it was sent on, 0 to 3. Not authenticated.
    pub const PATH: Self = Self(0x03);
    /// What may differ between two copies of one datagram.
    pub const MUTABLE: Self = Self(Self::REPAIR.0 | Self::PATH.0);

    /// Whether all of these are set.
    #[inline]
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// With these set, too.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Without these.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// The path it was sent on, 0 to 3.
    #[must_use]
    pub const fn path(self) -> u8 {
        self.0 & Self::PATH.0
    }
}

/// What every datagram begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// Which secret sealed it.
    pub epoch: KeyEpoch,
    /// Its stream.
    pub stream: StreamId,
    /// The life of the stream's sender.
    pub incarnation: Incarnation,
    /// Of data, the lower half of the number of the first message in it, or of the message that it
    /// continues.
    pub message: u32,
    /// Of data, its place in the stream, from 1 on; of anything else, its sender's own count.
    pub sequence: u64,
}

impl Header {
    /// Where the flags stand.
    pub(crate) const FLAGS_AT: usize = 5;
    /// Where the length in words stands.
    pub(crate) const LENGTH_AT: usize = 4;

    /// A header with nothing but what it is about.
    #[must_use]
    pub const fn new(kind: Kind, stream: StreamId, incarnation: Incarnation, sequence: u64) -> Self {
        let (flags, epoch) = (Flags(0), KeyEpoch::CLEAR);
        Self { kind, flags, epoch, stream, incarnation, message: 0, sequence }
    }

    /// Reads a header, and says where the extensions end.
    ///
    /// # Errors
    /// What is no datagram of this protocol, and why.
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
        if !(HEADER_LENGTH..=63 * 4).contains(&end) || end > bytes.len() {
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

    /// The header's bytes, as of a datagram without extensions.
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
