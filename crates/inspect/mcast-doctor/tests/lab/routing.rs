//! Routes, rules for routing and addresses of a host.

use mcast_doctor::{Id, Report};

use crate::net::{Net, assert_received, examine, has_programs, inject, nft, run};

crate::table::cases! {
    local_route_covers_source: SourceIsLocal, "a route of type `local` that covers the source", local_route_covers_source;
    prefix_on_loopback: SourceIsLocal, "the prefix of the network at an address of `lo`", prefix_on_loopback;
    source_is_broadcast_address: InvalidSource, "the broadcast address of the receiver's network as the source", source_is_broadcast_address;
    no_v6_group_route: Ipv6NotReady, "no route for IPv6 groups in the table `local`", no_v6_group_route;
    joined_by_routing_rule: JoinedOtherInterface, "joined on the interface that `ip rule` chooses, `eth1`, sent on `eth0`", joined_by_routing_rule;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// A route of type `local` covers the source.
pub(crate) fn local_route_covers_source() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip route add local 10.9.0.0/29 dev lo");
    net.examine(GROUP, MEMBERSHIP)
}

/// An address on the loopback interface has the prefix of the network, so that the whole network is local. The system
/// looks for that only if there are rules for routing.
pub(crate) fn prefix_on_loopback() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip address add 10.9.0.2/24 dev lo && ip rule add fwmark 7 lookup main");
    net.examine(GROUP, MEMBERSHIP)
}

/// The source is the broadcast address of the receiver's network, whose prefix is too long.
pub(crate) fn source_is_broadcast_address() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "ip address flush dev eth0 scope global && ip address add 10.9.0.2/30 dev eth0 && ip route add default dev eth0",
    );
    net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "2").unwrap();
    let frames: Vec<_> = (0..20).map(|number| net.frame("10.9.0.3", GROUP, number)).collect();
    let _sender = inject(&net.sender, "eth0", &frames);
    examine(&net.receiver, MEMBERSHIP)
}

/// The interface has lost its route for IPv6 groups.
pub(crate) fn no_v6_group_route() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip -6 route del multicast ff00::/8 dev eth0 table local");
    net.examine(GROUP_V6, MEMBERSHIP_V6)
}

/// A rule for routing chooses the interface of the group, and the group arrives on another.
pub(crate) fn joined_by_routing_rule() -> Report {
    let net = Net::new();
    let _second = net.second_lan();
    run(
        &net.receiver,
        "ip route add default dev eth1 table 50 && ip rule add to 224.0.0.0/4 lookup 50 pref 20",
    );
    net.examine(GROUP, "239.1.2.3%default:5000")
}

#[test]
fn local_route_is_named_behind_a_rule_that_drops() {
    if !has_programs() {
        return;
    }
    for (change, expected) in [
        ("ip route add local 10.9.0.0/29 dev lo", &[Id::FirewallDropsData, Id::SourceIsLocal][..]),
        // Without rules for routing, the system does not look for it.
        ("ip address add 10.9.0.2/24 dev lo", &[Id::FirewallDropsData]),
    ] {
        let net = Net::new();
        run(&net.receiver, change);
        nft(&net.receiver, "ip", "hook prerouting", "udp dport 5000 drop");
        let report = net.examine(GROUP, MEMBERSHIP);
        let found: Vec<_> = report.findings.iter().map(|finding| finding.id).collect();
        assert_eq!(found, expected, "{report:#?}");
    }
}

#[test]
fn network_on_loopback_is_sound_without_rules_for_routing() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.receiver, "ip address add 10.9.0.2/24 dev lo");
    assert_received(&net.examine(GROUP, MEMBERSHIP));
}
