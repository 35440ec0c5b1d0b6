//! Bytes of a packet as text that can command no terminal.

use core::fmt;

/// Shows printable ASCII as itself and everything else as `\xNN`; no more than so many bytes of it.
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) longest: usize,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.bytes.iter().take(self.longest) {
            match byte {
                b' ' => f.write_str(" ")?,
                b'\\' => f.write_str("\\\\")?,
                byte if byte.is_ascii_graphic() => write!(f, "{}", char::from(byte))?,
                byte => write!(f, "\\x{byte:02x}")?,
            }
        }
        if self.bytes.len() > self.longest { f.write_str("...") } else { Ok(()) }
    }
}
