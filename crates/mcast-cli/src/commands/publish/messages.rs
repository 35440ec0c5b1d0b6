//! Sources of messages.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use anyhow::Context;
use mcast_stream::wire;

use super::Content;
use crate::exit::Failure;
use crate::sending::ReadAhead;

/// The maximum length of a message: the default limit of a stream.
const MAX_LENGTH: u32 = 16 << 20;

/// Starts to read the messages that the arguments select: the words, the contents of files, or standard input.
pub(super) fn read(words: Vec<OsString>, content: &Content) -> anyhow::Result<ReadAhead> {
    let mut words = words.into_iter();
    match (words.len() == 0, content.files) {
        (true, true) => Err(Failure::usage("--files needs at least one file").into()),
        (false, true) => ReadAhead::start(move || {
            let file =
                |name: OsString| read_file(&name).with_context(|| format!("cannot read {}", name.display()));
            words.next().map(file).transpose()
        }),
        (false, false) if content.lines || content.records => {
            Err(Failure::usage("both messages and standard input are given")
                .remedy("pass either messages or --lines/--records, not both")
                .into())
        }
        (false, false) => ReadAhead::start(move || Ok(words.next().map(OsString::into_encoded_bytes))),
        (true, false) => read_input(content.records),
    }
}

/// Reads a file up to the maximum length, because it may have no end.
fn read_file(name: &OsStr) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(name)?.take(u64::from(MAX_LENGTH) + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_LENGTH as usize {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message has at most 16 MiB, and this file is longer",
        ));
    }
    Ok(bytes)
}

/// Reads lines or records from standard input.
fn read_input(records: bool) -> anyhow::Result<ReadAhead> {
    let mut input = BufReader::with_capacity(1 << 16, io::stdin());
    ReadAhead::start(move || {
        let message = if records { read_record(&mut input) } else { read_line(&mut input) };
        message.context("cannot read standard input")
    })
}

/// Reads a line, and returns it without its end, which the last line may lack.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let longest = u64::from(MAX_LENGTH) + 2;
    if input.take(longest).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
    } else if line.len() as u64 == longest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message has at most 16 MiB, and this line is longer",
        ));
    }
    Ok(Some(line))
}

/// Reads a record; returns `None` at the end of the input.
fn read_record(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    input.read_exact(&mut length).map_err(cut_off)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_LENGTH {
        let text = format!("a record of {length} bytes is too long: the limit is 16 MiB");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut record = Vec::new();
    let read = input.take(length.into()).read_to_end(&mut record)?;
    if read < length as usize { Err(cut_off(io::ErrorKind::UnexpectedEof.into())) } else { Ok(Some(record)) }
}

fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the last record is cut off"),
        _ => error,
    }
}

/// Returns the key of a message for `--keyed`, which its first word determines.
pub(super) fn key_of(message: &[u8]) -> u64 {
    let mut words = message.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    wire::key_of(words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::StreamId;

    use super::*;

    fn all<'b>(
        mut bytes: &'b [u8],
        read: impl Fn(&mut &'b [u8]) -> io::Result<Option<Vec<u8>>>,
    ) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| read(&mut bytes).unwrap()).collect()
    }

    #[test]
    fn only_the_ends_of_lines_are_removed() {
        let lines = all(b"a\n\nb \r\n\xffc", read_line);
        assert_eq!(lines, [b"a".to_vec(), b"".to_vec(), b"b ".to_vec(), b"\xffc".to_vec()]);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_without_an_end_is_refused() {
        let error = read_file(OsStr::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
        assert_eq!(read_file(OsStr::new("/dev/null")).unwrap(), b"");
    }

    #[test]
    fn records_may_contain_any_bytes_and_must_be_complete() {
        let records = all(b"\0\0\0\x02\n\n\0\0\0\0", read_record);
        assert_eq!(records, [b"\n\n".to_vec(), b"".to_vec()]);

        for cut in [&b"\0\0"[..], b"\0\0\0\x02x"] {
            let mut rest = cut;
            assert!(read_record(&mut rest).unwrap_err().to_string().contains("cut off"));
        }
        let mut long = &b"\xff\0\0\0"[..];
        assert!(read_record(&mut long).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn the_key_is_the_hash_of_the_first_word() {
        assert_eq!(key_of(b"apples 5"), StreamId::named("apples").0);
        assert_eq!(key_of(b"  apples\t7"), key_of(b"apples"));
        assert_ne!(key_of(b"\xff 1"), key_of(b"\xfe 1"));
        assert_eq!(key_of(b""), key_of(b" \n"));
    }
}
