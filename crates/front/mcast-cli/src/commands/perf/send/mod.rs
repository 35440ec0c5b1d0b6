//! `mcast perf send`: sends numbered datagrams, and prints what receivers report.

mod sessions;
mod stream;

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::{InterfaceSelector, Rate, Sender, SenderBuilder};
use mcast_measure::wire::{HEADER_LENGTH, PING_LENGTH, SessionId};
use mcast_measure::{Percentiles, PingPong, PingPongLimit, lost_percent};
use mcast_path::{Asker, PerfSender, clock_id};
use mcast_terminal::Console;

use crate::arguments::{
    Egress, parse_count, parse_dscp, parse_duration, parse_percent, parse_size, select_destinations,
    with_dscp,
};
use crate::commands::perf::{BarFigure, Micros, bar_figures, bars, micros, percentiles, share, short_time};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{bytes, count_of, print_record, record, seconds, write_line};
use crate::sending::{self, Target};

/// Send numbered datagrams, and print what receivers report
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where to send: `GROUP[%INTERFACE]:PORT`, a range, or a name
    #[arg(required = true, value_name = "GROUP:PORT")]
    groups: Vec<String>,

    #[command(flatten)]
    egress: Egress,

    /// Do not deliver to receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Set the DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    /// Payload bytes per datagram, at least 32 [default: 1400; with --latency, 64]; with --stream bytes per message, at
    /// least 40 [default: 1344]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<usize>,

    /// Send for TIME; with --sweep, at each rate [default: 10s; with --sweep, 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,

    /// Stop after N datagrams to each group, or N pings
    #[arg(short, long, value_name = "N", conflicts_with = "sweep", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,

    /// Total rate, evenly paced: 200kpps, or 10Mbit of payload; with --sweep, the first rate [default: as fast as
    /// possible; with --sweep, 1000pps]
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,

    /// Number of streams to each group, with a socket and a thread each
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    streams: u16,

    /// Send single datagrams, without segmentation offload (UDP GSO)
    #[arg(long)]
    no_gso: bool,

    /// Print the results as JSON objects, and no interim lines
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    measure: Measure,

    #[command(flatten)]
    criteria: SuccessCriteria,

    #[command(flatten)]
    messages: stream::StreamOptions,
}

/// Other measurements.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to measure")]
struct Measure {
    /// Raise the rate until loss starts; report that rate, and the counter that shows the loss
    #[arg(long, conflicts_with = "latency")]
    sweep: bool,

    /// Measure delays by ping-pong with one `mcast perf recv --reply`
    #[arg(long)]
    latency: bool,

    /// Busy-poll for each reply: shorter delays, but uses a whole processor
    #[arg(long, requires = "latency")]
    spin: bool,
}

/// The criteria of success.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Success criteria")]
struct SuccessCriteria {
    /// Exit status 1 if fewer than N receivers report; with --stream, wait until N have joined [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "latency")]
    expect: Option<u64>,

    /// Exit status 1 if a receiver lost more than PERCENT; with --sweep, the loss to tolerate
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_loss: Option<f64>,
}

const EXAMPLES: &str = "\
The sender first announces its settings. At the end it announces how much it sent, repeatedly until
the receivers have reported. The table at the end has one row per receiver.

Run `mcast perf recv 239.255.1.2:5000` on the other hosts, with --reply for --latency.

Examples:
  mcast perf send 239.255.1.2:5000 --size 1400 --duration 5s      as fast as possible
  mcast perf send 239.255.1.2:5000 --rate 200kpps --max-loss 0    exit status 1 if any is lost
  mcast perf send 239.255.1.2:5000 --sweep                        at which rate does loss start?
  mcast perf send 239.255.1.2:5000 --latency --spin               what is the delay?
  mcast perf send 239.255.1.2:5000 --stream --rate 20kpps         messages, as with `mcast publish`";

/// How long a session or a ping-pong lasts, unless a limit is given.
const DURATION: Duration = Duration::from_secs(10);

