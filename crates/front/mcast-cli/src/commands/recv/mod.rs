//! `mcast recv`: receives the datagrams of groups.

mod format;
mod listen;

#[cfg(feature = "schema")]
pub(super) use format::schemas;

#[cfg(target_os = "linux")]
use amt as platform;
#[cfg(not(target_os = "linux"))]
use without_amt as platform;

use std::collections::BTreeSet;
use std::sync::Arc;

use mcast::{HostAddr, Membership, Receiver, ReceiverBuilder, SourceFilter};
use mcast_relay::amt::AmtRelayName;
use mcast_terminal::Console;

use crate::arguments::{
    BroadcastOption, Limits, MembershipArguments, WireOption, parse_positive_size, parse_size,
};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::receiving::{WireNotes, check_hosts, listen_at, print_buffer, print_hosts, print_memberships};
use format::Format;
use listen::{Input, Listener};
use platform::AmtInput;

/// Receive the datagrams of groups, or those to this host
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("memberships", |argument| argument.help(WHAT)))]
pub(crate) struct Arguments {
    #[command(flatten)]
    joining: MembershipArguments,

    #[command(flatten)]
    broadcast: BroadcastOption,

    /// Follow interfaces that appear, vanish or change; wait for missing ones
    #[arg(long)]
    follow: bool,

    /// Request a receive buffer of SIZE per socket [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<usize>,

    #[command(flatten)]
    wire: WireOption,

    /// Receive through this AMT relay (RFC 7450) instead of from interfaces: an address, a name, `driad` for the one
    /// that the source's operator names in the DNS, or `anycast`
    #[arg(long, value_name = "RELAY", conflicts_with_all = ["interfaces", "follow", "buffer", "wire", "exec_reply"])]
    amt: Option<AmtRelayName>,

    #[command(flatten)]
    pub(super) limits: Limits,

    #[command(flatten)]
    show: ReceiveOutput,
}

/// What to do with the datagrams.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct ReceiveOutput {
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

    /// Run this shell command per datagram, with the payload as standard input, and MCAST_GROUP, MCAST_SOURCE and more
    /// in the environment
    #[arg(long, value_name = "COMMAND", conflicts_with = "discard")]
    exec: Option<String>,

    /// Send the output of the command back to the datagram's source
    #[arg(long, requires = "exec")]
    exec_reply: bool,

    /// Run at most N commands at once
    #[arg(long, value_name = "N", default_value = "16", requires = "exec", value_parser = clap::value_parser!(u16).range(1..))]
    exec_limit: u16,
}

const WHAT: &str = "What to join: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, a range (`239.255.1.0/28:5000`, \
                    `239.255.1.3+10:5000`, `…:5000-5003`), a name (`mdns`, `ssdp`, `ptp`), a URL \
                    (`udp://@GROUP:PORT`), a session description (`FILE.sdp`), or the name of an announced session or \
                    stream; or without multicast an address of this host (`0.0.0.0:5000` for all of them)";

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
  mcast recv 192.0.2.7@232.1.2.3:5000 --amt driad    from a network without multicast
  mcast recv 239.255.1.2:5000 --json                 for programs
  mcast recv 0.0.0.0:5000                            unicast and broadcasts to this host
  mcast recv --broadcast 5000 -i eth0                only broadcasts, beside other programs
  mcast recv 239.255.1.2:5000 --exec hostname --exec-reply    answer `mcast ask`";

