//! `mcast log verify`: checks every record of a log.

use std::io::Write;

use mcast_log::{Damage, LogItem, LogReader, missing_at_end, segments};
use mcast_stream::history::{HistoryContent, Position};
use mcast_terminal::Console;

use super::LogArguments;
use super::json::{DamageRecord, SummaryRecord};
use crate::exit::Outcome;
use crate::output::{SafeText, count_of, write_record};

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
