//! Faults of a host's routing, interfaces and policies that were found by trying networks of unusual shape.

use mcast_doctor::{ArrivalStatus, Id, Report};

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

use crate::net::{
    Net, Stream, assert_healthy, assert_received, examine, examine_port, has_programs, inject, listener, nft,
    run,
};

/// An IPsec policy blocks all groups.
pub(crate) fn ipsec_blocks() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip xfrm policy add dir in src 0.0.0.0/0 dst 239.0.0.0/8 action block priority 10");
    net.examine(GROUP, MEMBERSHIP)
}

/// An IPsec policy demands ESP for everything.
pub(crate) fn ipsec_demands_esp() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "ip xfrm policy add dir in src ::/0 dst ::/0 priority 10 tmpl proto esp mode transport level required",
    );
    net.examine(GROUP_V6, MEMBERSHIP_V6)
}

/// The same while a program is examined.
pub(crate) fn ipsec_blocks_program() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip xfrm policy add dir in src 10.9.0.0/24 dst 239.1.2.3/32 action block priority 10");
    let _stream = Stream::to(&net.sender, GROUP);
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    examine_port(&net.receiver, 5000)
}

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

/// A macvlan in source mode without a list.
pub(crate) fn macvlan_in_source_mode() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "ip link add mv0 link eth0 type macvlan mode source && ip link set mv0 up && ip address add 10.9.0.22/24 dev mv0",
    );
    net.examine(GROUP, "239.1.2.3%mv0:5000")
}

/// A rule for datagrams that connection tracking does not see, because of another rule.
pub(crate) fn untracked_dropped() -> Report {
    let net = Net::new();
    run(
        &net.receiver,
        "nft add table inet test && nft 'add chain inet test raw { type filter hook prerouting priority -300 ; }' && nft add rule inet test raw udp dport 5000 notrack && nft 'add chain inet test c { type filter hook input priority 0 ; }' && nft add rule inet test c ct state untracked udp dport 5000 drop",
    );
    net.examine(GROUP, MEMBERSHIP)
}

/// A rule that writes the receiver's own address into the datagrams.
pub(crate) fn destination_rewritten() -> Report {
    let net = Net::new();
    nft(&net.receiver, "ip", "hook prerouting", "udp dport 5000 ip daddr set 10.9.0.2");
    net.examine(GROUP, MEMBERSHIP)
}

/// Of two networks, the one with the sender is down.
pub(crate) fn one_of_two_interfaces_is_down() -> Report {
    let net = Net::new();
    let _second = net.second_lan();
    run(&net.receiver, "ip link set eth0 down");
    net.examine(GROUP, GROUP)
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
fn remedy_of_a_macvlan_in_source_mode_admits_the_sender() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(
        &net.receiver,
        "ip link add mv0 link eth0 type macvlan mode source && ip link set mv0 up && ip address add 10.9.0.22/24 dev mv0",
    );
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine(&net.receiver, "239.1.2.3%mv0:5000");
    let finding = report.findings.iter().find(|finding| finding.id == Id::MacvlanIsolation).unwrap();
    run(&net.receiver, &finding.remedies[0].command().unwrap());
    assert_eq!(examine(&net.receiver, "239.1.2.3%mv0:5000").arrival, ArrivalStatus::Arrives);
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

#[test]
fn rules_that_change_the_source_or_the_hop_limit_are_sound() {
    if !has_programs() {
        return;
    }
    for change in ["ip saddr set 10.9.0.99", "udp sport set 7", "ip ttl set 64"] {
        let net = Net::new();
        nft(&net.receiver, "ip", "hook prerouting", &format!("udp dport 5000 {change}"));
        let report = net.examine(GROUP, MEMBERSHIP);
        assert_healthy(&report);
        assert_eq!(report.arrival, ArrivalStatus::Arrives, "{change}: {report:#?}");
    }
}

#[test]
fn some_of_a_flow_that_loses_datagrams_arrive() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "udp dport 5000 numgen random mod 2 0 drop");
    assert_eq!(net.examine(GROUP, MEMBERSHIP).arrival, ArrivalStatus::Incomplete);
}
