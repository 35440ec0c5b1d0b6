//! Several faults of what a machine sends, forwards or receives in pieces: all are named in one run, in the order in which they act.

use mcast_doctor::{Id, Report, Severity};
use mcast_lab::{Host, RouteGroup, SwitchOptions};
use socket2::Socket;

use crate::boxes::{Routed, Switched, isolate};
use crate::net::{Net, Stream, examine, examine_port, has_programs, listener, nft, run, stream_of_program};
use crate::pairs::nft_named;

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";
const FAMILIES: [(&str, &str); 2] = [(GROUP, MEMBERSHIP), (GROUP_V6, MEMBERSHIP_V6)];

fn faults(report: &Report) -> Vec<Id> {
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    faults.map(|finding| finding.id).collect()
}

fn assert_faults(report: &Report, expected: &[Id]) {
    assert_eq!(faults(report), expected, "{report:#?}");
}

fn output_rule(host: &Host) {
    nft(host, "inet", "hook output", "udp dport 5000 drop");
}

fn hop_limit_zero(socket: &Socket) {
    // One of them is of the other family.
    let _ = (socket.set_multicast_ttl_v4(0), socket.set_multicast_hops_v6(0));
}

fn loopback_off(socket: &Socket) {
    let _ = (socket.set_multicast_loop_v4(false), socket.set_multicast_loop_v6(false));
}

/// Examines the sender of a stream.
fn sending(net: &Net, (to, membership): (&str, &str), prepare: impl FnOnce(&Socket) + Send) -> Report {
    let _stream = Stream::with(&net.sender, to, prepare);
    examine(&net.sender, membership)
}

#[test]
fn hop_limit_zero_behind_an_output_rule_is_named() {
    if !has_programs() {
        return;
    }
    for family in FAMILIES {
        let net = Net::new();
        output_rule(&net.sender);
        let report = sending(&net, family, hop_limit_zero);
        assert_faults(&report, &[Id::FirewallDropsOutput, Id::TtlTooSmall]);
        let healthy = Net::new();
        output_rule(&healthy.sender);
        assert_faults(&sending(&healthy, family, |_| {}), &[Id::FirewallDropsOutput]);
    }
}

#[test]
fn hop_limit_zero_of_a_program_behind_an_output_rule_is_named() {
    if !has_programs() {
        return;
    }
    for (group, _) in FAMILIES {
        let net = Net::new();
        output_rule(&net.sender);
        let group: std::net::SocketAddr = group.parse().unwrap();
        let socket = crate::net::socket(&net.sender, group.ip(), "eth0");
        hop_limit_zero(&socket);
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let _stream = Stream::by(socket.into(), group, 64);
        assert_faults(&examine_port(&net.sender, port), &[Id::FirewallDropsOutput, Id::TtlTooSmall]);
    }
}

#[test]
fn hop_limit_zero_and_loopback_off_are_named() {
    if !has_programs() {
        return;
    }
    let both = |socket: &Socket| {
        hop_limit_zero(socket);
        loopback_off(socket);
    };
    let report = sending(&Net::new(), FAMILIES[0], both);
    assert_faults(&report, &[Id::TtlTooSmall, Id::LoopbackOff]);
    // In IPv6, datagrams that are not looped back leave with a hop limit of 0, too.
    assert_faults(&sending(&Net::new(), FAMILIES[1], both), &[Id::LoopbackOff]);
}

#[test]
fn loopback_off_behind_an_output_rule_is_named() {
    if !has_programs() {
        return;
    }
    for family in FAMILIES {
        let net = Net::new();
        output_rule(&net.sender);
        let report = sending(&net, family, loopback_off);
        assert_faults(&report, &[Id::FirewallDropsOutput, Id::LoopbackOff]);
    }
}

#[test]
fn rules_behind_an_output_rule_and_a_hop_limit_of_zero_are_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    output_rule(&net.sender);
    nft_named(&net.sender, "ip", "p", "hook postrouting", "ip daddr 239.1.2.3 drop");
    nft_named(&net.sender, "netdev", "e", "hook egress device eth0", "ip daddr 239.0.0.0/8 drop");
    let report = sending(&net, FAMILIES[0], hop_limit_zero);
    let expected =
        [Id::FirewallDropsOutput, Id::TtlTooSmall, Id::FirewallDropsOutput, Id::FirewallDropsOutput];
    assert_faults(&report, &expected);
    let egress = Net::new();
    nft_named(&egress.sender, "netdev", "e", "hook egress device eth0", "ip daddr 239.0.0.0/8 drop");
    let report = sending(&egress, FAMILIES[0], hop_limit_zero);
    assert_faults(&report, &[Id::TtlTooSmall, Id::FirewallDropsOutput]);
}

/// Gives the sender a second interface, by which it sends.
fn second_interface(net: &Net) {
    let (lan, _) = net.second_lan();
    net.sender.connect("eth1", &lan, &["10.8.0.1/24", "fd08::1/64"]).unwrap();
}

