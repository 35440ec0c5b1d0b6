//! RTPS (OMG, versions 2.1 to 2.5), the wire protocol of DDS: who participates in a domain, and what they read and write.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use crate::list::{array_at, u8_at, u16_at};

/// A message of RTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtps<'a> {
    /// The version of the protocol: major, minor.
    pub version: (u8, u8),
    /// The implementation that sent the message.
    pub vendor: RtpsVendor,
    /// The participant that sent it.
    pub participant: RtpsPrefix,
    submessages: &'a [u8],
}

/// The implementation of DDS that a participant uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtpsVendor(pub u16);

/// The identifier of a participant. The default is that of none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtpsPrefix(pub [u8; 12]);

/// The identifier of a participant, a reader or a writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtpsGuid {
    /// The participant.
    pub prefix: RtpsPrefix,
    /// The entity in it.
    pub entity: u32,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpsSubmessage<'a> {
    /// The type, such as 0x15 for data.
    pub kind: u8,
    /// The flags, of which the lowest states the byte order.
    pub flags: u8,
    /// The content after the header.
    pub body: &'a [u8],
}

/// A change that a writer sends: a sample, or the end of what it described before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpsData<'a> {
    /// The writer.
    pub writer: RtpsGuid,
    /// The number of the change, which the writer counts.
    pub sequence: u64,
    /// What the writer adds to the sample, such as its status.
    pub inline_qos: RtpsParameters<'a>,
    /// The sample, if it is a list of parameters, as those of discovery are.
    pub parameters: RtpsParameters<'a>,
}

/// What a reliable writer has: readers request what they lack of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpsHeartbeat {
    /// The writer.
    pub writer: RtpsGuid,
    /// The numbers of the first and the last change that it has; the last is less than the first if it has none.
    pub range: (u64, u64),
    /// Whether the message names the participant that it is for.
    pub is_named: bool,
}

/// A list of parameters. Iterating over it ends at its end mark, or where the list is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpsParameters<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

/// A parameter of a participant, a reader or a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtpsParameter<'a> {
    /// How long the participant is there without another announcement; `None` means forever.
    Lease(Option<Duration>),
    /// The number of the domain.
    Domain(u32),
    /// A name that separates participants in one domain.
    DomainTag(&'a [u8]),
    /// The version of the protocol: major, minor.
    Version(u8, u8),
    /// The implementation.
    Vendor(RtpsVendor),
    /// The participant.
    Participant(RtpsGuid),
    /// The reader or writer.
    Endpoint(RtpsGuid),
    /// The name that the application gave the participant.
    EntityName(&'a [u8]),
    /// An address where it receives.
    Locator(RtpsLocatorUse, RtpsLocator),
    /// The name of the topic.
    Topic(&'a [u8]),
    /// The name of the type of the samples.
    Type(&'a [u8]),
    /// Whether lost samples are repaired.
    IsReliable(bool),
    /// What late readers get: 0 nothing, 1 what the writer keeps, 2 and 3 what a service keeps.
    Durability(u32),
    /// How often a writer provides a sample; `None` means that it promises nothing.
    Deadline(Option<Duration>),
    /// How writers show that they are there (0 automatically, 1 by participant, 2 by topic), and how often.
    Liveliness(u32, Option<Duration>),
    /// Whether readers take samples from one writer at a time.
    IsExclusive(bool),
    /// The time that orders samples: 0 that of the reception, 1 that of the writer.
    Order(u32),
    /// The encodings that a reader decodes, or that of a writer: 0 XCDR1, 1 XML, 2 XCDR2. At most three.
    Encodings([Option<u16>; 3]),
    /// The names of partitions. Readers and writers match within one.
    Partitions(RtpsStrings<'a>),
    /// Names and values that alternate.
    Properties(RtpsStrings<'a>),
    /// The hash of the key of the sample: for discovery, the identifier of what it describes.
    KeyHash(RtpsGuid),
    /// Whether what the sample describes is gone.
    IsGone(bool),
    /// Another parameter.
    Other(u16),
}

/// What a locator is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RtpsLocatorUse {
    /// Samples of the application, to one host.
    Unicast,
    /// Samples of the application, to a group.
    Multicast,
    /// Discovery, to one host.
    DiscoveryUnicast,
    /// Discovery, to a group.
    DiscoveryMulticast,
}

/// An address of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RtpsLocator {
    /// UDP.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
    /// Shared memory of the host.
    SharedMemory,
    /// Another transport, by its number.
    Other(i32),
}

/// A sequence of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpsStrings<'a> {
    bytes: &'a [u8],
    is_little: bool,
    count: u32,
    /// Where the next text begins.
    offset: usize,
}

/// The types of submessages that are read.
mod kind {
    pub(super) const PAD: u8 = 0x01;
    pub(super) const ACKNACK: u8 = 0x06;
    pub(super) const HEARTBEAT: u8 = 0x07;
    pub(super) const INFO_TS: u8 = 0x09;
    pub(super) const INFO_SRC: u8 = 0x0c;
    pub(super) const INFO_DST: u8 = 0x0e;
    pub(super) const DATA: u8 = 0x15;
}

impl<'a> Rtps<'a> {
    /// The port of the domain 0: discovery by multicast.
    pub const FIRST_PORT: u16 = 7400;

    /// The length of the header in bytes.
    pub const HEADER_LENGTH: usize = 20;

    /// The group of discovery, unless it is configured.
    pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 0, 1);

    /// The group of discovery by IPv6, as Cyclone DDS has it.
    pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0xffff, 0xefff, 1);

    /// Parses the payload of a datagram.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let submessages = bytes.get(Self::HEADER_LENGTH..).filter(|_| bytes.starts_with(b"RTPS"))?;
        Some(Self {
            version: (u8_at(bytes, 4)?, u8_at(bytes, 5)?),
            vendor: RtpsVendor(u16_at(bytes, 6)?),
            participant: RtpsPrefix(array_at(bytes, 8)?),
            submessages,
        })
    }

    /// Returns the domain of a port, and whether it is the one of discovery by multicast, if the default mapping is used (RTPS 2.5
    /// section 9.6.1.1).
    #[must_use]
    pub const fn domain_of_port(port: u16) -> Option<(u32, bool)> {
        match port.checked_sub(Self::FIRST_PORT) {
            Some(offset) => match offset % 250 {
                0 => Some((offset as u32 / 250, true)),
                1 | 10.. => Some((offset as u32 / 250, false)),
                _ => None,
            },
            None => None,
        }
    }

    /// Returns the submessages.
    #[must_use]
    pub const fn submessages(&self) -> RtpsSubmessages<'a> {
        RtpsSubmessages { rest: self.submessages }
    }

    /// Returns the changes in the message.
    pub fn data(&self) -> impl Iterator<Item = RtpsData<'a>> + use<'a> {
        let mut prefix = self.participant;
        self.submessages().filter_map(move |submessage| {
            if submessage.kind == kind::INFO_SRC {
                prefix = RtpsPrefix(array_at(submessage.body, 8)?);
            }
            submessage.data(prefix)
        })
    }
}

