//! PTP version 2 (IEEE 1588-2008 and 1588-2019, clause 13.3), which synchronizes clocks over a network.

use core::fmt;

use crate::EmitError;
use crate::list::{Writer, array_at, u8_at, u16_at, u64_at};

/// The common header of PTP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ptp {
    /// The message type.
    pub kind: PtpKind,
    /// The minor version: 0 in the 2008 edition, 1 in the 2019 edition.
    pub minor_version: u8,
    /// The length of the message in bytes.
    pub length: u16,
    /// The domain. Clocks synchronize only within a domain.
    pub domain: u8,
    /// The flag field, undecoded; 0x0200 announces a follow-up message.
    pub flags: u16,
    /// The correction of the times in the message, in units of 2^-16 ns.
    pub correction: i64,
    /// The identity of the sending clock.
    pub clock: u64,
    /// The port number of that clock.
    pub clock_port: u16,
    /// The sequence number, which counts the messages of this type and clock.
    pub sequence: u16,
    /// The base-2 logarithm of the message interval in seconds; 127 if undefined.
    pub log_interval: i8,
}

/// The type of a PTP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PtpKind {
    /// Distributes the time of a clock.
    Sync,
    /// Measures the delay to the clock that distributes the time.
    DelayRequest,
    /// Measures the delay to a neighbor.
    PeerDelayRequest,
    /// The response to a peer delay request.
    PeerDelayResponse,
    /// The precise time at which the last sync was sent.
    FollowUp,
    /// The response to a delay request.
    DelayResponse,
    /// The precise time at which the last peer delay response was sent.
    PeerDelayFollowUp,
    /// Announces the properties of a clock, such as its quality.
    Announce,
    /// Carries information between clocks.
    Signaling,
    /// Queries and configures clocks.
    Management,
    /// An undefined type.
    Other(u8),
}

impl Ptp {
    /// The port of event messages, whose arrival is timestamped.
    pub const EVENT_PORT: u16 = 319;

    /// The port of general messages.
    pub const GENERAL_PORT: u16 = 320;

    /// The length of the header in bytes.
    pub const HEADER_LENGTH: usize = 34;

    /// Parses the header in the payload of a datagram. Returns `None` if the version is not 2, or if the
    /// stated length is greater than that of the datagram or less than that of the header.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let version = u8_at(bytes, 1)?;
        let length = u16_at(bytes, 2)?;
        if version & 0x0f != 2 || usize::from(length) > bytes.len() {
            return None;
        }
        if usize::from(length) < Self::HEADER_LENGTH {
            return None;
        }
        Some(Self {
            kind: PtpKind::from(u8_at(bytes, 0)? & 0x0f),
            minor_version: version >> 4,
            length,
            domain: u8_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            correction: i64::from_be_bytes(array_at(bytes, 8)?),
            clock: u64_at(bytes, 20)?,
            clock_port: u16_at(bytes, 28)?,
            sequence: u16_at(bytes, 30)?,
            log_interval: i8::from_be_bytes(array_at(bytes, 33)?),
        })
    }

    /// Writes the header to the start of the buffer, followed by zeros up to the length of the message.
    /// Returns that length.
    ///
    /// # Errors
    /// Returns [`EmitError::BufferTooShort`] if the message does not fit, and [`EmitError::NoSuchMessage`]
    /// for a length below that of the header or a type above 15.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, EmitError> {
        let length = usize::from(self.length);
        if length < Self::HEADER_LENGTH || self.kind.number() > 15 {
            return Err(EmitError::NoSuchMessage);
        }
        let message = buffer.get_mut(..length).ok_or(EmitError::BufferTooShort)?;
        message.fill(0);
        let mut writer = Writer::new(message);
        writer.put(&[self.kind.number(), self.minor_version << 4 | 2])?;
        writer.put_u16(self.length)?;
        writer.put(&[self.domain, 0])?;
        writer.put_u16(self.flags)?;
        writer.put(&self.correction.to_be_bytes())?;
        writer.put(&[0; 4])?;
        writer.put_u64(self.clock)?;
        writer.put_u16(self.clock_port)?;
        writer.put_u16(self.sequence)?;
        writer.put(&[self.kind.control(), self.log_interval.to_be_bytes()[0]])?;
        Ok(length)
    }
}

impl PtpKind {
    const fn number(self) -> u8 {
        match self {
            Self::Sync => 0x0,
            Self::DelayRequest => 0x1,
            Self::PeerDelayRequest => 0x2,
            Self::PeerDelayResponse => 0x3,
            Self::FollowUp => 0x8,
            Self::DelayResponse => 0x9,
            Self::PeerDelayFollowUp => 0xa,
            Self::Announce => 0xb,
            Self::Signaling => 0xc,
            Self::Management => 0xd,
            Self::Other(number) => number,
        }
    }

    /// Returns the control field of version 1, which version 2 retains.
    const fn control(self) -> u8 {
        match self {
            Self::Sync => 0,
            Self::DelayRequest => 1,
            Self::FollowUp => 2,
            Self::DelayResponse => 3,
            Self::Management => 4,
            _ => 5,
        }
    }
}

impl From<u8> for PtpKind {
    fn from(number: u8) -> Self {
        match number {
            0x0 => Self::Sync,
            0x1 => Self::DelayRequest,
            0x2 => Self::PeerDelayRequest,
            0x3 => Self::PeerDelayResponse,
            0x8 => Self::FollowUp,
            0x9 => Self::DelayResponse,
            0xa => Self::PeerDelayFollowUp,
            0xb => Self::Announce,
            0xc => Self::Signaling,
            0xd => Self::Management,
            _ => Self::Other(number),
        }
    }
}

impl fmt::Display for PtpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::DelayRequest => "delay request",
            Self::PeerDelayRequest => "peer delay request",
            Self::PeerDelayResponse => "peer delay response",
            Self::FollowUp => "follow-up",
            Self::DelayResponse => "delay response",
            Self::PeerDelayFollowUp => "peer delay follow-up",
            Self::Announce => "announce",
            Self::Signaling => "signaling",
            Self::Management => "management",
            Self::Other(number) => return write!(f, "message {number:#x}"),
        })
    }
}

impl fmt::Display for Ptp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, domain, clock, clock_port, sequence, .. } = self;
        write!(f, "PTPv2 {kind}, domain {domain}, number {sequence}, clock {clock:016x} port {clock_port}")
    }
}
