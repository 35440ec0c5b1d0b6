//! `mcast querier`: shows queriers, or acts as one.

mod active;
mod event;
mod interfaces;
mod listen;
mod table;

use std::time::Duration;

use mcast::InterfaceSelector;
use mcast_packet::gmp::querier::QuerierSettings;

use crate::arguments::{Families, parse_duration};
use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Show IGMP and MLD queriers, or act as one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Use this interface: a name, index or address; repeatable [default: all that are up and can multicast, but not
    /// loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    families: Families,

    /// Stop after TIME [default: when a querier is known wherever one is needed, or after 130s]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Keep running and report each query, until Ctrl-C
    #[arg(long, conflicts_with = "timeout")]
    watch: bool,

    /// Provoke a query: join an unused group and leave it again, which most queriers answer with a query
    /// within a second
    #[arg(long, conflicts_with = "be")]
    provoke: bool,

    /// Print one JSON object per event and per querier
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    be: QuerierOptions,
}

/// Options for acting as the querier.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Act as querier")]
struct QuerierOptions {
    /// Send queries unless a querier with a lower address does; needs -i and CAP_NET_RAW
    #[arg(long = "become", requires = "interfaces")]
    be: bool,

    /// Time between general queries
    #[arg(long, value_name = "TIME", default_value = "125s", value_parser = parse_duration, requires = "be")]
    query_interval: Duration,

    /// Time for hosts to answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, requires = "be")]
    response_interval: Duration,

    /// Tolerate N-1 lost messages in a row
    #[arg(long, value_name = "N", default_value = "2", requires = "be")]
    robustness: u8,

    /// Use IGMPv2 and MLDv1, for switches and routers that support nothing newer
    #[arg(long, requires = "be")]
    older: bool,
}

const EXAMPLES: &str = "\
A snooping switch forwards a group only to ports with members, and forgets members after 260 s
unless a querier makes hosts report again. Without a querier, streams stop minutes after they
started. Queries are normally 125 s apart, and a querier is considered gone after 255 s without one,
so a shorter observation cannot show that there is no querier. What the kernel's bridges know is
shown immediately.

With --become, it sends general queries, and group-specific queries when a host leaves a group. It
stops while a querier with a lower address is active (RFC 3376, RFC 3810), and needs an IPv4 address
for IGMP and a link-local address for MLD. When it ends, memberships expire as they would without
it.

Exit status 1 if no querier is known where one is needed.

Examples:
  mcast querier                                 queriers on all interfaces
  mcast querier -i eth0 --provoke -W 5s         provoke a query
  mcast querier -i eth0 --watch --json          every query, for programs
  sudo mcast querier -i eth0 --become           act as querier in a network without one";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let settings = arguments.be.settings()?;
    let targets = interfaces::find(&arguments.interfaces, arguments.families)?;
    match arguments.be.be {
        true => active::run(arguments, settings, targets, console),
        false => listen::run(arguments, &targets, console),
    }
}

impl QuerierOptions {
    fn settings(&self) -> anyhow::Result<QuerierSettings> {
        let settings = QuerierSettings::default()
            .with_robustness(self.robustness)
            .and_then(|settings| settings.with_intervals(self.query_interval, self.response_interval))
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(if self.older { settings.older() } else { settings })
    }
}
