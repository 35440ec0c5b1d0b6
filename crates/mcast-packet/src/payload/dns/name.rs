//! Names, which refer to earlier parts of the message to save room (RFC 1035 section 4.1.4).

use core::fmt;

use crate::bytes::{u8_at, u16_at};

/// A name in a message.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> Name<'a> {
    /// The longest name in bytes, with the length of each label (RFC 1035 section 2.3.4).
    const LONGEST: usize = 255;

    /// The name at this offset, and where what follows it starts. `None` when it is cut off, too long,
    /// or refers to itself.
    pub(super) fn read(message: &'a [u8], offset: usize) -> Option<(Self, usize)> {
        let mut walk = Walk { message, offset, lowest: offset, length: 0, end: None };
        while walk.next_label()?.is_some() {}
        Some((Self { message, offset }, walk.end?))
    }

    /// The labels of the name, the most special one first.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (message, offset) = (self.message, self.offset);
        let mut walk = Walk { message, offset, lowest: offset, length: 0, end: None };
        core::iter::from_fn(move || walk.next_label().flatten())
    }
}

/// Goes from label to label. It ends on any input: each reference must lead further back than all that
/// came before it, as RFC 1035 means it, and a name has no more than 255 bytes.
struct Walk<'a> {
    message: &'a [u8],
    offset: usize,
    /// The lowest place that a reference led to.
    lowest: usize,
    length: usize,
    /// Where what follows the name starts.
    end: Option<usize>,
}

impl<'a> Walk<'a> {
    /// The outer `None` says that there is no such name, the inner one that the name ends.
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
                    if self.length >= Name::LONGEST {
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
    /// Upper and lower case are the same (RFC 6762 section 16).
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
    /// Labels by dots. UTF-8 is shown as it is; a dot or backslash inside a label, and whatever could
    /// command a terminal, is escaped.
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
    for chunk in label.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '.' | '\\' => write!(f, "\\{character}")?,
                ' ' => f.write_str(" ")?,
                _ if character.is_ascii_graphic() || is_harmless(character) => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_unicode())?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    Ok(())
}

/// Letters and digits of any script; no control, format, or direction characters.
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
    fn references_lead_back_to_what_was_said() {
        let message = b"\x05local\x00\x03cam\xc0\x00\xff";
        assert_eq!(read(message, 0), Some(("local".into(), 7)));
        assert_eq!(read(message, 7), Some(("cam.local".into(), 13)));
        assert_eq!(read(b"\x00", 0), Some((".".into(), 1)));
    }

    #[test]
    fn circles_and_references_ahead_are_no_names() {
        assert_eq!(read(b"\xc0\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0\x00", 0), None);
        assert_eq!(read(b"\xc0\x02\x01a\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0", 0), None);
        assert_eq!(read(b"\x40a", 0), None);
    }

    #[test]
    fn a_name_of_more_than_255_bytes_is_none() {
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
    fn nothing_in_a_name_commands_a_terminal() {
        let (text, _) = read(b"\x07a.b\\\x1b[m\x03\xc3\xa4\xff\x00", 0).unwrap();
        assert_eq!(text, "a\\.b\\\\\\u{1b}[m.\u{e4}\\xff");
    }
}
