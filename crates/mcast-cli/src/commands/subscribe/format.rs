//! Formats of printed messages.

use std::io::{self, Write};
use std::time::SystemTime;

use mcast_stream::Snapshot;
use mcast_stream::receiver::{Event, Message};
use mcast_stream::wire::StreamId;
use serde::Serialize;

use super::Show;
use super::story::EventRecord;
use crate::console::is_terminal;
use crate::output::{Payload, SafeText, rfc3339, write_json, write_record};

/// Prints messages and, as JSON, events.
#[derive(Debug)]
pub(super) struct Printer {
    manner: OutputFormat,
    is_terminal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputFormat {
    Lines,
    Raw,
    Records,
    Json,
    Nothing,
}

#[derive(Debug, Serialize)]
struct Record<'a> {
    stream: String,
    incarnation: Option<u32>,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
    length: usize,
    time: String,
    #[serde(flatten)]
    payload: Payload<'a>,
}

/// A snapshot, among the events.
#[derive(Debug, Serialize)]
struct State<'a> {
    event: &'static str,
    time: String,
    sequence: u64,
    length: usize,
    #[serde(flatten)]
    payload: Payload<'a>,
}

impl Printer {
    pub(super) fn new(show: &Show) -> Self {
        let manner = if show.json {
            OutputFormat::Json
        } else if show.raw {
            OutputFormat::Raw
        } else if show.records {
            OutputFormat::Records
        } else if show.exec.is_some() {
            // What the command prints is what is wanted then.
            OutputFormat::Nothing
        } else {
            OutputFormat::Lines
        };
        Self { manner, is_terminal: is_terminal() }
    }

    pub(super) fn message(
        &self,
        out: &mut impl Write,
        stream: StreamId,
        incarnation: Option<u32>,
        message: &Message<'_>,
    ) -> io::Result<()> {
        let bytes = message.bytes;
        match self.manner {
            OutputFormat::Nothing => Ok(()),
            OutputFormat::Raw => out.write_all(bytes),
            OutputFormat::Records => {
                // No message is longer than 4 GiB.
                out.write_all(&(bytes.len() as u32).to_be_bytes())?;
                out.write_all(bytes)
            }
            OutputFormat::Lines if self.is_terminal => writeln!(out, "{}", SafeText::new(bytes)),
            OutputFormat::Lines => {
                out.write_all(bytes)?;
                out.write_all(b"\n")
            }
            OutputFormat::Json => write_record(
                out,
                "message",
                &Record {
                    stream: stream.to_string(),
                    incarnation,
                    sequence: message.number,
                    key: message.key,
                    length: bytes.len(),
                    time: rfc3339(SystemTime::now()),
                    payload: Payload::new(bytes),
                },
            ),
        }
    }

    /// The state, which has all messages before a number: as it is, on lines of its own.
    pub(super) fn snapshot(&self, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
        let bytes = &snapshot.bytes[..];
        match self.manner {
            OutputFormat::Nothing => Ok(()),
            OutputFormat::Raw => out.write_all(bytes),
            OutputFormat::Records => {
                out.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes())?;
                out.write_all(bytes)
            }
            OutputFormat::Lines if bytes.is_empty() => Ok(()),
            OutputFormat::Lines if self.is_terminal => {
                let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                whole
                    .split(|byte| *byte == b'\n')
                    .try_for_each(|line| writeln!(out, "{}", SafeText::new(line)))
            }
            OutputFormat::Lines => {
                out.write_all(bytes)?;
                if bytes.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") }
            }
            OutputFormat::Json => write_json(
                out,
                &State {
                    event: "snapshot",
                    time: rfc3339(SystemTime::now()),
                    sequence: snapshot.message,
                    length: bytes.len(),
                    payload: Payload::new(bytes),
                },
            ),
        }
    }

    pub(super) fn event(&self, out: &mut impl Write, event: &Event) -> io::Result<()> {
        match self.manner {
            OutputFormat::Json => write_json(out, &EventRecord::new(event, rfc3339(SystemTime::now()))),
            _ => Ok(()),
        }
    }
}
