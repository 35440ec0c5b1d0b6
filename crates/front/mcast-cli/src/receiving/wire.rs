//! How the datagrams of each group are received with `--wire`: by the socket or off the interface, and why.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

use mcast::{HostAddr, Wire, WireStatus};
use mcast_terminal::Console;

use crate::exit::Failure;
use crate::output::record;

/// What was printed of how groups are received.
#[derive(Debug, Default)]
pub(crate) struct WireNotes {
    known: Vec<WireStatus>,
}

impl WireNotes {
    /// Prints how the datagrams of each group are received, if `--wire` was given: of many groups, those that are not taken
    /// off their interface for a reason of their own.
    pub(crate) fn print(statuses: Vec<WireStatus>, console: &Console) -> Self {
        print_each_or_sum(&statuses.iter().collect::<Vec<_>>(), sum_of, console, |line| console.note(line));
        Self { known: statuses }
    }

    /// Prints which groups have returned to the sockets, and how those are received that were joined since.
    pub(crate) fn update(&mut self, statuses: Vec<WireStatus>, console: &Console) {
        let key = |status: &WireStatus| (status.address, status.interface, status.name.clone());
        let was_taken: BTreeMap<_, _> = self.known.iter().map(|old| (key(old), old.is_taken())).collect();
        let (mut fresh, mut returned) = (Vec::new(), Vec::new());
        for now in &statuses {
            match was_taken.get(&key(now)) {
                None => fresh.push(now),
                Some(true) if !now.is_taken() => returned.push(now),
                Some(_) => {}
            }
        }
        let sum_of_returned =
            |_: usize, all: usize| format!("no longer taken off the interface: {all} groups");
        print_each_or_sum(&returned, sum_of_returned, console, |line| console.warn(line));
        print_each_or_sum(&fresh, sum_of, console, |line| console.note(line));
        self.known = statuses;
    }
}

fn sum_of(taken: usize, all: usize) -> String {
    format!("taken off the interface (AF_XDP): {taken} of {all} groups")
}

/// Prints how each group is received; of many, the sum for the number of those that are taken and of all, and why some are not.
fn print_each_or_sum(
    statuses: &[&WireStatus],
    sum: impl FnOnce(usize, usize) -> String,
    console: &Console,
    print: impl Fn(&dyn Display),
) {
    const MAX_LISTED: usize = 8;

    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        statuses.iter().for_each(|status| print(status));
        return;
    }
    let taken = statuses.iter().filter(|status| status.is_taken()).count();
    print(&sum(taken, statuses.len()));
    let mut reasons: Vec<_> = statuses.iter().map(|status| (&status.name, &status.reason)).collect();
    reasons.sort();
    reasons.dedup();
    for (name, reason) in reasons {
        reason.iter().for_each(|reason| print(&format_args!("by the socket on {name}: {reason}")));
    }
}

/// Refuses to require for addresses of this host what is possible for groups only, or notes that.
pub(crate) fn check_hosts(wire: Wire, hosts: &[HostAddr], console: &Console) -> Result<(), Failure> {
    let Some(host) = hosts.first() else { return Ok(()) };
    match wire {
        Wire::Require => Err(Failure::usage(format!(
            "--wire require takes datagrams to groups off the interface, and {host} is not a group"
        ))
        .remedy("use --wire auto, or remove the address")),
        Wire::Auto => {
            console.note("datagrams to this host are received by the socket");
            Ok(())
        }
        _ => Ok(()),
    }
}

record! {
    fn new(status: &WireStatus) {}

    /// How the datagrams of a group are received on an interface.
    pub(crate) struct WireGroup {
        /// Group
        group: IpAddr = status.address.group.addr(),
        /// UDP destination port
        port: u16 = status.address.port,
        /// Name of the interface
        interface: String = status.name.clone(),
        /// Why they are received by the socket; null if they are taken off the interface
        reason: Option<String> = status.reason.clone(),
    }
}

/// Returns how each group is received, for JSON.
pub(crate) fn wire_groups(statuses: &[WireStatus]) -> Vec<WireGroup> {
    statuses.iter().map(WireGroup::new).collect()
}
