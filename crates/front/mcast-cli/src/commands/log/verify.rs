//! `mcast log verify`: checks every record of a log.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use mcast_log::{
    Damage, LogItem, LogReader, LogRecord, SegmentName, SegmentSummary, missing_at_end, segments,
};
use mcast_stream::history::HistoryContent;
use mcast_stream::wire::{MessageNumber, StreamId};
use mcast_terminal::Console;
use serde::Serialize;

use super::LogArguments;
use crate::exit::Outcome;
use crate::output::{SafeText, count_of, record, rfc3339, write_record};

/// Check every record of a log
///
/// Checksums must match, sealed records must decrypt, and numbers must be consecutive. Exit status 1 if something is
/// damaged, missing, or cannot be decrypted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: LogArguments,

    /// Print one JSON object per damaged place, and one with the summary
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Bytes at the end of the newest segment that are not a complete record are not damage: a publisher
may be writing them, or was killed while it did.

Examples:
  mcast log verify prices-log
  mcast log verify prices-log --key prices.key";

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let keys = arguments.log.keys(console)?;
    let files = arguments.log.files()?;
    let mut reader = LogReader::open_files(files.clone(), keys.clone())?;
    let found = segments(files.clone(), &keys)?;
    let publishers: BTreeSet<_> =
        found.iter().filter_map(|segment| Some(segment.header.as_ref()?.publisher)).collect();
    let mut summary = SummaryRecord {
        stream: reader.stream().to_string(),
        name: reader.name().to_owned(),
        bytes: found.iter().map(|segment| segment.bytes).sum(),
        incarnations: publishers.len() as u64,
        ..SummaryRecord::default()
    };
    let mut out = console.output();
    while let Some(item) = reader.next()? {
        match item {
            LogItem::Record(record) => {
                let is_message = matches!(record.record.content, HistoryContent::Message { .. });
                summary.records += 1;
                summary.messages += u64::from(is_message);
            }
            // A publisher has removed its oldest segments meanwhile.
            LogItem::Damage(damage) if damage.is_removed => {}
            LogItem::Damage(damage) => report(&damage, arguments.json, &mut summary, &mut out)?,
        }
    }
    if let Some(damage) = missing_at_end(&files, reader.position())? {
        report(&damage, arguments.json, &mut summary, &mut out)?;
    }
    if arguments.json {
        write_record(&mut out, "summary", &summary)?;
    } else {
        writeln!(out, "{}", total(&summary))?;
    }
    out.flush()?;
    Ok(Outcome::of(summary.damaged == 0 && summary.unopened == 0))
}

fn report(
    damage: &Damage,
    as_json: bool,
    summary: &mut SummaryRecord,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let messages = damage.end.0 - damage.first.number.0;
    match damage.sealed {
        Some(_) => summary.unopened += messages,
        None => {
            summary.damaged += 1;
            summary.missing += messages;
        }
    }
    if as_json {
        write_record(out, "damage", &DamageRecord::new(damage))?;
    } else {
        writeln!(out, "{}", describe(damage))?;
    }
    Ok(())
}

fn describe(damage: &Damage) -> String {
    let Damage { path, offset, bytes, first, end, sealed, .. } = damage;
    let messages = count_of(end.0 - first.number.0, "message");
    if let Some(epoch) = sealed {
        let range = format!("{} to {}", first.number, end.0.saturating_sub(1));
        return format!(
            "{}: {messages} not opened: {range} are sealed with the secret of epoch {}, which is not in the file of --key",
            path.display(),
            epoch.0
        );
    }
    if *bytes == 0 && *offset == 0 {
        let what = if path.extension().is_some() {
            "the segment was removed"
        } else {
            "the newest segments were removed"
        };
        let missing = match end.0 - first.number.0 {
            0 => "an unknown number of messages is missing".to_owned(),
            _ => format!("{messages} missing: {} to {}", first.number, end.0 - 1),
        };
        return format!("{}: {what}, {missing}", path.display());
    }
    let place = format!("{}, offset {offset}", path.display());
    let damaged = match bytes {
        0 => "nothing is damaged".to_owned(),
        bytes => format!("{} damaged", count_of(*bytes, "byte")),
    };
    let missing = match end.0 - first.number.0 {
        0 => "no message is missing".to_owned(),
        count => format!("{} missing: {} to {}", count_of(count, "message"), first.number, end.0 - 1),
    };
    format!("{place}: {damaged}, {missing}")
}

fn total(summary: &SummaryRecord) -> String {
    let SummaryRecord { stream, name, records, messages, incarnations, damaged, missing, .. } = summary;
    let name = SafeText::new(name.as_bytes());
    let found = match damaged {
        0 => "nothing is damaged".to_owned(),
        damaged => {
            format!("{} damaged, {} missing", count_of(*damaged, "place"), count_of(*missing, "message"))
        }
    };
    let found = match summary.unopened {
        0 => found,
        unopened => format!("{found}, {} not opened", count_of(unopened, "message")),
    };
    format!(
        "stream {stream} {name}: {}, {}, {}; {found}",
        count_of(*records, "record"),
        count_of(*messages, "message"),
        count_of(*incarnations, "incarnation"),
    )
}

record! {
    pub(super) fn new(segment: &SegmentSummary) {
        let header = segment.header.as_ref();
    }

