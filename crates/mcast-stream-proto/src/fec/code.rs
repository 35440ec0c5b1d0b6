//! A systematic Reed-Solomon code: any `k` of the symbols of a block, of data and of parity, determine the others.
//!
//! Its matrix is that of Cauchy, each column divided by its first element, so that parity symbol 0 is the sum of the data.
//! A parity symbol does not depend on how many others there are.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::field::{REDUCTION, product, quotient};
use super::{SYMBOL_HEAD, Symbols, symbol_of};
use crate::wire::Parity;

/// Bytes of a symbol that are computed at once: the compiler turns loops over them into vector instructions.
const STRIDE: usize = 64;
const ZEROS: [u8; STRIDE] = [0; STRIDE];
/// The most datagrams in a block.
const BLOCK: usize = Parity::LONGEST_BLOCK as usize;

/// The symbol of a datagram in its two parts; zeros follow them.
pub(crate) type SymbolParts<'d> = ([u8; SYMBOL_HEAD], &'d [u8]);

/// Returns the coefficient of a datagram in a parity symbol: datagrams are counted from 0 to 63, symbols from 0 to 191.
const fn coefficient(symbol: u8, datagram: u8) -> u8 {
    quotient(255 ^ datagram, (255 - symbol) ^ datagram)
}

/// Returns the parity symbols with these indexes, each of `length` bytes, of the datagrams of a block, in order.
pub(crate) fn encode(datagrams: &[SymbolParts<'_>], indexes: Range<u8>, length: usize) -> Vec<Vec<u8>> {
    let numbers = 0..datagrams.len() as u8;
    let rows =
        indexes.map(|symbol| Row::new(numbers.clone().map(|at| coefficient(symbol, at)))).collect::<Vec<_>>();
    let mut symbols = vec![vec![0; length]; rows.len()];
    add_parts(&mut symbols, &rows, datagrams);
    symbols
}

/// Returns the symbols of the datagrams of a block that are not known, with their numbers, from as many parity symbols of
/// equal length; `None` if there are too few, or if they cannot belong to this block.
pub(crate) fn decode(known: &[Option<&[u8]>], parity: &[(u8, &[u8])]) -> Option<Symbols> {
    let missing: Vec<u8> = (0..known.len() as u8).filter(|at| known[usize::from(*at)].is_none()).collect();
    let parity = parity.get(..missing.len())?;
    let length = parity.first().map_or(0, |(_, symbol)| symbol.len());
    let there = (0..).zip(known).filter_map(|(at, datagram)| Some((at, (*datagram)?)));
    let (numbers, datagrams): (Vec<u8>, Vec<&[u8]>) = there.unzip();
    let datagrams = datagrams.into_iter().map(symbol_of).collect::<Option<Vec<_>>>()?;
    if !missing.is_empty() && datagrams.iter().any(|(head, rest)| head.len() + rest.len() > length) {
        return None;
    }
    // What is left of each parity symbol without the known datagrams.
    let mut sums: Vec<Vec<u8>> = parity.iter().map(|(_, symbol)| symbol.to_vec()).collect();
    let row = |(symbol, _): &(u8, &[u8])| Row::new(numbers.iter().map(|at| coefficient(*symbol, *at)));
    add_parts(&mut sums, &parity.iter().map(row).collect::<Vec<_>>(), &datagrams);
    let row = |(symbol, _): &(u8, &[u8])| missing.iter().map(|at| coefficient(*symbol, *at)).collect();
    let inverse = inverse(parity.iter().map(row).collect())?;
    let mut symbols = vec![vec![0; length]; missing.len()];
    let sources: Vec<&[u8]> = sums.iter().map(Vec::as_slice).collect();
    add_products(&mut symbols, &inverse.into_iter().map(Row::new).collect::<Vec<_>>(), &sources, 0);
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

/// The coefficients of up to 64 sources in a sum.
struct Row {
    /// The sources whose coefficients have bit 7, those with bit 6, and so on, and where the list of each bit ends.
    sources: Vec<u8>,
    ends: [usize; 8],
}

impl Row {
    fn new(coefficients: impl IntoIterator<Item = u8>) -> Self {
        let coefficients: Vec<u8> = coefficients.into_iter().collect();
        let mut row = Self { sources: Vec::new(), ends: [0; 8] };
        for (bit, end) in (0..8).rev().zip(&mut row.ends) {
            let with_bit = (0..).zip(&coefficients).filter(|(_, coefficient)| **coefficient >> bit & 1 == 1);
            row.sources.extend(with_bit.map(|(source, _)| source));
            *end = row.sources.len();
        }
        row
    }

    /// Returns the sum of the products of these sources: that of the sources with bit 7, times x, plus that of those with
    /// bit 6, and so on, so that a sum is multiplied by x seven times, however many sources it has.
    fn sum(&self, chunks: &[&[u8; STRIDE]; BLOCK]) -> [u8; STRIDE] {
        let mut sum = ZEROS;
        let mut start = 0;
        for end in self.ends {
            for byte in &mut sum {
                *byte = (*byte << 1) ^ (((*byte as i8) >> 7) as u8 & REDUCTION);
            }
            for source in self.sources.get(start..end).unwrap_or_default() {
                let chunk = chunks[usize::from(*source) % BLOCK];
                sum.iter_mut().zip(chunk).for_each(|(byte, other)| *byte ^= other);
            }
            start = end;
        }
        sum
    }
}

/// Adds to each target the products of these symbols with the coefficients of a row.
fn add_parts(targets: &mut [Vec<u8>], rows: &[Row], parts: &[SymbolParts<'_>]) {
    let heads: Vec<&[u8]> = parts.iter().map(|(head, _)| &head[..]).collect();
    let rests: Vec<&[u8]> = parts.iter().map(|(_, rest)| *rest).collect();
    add_products(targets, rows, &heads, 0);
    add_products(targets, rows, &rests, SYMBOL_HEAD);
}

/// Adds to each target, from `at` on, the products of these sources with the coefficients of a row.
fn add_products(targets: &mut [Vec<u8>], rows: &[Row], sources: &[&[u8]], at: usize) {
    let longest = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    // The last bytes of each source, filled up.
    let ends: Vec<[u8; STRIDE]> = sources
        .iter()
        .map(|source| {
            let (_, rest) = source.as_chunks::<STRIDE>();
            let mut end = ZEROS;
            end[..rest.len()].copy_from_slice(rest);
            end
        })
        .collect();
    for start in (0..longest).step_by(STRIDE) {
        let mut chunks = [&ZEROS; BLOCK];
        for ((chunk, source), end) in chunks.iter_mut().zip(sources).zip(&ends) {
            if let Some(rest) = source.get(start..).filter(|rest| !rest.is_empty()) {
                *chunk = rest.first_chunk().unwrap_or(end);
            }
        }
        for (target, row) in targets.iter_mut().zip(rows) {
            let target = target.get_mut(at + start..).unwrap_or_default();
            target.iter_mut().zip(row.sum(&chunks)).for_each(|(byte, other)| *byte ^= other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parity_symbol_is_the_sum_of_the_data() {
        assert!((0..64).all(|datagram| coefficient(0, datagram) == 1));
        let parts: [SymbolParts<'_>; 2] = [([1; SYMBOL_HEAD], &[2, 3]), ([4; SYMBOL_HEAD], &[8])];
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
