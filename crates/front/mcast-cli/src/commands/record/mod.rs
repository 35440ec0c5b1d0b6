//! `mcast record`: records the datagrams of groups into capture files, with the kernel's timestamps.

mod session;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mcast_capture::{FileError, FileErrorKind, RecordedFile, Recorder, RecorderOptions};
use mcast_terminal::Console;
use mcast_watch::live::{FrameLosses, GroupFramesOptions};

use crate::arguments::{Limits, MembershipArguments, parse_size};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{InterfaceNames, bytes, count, count_of, record, rfc3339, seconds};
use crate::receiving::{FlowSummary, Tally, drops_text};
use crate::sys::{self, Capability};
use session::{Limit, Session, Totals};

/// Record the datagrams of groups into a capture file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    joining: MembershipArguments,

    /// Follow interfaces that appear, vanish or change; wait for missing ones
    #[arg(long)]
    follow: bool,

    /// Request a receive buffer of SIZE per interface [default: 8M; with --via sockets, 4M per socket]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    /// Where to record: from the wire, from sockets, or auto; see below
    #[arg(long, value_name = "WHERE", default_value = "auto", hide_possible_values = true)]
    via: Via,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    limits: Limits,

    /// Print one JSON object per complete file, and one with the summary
    #[arg(long)]
    json: bool,
}

/// Where datagrams are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Via {
    /// From the wire where that is allowed, else from sockets
    Auto,
    /// From the wire, frames as they are
    Wire,
    /// From sockets, headers made up
    Sockets,
}

/// Options for files.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
struct Output {
    /// Write datagrams to this file, in pcapng; `-` for standard output. With --rotate, NAME.pcapng becomes
    /// NAME_00001_20260131120000.pcapng and so on: a number and the start time (UTC)
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,

    /// Overwrite an existing file
    #[arg(long)]
    force: bool,

    /// Start a new file before the current one exceeds a size (100MB), an age (60s, 1h), or either (100MB,1h); SIGHUP
    /// also starts one
    #[arg(long, value_name = "LIMIT", value_parser = session::parse_limit, value_delimiter = ',')]
    rotate: Vec<Limit>,

    /// Keep the newest N files, counting those of earlier runs, and delete older ones
    #[arg(long, value_name = "N", requires = "rotate", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
}

const EXAMPLES: &str = "\
From the wire (needs CAP_NET_RAW), every frame is recorded as it was, with the kernel's time to the
nanosecond, including fragments and this machine's own datagrams. From sockets (needs no permission),
the payload, addresses, TTL, DSCP and the kernel's time are real, and the other fields of the IP and
UDP headers are reconstructed; the file's comment says so.

A frame is in the file at most 0.1 seconds after it arrived. While the disk is full, up to 64 MiB are
buffered in memory. The file always ends with a complete frame.

Exit status 1 if something could not be written, or fewer datagrams arrived than required.

Examples:
  mcast record 239.255.1.2:5000 -w stream.pcapng             until Ctrl-C
  mcast record 239.255.1.2:5000 -i lo -w ten.pcapng -c 10 -W 5s
  mcast record 239.255.1.0/28:5000 -w /tmp/day.pcapng --rotate 100MB,1h --keep 48
  mcast record mdns ssdp -w - -W 1m | tshark -r -
  mcast replay stream.pcapng -i lo                           send it again";

/// What to record, from where, and into which files.
struct Plan<'a> {
    reception: GroupFramesOptions,
    via: Via,
    files: RecorderOptions,
    to_standard_output: bool,
    is_series: bool,
    limits: &'a Limits,
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = Plan::new(arguments, console)?;
    let (kind, source) = session::open(&plan.reception, plan.via, console)?;
    let recorder = plan.open(kind.comment)?;
    plan.drop_capabilities()?;
    let interrupt = Interrupt::catch(|| {})?;
    Session::new(&plan, kind, source, recorder, interrupt, console)?.run()
}

impl<'a> Plan<'a> {
    fn new(arguments: &'a Arguments, console: &Console) -> anyhow::Result<Self> {
        let Arguments { joining, follow, buffer, via, output, limits, json } = arguments;
        let to_standard_output = output.write.as_os_str() == "-";
        if *json && to_standard_output {
            return Err(Failure::usage("--json and `-w -` both mean standard output")
                .remedy("write the capture to a file")
                .into());
        }
        let is_series = !output.rotate.is_empty();
        if is_series && to_standard_output {
            return Err(Failure::usage("standard output cannot be rotated")
                .remedy("write to a file: -w FILE.pcapng")
                .into());
        }
        let path = if to_standard_output { "standard output".into() } else { output.write.clone() };
        let (max_bytes, max_age) = session::smallest(&output.rotate);
        let reception = GroupFramesOptions {
            memberships: joining.selected(console)?.items,
            any_source: joining.any_source,
            follow: *follow,
            buffer_size: *buffer,
        };
        Ok(Self {
            reception,
            via: *via,
            files: RecorderOptions::new(path)
                .overwrite(output.force)
                .max_bytes(max_bytes)
                .max_age(max_age)
                .keep(output.keep),
            to_standard_output,
            is_series,
            limits,
            json: *json,
        })
    }

