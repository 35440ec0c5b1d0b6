//! The two formats, read: records of pcap (draft-ietf-opsawg-pcap), blocks of pcapng (draft-ietf-opsawg-pcapng), and the interfaces
//! that files of both describe.

use std::ops::Range;
use std::time::Duration;

use byteorder_slice::{BigEndian, ByteOrder, LittleEndian};
use mcast_packet::LinkType;
use pcap_file::pcap::{PcapHeader, RawPcapPacket};
use pcap_file::pcapng::RawBlock;
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use crate::Direction;

/// A frame in the available bytes.
#[derive(Debug)]
pub(super) struct Record {
    /// The length of the record.
    pub(super) length: usize,
    /// The range of the frame in the record.
    pub(super) data: Range<usize>,
    pub(super) original_length: usize,
    /// The index of its interface in the list of all.
    pub(super) interface: usize,
    /// Time since 1970.
    pub(super) time: Duration,
    pub(super) direction: Direction,
}

/// The result of parsing the available bytes.
#[derive(Debug)]
pub(super) enum ParseOutcome {
    Frame(Record),
    /// A record of this length without a frame.
    Skip(usize),
    /// Part of a record of at least this length.
    NeedsMore(usize),
    Malformed(&'static str),
}

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
    /// Returns the link type, if its frames can be decoded.
    #[must_use]
    pub const fn link_type(self) -> Option<LinkType> {
        LinkType::of_number(self.0)
    }

    pub(super) fn data_link(self) -> DataLink {
        DataLink::from(self.0)
    }
}

impl From<LinkType> for LinkNumber {
    /// Returns the number that files use.
    fn from(link_type: LinkType) -> Self {
        Self(link_type.number())
    }
}

pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Length of type and length, before the body of a block.
const BLOCK_HEADER: usize = 8;

/// The state from the blocks so far.
#[derive(Debug)]
pub(super) struct PcapNg {
    endianness: Endianness,
    pub(super) interfaces: Vec<FileInterface>,
    decodings: Vec<InterfaceDecoding>,
    /// The index of the section's first interface: blocks number interfaces from zero in each section.
    section: usize,
}

/// How to decode an interface's frames.
#[derive(Clone, Copy, Debug)]
struct InterfaceDecoding {
    clock: Clock,
    /// Maximum number of bytes captured per frame; 0 means no limit.
    snap_length: u32,
}

/// How to decode an interface's timestamps.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Units per second, as a power of ten or two.
    resolution: u8,
    /// Seconds to add.
    offset: i64,
}

impl PcapNg {
    pub(super) const fn new() -> Self {
        Self {
            // Unused until the first block sets it.
            endianness: Endianness::Little,
            interfaces: Vec::new(),
            decodings: Vec::new(),
            section: 0,
        }
    }

    /// Parses the block at the start of the bytes, and updates the state.
    pub(super) fn parse(&mut self, bytes: &[u8]) -> ParseOutcome {
        if let Some(endianness) = section_endianness(bytes) {
            self.endianness = endianness;
        }
        match self.endianness {
            Endianness::Big => self.parse_as::<BigEndian>(bytes),
            Endianness::Little => self.parse_as::<LittleEndian>(bytes),
        }
    }

    fn parse_as<B: ByteOrder>(&mut self, bytes: &[u8]) -> ParseOutcome {
        match RawBlock::from_slice::<B>(bytes) {
            Ok((rest, block)) => {
                let length = bytes.len() - rest.len();
                self.block::<B>(block.type_, &block.body, length)
            }
            Err(PcapError::IncompleteBuffer) => {
                let stated = u32_at::<B>(bytes, 4).unwrap_or(0) as usize;
                ParseOutcome::NeedsMore(stated.max(bytes.len() + 1).max(BLOCK_HEADER + 4))
            }
            Err(PcapError::InvalidField(_)) => ParseOutcome::Malformed("has inconsistent lengths"),
            Err(_) => ParseOutcome::Malformed("is malformed"),
        }
    }

    fn block<B: ByteOrder>(&mut self, kind: u32, body: &[u8], length: usize) -> ParseOutcome {
        let truncated = ParseOutcome::Malformed("is shorter than its contents");
        match kind {
            SECTION_HEADER => {
                self.section = self.interfaces.len();
                ParseOutcome::Skip(length)
            }
            INTERFACE_DESCRIPTION => match interface::<B>(body) {
                Some((interface, decoding)) => {
                    self.interfaces.push(interface);
                    self.decodings.push(decoding);
                    ParseOutcome::Skip(length)
                }
                None => truncated,
            },
            INTERFACE_STATISTICS => {
                self.statistics::<B>(body);
                ParseOutcome::Skip(length)
            }
            ENHANCED_PACKET => {
                let number = u32_at::<B>(body, 0);
                self.packet::<B>(body, number, length).unwrap_or(truncated)
            }
            OBSOLETE_PACKET => {
                let number = u16_at::<B>(body, 0).map(u32::from);
                self.packet::<B>(body, number, length).unwrap_or(truncated)
            }
            SIMPLE_PACKET => self.simple_packet::<B>(body, length).unwrap_or(truncated),
            _ => ParseOutcome::Skip(length),
        }
    }

