//! From where messages come, and what they are given to: a publisher, with a log on the disk or without; and
//! `--snapshot`, which serves the state to late joiners.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use mcast_metrics::Exposition;
use mcast_stream::log::{LogOptions, Retention, SyncPolicy};
use mcast_stream::publisher::OutgoingMessage;
use mcast_stream::seal::Keys;
use mcast_stream::wire::{MessageKey, MessageNumber};
use mcast_stream::{
    Closing, HistoryListener, LogHold, LogStart, LoggedPublisher, Publish, Publisher, PublisherBuilder,
    RefusedRequest, Snapshot, SnapshotServer, StreamError, Until,
};
use mcast_terminal::Console;

use super::InputForm;
use crate::arguments::{ServedHistoryAt, parse_duration, parse_size};
use crate::exit::Failure;
use crate::framing;
use crate::log_lines::LogLines;
use crate::message_layer::listen_for_history;
use crate::output::{bytes, count_of};
use crate::read_ahead::ReadAhead;
use crate::sys;

#[derive(Debug)]
pub(super) enum Feed {
    Direct(Publisher),
    Logged(LoggedPublisher),
}

impl Feed {
    pub(super) fn open(
        builder: PublisherBuilder,
        log: Option<(&Path, LogOptions)>,
        name: Option<&str>,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let Some((directory, options)) = log else { return Ok(Self::Direct(builder.build()?)) };
        let publisher = builder.log(directory, options).named(name.unwrap_or_default()).build()?;
        report_log(&publisher, console);
        Ok(Self::Logged(publisher))
    }

    pub(super) fn publisher(&self) -> &Publisher {
        match self {
            Self::Direct(publisher) => publisher,
            Self::Logged(publisher) => publisher.publisher(),
        }
    }

    fn next_message(&self) -> MessageNumber {
        match self {
            Self::Direct(publisher) => publisher.next_message(),
            Self::Logged(publisher) => publisher.next_message(),
        }
    }

    pub(super) fn try_publish(&self, message: OutgoingMessage<'_>) -> Result<(), StreamError> {
        match self {
            Self::Direct(publisher) => publisher.try_publish(message).map(drop),
            Self::Logged(publisher) => publisher.try_publish(message).map(drop),
        }
    }

    /// Waits for at most `timeout`; returns whether what is waited for is so. What cannot be waited for is not.
    pub(super) fn wait(&self, until: Until, timeout: Duration) -> bool {
        let waited = match self {
            Self::Direct(publisher) => publisher.wait(until, timeout),
            Self::Logged(publisher) => publisher.wait(until, timeout),
        };
        waited.is_ok_and(|is_so| is_so)
    }

    /// Ends the stream, after everything was sent.
    pub(super) fn end(&self) -> Result<(), StreamError> {
        match self {
            Self::Direct(publisher) => {
                publisher.end();
                Ok(())
            }
            Self::Logged(publisher) => publisher.end(),
        }
    }

    /// Ends the stream and returns how it ended. A stream with a log is not over if publishing was interrupted, or the
    /// input failed: the next publisher continues it.
    pub(super) fn close(&self, timeout: Duration, is_interrupted: bool) -> Result<Closing, StreamError> {
        match self {
            Self::Direct(publisher) => Ok(publisher.close(timeout)),
            Self::Logged(publisher) if is_interrupted => publisher.stop(timeout),
            Self::Logged(publisher) => publisher.close(timeout),
        }
    }

    /// Returns how far the log exceeds its limits.
    pub(super) fn hold(&self) -> Option<LogHold> {
        match self {
            Self::Direct(_) => None,
            Self::Logged(publisher) => publisher.hold(),
        }
    }

    pub(super) fn add_metrics(&self, metrics: &mut Exposition) {
        match self {
            Self::Direct(publisher) => publisher.add_metrics(metrics),
            Self::Logged(publisher) => publisher.add_metrics(metrics),
        }
    }

    /// Returns the number of messages that wait in the log.
    pub(super) fn unsent(&self) -> usize {
        match self {
            Self::Direct(_) => 0,
            Self::Logged(publisher) => publisher.unsent(),
        }
    }

    /// Returns the number of messages that were published by this command, and of their bytes.
    pub(super) fn published(&self, closing: &Closing) -> (u64, u64) {
        match self {
            Self::Direct(_) => (closing.statistics.messages, closing.statistics.message_bytes),
            Self::Logged(publisher) => publisher.accepted(),
        }
    }

    pub(super) fn set_keys(&self, keys: Keys) -> Result<(), StreamError> {
        match self {
            Self::Direct(publisher) => {
                publisher.set_keys(keys);
                Ok(())
            }
            Self::Logged(publisher) => publisher.set_keys(keys),
        }
    }
}

