//! Frames: each datagram of QUIC contains one. It has a kind (8) and a content. Also records, put together from pieces.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mcast_pace::ClockTime;

use crate::record::{MAX_RECORD, Reader};

const PIECE: u8 = 1;
const REPAIRABLE: u8 = 2;
const NAK: u8 = 3;
const TAIL: u8 = 4;
const PART: u8 = 5;

/// The bytes before the content of the longest frame that carries a piece.
pub(crate) const PIECE_OVERHEAD: usize = 1 + 18;
/// Pieces of one record: of the longest, if each has half of the smallest path.
const MAX_PIECES: u16 = 256;
/// Ranges in one NAK.
pub(crate) const MAX_RANGES: usize = 64;

/// A piece of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordPiece<'a> {
    /// The record that it is of.
    pub(crate) record: u32,
    pub(crate) index: u16,
    pub(crate) count: u16,
    pub(crate) bytes: &'a [u8],
}

/// The place of a piece among those that are repaired, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RepairMark {
    pub(crate) sequence: u64,
    pub(crate) bound_ms: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Piece(Option<RepairMark>, RecordPiece<'a>),
    /// Missing pieces: the first of each range, and the number.
    Nak(Vec<(u64, u16)>),
    /// The sequence of the next piece that is repaired.
    Tail(RepairMark),
    /// A part of a repairable piece, which has become too large for the path.
    Part(RecordPiece<'a>),
    /// Of a later version.
    Unknown,
}

impl<'a> Frame<'a> {
    /// Returns the bytes of the frame. Those of a piece follow its head.
    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Piece(mark, piece) => {
                put_piece_head(&mut bytes, *mark, piece.record, piece.index, piece.count);
                bytes.extend(piece.bytes);
            }
            Self::Part(piece) => {
                put_piece_head(&mut bytes, None, piece.record, piece.index, piece.count);
                bytes[0] = PART;
                bytes.extend(piece.bytes);
            }
            Self::Nak(ranges) => {
                bytes.push(NAK);
                for (first, count) in ranges.iter().take(MAX_RANGES) {
                    bytes.extend(first.to_be_bytes());
                    bytes.extend(count.to_be_bytes());
                }
            }
            Self::Tail(mark) => {
                bytes.push(TAIL);
                mark.put(&mut bytes);
            }
            Self::Unknown => bytes.push(0),
        }
        bytes
    }

    /// Reads a frame. `None` for one that is not valid.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut body = Reader(bytes);
        Some(match body.byte()? {
            PIECE => Self::Piece(None, RecordPiece::read(body)?),
            REPAIRABLE => Self::Piece(Some(RepairMark::read(&mut body)?), RecordPiece::read(body)?),
            NAK => {
                let mut ranges = Vec::new();
                while ranges.len() < MAX_RANGES && !body.0.is_empty() {
                    ranges.push((body.number()?, body.short()?));
                }
                Self::Nak(ranges)
            }
            TAIL => Self::Tail(RepairMark::read(&mut body)?),
            PART => Self::Part(RecordPiece::read(body)?),
            _ => Self::Unknown,
        })
    }
}

/// Appends what stands before the content of a piece.
pub(crate) fn put_piece_head(
    bytes: &mut impl Extend<u8>,
    mark: Option<RepairMark>,
    record: u32,
    index: u16,
    count: u16,
) {
    bytes.extend([if mark.is_some() { REPAIRABLE } else { PIECE }]);
    mark.iter().for_each(|mark| mark.put(bytes));
    bytes.extend(record.to_be_bytes());
    bytes.extend(index.to_be_bytes());
    bytes.extend(count.to_be_bytes());
}

impl RepairMark {
    fn put(self, bytes: &mut impl Extend<u8>) {
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.bound_ms.to_be_bytes());
    }

    fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self { sequence: body.number()?, bound_ms: body.short()? })
    }
}

impl<'a> RecordPiece<'a> {
    fn read(mut body: Reader<'a>) -> Option<Self> {
        let piece = Self { record: body.word()?, index: body.short()?, count: body.short()?, bytes: body.0 };
        (piece.index < piece.count && piece.count <= MAX_PIECES).then_some(piece)
    }
}

/// Records of which pieces are missing.
const MAX_PARTIAL: usize = 256;
/// Bytes of these.
const MAX_BYTES: usize = 4 << 20;
/// How long a record without repairs waits for its pieces.
const TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    partial: BTreeMap<u32, Partial>,
    bytes: usize,
    incomplete: u64,
}

#[derive(Debug)]
struct Partial {
    pieces: Vec<Option<Box<[u8]>>>,
    missing: u16,
    bytes: usize,
    until: ClockTime,
}

impl Reassembly {
    /// Handles a piece, which is a part of `frame`. Returns the record once it is whole. `bound` is the time in which missing
    /// pieces are repaired.
    pub(crate) fn add(
        &mut self,
        now: ClockTime,
        bound: Duration,
        piece: RecordPiece<'_>,
        frame: &Bytes,
    ) -> Option<Bytes> {
        if piece.count == 1 {
            return Some(frame.slice_ref(piece.bytes));
        }
        self.expire(now);
        let partial = self.partial.entry(piece.record).or_insert_with(|| Partial {
            pieces: vec![None; piece.count.into()],
            missing: piece.count,
            bytes: 0,
            until: now + TIMEOUT + bound,
        });
        // Counted only if it is new: repairs repeat pieces.
        let is_whole = partial.add(piece);
        let added = if is_whole.is_some() { piece.bytes.len() } else { 0 };
        self.bytes += added;
        if partial.bytes > MAX_RECORD {
            self.give_up(piece.record);
        } else if is_whole == Some(true) {
            let whole = self.partial.remove(&piece.record)?;
            self.bytes -= whole.bytes;
            return Some(whole.pieces.into_iter().flatten().flatten().collect());
        }
        // The oldest are the least likely to be completed in time.
        while self.partial.len() > MAX_PARTIAL || self.bytes > MAX_BYTES {
            let oldest = self.partial.iter().min_by_key(|(_, partial)| partial.until);
            let oldest = *oldest?.0;
            self.give_up(oldest);
        }
        None
    }

