//! `mcast send`: sends datagrams to groups.

mod deliver;
mod payloads;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use mcast::{Rate, Sender, SenderBuilder};
use mcast_terminal::Console;

use crate::arguments::{
    BroadcastOption, Egress, parse_count, parse_dscp, parse_duration, parse_positive_size, parse_size,
    select_destinations, with_dscp,
};
use crate::exit::Outcome;
use crate::sending::{self, Target};
use payloads::Payloads;

/// Send datagrams to groups, or to hosts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct Arguments {
    /// Where to send: `GROUP[%INTERFACE]:PORT`, a range, a name (`mdns`) or a URL
    /// (`udp://GROUP:PORT`), or without multicast a host (`10.0.0.5:5000`); then the messages, one datagram each
    /// [default: standard input]
    #[arg(required = true, value_name = "GROUP:PORT… [MESSAGE…]")]
    words: Vec<OsString>,

    /// Messages, after `--`: then every word before is a group
    #[arg(last = true, value_name = "MESSAGE", hide = true)]
    messages: Vec<OsString>,

    #[command(flatten)]
    egress: Egress,

    #[command(flatten)]
    broadcast: BroadcastOption,

    /// Do not deliver to receivers on this host
    #[arg(long)]
    no_loopback: bool,

    /// Send from this port
    #[arg(long, value_name = "PORT", default_value = "0", hide_default_value = true)]
    source_port: u16,

    /// Set the DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "DSCP", value_parser = parse_dscp)]
    dscp: Option<u8>,

    /// Print the summary as a JSON object on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    content: Content,

    #[command(flatten)]
    timing: TimingOptions,
}

/// What to send.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to send")]
struct Content {
    /// Send this file: whole, or divided by --lines or --chunk
    #[arg(long, value_name = "FILE", conflicts_with = "random")]
    file: Option<PathBuf>,

    /// Send datagrams of SIZE random bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "hex")]
    random: Option<usize>,

    /// Messages (or lines) are hexadecimal: 48656c6c6f, or "48 65 6c 6c 6f"
    #[arg(long)]
    hex: bool,

    #[command(flatten)]
    division: Division,
}

/// How standard input or a file is divided into datagrams.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Division {
    /// One datagram per line, without the line end [default for standard input]
    #[arg(long)]
    lines: bool,

    /// One datagram with the whole input [default for a file]
    #[arg(long)]
    whole: bool,

    /// One datagram per SIZE bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_positive_size)]
    chunk: Option<usize>,
}

/// Options for rate and repetition.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How often and how fast")]
struct TimingOptions {
    /// Stop after N datagrams to each group; messages are repeated until then
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,

    /// Stop after TIME
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Time between datagrams; without --count until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "rate")]
    every: Option<Duration>,

    /// Pace evenly: 200kpps, or 10Mbit of payload; without --count until Ctrl-C
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
}

const USAGE: &str = "mcast send [OPTIONS] GROUP:PORT... [MESSAGE...]\n       mcast send [OPTIONS] GROUP:PORT... -- MESSAGE...";

const EXAMPLES: &str = "\
The first arguments are groups or hosts, up to the first one that is not an address; a name such as mdns is a
group only as the first argument. The rest are messages, as is everything after --. Exit status 1 if
the kernel refused a datagram.

Examples:
  mcast send 239.255.1.2:5000 hello                     one datagram
  mcast send 239.255.1.2:5000 -i lo hello               to this machine only
  mcast send 239.255.1.2:5000 tick --every 1s           until Ctrl-C
  ls | mcast send 239.255.1.2:5000                      one datagram per line
  mcast send 239.255.1.2:5000 --file Cargo.toml --chunk 1400
  mcast send 239.255.1.2:5000 --random 1316 --rate 10Mbit -W 5 -i lo
  mcast send '[ff15::1]:5000' --hex 48656c6c6f          IPv6, bytes in hexadecimal
  mcast send 10.0.0.5:5000 10.0.0.6:5000 hello          to two hosts, without multicast
  mcast send --broadcast 5000 -i eth0 hello             to all hosts on the link";

/// What to send, and where: the arguments, resolved.
struct Plan<'a> {
    targets: Vec<Target>,
    hop_limit: u8,
    /// Whether no `--ttl` is given, so that the hop limit is pointed out.
    is_default_reach: bool,
    builder: SenderBuilder,
    payloads: Payloads,
    timing: &'a TimingOptions,
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    deliver::run(plan(arguments, console)?, console)
}

fn plan<'a>(arguments: &'a Arguments, console: &Console) -> anyhow::Result<Plan<'a>> {
    let Arguments { egress, content, timing, broadcast, .. } = arguments;
    let split = deliver::split(&arguments.words, &arguments.messages, egress.families.only())?;
    let (hosts, groups) = broadcast.split(&split.groups, egress.families)?;
    let chosen = select_destinations(&groups, egress.families, console)?;
    let hop_limit = egress.hop_limit(chosen.hop_limit);
    // Without any, the system's is used for hosts.
    let given = egress.ttl.or(chosen.hop_limit);
    let builder = given.into_iter().fold(Sender::builder(), SenderBuilder::hop_limit);
    let builder = builder
        .broadcast(broadcast.broadcast)
        .loopback(!arguments.no_loopback)
        .source_port(arguments.source_port);
    Ok(Plan {
        targets: sending::resolve_all(&chosen.items, &hosts, &egress.interfaces)?,
        hop_limit,
        is_default_reach: egress.ttl.is_none(),
        builder: with_dscp(builder, arguments.dscp),
        payloads: Payloads::choose(&split.messages, content, timing)?,
        timing,
        json: arguments.json,
    })
}
