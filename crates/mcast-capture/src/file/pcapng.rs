//! Blocks of the newer format, pcapng (draft-ietf-opsawg-pcapng).

use std::time::Duration;

use byteorder_slice::{BigEndian, ByteOrder, LittleEndian};
use pcap_file::pcapng::RawBlock;
use pcap_file::{Endianness, PcapError};

use super::interface::{FileInterface, LinkNumber};
use super::options::{Options, u16_at, u32_at, u64_at};
use super::reader::{Record, Step};
use crate::Direction;

pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Type and length, before the body of a block.
const BLOCK_HEADER: usize = 8;

/// What the blocks so far have said.
#[derive(Debug)]
pub(super) struct PcapNg {
    endianness: Endianness,
    pub(super) interfaces: Vec<FileInterface>,
    readings: Vec<Reading>,
    /// The number of the section's first interface: numbers in blocks start anew in each section.
    section: usize,
}

/// How an interface's frames are to be read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    clock: Clock,
    /// How many bytes of each frame were captured at most; 0 is no limit.
    snap_length: u32,
}

/// How an interface's times are to be read.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Units in a second: ten, or two, to this power.
    resolution: u8,
    /// Seconds to be added.
    offset: i64,
}

impl PcapNg {
    pub(super) const fn new() -> Self {
        Self {
            // The first block says what it is; until then it does not matter.
            endianness: Endianness::Little,
            interfaces: Vec::new(),
            readings: Vec::new(),
            section: 0,
        }
    }

