//! Machines, rules and drops for tests.
#![allow(clippy::unwrap_used, reason = "a test gives the text")]

use mcast::interface::{Interface, InterfaceAddress};
use mcast::{Family, InterfaceIndex};

use crate::ObservationRefusal;
use crate::kernel_drops::KernelDrop;
use crate::netfilter::{
    BaseChain, Chain, Comparison, Expression, FilterLayer, Hook, Rule, RuleEffect, RuleVerdict, Ruleset,
    TableFamily,
};
use crate::snapshot::{
    AddressPrefix, HostSnapshot, Link, Plane, RouteKind, RoutingRule, RuleAction, RuleSelector, TableRoute,
};

/// The loopback of [`machine`].
pub const LO: InterfaceIndex = InterfaceIndex::new(1).unwrap();
/// `eth0` of [`machine`], with the address 10.9.0.2/24.
pub const ETH0: InterfaceIndex = InterfaceIndex::new(2).unwrap();
/// `eth1` of [`machine`], with the address 10.8.0.2/24.
pub const ETH1: InterfaceIndex = InterfaceIndex::new(3).unwrap();

/// Returns a machine with `lo`, `eth0` (10.9.0.2) and `eth1` (10.8.0.2).
pub fn machine() -> HostSnapshot {
    let link = |index, name: &str, address: &str| {
        let mut interface = Interface::new(index, name.into());
        (interface.up, interface.running) = (true, true);
        (interface.multicast, interface.loopback) = (index != LO, index == LO);
        interface.mtu = 1500;
        interface.addresses = vec![InterfaceAddress::new(address.parse().unwrap(), 24)];
        Link::from(interface)
    };
    HostSnapshot {
        links: vec![
            link(LO, "lo", "127.0.0.1"),
            link(ETH0, "eth0", "10.9.0.2"),
            link(ETH1, "eth1", "10.8.0.2"),
        ],
        ..HostSnapshot::default()
    }
}

/// Returns datagrams that arrived on `eth0` and that the kernel dropped.
pub fn kernel_drop(reason: &str, source: &str, to: &str, packets: u64) -> KernelDrop {
    KernelDrop {
        reason: reason.to_owned(),
        function: None,
        interface: Some(ETH0),
        arrived_on: Some(ETH0),
        source: source.parse().unwrap(),
        destination: to.parse().unwrap(),
        protocol: 17,
        mac: None,
        packets,
    }
}

/// Returns rules that consist of one without a condition, at a hook of the IP layer, with the packets it has counted.
pub fn ruleset(hook: Hook, effect: RuleEffect, packets: Option<u64>) -> Ruleset {
    let base = BaseChain {
        layer: FilterLayer::Ip,
        hook,
        priority: 0,
        devices: Vec::new(),
        drops: false,
        packets: None,
    };
    let expressions = vec![Expression::Verdict(RuleVerdict::Effect(effect))];
    let chain = Chain {
        family: TableFamily::Ip,
        table: "t".into(),
        name: "c".into(),
        base: Some(base),
        rules: vec![Rule { handle: 4, expressions, packets }],
    };
    Ruleset { chains: vec![chain], ..Ruleset::default() }
}

/// Returns the same rules, of which the first matches UDP only.
pub fn for_udp(mut rules: Ruleset) -> Ruleset {
    let protocol = Expression::Meta { key: 16, to: 0 };
    let is_udp = Expression::Compare { register: 0, operator: Comparison::Equal, with: vec![17] };
    rules.chains[0].rules[0].expressions.splice(0..0, [protocol, is_udp]);
    rules
}

/// Returns a refusal for lack of a privilege.
impl From<&str> for ObservationRefusal {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), needs_rights: true }
    }
}

/// Returns an address with the length of its prefix, as `239.0.0.0/8`.
pub fn prefix(text: &str) -> AddressPrefix {
    let (address, length) = text.split_once('/').unwrap();
    AddressPrefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
}

/// Returns a rule for packets to a prefix.
pub fn rule(priority: u32, to: Option<&str>, action: RuleAction) -> RoutingRule {
    let destination = to.map(prefix);
    let family = destination.map_or(Family::V4, |to| Family::of(to.address));
    let selector = RuleSelector { destination, ..RuleSelector::default() };
    RoutingRule { plane: Plane::Packets, family, priority, selector, action, suppressed_length: None }
}

/// Returns a route of a table to a prefix.
pub fn route(table: u32, kind: RouteKind, to: &str) -> TableRoute {
    TableRoute { table, kind, destination: prefix(to), metric: 0 }
}