    /// Parses an enhanced packet block, or an obsolete packet block, which differs in its first four bytes.
    fn packet<B: ByteOrder>(&self, body: &[u8], number: Option<u32>, length: usize) -> Option<ParseOutcome> {
        const FLAGS: u16 = 2;
        const HEADER: usize = 20;
        let ticks = u64::from(u32_at::<B>(body, 4)?) << 32 | u64::from(u32_at::<B>(body, 8)?);
        let captured = u32_at::<B>(body, 12)? as usize;
        let end = HEADER.checked_add(captured)?;
        body.get(HEADER..end)?;
        let options = body.get(end.checked_next_multiple_of(4)?..).unwrap_or_default();
        let flags = Options::<B>::new(options).find(|(number, _)| *number == FLAGS);
        let Some((interface, decoding)) = self.interface(number?) else {
            return Some(ParseOutcome::Malformed("refers to an interface that the file has not described"));
        };
        let Some(time) = decoding.clock.time(ticks) else {
            return Some(ParseOutcome::Malformed("has a time out of range"));
        };
        Some(ParseOutcome::Frame(Record {
            length,
            data: BLOCK_HEADER + HEADER..BLOCK_HEADER + end,
            original_length: u32_at::<B>(body, 16)? as usize,
            interface,
            time,
            direction: flags
                .and_then(|(_, value)| u32_at::<B>(value, 0))
                .map_or(Direction::Unknown, direction),
        }))
    }

    /// Parses a simple packet block, which has no time and belongs to the section's first interface.
    fn simple_packet<B: ByteOrder>(&self, body: &[u8], length: usize) -> Option<ParseOutcome> {
        const HEADER: usize = 4;
        let original_length = u32_at::<B>(body, 0)? as usize;
        let Some((interface, decoding)) = self.interface(0) else {
            return Some(ParseOutcome::Malformed("refers to an interface that the file has not described"));
        };
        let limit = if decoding.snap_length == 0 { usize::MAX } else { decoding.snap_length as usize };
        let captured = original_length.min(limit).min(body.len() - HEADER);
        Some(ParseOutcome::Frame(Record {
            length,
            data: BLOCK_HEADER + HEADER..BLOCK_HEADER + HEADER + captured,
            original_length,
            interface,
            time: Duration::ZERO,
            direction: Direction::Unknown,
        }))
    }

    fn statistics<B: ByteOrder>(&mut self, body: &[u8]) {
        const DROPPED_BY_INTERFACE: u16 = 5;
        const DROPPED_BY_SYSTEM: u16 = 7;
        let Some(number) = u32_at::<B>(body, 0) else { return };
        let counts = Options::<B>::new(body.get(12..).unwrap_or_default())
            .filter(|(number, _)| [DROPPED_BY_INTERFACE, DROPPED_BY_SYSTEM].contains(number))
            .filter_map(|(_, value)| u64_at::<B>(value, 0));
        let dropped = counts.reduce(u64::saturating_add);
        let index = self.interface(number).and_then(|(index, _)| self.interfaces.get_mut(index));
        if let (Some(interface), Some(dropped)) = (index, dropped) {
            interface.dropped = Some(dropped);
        }
    }

    /// Returns the index in the list of all interfaces of the section's interface with this number, and how
    /// to decode its frames.
    fn interface(&self, number: u32) -> Option<(usize, InterfaceDecoding)> {
        let index = self.section.checked_add(number as usize)?;
        self.decodings.get(index).map(|decoding| (index, *decoding))
    }
}

/// Returns the byte order of the section that starts here, if one does.
fn section_endianness(bytes: &[u8]) -> Option<Endianness> {
    const MAGIC: u32 = 0x1a2b_3c4d;
    if u32_at::<BigEndian>(bytes, 0)? != SECTION_HEADER {
        return None;
    }
    match u32_at::<BigEndian>(bytes, 8)? {
        MAGIC => Some(Endianness::Big),
        magic if magic.swap_bytes() == MAGIC => Some(Endianness::Little),
        _ => None,
    }
}

fn interface<B: ByteOrder>(body: &[u8]) -> Option<(FileInterface, InterfaceDecoding)> {
    const NAME: u16 = 2;
    const RESOLUTION: u16 = 9;
    const FILTER: u16 = 11;
    const OFFSET: u16 = 14;
    let link = LinkNumber(u16_at::<B>(body, 0)?.into());
    let mut interface = FileInterface { link, ..FileInterface::default() };
    let mut clock = Clock { resolution: Clock::MICROSECONDS, offset: 0 };
    for (number, value) in Options::<B>::new(body.get(8..)?) {
        match (number, value) {
            (NAME, _) => interface.name = Some(String::from_utf8_lossy(value).into_owned()),
            // The first byte is the filter's language: 0 is libpcap's.
            (FILTER, [0, filter @ ..]) => {
                interface.filter = Some(String::from_utf8_lossy(filter).into_owned());
            }
            (RESOLUTION, [resolution]) => clock.resolution = *resolution,
            (OFFSET, _) => clock.offset = u64_at::<B>(value, 0)?.cast_signed(),
            _ => {}
        }
    }
    Some((interface, InterfaceDecoding { clock, snap_length: u32_at::<B>(body, 4)? }))
}

