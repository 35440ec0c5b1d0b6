//! What a read of a BPF device gives (`bpf(4)`): packets one after the other, each behind a header.

use std::ops::Range;
use std::time::{Duration, SystemTime};

/// How the system lays out the header. Behind the time come the captured length, the length on the wire (four
/// bytes each) and the length of the header (two bytes), which says where the packet starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bytes of the seconds, and of the microseconds: 4 or 8.
    pub(crate) time: usize,
    /// A record starts at a multiple of this.
    pub(crate) alignment: usize,
}

/// A packet among what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where its bytes are.
    pub(crate) place: Range<usize>,
    pub(crate) original_length: usize,
    pub(crate) time: SystemTime,
}

impl Layout {
    /// The records in what was read. What is cut off or contradicts itself ends them.
    pub(crate) fn records(self, bytes: &[u8]) -> impl Iterator<Item = Record> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let record = self.record(bytes, next)?;
            next = record.place.end.next_multiple_of(self.alignment);
            Some(record)
        })
    }

    fn record(self, bytes: &[u8], start: usize) -> Option<Record> {
        let header = bytes.get(start..)?;
        let seconds = self.number(header, 0)?;
        let microseconds = self.number(header, self.time)?;
        let lengths = 2 * self.time;
        let captured = u32_at(header, lengths)? as usize;
        let original_length = u32_at(header, lengths + 4)? as usize;
        let header_length = usize::from(u16::from_ne_bytes(*header.get(lengths + 8..)?.first_chunk()?));
        // A header of no length would be read for ever.
        if header_length < lengths + 10 {
            return None;
        }
        let first = start.checked_add(header_length)?;
        let end = first.checked_add(captured).filter(|end| *end <= bytes.len())?;
        let since = Duration::from_secs(seconds).checked_add(Duration::from_micros(microseconds))?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(Record { place: first..end, original_length: original_length.max(captured), time })
    }

    /// A part of the time, which is never negative.
    fn number(self, header: &[u8], offset: usize) -> Option<u64> {
        let bytes = header.get(offset..)?;
        match self.time {
            4 => u32_at(bytes, 0).map(u64::from),
            _ => Some(u64::from_ne_bytes(*bytes.first_chunk()?)),
        }
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APPLE: Layout = Layout { time: 4, alignment: 4 };
    const FREEBSD: Layout = Layout { time: 8, alignment: 8 };

    /// As the systems' headers have it: with what the compiler fills up to its alignment.
    fn written(layout: Layout, packets: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, packet) in packets.iter().enumerate() {
            bytes.resize(bytes.len().next_multiple_of(layout.alignment), 0);
            let header_length = 2 * layout.time + 10;
            for part in [1_700_000_000 + number as u64, 250_000] {
                bytes.extend_from_slice(&part.to_ne_bytes()[..layout.time]);
            }
            bytes.extend((packet.len() as u32).to_ne_bytes());
            bytes.extend((packet.len() as u32 + 4).to_ne_bytes());
            bytes.extend((header_length as u16).to_ne_bytes());
            bytes.extend_from_slice(packet);
        }
        bytes
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn packets_of_both_systems_are_found_with_their_times() {
        for layout in [APPLE, FREEBSD] {
            let bytes = written(layout, &[b"first", b"", b"third packet"]);
            let records: Vec<Record> = layout.records(&bytes).collect();
            let packets: Vec<&[u8]> = records.iter().map(|record| &bytes[record.place.clone()]).collect();
            assert_eq!(packets, [&b"first"[..], b"", b"third packet"], "{layout:?}");
            let since = records[2].time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since, Duration::new(1_700_000_002, 250_000_000));
            assert_eq!(records[0].original_length, 9);
        }
    }

    #[test]
    fn what_is_cut_off_ends_them() {
        let bytes = written(FREEBSD, &[b"first", b"second"]);
        for end in 0..bytes.len() {
            assert!(FREEBSD.records(&bytes[..end]).count() < 2, "{end}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_go_on_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for layout in [APPLE, FREEBSD] {
                let records: Vec<Record> = layout.records(&bytes).collect();
                prop_assert!(records.iter().all(|record| record.place.end <= bytes.len()));
            }
        }
    }
}
