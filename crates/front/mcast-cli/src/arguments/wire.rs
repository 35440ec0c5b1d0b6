//! `--wire` of the commands that receive the datagrams of groups.

use mcast::{Receiver, Wire, WireStatus};
use mcast_terminal::Console;

/// Whether to receive past the kernel's network stack.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct WireOption {
    /// Take datagrams off the interface before the kernel's network stack (AF_XDP): `auto` where it is possible and no
    /// other program would miss them, or `require`
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "off",
        hide_possible_values = true,
        hide_default_value = true
    )]
    wire: When,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum When {
    Auto,
    Require,
    Off,
}

impl WireOption {
    pub(crate) const fn policy(self) -> Wire {
        match self.wire {
            When::Auto => Wire::Auto,
            When::Require => Wire::Require,
            When::Off => Wire::Off,
        }
    }
}

/// Prints how the datagrams of each group are received, if `--wire` was given: of many groups, those that are not taken off
/// their interface for a reason of their own.
pub(crate) fn print_wire(receiver: &Receiver, console: &Console) -> Vec<WireStatus> {
    const MAX_LISTED: usize = 8;

    let statuses = receiver.wire_status();
    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        statuses.iter().for_each(|status| console.note(status));
        return statuses;
    }
    let taken = statuses.iter().filter(|status| status.is_taken()).count();
    console.note(format_args!("taken off the interface (AF_XDP): {taken} of {} groups", statuses.len()));
    let mut reasons: Vec<_> = statuses.iter().map(|status| (&status.name, &status.reason)).collect();
    reasons.sort();
    reasons.dedup();
    for (name, reason) in reasons {
        reason.iter().for_each(|reason| console.note(format_args!("by the socket on {name}: {reason}")));
    }
    statuses
}

/// Prints which groups have returned to the sockets since the beginning.
pub(crate) fn print_wire_changes(before: &[WireStatus], receiver: &Receiver, console: &Console) {
    for now in receiver.wire_status().iter().filter(|now| !now.is_taken()) {
        let is_same = |old: &&WireStatus| (old.address, old.interface) == (now.address, now.interface);
        if before.iter().find(is_same).is_some_and(WireStatus::is_taken) {
            console.warn(now);
        }
    }
}