    /// Opens the first file.
    fn open(&self, comment: &str) -> anyhow::Result<Recorder> {
        let files = self.files.clone().comment(comment);
        if self.to_standard_output {
            let file = sys::standard_output().context("cannot write to standard output")?;
            return Ok(Recorder::from_file(file, files)?);
        }
        Recorder::create(files).map_err(|error: FileError| match error.kind() {
            FileErrorKind::AlreadyExists if !self.is_series => {
                Failure::environment(format!("{} already exists", error.path().display()))
                    .remedy("name another file, or overwrite it with --force")
                    .into()
            }
            _ => error.into(),
        })
    }

    /// Drops the capabilities that opening sockets and files required, except those that new sockets (`--follow`) or
    /// new files (`--rotate`) will need.
    fn drop_capabilities(&self) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        kept.extend(self.reception.follow.then_some(Capability::NetRaw));
        kept.extend(self.is_series.then_some(Capability::DacOverride));
        sys::keep_rights(&kept)
    }
}

/// Prints a complete file.
fn print_file(file: &RecordedFile, console: &Console) {
    match &file.failure {
        // The reader closed the pipe, so nothing is missing.
        Some(failure) if failure.kind() == FileErrorKind::BrokenPipe => console.note(failure),
        Some(failure) => console.error(failure),
        None => {}
    }
    let (frames, length) = (count_of(file.frames, "frame"), bytes(file.bytes));
    console.note(format_args!("{}: {frames}, {length}", file.path.display()));
}

/// Prints the summary.
fn print_summary(
    tally: &Tally,
    totals: &Totals,
    losses: FrameLosses,
    time: Duration,
    names: &mut InterfaceNames,
    console: &Console,
) {
    if console.is_quiet() {
        return;
    }
    let mut text = format!(
        "recorded {} ({} of payload) as {} in {}",
        count_of(tally.datagrams(), "datagram"),
        bytes(tally.bytes()),
        count_of(totals.frames, "frame"),
        seconds(time)
    );
    if totals.fragments > 0 {
        text += &format!(", of which {}", count_of(totals.fragments, "later fragment"));
    }
    text += &format!("; {}, {}", count_of(totals.files, "file"), bytes(totals.file_bytes));
    text += &format!("; dropped by this machine: {}", drops_text(losses.dropped));
    if losses.unreadable > 0 {
        text += &format!("; unreadable: {}", count(losses.unreadable));
    }
    console.note(text);
    if totals.unwritten > 0 {
        console.error(format_args!("{} could not be written", count_of(totals.unwritten, "frame")));
    }
    if tally.datagrams() > 0 {
        console.note(tally.table(names, console));
    }
}

record! {
    fn new(file: &RecordedFile) {}

    /// A complete file: `schemas/record-file.json`.
    struct FileRecord {
        path: String = file.path.display().to_string(),
        started: String = rfc3339(file.begin),
        frames: u64 = file.frames,
        bytes: u64 = file.bytes,
        unwritten: u64 = file.unwritten,
        error: Option<String> = file.failure.as_ref().map(ToString::to_string),
    }
}

record! {
    fn new(
        tally: &Tally,
        totals: Totals,
        losses: FrameLosses,
        time: Duration,
        via: &'static str,
        names: &mut InterfaceNames,
    ) {}

    /// The summary: `schemas/record-summary.json`.
    struct SummaryRecord {
        via: &'static str = via,
        datagrams: u64 = tally.datagrams(),
        bytes: u64 = tally.bytes(),
        #[serde(flatten)]
        totals: Totals = totals,
        seconds: f64 = time.as_secs_f64(),
        dropped: Option<u64> = losses.dropped.count(),
        dropped_certainty: &'static str = losses.dropped.certainty(),
        unwritten: u64 = totals.unwritten,
        unreadable: u64 = losses.unreadable,
        flows: Vec<FlowSummary> = tally.flows(names),
        other_datagrams: u64 = tally.other_datagrams(),
    }
}
