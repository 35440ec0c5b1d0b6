//! Payloads: messages, lines, chunks, files, random bytes.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use anyhow::Context;

use super::{Content, TimingOptions};
use crate::exit::Failure;

/// The largest UDP payload (over IPv6). Longer input is not read.
const MAX_PAYLOAD: usize = 65_527;

/// A source of payloads.
pub(super) struct Payloads {
    source: Source,
    /// The number of payloads that are left; `None` means until the end of the input, or forever.
    left: Option<u64>,
}

enum Source {
    /// Messages, one after the other.
    Messages { messages: Vec<Vec<u8>>, next: usize },
    /// Random bytes.
    Random { size: usize, generator: Generator },
    /// A file or standard input.
    Stream(Stream),
}

/// An input, and how it is divided.
struct Stream {
    input: Box<dyn BufRead + Send>,
    name: String,
    division: Division,
    hex: bool,
    is_at_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Division {
    Lines,
    Whole,
    Chunks(usize),
}

impl Payloads {
    /// Returns the payloads that the arguments select.
    pub(super) fn choose(
        messages: &[OsString],
        content: &Content,
        timing: &TimingOptions,
    ) -> anyhow::Result<Self> {
        let is_divided = content.division.chosen().is_some();
        if !messages.is_empty() {
            if is_divided || content.file.is_some() || content.random.is_some() {
                return Err(Failure::usage("both messages and another thing to send are given")
                    .remedy("remove the messages or the other option")
                    .into());
            }
            return Self::of_messages(messages, content.hex, timing);
        }
        match (&content.file, content.random) {
            (_, Some(_)) if is_divided => {
                Err(Failure::usage("--lines, --whole and --chunk apply to a file or standard input").into())
            }
            (_, Some(size)) => {
                let source = Source::Random { size, generator: Generator::new() };
                Ok(Self { source, left: (!timing.repeats()).then_some(1) })
            }
            (Some(path), _) => Self::of_file(path, content, timing),
            (None, None) => Ok(Self::of_stream(Stream::standard_input(content))),
        }
    }

    fn of_messages(messages: &[OsString], hex: bool, timing: &TimingOptions) -> anyhow::Result<Self> {
        let bytes = |message: &OsString| match hex {
            true => parse_hex(message.as_encoded_bytes()).map_err(anyhow::Error::from),
            false => Ok(message.as_encoded_bytes().to_vec()),
        };
        let messages = messages.iter().map(bytes).collect::<anyhow::Result<_>>()?;
        Ok(Self::repeated(messages, timing))
    }

    /// Returns the payloads of a file. A file that is sent whole is read in advance; otherwise it is read while
    /// sending.
    fn of_file(path: &Path, content: &Content, timing: &TimingOptions) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let division = content.division.chosen().unwrap_or(Division::Whole);
        let name = path.display().to_string();
        let input = Box::new(BufReader::new(file));
        let mut stream = Stream { input, name, division, hex: content.hex, is_at_end: false };
        match division {
            Division::Whole => {
                let mut bytes = Vec::new();
                stream.next(&mut bytes)?;
                Ok(Self::repeated(vec![bytes], timing))
            }
            _ => Ok(Self::of_stream(stream)),
        }
    }

    fn repeated(messages: Vec<Vec<u8>>, timing: &TimingOptions) -> Self {
        let left = (!timing.repeats()).then_some(messages.len() as u64);
        Self { source: Source::Messages { messages, next: 0 }, left }
    }

    fn of_stream(stream: Stream) -> Self {
        Self { source: Source::Stream(stream), left: None }
    }

    /// Writes the next payload to the buffer; returns `false` at the end.
    pub(super) fn next(&mut self, payload: &mut Vec<u8>) -> anyhow::Result<bool> {
        if self.left == Some(0) {
            return Ok(false);
        }
        self.left = self.left.map(|left| left - 1);
        match &mut self.source {
            Source::Messages { messages, next } => {
                payload.clone_from(&messages[*next]);
                *next = (*next + 1) % messages.len();
            }
            Source::Random { size, generator } => generator.fill(payload, *size),
            Source::Stream(stream) => return stream.next(payload),
        }
        Ok(true)
    }

    /// Returns whether reading the next payload may block.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self.source, Source::Stream(_))
    }

    /// Returns whether payloads are typed at a terminal.
    pub(super) fn is_typed(&self) -> bool {
        matches!(&self.source, Source::Stream(stream) if stream.name == STANDARD_INPUT)
            && io::stdin().is_terminal()
    }
}

impl TimingOptions {
    /// Returns whether messages are repeated.
    fn repeats(&self) -> bool {
        self.count.is_some() || self.every.is_some() || self.rate.is_some()
    }
}

impl super::Division {
    fn chosen(&self) -> Option<Division> {
        match (self.lines, self.whole, self.chunk) {
            (true, ..) => Some(Division::Lines),
            (_, true, _) => Some(Division::Whole),
            (.., chunk) => chunk.map(Division::Chunks),
        }
    }
}

const STANDARD_INPUT: &str = "standard input";

impl Stream {
    fn standard_input(content: &Content) -> Self {
        Self {
            input: Box::new(BufReader::new(io::stdin())),
            name: STANDARD_INPUT.into(),
            division: content.division.chosen().unwrap_or(Division::Lines),
            hex: content.hex,
            is_at_end: false,
        }
    }