impl Rtps<'_> {
    /// Returns the heartbeats that are for this participant, and those for none in particular.
    pub fn heartbeats_for(&self, reader: RtpsPrefix) -> impl Iterator<Item = RtpsHeartbeat> + '_ {
        let mut to = None;
        self.submessages().filter_map(move |submessage| {
            let RtpsSubmessage { kind, flags, body } = submessage;
            if kind == kind::INFO_DST {
                to = array_at(body, 0).filter(|prefix| *prefix != [0; 12]);
            }
            if kind != kind::HEARTBEAT || to.is_some_and(|prefix| prefix != reader.0) {
                return None;
            }
            let is_little = flags & 1 == 1;
            Some(RtpsHeartbeat {
                writer: RtpsGuid { prefix: self.participant, entity: u32::from_be_bytes(array_at(body, 4)?) },
                range: (number64(body, 8, is_little)?, number64(body, 16, is_little)?),
                is_named: to.is_some(),
            })
        })
    }
}

/// Questions about the participants of a domain, and about their readers and writers. A program asks as a participant that only
/// listens.
impl RtpsPrefix {
    /// The length in bytes of [`Self::greeting`].
    pub const GREETING_LENGTH: usize = 168;
    /// The greatest length in bytes of [`Self::request`].
    pub const MAX_REQUEST_LENGTH: usize = 68;

    /// Returns the announcement of this participant in a domain, for this group. Others answer with theirs, to the address of the
    /// sender or to the group, and offer what they know of their readers and writers. They forget it after `lease` seconds. The name ends with a 0.
    #[must_use]
    pub fn greeting(
        self,
        domain: u32,
        group: IpAddr,
        name: &[u8; 16],
        lease: u32,
    ) -> [u8; Self::GREETING_LENGTH] {
        const DETECTS_PARTICIPANTS_READERS_AND_WRITERS: u32 = 2 | 8 | 32;
        let mut bytes = [0; Self::GREETING_LENGTH];
        let mut writer = Little::new(&mut bytes, self);
        // Data for all readers, by the writer of participants, the first change.
        writer.submessage(kind::DATA, 5, 144);
        writer.put(&[0, 0, 16, 0, 0, 0, 0, 0]);
        writer.put(&RtpsGuid::PARTICIPANT_WRITER.to_be_bytes());
        writer.put(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0]);
        writer.parameter(0x0015, &[&[2, 2, 0, 0]]);
        writer.parameter(0x0016, &[&[0; 4]]);
        writer.parameter(0x0050, &[&self.0, &[0, 0, 1, 0xc1]]);
        writer.parameter(0x0002, &[&lease.to_le_bytes(), &[0; 4]]);
        writer.parameter(0x0058, &[&DETECTS_PARTICIPANTS_READERS_AND_WRITERS.to_le_bytes()]);
        writer.parameter(0x000f, &[&domain.to_le_bytes()]);
        // Some answer to the group only, which must be stated; others to the sender, if no address of a host is.
        let port = u32::from(Rtps::FIRST_PORT) + 250 * domain;
        let (kind, address) = match group {
            IpAddr::V4(group) => (1_u32, group.to_ipv6_compatible()),
            IpAddr::V6(group) => (2, group),
        };
        writer.parameter(0x0033, &[&kind.to_le_bytes(), &port.to_le_bytes(), &address.octets()]);
        writer.parameter(0x0062, &[&16_u32.to_le_bytes(), name]);
        writer.put(&[1, 0, 0, 0]);
        bytes
    }

    /// Writes the request to another participant for what one of its two writers of discovery has after the change `known`. It is
    /// no longer than the message with the heartbeat.
    pub fn request<'a>(
        self,
        heartbeat: &RtpsHeartbeat,
        known: u64,
        count: u32,
        buffer: &'a mut [u8; Self::MAX_REQUEST_LENGTH],
    ) -> &'a [u8] {
        const FINAL: u8 = 2;
        let RtpsHeartbeat { writer, range: (_, last), is_named } = heartbeat;
        let missing = u32::try_from(last.saturating_sub(known).min(32)).unwrap_or_default();
        let bits = if missing == 0 { 0 } else { u32::MAX << (32 - missing) };
        let base = known.saturating_add(1);
        let mut message = Little::new(buffer, self);
        if *is_named {
            message.submessage(kind::INFO_DST, 1, 12);
            message.put(&writer.prefix.0);
        }
        message.submessage(kind::ACKNACK, 1 | FINAL, 28);
        // The reader of each writer has its number and another kind.
        message.put(&writer.entity.wrapping_add(5).to_be_bytes());
        message.put(&writer.entity.to_be_bytes());
        for half in [base >> 32, base & 0xffff_ffff] {
            message.put(&(half as u32).to_le_bytes());
        }
        for word in [missing.max(1), bits, count] {
            message.put(&word.to_le_bytes());
        }
        let length = message.position;
        buffer.get(..length).unwrap_or_default()
    }
}

