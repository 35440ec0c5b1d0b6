//! The bytes of a log: `docs/log-format.md` specifies them. Numbers are big-endian.

mod header;
mod record;

use std::time::{Duration, SystemTime};

pub(crate) use header::IndexBuilder;
pub use header::{
    HeaderError, INDEX_INTERVAL, IndexEntry, MAX_NAME, SegmentHeader, SegmentIndex, SegmentName,
};
pub use record::{MAX_BODY, RECORD_HEAD};
pub(crate) use record::{
    MAX_SEALED_BODY, RecordError, RecordHead, RecordKind, SegmentSeal, authenticated, mark, write_record,
};

/// The time of a record: nanoseconds since 1970, by the clock of the writer, which may go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogTime(pub u64);

impl LogTime {
    /// Returns the present time.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Returns a time in milliseconds since 1970.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// Returns the time for the standard library.
    #[must_use]
    pub fn system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

/// Returns the bytes at this place; zeros where the slice is shorter.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    let found = bytes.get(at..).unwrap_or_default();
    array.iter_mut().zip(found).for_each(|(to, from)| *to = *from);
    array
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use mcast_stream_proto::history::{GapCause, HistoryContent, Position};
    use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
    use mcast_stream_proto::wire::{Incarnation, KeyEpoch, MessageKey, MessageNumber, StreamId};
    use proptest::prelude::*;

    use super::{IndexBuilder, RecordHead, SegmentHeader, SegmentIndex, SegmentName, write_record};
    use crate::LogTime;
    use crate::format::record::SegmentSeal;

    const SALT: u64 = 0xa1b2_c3d4_e5f6_0718;

    fn header(epoch: u16) -> SegmentHeader {
        SegmentHeader {
            stream: StreamId(0x0102_0304_0506_0708),
            name: "prices".to_owned(),
            publisher: Incarnation(3),
            epoch: KeyEpoch(epoch),
            segment: 1,
            first: Position::new(Incarnation(2), MessageNumber(5)),
            follows: Position::new(Incarnation(1), MessageNumber(70)),
            salt: SALT,
            begun: LogTime(1_000),
        }
    }

    /// Asserts that the page has these bytes, whatever its spaces.
    fn assert_on_page(bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let page = include_str!("../../../../../docs/log-format.md").replace([' ', '\n'], "");
        assert!(page.contains(&hex), "docs/log-format.md does not show {hex}");
    }

    #[test]
    fn golden_segment_and_index() {
        let header = header(0);
        let mut segment = header.bytes();
        let mut index = IndexBuilder::default();
        let records: [(u64, u64, HistoryContent<&[u8]>); 4] = [
            (5, 2_000, HistoryContent::Message { key: None, bytes: b"hi" }),
            (6, 3_000, HistoryContent::Message { key: Some(MessageKey(9)), bytes: b"" }),
            (7, 2_500, HistoryContent::Gap { end: MessageNumber(9), cause: GapCause::JoinedLate }),
            (9, 4_000, HistoryContent::End),
        ];
        for (number, time, content) in records {
            let (number, time, offset) = (MessageNumber(number), LogTime(time), segment.len() as u64);
            assert!(write_record(&mut segment, number, time, &content, SALT, offset, None));
            index.note(offset, number, time);
            let head = RecordHead::read(&segment[offset as usize..], SALT, offset, false).unwrap();
            let record = head.content(Incarnation(2), &segment[offset as usize + 32..]).unwrap();
            assert_eq!((record.first.number, head.time, record.content), (number, time, content));
        }
        assert_on_page(&segment);
        let index = index.index(SALT, segment.len() as u64, MessageNumber(9));
        assert_on_page(&index.bytes());
        assert_eq!(SegmentIndex::read(&index.bytes()), Some(index));
        assert_eq!(SegmentHeader::read(&segment), Ok(header));
    }

    #[test]
    fn golden_sealed_segment() {
        let header = header(3);
        let secret = GroupSecret::new(&std::array::from_fn(|at| at as u8), Algorithm::ChaCha20Poly1305);
        let mut seal = SegmentSeal::new(&Keys::one(KeyEpoch(3), secret), &header).unwrap();
        let mut segment = header.bytes();
        let offset = segment.len() as u64;
        let message = HistoryContent::Message { key: None, bytes: &b"hi"[..] };
        let (number, time) = (MessageNumber(5), LogTime(2_000));
        assert!(write_record(&mut segment, number, time, &message, SALT, offset, Some(&mut seal)));
        assert_on_page(&segment);
    }

