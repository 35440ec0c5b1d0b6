//! Formats of printed messages.

use std::io::{self, Write};
use std::time::SystemTime;

use mcast_stream::subscriber::{Message, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use mcast_stream::{Snapshot, framing};
use mcast_terminal::is_terminal;
use serde::Serialize;

use super::OutputOptions;
use super::summary::Summary;
use crate::message_layer::MessageRecord;
use crate::output::{Payload, SafeText, rfc3339, write_json, write_record};
use crate::receiving::EventRecord;

/// Prints messages and, as JSON, events.
#[derive(Debug)]
pub(super) struct Printer {
    format: OutputFormat,
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

/// A snapshot as JSON.
#[derive(Debug, Serialize)]
struct SnapshotRecord<'a> {
    time: String,
    sequence: MessageNumber,
    length: usize,
    #[serde(flatten)]
    payload: Payload<'a>,
}

impl Printer {
    pub(super) fn new(show: &OutputOptions) -> Self {
        let format = if show.json {
            OutputFormat::Json
        } else if show.raw {
            OutputFormat::Raw
        } else if show.records {
            OutputFormat::Records
        } else if show.exec.is_some() {
            // With --exec, only the output of the command is printed.
            OutputFormat::Nothing
        } else {
            OutputFormat::Lines
        };
        Self { format, is_terminal: is_terminal() }
    }

    pub(super) fn message(
        &self,
        out: &mut impl Write,
        stream: StreamId,
        incarnation: Option<Incarnation>,
        message: &Message<'_>,
    ) -> io::Result<()> {
        let bytes = message.bytes;
        match self.format {
            OutputFormat::Nothing | OutputFormat::Raw | OutputFormat::Records => self.bytes(out, bytes),
            OutputFormat::Lines if self.is_terminal => writeln!(out, "{}", SafeText::new(bytes)),
            OutputFormat::Lines => {
                out.write_all(bytes)?;
                out.write_all(b"\n")
            }
            OutputFormat::Json => write_record(
                out,
                "message",
                &MessageRecord::new(
                    (stream, incarnation),
                    message.number,
                    message.key,
                    SystemTime::now(),
                    bytes,
                ),
            ),
        }
    }

    /// Prints a snapshot, on lines of its own.
    pub(super) fn snapshot(&self, out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
        let bytes = &snapshot.bytes[..];
        match self.format {
            OutputFormat::Nothing | OutputFormat::Raw | OutputFormat::Records => self.bytes(out, bytes),
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
            OutputFormat::Json => write_record(
                out,
                "snapshot",
                &SnapshotRecord {
                    time: rfc3339(SystemTime::now()),
                    sequence: snapshot.message,
                    length: bytes.len(),
                    payload: Payload::new(bytes),
                },
            ),
        }
    }

    /// Prints the bytes of a message or a snapshot, as a record with their length if that is the format.
    fn bytes(&self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        match self.format {
            OutputFormat::Nothing => Ok(()),
            OutputFormat::Records => framing::write_record(out, bytes),
            _ => out.write_all(bytes),
        }
    }

    /// Prints the closing summary, as JSON only.
    pub(super) fn summary(&self, out: &mut impl Write, summary: &Summary) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => write_record(out, "summary", summary),
            _ => Ok(()),
        }
    }

    pub(super) fn event(&self, out: &mut impl Write, event: &SubscriberEvent) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => write_json(out, &EventRecord::new(event, rfc3339(SystemTime::now()))),
            _ => Ok(()),
        }
    }
}
