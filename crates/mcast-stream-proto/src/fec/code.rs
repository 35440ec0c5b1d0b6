//! A systematic Reed-Solomon code: any `k` of the symbols of a block, of data and of parity, determine the others.
//!
//! Its matrix is that of Cauchy, each column divided by its first element, so that parity symbol 0 is the sum of the data.
//! A parity symbol does not depend on how many others there are.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::Symbols;
use super::field::{REDUCTION, product, quotient};

/// Bytes that are multiplied at once: the compiler turns loops over them into vector instructions.
const STRIDE: usize = 64;

/// Returns the coefficient of a datagram in a parity symbol: datagrams are counted from 0 to 63, symbols from 0 to 191.
const fn coefficient(symbol: u8, datagram: u8) -> u8 {
    quotient(255 ^ datagram, (255 - symbol) ^ datagram)
}

/// Computes the parity symbols of a block.
pub(crate) struct Encoder {
    indexes: Range<u8>,
    symbols: Vec<Vec<u8>>,
    coefficients: Vec<u8>,
}

impl Encoder {
    /// Creates an encoder of the symbols with these indexes, each of `length` bytes.
    pub(crate) fn new(indexes: Range<u8>, length: usize) -> Self {
        let symbols = vec![vec![0; length]; indexes.len()];
        Self { indexes, symbols, coefficients: Vec::new() }
    }

    /// Adds a datagram of the block: its number there, and the two parts of its symbol.
    pub(crate) fn add(&mut self, datagram: u8, head: &[u8], rest: &[u8]) {
        self.coefficients.clear();
        self.coefficients.extend(self.indexes.clone().map(|symbol| coefficient(symbol, datagram)));
        add_products(&mut self.symbols, &self.coefficients, 0, head);
        add_products(&mut self.symbols, &self.coefficients, head.len(), rest);
    }

    /// Returns the symbols.
    pub(crate) fn finish(self) -> Vec<Vec<u8>> {
        self.symbols
    }
}

/// Returns the symbols of the datagrams of a block that are not known, with their numbers, from as many parity symbols of
/// equal length; `None` if there are too few, or if they cannot belong to this block.
pub(crate) fn decode(known: &[Option<&[u8]>], parity: &[(u8, &[u8])]) -> Option<Symbols> {
    let missing: Vec<u8> = (0..known.len() as u8).filter(|at| known[usize::from(*at)].is_none()).collect();
    let parity = parity.get(..missing.len())?;
    let length = parity.first().map_or(0, |(_, symbol)| symbol.len());
    // What is left of each parity symbol without the known datagrams.
    let mut sums: Vec<Vec<u8>> = parity.iter().map(|(_, symbol)| symbol.to_vec()).collect();
    for (at, datagram) in known.iter().enumerate() {
        let Some(datagram) = datagram else { continue };
        let (head, rest) = super::symbol_of(datagram)?;
        if head.len() + rest.len() > length && !missing.is_empty() {
            return None;
        }
        let coefficients: Vec<u8> = parity.iter().map(|(symbol, _)| coefficient(*symbol, at as u8)).collect();
        add_products(&mut sums, &coefficients, 0, &head);
        add_products(&mut sums, &coefficients, head.len(), rest);
    }
    let row = |(symbol, _): &(u8, &[u8])| missing.iter().map(|at| coefficient(*symbol, *at)).collect();
    let inverse = inverse(parity.iter().map(row).collect())?;
    let mut symbols = vec![vec![0; length]; missing.len()];
    for (at, sum) in sums.iter().enumerate() {
        let coefficients: Vec<u8> = inverse.iter().map(|row| row[at]).collect();
        add_products(&mut symbols, &coefficients, 0, sum);
    }
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

/// Adds these bytes, multiplied by a coefficient of its own, to each row from `at` on.
fn add_products(rows: &mut [Vec<u8>], coefficients: &[u8], at: usize, bytes: &[u8]) {
    // A coefficient is a sum of powers of x: the bytes are multiplied once by each power that occurs.
    let occurring = coefficients.iter().fold(0, |all, coefficient| all | coefficient);
    let powers_needed = 8 - occurring.leading_zeros() as usize;
    let mut powers = [[0; STRIDE]; 8];
    for (block, chunk) in bytes.chunks(STRIDE).enumerate() {
        powers[0] = [0; STRIDE];
        powers[0][..chunk.len()].copy_from_slice(chunk);
        for power in 1..powers_needed {
            let (former, next) = powers.split_at_mut(power);
            let Some((former, next)) = former.last().zip(next.first_mut()) else { continue };
            for (double, byte) in next.iter_mut().zip(former) {
                *double = (byte << 1) ^ (((*byte as i8) >> 7) as u8 & REDUCTION);
            }
        }
        let start = at + block * STRIDE;
        for (row, coefficient) in rows.iter_mut().zip(coefficients) {
            let Some(target) = row.get_mut(start..start + chunk.len()) else { continue };
            match <&mut [u8; STRIDE]>::try_from(&mut *target) {
                Ok(whole) => add_powers(whole, &powers, *coefficient),
                Err(_) => {
                    let mut whole = [0; STRIDE];
                    whole[..target.len()].copy_from_slice(target);
                    add_powers(&mut whole, &powers, *coefficient);
                    target.copy_from_slice(&whole[..target.len()]);
                }
            }
        }
    }
}

#[inline]
fn add_powers(target: &mut [u8; STRIDE], powers: &[[u8; STRIDE]; 8], coefficient: u8) {
    let mut sum = *target;
    let mut bits = coefficient;
    while bits != 0 {
        let power = &powers[bits.trailing_zeros() as usize];
        for (byte, other) in sum.iter_mut().zip(power) {
            *byte ^= other;
        }
        bits &= bits - 1;
    }
    *target = sum;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parity_symbol_is_the_sum_of_the_data() {
        assert!((0..64).all(|datagram| coefficient(0, datagram) == 1));
        let mut encoder = Encoder::new(0..1, 3);
        encoder.add(0, &[1], &[2, 3]);
        encoder.add(1, &[4], &[8]);
        assert_eq!(encoder.finish(), [[5, 10, 3]]);
    }

    /// As a second implementation computes them.
    #[test]
    fn coefficients_are_those_of_the_specification() {
        let coefficients = [(1, 0), (1, 1), (2, 0), (3, 63), (191, 63)]
            .map(|(symbol, datagram)| coefficient(symbol, datagram));
        assert_eq!(coefficients, [0x7f, 0xfc, 0xe2, 0x5e, 0x0e]);
    }
}
