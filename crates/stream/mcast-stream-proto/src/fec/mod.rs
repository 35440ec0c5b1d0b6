//! Forward error correction: how datagrams of data, and manifests of these, become symbols of a block, and how they are
//! recovered from these.

mod code;
mod field;
mod symbol;

use alloc::vec::Vec;

pub(crate) use code::{decode, encode};
pub(crate) use symbol::Symbol;

use crate::wire::{Flags, HEADER_LENGTH, Header, Incarnation, KeyEpoch, Kind, StreamId};

/// Symbols of a block, each with its number among those of datagrams, or its index among those of parity.
pub(crate) type Symbols = Vec<(u8, Symbol)>;

/// A symbol in two parts: what differs in the headers of a block, and the rest; zeros follow them.
pub(crate) type SymbolParts<'d, const HEAD: usize> = ([u8; HEAD], &'d [u8]);

/// The bytes of a symbol before those of the datagram from byte 32 on: its length, and what differs in the headers of a
/// block.
const SYMBOL_HEAD: usize = 9;
const KIND_AT: usize = 3;
const MESSAGE_AT: usize = 20;

/// Returns the parts of the symbol of a datagram.
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
