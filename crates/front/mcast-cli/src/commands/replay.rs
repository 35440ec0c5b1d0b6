//! `mcast replay`: sends the datagrams of a capture file again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mcast::{InterfaceSelector, LaunchClock, Rate};
use mcast_capture::{AddressMapping, Capture, CaptureOptions, Filter, Replay, SkippedFrames, TransmitTimes};
use mcast_measure::Histogram;
use mcast_terminal::Console;
use mcast_traffic::{
    DispatchCounts, ReplayHops, ReplayNotice, ReplayPlan, ReplayReport, ReplaySender, ReplayTiming,
    TransmitErrors,
};
use serde::Serialize;

use crate::arguments::{Families, open_file, parse_count, parse_duration, parse_speed, select_memberships};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count, count_of, print_record, record, seconds, traffic_in};
use crate::sending::{self, warn_of_refusal};
use crate::sys::{self, Capability};

/// Send the datagrams of a capture file again, with their timing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The capture file, pcap or pcapng, also compressed (.gz); `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Send only datagrams to these groups (from these sources): `[SOURCE@]GROUP:PORT`, a range, a
    /// name [default: every group in the file]
    #[arg(value_name = "MEMBERSHIP")]
    only: Vec<String>,

    /// Send to another group or port: FROM=TO, each `GROUP:PORT`, `GROUP` or `:PORT`, and TO also
    /// `GROUP%INTERFACE:PORT`; repeatable, the first match applies
    #[arg(long, value_name = "FROM=TO")]
    map: Vec<AddressMapping>,

    /// Send on this interface: a name, index or address, or `all`; repeatable [default: the route to the group]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// How many networks to cross, or `recorded` for the TTL of each recorded datagram
    /// [default: 1, this network; 0 is this host]
    #[arg(short, long, value_name = "HOPS", value_parser = parse_hops)]
    ttl: Option<ReplayHops>,

    /// Do not deliver to receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Print the summary as a JSON object on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    timing: TimingOptions,
}

/// Options for speed and repetition.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How fast and how often")]
struct TimingOptions {
    /// Speed up or slow down by FACTOR: 2, or 0.5
    #[arg(long, value_name = "FACTOR", value_parser = parse_speed, conflicts_with_all = ["rate", "flat_out"])]
    speed: Option<f64>,

    /// Pace evenly, ignoring recorded times: 200kpps, or 10Mbit of payload
    #[arg(long, value_name = "RATE", conflicts_with = "flat_out")]
    rate: Option<Rate>,

    /// Send as fast as possible
    #[arg(long)]
    flat_out: bool,

    /// Shorten pauses that are longer than TIME
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["rate", "flat_out"])]
    max_gap: Option<Duration>,

    /// Send the file N times; 0: until Ctrl-C
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true)]
    r#loop: u64,

    /// Stop after N datagrams
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Pass datagrams to the kernel early, with launch times; needs the queue discipline fq or etf on the interface
    /// (Linux)
    #[arg(long, requires = "interfaces", conflicts_with_all = ["rate", "flat_out"])]
    txtime: bool,

    /// Capture the sent datagrams, and report how much their transmit times differ from the recorded ones; needs
    /// CAP_NET_RAW
    #[arg(long, requires = "interfaces", conflicts_with_all = ["rate", "flat_out"])]
    measure: bool,
}

const EXAMPLES: &str = "\
Complete UDP datagrams to groups, including fragmented and tunnelled ones, are sent with their payload, DSCP and
timing, from this machine's own address and a free port. Everything else in the file (other packets, truncated ones,
datagrams with missing fragments) is counted and reported. The TTL is 1 by default, as with every command, so that a recording does
not leave this network by accident. Sending times are accurate to microseconds, because replay
busy-waits shortly before each datagram.

Exit status 1 if the kernel refused some datagrams, or there was nothing to send.

