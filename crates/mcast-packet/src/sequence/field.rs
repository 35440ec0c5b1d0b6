//! Where in a datagram its number is.

use core::fmt;
use core::str::FromStr;

/// Where in a payload the sequence number is, and how it is written.
///
/// As text: `OFFSET:SIZE`, in bytes, and `le` behind that if the lowest byte comes first:
/// `12:4`, `0:8le`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceField {
    offset: usize,
    size: usize,
    little_endian: bool,
}

/// Why a text says no place of a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// It is not `OFFSET:SIZE`.
    #[error("it should be OFFSET:SIZE in bytes, such as 0:4, with `le` behind it for the lowest byte first")]
    Form,
    /// The offset is beyond the largest datagram.
    #[error("no datagram has bytes at that offset: it can be at most {}", SequenceField::LAST_OFFSET)]
    Offset,
    /// The size is not 1 to 8.
    #[error("the size can be 1 to 8 bytes")]
    Size,
}

impl SequenceField {
    /// The largest UDP payload has 65527 bytes.
    const LAST_OFFSET: usize = 65_526;

    /// A number of `size` bytes, 1 to 8, `offset` bytes behind the start, the highest byte first.
    ///
    /// # Errors
    /// [`FieldError::Offset`], [`FieldError::Size`].
    pub const fn new(offset: usize, size: usize) -> Result<Self, FieldError> {
        if offset > Self::LAST_OFFSET {
            return Err(FieldError::Offset);
        }
        if size == 0 || size > 8 {
            return Err(FieldError::Size);
        }
        Ok(Self { offset, size, little_endian: false })
    }

    /// The same number with the lowest byte first.
    #[must_use]
    pub const fn little_endian(self) -> Self {
        Self { little_endian: true, ..self }
    }

    /// How many bits the number has: what it takes to notice that it starts again at zero.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        self.size as u32 * 8
    }

    /// The number in a payload; `None` when the payload ends before it does.
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
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { Ok(digits.parse::<usize>().ok()) } else { Err(FieldError::Form) }
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
    fn a_field_is_read_in_either_byte_order() {
        let payload = [9, 0x12, 0x34, 0x56];
        let field: SequenceField = "1:3".parse().unwrap();
        assert_eq!((field.read(&payload), field.bits()), (Some(0x12_3456), 24));
        assert_eq!("1:3le".parse::<SequenceField>().unwrap().read(&payload), Some(0x56_3412));
        assert_eq!(field.read(&payload[..3]), None);
        assert_eq!(SequenceField::new(0, 8).unwrap().read(&[0xff; 8]), Some(u64::MAX));
    }

    #[test]
    fn its_text_parses_to_itself() {
        for text in ["0:1", "65526:8le", "12:4"] {
            assert_eq!(text.parse::<SequenceField>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_field_says_why() {
        for text in ["", "4", ":", "1:", ":2", "+1:2", "1:2be", "1:2:3", "-1:2"] {
            assert_eq!(text.parse::<SequenceField>(), Err(FieldError::Form), "{text}");
        }
        assert_eq!("65527:1".parse::<SequenceField>(), Err(FieldError::Offset));
        assert_eq!("99999999999999999999999:1".parse::<SequenceField>(), Err(FieldError::Offset));
        assert_eq!("0:0".parse::<SequenceField>(), Err(FieldError::Size));
        assert_eq!("0:9".parse::<SequenceField>(), Err(FieldError::Size));
    }
}