fn report_log(publisher: &LoggedPublisher, console: &Console) {
    let (directory, next) = (publisher.directory().display(), publisher.next_message());
    let why = match publisher.start() {
        LogStart::First => {
            console.note(format_args!("log {directory}: new"));
            None
        }
        LogStart::Continued => {
            let messages = count_of(next.0, "message");
            console.note(format_args!("log {directory}: continuing after {messages}"));
            None
        }
        LogStart::AfterEnd => Some("the stream had ended"),
        LogStart::AfterUnsyncedLoss => {
            Some("the machine stopped before everything that was sent was on the disk")
        }
        LogStart::NotWhatWasLeft => Some("it is a copy, or messages at its end are missing or damaged"),
        _ => Some("it is not known whether subscribers have other messages"),
    };
    if let Some(why) = why {
        console.note(format_args!("log {directory}: starting again with message 0: {why}"));
    }
    if let Some(unopened) = publisher.unopened() {
        let (first, last, epoch) = (unopened.first, unopened.end.0.saturating_sub(1), unopened.epoch.0);
        console.note(format_args!(
            "log {directory}: {first} to {last} cannot be opened any more: they are sealed with the removed secret of epoch \
             {epoch}; subscribers that lack them report them as lost"
        ));
    }
    let recovery = publisher.recovery();
    if let Some(file) = &recovery.torn {
        let (file, length) = (file.display(), bytes(recovery.cut_bytes));
        match recovery.is_unfinished {
            true => console.note(format_args!("{file}: removed {length} of a message that was not accepted")),
            false => console.warn(format_args!("{file}: cut off {length} that are not a complete record")),
        }
    }
    if recovery.missing > 0 {
        console.warn(format_args!(
            "log {directory}: the last {} are missing: its newest segment was cut off after it had been closed",
            count_of(recovery.missing, "message")
        ));
    }
    if recovery.damaged_bytes > 0 {
        console.warn(format_args!(
            "log {directory}: {} are damaged; `mcast log verify {directory}` reports where",
            bytes(recovery.damaged_bytes)
        ));
    }
}

/// The maximum length of a message: the default limit of a stream.
const MAX_LENGTH: u32 = 16 << 20;

/// Starts to read the messages that the arguments select: the words, the contents of files, or standard input.
pub(super) fn read(
    words: Vec<OsString>,
    form: Option<InputForm>,
) -> anyhow::Result<ReadAhead<anyhow::Error>> {
    let mut words = words.into_iter();
    match (words.len() == 0, form) {
        (true, Some(InputForm::Files)) => Err(Failure::usage("--input files needs at least one file").into()),
        (false, Some(InputForm::Files)) => Ok(ReadAhead::start(move || {
            let file =
                |name: OsString| read_file(&name).with_context(|| format!("cannot read {}", name.display()));
            words.next().map(file).transpose()
        })?),
        (false, Some(_)) => Err(Failure::usage("both messages and standard input are given")
            .remedy("pass either messages or --input, not both")
            .into()),
        (false, None) => Ok(ReadAhead::start(move || Ok(words.next().map(OsString::into_encoded_bytes)))?),
        (true, _) => read_input(form == Some(InputForm::Records)),
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

/// The log of the stream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArguments {
    /// Store the messages in this directory before they are sent; the next publisher with it continues the stream, even
    /// after a crash; needs --name or --announce
    #[arg(long = "log", value_name = "DIR", conflicts_with = "state")]
    pub(super) directory: Option<PathBuf>,

    /// When messages are synced to the disk: `each` before it is sent, at an INTERVAL (`100ms`), or `none`: left to the
    /// kernel
    #[arg(long, value_name = "WHEN", requires = "directory", default_value = "each", value_parser = parse_sync)]
    sync: SyncPolicy,

    /// Remove segments while the log is larger than SIZE, except those with messages that were not sent, or not acknowledged
    /// as required
    ///
    /// While these alone exceed SIZE, no messages are accepted
    #[arg(long, value_name = "SIZE", requires = "directory", value_parser = parse_size)]
    max_size: Option<usize>,

    /// Remove segments whose messages are all older than TIME, were sent, and were acknowledged as required
    #[arg(long, value_name = "TIME", requires = "directory", value_parser = parse_duration)]
    max_age: Option<Duration>,

    /// Serve what is stored to subscribers at this TCP address, and announce it, for `mcast subscribe` with `--from` or
    /// `--heal`; port 0 selects a free one. All readers share RATE (at least 8Mbit), so that they do not disturb the
    /// stream [default rate: 512Mbit]
    #[arg(long, value_name = "ADDRESS:PORT[:RATE]", requires = "directory")]
    serve_history: Option<ServedHistoryAt>,
}

impl LogArguments {
    /// Listens for subscribers that read the log, if it is served.
    pub(super) fn listen(&self) -> Result<Option<HistoryListener>, StreamError> {
        self.serve_history.map(listen_for_history).transpose()
    }

    /// Returns the directory, and how to write the log there.
    pub(super) fn log(&self) -> Option<(PathBuf, LogOptions)> {
        let retention = Retention { bytes: self.max_size.map(|bytes| bytes as u64), age: self.max_age };
        let mut options = LogOptions { sync: self.sync, retention, ..LogOptions::default() };
        if let Some(bytes) = retention.bytes {
            // Segments are removed whole, so a small log needs small ones.
            options.segment_bytes = options.segment_bytes.min(bytes / SEGMENTS);
        }
        Some((self.directory.clone()?, options))
    }
}

/// How many segments a log with a greatest size has.
const SEGMENTS: u64 = 8;

fn parse_sync(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "each" => Ok(SyncPolicy::Each),
        "none" => Ok(SyncPolicy::None),
        _ => parse_duration(text)
            .map(SyncPolicy::Interval)
            .map_err(|_| "write each, none, or an interval such as 100ms".into()),
    }
}

