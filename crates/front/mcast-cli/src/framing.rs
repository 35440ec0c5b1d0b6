//! Messages in files and pipes: lines, or records with a length.
//!
//! A record is a 4-byte big-endian length, then the message, so that messages may contain any bytes.

use std::io::{BufRead, Error, ErrorKind, Read, Result, Write};

/// Reads a line, and returns it without its end (`\n` or `\r\n`), which the last line may lack; `None` at the end of the
/// input.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if the line is longer than `most` bytes, and errors of the input.
pub(crate) fn read_line(input: &mut impl BufRead, most: u32) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let longest = u64::from(most) + 2;
    if input.take(longest).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
    } else if line.len() as u64 == longest {
        return Err(too_long(most, "line"));
    }
    Ok(Some(line))
}

/// Reads a record; returns `None` at the end of the input.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if the record is longer than `most` bytes, [`ErrorKind::UnexpectedEof`] if it is cut off,
/// and errors of the input.
pub(crate) fn read_record(input: &mut impl BufRead, most: u32) -> Result<Option<Vec<u8>>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    input.read_exact(&mut length).map_err(cut_off)?;
    let length = u32::from_be_bytes(length);
    if length > most {
        let text = format!("a record of {length} bytes is too long: the limit is {}", size(most));
        return Err(Error::new(ErrorKind::InvalidData, text));
    }
    let mut record = Vec::new();
    let read = input.take(length.into()).read_to_end(&mut record)?;
    if read < length as usize { Err(cut_off(ErrorKind::UnexpectedEof.into())) } else { Ok(Some(record)) }
}

/// Reads a whole file as one message. It may have no end, so at most `most` bytes are read.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if the input is longer than `most` bytes, and errors of the input.
pub(crate) fn read_file(input: impl Read, most: u32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(u64::from(most) + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > u64::from(most) { Err(too_long(most, "file")) } else { Ok(bytes) }
}

/// Writes a record.
///
/// # Errors
/// An error if the message has 4 GiB or more, and errors of the output.
pub(crate) fn write_record(output: &mut impl Write, message: &[u8]) -> Result<()> {
    output.write_all(&u32::try_from(message.len()).map_err(Error::other)?.to_be_bytes())?;
    output.write_all(message)
}

fn too_long(most: u32, what: &str) -> Error {
    let text = format!("a message has at most {}, and this {what} is longer", size(most));
    Error::new(ErrorKind::InvalidData, text)
}

fn size(bytes: u32) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

fn cut_off(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::new(error.kind(), "the last record is cut off"),
        _ => error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const MOST: u32 = 1 << 20;

    fn all<'b>(
        mut bytes: &'b [u8],
        read: impl Fn(&mut &'b [u8], u32) -> Result<Option<Vec<u8>>>,
    ) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| read(&mut bytes, MOST).unwrap()).collect()
    }

    #[test]
    fn only_the_ends_of_lines_are_removed() {
        let lines = all(b"a\n\nb \r\n\xffc", read_line);
        assert_eq!(lines, [b"a".to_vec(), b"".to_vec(), b"b ".to_vec(), b"\xffc".to_vec()]);
    }

    #[test]
    fn input_without_an_end_is_refused() {
        let endless = || std::io::BufReader::new(std::io::repeat(b'x'));
        let text = "a message has at most 1 MiB, and this line is longer";
        assert_eq!(read_line(&mut endless(), MOST).unwrap_err().to_string(), text);
        assert!(read_file(endless(), 99).unwrap_err().to_string().contains("99 bytes, and this file"));
        assert_eq!(read_file(std::io::empty(), MOST).unwrap(), b"");
    }

    #[test]
    fn records_may_contain_any_bytes_and_must_be_complete() {
        let records = all(b"\0\0\0\x02\n\n\0\0\0\0", read_record);
        assert_eq!(records, [b"\n\n".to_vec(), b"".to_vec()]);

        for cut in [&b"\0\0"[..], b"\0\0\0\x02x"] {
            assert!(read_record(&mut &cut[..], MOST).unwrap_err().to_string().contains("cut off"));
        }
        assert!(read_record(&mut &b"\xff\0\0\0"[..], MOST).unwrap_err().to_string().contains("too long"));
    }
}
