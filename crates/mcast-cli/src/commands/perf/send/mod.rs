//! `mcast perf send`: sends numbered datagrams, and prints what receivers report.

mod latency;
mod outcome;
mod session;
mod stream;
mod sweep;
mod worker;

use std::time::Duration;

use mcast::{InterfaceSelector, Rate, Sender, SenderBuilder};

use crate::arguments::{
    Families, parse_dscp, parse_duration, parse_percent, parse_rate, parse_size, select_destinations,
};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::sending::{Target, targets};
use mcast_measure::wire::{HEADER_LENGTH, PING_LENGTH};
use session::{Plan, SendSession};

/// Send numbered datagrams, and print what receivers report
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where to send: `GROUP[%INTERFACE]:PORT`, a range, or a name
    #[arg(required = true, value_name = "GROUP:PORT")]
    groups: Vec<String>,

    /// Send on this interface: a name, index or address, or `all`; repeatable [default: the route to the group]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network; 0 is this host]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Do not deliver to receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Set the DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    #[command(flatten)]
    families: Families,

    /// Payload bytes per datagram, at least 32 [default: 1400; with --latency 64]; with --stream
    /// per message, at least 40 [default: 1344]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<usize>,

    /// Send for TIME; with --sweep at each rate [default: 10s; with --sweep 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,

    /// Stop after N datagrams to each group, or N pings
    #[arg(short, long, value_name = "N", conflicts_with = "sweep", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Total rate, evenly paced: 200kpps, or 10Mbit of payload; with --sweep the first rate
    /// [default: as fast as possible; with --sweep 1000pps]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<Rate>,

    /// Number of streams to each group, with a socket and a thread each
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    streams: u16,

    /// Send single datagrams, without segmentation offload (UDP GSO)
    #[arg(long)]
    no_gso: bool,

    /// Print JSON objects, and nothing every second
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
#[command(next_help_heading = "What to find out")]
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
#[command(next_help_heading = "What is success")]
struct SuccessCriteria {
    /// Exit status 1 if fewer than N receivers report; with --stream start when N have joined [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "latency")]
    expect: Option<u64>,

    /// Exit status 1 if a receiver lost more than PERCENT; with --sweep the loss that is tolerated
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_loss: Option<f64>,
}

const EXAMPLES: &str = "\
The sender announces what it will send, and at the end how much it sent, repeatedly until the
receivers have reported. The table at the end has one row per receiver.

Run `mcast perf recv 239.255.1.2:5000` on other hosts; with --reply for --latency.

Examples:
  mcast perf send 239.255.1.2:5000 --size 1400 --duration 5s      as fast as possible
  mcast perf send 239.255.1.2:5000 --rate 200kpps --max-loss 0    exit status 1 if any is lost
  mcast perf send 239.255.1.2:5000 --sweep                        at which rate does loss start?
  mcast perf send 239.255.1.2:5000 --latency --spin               what is the delay?
  mcast perf send 239.255.1.2:5000 --stream --rate 20kpps         messages as of `mcast publish`";

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.messages.stream {
        return stream::run(arguments, &Interrupt::catch(|| {})?, console);
    }
    let size = checked_size(arguments)?;
    let chosen = select_destinations(&arguments.groups, arguments.families, console)?;
    let targets = targets::resolve(&chosen.items, &arguments.interfaces)?;
    let hop_limit = arguments.ttl.or(chosen.hop_limit).unwrap_or(1);
    check_streams(&targets, arguments.streams)?;
    let interrupt = Interrupt::catch(|| {})?;
    targets::print(&targets, hop_limit, arguments.ttl.is_none() && chosen.hop_limit.is_none(), console);
    let open = || sender(arguments, hop_limit).build();
    if arguments.measure.latency {
        return latency::run(arguments, &targets, size, &open()?, &interrupt, console);
    }
    let session = SendSession::new(targets, arguments.streams, size, open)?;
    if arguments.measure.sweep {
        return sweep::run(arguments, session, size, &interrupt, console);
    }
    let plan = Plan {
        rate: arguments.rate,
        duration: arguments.count.is_none().then(|| arguments.duration.unwrap_or(Duration::from_secs(10))),
        count: arguments.count,
        progress: !arguments.json,
    };
    outcome::run(arguments, session, &plan, &interrupt, console)
}

fn sender(arguments: &Arguments, hop_limit: u8) -> SenderBuilder {
    let builder = Sender::builder()
        .hop_limit(hop_limit)
        .loopback(!arguments.no_loopback)
        .segmentation(!arguments.no_gso)
        // Only the payload of answers is read, and metadata would slow down a ping-pong.
        .details(false);
    match arguments.dscp {
        Some(dscp) => builder.traffic_class(dscp << 2),
        None => builder,
    }
}

fn checked_size(arguments: &Arguments) -> Result<usize, Failure> {
    /// The largest UDP payload over IPv6; the system reports errors for smaller limits.
    const MOST: usize = 65_527;

    let (least, default) = match arguments.measure.latency {
        true => (PING_LENGTH, 64),
        false => (HEADER_LENGTH, 1_400),
    };
    match arguments.size.unwrap_or(default) {
        size if (least..=MOST).contains(&size) => Ok(size),
        size => Err(Failure::usage(format!("a datagram of {size} bytes cannot be sent"))
            .remedy(format!("use a size from {least} (room for numbers and times) to {MOST}"))),
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