/// Writes a message into a buffer that is long enough.
struct Little<'a> {
    buffer: &'a mut [u8],
    position: usize,
}

impl<'a> Little<'a> {
    fn new(buffer: &'a mut [u8], from: RtpsPrefix) -> Self {
        let mut writer = Self { buffer, position: 0 };
        writer.put(b"RTPS\x02\x02\x00\x00");
        writer.put(&from.0);
        writer
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len();
        debug_assert!(end <= self.buffer.len());
        if let Some(place) = self.buffer.get_mut(self.position..end) {
            place.copy_from_slice(bytes);
        }
        self.position = end;
    }

    fn submessage(&mut self, kind: u8, flags: u8, length: u16) {
        self.put(&[kind, flags]);
        self.put(&length.to_le_bytes());
    }

    fn parameter(&mut self, id: u16, value: &[&[u8]]) {
        let length: usize = value.iter().map(|part| part.len()).sum();
        self.put(&id.to_le_bytes());
        self.put(&(length as u16).to_le_bytes());
        value.iter().for_each(|part| self.put(part));
    }
}

/// An iterator over the submessages of a message. It ends where one is cut off.
#[derive(Clone, Debug)]
pub struct RtpsSubmessages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RtpsSubmessages<'a> {
    type Item = RtpsSubmessage<'a>;

    fn next(&mut self) -> Option<RtpsSubmessage<'a>> {
        let (kind, flags) = (u8_at(self.rest, 0)?, u8_at(self.rest, 1)?);
        let length = usize::from(number16(self.rest, 2, flags & 1 == 1)?);
        let after = self.rest.get(4..)?;
        // A length of 0 means up to the end, except where it is the length.
        let is_last = length == 0 && !matches!(kind, kind::PAD | kind::INFO_TS);
        let (body, rest) = if is_last { (after, &[][..]) } else { after.split_at_checked(length)? };
        self.rest = rest;
        Some(RtpsSubmessage { kind, flags, body })
    }
}

impl<'a> RtpsSubmessage<'a> {
    /// Returns the name of the type.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            kind::PAD => "PAD",
            kind::ACKNACK => "ACKNACK",
            kind::HEARTBEAT => "HEARTBEAT",
            0x08 => "GAP",
            kind::INFO_TS => "INFO_TS",
            kind::INFO_SRC => "INFO_SRC",
            0x0d => "INFO_REPLY_IP4",
            kind::INFO_DST => "INFO_DST",
            0x0f => "INFO_REPLY",
            0x12 => "NACK_FRAG",
            0x13 => "HEARTBEAT_FRAG",
            kind::DATA => "DATA",
            0x16 => "DATA_FRAG",
            _ => "other",
        }
    }

    /// Returns the change of a participant, if this is data.
    fn data(&self, prefix: RtpsPrefix) -> Option<RtpsData<'a>> {
        const HAS_INLINE_QOS: u8 = 2;
        const HAS_PAYLOAD: u8 = 4 | 8;
        if self.kind != kind::DATA {
            return None;
        }
        let is_little = self.flags & 1 == 1;
        let entity = u32::from_be_bytes(array_at(self.body, 8)?);
        // The number counts from its own end.
        let mut rest = self.body.get(4 + usize::from(number16(self.body, 2, is_little)?)..)?;
        let mut data = RtpsData {
            writer: RtpsGuid { prefix, entity },
            sequence: number64(self.body, 12, is_little)?,
            inline_qos: RtpsParameters::default(),
            parameters: RtpsParameters::default(),
        };
        if self.flags & HAS_INLINE_QOS != 0 {
            data.inline_qos = RtpsParameters { bytes: rest, is_little };
            rest = data.inline_qos.rest()?;
        }
        if self.flags & HAS_PAYLOAD != 0 {
            data.parameters = RtpsParameters::of_payload(rest).unwrap_or_default();
        }
        Some(data)
    }
}

impl<'a> RtpsParameters<'a> {
    const PAD: u16 = 0x0000;
    const SENTINEL: u16 = 0x0001;

    /// Returns the list in a serialized sample; `None` if it has another representation.
    fn of_payload(bytes: &'a [u8]) -> Option<Self> {
        let is_little = match u16_at(bytes, 0)? {
            0x0002 | 0x000a => false,
            0x0003 | 0x000b => true,
            _ => return None,
        };
        Some(Self { bytes: bytes.get(4..)?, is_little })
    }

    /// Returns whether there is no list.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes after the end mark; `None` if there is no end mark.
    fn rest(mut self) -> Option<&'a [u8]> {
        while let Some((id, _)) = self.take_parameter() {
            if id == Self::SENTINEL {
                return Some(self.bytes);
            }
        }
        None
    }

    fn take_parameter(&mut self) -> Option<(u16, &'a [u8])> {
        let id = number16(self.bytes, 0, self.is_little)?;
        let length = usize::from(number16(self.bytes, 2, self.is_little)?);
        // The end mark may have any length, which says nothing.
        let length = if id == Self::SENTINEL { 0 } else { length };
        let (value, rest) = self.bytes.get(4..)?.split_at_checked(length)?;
        self.bytes = rest;
        Some((id, value))
    }
}

