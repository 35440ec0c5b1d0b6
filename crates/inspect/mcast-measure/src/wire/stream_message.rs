//! The messages of `mcast perf --stream`: each contains its number, the time and clock of its publication, and
//! bytes derived from its number.

use super::header::{LENGTH, MessageType, SessionHeader, SessionId, UnixNanos};

/// The minimum length of a message: a header, and the id of a clock.
pub const STREAM_MESSAGE_LENGTH: usize = LENGTH + 8;

/// What a message of `mcast perf --stream` states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamMessage {
    /// The session of the publisher.
    pub session: SessionId,
    /// The time of publication.
    pub time: UnixNanos,
    /// The id of the clock that the time refers to; 0 if it is unknown.
    pub clock: u64,
}

impl StreamMessage {
    /// Writes the message with this number, which fills the buffer. A buffer that is too short for a header
    /// stays unchanged.
    pub fn write(&self, number: u64, buffer: &mut [u8]) {
        let Self { session, time, clock } = *self;
        SessionHeader { kind: MessageType::Data, stream: 0, session, sequence: number, time }.write(buffer);
        if let Some(bytes) = buffer.get_mut(LENGTH..STREAM_MESSAGE_LENGTH) {
            bytes.copy_from_slice(&clock.to_be_bytes());
        }
        let filling = filling(number);
        for chunk in buffer.get_mut(STREAM_MESSAGE_LENGTH..).unwrap_or_default().chunks_mut(8) {
            chunk.copy_from_slice(&filling[..chunk.len()]);
        }
    }

    /// Reads the message with this number; `None` if it differs from the one written.
    #[must_use]
    pub fn read(number: u64, message: &[u8]) -> Option<Self> {
        let header = SessionHeader::decode(message)?;
        let clock = message.get(LENGTH..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
        let filling = filling(number);
        let is_whole =
            message.get(STREAM_MESSAGE_LENGTH..)?.chunks(8).all(|chunk| chunk == &filling[..chunk.len()]);
        let is_valid = header.kind == MessageType::Data && header.sequence == number && is_whole;
        is_valid.then_some(Self { session: header.session, time: header.time, clock })
    }
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

    const MESSAGE: StreamMessage = StreamMessage { session: SessionId(7), time: UnixNanos(8), clock: 9 };

    #[test]
    fn any_changed_byte_of_a_message_is_detected() {
        for length in [STREAM_MESSAGE_LENGTH, 41, 64, 1_001] {
            let mut message = vec![0; length];
            MESSAGE.write(5, &mut message);
            assert_eq!(StreamMessage::read(5, &message), Some(MESSAGE));
            assert_eq!(StreamMessage::read(6, &message), None);
            for at in STREAM_MESSAGE_LENGTH..length {
                message[at] ^= 1;
                assert_eq!(StreamMessage::read(5, &message), None, "byte {at} of {length}");
                message[at] ^= 1;
            }
        }
        for length in 0..STREAM_MESSAGE_LENGTH {
            assert_eq!(StreamMessage::read(0, &vec![0; length]), None);
        }
    }
}