Examples:
  mcast replay stream.pcapng -i lo                           as recorded, to this machine only
  mcast replay stream.pcapng -i lo --speed 2 --loop 10
  mcast replay stream.pcapng -i lo --rate 10Mbit -t recorded
  mcast replay stream.pcapng -i lo --map 239.255.1.2:5000=239.255.9.9:6000
  mcast replay stream.pcapng 239.255.1.2:5000 -i lo --measure   one group, with a report on its timing";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { file, only, map, interfaces, timing, .. } = arguments;
    let only = select_memberships(only, &[], &[], Families::default(), console)?.items;
    let is_read_again = timing.r#loop != 1;
    if is_read_again && file.as_os_str() == "-" {
        return Err(Failure::usage("standard input can be read only once")
            .remedy("replay a file, or remove --loop")
            .into());
    }
    let plan = arguments.plan()?;
    let sender = plan.sender().loopback(!arguments.no_loopback).build()?;
    let capture: Option<Capture> = timing.measure.then(|| open_capture(interfaces)).transpose()?;
    // Files may be hostile, so they are read without the capabilities that opening the capture required.
    let rounds = if timing.r#loop == 0 { u64::MAX } else { timing.r#loop };
    let replay = Replay::of(open_file(file)?).only(only).map(map.clone()).rounds(rounds);
    let kept: &[Capability] = if is_read_again { &[Capability::DacOverride] } else { &[] };
    sys::keep_rights(kept)?;
    let interrupt = Interrupt::catch(|| {})?;
    let times = capture.map(TransmitTimes::record).transpose().context("cannot start a thread")?;
    let replay_sender = ReplaySender::new(&plan, &sender, times, interrupt.clone());
    let mut unreadable = None;
    let mut on_notice = |notice: ReplayNotice<'_>| match notice {
        ReplayNotice::Damaged(failure) => unreadable = Some(failure.to_string()),
        notice => print_notice(&notice, plan.hops, console),
    };
    let report = replay_sender.run(replay, &mut on_notice)?;
    if arguments.json {
        print_record(console, "summary", &ReplaySummary::new(&report))?;
    }
    print(&report, console);
    if let Some(failure) = unreadable {
        return Err(Failure::environment(format!("{failure}; everything before it was sent")).into());
    }
    let has_failed = report.counts.refused > 0 || report.counts.sent == 0;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(!has_failed)))
}

impl Arguments {
    /// Returns how to send the datagrams of the file.
    fn plan(&self) -> anyhow::Result<ReplayPlan> {
        let Self { interfaces, ttl, timing, .. } = self;
        let is_paced = timing.rate.is_some() || timing.flat_out;
        Ok(ReplayPlan {
            interfaces: interfaces.clone(),
            hops: *ttl,
            timing: match is_paced {
                true => ReplayTiming::Paced(timing.rate),
                false => {
                    ReplayTiming::Recorded { speed: timing.speed.unwrap_or(1.0), max_gap: timing.max_gap }
                }
            },
            count: timing.count,
            timeout: timing.timeout,
            launch_clock: timing.txtime.then(|| launch_clock(interfaces)).transpose()?,
        })
    }
}

fn launch_clock(interfaces: &[InterfaceSelector]) -> anyhow::Result<LaunchClock> {
    mcast_traffic::launch_clock(interfaces)?
        .ok_or_else(|| Failure::usage("--txtime needs an interface: -i").into())
}

fn print_notice(notice: &ReplayNotice<'_>, hops: Option<ReplayHops>, console: &Console) {
    match *notice {
        ReplayNotice::Destination(destination, found) => match hops {
            None => sending::print(found, 1, true, console),
            Some(ReplayHops::Fixed(hops)) => sending::print(found, hops, false, console),
            Some(ReplayHops::Recorded) => {
                console.note(format_args!("to {destination}, hop limits as recorded"));
            }
        },
        ReplayNotice::Refused(error, vanished) => warn_of_refusal(error, vanished, console),
        _ => {}
    }
}

fn open_capture(interfaces: &[InterfaceSelector]) -> anyhow::Result<Capture> {
    let names = interfaces.iter().map(|selector| Ok(mcast::interface::find(selector)?.name));
    let options = CaptureOptions::on_names(names.collect::<mcast::Result<Vec<_>>>()?);
    Ok(Capture::open(options.filter(Filter::Multicast).buffer_size(32 << 20))?)
}

fn parse_hops(text: &str) -> Result<ReplayHops, String> {
    match text {
        "recorded" => Ok(ReplayHops::Recorded),
        number => number.parse().map(ReplayHops::Fixed).map_err(|_| "write 0 to 255, or recorded".into()),
    }
}

fn print(report: &ReplayReport, console: &Console) {
    let DispatchCounts { sent, bytes, refused } = report.counts;
    let text = traffic_in(sent, "datagram", bytes, report.elapsed, 2);
    console.note(format_args!("sent {text}; refused by the kernel: {}", count(refused)));
    print_timing(report, console);
    if let Some(words) = skipped_text(&report.skipped) {
        console.note(format_args!("not sent: {words}"));
    }
    if report.bad_checksums > 0 {
        console.note(format_args!(
            "{} had a wrong checksum in the file; sent with a correct one",
            count_of(report.bad_checksums, "datagram")
        ));
    }
    if report.clock_jumps > 0 {
        let times = count_of(report.clock_jumps, "time");
        console.warn(format_args!("the clock was set back {times} during the recording; sent without a gap"));
    }
    if sent == 0 && refused == 0 {
        console.error("the file contains nothing that can be sent");
    }
}