/// What to receive, and what to do with it: the arguments, resolved.
struct ReceivePlan<'a> {
    builder: ReceiverBuilder,
    /// The addresses to listen at.
    hosts: Vec<HostAddr>,
    /// The requested receive buffer.
    buffer: Option<usize>,
    limits: &'a Limits,
    show: &'a ReceiveOutput,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    if let Some(relay) = &arguments.amt {
        let input = AmtInput::open(relay, arguments.memberships_of_amt(relay, console)?, console)?;
        let interrupt = input.interrupt.clone();
        let Arguments { limits, show, .. } = arguments;
        return Listener::new(limits, show, Input::Amt(Box::new(input)), console).run(interrupt);
    }
    let ReceivePlan { builder, hosts, buffer, limits, show } = arguments.plan(console)?;
    let receiver = Arc::new(builder.build_raising_limit()?);
    let interrupt = Interrupt::waking(receiver.waker())?;
    print_memberships(&receiver.memberships(), console);
    print_hosts(&hosts, console);
    print_buffer(receiver.receive_buffer(), buffer, " per socket", console);
    let mut wire = WireNotes::print(receiver.wire_status(), console);
    let input = Input::Groups(Arc::clone(&receiver));
    let outcome = Listener::new(limits, show, input, console).run(interrupt);
    wire.update(receiver.wire_status(), console);
    outcome
}

impl Arguments {
    fn memberships_of_amt(&self, relay: &AmtRelayName, console: &Console) -> anyhow::Result<Vec<Membership>> {
        let memberships = self.joining.selected(console)?.items;
        let mut sources = BTreeSet::new();
        for membership in &memberships {
            let is_any = matches!(membership.sources, SourceFilter::Exclude(_));
            if membership.interface.is_some() {
                let problem =
                    format!("{membership}: a relay of AMT sends through a tunnel, and not on an interface");
                return Err(Failure::usage(problem).remedy("remove the interface").into());
            }
            if is_any && membership.address.group.is_source_specific() && !self.joining.any_source {
                let problem = format!("{membership}: the group is source-specific and no source was given");
                return Err(Failure::usage(problem).remedy("use SOURCE@GROUP:PORT, or --any-source").into());
            }
            sources.extend(membership.sources.sources().filter(|_| !is_any));
        }
        match relay {
            AmtRelayName::Driad if sources.len() != 1 => Err(Failure::usage(
                "--amt driad finds the relay of one source, and the memberships have none or several",
            )
            .remedy("use SOURCE@GROUP:PORT, with one source per command")
            .into()),
            _ => Ok(memberships),
        }
    }

    fn plan(&self, console: &Console) -> anyhow::Result<ReceivePlan<'_>> {
        let Self { joining, broadcast, buffer, limits, show, .. } = self;
        let (hosts, memberships) = joining.selected_with_hosts(*broadcast, console)?;
        check_hosts(self.wire.policy(), &hosts, console)?;
        // Coalesced buffers are faster, but prevent an exact count of drops.
        let prefers_speed = show.discard && limits.max_loss.is_none();
        let builder = Receiver::builder()
            .join_all(memberships.items)
            .follow(self.follow)
            .gro(prefers_speed)
            .wire(self.wire.policy())
            .allow_any_source(joining.any_source);
        let builder = listen_at(&hosts, *broadcast, builder);
        let builder = match *buffer {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        Ok(ReceivePlan { builder, hosts, buffer: *buffer, limits, show })
    }
}

#[cfg(target_os = "linux")]
mod amt {
    //! `--amt`: receives through a relay of AMT.

    use std::time::{Duration, Instant};

    use mcast::{Batch, InterfaceIndex, Membership, Statistics};
    use mcast_relay::amt::{AmtRelayName, GatewayCounts, GatewayEvent};
    use mcast_relay::driver::AmtReceiver;
    use mcast_terminal::Console;

    use crate::interrupt::Interrupt;
    use crate::output::count;

