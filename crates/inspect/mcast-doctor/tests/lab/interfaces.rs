//! Interfaces that do not carry a group: ports, macvlan and VXLAN interfaces, and those that are down.

use mcast_doctor::{ArrivalStatus, Id, Report};
use mcast_lab::Lab;

use crate::net::{
    Net, Stream, assert_received, examine, examine_port, has, has_programs, listener, nft, run, socket,
    stream_of_program,
};

crate::table::cases! {
    joined_on_port: JoinedOtherInterface, "joined on `eth0`, which is a port of the bridge `br0`", joined_on_port;
    joined_on_port_v6: JoinedOtherInterface, "the same, IPv6", joined_on_port_v6;
    program_on_port: JoinedOtherInterface, "the same, program examined", program_on_port;
    sent_by_loopback: SentByOtherInterface, "a program sends by `lo`, it is examined", sent_by_loopback;
    sender_without_carrier: InterfaceDown, "the switch port of a sending program is down, it is examined", sender_without_carrier;
    multicast_switched_off: InterfaceDown, "`ip link set eth0 multicast off`, joined on all interfaces", multicast_switched_off;
    vxlan_without_remotes: DroppedWhenSending, "a program sends by a VXLAN without remote hosts, it is examined", vxlan_without_remotes;
    macvlan_in_source_mode: MacvlanIsolation, "joined on a macvlan in source mode", macvlan_in_source_mode;
    interface_down_of_two: InterfaceDown, "one of two interfaces is down, joined on all", one_of_two_interfaces_is_down;
    macvlan_behind_a_rule_v6: FirewallDropsData, "`nft` ingress rule of the interface below a macvlan, joined on the macvlan, IPv6", macvlan_behind_a_rule_v6;
    program_on_macvlan_behind_a_rule_v6: FirewallDropsData, "the same, program examined (macvlan)", program_on_macvlan_behind_a_rule_v6;
    macvlan_behind_a_filter: TcDrops, "a `tc` ingress filter of the interface below a macvlan", macvlan_behind_a_filter;
}

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// The only interface to a network is without its flag for groups.
pub(crate) fn multicast_switched_off() -> Report {
    let net = Net::new();
    run(&net.receiver, "ip link set eth0 multicast off");
    let report = net.examine(GROUP, GROUP);
    assert!(format!("{report:?}").contains("ip link set dev eth0 multicast on"), "{report:#?}");
    report
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

/// A rule at the interface below a macvlan.
pub(crate) fn macvlan_behind_a_rule_v6() -> Report {
    macvlan_behind_rule().examine(GROUP_V6, "[ff15::1234%mv0]:5000")
}

/// The same for a program.
pub(crate) fn program_on_macvlan_behind_a_rule_v6() -> Report {
    let net = macvlan_behind_rule();
    let _listener = listener(&net.receiver, "[::]:5000", &[("ff15::1234", "mv0")]);
    let _stream = Stream::to(&net.sender, GROUP_V6);
    examine_port(&net.receiver, 5000)
}

fn macvlan_behind_rule() -> Net {
    let net = Net::new();
    net.receiver.macvlan("mv0", "eth0", &["fd09::3/64"]).unwrap();
    nft(&net.receiver, "netdev", "hook ingress device eth0", "udp dport 5000 drop");
    net
}

/// A traffic control filter at the interface below a macvlan.
pub(crate) fn macvlan_behind_a_filter() -> Report {
    let net = Net::new();
    net.receiver.macvlan("mv0", "eth0", &["10.9.0.3/24"]).unwrap();
    run(
        &net.receiver,
        "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress pref 7 bpf da bytecode '1,6 0 0 2'",
    );
    net.examine(GROUP, "239.1.2.3%mv0:5000")
}

#[test]
fn rule_behind_a_bridge_is_the_only_one_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(
        &net.receiver,
        "ip link add br0 type bridge && ip link set eth0 master br0 && ip link set br0 up && ip address add fd09::5/64 dev br0 nodad",
    );
    nft(&net.receiver, "ip6", "hook input", "udp dport 5000 numgen inc mod 2 0 drop");
    let report = net.examine(GROUP_V6, "[ff15::1234%br0]:5000");
    let [finding] = &report.findings[..] else { panic!("{report:#?}") };
    assert!(finding.id == Id::FirewallDropsData && finding.cause.contains("input hook"), "{finding:#?}");
}

/// Of two networks, the one with the sender is down.
pub(crate) fn one_of_two_interfaces_is_down() -> Report {
    let net = Net::new();
    let _second = net.second_lan();
    run(&net.receiver, "ip link set eth0 down");
    net.examine(GROUP, GROUP)
}

/// The address of the machine was left on the port of its new bridge.
fn bridged() -> Net {
    let net = Net::new();
    run(&net.receiver, "ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up");
    run(&net.receiver, "ip link set eth0 master br0");
    net
}

pub(crate) fn joined_on_port() -> Report {
    bridged().examine(GROUP, MEMBERSHIP)
}

pub(crate) fn joined_on_port_v6() -> Report {
    bridged().examine(GROUP_V6, MEMBERSHIP_V6)
}

pub(crate) fn program_on_port() -> Report {
    let net = bridged();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// A program that chose the loopback interface.
pub(crate) fn sent_by_loopback() -> Report {
    let net = Net::new();
    let socket = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
    socket.set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let _stream = Stream::by(socket.into(), GROUP.parse().unwrap(), 64);
    examine_port(&net.sender, port)
}

/// A program whose machine has lost its cable.
pub(crate) fn sender_without_carrier() -> Report {
    let net = Net::new();
    let switch = net.lan.inside();
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    run(
        &switch,
        "for port in $(ip -o link show master br0 | sed 's/^[0-9]*: //; s/[@:].*//'); do ip link set $port down; done",
    );
    examine_port(&net.sender, port)
}

/// A VXLAN without a group and without entries for remote hosts.
pub(crate) fn vxlan_without_remotes() -> Report {
    let net = Net::new();
    run(&net.sender, "ip link add vx0 type vxlan id 7 dstport 4789 dev eth0 && ip link set vx0 up");
    run(&net.sender, "ip address add 10.7.0.1/24 dev vx0");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "vx0");
    examine_port(&net.sender, port)
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
fn modes_of_a_macvlan_that_isolate_it_are_named() {
    if !has_programs() {
        return;
    }
    for (mode, is_isolated) in [("private", true), ("vepa", true), ("bridge", false)] {
        let net = Net::new();
        run(&net.receiver, &format!("ip link add mv0 link eth0 type macvlan mode {mode}"));
        run(&net.receiver, "ip link set mv0 up && ip address add 10.9.0.77/24 dev mv0");
        let report = examine(&net.receiver, "239.1.2.3%mv0:5000");
        assert_eq!(has(&report, Id::MacvlanIsolation), is_isolated, "{mode}: {report:#?}");
        drop(report);
        assert_received(&net.examine(GROUP, "239.1.2.3%mv0:5000"));
    }
}

#[test]
fn program_in_a_container_without_a_network_is_cut_off() {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    let _listener = listener(&host, "0.0.0.0:5000", &[("239.1.2.3", "lo")]);
    let report = examine_port(&host, 5000);
    assert_eq!(report.findings[0].id, Id::InterfaceDown, "{report:#?}");
}
