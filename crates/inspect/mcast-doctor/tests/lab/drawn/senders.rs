//! Kinds of faults at a sender, and what is in order there.

use std::net::Ipv4Addr;

use mcast_doctor::Id;

use super::way::{Choice, Way};
use super::{Family, Kind, Orderly, Part, kinds};

kinds! {
    Way;
    "a rule at output": FirewallDropsOutput, Rules, Any, |way| way.drop_at(&[("inet", "hook output"), ("own", "hook output")]);
    "a rule after routing": FirewallDropsOutput, Rules, Any, |way| {
        way.drop_at(&[("inet", "hook postrouting"), ("own", "hook postrouting")]);
    };
    "a rule at egress": FirewallDropsOutput, EgressRules, Any, |way| way.drop_at(&[("netdev", "hook egress device eth0")]);
    "a rule that rejects": FirewallDropsOutput, Rules, Any, |way| {
        way.rule_at(&[("inet", "hook output"), ("own", "hook output")], &["reject"]);
    };
    "a rule of a chain for routing": FirewallDropsOutput, Rules, Any, |way| {
        let (family, condition) = (way.own(), way.condition());
        way.table(family, "", &format!("type route hook output priority -150 ; {condition} drop"));
    };
    "a rule with a set": FirewallDropsOutput, Rules, Any, |way| way.rule_with_a_set();
    "a rule with a map": FirewallDropsOutput, Rules, Any, |way| way.rule_with_a_map();
    "a rule with a mark": FirewallDropsOutput, States, Any, |way| way.rule_with_a_mark("hook output");
    "a rule for an interface": FirewallDropsOutput, Rules, Any, |way| {
        let (hook, port) = (way.hook(), way.port);
        way.nft("inet", &format!("{hook} priority 0"), &format!("oifname \"eth*\" udp dport {port} drop"));
    };
    "a policy at output": FirewallDropsOutput, Rules, Any, |way| {
        way.nft("inet", "hook output priority 0 ; policy drop", "meta l4proto { igmp, icmpv6 } accept");
    };
    "a rule of iptables in filter": FirewallDropsOutput, LegacyRules, Any, |way| way.iptables("-A OUTPUT", "DROP");
    "a rule of iptables that rejects": FirewallDropsOutput, LegacyRules, Any, |way| way.iptables("-A OUTPUT", "REJECT");
    "a rule of iptables in mangle": FirewallDropsOutput, LegacyRules, Any, |way| way.iptables("-t mangle -A OUTPUT", "DROP");
    "a rule of iptables after routing": FirewallDropsOutput, LegacyRules, Any, |way| way.iptables("-t mangle -A POSTROUTING", "DROP");
    "a rule of iptables in raw": FirewallDropsOutput, LegacyRules, Any, |way| way.iptables("-t raw -A OUTPUT", "DROP");
    "a queue of iptables": FirewallDropsOutput, LegacyRules, Any, |way| {
        let number = way.dice.between(1, 60_000);
        way.iptables("-A OUTPUT", &format!("NFQUEUE --queue-num {number}"));
    };
    "a policy of iptables": FirewallDropsOutput, LegacyRules, Any, |way| {
        let (program, protocol) = (way.program(), if way.is_v6() { "icmpv6" } else { "igmp" });
        way.run(&format!("{program} -A OUTPUT -p {protocol} -j ACCEPT && {program} -P OUTPUT DROP"));
    };
    "a rule of iptables-nft": FirewallDropsOutput, LegacyRules, Any, |way| way.iptables_nft("-A OUTPUT", "DROP");
    "translation of the address": Redirected, Translation, Any, |way| {
        let (family, port) = (way.own(), way.port);
        let host = if way.is_v6() { "fd09::2" } else { "10.9.0.2" };
        way.table(family, "", &format!("type nat hook output priority -100 ; udp dport {port} dnat to {host}"));
    };
    "a filter of traffic control at egress": TcDrops, TrafficControl, Any, |way| way.control(2);
    "a filter that steals at egress": TcDrops, TrafficControl, Any, |way| way.control(4);
    "a queue that is too small": SenderQueueDrops, TrafficControl, Any, |way| {
        let rate = way.dice.between(50, 200);
        way.size = 1_000;
        way.run(&format!("tc qdisc add dev eth0 root tbf rate {rate}kbit burst 2k latency 20ms"));
    };
    "a policy of IPsec": DroppedWhenSending, Ipsec, Any, |way| way.ipsec("action block");
    "a hop limit of 0": TtlTooSmall, HopLimit, Any, |way| way.hops = 0;
    "sent by the loopback": SentByOtherInterface, All, V4, |way| {
        way.choice = Choice::Route;
        let group = way.group;
        let prefix = way.dice.pick(&[format!("{group}/32"), "239.0.0.0/8".to_owned()]);
        way.run(&format!("ip route add {prefix} dev lo"));
    };
    "sent to one host": SentToUnicast, All, Any, |way| way.to = Some(if way.is_v6() { "fd09::2" } else { "10.9.0.2" }.parse().unwrap());
    "a VXLAN without other hosts": DroppedWhenSending, All, Any, |way| {
        let id = way.dice.between(1, 60_000);
        way.run(&format!(
            "ip link add vx0 type vxlan id {id} dev eth0 dstport 4789 && ip link set vx0 up && \
             ip address add 10.88.0.1/24 dev vx0 && ip address add fd88::1/64 dev vx0 nodad"
        ));
        way.interface = "vx0";
    };
    "no carrier": InterfaceDown, All, Any, |way| way.take_port_down();

    "an address that moved": NoSuchInterface, Socket, V4, |way| {
        let address = Ipv4Addr::new(10, 9, 0, way.dice.between(20, 200) as u8);
        way.run(&format!("ip address add {address}/24 dev eth0"));
        (way.choice, way.later) = (Choice::Address(address), format!("ip address del {address}/24 dev eth0"));
    };
    "a chosen address that was renewed": NoSuchInterface, Socket, V4, |way| {
        let new = way.dice.between(20, 200);
        // Without a route for groups, the socket's choice alone decides.
        way.run("ip route del 224.0.0.0/4");
        way.later = format!("ip address del 10.9.0.1/24 dev eth0 && ip address add 10.9.0.{new}/24 dev eth0");
    };
    "a device that was deleted": NoSuchInterface, Socket, Any, |way| {
        another_device(way);
        (way.choice, way.interface, way.later) = (Choice::Device, "eth7", "ip link del eth7".to_owned());
    };
    "a chosen interface that was deleted": NoSuchInterface, Socket, V6, |way| {
        another_device(way);
        (way.interface, way.later) = ("eth7", "ip link del eth7".to_owned());
    };
    "a chosen interface without addresses": Ipv6NotReady, Socket, V6, |way| way.later = "ip -6 address flush dev eth0".to_owned();
    "no route for groups": NoRoute, Socket, V4, |way| {
        (way.choice, way.later) = (Choice::Route, "ip route del 224.0.0.0/4".to_owned());
    };
    "no route for groups of IPv6": NoRoute, Socket, V6, |way| {
        (way.choice, way.later) = (Choice::Route, "ip -6 route del multicast ff00::/8 dev eth0 table local".to_owned());
    };
    "a route that rejects the group": NoRoute, Socket, V4, |way| {
        way.choice = Choice::Route;
        let (kind, group) = (way.dice.pick(&REJECTS), way.group);
        let prefix = way.dice.pick(&[format!("{group}/32"), "239.0.0.0/8".to_owned()]);
        way.run(&format!("ip route add {kind} {prefix}"));
    };
    "a rule of routing that rejects groups": PolicyRule, Socket, V4, |way| {
        way.choice = Choice::Route;
        let (kind, prefix) = (way.dice.pick(&REJECTS), way.dice.pick(&["239.0.0.0/8", "224.0.0.0/4"]));
        way.run(&format!("ip rule add to {prefix} {kind} pref 50"));
    };
    "a rule of routing that rejects the group": PolicyRule, Socket, V4, |way| {
        way.choice = Choice::Route;
        let (kind, group) = (way.dice.pick(&REJECTS), way.group);
        way.run(&format!("ip rule add to {group} {kind} pref 50"));
    };
    "a rule of routing to a table that rejects": PolicyRule, Socket, V4, |way| {
        way.choice = Choice::Route;
        let (kind, table) = (way.dice.pick(&["prohibit", "unreachable"]), way.dice.between(10, 200));
        way.run(&format!("ip rule add to 224.0.0.0/4 lookup {table} pref 90 && ip route add {kind} 224.0.0.0/4 table {table}"));
    };
    "a tunnel that no program serves": InterfaceDown, Socket, V4, |way| {
        way.choice = Choice::Route;
        way.run("ip tuntap add tun0 mode tun && ip link set tun0 up && ip address add 10.8.0.2/24 dev tun0 && ip route replace 239.0.0.0/8 dev tun0");
    };
}

