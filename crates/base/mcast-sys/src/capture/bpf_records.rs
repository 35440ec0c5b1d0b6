//! The format of what a BPF device returns (`bpf(4)`): packets, each preceded by a header.

use std::ops::Range;
use std::time::{Duration, SystemTime};

/// The layout of the header. The time is followed by the captured length, the length on the wire (four bytes
/// each) and the length of the header (two bytes), which gives the start of the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Size of the seconds, and of the microseconds, in bytes: 4 or 8.
    pub time: usize,
    /// Records start at multiples of this.
    pub alignment: usize,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The range of its bytes.
    pub range: Range<usize>,
    pub original_length: usize,
    pub time: SystemTime,
}

impl Layout {
    /// Returns the records in `bytes`, ending at the first one that is truncated or inconsistent.
    pub(crate) fn records(self, bytes: &[u8]) -> impl Iterator<Item = Record> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let record = self.record(bytes, next)?;
            next = record.range.end.next_multiple_of(self.alignment);
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
        // A header of length zero would cause an endless loop.
        if header_length < lengths + 10 {
            return None;
        }
        let first = start.checked_add(header_length)?;
        let end = first.checked_add(captured).filter(|end| *end <= bytes.len())?;
        let since = Duration::from_secs(seconds).checked_add(Duration::from_micros(microseconds))?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(Record { range: first..end, original_length: original_length.max(captured), time })
    }

    /// Reads one half of the time, which is never negative.
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

    /// Builds records as in the systems' headers, including the compiler's padding.
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
    fn records_of_both_layouts_are_parsed() {
        for layout in [APPLE, FREEBSD] {
            let bytes = written(layout, &[b"first", b"", b"third packet"]);
            let records: Vec<Record> = layout.records(&bytes).collect();
            let packets: Vec<&[u8]> = records.iter().map(|record| &bytes[record.range.clone()]).collect();
            assert_eq!(packets, [&b"first"[..], b"", b"third packet"], "{layout:?}");
            let since = records[2].time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since, Duration::new(1_700_000_002, 250_000_000));
            assert_eq!(records[0].original_length, 9);
        }
    }

    #[test]
    fn truncated_records_are_omitted() {
        let bytes = written(FREEBSD, &[b"first", b"second"]);
        for end in 0..bytes.len() {
            assert!(FREEBSD.records(&bytes[..end]).count() < 2, "{end}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_loop(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for layout in [APPLE, FREEBSD] {
                let records: Vec<Record> = layout.records(&bytes).collect();
                prop_assert!(records.iter().all(|record| record.range.end <= bytes.len()));
            }
        }
    }
}
