//! `mcast perf`: how fast, how much of it arrives, how late, and where the rest went.

mod clock;
mod counters;
mod figures;
mod message;
mod recv;
mod send;

use crate::console::Console;
use crate::exit::Outcome;

pub(super) use clock::{random_number, unix_now};

/// Measure rates, loss, reordering, jitter and delays
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    side: Side,
}

#[derive(Debug, clap::Subcommand)]
enum Side {
    Recv(Box<recv::Arguments>),
    Send(Box<send::Arguments>),
}

const EXAMPLES: &str = "\
Of each pair the first line runs on one host (or several), the second on another.

Examples:
  mcast perf recv 239.255.1.2:5000
  mcast perf send 239.255.1.2:5000 --size 1400 --duration 5s          as fast as it goes

  mcast perf recv 239.255.1.2:5000
  mcast perf send 239.255.1.2:5000 --sweep                            where does loss start?

  mcast perf recv 239.255.1.2:5000 --reply
  mcast perf send 239.255.1.2:5000 --latency --size 64                how long does it take?

  mcast perf recv 239.255.1.2:5000 --stream
  mcast perf send 239.255.1.2:5000 --stream --rate 20kpps             messages that all arrive";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.side {
        Side::Recv(arguments) => recv::run(arguments, console),
        Side::Send(arguments) => send::run(arguments, console),
    }
}