impl Clock {
    const MICROSECONDS: u8 = 6;
    const POWER_OF_TWO: u8 = 0x80;

    /// Returns the time since 1970, rounded down to nanoseconds; `None` if it is out of range.
    fn time(self, ticks: u64) -> Option<Duration> {
        const NANOSECONDS: u128 = 1_000_000_000;
        let power = u32::from(self.resolution & !Self::POWER_OF_TWO);
        let base: u128 = if self.resolution & Self::POWER_OF_TWO == 0 { 10 } else { 2 };
        let ticks = u128::from(ticks);
        // With a unit this small, even `u64::MAX` ticks are less than a nanosecond.
        let nanoseconds = match base.checked_pow(power) {
            Some(units) => ticks / units * NANOSECONDS + ticks % units * NANOSECONDS / units,
            None => 0,
        };
        let seconds = i128::try_from(nanoseconds / NANOSECONDS).ok()? + i128::from(self.offset);
        let fraction = u32::try_from(nanoseconds % NANOSECONDS).ok()?;
        Some(Duration::new(u64::try_from(seconds).ok()?, fraction))
    }
}

/// Decodes a packet's flags: inbound or outbound in bits 0 and 1, reception type in bits 2 to 4.
fn direction(flags: u32) -> Direction {
    match (flags & 3, flags >> 2 & 7) {
        (2, _) => Direction::Outgoing,
        (1, 2) => Direction::Multicast,
        (1, 3) => Direction::Broadcast,
        (1, 4) => Direction::ToOthers,
        (1, 1) => Direction::ToUs,
        _ => Direction::Unknown,
    }
}

/// Encodes a direction as a packet's flags.
pub(super) const fn flags(direction: Direction) -> u32 {
    const INBOUND: u32 = 1;
    match direction {
        Direction::Outgoing => 2,
        Direction::ToUs => INBOUND | 1 << 2,
        Direction::Multicast => INBOUND | 2 << 2,
        Direction::Broadcast => INBOUND | 3 << 2,
        Direction::ToOthers => INBOUND | 4 << 2,
        _ => 0,
    }
}

/// Iterates over the options at the end of a block: their numbers and values.
pub(super) struct Options<'a, B> {
    rest: &'a [u8],
    order: std::marker::PhantomData<B>,
}

impl<'a, B: ByteOrder> Options<'a, B> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, order: std::marker::PhantomData }
    }
}

impl<'a, B: ByteOrder> Iterator for Options<'a, B> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        const END: u16 = 0;
        let (number, length) = (u16_at::<B>(self.rest, 0)?, usize::from(u16_at::<B>(self.rest, 2)?));
        if number == END {
            return None;
        }
        let value = self.rest.get(4..4 + length)?;
        self.rest = self.rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    }
}

fn u16_at<B: ByteOrder>(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2).map(B::read_u16)
}

fn u32_at<B: ByteOrder>(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4).map(B::read_u32)
}

fn u64_at<B: ByteOrder>(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..offset + 8).map(B::read_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(resolution: u8, offset: i64, ticks: u64) -> Option<Duration> {
        Clock { resolution, offset }.time(ticks)
    }

    #[test]
    fn clocks_count_in_powers_of_ten_or_two() {
        assert_eq!(time(6, 0, 1_500_000), Some(Duration::from_millis(1500)));
        assert_eq!(time(9, 0, 1_500_000_001), Some(Duration::new(1, 500_000_001)));
        assert_eq!(time(0x80 | 10, 0, 1536), Some(Duration::from_millis(1500)));
        assert_eq!(time(12, 0, 1_000_000_001_999), Some(Duration::new(1, 1)));
        assert_eq!(time(0, -5, 7), Some(Duration::from_secs(2)));
        assert_eq!(time(0, -8, 7), None);
        assert_eq!(time(127, 0, u64::MAX), Some(Duration::ZERO));
        assert_eq!(time(0xff, 0, u64::MAX), Some(Duration::ZERO));
    }

    #[test]
    fn flags_round_trip_directions() {
        for expected in [
            Direction::Outgoing,
            Direction::ToUs,
            Direction::Multicast,
            Direction::Broadcast,
            Direction::ToOthers,
            Direction::Unknown,
        ] {
            assert_eq!(direction(flags(expected)), expected);
        }
    }

    #[test]
    fn options_end_at_the_end_marker_or_the_last_byte() {
        let bytes = [0, 2, 0, 3, b'l', b'a', b'n', 0, 0, 9, 0, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 3];
        let found: Vec<_> = Options::<BigEndian>::new(&bytes).collect();
        assert_eq!(found, [(2, &b"lan"[..]), (9, &[6][..])]);
        let cut_off: Vec<_> = Options::<BigEndian>::new(&bytes[..10]).collect();
        assert_eq!(cut_off, [(2, &b"lan"[..])]);
    }
}
