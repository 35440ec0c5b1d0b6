//! Names, which are compressed with pointers to earlier parts of the message (RFC 1035 section 4.1.4).

use core::fmt;

use crate::list::{u8_at, u16_at};

/// A name in a message.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> Name<'a> {
    /// The maximum length of a name in bytes, including length bytes (RFC 1035 section 2.3.4).
    const MAX_LENGTH: usize = 255;

    /// Reads the name at this offset. Returns it with the offset after it, or `None` if the name is
    /// truncated, too long, or points to itself.
    pub(super) fn read(message: &'a [u8], offset: usize) -> Option<(Self, usize)> {
        let mut walker = LabelWalker { message, offset, lowest: offset, length: 0, end: None };
        while walker.next_label()?.is_some() {}
        Some((Self { message, offset }, walker.end?))
    }

    /// Returns the labels of the name, the most specific one first.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (message, offset) = (self.message, self.offset);
        let mut walker = LabelWalker { message, offset, lowest: offset, length: 0, end: None };
        core::iter::from_fn(move || walker.next_label().flatten())
    }
}

/// Walks through the labels of a name. It terminates on any input, because each pointer must lead further
/// back than all before it, as RFC 1035 intends, and a name has at most 255 bytes.
struct LabelWalker<'a> {
    message: &'a [u8],
    offset: usize,
    /// The lowest offset that a pointer has led to.
    lowest: usize,
    length: usize,
    /// The offset after the name, once known.
    end: Option<usize>,
}

impl<'a> LabelWalker<'a> {
    /// Returns the next label. The outer `None` means that the name is not valid, the inner one that it ends.
    fn next_label(&mut self) -> Option<Option<&'a [u8]>> {
        loop {
            match u8_at(self.message, self.offset)? {
                0 => {
                    self.end.get_or_insert(self.offset + 1);
                    return Some(None);
                }
                length @ 1..=63 => {
                    let start = self.offset + 1;
                    let end = start + usize::from(length);
                    self.length += 1 + usize::from(length);
                    if self.length >= Name::MAX_LENGTH {
                        return None;
                    }
                    self.offset = end;
                    return self.message.get(start..end).map(Some);
                }
                192.. => {
                    let target = usize::from(u16_at(self.message, self.offset)? & 0x3fff);
                    self.end.get_or_insert(self.offset + 2);
                    if target >= self.lowest {
                        return None;
                    }
                    (self.offset, self.lowest) = (target, target);
                }
                _ => return None,
            }
        }
    }
}

impl PartialEq for Name<'_> {
    /// Compares without regard to case (RFC 6762 section 16).
    fn eq(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.labels(), other.labels());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                _ => return false,
            }
        }
    }
}

impl Eq for Name<'_> {}

impl fmt::Display for Name<'_> {
    /// Writes labels separated by dots. Letters and digits of any script are written as is. A dot or
    /// backslash in a label, and characters that could act on a terminal, are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut labels = self.labels();
        match labels.next() {
            None => return f.write_str("."),
            Some(first) => write_label(f, first)?,
        }
        labels.try_for_each(|label| {
            f.write_str(".")?;
            write_label(f, label)
        })
    }
}

fn write_label(f: &mut fmt::Formatter<'_>, label: &[u8]) -> fmt::Result {
    write_escaped(f, label, '.')
}

/// Writes the text of a record for use between quotation marks.
pub(super) fn write_text(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    write_escaped(f, text, '"')
}

/// Escapes the backslash, one special character, and characters that could act on a terminal.
fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8], special: char) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                _ if character == special => write!(f, "\\{character}")?,
                ' ' => f.write_str(" ")?,
                _ if character.is_ascii_graphic() || is_harmless(character) => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_unicode())?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    Ok(())
}

/// Returns whether this is a letter or digit of any script, which excludes control, format and direction
/// characters.
fn is_harmless(character: char) -> bool {
    !character.is_ascii() && character.is_alphanumeric()
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn read(message: &[u8], offset: usize) -> Option<(std::string::String, usize)> {
        Name::read(message, offset).map(|(name, end)| (name.to_string(), end))
    }

    #[test]
    fn pointers_lead_to_earlier_names() {
        let message = b"\x05local\x00\x03cam\xc0\x00\xff";
        assert_eq!(read(message, 0), Some(("local".into(), 7)));
        assert_eq!(read(message, 7), Some(("cam.local".into(), 13)));
        assert_eq!(read(b"\x00", 0), Some((".".into(), 1)));
    }

    #[test]
    fn pointer_loops_and_forward_pointers_are_rejected() {
        assert_eq!(read(b"\xc0\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0\x00", 0), None);
        assert_eq!(read(b"\xc0\x02\x01a\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0", 0), None);
        assert_eq!(read(b"\x40a", 0), None);
    }

    #[test]
    fn name_longer_than_255_bytes_is_rejected() {
        let mut message = std::vec::Vec::new();
        for _ in 0..4 {
            message.push(63);
            message.extend([b'a'; 63]);
        }
        message.push(0);
        assert_eq!(read(&message, 0), None);
        message[192] = 61;
        message[192 + 62] = 0;
        assert!(read(&message, 0).is_some());
    }

    #[test]
    fn control_characters_in_a_name_are_escaped() {
        let (text, _) = read(b"\x07a.b\\\x1b[m\x03\xc3\xa4\xff\x00", 0).unwrap();
        assert_eq!(text, "a\\.b\\\\\\u{1b}[m.\u{e4}\\xff");
    }
}
