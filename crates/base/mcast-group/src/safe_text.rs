//! Bytes from the network as text that is safe for a terminal.

use alloc::string::{String, ToString};
use core::fmt::{self, Write};

/// Shows bytes as one line of text. Characters that could move the cursor, change colours or reorder text are shown
/// as escapes, and so are bytes that are not UTF-8.
///
/// ```
/// use mcast_group::SafeText;
///
/// assert_eq!(SafeText::new(b"a name\x1b[2J\xff").to_string(), "a name\\x1b[2J\\xff");
/// assert_eq!(SafeText::new(b"a long name").at_most(6).to_string(), "a long… (5 more bytes)");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SafeText<'a> {
    bytes: &'a [u8],
    limit: usize,
}

impl<'a> SafeText<'a> {
    /// Shows all of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, limit: usize::MAX }
    }

    /// Returns the longest prefix that takes at most this many columns, with the number of remaining bytes.
    #[must_use]
    pub fn fitting(self, columns: usize) -> String {
        let fits = |limit: &usize| Self { limit: *limit, ..self }.to_string().chars().count() <= columns;
        let most = self.bytes.len().min(self.limit);
        match fits(&most) {
            true => self.to_string(),
            false => {
                let limit = (0..most.min(columns)).rev().find(fits).unwrap_or(0);
                Self { limit, ..self }.to_string()
            }
        }
    }

    /// Shows at most this many bytes, and the number of the remaining ones.
    #[must_use]
    pub const fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

impl fmt::Display for SafeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.bytes[..end_within(self.bytes, self.limit)];
        for chunk in shown.utf8_chunks() {
            chunk.valid().chars().try_for_each(|character| write_safe(f, character))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        match self.bytes.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "… ({more} more bytes)"),
        }
    }
}

/// Returns the largest character boundary up to the limit.
fn end_within(bytes: &[u8], limit: usize) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    let is_boundary = |end: &usize| bytes[*end] & 0xc0 != 0x80;
    (limit.saturating_sub(3)..=limit).rev().find(is_boundary).unwrap_or(limit)
}

fn write_safe(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\0'..='\x7f' if is_safe(character) => f.write_char(character),
        '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(character)),
        _ if is_safe(character) => f.write_char(character),
        _ => write!(f, "\\u{{{:x}}}", u32::from(character)),
    }
}

/// Returns whether a terminal shows the character as itself: not a control character (C0, C1), a line or paragraph
/// separator, or a character that is invisible or reorders text.
fn is_safe(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        SafeText::new(bytes).to_string()
    }

    #[test]
    fn plain_text_is_unchanged() {
        assert_eq!(shown("Hello, Wörld! 你好 🦀 a\\b".as_bytes()), "Hello, Wörld! 你好 🦀 a\\b");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(shown(b"\x1b[2J\x07\x7f\ta\r\n"), "\\x1b[2J\\x07\\x7f\\ta\\r\\n");
        assert_eq!(shown("\u{9b}31m\u{202e}abc".as_bytes()), "\\u{9b}31m\\u{202e}abc");
        assert_eq!(shown(&[b'a', 0xff, 0xc3]), "a\\xff\\xc3");
    }

    #[test]
    fn text_is_cut_to_columns() {
        let fitting = |bytes: &[u8], columns| SafeText::new(bytes).fitting(columns);
        assert_eq!(fitting(b"hello", 5), "hello");
        assert_eq!(fitting(&[b'a'; 40], 24), "aaaaaaa… (33 more bytes)");
        assert_eq!(fitting(&[0; 40], 24), "\\x00… (39 more bytes)");
    }

    #[test]
    fn text_is_cut_between_characters() {
        let text = "aßßß".as_bytes();
        assert_eq!(SafeText::new(text).at_most(4).to_string(), "aß… (4 more bytes)");
        assert_eq!(SafeText::new(text).at_most(7).to_string(), "aßßß");
        assert_eq!(SafeText::new(&[0x80; 9]).at_most(2).to_string(), "\\x80\\x80… (7 more bytes)");
    }
}