/// What to send, and where: the arguments, resolved.
#[derive(Debug)]
struct MeasuringPlan<'a> {
    targets: Vec<Target>,
    hop_limit: u8,
    /// Whether the hop limit is the default, which is then pointed out.
    is_default_reach: bool,
    builder: SenderBuilder,
    size: usize,
    streams: u16,
    rate: Option<Rate>,
    duration: Option<Duration>,
    count: Option<u64>,
    spin: bool,
    criteria: &'a SuccessCriteria,
    json: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.messages.stream {
        return stream::run(arguments, console);
    }
    let plan = plan(arguments, console)?;
    let interrupt = Interrupt::catch(|| {})?;
    sending::print(&plan.targets, plan.hop_limit, plan.is_default_reach, console);
    match &arguments.measure {
        Measure { latency: true, .. } => ping_pong(&plan, &interrupt, console),
        Measure { sweep: true, .. } => sessions::sweep(&plan, &interrupt, console),
        _ => sessions::measure(&plan, &interrupt, console),
    }
}

fn plan<'a>(arguments: &'a Arguments, console: &Console) -> anyhow::Result<MeasuringPlan<'a>> {
    let Arguments { egress, streams, rate, duration, count, criteria, json, .. } = arguments;
    let chosen = select_destinations(&arguments.groups, egress.families, console)?;
    let targets = sending::resolve(&chosen.items, &egress.interfaces)?;
    let size = checked_size(arguments, &targets)?;
    check_streams(&targets, *streams)?;
    let hop_limit = egress.hop_limit(chosen.hop_limit);
    let builder = Sender::builder()
        .hop_limit(hop_limit)
        .loopback(!arguments.no_loopback)
        .segmentation(!arguments.no_gso)
        // Only the payload of answers is read, and metadata would slow down a ping-pong.
        .details(false);
    Ok(MeasuringPlan {
        targets,
        hop_limit,
        is_default_reach: egress.ttl.or(chosen.hop_limit).is_none(),
        builder: with_dscp(builder, arguments.dscp),
        size,
        streams: *streams,
        rate: *rate,
        duration: *duration,
        count: *count,
        spin: arguments.measure.spin,
        criteria,
        json: *json,
    })
}

impl MeasuringPlan<'_> {
    fn sender(&self) -> anyhow::Result<PerfSender> {
        let targets: Vec<_> = self.targets.iter().map(Target::template).collect();
        Ok(PerfSender::new(&targets, self.streams, self.size, || self.builder.clone().build())?)
    }
}

fn checked_size(arguments: &Arguments, targets: &[Target]) -> Result<usize, Failure> {
    let families = targets.iter().map(Target::family);
    let most = families.map(sending::longest_payload).min().unwrap_or(usize::MAX);
    let (least, default) = match arguments.measure.latency {
        true => (PING_LENGTH, 64),
        false => (HEADER_LENGTH, 1_400),
    };
    match arguments.size.unwrap_or(default) {
        size if (least..=most).contains(&size) => Ok(size),
        size => Err(Failure::usage(format!("a datagram of {size} bytes cannot be sent"))
            .remedy(format!("use a size from {least} (room for numbers and times) to {most}"))),
    }
}

/// Checks that the numbers of all streams fit.
fn check_streams(targets: &[Target], streams: u16) -> Result<(), Failure> {
    const MOST: usize = 20_000;

    match targets.len() * usize::from(streams) {
        all if all <= MOST => Ok(()),
        all => Err(Failure::usage(format!("{all} streams are more than a receiver follows"))
            .remedy(format!("use fewer groups or --streams: at most {MOST} in total"))),
    }
}

/// `--latency`: plays ping-pong with one receiver, one datagram at a time.
fn ping_pong(plan: &MeasuringPlan<'_>, interrupt: &Interrupt, console: &Console) -> anyhow::Result<Outcome> {
    let [target] = &plan.targets[..] else {
        return Err(Failure::usage("--latency needs one group and one interface")
            .remedy("name one group, and at most one --interface")
            .into());
    };
    let limit = match plan.count {
        Some(count) => PingPongLimit::Count(count),
        None => PingPongLimit::Duration(plan.duration.unwrap_or(DURATION)),
    };
    let mut builder = plan.builder.clone();
    if let Some(interface) = target.interface() {
        // Set once for the sender, which is faster than naming it with each ping.
        builder = builder.interface(InterfaceSelector::Index(interface));
    }
    let sender = builder.build()?;
    let mut game = PingPong::new(SessionId::random(), plan.size, clock_id(), limit, plan.rate);
    let templates = [target.template()];
    Asker::new(&sender, &templates).spin(plan.spin).run(
        &mut game,
        || !interrupt.has_arrived(),
        |_, partner| {
            let size = bytes(plan.size as u64);
            console.note(format_args!("ping-pong with {partner}, {size} per datagram"));
        },
    )?;
    let Some(partner) = game.partner() else {
        if !interrupt.has_arrived() {
            console.error("no host answers: --latency needs `mcast perf recv --reply` on another host");
        }
        return Ok(interrupt.outcome().unwrap_or(Outcome::No));
    };
    let elapsed = game.elapsed();
    match plan.json {
        true => print_record(console, "result", &PerfSendSummary::new(plan, partner, elapsed, &game))?,
        false => write_text(partner, elapsed, &game, console)?,
    }
    let lost = lost_percent(game.lost(), game.sent());
    let is_loss_allowed = plan.criteria.max_loss.is_none_or(|most| lost <= most);
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(game.times().count() > 0 && is_loss_allowed)))
}