#[test]
fn wrong_interface_and_a_rule_are_named() {
    if !has_programs() {
        return;
    }
    for (group, membership) in FAMILIES {
        // The rule acts first, or at the interface by which the datagrams should leave.
        for (rule, expected) in [
            ("udp dport 5000 drop", [Id::FirewallDropsOutput, Id::SentByOtherInterface]),
            ("oifname eth0 udp dport 5000 drop", [Id::SentByOtherInterface, Id::FirewallDropsOutput]),
        ] {
            let net = Net::new();
            second_interface(&net);
            nft(&net.sender, "inet", "hook output", rule);
            let _stream = stream_of_program(&net.sender, group, "eth1");
            let report = examine(&net.sender, membership);
            let mut found = faults(&report);
            found.dedup();
            assert_eq!(found, expected, "{report:#?}");
        }
        let net = Net::new();
        second_interface(&net);
        nft(&net.sender, "inet", "hook output", "oifname eth0 udp dport 5001 drop");
        let _stream = stream_of_program(&net.sender, group, "eth1");
        assert_faults(&examine(&net.sender, membership), &[Id::SentByOtherInterface]);
    }
}

/// Drops what a machine forwards.
fn forward_rule(host: &Host) {
    nft(host, "inet", "hook forward", "udp dport 5000 drop");
}

/// Examines a router while a stream arrives that it should forward to `r1`.
fn routing(net: &Routed, (to, group): (&str, &str), prepare: impl FnOnce(&Socket) + Send) -> Report {
    routing_of_size(net, (to, group), 64, prepare)
}

fn routing_of_size(
    net: &Routed,
    (to, group): (&str, &str),
    size: usize,
    prepare: impl FnOnce(&Socket) + Send,
) -> Report {
    let _stream = Stream::sized(&net.sender, to, size, prepare);
    examine(&net.router, &to.replace(group, &format!("{group}%r0")))
}

const ROUTED: [(&str, &str); 2] = [(GROUP, "239.1.2.3"), (GROUP_V6, "ff15::1234")];

#[test]
fn strict_filter_of_a_router_and_its_forward_policy_are_named() {
    if !has_programs() {
        return;
    }
    let net = Routed::new();
    net.route("239.1.2.3", &["r1"]);
    let _stream = Stream::to(&net.sender, GROUP);
    let examined = || examine(&net.router, "239.1.2.3%r0:5000");
    // Behind the filter, no datagram would lead to the route.
    assert_faults(&examined(), &[]);
    net.router.sysctl("net/ipv4/conf/r0/rp_filter", "1").unwrap();
    // The way back to the source leads to the other side.
    run(&net.router, "ip route add 10.1.0.1/32 dev r1");
    assert_faults(&examined(), &[Id::ReversePathFilter]);
    let policy = "add chain ip f c { type filter hook forward priority 0 ; policy drop ; }";
    run(&net.router, &format!("nft add table ip f && nft '{policy}'"));
    assert_faults(&examined(), &[Id::ReversePathFilter, Id::FirewallDropsData]);
}

#[test]
fn hop_limit_that_is_too_small_for_a_router_and_its_forward_rule_are_named() {
    if !has_programs() {
        return;
    }
    let one = |socket: &Socket| {
        let _ = (socket.set_multicast_ttl_v4(1), socket.set_multicast_hops_v6(1));
    };
    for routed in ROUTED {
        let net = Routed::new();
        net.route(routed.1, &["r1"]);
        assert_faults(&routing(&net, routed, one), &[Id::TtlTooSmall]);
        forward_rule(&net.router);
        assert_faults(&routing(&net, routed, one), &[Id::TtlTooSmall, Id::FirewallDropsData]);
    }
}

#[test]
fn threshold_of_a_router_and_its_forward_rule_are_named() {
    if !has_programs() {
        return;
    }
    let net = Routed::new();
    let group = [239, 1, 2, 3].into();
    let route = RouteGroup { source: None, group, from: "r0", to: &["r1"], ttl_threshold: 16 };
    net.router.route_group(route).unwrap();
    forward_rule(&net.router);
    assert_faults(&routing(&net, ROUTED[0], |_| {}), &[Id::TtlThreshold, Id::FirewallDropsData]);
}

#[test]
fn mtu_behind_a_router_and_its_forward_rule_are_named() {
    if !has_programs() {
        return;
    }
    let net = Routed::new();
    net.route("239.1.2.3", &["r1"]);
    run(&net.router, "ip link set r1 mtu 1280");
    assert_faults(&routing_of_size(&net, ROUTED[0], 1400, |_| {}), &[Id::MtuTooSmall]);
    forward_rule(&net.router);
    let report = routing_of_size(&net, ROUTED[0], 1400, |_| {});
    assert_faults(&report, &[Id::MtuTooSmall, Id::FirewallDropsData]);
}

