//! `mcast querier`: who asks hosts for their groups; or asks itself.

mod asking;
mod become_one;
mod event;
mod heard;
mod kernel;
mod listening;
mod places;
mod provoke;
mod table;

use std::time::Duration;

use mcast::InterfaceSelector;
use mcast_packet::gmp::querier::Settings;

use crate::arguments::{Families, parse_duration};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Show who asks hosts for their groups (IGMP, MLD), or be the one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// On this interface: a name, index or address; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    families: Families,

    /// End after so long [default: when a querier is known wherever one is needed, or after 130s]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Go on until Ctrl-C, and tell each query
    #[arg(long, conflicts_with = "timeout")]
    follow: bool,

    /// Do not wait for the next query: join a group that nobody uses and leave it again, which most
    /// queriers answer with a query within a second
    #[arg(long, conflicts_with = "be")]
    ask: bool,

    /// Print one JSON object for each event, and one for each querier
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    be: Become,
}

/// How to be the querier.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "To be the querier")]
struct Become {
    /// Ask, as long as nobody with a lower address does; needs -i, and CAP_NET_RAW
    #[arg(long = "become", requires = "interfaces")]
    be: bool,

    /// Ask each so often
    #[arg(long, value_name = "TIME", default_value = "125s", value_parser = parse_duration, requires = "be")]
    query_interval: Duration,

    /// Give hosts so long to answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, requires = "be")]
    response_interval: Duration,

    /// Let so many messages in a row be lost, less one
    #[arg(long, value_name = "N", default_value = "2", requires = "be")]
    robustness: u8,

    /// Ask in IGMPv2 and MLDv1, for switches and routers that know no other
    #[arg(long, requires = "be")]
    older: bool,
}

const EXAMPLES: &str = "\
A switch that snoops sends a group only where it was asked for, and forgets who asked (after 260 s)
unless a querier makes hosts say it again. Without one, streams stop minutes after they began.
Between two queries a network may rightly be silent for 125 s, and a querier counts as gone after 255 s:
what was not heard in a shorter time is not known. What the kernel's bridges know is told at once.

With --become it asks itself: general queries, and about a group that somebody leaves. It leaves the
asking to whoever has a lower address (RFC 3376, RFC 3810), takes over when that one falls silent,
and needs an IPv4 address for IGMP and a link-local one for MLD. When it ends, memberships last as long
as they would without it.
Status 1 if no querier is known where one is needed.

Examples:
  mcast querier                                 who asks, on all interfaces
  mcast querier -i eth0 --ask -W 5s             make it speak
  mcast querier -i eth0 --follow --json         every query, for programs
  sudo mcast querier -i eth0 --become           be the querier of a network that has none";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let settings = arguments.be.settings()?;
    let places = places::find(&arguments.interfaces, arguments.families)?;
    match arguments.be.be {
        true => become_one::run(arguments, settings, places, console),
        false => listening::run(arguments, &places, console),
    }
}

impl Become {
    fn settings(&self) -> anyhow::Result<Settings> {
        let settings = Settings::default()
            .with_robustness(self.robustness)
            .and_then(|settings| settings.with_intervals(self.query_interval, self.response_interval))
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(if self.older { settings.older() } else { settings })
    }
}