    proptest! {
        #[test]
        fn headers_are_read_as_written(
            (stream, publisher, epoch, segment, salt, begun) in any::<(u64, u32, u16, u64, u64, u64)>(),
            (first, follows) in any::<((u32, u64), (u32, u64))>(),
            name in "\\PC{0,90}",
        ) {
            let header = SegmentHeader {
                stream: StreamId(stream),
                publisher: Incarnation(publisher),
                epoch: KeyEpoch(epoch),
                first: Position::new(Incarnation(first.0), MessageNumber(first.1)),
                follows: Position::new(Incarnation(follows.0), MessageNumber(follows.1)),
                begun: LogTime(begun),
                name, segment, salt,
            };
            let bytes = header.bytes();
            prop_assert_eq!(bytes.len(), header.len());
            let read = SegmentHeader::read(&bytes).unwrap();
            prop_assert!(header.name.starts_with(&read.name) && (read.name == header.name || read.name.len() > 251));
            prop_assert_eq!(SegmentHeader { name: header.name.clone(), ..read }, header);
        }

        #[test]
        fn a_record_at_another_place_or_changed_is_none(
            message in proptest::collection::vec(any::<u8>(), 0..200),
            offset in 0..1_u64 << 40,
            at in any::<proptest::sample::Index>(),
            change in 1..=255_u8,
        ) {
            let mut bytes = Vec::new();
            let content = HistoryContent::Message { key: None, bytes: &message[..] };
            prop_assert!(write_record(&mut bytes, MessageNumber(1), LogTime(2), &content, SALT, offset, None));
            prop_assert!(RecordHead::read(&bytes, SALT, offset, false).is_ok());
            prop_assert!(RecordHead::read(&bytes, SALT, offset + 1, false).is_err());
            prop_assert!(RecordHead::read(&bytes, SALT ^ 1, offset, false).is_err());
            prop_assert!(RecordHead::read(&bytes[..bytes.len() - 1], SALT, offset, false).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(RecordHead::read(&bytes, SALT, offset, false).is_err());
        }

        #[test]
        fn indexes_are_read_as_written_and_damaged_ones_are_none(
            steps in proptest::collection::vec((1..100_000_u64, 0..50_u64), 0..50),
            at in any::<proptest::sample::Index>(),
            change in 1..=255_u8,
        ) {
            let (mut builder, mut offset, mut all) = (IndexBuilder::default(), 64, Vec::new());
            for (number, (length, time)) in (0..).zip(steps) {
                builder.note(offset, MessageNumber(number), LogTime(time));
                all.push((number, time, offset));
                offset += length;
            }
            let index = builder.index(SALT, offset, MessageNumber(all.len() as u64));
            let mut bytes = index.bytes();
            prop_assert!(bytes.len() as u64 <= SegmentIndex::longest(offset));
            prop_assert_eq!(SegmentIndex::read(&bytes), Some(index.clone()));
            for (number, _, offset) in &all {
                prop_assert!(index.before_number(MessageNumber(*number)).unwrap().offset <= *offset);
            }
            for wanted in 0..50 {
                let Some(first) = all.iter().find(|(_, time, _)| *time >= wanted) else { continue };
                prop_assert!(index.before_time(LogTime(wanted)).is_none_or(|entry| entry.offset <= first.2));
            }
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert_eq!(SegmentIndex::read(&bytes), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            text in "\\PC{0,60}",
            salt in any::<u64>(),
        ) {
            let _ = SegmentHeader::read(&bytes);
            let _ = SegmentHeader::read(&[b"MCASTLOG\0\x02", &bytes[..]].concat());
            let _ = SegmentIndex::read(&bytes);
            let _ = RecordHead::read(&[&salt.to_be_bytes()[..4], &bytes].concat(), salt, 0, salt % 2 == 0);
            let _ = SegmentName::read(&text);
        }
    }

    #[test]
    fn names_are_read_as_written_and_in_one_spelling() {
        let name = SegmentName { segment: 12, first: Position::new(Incarnation(3), MessageNumber(u64::MAX)) };
        assert_eq!(name.segment_file(), "00000000000000000012-0000000003-18446744073709551615.log");
        assert_eq!(SegmentName::read(&name.segment_file()), Some(name));
        assert_eq!(SegmentName::read_index(&name.index_file()), Some(name));
        assert_eq!(SegmentName::read("12-3-4.log"), None);
        assert_eq!(SegmentName::read("+0000000000000000012-0000000003-18446744073709551615.log"), None);
        assert_eq!(SegmentName::read("00000000000000000012-0000000003-18446744073709551616.log"), None);
    }
}
