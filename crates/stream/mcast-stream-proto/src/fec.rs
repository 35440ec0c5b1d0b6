//! Forward error correction: how datagrams of data, and manifests of these, become symbols of a block, and how they are
//! recovered from these, by a Reed-Solomon code.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::wire::{Flags, HEADER_LENGTH, Header, Incarnation, KeyEpoch, Kind, Parity, StreamId};

/// Symbols of a block, each with its number among those of datagrams, or its index among those of parity.
pub(crate) type Symbols = Vec<(u8, Symbol)>;

/// A symbol in two parts: what differs in the headers of a block, and the rest; zeros follow them.
pub(crate) type SymbolParts<'d, const HEAD: usize> = ([u8; HEAD], &'d [u8]);

/// The bytes of a symbol before those of the datagram from byte 32 on: its length, and what differs in the headers of a
/// block.
const SYMBOL_HEAD: usize = 9;
const KIND_AT: usize = 3;
const MESSAGE_AT: usize = 20;

pub(crate) fn symbol_of(datagram: &[u8]) -> Option<SymbolParts<'_, SYMBOL_HEAD>> {
    let (header, rest) = datagram.split_at_checked(HEADER_LENGTH)?;
    let length = u16::try_from(datagram.len()).ok()?.to_be_bytes();
    let flags = Flags(header[Header::FLAGS_AT]).without(Flags::MUTABLE).0;
    let message = header.get(MESSAGE_AT..MESSAGE_AT + 4)?;
    let head = [
        length[0],
        length[1],
        header[KIND_AT],
        header[Header::LENGTH_AT],
        flags,
        message[0],
        message[1],
        message[2],
        message[3],
    ];
    Some((head, rest))
}

/// Returns the length of the symbols of a block whose longest datagram has this length.
pub(crate) const fn symbol_length(datagram: usize) -> usize {
    datagram - HEADER_LENGTH + SYMBOL_HEAD
}

/// Returns the datagram that a symbol describes, marked as a repair; `None` if it describes neither data nor a manifest.
pub(crate) fn datagram_of(
    symbol: &[u8],
    stream: StreamId,
    incarnation: Incarnation,
    epoch: KeyEpoch,
    sequence: u64,
) -> Option<Vec<u8>> {
    let [length_0, length_1, kind, words, flags, message @ ..] = symbol.first_chunk::<SYMBOL_HEAD>()?;
    let length = usize::from(u16::from_be_bytes([*length_0, *length_1]));
    let kind = Kind::from_number(*kind).filter(|kind| kind.is_in_sequence())?;
    let rest = symbol.get(SYMBOL_HEAD..SYMBOL_HEAD + length.checked_sub(HEADER_LENGTH)?)?;
    let header = Header {
        epoch,
        flags: Flags(*flags).without(Flags::MUTABLE).with(Flags::REPAIR),
        message: u32::from_be_bytes(*message),
        ..Header::new(kind, stream, incarnation, sequence)
    };
    let mut datagram = Vec::with_capacity(length);
    datagram.extend_from_slice(&header.bytes());
    datagram[Header::LENGTH_AT] = *words;
    datagram.extend_from_slice(rest);
    // What follows is padding.
    let is_padded = symbol.get(SYMBOL_HEAD + rest.len()..)?.iter().all(|byte| *byte == 0);
    is_padded.then_some(datagram)
}

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

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.chunks.len() * CHUNK);
        self.chunks.iter().for_each(|chunk| bytes.extend_from_slice(&chunk.0));
        bytes.truncate(self.length);
        bytes
    }
}

/// The most datagrams in a block.
const BLOCK: usize = Parity::LONGEST_BLOCK as usize;

// The code is systematic: any `k` of the symbols of a block, of data and of parity, determine the others. Its matrix is that of
// Cauchy, each column divided by its first element, so that parity symbol 0 is the sum of the data. A parity symbol does not
// depend on how many others there are.