fn print_timing(report: &ReplayReport, console: &Console) {
    if let Some(late) = report.late.percentiles() {
        console.note(format_args!(
            "send lateness: p50 {}, p99 {}, max {}",
            seconds(late.p50),
            seconds(late.p99),
            seconds(late.max)
        ));
    }
    let measured = match &report.transmit_errors {
        TransmitErrors::NotMeasured => return,
        TransmitErrors::Unknown => None,
        TransmitErrors::Known(errors) => {
            errors.percentiles().map(|percentiles| (errors.count(), percentiles))
        }
    };
    match measured {
        Some((datagrams, errors)) => console.note(format_args!(
            "kernel transmit times of {} are off by {} (half), {} (99%), {} (all)",
            count_of(datagrams, "datagram"),
            seconds(errors.p50),
            seconds(errors.p99),
            seconds(errors.max)
        )),
        None => console.warn("not every datagram was captured when it was sent: the accuracy is unknown"),
    }
}

/// Returns the counts of skipped frames as text; `None` if nothing was skipped.
fn skipped_text(skipped: &SkippedFrames) -> Option<String> {
    let fragments = match skipped.fragments {
        1 => "fragment of an incomplete datagram",
        _ => "fragments of incomplete datagrams",
    };
    let reasons = [
        (skipped.not_udp, "not UDP"),
        (skipped.not_multicast, "not to a group"),
        (skipped.fragments, fragments),
        (skipped.truncated, "truncated by the capture"),
        (skipped.malformed, "malformed"),
        (skipped.unsupported_link_type, "of an unsupported link type"),
        (skipped.not_selected, "not selected"),
    ];
    let parts: Vec<_> = reasons
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, reason)| format!("{} {reason}", count(*number)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

record! {
    fn new(report: &ReplayReport) {
        let late = report.late.percentiles();
        let exact = match &report.transmit_errors {
            TransmitErrors::Known(errors) => Histogram::percentiles(errors),
            TransmitErrors::Unknown | TransmitErrors::NotMeasured => None,
        };
        let DispatchCounts { sent, bytes, refused } = report.counts;
    }

    /// One object at the end.
    struct ReplaySummary {
        /// Datagrams sent, counted per interface
        sent: u64 = sent,
        /// Payload bytes sent
        bytes: u64 = bytes,
        /// Duration, in seconds
        seconds: f64 = report.elapsed.as_secs_f64(),
        /// Datagrams refused by the kernel
        refused: u64 = refused,
        /// Number of times that the file was sent to its end
        rounds: u64 = report.rounds,
        /// Frames of the file that were not sent, by reason
        #[serde(with = "SkippedRecord")]
        skipped: SkippedFrames = report.skipped,
        /// Datagrams with a wrong checksum in the file; they were sent with a correct one
        bad_checksums: u64 = report.bad_checksums,
        /// Number of times that the clock was set back during the recording
        clock_jumps: u64 = report.clock_jumps,
        /// Delay after the due time at which datagrams were passed to the kernel, median, in microseconds; null if
        /// no datagram had a due time, or with `--txtime`
        late_p50_us: Option<f64> = late.map(|late| microseconds(late.p50)),
        /// Delay after the due time, 99th percentile, in microseconds; null if no datagram had a due time, or with
        /// `--txtime`
        late_p99_us: Option<f64> = late.map(|late| microseconds(late.p99)),
        /// Delay after the due time, maximum, in microseconds; null if no datagram had a due time, or with
        /// `--txtime`
        late_max_us: Option<f64> = late.map(|late| microseconds(late.max)),
        /// Deviation of the kernel's transmit time from the due time, median, in microseconds; null without
        /// `--measure`
        transmit_error_p50_us: Option<f64> = exact.map(|exact| microseconds(exact.p50)),
        /// Deviation of the transmit time, 99th percentile, in microseconds; null without `--measure`
        transmit_error_p99_us: Option<f64> = exact.map(|exact| microseconds(exact.p99)),
        /// Deviation of the transmit time, maximum, in microseconds; null without `--measure`
        transmit_error_max_us: Option<f64> = exact.map(|exact| microseconds(exact.max)),
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// Frames that were not sent, by reason.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "SkippedFrames")]
struct SkippedRecord {
    /// Not UDP: for example IGMP, ARP or TCP
    not_udp: u64,
    /// UDP to a unicast or broadcast address
    not_multicast: u64,
    /// Fragments of datagrams that are not complete in the file
    fragments: u64,
    /// Frames that the file contains only in part
    truncated: u64,
    /// Malformed frames
    malformed: u64,
    /// Frames with an unsupported link type
    unsupported_link_type: u64,
    /// Datagrams of groups or sources that were not selected
    not_selected: u64,
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<ReplaySummary>("replay-summary", "Summary (`mcast replay --json`)").event("summary"),
}
