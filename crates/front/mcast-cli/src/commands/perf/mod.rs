//! `mcast perf`: measures rate, loss and delay, and shows where loss happened.

mod figures;
mod recv;
mod send;

use mcast_terminal::Console;

use crate::exit::Outcome;

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
The first command of each pair runs on one or several hosts, the second on another.

Examples:
  mcast perf recv 239.255.1.2:5000
  mcast perf send 239.255.1.2:5000 --size 1400 --duration 5s          as fast as possible

  mcast perf recv 239.255.1.2:5000
  mcast perf send 239.255.1.2:5000 --sweep                            at which rate does loss start?

  mcast perf recv 239.255.1.2:5000 --reply
  mcast perf send 239.255.1.2:5000 --latency --size 64                what is the delay?

  mcast perf recv 239.255.1.2:5000 --stream
  mcast perf send 239.255.1.2:5000 --stream --rate 20kpps             messages with repair";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.side {
        Side::Recv(arguments) => recv::run(arguments, console),
        Side::Send(arguments) => send::run(arguments, console),
    }
}
