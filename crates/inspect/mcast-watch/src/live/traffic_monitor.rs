//! Checks whether the traffic of memberships arrives.

use std::collections::BTreeMap;

use mcast::{Group, InterfaceIndex, MembershipStatus};
use mcast_capture::Frame;
use mcast_packet::Packet;

/// The groups of memberships whose traffic has not arrived yet, by group and interface.
#[derive(Clone, Debug)]
pub struct TrafficMonitor {
    missing: BTreeMap<(Group, InterfaceIndex), String>,
}

impl TrafficMonitor {
    /// Expects the groups that are joined.
    #[must_use]
    pub fn new(statuses: &[MembershipStatus]) -> Self {
        let mut missing = BTreeMap::new();
        for status in statuses {
            for interface in status.interfaces.iter().filter(|each| each.failure.is_none()) {
                missing.insert((status.membership.address.group, interface.index), interface.name.clone());
            }
        }
        Self { missing }
    }

    /// Records a data packet. Packets sent by this machine are ignored, because they prove nothing.
    pub fn observe(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        if self.missing.is_empty() || frame.direction.is_outgoing() {
            return;
        }
        let group = packet.ip_layer().and_then(|ip| Group::new(ip.destination).ok());
        if let Some(group) = group {
            self.missing.remove(&(group, frame.interface));
        }
    }

    /// Returns whether the traffic of all groups has arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the groups whose traffic has not arrived, each with the name of the interface.
    #[must_use]
    pub fn missing(&self) -> Vec<(Group, &str)> {
        self.missing.iter().map(|((group, _), interface)| (*group, interface.as_str())).collect()
    }
}
