//! A systematic Reed-Solomon code: any `k` of the symbols of a block, of data and of parity, determine the others.
//!
//! Its matrix is that of Cauchy, each column divided by its first element, so that parity symbol 0 is the sum of the data.
//! A parity symbol does not depend on how many others there are.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::field::{product, quotient};
use super::symbol::{Chunk, Symbol};
use super::{SYMBOL_HEAD, SymbolParts, Symbols};
use crate::wire::Parity;

/// The most datagrams in a block.
const BLOCK: usize = Parity::LONGEST_BLOCK as usize;

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

#[cfg(test)]
mod tests {
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