    /// One object per segment, the oldest first. If the header is damaged, what it contains is null, and the counts
    /// are 0.
    pub(super) struct SegmentRecord {
        /// Path of the file
        path: String = segment.path.display().to_string(),
        /// Stream ID, 16 hexadecimal digits
        stream: Option<String> = header.map(|header| header.stream.to_string()),
        /// Name of the stream; empty if it has none
        name: Option<String> = header.map(|header| header.name.clone()),
        /// Number of the segment
        segment: u64 = segment.name.segment,
        /// Publisher's incarnation
        incarnation: u32 = segment.name.first.incarnation.0,
        /// Number of the first message
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        first: MessageNumber = segment.name.first.number,
        /// One past the number of the last message
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        end: MessageNumber = segment.end,
        /// Records in the segment
        records: u64 = segment.records,
        /// Length of the file in bytes
        bytes: u64 = segment.bytes,
        /// Time at which the segment was begun (RFC 3339, UTC, with nanoseconds)
        begun: Option<String> = header.map(|header| rfc3339(header.begun.system_time())),
        /// Latest time of a record (RFC 3339, UTC, with nanoseconds); null without records
        latest: Option<String> = segment.latest.map(|time| rfc3339(time.system_time())),
        /// Epoch of the secret that seals the records; 0 if they are not sealed
        epoch: Option<u16> = header.map(|header| header.epoch.0),
        /// Whether the segment is complete and has a valid index
        closed: bool = segment.is_closed,
    }
}

record! {
    pub(super) fn new(directory: &Path, segment: &SegmentName) {}

    /// One object per removed segment, the oldest first.
    pub(super) struct RemovedRecord {
        /// Path of the file
        path: String = directory.join(segment.segment_file()).display().to_string(),
        /// Number of the segment
        segment: u64 = segment.segment,
        /// Publisher's incarnation
        incarnation: u32 = segment.first.incarnation.0,
        /// Number of its first message
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        first: MessageNumber = segment.first.number,
    }
}

record! {
    pub(super) fn new(damage: &Damage) {}

    /// One object per place where bytes are damaged or messages are missing.
    pub(super) struct DamageRecord {
        /// Path of the segment
        path: String = damage.path.display().to_string(),
        /// Offset of the damaged bytes in the file
        offset: u64 = damage.offset,
        /// Damaged bytes; 0 if messages are missing where no bytes are damaged, because a segment was removed
        bytes: u64 = damage.bytes,
        /// Publisher's incarnation
        incarnation: u32 = damage.first.incarnation.0,
        /// Number of the first missing message
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        first: MessageNumber = damage.first.number,
        /// One past the number of the last missing message; the same as `first` if none is missing
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        end: MessageNumber = damage.end,
        /// Epoch of the secret that sealed these messages, if they are intact and it is not among the keys
        sealed: Option<u16> = damage.sealed.map(|epoch| epoch.0),
    }
}

/// One object at the end.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct SummaryRecord {
    /// Stream ID, 16 hexadecimal digits
    pub(super) stream: String,
    /// Name of the stream; empty if it has none
    pub(super) name: String,
    /// Records that were read
    pub(super) records: u64,
    /// Messages among them
    pub(super) messages: u64,
    /// Length of all segments in bytes
    pub(super) bytes: u64,
    /// Incarnations of the publisher
    pub(super) incarnations: u64,
    /// Places where bytes are damaged or messages are missing
    pub(super) damaged: u64,
    /// Missing messages
    pub(super) missing: u64,
    /// Messages whose secret is not among the keys, and was replaced by a later one
    pub(super) unopened: u64,
}

/// One object per gap, per end of the stream, and for messages that were removed while the log was read (`pruned`). Messages are as
/// in `message.json`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct EventRecord {
    /// Stream ID, 16 hexadecimal digits
    stream: String,
    /// Publisher's incarnation
    incarnation: u32,
    /// Number of the first missing message; at the end, the number of messages
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    first: MessageNumber,
    /// One past the number of the last missing message; null if it is unknown, and at the end of the stream
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    end: Option<MessageNumber>,
    /// Why messages are missing; null at the end of the stream
    cause: Option<&'static str>,
    /// Time of the record; of removed messages, when that was noticed (RFC 3339, UTC, with nanoseconds)
    time: String,
}

impl EventRecord {
    /// Returns the fields of messages that were removed while the log was read.
    pub(super) fn pruned(stream: StreamId, removed: &Damage) -> Self {
        Self {
            stream: stream.to_string(),
            incarnation: removed.first.incarnation.0,
            first: removed.first.number,
            end: Some(removed.end),
            cause: Some(removed.cause().name()),
            time: rfc3339(SystemTime::now()),
        }
    }

    /// Returns the event with its fields; `None` for a message.
    pub(super) fn new(stream: StreamId, record: &LogRecord<&[u8]>) -> Option<(&'static str, Self)> {
        let first = record.record.first;
        let (event, end, cause) = match record.record.content {
            HistoryContent::Message { .. } => return None,
            HistoryContent::Gap { end, cause } => ("gap", Some(end), Some(cause.name())),
            HistoryContent::OpenGap { cause } => ("open-gap", None, Some(cause.name())),
            HistoryContent::End => ("end", None, None),
        };
        let fields = Self {
            stream: stream.to_string(),
            incarnation: first.incarnation.0,
            first: first.number,
            end,
            cause,
            time: rfc3339(record.time.system_time()),
        };
        Some((event, fields))
    }
}