    /// A relay of AMT as an input.
    pub(super) struct AmtInput<'a> {
        receiver: AmtReceiver,
        name: AmtRelayName,
        console: &'a Console,
        pub(super) interrupt: Interrupt,
    }

    impl<'a> AmtInput<'a> {
        /// The interface of datagrams that arrive through the tunnel.
        pub(super) const INTERFACE: InterfaceIndex = AmtReceiver::INTERFACE;

        /// Starts to look for the relay.
        pub(super) fn open(
            name: &AmtRelayName,
            memberships: Vec<Membership>,
            console: &'a Console,
        ) -> anyhow::Result<Self> {
            let receiver = AmtReceiver::open(name.clone(), memberships)?;
            let waker = receiver.waker();
            // If the waker fails, the wait ends with the next datagram.
            let interrupt = Interrupt::catch(move || drop(waker.wake()))?;
            console.detail(format_args!("looking for the AMT relay {name}"));
            Ok(Self { receiver, name: name.clone(), console, interrupt })
        }

        /// Waits for datagrams for at most this time. Returns 0 after it and after an interrupt.
        pub(super) fn fill(&mut self, batch: &mut Batch, left: Option<Duration>) -> anyhow::Result<usize> {
            let end = left.and_then(|left| Instant::now().checked_add(left));
            loop {
                let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                let received = self.receiver.receive(batch, left)?;
                while let Some(event) = self.receiver.next_event() {
                    self.report(event);
                }
                if received > 0 || left == Some(Duration::ZERO) || self.interrupt.has_arrived() {
                    return Ok(received);
                }
            }
        }

        pub(super) fn statistics(&self) -> Statistics {
            self.receiver.statistics()
        }

        /// Ends the tunnel, and reports what has arrived in it that was not valid.
        pub(super) fn stop(&mut self) {
            self.receiver.stop();
            let GatewayCounts { invalid_messages, from_others, fragments, invalid_data, .. } =
                self.receiver.counts();
            let counts = [
                (invalid_messages, "invalid AMT messages"),
                (from_others, "not from the relay"),
                (fragments, "fragments"),
                (invalid_data, "damaged"),
            ];
            let dropped: Vec<_> = counts
                .iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, what)| format!("{what}: {}", count(*number)))
                .collect();
            if !dropped.is_empty() {
                self.console.warn(format_args!("dropped from the tunnel: {}", dropped.join(", ")));
            }
        }

        fn report(&self, event: GatewayEvent) {
            let name = &self.name;
            match event {
                GatewayEvent::Connected { relay } => {
                    self.receiver.memberships().iter().for_each(|membership| {
                        self.console
                            .note(format_args!("joined {membership} through the AMT relay {}", relay.ip()));
                    });
                }
                GatewayEvent::Lost { relay, failure } => {
                    self.console.warn(format_args!(
                        "the AMT relay {} {failure}: looking for another one",
                        relay.ip()
                    ));
                }
                GatewayEvent::NoRelay => {
                    self.console.warn(format_args!("no AMT relay answers at {name}: trying again"));
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod without_amt {
    //! Systems on which gateways of AMT do not run.

    use std::convert::Infallible;
    use std::marker::PhantomData;
    use std::time::Duration;

    use mcast::{Batch, InterfaceIndex, Membership, Statistics};
    use mcast_relay::amt::AmtRelayName;
    use mcast_terminal::Console;

    use crate::exit::Failure;
    use crate::interrupt::Interrupt;

    /// A relay of AMT as an input, of which there is none.
    pub(super) struct AmtInput<'a> {
        none: Infallible,
        pub(super) interrupt: Interrupt,
        console: PhantomData<&'a Console>,
    }

    impl<'a> AmtInput<'a> {
        pub(super) const INTERFACE: InterfaceIndex = match InterfaceIndex::new(u32::MAX) {
            Some(index) => index,
            None => unreachable!(),
        };

        pub(super) fn open(_: &AmtRelayName, _: Vec<Membership>, _: &'a Console) -> anyhow::Result<Self> {
            Err(Failure::environment("cannot receive through a relay of AMT: that needs Linux").into())
        }

        pub(super) fn fill(&mut self, _: &mut Batch, _: Option<Duration>) -> anyhow::Result<usize> {
            match self.none {}
        }

        pub(super) fn statistics(&self) -> Statistics {
            match self.none {}
        }

        pub(super) fn stop(&mut self) {
            match self.none {}
        }
    }
}