/// Returns the coefficient of a datagram in a parity symbol: datagrams are counted from 0 to 63, symbols from 0 to 191.
const fn coefficient(symbol: u8, datagram: u8) -> u8 {
    quotient(255 ^ datagram, (255 - symbol) ^ datagram)
}

/// Returns the parity symbols with these indexes, each of `length` bytes, of the datagrams of a block, in order.
pub(crate) fn encode(
    datagrams: &[SymbolParts<'_, SYMBOL_HEAD>],
    indexes: Range<u8>,
    length: usize,
) -> Vec<Vec<u8>> {
    let numbers = 0..datagrams.len() as u8;
    let rows =
        indexes.map(|symbol| Row::new(numbers.clone().map(|at| coefficient(symbol, at)))).collect::<Vec<_>>();
    let sources: Vec<Symbol> = datagrams.iter().copied().map(Symbol::new).collect();
    let mut symbols = vec![Symbol::zeros(length); rows.len()];
    add_products(&mut symbols, &rows, &sources.iter().collect::<Vec<_>>());
    symbols.iter().map(Symbol::to_bytes).collect()
}

/// Returns the symbols of the datagrams of a block that are not known, with their numbers, from as many parity symbols of
/// equal length; `None` if there are too few, or if they cannot belong to this block.
pub(crate) fn decode(known: &[Option<&Symbol>], mut parity: Symbols) -> Option<Symbols> {
    let missing: Vec<u8> = (0..known.len() as u8).filter(|at| known[usize::from(*at)].is_none()).collect();
    if parity.len() < missing.len() {
        return None;
    }
    parity.truncate(missing.len());
    let length = parity.first().map_or(0, |(_, symbol)| symbol.length());
    let there = (0..).zip(known).filter_map(|(at, symbol)| Some((at, (*symbol)?)));
    let (numbers, symbols): (Vec<u8>, Vec<&Symbol>) = there.unzip();
    if !missing.is_empty() && symbols.iter().any(|symbol| symbol.length() > length) {
        return None;
    }
    // What is left of each parity symbol without the known datagrams.
    let (indexes, mut sums): (Vec<u8>, Vec<Symbol>) = parity.into_iter().unzip();
    let row = |symbol: &u8| Row::new(numbers.iter().map(|at| coefficient(*symbol, *at)));
    add_products(&mut sums, &indexes.iter().map(row).collect::<Vec<_>>(), &symbols);
    let row = |symbol: &u8| missing.iter().map(|at| coefficient(*symbol, *at)).collect();
    let inverse = inverse(indexes.iter().map(row).collect())?;
    let mut symbols = vec![Symbol::zeros(length); missing.len()];
    let rows: Vec<Row> = inverse.into_iter().map(Row::new).collect();
    add_products(&mut symbols, &rows, &sums.iter().collect::<Vec<_>>());
    Some(missing.into_iter().zip(symbols).collect())
}

/// Returns the inverse of a square matrix, if it has one.
fn inverse(mut rows: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let size = rows.len();
    for (at, row) in rows.iter_mut().enumerate() {
        row.resize(2 * size, 0);
        row[size + at] = 1;
    }
    for column in 0..size {
        let pivot = (column..size).find(|row| rows[*row][column] != 0)?;
        rows.swap(column, pivot);
        let first = rows[column][column];
        rows[column].iter_mut().for_each(|value| *value = quotient(*value, first));
        let pivot = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != column) {
            let factor = row[column];
            if factor != 0 {
                row.iter_mut().zip(&pivot).for_each(|(value, other)| *value ^= product(factor, *other));
            }
        }
    }
    Some(rows.into_iter().map(|row| row[size..].to_vec()).collect())
}

/// The coefficients of up to 64 sources in a sum, as four digits of two bits, the highest first: a set of sources for each
/// value of a digit but 0.
struct Row([[u64; 3]; 4]);

