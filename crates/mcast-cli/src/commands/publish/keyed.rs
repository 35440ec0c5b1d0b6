//! `--keyed`: what a message is about.

/// The key of a message: the 64-bit FNV-1a hash of its first word, as that of a stream is of its name.
pub(super) fn key_of(message: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut words = message.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let word = words.next().unwrap_or_default();
    word.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::StreamId;

    use super::*;

    #[test]
    fn the_first_word_is_the_key() {
        assert_eq!(key_of(b"apples 5"), StreamId::named("apples").0);
        assert_eq!(key_of(b"  apples\t7"), key_of(b"apples"));
        assert_ne!(key_of(b"\xff 1"), key_of(b"\xfe 1"));
        assert_eq!(key_of(b""), key_of(b" \n"));
    }
}
