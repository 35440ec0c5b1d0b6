//! `mcast recv`: receives the datagrams of groups.

mod execute;
mod format;
mod listen;

use mcast::Receiver;

use crate::arguments::{Limits, MembershipArguments, parse_size};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::{bytes, count, count_of};
use format::Format;
use listen::Listener;

/// Receive the datagrams of groups
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    joining: MembershipArguments,

    /// Follow interfaces that appear, vanish or change; wait for missing ones
    #[arg(long)]
    follow: bool,

    /// Request SIZE of receive buffer per socket [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    show: OutputOptions,
}

/// What to do with the datagrams.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to do with them")]
struct OutputOptions {
    /// How to print datagrams: line, text, hex, raw or json; see below
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, conflicts_with_all = ["json", "meter", "discard"])]
    format: Option<Format>,

    /// Print one JSON object per datagram; with --discard one with the summary
    #[arg(long, conflicts_with = "meter")]
    json: bool,

    /// Print an asterisk per SIZE bytes of payload
    #[arg(long, value_name = "SIZE", value_parser = parse_meter, conflicts_with = "discard")]
    meter: Option<usize>,

    /// Print nothing, only count
    #[arg(long)]
    discard: bool,

    /// Run this shell command per datagram: the payload is its standard input, and MCAST_GROUP,
    /// MCAST_SOURCE and more are in its environment
    #[arg(long, value_name = "COMMAND", conflicts_with = "discard")]
    exec: Option<String>,

    /// Send the output of the command back to the datagram's source
    #[arg(long, requires = "exec")]
    exec_reply: bool,

    /// Run at most N commands at once
    #[arg(long, value_name = "N", default_value = "16", requires = "exec", value_parser = clap::value_parser!(u16).range(1..))]
    exec_limit: u16,
}

const EXAMPLES: &str = "\
Formats:
  line   time (UTC), source, group, interface, TTL, length, and the payload as text (default)
  text   only the payload as text, one line per datagram
  hex    a line, and the payload in hexadecimal
  raw    only the bytes of the payload
  json   the same as --json: time, group, port, interface, source, source_port, ttl, dscp,
         length, lost (since the line before), truncated, and text or base64

Environment of --exec: MCAST_GROUP, MCAST_PORT, MCAST_INTERFACE, MCAST_SOURCE,
MCAST_SOURCE_PORT, MCAST_TTL, MCAST_DSCP, MCAST_TIME, MCAST_LENGTH, MCAST_LOST, MCAST_TRUNCATED.

Examples:
  mcast recv 239.255.1.2:5000                        on all interfaces, until Ctrl-C
  mcast recv 239.255.1.2:5000 -i lo -c 1 -W 5        one datagram within 5 s, or exit status 1
  mcast recv 192.0.2.7@232.1.2.3:5000                from one source only (SSM)
  mcast recv mdns ssdp                               what services announce here
  mcast recv 239.255.1.2:5000 --json                 for programs
  mcast recv 239.255.1.2:5000 --exec hostname --exec-reply    answer `mcast ask`";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let receiver = open(arguments, console)?;
    let waker = receiver.waker();
    let interrupt = Interrupt::catch(move || {
        // If the waker fails, the wait ends with the next datagram.
        let _ = waker.wake();
    })?;
    print_start(arguments, &receiver, console);
    Listener::new(arguments, receiver, interrupt, console).run()
}

impl Arguments {
    /// Returns whether speed matters more than an exact count of drops, which coalesced buffers prevent.
    fn prefers_speed(&self) -> bool {
        self.show.discard && self.limits.max_loss.is_none()
    }
}

fn open(arguments: &Arguments, console: &Console) -> anyhow::Result<Receiver> {
    let chosen = arguments.joining.selected(console)?;
    let builder = Receiver::builder()
        .join_all(chosen.items)
        .follow(arguments.follow)
        .gro(arguments.prefers_speed())
        .allow_any_source(arguments.joining.any_source);
    let builder = match arguments.buffer {
        Some(bytes) => builder.receive_buffer(bytes),
        None => builder,
    };
    Ok(builder.build_raising_limit()?)
}

/// Prints the memberships, and whether the requested buffer was granted.
fn print_start(arguments: &Arguments, receiver: &Receiver, console: &Console) {
    const MAX_LISTED: usize = 8;

    let statuses = receiver.memberships();
    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        statuses.iter().for_each(|status| console.note(status));
    } else {
        let joined = statuses.iter().filter(|status| status.is_joined()).count();
        console.note(format_args!(
            "joined {} of {} (-v names them)",
            count(joined as u64),
            count_of(statuses.len() as u64, "membership")
        ));
        statuses.iter().filter(|status| !status.is_joined()).for_each(|status| console.warn(status));
    }
    let granted = receiver.receive_buffer();
    match arguments.buffer {
        Some(asked) if granted < asked => console.warn(format_args!(
            "the system granted {} of the {} of receive buffer (Linux: raise net.core.rmem_max)",
            count(granted as u64),
            bytes(asked as u64)
        )),
        _ => console.detail(format_args!("receive buffer: {} per socket", bytes(granted as u64))),
    }
}

fn parse_meter(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        0 => Err("must be at least 1".into()),
        size => Ok(size),
    }
}
