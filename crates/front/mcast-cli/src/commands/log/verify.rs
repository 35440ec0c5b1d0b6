//! `mcast log verify`: checks every record of a log.

use std::io::Write;
use std::path::Path;

use mcast_log::{
    Damage, LogItem, LogReader, LogRecord, SegmentName, SegmentSummary, missing_at_end, segments,
};
use mcast_stream::history::{HistoryContent, Position};
use mcast_stream::wire::{MessageNumber, StreamId};
use mcast_terminal::Console;
use serde::Serialize;

use super::LogArguments;
use crate::exit::Outcome;
use crate::output::{SafeText, count_of, record, rfc3339, write_record};

/// Check every record of a log
///
/// Checksums are compared, seals are opened, and numbers must follow each other. Exit status 1 if something is damaged,
/// missing, or cannot be opened.
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
    let mut summary = SummaryRecord {
        stream: reader.stream().to_string(),
        name: reader.name().to_owned(),
        bytes: segments(files.clone(), &keys)?.iter().map(|segment| segment.bytes).sum(),
        ..SummaryRecord::default()
    };
    let mut out = console.output();
    let mut last: Option<Position> = None;
    while let Some(item) = reader.next()? {
        match item {
            LogItem::Record(record) => {
                let first = record.record.first;
                let is_message = matches!(record.record.content, HistoryContent::Message { .. });
                summary.records += 1;
                summary.messages += u64::from(is_message);
                summary.incarnations +=
                    u64::from(last.is_none_or(|last| last.incarnation != first.incarnation));
                last = Some(first);
            }
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
    let Damage { path, offset, bytes, first, end, sealed } = damage;
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

    /// A segment: `schemas/log-segment.json`.
    pub(super) struct SegmentRecord {
        path: String = segment.path.display().to_string(),
        stream: Option<String> = header.map(|header| header.stream.to_string()),
        name: Option<String> = header.map(|header| header.name.clone()),
        segment: u64 = segment.name.segment,
        incarnation: u32 = segment.name.first.incarnation.0,
        first: MessageNumber = segment.name.first.number,
        end: MessageNumber = segment.end,
        records: u64 = segment.records,
        bytes: u64 = segment.bytes,
        begun: Option<String> = header.map(|header| rfc3339(header.begun.system_time())),
        latest: Option<String> = segment.latest.map(|time| rfc3339(time.system_time())),
        epoch: Option<u16> = header.map(|header| header.epoch.0),
        closed: bool = segment.is_closed,
    }
}

record! {
    pub(super) fn new(directory: &Path, segment: &SegmentName) {}

    /// A removed segment: `schemas/log-removed.json`.
    pub(super) struct RemovedRecord {
        path: String = directory.join(segment.segment_file()).display().to_string(),
        segment: u64 = segment.segment,
        incarnation: u32 = segment.first.incarnation.0,
        first: MessageNumber = segment.first.number,
    }
}

record! {
    pub(super) fn new(damage: &Damage) {}

    /// Damaged bytes, or missing messages: `schemas/log-damage.json`.
    pub(super) struct DamageRecord {
        path: String = damage.path.display().to_string(),
        offset: u64 = damage.offset,
        bytes: u64 = damage.bytes,
        incarnation: u32 = damage.first.incarnation.0,
        first: MessageNumber = damage.first.number,
        end: MessageNumber = damage.end,
        sealed: Option<u16> = damage.sealed.map(|epoch| epoch.0),
    }
}

/// What `mcast log verify` found: `schemas/log-summary.json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct SummaryRecord {
    pub(super) stream: String,
    pub(super) name: String,
    pub(super) records: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) incarnations: u64,
    pub(super) damaged: u64,
    pub(super) missing: u64,
    pub(super) unopened: u64,
}

/// A record that is not a message: `schemas/log-event.json`.
#[derive(Debug, Serialize)]
pub(super) struct EventRecord {
    stream: String,
    incarnation: u32,
    first: MessageNumber,
    end: Option<MessageNumber>,
    cause: Option<&'static str>,
    time: String,
}

impl EventRecord {
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