/// The doctor knows what a socket sends from the wire and from the kernel's reasons for dropping, and these faults leave neither.
pub(super) const UNNAMED: &[&str] = &["a filter that steals at egress"];

const REJECTS: [&str; 3] = ["unreachable", "prohibit", "blackhole"];

/// Adds another interface.
fn another_device(way: &mut Way) {
    way.run(
        "ip link add eth7 type veth peer name far7 && ip link set far7 up && ip link set eth7 up && \
         ip address add 10.7.0.1/24 dev eth7 && ip address add fd07::1/64 dev eth7 nodad",
    );
}

pub(super) const ORDERLY: &[Orderly<Way>] = &[
    (Family::Any, |way| way.hops = way.dice.between(2, 255) as u32),
    (Family::V4, |way| way.choice = Choice::Route),
    (Family::V4, |way| {
        way.choice = Choice::Route;
        let other = way.another_group();
        way.run(&format!("ip route add unreachable {other}/32"));
    }),
    (Family::Any, |way| way.choice = Choice::Device),
    (Family::V4, |way| {
        way.run("ip address add 10.9.0.60/24 dev eth0");
        way.choice = Choice::Address(Ipv4Addr::new(10, 9, 0, 60));
    }),
    (Family::Any, |way| way.size = way.dice.between(100, 1_400) as usize),
    (Family::Any, |way| way.size = way.dice.between(2_000, 6_000) as usize),
    (Family::V4, |way| {
        way.choice = Choice::Route;
        let other = way.another_group();
        way.run(&format!("ip rule add to {other} prohibit pref 50"));
    }),
    (Family::Any, |way| way.run("tc qdisc add dev eth0 root tbf rate 100mbit burst 64k latency 50ms")),
];

/// Returns whether something shows a fault beside another one. Of what a sender cannot send, the group is not known, so that only
/// what drops everything is certain; of what is translated, the rules behind see another address.
pub(super) fn is_shown(kind: &Kind<Way>, other: &Kind<Way>) -> bool {
    match (kind.part, other.part) {
        // Only what reaches it shows what a filter of traffic control, an IPsec policy or a rule that asks for a mark does.
        (Part::TrafficControl | Part::Ipsec | Part::States, _) => false,
        // The doctor does not look yet whether a program serves the tunnel behind a rule.
        (Part::Socket, Part::Rules | Part::LegacyRules) => kind.id != Id::InterfaceDown,
        // Nor what a translation does behind the rules.
        (Part::Translation, Part::Rules | Part::States | Part::LegacyRules) => false,
        (Part::Rules | Part::LegacyRules | Part::EgressRules, Part::Socket | Part::Ipsec) => {
            kind.name == "a policy at output"
        }
        (Part::Rules | Part::LegacyRules | Part::EgressRules, Part::Translation) => false,
        _ => true,
    }
}
