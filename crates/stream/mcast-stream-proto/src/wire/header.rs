//! The header of every datagram, the extensions between header and body, and why bytes are not a datagram.

use super::identity::{Incarnation, KeyEpoch, StreamId};

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

/// Declares the kinds of datagrams, each with its number on the wire and its name.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        pub enum Kind {
            $($(#[$doc:meta])* $kind:ident = $number:literal => $name:literal,)*
        }
    ) => {
        $(#[$meta])*
        pub enum Kind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl Kind {
            /// Returns the kind with this number; `None` if it is unknown.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// Returns the name of the kind, as text and JSON have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// The kind of a datagram.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    #[repr(u8)]
    pub enum Kind {
        /// Messages, or a fragment of one.
        Data = 1 => "data",
        /// A parity symbol, from which lost datagrams of data, and manifests, are recovered.
        Parity = 2 => "parity",
        /// The publisher's state.
        Heartbeat = 3 => "heartbeat",
        /// The datagrams that a subscriber is missing.
        Nak = 4 => "nak",
        /// The progress of a subscriber.
        Status = 5 => "status",
        /// The repairs that the publisher is about to send, and the oldest datagram that it can repair.
        Ncf = 6 => "confirmation",
        /// A subscriber requests an echo, to prove its address and to measure the round-trip time.
        Probe = 7 => "probe",
        /// The digests of the datagrams before it, signed. It has a sequence like data.
        Manifest = 8 => "manifest",
        /// The name and the paths of a stream.
        Announce = 9 => "announcement",
        /// The publisher evicts, refuses or releases a subscriber.
        Reset = 10 => "reset",
        /// The answer to a probe: of the publisher, or of a subscriber that repairs for others, which names itself.
        Echo = 11 => "echo",
        /// The address of a server that keeps the messages of a stream.
        History = 12 => "history",
        /// A subscriber searches such a server.
        HistorySearch = 13 => "history-search",
    }
}

impl Kind {
    /// Returns the number of the kind on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
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
#[non_exhaustive]
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

    /// Returns the header with a change. Outside this crate, it cannot be written as a literal, so that fields can be added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
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

/// The reason why bytes cannot be parsed as a datagram of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It does not belong to this protocol.
    #[error("not a datagram of this protocol")]
    Foreign,
    /// It is truncated.
    #[error("the datagram is truncated")]
    Short,
    /// It is of another major version.
    #[error("version {}.{} is not supported, only major version {} is", .0 >> 4, .0 & 15, super::MAJOR)]
    Version(u8),
    /// It has an unknown kind, which a later minor version may define: ignore it.
    #[error("kind {0} is unknown")]
    UnknownKind(u8),
    /// The length of the header is out of range, or greater than that of the datagram.
    #[error("a header length of {0} words is invalid")]
    HeaderLength(u8),
    /// The reserved flag is set.
    #[error("the reserved flag is set")]
    ReservedFlag,
    /// The extensions do not fill the header exactly.
    #[error("an extension has an invalid length")]
    Extension,
    /// A critical extension is unknown.
    #[error("the critical extension {0:#04x} is unknown")]
    CriticalExtension(u8),
    /// The body does not fit its kind.
    #[error("the body is malformed")]
    Body,
}

#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// The kind of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtensionKind(pub u8);

impl ExtensionKind {
    /// The bit of critical kinds: a datagram with an unknown one must be dropped.
    pub const CRITICAL: u8 = 0x80;
    /// The length of the whole message in bytes (32 bits): on its first fragment.
    pub const TOTAL_LENGTH: Self = Self(Self::CRITICAL | 1);
    /// Each message in the datagram begins with its key of 8 bytes.
    pub const KEYED: Self = Self(Self::CRITICAL | 4);
    /// The signature of the publisher (64 bytes), with the id of its key as the small value: on manifests, heartbeats,
    /// confirmations, resets and announcements of a signed stream.
    pub const SIGNATURE: Self = Self(7);
    /// The subscriber that sends the datagram (64 bits).
    pub const SUBSCRIBER: Self = Self(Self::CRITICAL | 9);

    /// The salt of the publisher's incarnation (64 bits): on all datagrams of the publisher of a sealed stream.
    pub const SALT: Self = Self(Self::CRITICAL | 10);
    /// Where the messages come from: on heartbeats of a publisher that reads them from an engine.
    pub const ORIGIN: Self = Self(11);
    /// What the subscriber's application has received and processed: on statuses that the publisher requests with
    /// [`Flags::ACKNOWLEDGE`](super::Flags::ACKNOWLEDGE).
    pub const ACKNOWLEDGEMENT: Self = Self(12);
    /// The name of the subscriber: on statuses. The small value is its length in bytes.
    pub const NAME: Self = Self(13);
    /// Some of the subscribers that repair for others: on heartbeats. The small value is their number.
    pub const REPAIRERS: Self = Self(14);
    /// Where the messages of the former publisher are: on heartbeats of a publisher that continues a stream.
    pub const RECALLED: Self = Self(15);
    /// The publisher serves the history of the stream: on heartbeats. The small value is the TCP port.
    pub const HISTORY: Self = Self(16);

    const fn is_critical(self) -> bool {
        self.0 & Self::CRITICAL != 0
    }

    const fn is_known(self) -> bool {
        matches!(self, Self::TOTAL_LENGTH | Self::KEYED | Self::SUBSCRIBER | Self::SALT)
    }
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extension<'a> {
    /// The kind.
    pub kind: ExtensionKind,
    /// The small value.
    pub small: u16,
    /// The value: whole words.
    pub value: &'a [u8],
}

/// The extensions of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Checks that extensions fill the bytes exactly, and that all critical ones are known.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (extension, behind) = split(rest).ok_or(WireError::Extension)?;
            if extension.kind.is_critical() && !extension.kind.is_known() {
                return Err(WireError::CriticalExtension(extension.kind.0));
            }
            rest = behind;
        }
        Ok(Self { bytes })
    }

    /// Returns the first extension of this kind.
    #[must_use]
    pub fn find(mut self, kind: ExtensionKind) -> Option<Extension<'a>> {
        self.by_ref().find(|extension| extension.kind == kind)
    }

    /// Returns the 32-bit value of the first extension of this kind.
    #[must_use]
    pub fn u32(self, kind: ExtensionKind) -> Option<u32> {
        u32_at(self.find(kind)?.value, 0)
    }

    /// Returns the 64-bit value of the first extension of this kind.
    #[must_use]
    pub fn u64(self, kind: ExtensionKind) -> Option<u64> {
        u64_at(self.find(kind)?.value, 0)
    }

    /// Returns whether there are no extensions.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let (extension, rest) = split(self.bytes)?;
        self.bytes = rest;
        Some(extension)
    }
}

/// Returns the extension at the start of the bytes, and the bytes after it.
fn split(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let length = usize::from(*bytes.get(1)?) * 4;
    let value = bytes.get(4..length)?;
    let extension = Extension { kind: ExtensionKind(bytes[0]), small: u16_at(bytes, 2)?, value };
    Some((extension, bytes.get(length..)?))
}
