//! Kinds of faults at a router, and what is in order there.

use super::way::Way;
use super::{Family, Kind, Orderly, Part, kinds};

kinds! {
    Way;
    "a rule at ingress": FirewallDropsData, IngressRules, Any, |way| way.drop_at(&[("netdev", "hook ingress device r0")]);
    "a rule at prerouting": FirewallDropsData, Rules, Any, |way| {
        way.drop_at(&[("inet", "hook prerouting"), ("own", "hook prerouting")]);
    };
    "a rule at forwarding": FirewallDropsData, Rules, Any, |way| {
        way.drop_at(&[("inet", "hook forward"), ("own", "hook forward")]);
    };
    "a rule behind forwarding": FirewallDropsData, Rules, Any, |way| {
        way.drop_at(&[("inet", "hook postrouting"), ("own", "hook postrouting")]);
    };
    "a rule where it leaves": FirewallDropsData, EgressRules, Any, |way| way.drop_at(&[("netdev", "hook egress device r1")]);
    "a rule that rejects": FirewallDropsData, Rules, Any, |way| {
        way.rule_at(&[("inet", "hook forward"), ("own", "hook forward")], &["reject"]);
    };
    "a rule with a set": FirewallDropsData, Rules, Any, |way| way.rule_with_a_set();
    "a rule with a map": FirewallDropsData, Rules, Any, |way| way.rule_with_a_map();
    "a rule with a mark": FirewallDropsData, States, Any, |way| way.rule_with_a_mark("hook prerouting");
    "a rule between two interfaces": FirewallDropsData, EgressRules, Any, |way| {
        let rule = way.dice.pick(&["iifname r0 oifname r1 drop", "iifname . oifname { r0 . r1 } drop", "oifname \"r1\" udp dport != 53 drop"]);
        way.nft("inet", "hook forward priority 0", rule);
    };
    "a policy at forwarding": FirewallDropsData, Rules, Any, |way| {
        way.nft("inet", "hook forward priority 0 ; policy drop", "ct state established accept");
    };
    "a rule of iptables in filter": FirewallDropsData, LegacyRules, Any, |way| way.iptables("-A FORWARD", "DROP");
    "a rule of iptables in mangle": FirewallDropsData, LegacyRules, Any, |way| way.iptables("-t mangle -A FORWARD", "DROP");
    "a rule of iptables before routing": FirewallDropsData, LegacyRules, Any, |way| way.iptables("-t mangle -A PREROUTING", "DROP");
    "a rule of iptables in raw": FirewallDropsData, LegacyRules, Any, |way| way.iptables("-t raw -A PREROUTING", "DROP");
    "a rule of iptables behind forwarding": FirewallDropsData, LegacyRules, Any, |way| way.iptables("-t mangle -A POSTROUTING", "DROP");
    "a policy of iptables": FirewallDropsData, LegacyRules, Any, |way| {
        let program = way.program();
        way.run(&format!("{program} -P FORWARD DROP"));
    };
    "a rule of iptables-nft": FirewallDropsData, LegacyRules, Any, |way| way.iptables_nft("-A FORWARD", "DROP");
    "translation of the address": Redirected, Translation, Any, |way| {
        let (family, port) = (way.own(), way.port);
        let host = if way.is_v6() { "fd02::1" } else { "10.2.0.1" };
        way.table(family, "", &format!("type nat hook prerouting priority -100 ; udp dport {port} dnat to {host}"));
    };
    "an XDP program": XdpDrops, Device, Any, |way| way.drop_by_xdp("r0");
    "a filter of traffic control at ingress": TcDrops, TrafficControl, Any, |way| way.control(2);
    "a filter that steals at ingress": TcDrops, TrafficControl, Any, |way| way.control(4);
    "a filter of traffic control at egress": TcDrops, EgressControl, Any, |way| {
        way.place.control = ["r1", "egress"].map(str::to_owned);
        way.control(2);
    };
    "a queue that is too small": NotForwarded, EgressControl, Any, |way| {
        way.size = 1_000;
        way.run("tc qdisc add dev r1 root tbf rate 8kbit burst 200 latency 20ms");
    };
    "datagrams that are too large where it leaves": MtuTooSmall, All, V4, |way| {
        let mtu = way.dice.between(600, 1_200);
        way.size = way.dice.between(1_300, 1_400) as usize;
        way.run(&format!("ip link set dev r1 mtu {mtu}"));
    };
    "a hop limit of 1": TtlTooSmall, HopLimit, Any, |way| way.hops = 1;
    "a threshold": TtlThreshold, MulticastRoute, V4, |way| way.threshold = way.dice.between(9, 200) as u8;
    "no multicast route": NoMulticastRoute, MulticastRoute, Any, |way| way.route = None;
    "a multicast route to no interface": NoMulticastRoute, MulticastRoute, Any, |way| way.route = Some(("r0", &[]));
    "another interface is expected": RouterWrongInterface, MulticastRoute, Any, |way| way.route = Some(("r1", &["r0"]));
    "a rule for another table of multicast routes": PolicyRule, MulticastRoute, Any, |way| {
        let (version, table) = if way.is_v6() { ("-6", crate::rules::TABLE_V6) } else { ("-4", crate::rules::TABLE_V4) };
        way.run(&format!("python3 -c \"{table}\" && ip {version} mrule add iif r0 lookup 100 pref 10"));
    };
    "a rule that drops the reports of hosts": FirewallDropsIgmp, All, Any, |way| {
        (way.route, way.joins_late) = (None, true);
        let rule = if way.is_v6() { "icmpv6 type mld2-listener-report" } else { "ip protocol igmp" };
        let (family, hook) = (way.own(), way.dice.pick(&["hook prerouting", "hook input"]));
        way.nft(family, &format!("{hook} priority 0"), &format!("iifname r1 {rule} drop"));
    };
    "the reverse path": ReversePathFilter, ReversePath, V4, |way| {
        let place = way.dice.pick(&["all", "r0"]);
        way.run(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter=1 && ip route add 10.1.0.1/32 dev r1"));
    };
}

pub(super) const ORDERLY: &[Orderly<Way>] = &[
    (Family::V4, |way| way.threshold = way.dice.between(1, 6) as u8),
    (Family::Any, |way| {
        let place = way.dice.pick(&["all", "r0", "r1"]);
        let value = way.dice.pick(&["1", "2"]);
        way.run(&format!("sysctl -qw net.ipv4.conf.{place}.rp_filter={value}"));
    }),
    (Family::Any, |way| way.run("ip link set r1 mtu 9000")),
    (Family::Any, |way| way.nft("inet", "hook output priority 0", "meta l4proto udp drop")),
    (Family::Any, |way| way.nft("inet", "hook forward priority 0", "iifname r1 oifname r0 drop")),
    (Family::Any, |way| way.nft("netdev", "hook ingress device r1 priority 0", "meta l4proto udp drop")),
    (Family::Any, |way| way.size = way.dice.between(100, 1_400) as usize),
    (Family::Any, |way| way.hops = way.dice.between(2, 255) as u32),
];

/// Returns whether something shows a fault beside another one. A router asks for the route of what gets to routing only: before,
/// it does not know by which interface it leaves, nor what a hop limit of 1 keeps from there. Of a device that runs a program,
/// nothing is seen, and of earlier rules only what they have done.
pub(super) fn is_shown(kind: &Kind<Way>, other: &Kind<Way>) -> bool {
    let needs_route =
        matches!(kind.part, Part::HopLimit | Part::MulticastRoute | Part::EgressRules | Part::EgressControl);
    // The rules behind a translation see another address.
    let is_translated =
        other.part == Part::Translation && matches!(kind.part, Part::Rules | Part::LegacyRules);
    let may_be_seen = kind.part != Part::States && other.part != Part::Device && !is_translated;
    may_be_seen && !(needs_route && MAY_ACT_BEFORE_ROUTING.contains(&other.part))
}

const MAY_ACT_BEFORE_ROUTING: [Part; 8] = [
    Part::IngressRules,
    Part::Rules,
    Part::States,
    Part::LegacyRules,
    Part::Translation,
    Part::TrafficControl,
    Part::ReversePath,
    Part::MulticastRoute,
];
