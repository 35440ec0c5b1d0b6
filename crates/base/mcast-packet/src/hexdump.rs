//! Hex dumps: offset, hexadecimal bytes and printable characters.

use core::fmt;

/// Formats `bytes` as a hex dump with 16 bytes per line and no newline after the last. Only printable ASCII
/// is shown as is, so that a packet cannot inject terminal escape sequences.
///
/// ```
/// let dump = mcast_packet::hexdump(b"Hello, World!\0\0\x1b[2J");
/// assert_eq!(dump.to_string(), "\
/// 0000  48 65 6C 6C 6F 2C 20 57  6F 72 6C 64 21 00 00 1B  Hello, World!...
/// 0010  5B 32 4A                                          [2J");
/// ```
#[must_use]
pub const fn hexdump(bytes: &[u8]) -> Hexdump<'_> {
    Hexdump { bytes }
}

/// The hex dump of some bytes, created by [`hexdump`].
#[derive(Clone, Copy, Debug)]
pub struct Hexdump<'a> {
    bytes: &'a [u8],
}

impl Hexdump<'_> {
    const LINE: usize = 16;
}

impl fmt::Display for Hexdump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.bytes.chunks(Self::LINE).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{:04X} ", number * Self::LINE)?;
            write_hexadecimal(f, line)?;
            f.write_str("  ")?;
            write_characters(f, line)?;
        }
        Ok(())
    }
}

fn write_hexadecimal(f: &mut fmt::Formatter<'_>, line: &[u8]) -> fmt::Result {
    for position in 0..Hexdump::LINE {
        if position == Hexdump::LINE / 2 {
            f.write_str(" ")?;
        }
        match line.get(position) {
            Some(byte) => write!(f, " {byte:02X}")?,
            None => f.write_str("   ")?,
        }
    }
    Ok(())
}

fn write_characters(f: &mut fmt::Formatter<'_>, line: &[u8]) -> fmt::Result {
    line.iter().try_for_each(|&byte| {
        let printable = byte == b' ' || byte.is_ascii_graphic();
        write!(f, "{}", if printable { char::from(byte) } else { '.' })
    })
}
