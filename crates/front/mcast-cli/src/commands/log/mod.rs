//! `mcast log`: shows, checks, exports and prunes the log of a stream.

mod export;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcast_log::{Directory, Files};
use mcast_stream::seal::Keys;
use mcast_terminal::Console;

use crate::arguments::read_keys;
use crate::exit::{Failure, Outcome};

/// Show, check, export and prune the log of a stream
///
/// A log is a directory of segment files in which a publisher stores its messages. These commands also work while the
/// publisher runs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(list::Arguments),
    Verify(verify::Arguments),
    Export(export::Arguments),
    Prune(prune::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  mcast log list prices-log                       the segments, with numbers and times
  mcast log verify prices-log                     check every record; exit status 1 if one is damaged
  mcast log export prices-log --from 1h           the messages of the last hour, as JSON
  mcast log prune prices-log --max-age 24h        remove what is older than a day";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.action {
        Action::List(arguments) => list::run(arguments, console),
        Action::Verify(arguments) => verify::run(arguments, console),
        Action::Export(arguments) => export::run(arguments, console),
        Action::Prune(arguments) => prune::run(arguments, console),
    }
}

/// The log, and what opens its seals.
#[derive(Debug, clap::Args)]
struct LogArguments {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Open sealed segments with the secrets in this file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl LogArguments {
    fn keys(&self, console: &Console) -> anyhow::Result<Keys> {
        Ok(match &self.key {
            Some(path) => read_keys(path, console)?,
            None => Keys::none(),
        })
    }

    fn files(&self) -> anyhow::Result<Arc<dyn Files>> {
        files(&self.directory)
    }
}

fn files(directory: &Path) -> anyhow::Result<Arc<dyn Files>> {
    match Directory::open(directory) {
        Ok(files) => Ok(Arc::new(files)),
        Err(error) => {
            let message = format!("cannot read the log in {}: {error}", directory.display());
            Err(Failure::environment(message).remedy("name the directory of a log").into())
        }
    }
}

mod list {
    //! `mcast log list`: the segments of a log.

    use std::io::Write;

    use mcast_log::{SegmentSummary, segments};
    use mcast_terminal::Console;

    use super::LogArguments;
    use super::verify::SegmentRecord;
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
}

mod prune {
    //! `mcast log prune`: removes old segments.

    use std::io::Write;
    use std::path::PathBuf;
    use std::time::Duration;

    use mcast_log::{LastPublisher, LogReader, LogTime, NOTHING_NEEDED, Retention, prune};
    use mcast_stream::history::Position;
    use mcast_stream::seal::Keys;
    use mcast_terminal::Console;

    use super::files;
    use super::verify::RemovedRecord;
    use crate::arguments::{parse_duration, parse_size};
    use crate::exit::Outcome;
    use crate::output::{count_of, write_record};

    /// Remove the oldest segments of a log
    ///
    /// Only whole segments are removed, and never the newest one. Subscribers that request removed messages get the
    /// oldest remaining ones. Messages are kept that are not sent yet, not acknowledged as `publish --ack` requires, or
    /// not received by a subscriber.
    #[derive(Debug, clap::Args)]
    #[command(after_help = EXAMPLES, group = clap::ArgGroup::new("limit").required(true).multiple(true))]
    pub(super) struct Arguments {
        /// The directory of the log
        #[arg(value_name = "DIR")]
        directory: PathBuf,

        /// Remove segments while the log is larger than SIZE, except those with messages that were not sent, or not acknowledged
        /// as required
        #[arg(long, value_name = "SIZE", value_parser = parse_size, group = "limit")]
        max_size: Option<usize>,

        /// Remove segments whose messages are all older than TIME, were sent, and were acknowledged as required
        #[arg(long, value_name = "TIME", value_parser = parse_duration, group = "limit")]
        max_age: Option<Duration>,

        /// Also remove messages that were never sent, or not acknowledged as required; they are lost
        #[arg(long)]
        unsent: bool,

        /// Print one JSON object per removed segment
        #[arg(long)]
        json: bool,
    }

    const EXAMPLES: &str = "\
Examples:
  mcast log prune prices-log --max-age 24h
  mcast log prune prices-log --max-size 10G --max-age 24h";

    pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
        let files = files(&arguments.directory)?;
        // A directory without a log is an error.
        LogReader::open_files(files.clone(), Keys::none())?;
        let retention =
            Retention { bytes: arguments.max_size.map(|bytes| bytes as u64), age: arguments.max_age };
        let recorded = match arguments.unsent {
            true => Some(NOTHING_NEEDED),
            false => LastPublisher::recorded_needs(&*files)?,
        };
        let pruned = prune(&files, &retention, recorded.unwrap_or(Position::START), LogTime::now())?;
        let removed = pruned.removed;
        let mut out = console.output();
        for segment in &removed {
            if arguments.json {
                write_record(&mut out, "removed", &RemovedRecord::new(&arguments.directory, segment))?;
            } else {
                writeln!(out, "{}", arguments.directory.join(segment.segment_file()).display())?;
            }
        }
        out.flush()?;
        console.note(format_args!("{} removed", count_of(removed.len() as u64, "segment")));
        if pruned.held.is_some() {
            match recorded {
                Some(Position { number, .. }) => console.warn(format_args!(
                    "retained what follows message {number}: it was not sent, not acknowledged as required, or not received"
                )),
                None => console.warn("retained everything: it is not known which messages were sent"),
            }
            console.help("let its publisher send them (`mcast publish --log`), or remove them: --unsent");
        }
        Ok(Outcome::Yes)
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<verify::SegmentRecord>("log-segment", "Segment of a log (`mcast log list --json`)")
        .event("segment"),
    RecordSchema::new::<verify::RemovedRecord>(
        "log-removed",
        "Removed segment of a log (`mcast log prune --json`)",
    )
    .event("removed"),
    RecordSchema::new::<verify::DamageRecord>(
        "log-damage",
        "Damage in a log (`mcast log verify --json`, `mcast log export`)",
    )
    .event("damage"),
    RecordSchema::new::<verify::SummaryRecord>("log-summary", "Summary of a log (`mcast log verify --json`)")
        .event("summary"),
    RecordSchema::new::<verify::EventRecord>(
        "log-event",
        "Record of a log that is not a message (`mcast log export`)",
    )
    .event("gap")
    .events(["gap", "open-gap", "end", "pruned"]),
}
