//! Kinds of faults at a switch, and what is in order there.

use super::way::Way;
use super::{Family, Kind, Orderly, kinds};

/// The ports of the sender and of the receiver.
const IN: usize = 0;
const OUT: usize = 1;

kinds! {
    Way;
    "a port that is disabled": PortNotForwarding, Port, Any, |way| set_state(way, "0");
    "a port that listens": PortNotForwarding, Port, Any, |way| set_state(way, "1");
    "a port that learns": PortNotForwarding, Port, Any, |way| set_state(way, "2");
    "a port that blocks": PortNotForwarding, Port, Any, |way| set_state(way, "4");
    "isolated ports": PortIsolated, Isolation, Any, |way| [IN, OUT].into_iter().for_each(|port| way.set_port(port, "isolated on"));
    "a locked port": PortLocked, All, Any, |way| {
        let port = way.ports[IN].clone();
        way.set_port(IN, "locked on learning off");
        way.run(&format!("bridge fdb flush dev {port} 2>/dev/null || ip link set dev {port} type bridge_slave fdb_flush"));
    };
    "the sender's port is down": PortMissing, All, Any, |way| set_link(way, IN, "down");
    "the receiver's port is down": PortMissing, All, Any, |way| set_link(way, OUT, "down");
    "the sender's port is not in the bridge": PortMissing, All, Any, |way| set_link(way, IN, "nomaster");
    "a rule at prerouting": FirewallDropsData, Rules, Any, |way| way.drop_at(&[("bridge", "hook prerouting")]);
    "a rule at forwarding": FirewallDropsData, Rules, Any, |way| way.drop_at(&[("bridge", "hook forward")]);
    "a rule behind forwarding": FirewallDropsData, Rules, Any, |way| way.drop_at(&[("bridge", "hook postrouting")]);
    "a rule with a set": FirewallDropsData, Rules, Any, |way| way.rule_with_a_set();
    "a rule with a map": FirewallDropsData, Rules, Any, |way| way.rule_with_a_map();
    "a policy at forwarding": FirewallDropsData, Rules, Any, |way| {
        way.nft("bridge", "hook forward priority 0 ; policy drop", "meta l4proto { igmp, icmpv6 } accept ; udp dport 53 accept");
    };
    "a rule between two ports": FirewallDropsData, Rules, Any, |way| {
        let [from, to] = way.ports.clone();
        let rule = way.dice.pick(&[format!("iifname {from} oifname {to}"), format!("oifname {to}"), format!("meta ibrname br0 iifname {from}")]);
        way.nft("bridge", "hook forward priority 0", &format!("{rule} meta l4proto udp drop"));
    };
    "a rule of ebtables": FirewallDropsData, LegacyRules, Any, |way| {
        let condition = super::carriers::ebtables(way);
        let chain = way.dice.pick(&["filter -A FORWARD", "nat -A PREROUTING"]);
        way.run(&format!("ebtables-nft -t {chain} {condition} -j DROP"));
    };
    "a policy of ebtables": FirewallDropsData, LegacyRules, Any, |way| {
        way.run("ebtables-nft -P FORWARD DROP && ebtables-nft -A FORWARD -p ARP -j ACCEPT");
    };
    "a rule of the IP layer": FirewallDropsData, IngressRules, Any, |way| {
        let name = if way.is_v6() { "ip6tables" } else { "iptables" };
        way.run(&format!("echo 1 > /proc/sys/net/bridge/bridge-nf-call-{name}"));
        // The interface is that of the bridge there.
        way.place.arrives = None;
        way.drop_at(&[("own", "hook forward")]);
    };
    "a rule where it arrives": FirewallDropsData, Device, Any, |way| {
        let hook = format!("hook ingress device {} priority 0", way.ports[IN]);
        let condition = way.condition();
        way.nft("netdev", &hook, &format!("{condition} drop"));
    };
    "a rule where it leaves": FirewallDropsData, EgressRules, Any, |way| {
        let hook = format!("hook egress device {} priority 0", way.ports[OUT]);
        way.place.arrives = None;
        let condition = way.condition();
        way.nft("netdev", &hook, &format!("{condition} drop"));
    };
    "an XDP program": XdpDrops, All, Any, |way| {
        let port = way.ports[IN].clone();
        way.drop_by_xdp(&port);
    };
    "a filter of traffic control where it arrives": TcDrops, TrafficControl, Any, |way| way.control(2);
    "a filter of traffic control where it leaves": TcDrops, EgressControl, Any, |way| {
        way.place.control = [way.ports[OUT].clone(), "egress".to_owned()];
        way.control(2);
    };
    "a queue that is too small": NotForwarded, EgressControl, Any, |way| {
        let port = way.ports[OUT].clone();
        way.size = 1_000;
        way.run(&format!("tc qdisc add dev {port} root tbf rate 8kbit burst 200 latency 20ms"));
    };
    "a port with a smaller MTU": MtuTooSmall, Size, Any, |way| {
        let (port, mtu) = (way.ports[OUT].clone(), way.dice.between(1_280, 1_350));
        way.size = way.dice.between(1_360, 1_400) as usize;
        way.run(&format!("ip link set dev {port} mtu {mtu} && ip link set dev br0 mtu 1500"));
    };
}

fn set_state(way: &mut Way, state: &str) {
    let port = way.dice.pick(&[IN, OUT]);
    way.later_at_port(port, &format!("bridge link set dev PORT state {state}"));
}

fn set_link(way: &mut Way, port: usize, what: &str) {
    way.later_at_port(port, &format!("ip link set dev PORT {what}"));
}

pub(super) const ORDERLY: &[Orderly<Way>] = &[
    (Family::Any, |way| {
        let port = way.dice.pick(&[IN, OUT]);
        way.set_port(port, "isolated on");
    }),
    (Family::Any, |way| way.set_port(OUT, "fastleave on")),
    (Family::Any, |way| way.set_port(IN, "learning off")),
    (Family::Any, |way| way.nft("bridge", "hook output priority 0", "meta l4proto udp drop")),
    (Family::Any, |way| {
        let [from, to] = way.ports.clone();
        way.nft("bridge", "hook forward priority 0", &format!("iifname {to} oifname {from} drop"));
    }),
    (Family::Any, |way| {
        let (family, port) = (way.own(), way.port);
        way.nft(family, "hook forward priority 0", &format!("udp dport {port} drop"));
    }),
    (Family::Any, |way| way.run("ebtables-nft -A FORWARD -p ARP -j DROP")),
    (Family::Any, |way| way.size = way.dice.between(100, 1_400) as usize),
];

/// Returns whether something shows a fault beside another one.
pub(super) fn is_shown(_: &Kind<Way>, _: &Kind<Way>) -> bool {
    true
}