impl<'a> Iterator for RtpsParameters<'a> {
    type Item = RtpsParameter<'a>;

    fn next(&mut self) -> Option<RtpsParameter<'a>> {
        loop {
            match self.take_parameter()? {
                (Self::PAD, _) => {}
                (Self::SENTINEL, _) => {
                    self.bytes = &[];
                    return None;
                }
                (id, value) => {
                    let parameter = RtpsParameter::decode(id, value, self.is_little);
                    return Some(parameter.unwrap_or(RtpsParameter::Other(id)));
                }
            }
        }
    }
}

impl<'a> RtpsParameter<'a> {
    /// Decodes a parameter (RTPS 2.5 section 9.6.2.2); `None` if its value is too short.
    fn decode(id: u16, value: &'a [u8], is_little: bool) -> Option<Self> {
        let word = |offset| number32(value, offset, is_little);
        let guid = || RtpsGuid::at(value);
        let locator = |usage| Some(Self::Locator(usage, RtpsLocator::decode(value, is_little)?));
        Some(match id {
            0x0002 => Self::Lease(lease(word(0)?, word(4)?)),
            0x0005 => Self::Topic(text(value, is_little)?),
            0x0007 => Self::Type(text(value, is_little)?),
            0x000f => Self::Domain(word(0)?),
            0x4014 => Self::DomainTag(text(value, is_little)?),
            0x0015 => Self::Version(u8_at(value, 0)?, u8_at(value, 1)?),
            0x0016 => Self::Vendor(RtpsVendor(u16_at(value, 0)?)),
            0x001a => Self::IsReliable(word(0)? == 2),
            0x001b => Self::Liveliness(word(0)?, lease(word(4)?, word(8)?)),
            0x001d => Self::Durability(word(0)?),
            0x001f => Self::IsExclusive(word(0)? == 1),
            0x0023 => Self::Deadline(lease(word(0)?, word(4)?)),
            0x0025 => Self::Order(word(0)?),
            0x0073 => {
                let mut numbers = value.get(4..)?.chunks_exact(2).take(word(0)? as usize);
                let decode = |number: &[u8]| {
                    let number: [u8; 2] = array_at(number, 0)?;
                    Some(if is_little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) })
                };
                Self::Encodings([(); 3].map(|()| numbers.next().and_then(decode)))
            }
            0x0029 => Self::Partitions(RtpsStrings::new(value, 1, is_little)?),
            0x002f | 0x0031 => locator(RtpsLocatorUse::Unicast)?,
            0x0030 | 0x0048 => locator(RtpsLocatorUse::Multicast)?,
            0x0032 => locator(RtpsLocatorUse::DiscoveryUnicast)?,
            0x0033 => locator(RtpsLocatorUse::DiscoveryMulticast)?,
            0x0050 => Self::Participant(guid()?),
            0x005a => Self::Endpoint(guid()?),
            0x0059 => Self::Properties(RtpsStrings::new(value, 2, is_little)?),
            0x0062 => Self::EntityName(text(value, is_little)?),
            0x0070 => Self::KeyHash(guid()?),
            // Disposed, unregistered. The status has the same order of bytes in all messages.
            0x0071 => Self::IsGone(u8_at(value, 3)? & 3 != 0),
            _ => return None,
        })
    }
}

impl RtpsLocator {
    fn decode(value: &[u8], is_little: bool) -> Option<Self> {
        let (kind, port) = (number32(value, 0, is_little)? as i32, number32(value, 4, is_little)?);
        let octets: [u8; 16] = array_at(value, 8)?;
        let v4 = || IpAddr::from(Ipv4Addr::from(array_at(value, 20).unwrap_or_default()));
        let v6 = || IpAddr::from(Ipv6Addr::from(octets));
        // The port of TCP has a logical one in its upper half.
        let port = u16::try_from(port & 0xffff).unwrap_or_default();
        Some(match kind {
            1 => Self::Udp(SocketAddr::new(v4(), port)),
            2 => Self::Udp(SocketAddr::new(v6(), port)),
            4 => Self::Tcp(SocketAddr::new(v4(), port)),
            8 => Self::Tcp(SocketAddr::new(v6(), port)),
            // Fast DDS and Connext.
            16 | 0x0100_0000 | 0x0200_0000 => Self::SharedMemory,
            other => Self::Other(other),
        })
    }

    /// Returns the address and port of UDP.
    #[must_use]
    pub const fn udp(self) -> Option<SocketAddr> {
        match self {
            Self::Udp(address) => Some(address),
            _ => None,
        }
    }
}

impl fmt::Display for RtpsLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => address.fmt(f),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::SharedMemory => f.write_str("shared memory"),
            Self::Other(kind) => write!(f, "transport {kind}"),
        }
    }
}

impl<'a> RtpsStrings<'a> {
    fn new(value: &'a [u8], per_item: u32, is_little: bool) -> Option<Self> {
        let count = number32(value, 0, is_little)?.saturating_mul(per_item);
        Some(Self { bytes: value, is_little, count, offset: 4 })
    }
}

impl<'a> Iterator for RtpsStrings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let rest = self.bytes.get(self.offset..)?;
        let length = number32(rest, 0, self.is_little)? as usize;
        let value = text(rest, self.is_little)?;
        self.offset = (self.offset + 4 + length).next_multiple_of(4);
        Some(value)
    }
}