impl Row {
    fn new(coefficients: impl IntoIterator<Item = u8>) -> Self {
        let mut digits = [[0; 3]; 4];
        for (source, coefficient) in (0..BLOCK).zip(coefficients) {
            for (digit, sets) in digits.iter_mut().rev().enumerate() {
                let value = usize::from(coefficient >> (2 * digit) & 3);
                if let Some(set) = value.checked_sub(1).and_then(|value| sets.get_mut(value)) {
                    *set |= 1 << source;
                }
            }
        }
        Self(digits)
    }

    /// Returns the sum of the products of these sources. A sum is multiplied by x eight times, however many sources it has,
    /// and for a digit each of these is added at most once.
    #[inline]
    fn sum(&self, chunks: &[&Chunk; BLOCK]) -> Chunk {
        let mut sum = Chunk::ZEROS;
        for [ones, twos, threes] in self.0 {
            let mut both = Chunk::ZEROS;
            add_each(&mut both, threes, chunks);
            sum.double();
            sum.add(&both);
            add_each(&mut sum, twos, chunks);
            sum.double();
            sum.add(&both);
            add_each(&mut sum, ones, chunks);
        }
        sum
    }
}

/// Adds the sources of a set.
#[inline]
fn add_each(sum: &mut Chunk, mut set: u64, chunks: &[&Chunk; BLOCK]) {
    while set != 0 {
        sum.add(chunks[set.trailing_zeros() as usize % BLOCK]);
        set &= set - 1;
    }
}

/// Adds to each target the products of these sources with the coefficients of a row.
fn add_products(targets: &mut [Symbol], rows: &[Row], sources: &[&Symbol]) {
    let longest = sources.iter().map(|source| source.chunks().len()).max().unwrap_or(0);
    for at in 0..longest {
        let mut chunks = [&Chunk::ZEROS; BLOCK];
        for (chunk, source) in chunks.iter_mut().zip(sources) {
            *chunk = source.chunks().get(at).unwrap_or(&Chunk::ZEROS);
        }
        for (target, row) in targets.iter_mut().zip(rows) {
            if let Some(target) = target.chunks_mut().get_mut(at) {
                target.add(&row.sum(&chunks));
            }
        }
    }
}

/// What x^8 is replaced with.
pub(super) const REDUCTION: u8 = 0x1d;

const fn doubled(x: u8) -> u8 {
    (x << 1) ^ if x & 0x80 == 0 { 0 } else { REDUCTION }
}

/// The powers of x, twice, so that the sum of two logarithms needs no reduction.
const POWERS: [u8; 510] = {
    let mut powers = [0; 510];
    let (mut at, mut power) = (0, 1);
    while at < 510 {
        powers[at] = power;
        power = doubled(power);
        at += 1;
    }
    powers
};

/// The logarithm of each element but 0.
const LOGARITHMS: [u8; 256] = {
    let mut logarithms = [0; 256];
    let mut at = 0;
    while at < 255 {
        logarithms[POWERS[at] as usize] = at as u8;
        at += 1;
    }
    logarithms
};

const fn logarithm(x: u8) -> usize {
    LOGARITHMS[x as usize] as usize
}

/// Returns the product of two elements.
pub(super) const fn product(x: u8, y: u8) -> u8 {
    if x == 0 || y == 0 { 0 } else { POWERS[logarithm(x) + logarithm(y)] }
}

