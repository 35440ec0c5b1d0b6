//! The bytes of a symbol, where sums of symbols are computed fast.

use alloc::vec;
use alloc::vec::Vec;

use super::SymbolParts;
use super::field::REDUCTION;

/// Bytes that are computed at once: two sums of this length fit the vector registers.
pub(super) const CHUNK: usize = 128;

/// Consecutive bytes of a symbol, aligned: without AVX, for which the code is not compiled, an instruction adds a vector from
/// memory only if it is aligned.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(super) struct Chunk([u8; CHUNK]);

impl Chunk {
    pub(super) const ZEROS: Self = Self([0; CHUNK]);

    /// Adds another one: the compiler turns this loop, and that of `double`, into vector instructions.
    #[inline]
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(byte, other)| *byte ^= other);
    }

    /// Multiplies each byte by x.
    #[inline]
    pub(super) fn double(&mut self) {
        for byte in &mut self.0 {
            *byte = (*byte << 1) ^ (((*byte as i8) >> 7) as u8 & REDUCTION);
        }
    }
}

/// A symbol of a datagram, or of parity. Zeros fill up its last chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symbol {
    chunks: Vec<Chunk>,
    length: usize,
}

impl Symbol {
    /// Returns a symbol of zeros.
    pub(super) fn zeros(length: usize) -> Self {
        Self { chunks: vec![Chunk::ZEROS; length.div_ceil(CHUNK)], length }
    }

    /// Returns the symbol with these parts.
    pub(super) fn new<const HEAD: usize>(parts: SymbolParts<'_, HEAD>) -> Self {
        let mut symbol = Self::default();
        symbol.set(parts);
        symbol
    }

    /// Replaces the symbol with that of these parts.
    pub(crate) fn set<const HEAD: usize>(&mut self, (head, rest): SymbolParts<'_, HEAD>) {
        const { assert!(HEAD <= CHUNK, "the head fits into the first chunk") };
        self.length = HEAD + rest.len();
        let count = self.length.div_ceil(CHUNK);
        self.chunks.reserve_exact(count.saturating_sub(self.chunks.len()));
        self.chunks.resize(count, Chunk::ZEROS);
        let Some((Chunk(chunk), chunks)) = self.chunks.split_first_mut() else { return };
        let (first, rest) = rest.split_at(rest.len().min(CHUNK - HEAD));
        chunk[..HEAD].copy_from_slice(&head);
        chunk[HEAD..HEAD + first.len()].copy_from_slice(first);
        chunk[HEAD + first.len()..].fill(0);
        let (whole, last) = rest.as_chunks::<CHUNK>();
        chunks.iter_mut().zip(whole).for_each(|(Chunk(chunk), bytes)| chunk.copy_from_slice(bytes));
        if let Some(Chunk(chunk)) = chunks.get_mut(whole.len()) {
            chunk[..last.len()].copy_from_slice(last);
            chunk[last.len()..].fill(0);
        }
    }

    /// Returns the number of its bytes, without those that fill up the last chunk.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// Returns the number of bytes that it takes: a buffer that was longer before takes as many as then.
    pub(crate) const fn memory(&self) -> usize {
        self.chunks.capacity() * CHUNK
    }

    /// Returns how many bytes it takes with this length.
    pub(crate) fn memory_with(&self, length: usize) -> usize {
        self.memory().max(length.next_multiple_of(CHUNK))
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    pub(super) fn chunks_mut(&mut self) -> &mut [Chunk] {
        &mut self.chunks
    }

    /// Returns its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.chunks.len() * CHUNK);
        self.chunks.iter().for_each(|chunk| bytes.extend_from_slice(&chunk.0));
        bytes.truncate(self.length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_consists_of_its_parts_whatever_it_was_before() {
        let rest: Vec<u8> = (1..=255).cycle().take(3 * CHUNK).collect();
        let mut symbol = Symbol::default();
        for length in (0..rest.len()).rev() {
            symbol.set(([7, 8, 9], &rest[..length]));
            assert_eq!((symbol.length(), symbol.memory()), (3 + length, 4 * CHUNK));
            assert_eq!(symbol.to_bytes(), [&[7, 8, 9], &rest[..length]].concat());
            let padding = symbol.chunks.iter().flat_map(|chunk| chunk.0).skip(3 + length);
            assert!(padding.into_iter().all(|byte| byte == 0));
        }
    }
}
