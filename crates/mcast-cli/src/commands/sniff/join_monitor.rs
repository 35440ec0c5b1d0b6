//! `--join`: holds memberships during the capture, and checks whether their traffic arrives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{InterfaceIndex, InterfaceStatus, Membership, MembershipStatus};
use mcast_capture::Frame;
use mcast_packet::Packet;
use mcast_watch::live::{HeldMemberships, LiveError};

use crate::console::Console;
use crate::output::seconds;

/// How long to wait for traffic before warning; routers and switches need less.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of groups in a warning.
const MAX_LISTED: usize = 8;

/// Memberships, and whether their traffic has arrived.
#[derive(Debug)]
pub(super) struct JoinMonitor {
    _held: HeldMemberships,
    since: Instant,
    /// By group and interface.
    joined: HashMap<(IpAddr, InterfaceIndex), JoinedGroup>,
    missing: usize,
    has_warned: bool,
}

#[derive(Debug)]
struct JoinedGroup {
    membership: String,
    interface: String,
    has_traffic: bool,
}

impl JoinMonitor {
    pub(super) fn join(memberships: &[Membership], console: &Console) -> Result<Self, LiveError> {
        // Routers may ignore the report of a source-specific group without a source, but a switch in between does not.
        let held = HeldMemberships::join(memberships, true, false)?;
        let statuses = held.statuses();
        statuses.iter().take(MAX_LISTED).for_each(|status| console.note(describe(status)));
        let mut joined = HashMap::new();
        for status in &statuses {
            let group = status.membership.address.group;
            for interface in status.interfaces.iter().filter(|each| each.failure.is_none()) {
                let (membership, interface_name) = (group.to_string(), interface.name.clone());
                let joined_group = JoinedGroup { membership, interface: interface_name, has_traffic: false };
                joined.insert((group.addr(), interface.index), joined_group);
            }
        }
        let missing = joined.len();
        Ok(Self { _held: held, since: Instant::now(), joined, missing, has_warned: false })
    }

    /// Records a data packet. Packets sent by this machine are ignored, because they prove nothing.
    pub(super) fn observe(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        if self.missing == 0 || frame.direction.is_outgoing() {
            return;
        }
        let Some(ip) = packet.ip_layer() else { return };
        if let Some(joined_group) = self.joined.get_mut(&(ip.destination, frame.interface))
            && !joined_group.has_traffic
        {
            joined_group.has_traffic = true;
            self.missing -= 1;
        }
    }

    /// Returns the time until the warning is due; `None` if none is due.
    pub(super) fn time_to_warning(&self) -> Option<Duration> {
        (!self.has_warned && self.missing > 0).then(|| WARN_AFTER.saturating_sub(self.since.elapsed()))
    }

    /// Warns about joined groups without traffic: once when the warning is due, and at the end.
    pub(super) fn warn(&mut self, is_end: bool, console: &Console) {
        if self.missing == 0 || (self.has_warned && !is_end) {
            return;
        }
        self.has_warned = true;
        let time = seconds(self.since.elapsed());
        let mut missing: Vec<&JoinedGroup> =
            self.joined.values().filter(|joined_group| !joined_group.has_traffic).collect();
        missing.sort_by_key(|joined_group| (&joined_group.membership, &joined_group.interface));
        for JoinedGroup { membership, interface, .. } in missing.iter().take(MAX_LISTED) {
            console.warn(format_args!(
                "{membership} is joined on {interface}, but nothing has arrived for it in {time}"
            ));
        }
        if missing.len() > MAX_LISTED {
            console.warn(format_args!("and {} more without traffic", missing.len() - MAX_LISTED));
        }
        console.advise(
            "check that a sender is active with a sufficient TTL, and that a switch on the path has a \
             querier: `mcast doctor` finds the cause",
        );
    }
}

/// Describes a membership without its port, which does not matter.
fn describe(status: &MembershipStatus) -> String {
    let joined = |each: &&InterfaceStatus| each.failure.is_none();
    let names: Vec<&str> = status.interfaces.iter().filter(joined).map(|each| &*each.name).collect();
    match names.as_slice() {
        [] => status.to_string(),
        names => format!("{}: joined on {}", status.membership.address.group, names.join(", ")),
    }
}
