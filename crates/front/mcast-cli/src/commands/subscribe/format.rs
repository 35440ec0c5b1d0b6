//! Formats of printed messages, and the closing summary as JSON.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use mcast_stream::subscriber::{Message, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use mcast_stream::{Snapshot, Subscriber, framing};
use mcast_terminal::is_terminal;
use serde::Serialize;

use super::OutputOptions;
use super::listen::Tally;
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

/// What was received in all: `schemas/subscribe-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    messages: u64,
    bytes: u64,
    seconds: f64,
    lost_messages: u64,
    unknown_losses: u64,
    messages_from_history: u64,
    datagrams: u64,
    repaired: Repaired,
    naks: Naks,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_others: Option<ForOthers>,
}

/// The missing datagrams that arrived after all.
#[derive(Debug, Serialize)]
struct Repaired {
    by_publisher: u64,
    by_subscribers: u64,
    recovered: u64,
}

/// The NAKs that were sent.
#[derive(Debug, Serialize)]
struct Naks {
    to_publisher: u64,
    to_subscribers: u64,
}

/// What it did for other subscribers.
#[derive(Debug, Serialize)]
struct ForOthers {
    naks: u64,
    datagrams: u64,
    bytes: u64,
    refused: u64,
}

impl Summary {
    /// Returns the summary of a subscriber after this time.
    pub(super) fn new(
        subscriber: &Subscriber,
        tally: &Tally,
        repairs_for_others: bool,
        time: Duration,
    ) -> Self {
        let counted = subscriber.statistics();
        let for_others = ForOthers {
            naks: counted.local_naks,
            datagrams: counted.local_repairs,
            bytes: counted.local_repair_bytes,
            refused: counted.local_refused,
        };
        Self {
            stream: subscriber.stream().map(|stream| stream.to_string()),
            messages: tally.messages,
            bytes: tally.bytes,
            seconds: time.as_secs_f64(),
            lost_messages: tally.lost,
            unknown_losses: tally.unknown_losses,
            messages_from_history: counted.from_history,
            datagrams: counted.received,
            repaired: Repaired {
                by_publisher: counted.repaired.saturating_sub(counted.repaired_locally),
                by_subscribers: counted.repaired_locally,
                recovered: counted.recovered,
            },
            naks: Naks {
                to_publisher: counted.naks.saturating_sub(counted.naks_to_repairers),
                to_subscribers: counted.naks_to_repairers,
            },
            for_others: repairs_for_others.then_some(for_others),
        }
    }
}
