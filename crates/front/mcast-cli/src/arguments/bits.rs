//! Rates in bits per second: `2Mbit`.

use mcast::Rate;

/// Parses bits per second, and returns bytes.
pub(crate) fn parse_bits(text: &str) -> Result<u64, String> {
    match text.parse::<Rate>().map_err(|error| error.to_string())? {
        Rate::Bits(bits) => Ok((bits / 8.0).ceil() as u64),
        _ => Err("must be bits per second, such as `2Mbit`".into()),
    }
}
