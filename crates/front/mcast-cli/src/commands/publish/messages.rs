//! Sources of messages.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader};

use anyhow::Context;
use mcast_stream::wire::MessageKey;
use mcast_stream::{ReadAhead, framing};

use super::Content;
use crate::exit::Failure;

/// The maximum length of a message: the default limit of a stream.
const MAX_LENGTH: u32 = 16 << 20;

/// Starts to read the messages that the arguments select: the words, the contents of files, or standard input.
pub(super) fn read(words: Vec<OsString>, content: &Content) -> anyhow::Result<ReadAhead<anyhow::Error>> {
    let mut words = words.into_iter();
    match (words.len() == 0, content.files) {
        (true, true) => Err(Failure::usage("--files needs at least one file").into()),
        (false, true) => Ok(ReadAhead::start(move || {
            let file =
                |name: OsString| read_file(&name).with_context(|| format!("cannot read {}", name.display()));
            words.next().map(file).transpose()
        })?),
        (false, false) if content.lines || content.records => {
            Err(Failure::usage("both messages and standard input are given")
                .remedy("pass either messages or --lines/--records, not both")
                .into())
        }
        (false, false) => Ok(ReadAhead::start(move || Ok(words.next().map(OsString::into_encoded_bytes)))?),
        (true, false) => read_input(content.records),
    }
}

fn read_file(name: &OsStr) -> io::Result<Vec<u8>> {
    framing::read_file(File::open(name)?, MAX_LENGTH)
}

/// Reads lines or records from standard input.
fn read_input(records: bool) -> anyhow::Result<ReadAhead<anyhow::Error>> {
    let mut input = BufReader::with_capacity(1 << 16, io::stdin());
    Ok(ReadAhead::start(move || {
        let read = if records { framing::read_record } else { framing::read_line };
        read(&mut input, MAX_LENGTH).context("cannot read standard input")
    })?)
}

/// Returns the key of a message for `--keyed`, which its first word determines.
pub(super) fn key_of(message: &[u8]) -> MessageKey {
    let mut words = message.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    MessageKey::of(words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use mcast_stream::wire::StreamId;

    use super::*;

    #[test]
    fn the_key_is_the_hash_of_the_first_word() {
        assert_eq!(key_of(b"apples 5").0, StreamId::named("apples").0);
        assert_eq!(key_of(b"  apples\t7"), key_of(b"apples"));
        assert_ne!(key_of(b"\xff 1"), key_of(b"\xfe 1"));
        assert_eq!(key_of(b""), key_of(b" \n"));
    }
}