/// Returns an element divided by another one, which is not 0.
pub(super) const fn quotient(x: u8, y: u8) -> u8 {
    if x == 0 { 0 } else { POWERS[logarithm(x) + 255 - logarithm(y)] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::DatagramView;

    fn datagram(flags: u8, message: u32, sequence: u64, body: &[u8]) -> Vec<u8> {
        let header = Header {
            flags: Flags(flags & !Flags::RESERVED.0),
            message,
            ..Header::new(Kind::Data, StreamId(1), Incarnation(2), sequence)
        };
        let mut bytes = header.bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    proptest! {
        /// Any `lost` datagrams of a block are recovered from as many parity symbols, whichever those are.
        #[test]
        fn what_is_recovered_is_what_was_sent(
            bodies in prop::collection::vec((any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)), 1..=64),
            lost in prop::collection::vec(0_usize..64, 0..12),
            skip in prop::collection::vec(0_u8..20, 64),
        ) {
            let sent: Vec<Vec<u8>> = bodies.iter().enumerate()
                .map(|(at, (flags, message, body))| datagram(*flags, *message, 7 + at as u64, body))
                .collect();
            let longest = sent.iter().map(Vec::len).max().unwrap();
            let mut missing: Vec<usize> = lost.iter().map(|at| at % sent.len()).collect();
            missing.sort_unstable();
            missing.dedup();
            let mut index = 0;
            let parity: Vec<(u8, Vec<u8>)> = missing.iter().zip(&skip).map(|(_, skip)| {
                index += 1 + skip % 10;
                let parts: Vec<_> = sent.iter().map(|datagram| symbol_of(datagram).unwrap()).collect();
                (index, encode(&parts, index..index + 1, symbol_length(longest)).pop().unwrap())
            }).collect();
            let copies: Vec<Symbol> = sent.iter().map(|datagram| Symbol::new(symbol_of(datagram).unwrap())).collect();
            let known: Vec<Option<&Symbol>> = copies.iter().enumerate()
                .map(|(at, symbol)| (!missing.contains(&at)).then_some(symbol))
                .collect();
            let symbols = parity.iter().map(|(index, symbol)| (*index, Symbol::new(([], symbol)))).collect();
            let recovered = decode(&known, symbols).unwrap();
            prop_assert_eq!(recovered.len(), missing.len());
            for (at, symbol) in recovered {
                let at = usize::from(at);
                let copy = datagram_of(&symbol.to_bytes(), StreamId(1), Incarnation(2), KeyEpoch::CLEAR, 7 + at as u64).unwrap();
                let mut original = sent[at].clone();
                original[Header::FLAGS_AT] = Flags(original[Header::FLAGS_AT]).without(Flags::MUTABLE).with(Flags::REPAIR).0;
                prop_assert_eq!(&copy, &original);
                prop_assert!(DatagramView::parse(&copy).is_ok());
            }
        }

        #[test]
        fn no_symbol_panics(symbol in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(datagram) = datagram_of(&symbol, StreamId(1), Incarnation(2), KeyEpoch(3), 4) {
                prop_assert!(datagram.len() <= symbol.len() + HEADER_LENGTH);
            }
        }
    }
}

#[cfg(test)]
mod symbol_tests {
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

#[cfg(test)]
mod code_tests {
    use super::*;

    #[test]
    fn the_first_parity_symbol_is_the_sum_of_the_data() {
        assert!((0..64).all(|datagram| coefficient(0, datagram) == 1));
        let parts: [SymbolParts<'_, SYMBOL_HEAD>; 2] =
            [([1; SYMBOL_HEAD], &[2, 3]), ([4; SYMBOL_HEAD], &[8])];
        let symbols = encode(&parts, 0..1, SYMBOL_HEAD + 2);
        assert_eq!(symbols, [[5, 5, 5, 5, 5, 5, 5, 5, 5, 10, 3]]);
    }

    /// As a second implementation computes them.
    #[test]
    fn coefficients_are_those_of_the_specification() {
        let coefficients = [(1, 0), (1, 1), (2, 0), (3, 63), (191, 63)]
            .map(|(symbol, datagram)| coefficient(symbol, datagram));
        assert_eq!(coefficients, [0x7f, 0xfc, 0xe2, 0x5e, 0x0e]);
    }
}

#[cfg(test)]
mod field_tests {
    use super::*;

    #[test]
    fn products_are_those_of_polynomials() {
        for x in 0..=255_u8 {
            for y in 0..=255_u8 {
                let mut sum = 0;
                let mut power = x;
                for bit in 0..8 {
                    sum ^= if y >> bit & 1 == 1 { power } else { 0 };
                    power = doubled(power);
                }
                assert_eq!(product(x, y), sum);
                assert!(y == 0 || quotient(sum, y) == x);
            }
        }
    }
}
