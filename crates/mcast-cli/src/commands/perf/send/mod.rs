//! `mcast perf send`: sends numbered datagrams, and tells what its receivers report.

mod course;
mod latency;
mod load;
mod outcome;
mod stream;
mod sweep;
mod worker;

use std::time::Duration;

use mcast::{InterfaceSelector, Rate, Sender, SenderBuilder};

use crate::arguments::{
    Families, chosen_destinations, parse_dscp, parse_duration, parse_percent, parse_rate, parse_size,
};
use crate::commands::send::targets::{self, Target};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use course::{Course, Plan};
use mcast_probe::wire::{HEADER_LENGTH, PING_LENGTH};

/// Send numbered datagrams, and tell what receivers report
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where to: `GROUP[%INTERFACE]:PORT`, a range, or a name
    #[arg(required = true, value_name = "GROUP:PORT")]
    groups: Vec<String>,

    /// Leave by this interface: a name, index or address, or `all`; repeatable
    /// [default: the route to the group]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network; 0 is this host]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Keep it from receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    #[command(flatten)]
    families: Families,

    /// Bytes of payload a datagram, from 32 [default: 1400; with --latency 64]; with --stream
    /// of a message, from 40 [default: 1344]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<usize>,

    /// How long to send; with --sweep at each rate [default: 10s; with --sweep 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,

    /// End after so many datagrams to each group, or so many pings
    #[arg(short, long, value_name = "N", conflicts_with = "sweep", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// So many a second in all, evenly: 200kpps, or 10Mbit of payload; with --sweep where to begin
    /// [default: as fast as it goes; with --sweep 1000pps]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<Rate>,

    /// So many streams to each group, a socket and a thread each
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    streams: u16,

    /// Hand datagrams to the system one by one, not in trains (UDP GSO)
    #[arg(long)]
    no_gso: bool,

    /// Print JSON objects, and nothing each second
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    measure: Measure,

    #[command(flatten)]
    demand: Demand,

    #[command(flatten)]
    messages: stream::Messages,
}

/// What else to find out than what arrives.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to find out")]
struct Measure {
    /// Raise the rate until loss starts; say where that is, and which counter shows it
    #[arg(long, conflicts_with = "latency")]
    sweep: bool,

    /// Play ping-pong with one `mcast perf recv --reply`: how long does a datagram take?
    #[arg(long)]
    latency: bool,

    /// Wait for each pong awake: shorter delays, for a processor's time
    #[arg(long, requires = "latency")]
    spin: bool,
}

/// What is success.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is success")]
struct Demand {
    /// Status 1 if fewer receivers report; with --stream begin when so many are there [there: 1]
    #[arg(long, value_name = "N", conflicts_with = "latency")]
    expect: Option<u64>,

    /// Status 1 if a receiver, or a ping-pong, lost a larger share; with --sweep what may be lost
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_loss: Option<f64>,
}

const EXAMPLES: &str = "\
It opens by saying what it is going to send, and closes by saying how much it sent, again and again
until the receivers have reported. Each of them is a row of the table at the end.

On another host runs `mcast perf recv 239.255.1.2:5000`; for --latency with --reply.

Examples:
  mcast perf send 239.255.1.2:5000 --size 1400 --duration 5s      as fast as it goes
  mcast perf send 239.255.1.2:5000 --rate 200kpps --max-loss 0    status 1 if one is lost
  mcast perf send 239.255.1.2:5000 --sweep                        where does loss start?
  mcast perf send 239.255.1.2:5000 --latency --spin               how long does it take?
  mcast perf send 239.255.1.2:5000 --stream --rate 20kpps         messages, as `mcast publish` does";

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.messages.stream {
        return stream::run(arguments, &Interrupt::catch(|| {})?, console);
    }
    let size = checked_size(arguments)?;
    let chosen = chosen_destinations(&arguments.groups, arguments.families, console)?;
    let targets = targets::resolve(&chosen.items, &arguments.interfaces)?;
    let hop_limit = arguments.ttl.or(chosen.hop_limit).unwrap_or(1);
    check_streams(&targets, arguments.streams)?;
    let interrupt = Interrupt::catch(|| {})?;
    targets::tell(&targets, hop_limit, arguments.ttl.is_none() && chosen.hop_limit.is_none(), console);
    let open = || sender(arguments, hop_limit).build();
    if arguments.measure.latency {
        return latency::run(arguments, &targets, size, &open()?, &interrupt, console);
    }
    let course = Course::new(targets, arguments.streams, size, open)?;
    if arguments.measure.sweep {
        return sweep::run(arguments, course, size, &interrupt, console);
    }
    let plan = Plan {
        rate: arguments.rate,
        duration: arguments.count.is_none().then(|| arguments.duration.unwrap_or(Duration::from_secs(10))),
        count: arguments.count,
        progress: !arguments.json,
    };
    outcome::run(arguments, course, &plan, &interrupt, console)
}

fn sender(arguments: &Arguments, hop_limit: u8) -> SenderBuilder {
    let builder = Sender::builder()
        .hop_limit(hop_limit)
        .loopback(!arguments.no_loopback)
        .segmentation(!arguments.no_gso)
        // Of an answer to a load nothing but its words is read; a ping-pong would wait for more.
        .details(false);
    match arguments.dscp {
        Some(dscp) => builder.traffic_class(dscp << 2),
        None => builder,
    }
}

fn checked_size(arguments: &Arguments) -> Result<usize, Failure> {
    /// What UDP carries over IPv6; the system says where less fits.
    const MOST: usize = 65_527;

    let (least, default) = match arguments.measure.latency {
        true => (PING_LENGTH, 64),
        false => (HEADER_LENGTH, 1_400),
    };
    match arguments.size.unwrap_or(default) {
        size if (least..=MOST).contains(&size) => Ok(size),
        size => Err(Failure::usage(format!("a datagram of {size} bytes cannot be sent"))
            .remedy(format!("take a size from {least} (numbers and times have to fit in) to {MOST}"))),
    }
}

/// Each target has a number for each of its streams.
fn check_streams(targets: &[Target], streams: u16) -> Result<(), Failure> {
    const MOST: usize = 20_000;

    match targets.len() * usize::from(streams) {
        all if all <= MOST => Ok(()),
        all => Err(Failure::usage(format!("{all} streams are more than receivers follow"))
            .remedy(format!("take fewer groups or --streams: {MOST} in all"))),
    }
}