#[test]
fn missing_multicast_route_and_a_forward_rule_are_named() {
    if !has_programs() {
        return;
    }
    let warned = |report: &Report| {
        let warned = report.findings.iter().filter(|finding| finding.severity >= Severity::Warning);
        warned.map(|finding| finding.id).collect::<Vec<_>>()
    };
    for routed in ROUTED {
        let net = Routed::new();
        assert_eq!(warned(&routing(&net, routed, |_| {})), [Id::NoMulticastRoute]);
        forward_rule(&net.router);
        let report = routing(&net, routed, |_| {});
        assert_eq!(warned(&report), [Id::NoMulticastRoute, Id::FirewallDropsData], "{report:#?}");
    }
}

#[test]
fn isolated_ports_of_a_switch_and_its_rule_are_named() {
    if !has_programs() {
        return;
    }
    for (to, membership) in [(GROUP, "239.1.2.3%br0:5000"), (GROUP_V6, "[ff15::1234%br0]:5000")] {
        let net = Switched::new(to);
        isolate(&net);
        assert_faults(&examine(&net.switch, membership), &[Id::PortIsolated]);
        nft(&net.switch, "bridge", "hook forward", "udp dport 5000 drop");
        assert_faults(&examine(&net.switch, membership), &[Id::PortIsolated, Id::FirewallDropsData]);
    }
}

#[test]
fn rule_of_a_switch_and_the_mtu_of_its_port_are_named() {
    if !has_programs() {
        return;
    }
    let net = Switched::with(GROUP, 1400, SwitchOptions::managed());
    nft(&net.switch, "bridge", "hook forward", "udp dport 5000 drop");
    run(&net.switch, &format!("ip link set dev {} mtu 1000 && ip link set dev br0 mtu 1500", net.ports[1]));
    let report = examine(&net.switch, "239.1.2.3%br0:5000");
    assert_faults(&report, &[Id::MtuTooSmall, Id::FirewallDropsData]);
}

/// Loses the last pieces of all datagrams on the way.
fn lose_last_pieces(net: &Net) {
    let rules = "add table bridge t; add chain bridge t c { type filter hook forward priority 0 ; }; \
        add rule bridge t c ether type ip @nh,50,1 0 @nh,51,13 > 0 drop; \
        add rule bridge t c ether type ip6 frag more-fragments 0 frag frag-off > 0 drop";
    run(&net.lan.inside(), &format!("nft '{rules}'"));
}

/// A stream of datagrams in pieces.
fn pieces(net: &Net, to: &str) -> Stream {
    Stream::sized(&net.sender, to, 4000, |_| {})
}

#[test]
fn strict_filter_and_lost_pieces_are_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    net.second_lan();
    let _stream = pieces(&net, GROUP);
    assert_faults(&examine(&net.receiver, MEMBERSHIP), &[]);
    net.receiver.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    run(&net.receiver, "ip route add 10.9.0.1/32 dev eth1");
    assert_faults(&examine(&net.receiver, MEMBERSHIP), &[Id::ReversePathFilter]);
    lose_last_pieces(&net);
    assert_faults(&examine(&net.receiver, MEMBERSHIP), &[Id::FragmentsLost, Id::ReversePathFilter]);
}

#[test]
fn rule_and_lost_pieces_are_named() {
    if !has_programs() {
        return;
    }
    for (to, membership) in FAMILIES {
        let net = Net::new();
        lose_last_pieces(&net);
        let _stream = pieces(&net, to);
        assert_faults(&examine(&net.receiver, membership), &[Id::FragmentsLost]);
        nft(&net.receiver, "inet", "hook input", "udp dport 5000 drop");
        assert_faults(&examine(&net.receiver, membership), &[Id::FragmentsLost, Id::FirewallDropsData]);
    }
}

#[test]
fn missing_or_wrong_membership_and_lost_pieces_are_named() {
    if !has_programs() {
        return;
    }
    for (to, group, bind) in [(GROUP, "239.1.2.3", "0.0.0.0:5000"), (GROUP_V6, "ff15::1234", "[::]:5000")] {
        let net = Net::new();
        net.second_lan();
        let _stream = pieces(&net, to);
        for (joins, id) in [(&[][..], Id::NotJoined), (&[(group, "eth1")][..], Id::JoinedOtherInterface)] {
            let _listener = listener(&net.receiver, bind, joins);
            assert_faults(&examine_port(&net.receiver, 5000), &[id]);
        }
        lose_last_pieces(&net);
        for (joins, id) in [(&[][..], Id::NotJoined), (&[(group, "eth1")][..], Id::JoinedOtherInterface)] {
            let _listener = listener(&net.receiver, bind, joins);
            assert_faults(&examine_port(&net.receiver, 5000), &[Id::FragmentsLost, id]);
        }
    }
}
