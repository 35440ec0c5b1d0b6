//! The messages of `mcast perf --stream`: each contains its number, the time and clock of its publication, and bytes
//! derived from its number.

use mcast_measure::wire::{Header, Kind, SessionId, UnixNanos};

/// The shortest message: a header, and the identifier of a clock.
pub(super) const MIN_LENGTH: usize = HEADER + 8;
const HEADER: usize = mcast_measure::wire::HEADER_LENGTH;

/// The metadata of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageMetadata {
    pub(super) session: SessionId,
    pub(super) time: UnixNanos,
    /// The identifier of the clock; 0 means unknown.
    pub(super) clock: u64,
}

/// Writes a message that fills the buffer, which must have room for the shortest message.
pub(super) fn write(buffer: &mut [u8], number: u64, metadata: &MessageMetadata) {
    let MessageMetadata { session, time, clock } = *metadata;
    Header { kind: Kind::Data, stream: 0, session, sequence: number, time }.write(buffer);
    if let Some(place) = buffer.get_mut(HEADER..MIN_LENGTH) {
        place.copy_from_slice(&clock.to_be_bytes());
    }
    let filling = filling(number);
    for chunk in buffer.get_mut(MIN_LENGTH..).unwrap_or_default().chunks_mut(8) {
        chunk.copy_from_slice(&filling[..chunk.len()]);
    }
}

/// Returns the metadata of the message with this number; `None` if the message differs from the one written.
pub(super) fn read(message: &[u8], number: u64) -> Option<MessageMetadata> {
    let header = Header::decode(message)?;
    let clock = message.get(HEADER..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
    let filling = filling(number);
    let is_whole = message.get(MIN_LENGTH..)?.chunks(8).all(|chunk| chunk == &filling[..chunk.len()]);
    let is_valid = header.kind == Kind::Data && header.sequence == number && is_whole;
    is_valid.then_some(MessageMetadata { session: header.session, time: header.time, clock })
}

/// Returns bytes that are unique to the number: the finalizer of splitmix64, a bijection.
fn filling(number: u64) -> [u8; 8] {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: MessageMetadata = MessageMetadata { session: SessionId(7), time: UnixNanos(8), clock: 9 };

    #[test]
    fn any_changed_byte_of_a_message_is_detected() {
        for length in [MIN_LENGTH, 41, 64, 1_001] {
            let mut message = vec![0; length];
            write(&mut message, 5, &METADATA);
            assert_eq!(read(&message, 5), Some(METADATA));
            assert_eq!(read(&message, 6), None);
            for at in MIN_LENGTH..length {
                message[at] ^= 1;
                assert_eq!(read(&message, 5), None, "byte {at} of {length}");
                message[at] ^= 1;
            }
        }
        for length in 0..MIN_LENGTH {
            assert_eq!(read(&vec![0; length], 0), None);
        }
    }
}
