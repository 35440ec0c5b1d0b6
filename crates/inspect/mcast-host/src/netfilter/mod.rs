//! The packet filter: its hooks, and how many packets passed each of them.

mod ip_sets;
mod packet;
mod ruleset;
#[cfg(test)]
mod tests;
mod trace;

use std::net::{IpAddr, SocketAddr};

use mcast::{Family, InterfaceIndex};

use crate::FlowKey;
use crate::snapshot::explains;
pub use ip_sets::IpSetFinding;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use ip_sets::{
    IpSet, IpSetContent, IpSetElement, IpSetElements, IpSetField, IpSetIndex, IpSetTest, IpSetValue, IpSets,
    PacketSide, address, cut, octets,
};
pub(crate) use packet::Header;
pub use packet::{ControlKind, KnownPacket};
#[cfg(any(test, feature = "fixtures", target_os = "linux", target_os = "android"))]
pub(crate) use ruleset::{BaseChain, Chain, Comparison, Expression, Rule, RuleVerdict, TableFamily};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use ruleset::{LookupResult, Register, RuleSet, SetElement};
pub use ruleset::{RuleEffect, Ruleset};
pub use trace::Outcome;

/// The part of the network stack that a hook belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterLayer {
    /// One device: the family `netdev`.
    Device,
    /// The frames that a bridge forwards or passes up: the family `bridge`.
    Bridge,
    /// IPv4 and IPv6.
    Ip,
}

mcast::group::named! {
    /// A point on the path of a packet at which filters act.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Hook {
        /// Behind the driver, and behind captures (`netdev`).
        Ingress = "ingress",
        /// Of everything that arrives, before routing decides.
        Prerouting = "prerouting",
        /// Of what is for this machine.
        Input = "input",
        /// Of what the machine forwards, as a router or a bridge.
        Forward = "forward",
        /// Of what programs of this machine send.
        Output = "output",
        /// Of everything that leaves, behind routing.
        Postrouting = "postrouting",
        /// Before the driver (`netdev`, Linux 5.16).
        Egress = "egress",
    }
    /// Returns its name in `nft` syntax.
    fn name;
}

/// The packets that a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedTraffic {
    /// Datagrams to a group and port.
    Datagrams(SocketAddr),
    /// Datagrams of this machine from a port to any group.
    SentFrom(Family, u16),
    /// IGMP or MLD messages.
    Control(Family),
}

/// The devices and traffic to count.
#[derive(Clone, Debug, Default)]
pub struct CountingPlan {
    /// The packets to count at each hook.
    pub traffic: Vec<CountedTraffic>,
    /// The devices at whose ingress and egress hooks datagrams are counted, with their names.
    pub devices: Vec<(InterfaceIndex, String)>,
    /// Whether to count at the hooks of bridges.
    pub bridges: bool,
    /// Whether to count at the forward hook of the IP layer.
    pub forwards: bool,
}

/// The packets of one source, or to one destination, that reached and passed a hook on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookCount {
    /// The layer of the hook.
    pub layer: FilterLayer,
    /// The hook.
    pub hook: Hook,
    /// The packets that were counted.
    pub traffic: CountedTraffic,
    /// The interface on which they arrived, or by which they were to leave.
    pub interface: InterfaceIndex,
    /// The source, or for [`CountedTraffic::SentFrom`] the destination. The port of IGMP and MLD is 0.
    pub peer: SocketAddr,
    /// Packets that reached the hook.
    pub reached: u64,
    /// Packets that passed all its filters.
    pub passed: u64,
}

/// What [`CountingRules`](crate::CountingRules) have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// The hooks with rules. On a hook that is not listed, nothing was counted.
    pub hooks: Vec<(FilterLayer, Hook, CountedTraffic)>,
    /// The counts of each source or destination. One that is not listed was not seen at the hook.
    pub counts: Vec<HookCount>,
    /// The interfaces at whose ingress and egress hooks packets were counted.
    pub devices: Vec<InterfaceIndex>,
}

impl HookCounts {
    /// Returns the packets of a flow that reached and passed a hook; `None` if they were not counted there.
    pub fn of_flow(&self, layer: FilterLayer, hook: Hook, key: &FlowKey) -> Option<(u64, u64)> {
        let traffic = CountedTraffic::Datagrams(SocketAddr::new(key.group, key.port));
        let is_counted = || layer != FilterLayer::Device || self.devices.contains(&key.interface);
        (self.hooks.contains(&(layer, hook, traffic)) && is_counted()).then_some(())?;
        let of_flow = |count: &&HookCount| {
            (count.layer, count.hook, count.traffic) == (layer, hook, traffic)
                && (count.interface, count.peer) == (key.interface, key.source)
        };
        Some(sum(self.counts.iter().filter(of_flow)))
    }

    /// Returns how many packets of a flow reached and passed the input hook, on whichever interface; `None` if they were not
    /// counted.
    pub fn at_input(&self, key: &FlowKey) -> Option<(u64, u64)> {
        let traffic = CountedTraffic::Datagrams(SocketAddr::new(key.group, key.port));
        let (layer, hook) = (FilterLayer::Ip, Hook::Input);
        self.hooks.contains(&(layer, hook, traffic)).then_some(())?;
        let of_flow = |count: &&HookCount| {
            (count.layer, count.hook, count.traffic, count.peer) == (layer, hook, traffic, key.source)
        };
        Some(sum(self.counts.iter().filter(of_flow)))
    }

    /// Returns the IGMP or MLD messages on an interface that reached and passed a hook, of the sources for which
    /// `is_counted` is true.
    pub fn of_control(
        &self,
        (layer, hook): (FilterLayer, Hook),
        family: Family,
        interface: InterfaceIndex,
        is_counted: impl Fn(IpAddr) -> bool,
    ) -> (u64, u64) {
        let of_family = |count: &&HookCount| {
            (count.layer, count.hook, count.traffic) == (layer, hook, CountedTraffic::Control(family))
                && count.interface == interface
                && is_counted(count.peer.ip())
        };
        let (reached, passed) = sum(self.counts.iter().filter(of_family));
        let of_others = |count: &&HookCount| {
            (count.layer, count.hook, count.traffic) == (layer, hook, CountedTraffic::Control(family))
                && count.interface == interface
                && !is_counted(count.peer.ip())
        };
        // Messages that pass from a source from which they did not reach the hook had another before.
        let translated: u64 = self.counts.iter().filter(of_others).map(HookCount::excess).sum();
        (reached, passed.saturating_add(translated))
    }

    /// Returns whether datagrams that reached a hook passed it with another source, or for [`CountedTraffic::SentFrom`]
    /// another destination: address translation has changed it.
    pub fn is_translated(&self, count: &HookCount) -> bool {
        let same = |other: &&HookCount| {
            (other.layer, other.hook, other.traffic) == (count.layer, count.hook, count.traffic)
                && other.interface == count.interface
                && other.peer != count.peer
        };
        let translated = self.counts.iter().filter(same).map(HookCount::excess).sum();
        explains(translated, count.reached.saturating_sub(count.passed))
    }
}

impl HookCount {
    /// Returns how many more packets passed the hook than reached it.
    fn excess(&self) -> u64 {
        self.passed.saturating_sub(self.reached)
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a HookCount>) -> (u64, u64) {
    counts.fold((0, 0), |(reached, passed), count| (reached + count.reached, passed + count.passed))
}