impl RtpsGuid {
    /// The writer of participant announcements.
    pub const PARTICIPANT_WRITER: u32 = 0x0001_00c2;
    /// The writer of announcements of writers.
    pub const PUBLICATIONS_WRITER: u32 = 0x0000_03c2;
    /// The writer of announcements of readers.
    pub const SUBSCRIPTIONS_WRITER: u32 = 0x0000_04c2;

    fn at(value: &[u8]) -> Option<Self> {
        Some(Self {
            prefix: RtpsPrefix(array_at(value, 0)?),
            entity: u32::from_be_bytes(array_at(value, 12)?),
        })
    }
}

impl fmt::Display for RtpsPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RtpsPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RtpsGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:08x}", self.prefix, self.entity)
    }
}

impl fmt::Debug for RtpsGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RtpsVendor {
    /// Eclipse Cyclone DDS.
    pub const CYCLONE: Self = Self(0x0110);
    /// eProsima Fast DDS.
    pub const FAST_DDS: Self = Self(0x010f);

    /// Returns the name of the implementation (OMG, DDS vendor ids), if it is known.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0101 => "RTI Connext",
            0x0102 => "OpenSplice",
            0x0103 => "OpenDDS",
            0x0104 => "MilDDS",
            0x0105 => "InterCOM DDS",
            0x0106 => "CoreDX",
            0x0107 => "Lakota",
            0x0108 => "ICOUP",
            0x0109 => "ETRI Diamond",
            0x010a => "RTI Connext Micro",
            0x010b => "Vortex Cafe",
            0x010c => "Vortex Gateway",
            0x010d => "Vortex Lite",
            0x010e => "Qeo",
            0x010f => "Fast DDS",
            0x0110 => "Cyclone DDS",
            0x0111 => "GurumDDS",
            0x0112 => "RustDDS",
            0x0113 => "ZRDDS",
            0x0114 => "Dust DDS",
            _ => return None,
        })
    }
}

impl fmt::Display for RtpsVendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "vendor {:#06x}", self.0),
        }
    }
}

/// Reads a time of seconds and 2^-32 s; `None` is infinite.
fn lease(seconds: u32, fraction: u32) -> Option<Duration> {
    const INFINITE: u32 = 0x7fff_ffff;
    let nanoseconds = (u64::from(fraction) * 1_000_000_000) >> 32;
    (seconds < INFINITE)
        .then(|| Duration::new(seconds.into(), u32::try_from(nanoseconds).unwrap_or_default()))
}

/// Reads a length and a text with a 0 at its end, which is left out.
fn text(bytes: &[u8], is_little: bool) -> Option<&[u8]> {
    let length = number32(bytes, 0, is_little)? as usize;
    let text = bytes.get(4..)?.get(..length)?;
    Some(text.strip_suffix(&[0]).unwrap_or(text))
}

fn number16(bytes: &[u8], offset: usize, is_little: bool) -> Option<u16> {
    array_at(bytes, offset).map(if is_little { u16::from_le_bytes } else { u16::from_be_bytes })
}

/// Reads a number whose upper half comes first, whatever the order of bytes.
fn number64(bytes: &[u8], offset: usize, is_little: bool) -> Option<u64> {
    let half = |offset| number32(bytes, offset, is_little).map(u64::from);
    Some(half(offset)? << 32 | half(offset + 4)?)
}