    /// Returns the number of records given up since the last call.
    pub(crate) fn take_incomplete(&mut self, now: ClockTime) -> u64 {
        self.expire(now);
        std::mem::replace(&mut self.incomplete, 0)
    }

    fn expire(&mut self, now: ClockTime) {
        let expired: Vec<u32> =
            self.partial.iter().filter(|(_, partial)| partial.until <= now).map(|(id, _)| *id).collect();
        expired.into_iter().for_each(|record| self.give_up(record));
    }

    fn give_up(&mut self, record: u32) {
        if let Some(partial) = self.partial.remove(&record) {
            self.bytes -= partial.bytes;
            self.incomplete += 1;
        }
    }
}

impl Partial {
    /// Adds a piece; returns whether it is whole now. `None` for one that it has or that does not belong to it.
    fn add(&mut self, piece: RecordPiece<'_>) -> Option<bool> {
        let place = self.pieces.get_mut(usize::from(piece.index)).filter(|place| place.is_none())?;
        *place = Some(piece.bytes.into());
        self.bytes += piece.bytes.len();
        self.missing -= 1;
        Some(self.missing == 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame<'static>> {
        let mark =
            (any::<u64>(), any::<u16>()).prop_map(|(sequence, bound_ms)| RepairMark { sequence, bound_ms });
        let piece = (any::<u32>(), any::<u16>(), 1..=MAX_PIECES, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(record, index, count, bytes)| RecordPiece {
                record,
                index: index % count,
                count,
                bytes: bytes.leak(),
            });
        prop_oneof![
            piece.clone().prop_map(Frame::Part),
            (prop::option::of(mark.clone()), piece).prop_map(|(mark, piece)| Frame::Piece(mark, piece)),
            prop::collection::vec(any::<(u64, u16)>(), 0..MAX_RANGES).prop_map(Frame::Nak),
            mark.prop_map(Frame::Tail),
        ]
    }

    proptest! {
        #[test]
        fn frames_round_trip(frame in frames()) {
            let bytes = frame.emit();
            prop_assert_eq!(Frame::read(&bytes), Some(frame));
        }

        #[test]
        fn reading_does_not_panic(kind in 0_u8..6, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Frame::read(&[&[kind], bytes.as_slice()].concat());
        }
    }

    const BOUND: Duration = Duration::from_millis(200);

    fn add(reassembly: &mut Reassembly, piece: RecordPiece<'_>) -> Option<Bytes> {
        let frame = Bytes::copy_from_slice(piece.bytes);
        reassembly.add(ClockTime::START, BOUND, RecordPiece { bytes: &frame, ..piece }, &frame)
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_and_repeated_are_put_together(
            bytes in prop::collection::vec(any::<u8>(), 1..200), size in 1_usize..50, order: u64, again: prop::sample::Index,
        ) {
            let count = bytes.len().div_ceil(size) as u16;
            let piece = |(index, bytes)| RecordPiece { record: 7, index, count, bytes };
            let mut pieces: Vec<_> = (0..).zip(bytes.chunks(size)).map(piece).collect();
            pieces.sort_by_key(|piece| (u64::from(piece.index) + 1).wrapping_mul(order | 1));
            let repeated = pieces[again.index(pieces.len() - 1 + usize::from(pieces.len() == 1))];
            if count > 1 {
                pieces.insert(0, repeated);
            }
            let mut reassembly = Reassembly::default();
            let mut whole = None;
            for piece in pieces {
                prop_assert!(whole.is_none());
                whole = add(&mut reassembly, piece);
            }
            prop_assert_eq!(whole.as_deref(), Some(bytes.as_slice()));
            prop_assert_eq!((reassembly.bytes, reassembly.partial.len()), (0, 0));
        }

        #[test]
        fn memory_is_bounded_whatever_arrives(
            pieces in prop::collection::vec((0_u32..600, any::<u16>(), 2_u16..70, 0_usize..65_000), 1..600),
        ) {
            let (mut reassembly, content) = (Reassembly::default(), vec![0; 65_000]);
            for (record, index, count, length) in pieces {
                let piece = RecordPiece { record, index: index % count, count, bytes: &content[..length] };
                add(&mut reassembly, piece);
                let bytes: usize = reassembly.partial.values().map(|partial| partial.bytes).sum();
                prop_assert!(bytes == reassembly.bytes && bytes <= MAX_BYTES);
                prop_assert!(reassembly.partial.len() <= MAX_PARTIAL);
            }
            let partial = reassembly.partial.len() as u64;
            let before = reassembly.incomplete;
            prop_assert_eq!(reassembly.take_incomplete(ClockTime(2_000_000_000)), before + partial);
            prop_assert_eq!(reassembly.bytes, 0);
        }
    }
}
