//! `mcast replay`: sends the datagrams of a capture file again.

mod deliver;
mod json;
mod text;
mod timing;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mcast::{InterfaceSelector, LaunchClock, Rate, Sender};
use mcast_capture::{AddressMapping, Capture, CaptureOptions, Filter, Replay, TransmitTimes};

use crate::arguments::{Families, parse_duration, select_memberships};
use crate::capturing::open_file;
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::rights::{self, Capability};
use deliver::Delivery;

/// Send the datagrams of a capture file again, with their timing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The capture file, pcap or pcapng; `-` for standard input
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
    ttl: Option<Hops>,

    /// Do not deliver to receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Print the summary as a JSON object on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    timing: TimingOptions,
}

/// The hop limit of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hops {
    Fixed(u8),
    Recorded,
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
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Pass datagrams to the kernel early, with launch times; needs the queue discipline fq or etf on the interface
    /// (Linux)
    #[arg(long, requires = "interfaces", conflicts_with_all = ["rate", "flat_out"])]
    txtime: bool,

    /// Capture the sent datagrams, and report how much the kernel's transmit times differ from the recorded ones; needs
    /// CAP_NET_RAW
    #[arg(long, requires = "interfaces", conflicts_with_all = ["rate", "flat_out"])]
    measure: bool,
}

const EXAMPLES: &str = "\
Complete UDP datagrams to groups are sent with their payload, DSCP and timing, from this machine's
own address and a free port. Everything else in the file (other packets, truncated ones, fragments)
is counted and reported. The TTL is 1 by default, as with every command, so that a recording does
not leave this network by accident. Sending times are accurate to microseconds, because replay
busy-waits shortly before each datagram.

Exit status 1 if the kernel refused some datagrams, or there was nothing to send.

Examples:
  mcast replay stream.pcapng -i lo                           as recorded, to this machine only
  mcast replay stream.pcapng -i lo --speed 2 --loop 10
  mcast replay stream.pcapng -i lo --rate 10Mbit -t recorded
  mcast replay stream.pcapng -i lo --map 239.255.1.2:5000=239.255.9.9:6000
  mcast replay stream.pcapng 239.255.1.2:5000 -i lo --measure   one group, with a report on its timing";

/// How to send the datagrams of the file.
struct Plan<'a> {
    interfaces: &'a [InterfaceSelector],
    hops: Option<Hops>,
    timing: Timing,
    count: Option<u64>,
    timeout: Option<Duration>,
    /// The clock of launch times; `None` without `--txtime`.
    clock: Option<LaunchClock>,
    json: bool,
}

/// When datagrams are sent.
#[derive(Clone, Copy, Debug)]
enum Timing {
    /// At their recorded times.
    Recorded { speed: f64, max_gap: Option<Duration> },
    /// At a rate; `None` is as fast as possible.
    Paced(Option<Rate>),
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { file, only, map, interfaces, timing, .. } = arguments;
    let only = select_memberships(only, &[], &[], Families::default(), console)?.items;
    let is_read_again = timing.r#loop != 1;
    if is_read_again && file.as_os_str() == "-" {
        return Err(Failure::usage("standard input can be read only once")
            .remedy("replay a file, or remove --loop")
            .into());
    }
    let plan = Plan::new(arguments)?;
    let sender = plan.sender(!arguments.no_loopback)?;
    let capture: Option<Capture> = timing.measure.then(|| open_capture(interfaces)).transpose()?;
    // Files may be hostile, so they are read without the capabilities that opening the capture required.
    let rounds = if timing.r#loop == 0 { u64::MAX } else { timing.r#loop };
    let replay = Replay::of(open_file(file)?).only(only).map(map.clone()).rounds(rounds);
    let kept: &[Capability] = if is_read_again { &[Capability::DacOverride] } else { &[] };
    rights::keep(kept)?;
    let interrupt = Interrupt::catch(|| {})?;
    let times = capture.map(TransmitTimes::record).transpose().context("cannot start a thread")?;
    Delivery::new(&plan, &sender, times, interrupt, console).run(replay)
}

impl<'a> Plan<'a> {
    fn new(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let Arguments { interfaces, ttl, timing, json, .. } = arguments;
        let is_paced = timing.rate.is_some() || timing.flat_out;
        Ok(Self {
            interfaces,
            hops: *ttl,
            timing: match is_paced {
                true => Timing::Paced(timing.rate),
                false => Timing::Recorded { speed: timing.speed.unwrap_or(1.0), max_gap: timing.max_gap },
            },
            count: timing.count,
            timeout: timing.timeout,
            clock: timing.txtime.then(|| timing::launch_clock(interfaces)).transpose()?,
            json: *json,
        })
    }

    fn sender(&self, loopback: bool) -> mcast::Result<Sender> {
        let hop_limit = match self.hops {
            Some(Hops::Fixed(hops)) => hops,
            _ => 1,
        };
        let builder = Sender::builder().hop_limit(hop_limit).loopback(loopback);
        match self.clock {
            Some(clock) => builder.launch_clock(clock),
            None => builder,
        }
        .build()
    }
}

/// Opens a capture of what is sent on these interfaces.
fn open_capture(interfaces: &[InterfaceSelector]) -> anyhow::Result<Capture> {
    let names = interfaces.iter().map(|selector| Ok(mcast::find(selector)?.name));
    let options = CaptureOptions::on_names(names.collect::<mcast::Result<Vec<_>>>()?);
    Ok(Capture::open(options.filter(Filter::Multicast).buffer_size(32 << 20))?)
}

fn parse_hops(text: &str) -> Result<Hops, String> {
    match text {
        "recorded" => Ok(Hops::Recorded),
        number => number.parse().map(Hops::Fixed).map_err(|_| "write 0 to 255, or recorded".into()),
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.strip_suffix('x').unwrap_or(text).parse().ok();
    // Beyond these limits the times of a long recording could not be represented.
    speed
        .filter(|speed| (1e-6..=1e6).contains(speed))
        .ok_or_else(|| "write a factor such as 2 or 0.5 (--flat-out sends as fast as possible)".into())
}
