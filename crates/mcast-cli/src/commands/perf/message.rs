//! The messages of `mcast perf --stream`: each says its number, when it was published and by which clock, and is
//! filled with bytes that follow from its number.

use mcast_probe::wire::{Header, Kind, SessionId, UnixNanos};

/// The shortest message: a header, and the number of a clock.
pub(super) const SHORTEST: usize = HEADER + 8;
const HEADER: usize = mcast_probe::wire::HEADER_LENGTH;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageHeader {
    pub(super) session: SessionId,
    pub(super) time: UnixNanos,
    /// The number of the clock; 0: it has none.
    pub(super) clock: u64,
}

/// Writes a message that is as long as the buffer, which has room for the shortest.
pub(super) fn write(buffer: &mut [u8], number: u64, said: &MessageHeader) {
    let MessageHeader { session, time, clock } = *said;
    Header { kind: Kind::Data, stream: 0, session, sequence: number, time }.write(buffer);
    if let Some(place) = buffer.get_mut(HEADER..SHORTEST) {
        place.copy_from_slice(&clock.to_be_bytes());
    }
    let filling = filling(number);
    for chunk in buffer.get_mut(SHORTEST..).unwrap_or_default().chunks_mut(8) {
        chunk.copy_from_slice(&filling[..chunk.len()]);
    }
}

/// What the message of this number says; `None` if it is not as it was written.
pub(super) fn read(message: &[u8], number: u64) -> Option<MessageHeader> {
    let header = Header::decode(message)?;
    let clock = message.get(HEADER..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
    let filling = filling(number);
    let is_whole = message.get(SHORTEST..)?.chunks(8).all(|chunk| chunk == &filling[..chunk.len()]);
    let is_it = header.kind == Kind::Data && header.sequence == number && is_whole;
    is_it.then_some(MessageHeader { session: header.session, time: header.time, clock })
}

/// Bytes that no other message has (the finalizer of splitmix64, which maps no two numbers to one).
fn filling(number: u64) -> [u8; 8] {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: MessageHeader = MessageHeader { session: SessionId(7), time: UnixNanos(8), clock: 9 };

    #[test]
    fn a_message_is_read_as_it_was_written_and_any_other_byte_is_noticed() {
        for length in [SHORTEST, 41, 64, 1_001] {
            let mut message = vec![0; length];
            write(&mut message, 5, &SAID);
            assert_eq!(read(&message, 5), Some(SAID));
            assert_eq!(read(&message, 6), None);
            for at in SHORTEST..length {
                message[at] ^= 1;
                assert_eq!(read(&message, 5), None, "byte {at} of {length}");
                message[at] ^= 1;
            }
        }
        for length in 0..SHORTEST {
            assert_eq!(read(&vec![0; length], 0), None);
        }
    }
}
