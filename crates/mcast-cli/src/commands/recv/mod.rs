//! `mcast recv`: receives the datagrams of groups.

mod execute;
mod format;
mod listen;

use mcast::{Receiver, ReceiverBuilder};

use crate::arguments::{Limits, MembershipArguments, parse_positive_size, parse_size};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::receiving::{print_buffer, print_memberships};
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

    /// Request a receive buffer of SIZE per socket [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    show: OutputOptions,
}

/// What to do with the datagrams.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputOptions {
    /// How to print datagrams: line, text, hex, raw or json; see below
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, conflicts_with_all = ["json", "meter", "discard"])]
    format: Option<Format>,

    /// Print one JSON object per datagram; with --discard one with the summary
    #[arg(long, conflicts_with = "meter")]
    json: bool,

    /// Print an asterisk per SIZE bytes of payload
    #[arg(long, value_name = "SIZE", value_parser = parse_positive_size, conflicts_with = "discard")]
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
  hex    the same line, then the payload in hexadecimal
  raw    only the bytes of the payload
  json   the same as --json: time, group, port, interface, source, source_port, ttl, dscp,
         length, lost (since the previous line), truncated, and text or base64

Environment of --exec: MCAST_GROUP, MCAST_PORT, MCAST_INTERFACE, MCAST_SOURCE,
MCAST_SOURCE_PORT, MCAST_TTL, MCAST_DSCP, MCAST_TIME, MCAST_LENGTH, MCAST_LOST, MCAST_TRUNCATED.

Examples:
  mcast recv 239.255.1.2:5000                        on all interfaces, until Ctrl-C
  mcast recv 239.255.1.2:5000 -i lo -c 1 -W 5        one datagram within 5 s, or exit status 1
  mcast recv 192.0.2.7@232.1.2.3:5000                from one source only (SSM)
  mcast recv mdns ssdp                               what services announce here
  mcast recv 239.255.1.2:5000 --json                 for programs
  mcast recv 239.255.1.2:5000 --exec hostname --exec-reply    answer `mcast ask`";

/// What to receive, and what to do with it: the arguments, resolved.
struct Plan<'a> {
    builder: ReceiverBuilder,
    /// The requested receive buffer.
    buffer: Option<usize>,
    limits: &'a Limits,
    show: &'a OutputOptions,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Plan { builder, buffer, limits, show } = arguments.plan(console)?;
    let receiver = builder.build_raising_limit()?;
    let interrupt = Interrupt::waking(receiver.waker())?;
    print_memberships(&receiver.memberships(), console);
    print_buffer(receiver.receive_buffer(), buffer, " per socket", console);
    Listener::new(limits, show, receiver, interrupt, console).run()
}

impl Arguments {
    fn plan(&self, console: &Console) -> anyhow::Result<Plan<'_>> {
        let Self { joining, buffer, limits, show, .. } = self;
        // Coalesced buffers are faster, but prevent an exact count of drops.
        let prefers_speed = show.discard && limits.max_loss.is_none();
        let builder = Receiver::builder()
            .join_all(joining.selected(console)?.items)
            .follow(self.follow)
            .gro(prefers_speed)
            .allow_any_source(joining.any_source);
        let builder = match *buffer {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        Ok(Plan { builder, buffer: *buffer, limits, show })
    }
}
