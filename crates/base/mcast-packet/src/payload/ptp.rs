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

/// The properties of a clock, by which the others choose the best one (IEEE 1588-2019 clauses 13.5 and 15.5.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PtpClock {
    /// The identity of the clock.
    pub identity: u64,
    /// The first priority: the lowest wins.
    pub priority1: u8,
    /// The class, such as 6 for a clock that follows GNSS.
    pub class: u8,
    /// The accuracy, as a code: 0x21 is 100 ns.
    pub accuracy: u8,
    /// The stability, as a scaled logarithm.
    pub variance: u16,
    /// The second priority, which decides between clocks of equal quality.
    pub priority2: u8,
}

/// The content of an announce message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PtpAnnounce {
    /// The clock that the sender distributes the time of.
    pub grandmaster: PtpClock,
    /// The number of clocks between it and the receiver.
    pub steps_removed: u16,
    /// Where the grandmaster has the time from, as a code: 0x20 is GNSS.
    pub time_source: u8,
    /// The offset between TAI and UTC in seconds.
    pub utc_offset: i16,
}

/// What a clock answers to the question for its properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PtpDataSet {
    /// The clock.
    pub clock: PtpClock,
    /// The number of its ports.
    pub ports: u16,
    /// Whether it never becomes a master.
    pub is_slave_only: bool,
    /// Its domain.
    pub domain: u8,
}

/// A sync message of version 1 (IEEE 1588-2002), which also describes the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PtpV1Sync<'a> {
    /// The domain, such as `_DFLT`.
    pub subdomain: &'a [u8],
    /// The identity of the sender.
    pub clock: [u8; 6],
    /// The identity of the clock that the sender distributes the time of.
    pub grandmaster: [u8; 6],
    /// The stratum of that clock: 1 and 2 are references.
    pub stratum: u8,
    /// The quality of that clock, such as `GPS` or `DFLT`.
    pub quality: &'a [u8],
    /// Whether that clock is preferred.
    pub is_preferred: bool,
    /// The number of clocks between the grandmaster and the sender.
    pub steps_removed: u16,
    /// The base-2 logarithm of the interval between sync messages in seconds.
    pub log_interval: i8,
}

impl PtpAnnounce {
    /// Parses the body of an announce message; `None` if this is another message.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = Ptp::parse(bytes).filter(|header| header.kind == PtpKind::Announce)?;
        let bytes = bytes.get(..usize::from(header.length))?;
        Some(Self {
            grandmaster: PtpClock {
                identity: u64_at(bytes, 53)?,
                priority1: u8_at(bytes, 47)?,
                class: u8_at(bytes, 48)?,
                accuracy: u8_at(bytes, 49)?,
                variance: u16_at(bytes, 50)?,
                priority2: u8_at(bytes, 52)?,
            },
            steps_removed: u16_at(bytes, 61)?,
            time_source: u8_at(bytes, 63)?,
            utc_offset: i16::from_be_bytes(array_at(bytes, 44)?),
        })
    }
}

impl PtpDataSet {
    const DEFAULT_DATA_SET: u16 = 0x2000;
    /// The length of a question for it in bytes.
    pub const QUESTION_LENGTH: usize = 54;

    /// Parses the answer of a clock (IEEE 1588-2019 clause 15.5.3.3.1); `None` if this is another message.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        const RESPONSE: u8 = 2;
        const MANAGEMENT: u16 = 1;
        let header = Ptp::parse(bytes).filter(|header| header.kind == PtpKind::Management)?;
        let bytes = bytes.get(..usize::from(header.length))?;
        let is_answer = u8_at(bytes, 46)? & 0x0f == RESPONSE
            && u16_at(bytes, 48)? == MANAGEMENT
            && u16_at(bytes, 52)? == Self::DEFAULT_DATA_SET;
        let data = bytes.get(54..).filter(|_| is_answer)?;
        Some(Self {
            clock: PtpClock {
                identity: u64_at(data, 10)?,
                priority1: u8_at(data, 4)?,
                class: u8_at(data, 5)?,
                accuracy: u8_at(data, 6)?,
                variance: u16_at(data, 7)?,
                priority2: u8_at(data, 9)?,
            },
            ports: u16_at(data, 2)?,
            is_slave_only: u8_at(data, 0)? & 2 != 0,
            domain: u8_at(data, 18)?,
        })
    }

    /// Returns the question to all clocks of a domain, sent by `clock`. It crosses no boundary clock.
    #[must_use]
    pub fn question(domain: u8, clock: u64, sequence: u16) -> [u8; Self::QUESTION_LENGTH] {
        let mut bytes = [0; Self::QUESTION_LENGTH];
        let header = Ptp {
            kind: PtpKind::Management,
            minor_version: 0,
            length: Self::QUESTION_LENGTH as u16,
            domain,
            flags: 0,
            correction: 0,
            clock,
            clock_port: 1,
            sequence,
            log_interval: 0x7f,
        };
        // The buffer has the length of the message.
        let _ = header.emit(&mut bytes);
        // All ports of all clocks; no boundary hops; get; a TLV of management with the id and without data.
        let body =
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 2, 0x20, 0];
        if let Some(rest) = bytes.get_mut(Ptp::HEADER_LENGTH..) {
            rest.copy_from_slice(&body);
        }
        bytes
    }
}

