//! `mcast log list`: the segments of a log.

use std::io::Write;

use mcast_log::{SegmentSummary, segments};
use mcast_terminal::Console;

use super::LogArguments;
use super::json::SegmentRecord;
use crate::exit::Outcome;
use crate::output::{Cell, SafeText, Table, bytes, count, count_of, rfc3339, write_record};

/// List the segments of a log, the oldest first
///
/// Segments that are being written, or were not closed, are read completely; the others have an index.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: LogArguments,

    /// Print one JSON object per segment
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  mcast log list prices-log
  mcast log list prices-log --json";

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let keys = arguments.log.keys(console)?;
    let segments = segments(arguments.log.files()?, &keys)?;
    let mut out = console.output();
    if arguments.json {
        for segment in &segments {
            write_record(&mut out, "segment", &SegmentRecord::new(segment))?;
        }
    } else if !segments.is_empty() {
        table(&segments, console).write(&mut out)?;
    }
    out.flush()?;
    if segments.is_empty() {
        console.note(format_args!("there is no log in {}", arguments.log.directory.display()));
    } else if let Some(header) = segments.iter().rev().find_map(|segment| segment.header.as_ref()) {
        let (name, stream) = (SafeText::new(header.name.as_bytes()), header.stream);
        let records = count_of(segments.iter().map(|segment| segment.records).sum(), "record");
        let size = bytes(segments.iter().map(|segment| segment.bytes).sum());
        console.note(format_args!("stream {stream} {name}: {records}, {size}"));
    }
    Ok(Outcome::of(!segments.is_empty()))
}

fn table(segments: &[SegmentSummary], console: &Console) -> Table {
    let palette = console.palette();
    let titles = ["segment", "incarnation", "first", "end", "records", "bytes", "latest", "note"];
    let mut table = Table::new(&titles, palette.heading);
    for segment in segments {
        let note = match &segment.header {
            None => "damaged header",
            Some(_) if !segment.is_closed => "not closed",
            Some(header) if header.epoch.0 != 0 => "sealed",
            Some(_) => "",
        };
        let latest = segment.latest.map(|time| rfc3339(time.system_time())).unwrap_or_default();
        table.row([
            Cell::new(segment.name.segment.to_string()).right(),
            Cell::new(segment.name.first.incarnation.to_string()).right(),
            Cell::new(segment.name.first.number.to_string()).right(),
            Cell::new(segment.end.to_string()).right(),
            Cell::new(count(segment.records)).right(),
            Cell::new(count(segment.bytes)).right(),
            Cell::new(latest),
            Cell::new(note).style(palette.dim),
        ]);
    }
    table
}
