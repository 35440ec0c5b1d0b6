//! Commands and replies as bytes (RESP2): the library's form of a command takes as long to build as the server takes to
//! execute it.

use crate::record::Position;

/// Commands to send together.
#[derive(Debug, Default)]
pub(super) struct Commands(Vec<u8>);

impl Commands {
    /// Starts a command that consists of this number of words.
    pub(super) fn command(&mut self, words: usize) -> &mut Self {
        self.line(b'*', words as u64);
        self
    }

    /// Adds a word of the command.
    pub(super) fn word(&mut self, word: impl AsRef<[u8]>) -> &mut Self {
        let word = word.as_ref();
        self.line(b'$', word.len() as u64);
        self.0.extend_from_slice(word);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a number as a word of the command.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; DIGITS];
        self.word(decimal(number, &mut digits))
    }

    /// Adds the id of the record at a position as a word of the command.
    pub(super) fn id(&mut self, position: Position) -> &mut Self {
        let (mut incarnation, mut number) = ([0; DIGITS], [0; DIGITS]);
        let incarnation = decimal(u64::from(position.incarnation.0), &mut incarnation);
        let number = decimal((position.number + 1).0, &mut number);
        self.line(b'$', (incarnation.len() + 1 + number.len()) as u64);
        for part in [incarnation, b"-", number, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
        self
    }

    /// Adds bytes that are parts of commands already.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Removes all commands, and keeps their memory.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn line(&mut self, kind: u8, number: u64) {
        let mut digits = [0; DIGITS];
        self.0.push(kind);
        self.0.extend_from_slice(decimal(number, &mut digits));
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Those of the greatest number.
const DIGITS: usize = 20;

fn decimal(mut number: u64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut start = DIGITS;
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// What was received, in whole replies.
#[derive(Debug, Default)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    /// Where the next reply starts.
    start: usize,
    /// How far that one is known, and how many values of it follow.
    end: usize,
    left: usize,
    has_error: bool,
}

/// A whole reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether it is an error, or contains one.
    pub(super) has_error: bool,
}

impl Reply<'_> {
    /// Whether it is a value that does not exist.
    pub(super) fn is_nil(self) -> bool {
        matches!(self.bytes, b"$-1\r\n" | b"*-1\r\n")
    }
}

/// The server sent something that is not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Replies {
    /// Adds bytes that were received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next reply; `None` if it is not complete.
    pub(super) fn next(&mut self) -> Result<Option<Reply<'_>>, Malformed> {
        if !self.is_complete()? {
            return Ok(None);
        }
        let bytes = &self.bytes[self.start..self.end];
        self.start = self.end;
        Ok(Some(Reply { bytes, has_error: self.has_error }))
    }

    /// Returns whether the next reply has been received.
    pub(super) fn is_complete(&mut self) -> Result<bool, Malformed> {
        if self.end == self.start {
            (self.left, self.has_error) = (1, false);
        }
        while self.left > 0 {
            // `end` may be beyond what was received.
            let rest = self.bytes.get(self.end..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(false) };
            let line = rest[..length].strip_suffix(b"\r").ok_or(Malformed)?;
            let (kind, text) = line.split_first().ok_or(Malformed)?;
            let mut behind = length + 1;
            match kind {
                b'+' | b':' => {}
                b'-' => self.has_error = true,
                // A negative length is that of a value that does not exist.
                b'$' if text != b"-1" => {
                    behind = count(text)?
                        .checked_add(2)
                        .and_then(|size| behind.checked_add(size))
                        .ok_or(Malformed)?;
                }
                b'*' if text != b"-1" => {
                    self.left = self.left.checked_add(count(text)?).ok_or(Malformed)?;
                }
                b'$' | b'*' => {}
                _ => return Err(Malformed),
            }
            self.end = self.end.checked_add(behind).ok_or(Malformed)?;
            self.left -= 1;
        }
        Ok(self.end <= self.bytes.len())
    }
}

fn count(text: &[u8]) -> Result<usize, Malformed> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Value;

    use super::*;

    /// Values, and their bytes.
    fn values() -> impl Strategy<Value = (Value, Vec<u8>)> {
        let bytes =
            prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), any::<u8>()], 0..40);
        let single = prop_oneof![
            any::<i64>().prop_map(|number| (Value::Int(number), format!(":{number}\r\n").into_bytes())),
            "[A-Za-z ]{1,9}"
                .prop_map(|text| (Value::SimpleString(text.clone()), format!("+{text}\r\n").into_bytes())),
            bytes.prop_map(|bytes| {
                let sent = [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
                (Value::BulkString(bytes), sent)
            }),
            Just((Value::Nil, b"$-1\r\n".to_vec())),
            Just((Value::Nil, b"*-1\r\n".to_vec())),
        ];
        single.prop_recursive(3, 20, 5, |inner| {
            prop::collection::vec(inner, 0..5).prop_map(|parts| {
                let (values, sent): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                let head = format!("*{}\r\n", values.len()).into_bytes();
                (Value::Array(values), [head, sent.concat()].concat())
            })
        })
    }

    proptest! {
        #[test]
        fn replies_are_whole_in_whichever_pieces_they_arrive(
            all in prop::collection::vec(values(), 0..6),
            sizes in prop::collection::vec(1..30_usize, 1..20),
        ) {
            let sent: Vec<u8> = all.iter().flat_map(|(_, sent)| sent.clone()).collect();
            let (mut replies, mut received, mut rest) = (Replies::default(), Vec::new(), &sent[..]);
            for size in sizes.iter().cycle() {
                while let Some(reply) = replies.next().unwrap() {
                    prop_assert!(!reply.has_error);
                    received.push(redis::parse_redis_value(reply.bytes).unwrap());
                }
                let Some((piece, after)) = rest.split_at_checked((*size).min(rest.len())).filter(|(piece, _)| !piece.is_empty()) else { break };
                replies.push(piece);
                rest = after;
            }
            prop_assert_eq!(received, all.into_iter().map(|(value, _)| value).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_replies_or_refused(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..5), kind in prop::sample::select(&b"+-:$*"[..])) {
            let mut replies = Replies::default();
            replies.push(&[kind]);
            for piece in pieces {
                replies.push(&piece);
                while let Ok(Some(_)) = replies.next() {}
            }
        }

        #[test]
        fn commands_are_those_of_the_library(words in prop::collection::vec(any::<Vec<u8>>(), 0..5), number: u64) {
            let (mut commands, mut expected) = (Commands::default(), redis::Cmd::new());
            commands.command(words.len() + 1);
            for word in &words {
                commands.word(word);
                expected.arg(word);
            }
            commands.number(number);
            expected.arg(number);
            prop_assert_eq!(commands.bytes(), expected.get_packed_command());
        }
    }

    #[test]
    fn an_error_anywhere_in_a_reply_is_seen() {
        let mut replies = Replies::default();
        replies.push(b"*2\r\n$2\r\n\r\n\r\n-ERR no\r\n*1\r\n:1\r\n-MOVED 1 a:2\r\n");
        let mut next = || replies.next().unwrap().unwrap().has_error;
        assert_eq!([next(), next(), next()], [true, false, true]);
    }
}
