//! `mcast record`: records the datagrams of groups into capture files, with the kernel's timestamps.

mod session;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mcast::{Wire, WireStatus};
use mcast_capture::{FileError, FileErrorKind, RecordedFile, Recorder, RecorderOptions};
use mcast_terminal::Console;
use mcast_watch::live::{FrameLosses, GroupFramesOptions};

use crate::arguments::{Limits, MembershipArguments, WireOption, parse_size};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{InterfaceNames, bytes, count, count_of, record, rfc3339, seconds};
use crate::receiving::{FlowSummary, Tally, WireGroup, drops_text, wire_groups};
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
    wire: WireOption,

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

impl Via {
    /// Returns where to record with a choice of `--wire`. A capture would miss what is taken off the interface.
    fn with(self, wire: Wire) -> Result<Self, Failure> {
        match (self, wire) {
            (via, Wire::Off) => Ok(via),
            (Self::Wire, _) => Err(Failure::usage(
                "--via wire captures copies of frames, and --wire takes the frames off the interface",
            )
            .remedy("use one of them")),
            (Self::Auto | Self::Sockets, _) => Ok(Self::Sockets),
        }
    }
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

    /// Keep the newest N files, including those of earlier runs, and delete older ones
    #[arg(long, value_name = "N", requires = "rotate", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
}

const EXAMPLES: &str = "\
From the wire (needs CAP_NET_RAW), every frame is recorded as it was, with the kernel's time to the
nanosecond, including fragments and this machine's own datagrams. From sockets (needs no permission),
the payload, addresses, TTL, DSCP and the kernel's time are real, and the other fields of the IP and
UDP headers are reconstructed; the file's comment says so. --wire implies --via sockets: it takes
datagrams before the network stack, and records when it read them if the driver has no timestamps.

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
struct RecordPlan<'a> {
    reception: GroupFramesOptions,
    via: Via,
    files: RecorderOptions,
    to_standard_output: bool,
    is_series: bool,
    limits: &'a Limits,
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let plan = RecordPlan::new(arguments, console)?;
    let (kind, source) = session::open(&plan.reception, plan.via, console)?;
    let recorder = plan.open(kind.comment)?;
    plan.drop_capabilities()?;
    let interrupt = Interrupt::catch(|| {})?;
    Session::new(&plan, kind, source, recorder, console).run(plan.limits, interrupt)
}

impl<'a> RecordPlan<'a> {
    fn new(arguments: &'a Arguments, console: &Console) -> anyhow::Result<Self> {
        let Arguments { joining, follow, buffer, via, wire, output, limits, json } = arguments;
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
            wire: wire.policy(),
        };
        Ok(Self {
            via: via.with(reception.wire)?,
            reception,
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
        let GroupFramesOptions { follow, wire, .. } = self.reception;
        kept.extend(follow.then_some([Capability::NetRaw, Capability::NetBindService]).into_iter().flatten());
        if wire != Wire::Off {
            // To return groups to the sockets, which kernels before 6.0 allow only with the right to load programs.
            kept.push(Capability::Bpf);
            kept.extend(follow.then_some([Capability::NetAdmin, Capability::IpcLock]).into_iter().flatten());
        }
        kept.extend(self.is_series.then_some(Capability::DacOverride));
        sys::keep_rights_everywhere(&kept)
    }
}

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

    /// One object per complete file.
    struct FileRecord {
        /// Path of the file, or `standard output`
        path: String = file.path.display().to_string(),
        /// Time at which the file was started (RFC 3339, UTC, with nanoseconds)
        started: String = rfc3339(file.begin),
        /// Frames in the file
        frames: u64 = file.frames,
        /// Length of the file in bytes
        bytes: u64 = file.bytes,
        /// Frames that were accepted but could not be written
        unwritten: u64 = file.unwritten,
        /// Why frames could not be written; null if there was no error
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
        wire: &[WireStatus],
        names: &mut InterfaceNames,
    ) {}

    /// One object at the end, for the whole recording.
    struct SummaryRecord {
        /// Where datagrams were recorded: on the wire or from sockets
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["wire", "sockets"])))]
        via: &'static str = via,
        /// Datagrams recorded
        datagrams: u64 = tally.datagrams(),
        /// Payload bytes
        bytes: u64 = tally.bytes(),
        #[serde(flatten)]
        totals: Totals = totals,
        /// Duration of the recording, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Datagrams that this machine dropped because a buffer was full; null if the system does not count them
        dropped: Option<u64> = losses.dropped.count(),
        /// Accuracy of `dropped`
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["exactly", "at least", "at most", "about", "unknown"])))]
        dropped_certainty: &'static str = losses.dropped.certainty(),
        /// Frames that could not be written
        unwritten: u64 = totals.unwritten,
        /// Datagrams that arrived but could not be recorded
        unreadable: u64 = losses.unreadable,
        /// Datagrams by group, interface and source, busiest first
        flows: Vec<FlowSummary> = tally.flows(names),
        /// Datagrams of flows beyond the first 10,000
        other_datagrams: u64 = tally.other_datagrams(),
        /// With `--wire`: how each group was received at the end
        #[serde(skip_serializing_if = "Vec::is_empty")]
        wire: Vec<WireGroup> = wire_groups(wire),
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<FileRecord>("record-file", "Recorded file (`mcast record --json`)").event("file"),
    RecordSchema::new::<SummaryRecord>("record-summary", "Recording summary (`mcast record --json`)")
        .describe("flows[].group", "Destination group")
        .describe("flows[].datagrams", "Datagrams recorded")
        .describe("flows[].bytes", "Payload bytes")
        .event("summary"),
}