    fn next(&mut self, payload: &mut Vec<u8>) -> anyhow::Result<bool> {
        payload.clear();
        if self.is_at_end || !self.read(payload).with_context(|| format!("cannot read {}", self.name))? {
            return Ok(false);
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(self.too_long());
        }
        if self.hex {
            *payload = parse_hex(payload)?;
        }
        Ok(true)
    }

    fn read(&mut self, payload: &mut Vec<u8>) -> io::Result<bool> {
        // Reads beyond the maximum, to detect a payload that is too long.
        let mut limited = (&mut self.input).take(MAX_PAYLOAD as u64 + 2);
        match self.division {
            Division::Lines => {
                let length = limited.read_until(b'\n', payload)?;
                if payload.pop_if(|last| *last == b'\n').is_some() {
                    payload.pop_if(|last| *last == b'\r');
                }
                Ok(length > 0)
            }
            Division::Whole => {
                self.is_at_end = true;
                limited.read_to_end(payload)?;
                Ok(true)
            }
            Division::Chunks(size) => Ok(limited.take(size as u64).read_to_end(payload)? > 0),
        }
    }

    fn too_long(&self) -> anyhow::Error {
        let what = match self.division {
            Division::Lines => "a line",
            Division::Whole => "the content",
            Division::Chunks(_) => "a chunk",
        };
        Failure::usage(format!("{}: {what} does not fit into a datagram", self.name))
            .remedy(
                "split it: --chunk 1400 sends a datagram for every 1,400 bytes (at most 65,507 over IPv4)",
            )
            .into()
    }
}

/// Parses hexadecimal bytes, with optional spaces, colons, commas and `0x`.
fn parse_hex(text: &[u8]) -> Result<Vec<u8>, Failure> {
    let refused = || {
        Failure::usage(format!("\"{}\" is not hexadecimal", crate::output::SafeText::new(text).at_most(60)))
            .remedy("write two digits per byte: 48656c6c6f or \"48 65 6c 6c 6f\"")
    };
    let mut digits = Vec::with_capacity(text.len());
    for word in text.split(|byte| matches!(byte, b' ' | b'\t' | b':' | b',')) {
        let word = word.strip_prefix(b"0x").unwrap_or(word);
        if word.len() % 2 != 0 {
            return Err(refused());
        }
        for byte in word {
            digits.push(char::from(*byte).to_digit(16).ok_or_else(refused)? as u8);
        }
    }
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// A generator of random bytes that are not for cryptography: SplitMix64.
#[derive(Debug)]
struct Generator(u64);

impl Generator {
    /// Creates a generator with a random seed.
    fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    fn fill(&mut self, bytes: &mut Vec<u8>, size: usize) {
        bytes.clear();
        while bytes.len() < size {
            let word = self.next().to_le_bytes();
            bytes.extend_from_slice(&word[..word.len().min(size - bytes.len())]);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(bytes: &'static [u8], division: Division) -> Vec<Vec<u8>> {
        let mut stream =
            Stream { input: Box::new(bytes), name: "x".into(), division, hex: false, is_at_end: false };
        let mut all = Vec::new();
        let mut payload = Vec::new();
        while stream.next(&mut payload).unwrap() {
            all.push(payload.clone());
        }
        all
    }

    #[test]
    fn streams_are_divided_without_losing_bytes() {
        assert_eq!(divided(b"a\n\nb\r\nc", Division::Lines), [&b"a"[..], b"", b"b", b"c"]);
        assert_eq!(divided(b"a\nb", Division::Whole), [b"a\nb"]);
        assert_eq!(divided(b"", Division::Whole), [b""]);
        assert_eq!(divided(b"", Division::Lines), [b""; 0]);
        assert_eq!(divided(b"abcde", Division::Chunks(2)), [&b"ab"[..], b"cd", b"e"]);
    }

    #[test]
    fn payloads_that_are_too_long_are_refused_without_reading_them() {
        for division in [Division::Lines, Division::Whole, Division::Chunks(1 << 40)] {
            let input: Box<dyn BufRead + Send> = Box::new(BufReader::new(io::repeat(b'x')));
            let mut stream = Stream { input, name: "x".into(), division, hex: false, is_at_end: false };
            let error = stream.next(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("does not fit into a datagram"), "{error}");
        }
    }

    #[test]
    fn the_longest_line_passes() {
        let mut line = vec![b'x'; MAX_PAYLOAD];
        line.push(b'\n');
        let input = Box::new(io::Cursor::new(line));
        let mut stream =
            Stream { input, name: "x".into(), division: Division::Lines, hex: false, is_at_end: false };
        let mut payload = Vec::new();
        assert!(stream.next(&mut payload).unwrap());
        assert_eq!(payload.len(), MAX_PAYLOAD);
        assert!(!stream.next(&mut payload).unwrap());
    }

    #[test]
    fn common_forms_of_hexadecimal_are_parsed() {
        for text in ["48656c6c6f", "48 65 6C 6c 6f", "0x48,0x65,0x6c6c6f", "48:65:6c:6c:6f"] {
            assert_eq!(parse_hex(text.as_bytes()).unwrap(), b"Hello");
        }
        assert_eq!(parse_hex(b"").unwrap(), b"");
        for text in ["4", "4 8", "xy", "0x0x48"] {
            parse_hex(text.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn random_bytes_differ_and_fill_every_size() {
        let mut generator = Generator::new();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        generator.fill(&mut one, 1_001);
        generator.fill(&mut other, 1_001);
        assert_eq!((one.len(), other.len()), (1_001, 1_001));
        assert_ne!(one, other);
    }
}
