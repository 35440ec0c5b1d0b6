//! `mcast log prune`: removes old segments.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use mcast_log::{LogReader, LogTime, Retention, prune};
use mcast_stream::seal::Keys;
use mcast_terminal::Console;

use super::files;
use super::json::RemovedRecord;
use crate::arguments::{parse_duration, parse_size};
use crate::exit::Outcome;
use crate::output::{count_of, write_record};

/// Remove the oldest segments of a log
///
/// Whole segments are removed, and never the newest one. Subscribers that request removed messages get the oldest ones
/// that are left.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("limit").required(true).multiple(true))]
pub(super) struct Arguments {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Remove segments while the log is larger than SIZE
    #[arg(long, value_name = "SIZE", value_parser = parse_size, group = "limit")]
    max_size: Option<usize>,

    /// Remove segments whose messages are all older than TIME
    #[arg(long, value_name = "TIME", value_parser = parse_duration, group = "limit")]
    max_age: Option<Duration>,

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
    let retention = Retention { bytes: arguments.max_size.map(|bytes| bytes as u64), age: arguments.max_age };
    let removed = prune(&files, &retention, LogTime::now())?;
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
    Ok(Outcome::Yes)
}
