//! Reassembly of a message from its fragments, in order.

use alloc::vec::Vec;

use crate::wire::{MessageNumber, Sequence};

/// The message that is being reassembled, or the last one that was.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    /// Its number, its length, and the sequence of its next fragment.
    current: Option<(MessageNumber, usize, Sequence)>,
    pub(super) keyed: bool,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AssemblyOutcome {
    /// Fragments are still missing.
    Incomplete,
    /// The message is complete.
    Complete,
    /// The fragment does not continue the message that is being reassembled.
    Unrelated,
    /// Its length contradicts the message's; the message is given up.
    Invalid,
}

impl Assembly {
    pub(super) const fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts a message with its first fragment. Memory is allocated for the bytes that arrived, not for the length
    /// that is claimed.
    pub(super) fn begin(
        &mut self,
        number: MessageNumber,
        total: usize,
        sequence: Sequence,
        keyed: bool,
        fragment: &[u8],
    ) -> AssemblyOutcome {
        self.bytes.clear();
        self.keyed = keyed;
        self.current = Some((number, total, sequence));
        self.add(number, sequence, fragment, false)
    }

    /// Adds the next fragment.
    pub(super) fn add(
        &mut self,
        number: MessageNumber,
        sequence: Sequence,
        fragment: &[u8],
        is_last: bool,
    ) -> AssemblyOutcome {
        let Some((current, total, next)) = self.current else { return AssemblyOutcome::Unrelated };
        if current != number || next != sequence {
            return AssemblyOutcome::Unrelated;
        }
        let length = self.bytes.len() + fragment.len();
        if length > total || is_last != (length == total) {
            self.abandon();
            return AssemblyOutcome::Invalid;
        }
        self.bytes.extend_from_slice(fragment);
        self.current = (!is_last).then_some((current, total, next + 1));
        if is_last { AssemblyOutcome::Complete } else { AssemblyOutcome::Incomplete }
    }

    /// Skips a datagram between fragments that is none of them.
    pub(super) fn skip(&mut self, sequence: Sequence) {
        if let Some((_, _, next)) = self.current.as_mut().filter(|(_, _, next)| *next == sequence) {
            *next += 1;
        }
    }

    pub(super) fn abandon(&mut self) {
        self.current = None;
    }
}
