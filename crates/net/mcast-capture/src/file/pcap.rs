//! Records of the older format, pcap (draft-ietf-opsawg-pcap), and the interfaces that files of both formats describe.

use std::time::Duration;

use byteorder_slice::{BigEndian, LittleEndian};
use mcast_packet::LinkType;
use pcap_file::pcap::{PcapHeader, RawPcapPacket};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use super::reader::{ParseOutcome, Record};
use crate::Direction;

/// The contents of the file header.
#[derive(Debug)]
pub(super) struct Pcap {
    endianness: Endianness,
    nanoseconds: bool,
    pub(super) interface: FileInterface,
}

impl Pcap {
    pub(super) const HEADER_LENGTH: usize = 24;

    /// Length of seconds, fraction, captured and original length.
    const RECORD_HEADER: usize = 16;

    /// Returns `None` if the file does not start with pcap's magic number.
    pub(super) fn new(header: &[u8]) -> Option<Self> {
        let (_, header) = PcapHeader::from_slice(header).ok()?;
        // The upper bits may describe frame check sequences.
        let link = LinkNumber(u32::from(header.datalink) & 0x03ff_ffff);
        Some(Self {
            endianness: header.endianness,
            nanoseconds: header.ts_resolution == TsResolution::NanoSecond,
            interface: FileInterface { link, ..FileInterface::default() },
        })
    }

    pub(super) const fn nanoseconds(&self) -> bool {
        self.nanoseconds
    }

    /// Parses the record at the start of the bytes.
    pub(super) fn parse(&self, bytes: &[u8]) -> ParseOutcome {
        let parsed = match self.endianness {
            Endianness::Big => RawPcapPacket::from_slice::<BigEndian>(bytes),
            Endianness::Little => RawPcapPacket::from_slice::<LittleEndian>(bytes),
        };
        match parsed {
            Ok((rest, packet)) => {
                let length = bytes.len() - rest.len();
                ParseOutcome::Frame(Record {
                    length,
                    data: Self::RECORD_HEADER..length,
                    original_length: packet.orig_len as usize,
                    interface: 0,
                    time: self.time(packet.ts_sec, packet.ts_frac),
                    direction: Direction::Unknown,
                })
            }
            Err(PcapError::IncompleteBuffer) => ParseOutcome::NeedsMore(self.needed(bytes)),
            Err(_) => ParseOutcome::Malformed("is malformed"),
        }
    }

    /// Returns the length of the record, as far as it is known.
    fn needed(&self, bytes: &[u8]) -> usize {
        let field: Option<[u8; 4]> = bytes.get(8..12).and_then(|field| field.try_into().ok());
        let length = field.map_or(0, |field| match self.endianness {
            Endianness::Big => u32::from_be_bytes(field),
            Endianness::Little => u32::from_le_bytes(field),
        });
        Self::RECORD_HEADER.saturating_add(length as usize)
    }

    /// Returns the time; a fraction of more than a second carries over.
    fn time(&self, seconds: u32, fraction: u32) -> Duration {
        let unit = if self.nanoseconds { 1 } else { 1000 };
        Duration::from_secs(seconds.into()) + Duration::from_nanos(u64::from(fraction) * unit)
    }
}

/// An interface described in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInterface {
    /// Its name on the capturing system; pcap files do not state it.
    pub name: Option<String>,
    /// The link type of its frames.
    pub link: LinkNumber,
    /// The capture filter, in the syntax of the capturing program.
    pub filter: Option<String>,
    /// Number of packets that the capture lost, if stated.
    pub dropped: Option<u64>,
}

/// A link type as numbered in files (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkNumber(pub u32);

impl LinkNumber {
    const NULL: u32 = 0;
    const ETHERNET: u32 = 1;
    const PPP: u32 = 9;
    /// PPP in HDLC-like framing.
    const PPP_HDLC: u32 = 50;
    const RAW: u32 = 101;
    const IEEE_802_11: u32 = 105;
    const LOOP: u32 = 108;
    const LINUX_SLL: u32 = 113;
    const RADIOTAP: u32 = 127;
    const IPV4: u32 = 228;
    const IPV6: u32 = 229;
    const LINUX_SLL2: u32 = 276;

    /// The numbers of DLT_RAW on some systems before 101 was agreed on.
    const RAW_OF_BSD: u32 = 12;
    const RAW_OF_OPENBSD: u32 = 14;

    /// Returns the link type, if its frames can be decoded.
    #[must_use]
    pub const fn link_type(self) -> Option<LinkType> {
        Some(match self.0 {
            Self::ETHERNET => LinkType::Ethernet,
            Self::RAW | Self::RAW_OF_BSD | Self::RAW_OF_OPENBSD | Self::IPV4 | Self::IPV6 => LinkType::Ip,
            Self::LINUX_SLL => LinkType::LinuxCooked,
            Self::LINUX_SLL2 => LinkType::LinuxCooked2,
            Self::NULL | Self::LOOP => LinkType::Loopback,
            Self::IEEE_802_11 => LinkType::Wireless,
            Self::RADIOTAP => LinkType::Radiotap,
            Self::PPP | Self::PPP_HDLC => LinkType::Ppp,
            _ => return None,
        })
    }

    pub(super) fn data_link(self) -> DataLink {
        DataLink::from(self.0)
    }
}

impl From<LinkType> for LinkNumber {
    /// Returns the number that files use.
    fn from(link_type: LinkType) -> Self {
        Self(match link_type {
            LinkType::Ip => Self::RAW,
            LinkType::LinuxCooked => Self::LINUX_SLL,
            LinkType::LinuxCooked2 => Self::LINUX_SLL2,
            LinkType::Loopback => Self::NULL,
            LinkType::Wireless => Self::IEEE_802_11,
            LinkType::Radiotap => Self::RADIOTAP,
            LinkType::Ppp => Self::PPP,
            _ => Self::ETHERNET,
        })
    }
}