    /// Looks at the block at the start of the bytes, and takes note of what it says.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if let Some(endianness) = section_endianness(bytes) {
            self.endianness = endianness;
        }
        match self.endianness {
            Endianness::Big => self.step_in::<BigEndian>(bytes),
            Endianness::Little => self.step_in::<LittleEndian>(bytes),
        }
    }

    fn step_in<B: ByteOrder>(&mut self, bytes: &[u8]) -> Step {
        match RawBlock::from_slice::<B>(bytes) {
            Ok((rest, block)) => {
                let length = bytes.len() - rest.len();
                self.block::<B>(block.type_, &block.body, length)
            }
            Err(PcapError::IncompleteBuffer) => {
                let stated = u32_at::<B>(bytes, 4).unwrap_or(0) as usize;
                Step::NeedsMore(stated.max(bytes.len() + 1).max(BLOCK_HEADER + 4))
            }
            Err(PcapError::InvalidField(_)) => Step::Malformed("contradicts itself about its length"),
            Err(_) => Step::Malformed("is malformed"),
        }
    }

    fn block<B: ByteOrder>(&mut self, kind: u32, body: &[u8], length: usize) -> Step {
        let cut_off = Step::Malformed("is shorter than what it has to say");
        match kind {
            SECTION_HEADER => {
                self.section = self.interfaces.len();
                Step::Skip(length)
            }
            INTERFACE_DESCRIPTION => match interface::<B>(body) {
                Some((interface, reading)) => {
                    self.interfaces.push(interface);
                    self.readings.push(reading);
                    Step::Skip(length)
                }
                None => cut_off,
            },
            INTERFACE_STATISTICS => {
                self.statistics::<B>(body);
                Step::Skip(length)
            }
            ENHANCED_PACKET => {
                let number = u32_at::<B>(body, 0);
                self.packet::<B>(body, number, length).unwrap_or(cut_off)
            }
            OLD_PACKET => {
                let number = u16_at::<B>(body, 0).map(u32::from);
                self.packet::<B>(body, number, length).unwrap_or(cut_off)
            }
            SIMPLE_PACKET => self.simple_packet::<B>(body, length).unwrap_or(cut_off),
            _ => Step::Skip(length),
        }
    }

    /// A packet with all there is to say about it. The older kind differs in its first four bytes.
    fn packet<B: ByteOrder>(&self, body: &[u8], number: Option<u32>, length: usize) -> Option<Step> {
        const FLAGS: u16 = 2;
        const HEADER: usize = 20;
        let ticks = u64::from(u32_at::<B>(body, 4)?) << 32 | u64::from(u32_at::<B>(body, 8)?);
        let captured = u32_at::<B>(body, 12)? as usize;
        let end = HEADER.checked_add(captured)?;
        body.get(HEADER..end)?;
        let options = body.get(end.checked_next_multiple_of(4)?..).unwrap_or_default();
        let flags = Options::<B>::new(options).find(|(number, _)| *number == FLAGS);
        let Some((interface, reading)) = self.interface(number?) else {
            return Some(Step::Malformed("is of an interface that the file has not described"));
        };
        let Some(time) = reading.clock.time(ticks) else {
            return Some(Step::Malformed("has a time that no clock here can tell"));
        };
        Some(Step::Frame(Record {
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

    /// A packet without time, of the section's first interface.
    fn simple_packet<B: ByteOrder>(&self, body: &[u8], length: usize) -> Option<Step> {
        const HEADER: usize = 4;
        let original_length = u32_at::<B>(body, 0)? as usize;
        let Some((interface, reading)) = self.interface(0) else {
            return Some(Step::Malformed("is of an interface that the file has not described"));
        };
        let limit = if reading.snap_length == 0 { usize::MAX } else { reading.snap_length as usize };
        let captured = original_length.min(limit).min(body.len() - HEADER);
        Some(Step::Frame(Record {
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
        let place = self.interface(number).and_then(|(place, _)| self.interfaces.get_mut(place));
        if let (Some(interface), Some(dropped)) = (place, dropped) {
            interface.dropped = Some(dropped);
        }
    }

    /// The place of the section's interface of this number in the list of all, and how it is to be read.
    fn interface(&self, number: u32) -> Option<(usize, Reading)> {
        let place = self.section.checked_add(number as usize)?;
        self.readings.get(place).map(|reading| (place, *reading))
    }
}

/// The byte order of the section that starts here, if one does.
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

fn interface<B: ByteOrder>(body: &[u8]) -> Option<(FileInterface, Reading)> {
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
            // The first byte says in which language the filter is: 0 is libpcap's.
            (FILTER, [0, filter @ ..]) => {
                interface.filter = Some(String::from_utf8_lossy(filter).into_owned());
            }
            (RESOLUTION, [resolution]) => clock.resolution = *resolution,
            (OFFSET, _) => clock.offset = u64_at::<B>(value, 0)?.cast_signed(),
            _ => {}
        }
    }
    Some((interface, Reading { clock, snap_length: u32_at::<B>(body, 4)? }))
}

impl Clock {
    const MICROSECONDS: u8 = 6;
    const POWER_OF_TWO: u8 = 0x80;

    /// The time since 1970, rounded down to nanoseconds; `None` when it is beyond telling.
    fn time(self, ticks: u64) -> Option<Duration> {
        const NANOSECONDS: u128 = 1_000_000_000;
        let power = u32::from(self.resolution & !Self::POWER_OF_TWO);
        let base: u128 = if self.resolution & Self::POWER_OF_TWO == 0 { 10 } else { 2 };
        let ticks = u128::from(ticks);
        // Behind so many units to a second, all ticks there can be are less than a nanosecond.
        let nanoseconds = match base.checked_pow(power) {
            Some(units) => ticks / units * NANOSECONDS + ticks % units * NANOSECONDS / units,
            None => 0,
        };
        let seconds = i128::try_from(nanoseconds / NANOSECONDS).ok()? + i128::from(self.offset);
        let fraction = u32::try_from(nanoseconds % NANOSECONDS).ok()?;
        Some(Duration::new(u64::try_from(seconds).ok()?, fraction))
    }
}

/// The flags of a packet: inbound or outbound in bits 0 and 1, whom it was for in bits 2 to 4.
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

/// The flags of a packet that went this way.
pub(super) const fn flags(direction: Direction) -> u32 {
    const INBOUND: u32 = 1;
    match direction {
        Direction::Outgoing => 2,
        Direction::ToUs => INBOUND | 1 << 2,
        Direction::Multicast => INBOUND | 2 << 2,
        Direction::Broadcast => INBOUND | 3 << 2,
        Direction::ToOthers => INBOUND | 4 << 2,
        Direction::Unknown => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(resolution: u8, offset: i64, ticks: u64) -> Option<Duration> {
        Clock { resolution, offset }.time(ticks)
    }

    #[test]
    fn clocks_count_in_powers_of_ten_and_of_two() {
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
    fn flags_say_the_direction() {
        for way in [
            Direction::Outgoing,
            Direction::ToUs,
            Direction::Multicast,
            Direction::Broadcast,
            Direction::ToOthers,
            Direction::Unknown,
        ] {
            assert_eq!(direction(flags(way)), way);
        }
    }
}
