//! Pieces of one message, put together in order.

use alloc::vec::Vec;

/// The message that is being put together, or the one that was last.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    /// Its number, how long it will be, and the datagram that must come next.
    current: Option<(u64, usize, u64)>,
    pub(super) keyed: bool,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// More must come.
    Taken,
    /// The message is whole.
    Whole,
    /// It belongs to no message that is being put together.
    Stray,
    /// The message cannot be what it claims to be, and is given up.
    Wrong,
}

impl Assembly {
    pub(super) const fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a message with its first piece. Memory is taken for what came, not for what is claimed.
    pub(super) fn begin(
        &mut self,
        number: u64,
        total: usize,
        sequence: u64,
        keyed: bool,
        piece: &[u8],
    ) -> Piece {
        self.bytes.clear();
        self.keyed = keyed;
        self.current = Some((number, total, sequence));
        self.add(number, sequence, piece, false)
    }

    /// Adds the next piece.
    pub(super) fn add(&mut self, number: u64, sequence: u64, piece: &[u8], is_last: bool) -> Piece {
        let Some((current, total, next)) = self.current else { return Piece::Stray };
        if current != number || next != sequence {
            return Piece::Stray;
        }
        let length = self.bytes.len() + piece.len();
        if length > total || is_last != (length == total) {
            self.abandon();
            return Piece::Wrong;
        }
        self.bytes.extend_from_slice(piece);
        self.current = (!is_last).then_some((current, total, next + 1));
        if is_last { Piece::Whole } else { Piece::Taken }
    }

    pub(super) fn abandon(&mut self) {
        self.current = None;
    }
}