fn write_text(partner: IpAddr, elapsed: Duration, trips: &PingPong, console: &Console) -> io::Result<()> {
    let palette = *console.palette();
    let (heading, address) = (palette.heading, palette.address);
    let mut out = console.output();
    writeln!(
        out,
        "{address}{partner}{address:#}: {} in {}; lost {}, duplicated {}, late {}",
        count_of(trips.times().count(), "round trip"),
        seconds(elapsed),
        share(trips.lost(), trips.sent()),
        trips.duplicated(),
        trips.late()
    )?;
    let times = trips.times();
    if let (Some(min), Some(mean), Some(whole)) = (times.min(), times.mean(), times.percentiles()) {
        writeln!(out, "{heading}round trip{heading:#}   min {}, mean {}", short_time(min), short_time(mean))?;
        write_line(&mut out, format_args!("             {}", percentiles(whole)))?;
        let half = percentiles(half(whole));
        write_line(&mut out, format_args!("{heading}one way{heading:#}      {half} (half the round trip)"))?;
        for line in bars(times, &palette) {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()
}

/// Returns half the round trips: the one-way delays if both directions are equal.
fn half(times: Percentiles) -> Percentiles {
    let [p50, p90, p99, p999, max] = times.values().map(|time| time / 2);
    Percentiles { p50, p90, p99, p999, max }
}

record! {
    fn new(plan: &MeasuringPlan<'_>, partner: IpAddr, elapsed: Duration, trips: &PingPong) {
        let times = trips.times();
    }

    /// One object at the end.
    struct PerfSendSummary {
        /// Address of the receiver that replies
        address: IpAddr = partner,
        /// Pings sent
        sent: u64 = trips.sent(),
        /// Pings with a pong in time
        received: u64 = times.count(),
        /// Pings without a pong in time
        lost: u64 = trips.lost(),
        /// Duplicate pongs received
        duplicated: u64 = trips.duplicated(),
        /// Pongs received after the next ping was sent
        late: u64 = trips.late(),
        /// Duration of the measurement, in seconds
        seconds: f64 = elapsed.as_secs_f64(),
        /// Payload bytes per datagram
        size: usize = plan.size,
        /// Whether the command waited for pongs by busy polling
        spin: bool = plan.spin,
        /// One-way delay (half the round-trip time), in microseconds; null without round trips
        latency_us: Option<Micros> = times.percentiles().map(half).map(Micros::from),
        /// Round-trip time, in microseconds; null without round trips
        round_trip_us: Option<Micros> = times.percentiles().map(Micros::from),
        /// Minimum round-trip time, in microseconds; null without round trips
        round_trip_min_us: Option<f64> = times.min().map(micros),
        /// Mean round-trip time, in microseconds; null without round trips
        round_trip_mean_us: Option<f64> = times.mean().map(micros),
        /// Histogram of round-trip times, shortest first
        histogram: Vec<BarFigure> = bar_figures(times),
    }
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<PerfSendSummary>(
        "perf-latency",
        "Latency measurement (`mcast perf send --latency --json`)",
    )
    .event("result"),
    RecordSchema::new::<sessions::SessionSummary>("perf-send", "Sent session (`mcast perf send --json`)")
        .event("result"),
    RecordSchema::new::<sessions::SweepSummary<'_>>(
        "perf-sweep",
        "Rate sweep (`mcast perf send --sweep --json`)",
    )
    .event("sweep"),
    RecordSchema::new::<stream::StreamSendSummary>(
        "perf-stream-send",
        "Published stream (`mcast perf send --stream --json`)",
    )
    .event("result"),
}