fn number32(bytes: &[u8], offset: usize, is_little: bool) -> Option<u32> {
    array_at(bytes, offset).map(if is_little { u32::from_le_bytes } else { u32::from_be_bytes })
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The announcement of a participant in domain 3, as Cyclone DDS 0.10 sends it.
    #[rustfmt::skip]
    const PARTICIPANT: [u8; 408] = [
        0x52, 0x54, 0x50, 0x53, 0x02, 0x05, 0x01, 0x10, 0x01, 0x10, 0x3d, 0x67, 0xf7, 0x3b, 0x17, 0x82,
        0xa8, 0xc2, 0x4c, 0xea, 0x0e, 0x01, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x09, 0x01, 0x08, 0x00, 0x4a, 0x23, 0x0d, 0x6b, 0x9b, 0xb3, 0x69, 0x86,
        0x15, 0x05, 0x64, 0x01, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0xc2,
        0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x02, 0x00, 0x08, 0x00,
        0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x59, 0x00, 0x58, 0x00, 0x03, 0x00, 0x00, 0x00,
        0x0e, 0x00, 0x00, 0x00, 0x5f, 0x5f, 0x50, 0x72, 0x6f, 0x63, 0x65, 0x73, 0x73, 0x4e, 0x61, 0x6d,
        0x65, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x70, 0x79, 0x74, 0x68, 0x6f, 0x6e, 0x00, 0x00,
        0x06, 0x00, 0x00, 0x00, 0x5f, 0x5f, 0x50, 0x69, 0x64, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00,
        0x37, 0x38, 0x37, 0x38, 0x00, 0x00, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00, 0x5f, 0x5f, 0x48, 0x6f,
        0x73, 0x74, 0x6e, 0x61, 0x6d, 0x65, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x76, 0x6d, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x15, 0x00, 0x04, 0x00, 0x02, 0x05, 0x00, 0x00, 0x16, 0x00, 0x04, 0x00,
        0x01, 0x10, 0x00, 0x00, 0x50, 0x00, 0x10, 0x00, 0x01, 0x10, 0x3d, 0x67, 0xf7, 0x3b, 0x17, 0x82,
        0xa8, 0xc2, 0x4c, 0xea, 0x00, 0x00, 0x01, 0xc1, 0x58, 0x00, 0x04, 0x00, 0x3f, 0xfc, 0x00, 0x00,
        0x0f, 0x00, 0x04, 0x00, 0x03, 0x00, 0x00, 0x00, 0x31, 0x00, 0x18, 0x00, 0x01, 0x00, 0x00, 0x00,
        0x32, 0xd8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x0a, 0x4d, 0x00, 0x01, 0x48, 0x00, 0x18, 0x00, 0x01, 0x00, 0x00, 0x00, 0xd7, 0x1f, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xef, 0xff, 0x00, 0x01,
        0x32, 0x00, 0x18, 0x00, 0x01, 0x00, 0x00, 0x00, 0x32, 0xd8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x4d, 0x00, 0x01, 0x33, 0x00, 0x18, 0x00,
        0x01, 0x00, 0x00, 0x00, 0xd6, 0x1f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0xef, 0xff, 0x00, 0x01, 0x07, 0x80, 0x30, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x16, 0x00, 0x00, 0x00, 0x76, 0x6d, 0x2f, 0x31, 0x31, 0x2e, 0x30, 0x2e, 0x31, 0x2f, 0x4c, 0x69,
        0x6e, 0x75, 0x78, 0x2f, 0x4c, 0x69, 0x6e, 0x75, 0x78, 0x00, 0x00, 0x00, 0x19, 0x80, 0x04, 0x00,
        0x00, 0x00, 0x20, 0x00, 0x01, 0x00, 0x00, 0x00,
    ];

    /// The announcement of its writer, followed by a heartbeat.
    #[rustfmt::skip]
    const WRITER: [u8; 344] = [
        0x52, 0x54, 0x50, 0x53, 0x02, 0x05, 0x01, 0x10, 0x01, 0x10, 0x3d, 0x67, 0xf7, 0x3b, 0x17, 0x82,
        0xa8, 0xc2, 0x4c, 0xea, 0x0e, 0x01, 0x0c, 0x00, 0x01, 0x10, 0x32, 0x05, 0x47, 0x91, 0xb9, 0x02,
        0x94, 0xb5, 0x8e, 0xb3, 0x09, 0x01, 0x08, 0x00, 0x4a, 0x23, 0x0d, 0x6b, 0x2f, 0xd3, 0x2d, 0x9f,
        0x15, 0x05, 0x04, 0x01, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x03, 0xc7, 0x00, 0x00, 0x03, 0xc2,
        0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x05, 0x00, 0x10, 0x00,
        0x0b, 0x00, 0x00, 0x00, 0x72, 0x74, 0x2f, 0x63, 0x68, 0x61, 0x74, 0x74, 0x65, 0x72, 0x00, 0x00,
        0x07, 0x00, 0x10, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x64, 0x65, 0x6d, 0x6f, 0x3a, 0x3a, 0x48, 0x65,
        0x6c, 0x6c, 0x6f, 0x00, 0x1d, 0x00, 0x04, 0x00, 0x01, 0x00, 0x00, 0x00, 0x1a, 0x00, 0x0c, 0x00,
        0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x29, 0x00, 0x10, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x6c, 0x65, 0x66, 0x74, 0x00, 0x00, 0x00, 0x00,
        0x75, 0x00, 0x64, 0x00, 0x60, 0x00, 0x00, 0x00, 0x01, 0x10, 0x00, 0x40, 0x28, 0x00, 0x00, 0x00,
        0x24, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0xf1, 0x05, 0x1a, 0x20, 0x6b, 0x3d, 0xaf, 0x09,
        0x44, 0x32, 0xdd, 0xe9, 0xc1, 0x6f, 0xb7, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x10, 0x00, 0x40, 0x28, 0x00, 0x00, 0x00,
        0x24, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0xf2, 0x39, 0x6f, 0x30, 0x13, 0xec, 0x3a, 0xf0,
        0xbb, 0x3b, 0xe9, 0xfb, 0x87, 0x51, 0x6e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x15, 0x00, 0x04, 0x00, 0x02, 0x05, 0x00, 0x00,
        0x16, 0x00, 0x04, 0x00, 0x01, 0x10, 0x00, 0x00, 0x5a, 0x00, 0x10, 0x00, 0x01, 0x10, 0x3d, 0x67,
        0xf7, 0x3b, 0x17, 0x82, 0xa8, 0xc2, 0x4c, 0xea, 0x00, 0x00, 0x02, 0x03, 0x0c, 0x80, 0x04, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x07, 0x01, 0x1c, 0x00, 0x00, 0x00, 0x03, 0xc7,
        0x00, 0x00, 0x03, 0xc2, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    ];

    /// The end of another participant.
    #[rustfmt::skip]
    const GOODBYE: [u8; 112] = [
        0x52, 0x54, 0x50, 0x53, 0x02, 0x05, 0x01, 0x10, 0x01, 0x10, 0x78, 0x65, 0x7b, 0x76, 0x5d, 0xf7,
        0xe9, 0xfb, 0xa0, 0xdf, 0x0e, 0x01, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x09, 0x01, 0x08, 0x00, 0x4b, 0x23, 0x0d, 0x6b, 0x81, 0xfb, 0x7a, 0xbc,
        0x15, 0x0b, 0x3c, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0xc2,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x71, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x03,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x50, 0x00, 0x10, 0x00, 0x01, 0x10, 0x78, 0x65,
        0x7b, 0x76, 0x5d, 0xf7, 0xe9, 0xfb, 0xa0, 0xdf, 0x00, 0x00, 0x01, 0xc1, 0x01, 0x00, 0x00, 0x00,
    ];

    /// Returns a list of parameters, in big-endian order.
    fn list(parameters: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, value) in parameters {
            bytes.extend(id.to_be_bytes());
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend_from_slice(value);
        }
        bytes
    }

    fn parameters(bytes: &[u8]) -> Vec<RtpsParameter<'_>> {
        RtpsParameters { bytes, is_little: false }.collect()
    }

    #[test]
    fn participant_is_read_with_its_domain_and_its_addresses() {
        let message = Rtps::parse(&PARTICIPANT).unwrap();
        assert_eq!((message.version, message.vendor), ((2, 5), RtpsVendor::CYCLONE));
        let data: Vec<_> = message.data().collect();
        assert_eq!(data.len(), 1);
        assert_eq!(data[0].writer.entity, RtpsGuid::PARTICIPANT_WRITER);
        let parameters: Vec<_> = data[0].parameters.collect();
        let address = |port| RtpsLocator::Udp(SocketAddr::from(([10, 77, 0, 1], port)));
        let group = |port| RtpsLocator::Udp(SocketAddr::from((Rtps::GROUP, port)));
        for expected in [
            RtpsParameter::Domain(3),
            RtpsParameter::Lease(Some(Duration::from_secs(10))),
            RtpsParameter::Version(2, 5),
            RtpsParameter::Participant(RtpsGuid { prefix: message.participant, entity: 0x0000_01c1 }),
            RtpsParameter::Locator(RtpsLocatorUse::DiscoveryUnicast, address(55346)),
            RtpsParameter::Locator(RtpsLocatorUse::DiscoveryMulticast, group(8150)),
            RtpsParameter::Locator(RtpsLocatorUse::Multicast, group(8151)),
        ] {
            assert!(parameters.contains(&expected), "{expected:?} is not in {parameters:?}");
        }
        let properties = parameters.iter().find_map(|parameter| match parameter {
            RtpsParameter::Properties(properties) => Some(*properties),
            _ => None,
        });
        let properties: Vec<_> = properties.unwrap().map(|text| String::from_utf8_lossy(text)).collect();
        assert_eq!(properties, ["__ProcessName", "python", "__Pid", "7878", "__Hostname", "vm"]);
    }

    #[test]
    fn writer_is_read_with_its_topic_and_its_quality() {
        let message = Rtps::parse(&WRITER).unwrap();
        let names: Vec<_> = message.submessages().map(|submessage| submessage.name()).collect();
        assert_eq!(names, ["INFO_DST", "INFO_TS", "DATA", "HEARTBEAT"]);
        let data = message.data().next().unwrap();
        assert_eq!(data.writer.entity, RtpsGuid::PUBLICATIONS_WRITER);
        let parameters: Vec<_> = data.parameters.collect();
        let expected = [
            RtpsParameter::Topic(b"rt/chatter"),
            RtpsParameter::Type(b"demo::Hello"),
            RtpsParameter::Durability(1),
            RtpsParameter::IsReliable(true),
        ];
        assert_eq!(parameters[..4], expected);
        let partitions = parameters.iter().find_map(|parameter| match parameter {
            RtpsParameter::Partitions(names) => Some(names.collect::<Vec<_>>()),
            _ => None,
        });
        assert_eq!(partitions.unwrap(), [b"left"]);
    }

    #[test]
    fn goodbye_has_the_status_and_the_key() {
        let message = Rtps::parse(&GOODBYE).unwrap();
        let data = message.data().next().unwrap();
        assert_eq!(data.inline_qos.collect::<Vec<_>>(), [RtpsParameter::IsGone(true)]);
        let participant = RtpsGuid { prefix: message.participant, entity: 0x0000_01c1 };
        assert_eq!(data.parameters.collect::<Vec<_>>(), [RtpsParameter::Participant(participant)]);
        assert_eq!(participant.to_string(), "011078657b765df7e9fba0df:000001c1");
    }

    #[test]
    fn source_of_forwarded_data_is_its_first_sender() {
        let mut forwarded = GOODBYE[..20].to_vec();
        forwarded.extend([0x0c, 0x01, 20, 0, 0, 0, 0, 0, 2, 1, 1, 15]);
        forwarded.extend([9; 12]);
        forwarded.extend_from_slice(&GOODBYE[20..]);
        let data = Rtps::parse(&forwarded).unwrap().data().next().unwrap();
        assert_eq!(data.writer.prefix, RtpsPrefix([9; 12]));
    }

    #[test]
    fn list_in_big_endian_order_ends_at_its_end_mark() {
        let mut bytes = list(&[
            (0, &[1, 2, 3, 4]),
            (0x0062, b"\0\0\0\x06robot\0\0\0"),
            (0x0031, &[&[0, 0, 0, 2, 0, 0, 0x1c, 0xe9, 0xfe, 0x80][..], &[0; 13], &[1]].concat()),
            (0x0031, &[&[0, 0, 0, 16, 0, 0, 0x1c, 0xe9][..], &[0; 16]].concat()),
            (0x8007, b"anything"),
            (1, &[]),
            (0x0062, b"\0\0\0\x06other\0\0\0"),
        ]);
        let expected = [
            RtpsParameter::EntityName(b"robot"),
            RtpsParameter::Locator(
                RtpsLocatorUse::Unicast,
                RtpsLocator::Udp("[fe80::1]:7401".parse().unwrap()),
            ),
            RtpsParameter::Locator(RtpsLocatorUse::Unicast, RtpsLocator::SharedMemory),
            RtpsParameter::Other(0x8007),
        ];
        assert_eq!(parameters(&bytes), expected);
        // A value that is shorter than its length ends the list.
        bytes.truncate(30);
        assert_eq!(parameters(&bytes), [RtpsParameter::EntityName(b"robot")]);
        bytes.truncate(22);
        assert_eq!(parameters(&bytes), []);
    }

    #[test]
    fn counts_that_are_too_large_end_where_the_bytes_end() {
        let partitions = [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 2, b'a', 0, 0, 0]].concat();
        let length = [&u32::MAX.to_be_bytes()[..], b"abc"].concat();
        let bytes = list(&[(0x0029, &partitions), (0x0005, &length), (0x0059, &u32::MAX.to_be_bytes())]);
        let parameters = parameters(&bytes);
        let [
            RtpsParameter::Partitions(partitions),
            RtpsParameter::Other(5),
            RtpsParameter::Properties(pairs),
        ] = parameters[..]
        else {
            panic!("{parameters:?}");
        };
        assert_eq!(partitions.collect::<Vec<_>>(), [b"a"]);
        assert_eq!(pairs.count(), 0);
    }

    #[test]
    fn greeting_is_read_as_a_participant_and_fills_its_buffer() {
        let own = RtpsPrefix([7; 12]);
        for group in [IpAddr::V4(Rtps::GROUP), IpAddr::V6(Rtps::GROUP_V6)] {
            greeting_is_read(own, group);
        }
    }

    fn greeting_is_read(own: RtpsPrefix, group: IpAddr) {
        let bytes = own.greeting(3, group, b"mcast discover \0", 20);
        let message = Rtps::parse(&bytes).unwrap();
        assert_eq!((message.participant, message.submessages().count()), (own, 1));
        let data = message.data().next().unwrap();
        let parameters: Vec<_> = data.parameters.collect();
        for expected in [
            RtpsParameter::Participant(RtpsGuid { prefix: own, entity: 0x1c1 }),
            RtpsParameter::Lease(Some(Duration::from_secs(20))),
            RtpsParameter::Domain(3),
            RtpsParameter::Locator(
                RtpsLocatorUse::DiscoveryMulticast,
                RtpsLocator::Udp(SocketAddr::from((group, 8150))),
            ),
            RtpsParameter::EntityName(b"mcast discover "),
        ] {
            assert!(parameters.contains(&expected), "{expected:?} is not in {parameters:?}");
        }
        assert_eq!(data.parameters.rest(), Some(&[][..]));
    }

    #[test]
    fn heartbeats_are_read_by_those_that_they_are_for_and_answers_are_no_longer() {
        let own = RtpsPrefix([7; 12]);
        let writer = RtpsGuid { prefix: RtpsPrefix([9; 12]), entity: RtpsGuid::PUBLICATIONS_WRITER };
        let message = |is_named: bool| {
            let mut heartbeat = b"RTPS\x02\x02\x01\x10".to_vec();
            heartbeat.extend(writer.prefix.0);
            if is_named {
                heartbeat.extend([0x0e, 1, 12, 0]);
                heartbeat.extend(own.0);
            }
            heartbeat.extend([7, 1, 28, 0, 0, 0, 3, 0xc7, 0, 0, 3, 0xc2]);
            heartbeat.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0]);
            heartbeat
        };
        let mut buffer = [0; RtpsPrefix::MAX_REQUEST_LENGTH];
        for is_named in [true, false] {
            let bytes = message(is_named);
            let heartbeat = RtpsHeartbeat { writer, range: (1, 5), is_named };
            let read = Rtps::parse(&bytes).unwrap();
            assert_eq!(read.heartbeats_for(own).collect::<Vec<_>>(), [heartbeat]);
            assert_eq!(read.heartbeats_for(writer.prefix).count(), usize::from(!is_named));
            let request = own.request(&heartbeat, 2, 1, &mut buffer);
            assert_eq!(request.len(), bytes.len());
            let parts: Vec<_> = Rtps::parse(request).unwrap().submessages().collect();
            let (last, before) = parts.split_last().unwrap();
            assert_eq!((last.name(), before.len()), ("ACKNACK", usize::from(is_named)));
            // Base 3, three bits.
            assert_eq!(last.body[8..24], [0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0xe0]);
        }
        let mut tail = |known, last| {
            let heartbeat = RtpsHeartbeat { writer, range: (1, last), is_named: false };
            own.request(&heartbeat, known, 1, &mut buffer)[36..48].to_vec()
        };
        assert_eq!(tail(5, 5), [6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(tail(0, u64::MAX)[4..], [32, 0, 0, 0, 255, 255, 255, 255]);
    }

    #[test]
    fn ports_are_mapped_to_domains() {
        let domain = Rtps::domain_of_port;
        assert_eq!(
            [7400, 7401, 7410, 7649, 7650, 65535].map(domain),
            [
                Some((0, true)),
                Some((0, false)),
                Some((0, false)),
                Some((0, false)),
                Some((1, true)),
                Some((232, false))
            ]
        );
        assert_eq!([7399, 7402, 7409, 0].map(domain), [None; 4]);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at: prop::sample::Index, to: u8, length: prop::sample::Index) {
            for whole in [&PARTICIPANT[..], &WRITER, &GOODBYE] {
                let mut bytes = whole.to_vec();
                bytes[at.index(whole.len())] = to;
                bytes.truncate(length.index(whole.len() + 1));
                let Some(message) = Rtps::parse(&bytes) else { continue };
                for data in message.data() {
                    for parameter in data.inline_qos.chain(data.parameters) {
                        if let RtpsParameter::Partitions(texts) | RtpsParameter::Properties(texts) = parameter {
                            prop_assert!(texts.count() <= bytes.len());
                        }
                    }
                }
            }
        }
    }
}