/// The source of the state: the content of this file if it exists at the time, otherwise the output of this shell
/// command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateSource {
    /// The TCP port to serve it on, or 0 for any free one.
    port: u16,
    text: String,
}

/// How long a command may take; subscribers wait no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the current state on request, until dropped.
#[derive(Debug)]
pub(super) struct Snapshots {
    server: SnapshotServer,
    failures: Receiver<String>,
}

impl Snapshots {
    pub(super) fn serve(state: StateSource, feed: &Arc<Feed>, console: &Console) -> anyhow::Result<Self> {
        let (failure_sender, failures) = channel();
        let port = state.port;
        let what = state.description();
        let weak = Arc::downgrade(feed);
        let capture = move || {
            // The number is read first: messages published meanwhile may be in the state, and are delivered again.
            let message = weak.upgrade()?.next_message();
            match state.capture() {
                Ok(bytes) => Some(Snapshot { message, bytes }),
                Err(error) => {
                    // An error means that the command is ending.
                    let _ = failure_sender.send(format!("no snapshot: {}: {error}", state.description()));
                    None
                }
            }
        };
        let publisher = feed.publisher();
        let at = SocketAddr::new(publisher.interface_address()?, port);
        let server = publisher.serve_snapshots(at, capture)?;
        console.note(format_args!("serving snapshots ({what}) at {}", server.address()));
        Ok(Self { server, failures })
    }

    pub(super) fn add_metrics(&self, metrics: &mut Exposition) {
        self.server.add_metrics(metrics);
    }

    /// Reports the snapshots that failed since the last call.
    pub(super) fn report_failures(&self, lines: &LogLines<'_>) {
        self.failures.try_iter().for_each(|failure| lines.warn(failure));
    }

    /// Returns the next request that was refused and not returned yet.
    pub(super) fn take_refused(&self) -> Option<RefusedRequest> {
        self.server.take_refused()
    }
}

impl StateSource {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let with_port = text.split_once(':').and_then(|(port, text)| Some((port.parse().ok()?, text)));
        let (port, text) = with_port.unwrap_or((0, text));
        match text.trim().is_empty() {
            true => Err("name a file, or write a shell command".into()),
            false => Ok(Self { port, text: text.to_owned() }),
        }
    }

    fn is_file(&self) -> bool {
        Path::new(&self.text).is_file()
    }

    fn description(&self) -> String {
        match self.is_file() {
            true => format!("the content of {}", self.text),
            false => format!("the output of `{}`", self.text),
        }
    }

    fn capture(&self) -> io::Result<Vec<u8>> {
        match self.is_file() {
            true => std::fs::read(&self.text),
            false => output_of(&self.text),
        }
    }
}

/// Returns the output of a shell command, if it succeeds in time.
fn output_of(command: &str) -> io::Result<Vec<u8>> {
    let mut child = sys::shell(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let Some(mut output) = child.stdout.take() else { return Ok(Vec::new()) };
    let (output_sender, result) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        // After the timeout, the receiver of the output no longer exists.
        let _ = output_sender.send(output.read_to_end(&mut bytes).map(|_| bytes));
    };
    std::thread::Builder::new().name("snapshot".into()).spawn(read)?;
    let Ok(bytes) = result.recv_timeout(TIMEOUT) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it was still running after 10 s"));
    };
    match child.wait()? {
        status if status.success() => bytes,
        status => Err(io::Error::other(status.to_string())),
    }
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

    #[test]
    fn syncs_are_each_none_or_at_an_interval() {
        assert_eq!(parse_sync("each"), Ok(SyncPolicy::Each));
        assert_eq!(parse_sync("none"), Ok(SyncPolicy::None));
        assert_eq!(parse_sync("100ms"), Ok(SyncPolicy::Interval(Duration::from_millis(100))));
        for text in ["", "sometimes", "-1s"] {
            parse_sync(text).unwrap_err();
        }
    }
}
