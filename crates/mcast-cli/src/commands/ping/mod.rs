//! `mcast ping`: shows which hosts answer, their distance and delay, and whether multicast or unicast fails.

mod output;
mod probe;
mod reply;
mod unicast;

use std::time::Duration;

use mcast::InterfaceSelector;
use mcast_measure::wire::PROBE_LENGTH;

use crate::arguments::{Families, parse_dscp, parse_duration, parse_percent, parse_size};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Ping a group, by multicast and by unicast
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to ping: `GROUP[%INTERFACE]:PORT`, or a name; with --reply what to join
    #[arg(value_name = "GROUP:PORT")]
    group: String,

    /// Answer pings, until Ctrl-C
    #[arg(long, conflicts_with_all = ["count", "every", "wait", "size", "expect", "max_loss", "ttl", "dscp", "json"])]
    reply: bool,

    /// Use this interface: a name, index or address, or `all`; repeatable
    /// [default: the route to the group; with --reply all]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network; 0 is this host]
    #[arg(short, long, value_name = "HOPS")]
    ttl: Option<u8>,

    /// Set the DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    /// With --reply: accept only this source, or with a `!` in front all others; repeatable
    #[arg(short, long = "source", value_name = "SOURCE", value_delimiter = ',', requires = "reply")]
    sources: Vec<String>,

    #[command(flatten)]
    families: Families,

    /// Payload bytes per probe, at least 56; answers have the same length
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64")]
    size: usize,

    /// Print one JSON object per responder
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    timing: TimingOptions,

    #[command(flatten)]
    criteria: SuccessCriteria,
}

/// The interval of probes, and limits.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How often, and when to stop")]
struct TimingOptions {
    /// Stop after N probes [default: until Ctrl-C]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Time between probes, at least 10ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    every: Duration,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Wait at most TIME for an answer
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    wait: Duration,
}

/// The criteria of success.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is success")]
struct SuccessCriteria {
    /// Exit status 1 if fewer than N answer [default: 1]
    #[arg(long, value_name = "N")]
    expect: Option<usize>,

    /// Exit status 1 if multicast to one of them loses more than PERCENT
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    max_loss: Option<f64>,
}

const EXAMPLES: &str = "\
Each probe is sent to the group and also to each responder by unicast, so that loss and round trips
of both can be compared. Hops are counted on the way to the responder. Answers have the length of
the probes and are limited in rate.

Examples:
  mcast ping 239.255.1.2:5000 --reply                 on every host that should answer
  mcast ping 239.255.1.2:5000                         one probe per second, until Ctrl-C
  mcast ping 239.255.1.2:5000 -c 5 --every 200ms      five probes
  mcast ping 239.255.1.2:5000 -t 8 -c 3               across routers
  mcast ping 239.255.1.2:5000 -c 10 --expect 3 --max-loss 0    for scripts
  mcast ping 239.255.1.2:5000 -c 5 --json             for programs";

/// The minimum interval; responders do not answer faster probes.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// The largest UDP payload over IPv6; the system reports errors for smaller limits.
const MAX_LENGTH: usize = 65_527;

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.reply {
        return reply::run(arguments, console);
    }
    if !(PROBE_LENGTH..=MAX_LENGTH).contains(&arguments.size) {
        let remedy = format!("use a size from {PROBE_LENGTH} to {MAX_LENGTH}: an answer must fit in");
        return Err(Failure::usage(format!("a probe of {} bytes cannot be sent", arguments.size))
            .remedy(remedy)
            .into());
    }
    if arguments.timing.every < MIN_INTERVAL {
        return Err(Failure::usage("this is faster than responders answer")
            .remedy("use at least 10ms; `mcast perf send` sends faster")
            .into());
    }
    probe::run(arguments, console)
}