impl<'a> PtpV1Sync<'a> {
    /// Parses the payload of a datagram to port 319; `None` if this is another message.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        const SYNC: u8 = 0;
        let is_sync = u16_at(bytes, 0)? == 1 && u8_at(bytes, 20)? == 1 && u8_at(bytes, 32)? == SYNC;
        let text = |from: usize, length| {
            let bytes: &[u8] = bytes.get(from..from + length)?;
            bytes.split(|byte| matches!(byte, 0)).next()
        };
        is_sync.then_some(())?;
        Some(Self {
            subdomain: text(4, 16)?,
            clock: array_at(bytes, 22)?,
            grandmaster: array_at(bytes, 54)?,
            stratum: u8_at(bytes, 67)?,
            quality: text(68, 4)?,
            is_preferred: u8_at(bytes, 77)? != 0,
            steps_removed: u16_at(bytes, 90)?,
            log_interval: i8::from_be_bytes(array_at(bytes, 83)?),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: PtpKind, length: u16, body: &[u8]) -> [u8; 128] {
        let header = Ptp {
            kind,
            minor_version: 0,
            length,
            domain: 3,
            flags: 0,
            correction: 0,
            clock: 0x0202_02ff_fe00_0001,
            clock_port: 1,
            sequence: 1,
            log_interval: 0,
        };
        let mut bytes = [0; 128];
        header.emit(&mut bytes).unwrap();
        bytes[Ptp::HEADER_LENGTH..][..body.len()].copy_from_slice(body);
        bytes
    }

    #[test]
    fn announce_states_the_grandmaster_and_its_quality() {
        let body = [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 37, 0, 128, 6, 0x21, 0x4e, 0x5d, 127, 0xaa, 0xbb, 0xcc, 0xff,
            0xfe, 1, 2, 3, 0, 2, 0x20,
        ];
        let bytes = message(PtpKind::Announce, 64, &body);
        let announce = PtpAnnounce::parse(&bytes).unwrap();
        let clock = announce.grandmaster;
        assert_eq!((clock.identity, clock.class, clock.accuracy), (0xaabb_ccff_fe01_0203, 6, 0x21));
        assert_eq!((clock.priority1, clock.priority2, clock.variance), (128, 127, 0x4e5d));
        assert_eq!((announce.steps_removed, announce.time_source, announce.utc_offset), (2, 0x20, 37));
        assert_eq!(PtpAnnounce::parse(&message(PtpKind::Announce, 63, &body)), None);
        assert_eq!(PtpAnnounce::parse(&message(PtpKind::Sync, 64, &body)), None);
        assert_eq!(PtpAnnounce::parse(&bytes[..63]), None);
    }

    #[test]
    fn question_for_properties_and_answer_have_one_form() {
        let question = PtpDataSet::question(3, 7, 1);
        assert_eq!(PtpDataSet::parse(&question), None);
        let mut body = [0; 40];
        body[..20].copy_from_slice(&question[34..]);
        body[12] = 2;
        body[17] = 22;
        body[20..40]
            .copy_from_slice(&[2, 0, 0, 2, 128, 255, 0xfe, 0xff, 0xff, 128, 1, 2, 3, 4, 5, 6, 7, 8, 3, 0]);
        let answer = PtpDataSet::parse(&message(PtpKind::Management, 74, &body)).unwrap();
        assert_eq!(
            (answer.clock.identity, answer.clock.class, answer.ports),
            (0x0102_0304_0506_0708, 255, 2)
        );
        assert_eq!((answer.is_slave_only, answer.domain), (true, 3));
        assert_eq!(PtpDataSet::parse(&message(PtpKind::Management, 60, &body)), None);
    }

    #[test]
    fn sync_of_version_1_describes_the_clock() {
        let mut bytes = [0; 124];
        bytes[..9].copy_from_slice(b"\0\x01\0\x01_DFLT");
        bytes[20] = 1;
        bytes[22..28].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
        bytes[54..60].copy_from_slice(&[0, 0x1d, 0xc1, 4, 5, 6]);
        bytes[67..72].copy_from_slice(b"\x04DFLT");
        bytes[77] = 1;
        bytes[83] = 0xfe;
        bytes[91] = 1;
        let sync = PtpV1Sync::parse(&bytes).unwrap();
        assert_eq!((sync.subdomain, sync.quality), (&b"_DFLT"[..], &b"DFLT"[..]));
        assert_eq!((sync.clock[5], sync.grandmaster[5], sync.stratum), (3, 6, 4));
        assert_eq!((sync.is_preferred, sync.log_interval, sync.steps_removed), (true, -2, 1));
        assert_eq!(PtpV1Sync::parse(&bytes[..91]), None);
        bytes[32] = 2;
        assert_eq!(PtpV1Sync::parse(&bytes), None);
    }
}
