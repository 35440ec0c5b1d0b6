//! Records larger than the path: their pieces, put together. The memory is bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::frame::RecordPiece;
use crate::record::MAX_RECORD;

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
    until: Duration,
}

impl Reassembly {
    /// Handles a piece. Returns the record once it is whole. `bound` is the time in which missing pieces are repaired.
    pub(crate) fn add<'a>(
        &mut self,
        now: Duration,
        bound: Duration,
        piece: RecordPiece<'a>,
    ) -> Option<Cow<'a, [u8]>> {
        if piece.count == 1 {
            return Some(Cow::Borrowed(piece.bytes));
        }
        self.expire(now);
        let partial = self.partial.entry(piece.record).or_insert_with(|| Partial {
            pieces: vec![None; piece.count.into()],
            missing: piece.count,
            bytes: 0,
            until: now + TIMEOUT + bound,
        });
        let is_whole = partial.add(piece);
        let added = if is_whole.is_some() { piece.bytes.len() } else { 0 };
        self.bytes += added;
        if partial.bytes > MAX_RECORD {
            self.give_up(piece.record);
        } else if is_whole == Some(true) {
            let whole = self.partial.remove(&piece.record)?;
            self.bytes -= whole.bytes;
            return Some(Cow::Owned(whole.pieces.into_iter().flatten().flatten().collect()));
        }
        while self.partial.len() > MAX_PARTIAL || self.bytes > MAX_BYTES {
            let oldest = self.partial.iter().min_by_key(|(_, partial)| partial.until);
            let oldest = *oldest?.0;
            self.give_up(oldest);
        }
        None
    }

    /// Returns the number of records given up since the last call.
    pub(crate) fn take_incomplete(&mut self, now: Duration) -> u64 {
        self.expire(now);
        std::mem::replace(&mut self.incomplete, 0)
    }

    fn expire(&mut self, now: Duration) {
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

    const BOUND: Duration = Duration::from_millis(200);

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
                whole = reassembly.add(Duration::ZERO, BOUND, piece);
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
                reassembly.add(Duration::ZERO, BOUND, piece);
                let bytes: usize = reassembly.partial.values().map(|partial| partial.bytes).sum();
                prop_assert!(bytes == reassembly.bytes && bytes <= MAX_BYTES);
                prop_assert!(reassembly.partial.len() <= MAX_PARTIAL);
            }
            let partial = reassembly.partial.len() as u64;
            let before = reassembly.incomplete;
            prop_assert_eq!(reassembly.take_incomplete(Duration::from_secs(2)), before + partial);
            prop_assert_eq!(reassembly.bytes, 0);
        }
    }
}
