//! Where messages come from.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::Content;
use super::read_ahead::{Look, Reader, read_ahead};
use crate::exit::Failure;

/// The longest record: what a stream takes unless told otherwise.
const LONGEST: u32 = 16 << 20;

/// A supply of messages.
pub(super) enum Messages {
    /// These.
    Words(VecDeque<Vec<u8>>),
    /// The contents of these files.
    Files(VecDeque<OsString>),
    /// What a thread reads from standard input.
    Input(Reader),
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Some,
    NoneYet,
    End,
}

impl Messages {
    pub(super) fn choose(words: &[OsString], content: &Content) -> anyhow::Result<Self> {
        match (words.is_empty(), content.files) {
            (true, true) => Err(Failure::usage("--files needs at least one file").into()),
            (false, true) => Ok(Self::Files(words.iter().cloned().collect())),
            (false, false) if content.lines || content.records => {
                Err(Failure::usage("both messages and standard input are given")
                    .remedy("pass either messages or --lines/--records, not both")
                    .into())
            }
            (false, false) => {
                Ok(Self::Words(words.iter().map(|word| word.as_encoded_bytes().to_vec()).collect()))
            }
            (true, false) => Ok(Self::Input(read_input(content.records)?)),
        }
    }

    /// Puts what is there into `into`, at most so many; waits for the first for so long.
    pub(super) fn next(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut VecDeque<Vec<u8>>,
    ) -> anyhow::Result<Next> {
        match self {
            Self::Words(words) => {
                into.extend(words.drain(..words.len().min(most)));
                Ok(if into.is_empty() { Next::End } else { Next::Some })
            }
            Self::Files(names) => {
                let Some(name) = names.pop_front() else { return Ok(Next::End) };
                let bytes = read_file(&name).with_context(|| format!("cannot read {}", name.display()))?;
                into.push_back(bytes);
                Ok(Next::Some)
            }
            Self::Input(input) => {
                match input.take(wait) {
                    Look::Some(message) => into.push_back(message.context("cannot read standard input")?),
                    Look::NoneYet => return Ok(Next::NoneYet),
                    Look::End => return Ok(Next::End),
                }
                while into.len() < most
                    && let Look::Some(message) = input.take(Duration::ZERO)
                {
                    into.push_back(message.context("cannot read standard input")?);
                }
                Ok(Next::Some)
            }
        }
    }
}

/// A file, which may be one that never ends.
fn read_file(name: &OsStr) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(name)?.take(u64::from(LONGEST) + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LONGEST as usize {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message has at most 16 MiB, and this file is longer",
        ));
    }
    Ok(bytes)
}

/// Reads on a thread of its own, so that Ctrl-C need not wait for input.
fn read_input(records: bool) -> anyhow::Result<Reader> {
    let (to, messages) = read_ahead();
    let read = move || {
        let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
        loop {
            let message = if records { read_record(&mut input) } else { read_line(&mut input) };
            let Some(message) = message.transpose() else { return };
            let goes_on = message.is_ok();
            if !to.put(message) || !goes_on {
                return;
            }
        }
    };
    thread::Builder::new().name("read".into()).spawn(read).context("cannot start a thread")?;
    Ok(messages)
}

/// A line without its end; a last one need have none.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let longest = u64::from(LONGEST) + 2;
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

/// A record; nothing at the end of the input.
fn read_record(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    input.read_exact(&mut length).map_err(cut_off)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all<'b>(
        mut bytes: &'b [u8],
        read: impl Fn(&mut &'b [u8]) -> io::Result<Option<Vec<u8>>>,
    ) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| read(&mut bytes).unwrap()).collect()
    }

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let lines = all(b"a\n\nb \r\n\xffc", read_line);
        assert_eq!(lines, [b"a".to_vec(), b"".to_vec(), b"b ".to_vec(), b"\xffc".to_vec()]);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_without_an_end_is_no_message() {
        let error = read_file(OsStr::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
        assert_eq!(read_file(OsStr::new("/dev/null")).unwrap(), b"");
    }

    #[test]
    fn records_may_hold_anything_and_must_be_whole() {
        let records = all(b"\0\0\0\x02\n\n\0\0\0\0", read_record);
        assert_eq!(records, [b"\n\n".to_vec(), b"".to_vec()]);

        for cut in [&b"\0\0"[..], b"\0\0\0\x02x"] {
            let mut rest = cut;
            assert!(read_record(&mut rest).unwrap_err().to_string().contains("cut off"));
        }
        let mut long = &b"\xff\0\0\0"[..];
        assert!(read_record(&mut long).unwrap_err().to_string().contains("too long"));
    }
}
