//! `mcast ping`: shows which hosts answer, their distance and delay, and whether multicast or unicast fails.

mod json;
mod session;
mod text;

use std::time::Duration;

use mcast::{Destination, InterfaceSelector};
use mcast_measure::ProbeCase;
use mcast_measure::wire::PROBE_LENGTH;

use crate::arguments::{
    Families, parse_dscp, parse_duration, parse_percent, parse_size, select_destinations, select_memberships,
};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::probe;
use crate::sending::{Target, targets};

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

    /// Payload bytes per probe, at least 62; answers have the same length
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
#[derive(Clone, Copy, Debug, clap::Args)]
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

/// What to ping and how: the arguments, resolved.
#[derive(Debug)]
struct Plan {
    destination: Destination,
    targets: Vec<Target>,
    case: ProbeCase,
    traffic_class: Option<u8>,
    /// Whether the hop limit is the default, which is then pointed out.
    is_default_reach: bool,
    every: Duration,
    wait: Duration,
    count: Option<u64>,
    timeout: Option<Duration>,
    criteria: SuccessCriteria,
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if arguments.reply {
        reply(arguments, console)
    } else {
        session::run(&plan(arguments, console)?, console)
    }
}

fn plan(arguments: &Arguments, console: &Console) -> anyhow::Result<Plan> {
    let Arguments { timing, size, .. } = arguments;
    if !(PROBE_LENGTH..=MAX_LENGTH).contains(size) {
        let remedy = format!("use a size from {PROBE_LENGTH} to {MAX_LENGTH}: an answer must fit in");
        return Err(Failure::usage(format!("a probe of {size} bytes cannot be sent")).remedy(remedy).into());
    }
    if timing.every < MIN_INTERVAL {
        return Err(Failure::usage("this is faster than responders answer")
            .remedy("use at least 10ms; `mcast perf send` sends faster")
            .into());
    }
    let chosen = select_destinations(std::slice::from_ref(&arguments.group), arguments.families, console)?;
    let [destination] = chosen.items.as_slice() else {
        return Err(Failure::usage(format!("\"{}\" is more than one group and port", arguments.group))
            .remedy("ping one at a time")
            .into());
    };
    let hop_limit = arguments.ttl.or(chosen.hop_limit);
    Ok(Plan {
        destination: destination.clone(),
        targets: targets::resolve(&chosen.items, &arguments.interfaces)?,
        case: ProbeCase { size: *size, hop_limit: hop_limit.unwrap_or(1) },
        traffic_class: arguments.dscp.map(|dscp| dscp << 2),
        is_default_reach: hop_limit.is_none(),
        every: timing.every,
        wait: timing.wait,
        count: timing.count,
        timeout: timing.timeout,
        criteria: arguments.criteria,
        json: arguments.json,
    })
}

fn reply(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let group = std::slice::from_ref(&arguments.group);
    let Arguments { interfaces, sources, families, .. } = arguments;
    let chosen = select_memberships(group, interfaces, sources, *families, console)?;
    let mut families = chosen.items.iter().map(|membership| membership.address.group.family());
    let first = families.next();
    let Some(family) = first.filter(|first| families.all(|family| family == *first)) else {
        return Err(Failure::usage(format!("\"{}\" is both IPv4 and IPv6", arguments.group))
            .remedy("choose with -4 or -6")
            .into());
    };
    probe::respond(chosen.items, Some(family), arguments.timing.timeout, console)
}
