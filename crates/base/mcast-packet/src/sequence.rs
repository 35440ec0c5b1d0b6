//! The position of the sequence number in a datagram, for a format that no dissector knows.
//!
//! ```
//! use mcast_packet::sequence::SequenceField;
//!
//! // A 2-byte number at the start of each datagram.
//! let field: SequenceField = "0:2".parse()?;
//! assert_eq!(field.read(b"\xff\xfehello"), Some(0xfffe));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::fmt;
use core::str::FromStr;

/// The position, size and byte order of the sequence number in a payload.
///
/// Text form: `OFFSET:SIZE` in bytes, followed by `le` for little-endian: `12:4`, `0:8le`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceField {
    offset: usize,
    size: usize,
    little_endian: bool,
}

/// Why a text is not a valid sequence field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The text does not have the form `OFFSET:SIZE`.
    #[error("expected OFFSET:SIZE in bytes, such as 0:4, or 0:4le for little-endian")]
    Form,
    /// The offset is beyond the largest datagram.
    #[error("the offset is beyond the largest datagram: it must be at most {}", SequenceField::LAST_OFFSET)]
    Offset,
    /// The size is not 1 to 8.
    #[error("the size must be 1 to 8 bytes")]
    Size,
}

impl SequenceField {
    /// The last offset of the largest UDP payload, which has 65,527 bytes.
    const LAST_OFFSET: usize = 65_526;

    /// Creates a big-endian field of `size` bytes, 1 to 8, at `offset`.
    ///
    /// # Errors
    /// Returns [`FieldError::Offset`] or [`FieldError::Size`] if the value is out of range.
    pub const fn new(offset: usize, size: usize) -> Result<Self, FieldError> {
        if offset > Self::LAST_OFFSET {
            return Err(FieldError::Offset);
        }
        if size == 0 || size > 8 {
            return Err(FieldError::Size);
        }
        Ok(Self { offset, size, little_endian: false })
    }

    /// Makes the field little-endian.
    #[must_use]
    pub const fn little_endian(self) -> Self {
        Self { little_endian: true, ..self }
    }

    /// Returns the width of the number in bits, from which a tracker knows when it wraps around.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        self.size as u32 * 8
    }

    /// Returns the number in a payload; `None` if the payload is too short.
    #[must_use]
    pub fn read(&self, payload: &[u8]) -> Option<u64> {
        let bytes = payload.get(self.offset..self.offset + self.size)?;
        let append = |number, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little_endian {
            bytes.iter().rev().fold(0, append)
        } else {
            bytes.iter().fold(0, append)
        })
    }
}

impl FromStr for SequenceField {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let (offset, size) = text.split_once(':').ok_or(FieldError::Form)?;
        let (size, little_endian) = match size.strip_suffix("le") {
            Some(size) => (size, true),
            None => (size, false),
        };
        let number = |digits: &str| {
            let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_decimal { Ok(digits.parse::<usize>().ok()) } else { Err(FieldError::Form) }
        };
        let offset = number(offset)?.ok_or(FieldError::Offset)?;
        let field = Self::new(offset, number(size)?.ok_or(FieldError::Size)?)?;
        Ok(Self { little_endian, ..field })
    }
}

impl fmt::Display for SequenceField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.offset, self.size, if self.little_endian { "le" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn field_is_read_in_either_byte_order() {
        let payload = [9, 0x12, 0x34, 0x56];
        let field: SequenceField = "1:3".parse().unwrap();
        assert_eq!((field.read(&payload), field.bits()), (Some(0x12_3456), 24));
        assert_eq!("1:3le".parse::<SequenceField>().unwrap().read(&payload), Some(0x56_3412));
        assert_eq!(field.read(&payload[..3]), None);
        assert_eq!(SequenceField::new(0, 8).unwrap().read(&[0xff; 8]), Some(u64::MAX));
    }

    #[test]
    fn text_form_round_trips() {
        for text in ["0:1", "65526:8le", "12:4"] {
            assert_eq!(text.parse::<SequenceField>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn invalid_text_gives_the_matching_error() {
        for text in ["", "4", ":", "1:", ":2", "+1:2", "1:2be", "1:2:3", "-1:2"] {
            assert_eq!(text.parse::<SequenceField>(), Err(FieldError::Form), "{text}");
        }
        assert_eq!("65527:1".parse::<SequenceField>(), Err(FieldError::Offset));
        assert_eq!("99999999999999999999999:1".parse::<SequenceField>(), Err(FieldError::Offset));
        assert_eq!("0:0".parse::<SequenceField>(), Err(FieldError::Size));
        assert_eq!("0:9".parse::<SequenceField>(), Err(FieldError::Size));
    }
}
