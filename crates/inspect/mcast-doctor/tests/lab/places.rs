//! What one place of a machine sees and the next does not: a port and its bridge, a membership and the interface on which the group
//! arrives.

use mcast_doctor::{Finding, Id, Report, Verdict};
use mcast_lab::{Host, SwitchOptions};

use crate::boxes::Routed;
use crate::drops::{attach_xdp_to, can_trace};
use crate::net::{
    Net, Stream, assert_only, assert_received, examine, examine_port, has, has_programs, nft, options, run,
};

crate::table::cases! {
    vxlan_of_another_network: OtherVxlan, "VXLAN 5 at the sender, VXLAN 6 at the receiver", vxlan_of_another_network;
    vxlan_of_another_network_v6: OtherVxlan, "the same, carried by IPv6", vxlan_of_another_network_v6;
    vxlan_in_another_group: OtherVxlan, "a VXLAN in another group at the receiver, the switch floods", vxlan_in_another_group;
}

/// A group, and the membership on an interface.
const V4: &str = "239.1.2.3:5000";
const V6: &str = "[ff15::1234]:5000";

fn membership(group: &str, interface: &str) -> String {
    match group {
        V4 => format!("239.1.2.3%{interface}:5000"),
        _ => format!("[ff15::1234%{interface}]:5000"),
    }
}

/// Makes `eth0` of the receiver a port of the bridge `br9`, which takes its addresses.
fn with_bridge() -> Net {
    with_bridge_behind(SwitchOptions::default())
}

fn with_bridge_behind(switch: SwitchOptions) -> Net {
    let net = Net::with(switch);
    run(
        &net.receiver,
        "ip link add br9 type bridge mcast_snooping 0 && ip link set br9 up && ip address flush dev eth0 scope global \
        && ip link set eth0 master br9 && ip address add 10.9.0.2/24 dev br9 && ip address add fd09::2/64 dev br9 nodad",
    );
    net
}

fn only(report: &Report, id: Id) -> &Finding {
    assert_only(report, id);
    report.findings.iter().find(|finding| finding.id == id).unwrap()
}

fn has_ebtables() -> bool {
    let found = std::process::Command::new("ebtables-nft").arg("-V").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        mcast_lab::skip("this test needs ebtables-nft");
    }
    found && has_programs()
}

#[test]
fn frames_whose_address_ebtables_changes_are_lost_at_its_rule() {
    if !has_ebtables() {
        return;
    }
    let rule = "-j dnat --to-destination 02:00:00:00:00:09";
    for (group, matches) in
        [(V4, "-p IPv4 --ip-destination 239.0.0.0/8"), (V6, "-p IPv6 --ip6-destination ff15::/16")]
    {
        let net = with_bridge();
        let _stream = Stream::to(&net.sender, group);
        let membership = membership(group, "br9");
        assert_received(&examine(&net.receiver, &membership));
        run(&net.receiver, &format!("ebtables-nft -t nat -A PREROUTING {matches} {rule}"));
        let report = examine(&net.receiver, &membership);
        let finding = only(&report, Id::Redirected);
        assert!(finding.cause.contains("`nft bridge nat PREROUTING handle"), "{}", finding.cause);
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
        // A rule of `nft` in this table would keep ebtables from listing it.
        let remedy = &finding.remedies[0];
        run(&net.receiver, &remedy.command().unwrap());
        assert_received(&examine(&net.receiver, &membership));
        run(&net.receiver, "ebtables-nft -t nat -L | grep -q 5000");
        run(&net.receiver, &remedy.undo.as_ref().unwrap().text());
        run(&net.receiver, "! ebtables-nft -t nat -L | grep -q 5000");
    }
}

#[test]
fn frames_whose_address_nft_changes_are_lost_at_its_rule() {
    if !has_programs() {
        return;
    }
    let net = with_bridge();
    nft(&net.receiver, "bridge", "hook prerouting", "udp dport 5000 ether daddr set 02:00:00:00:00:09");
    let _stream = Stream::to(&net.sender, V4);
    let report = examine(&net.receiver, &membership(V4, "br9"));
    assert!(only(&report, Id::Redirected).cause.contains("`nft bridge test c handle"), "{report:#?}");
}

#[test]
fn frames_that_a_rule_of_ebtables_drops_are_lost_at_the_rule() {
    if !has_ebtables() {
        return;
    }
    let rules = [
        (V4, "nat -A PREROUTING -p IPv4 --ip-destination 239.1.2.3"),
        (V6, "filter -A INPUT -p IPv6 --ip6-proto udp --ip6-dport 5000"),
    ];
    for (group, rule) in rules {
        let net = with_bridge();
        run(&net.receiver, &format!("ebtables-nft -t {rule} -j DROP"));
        let _stream = Stream::to(&net.sender, group);
        let report = examine(&net.receiver, &membership(group, "br9"));
        let finding = only(&report, Id::FirewallDropsData);
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
        let command = finding.remedies[0].command().unwrap();
        assert!(command.starts_with("ebtables-nft -t"), "{command}");
        run(&net.receiver, &command);
        assert_received(&examine(&net.receiver, &membership(group, "br9")));
    }
}

#[test]
fn group_that_reaches_a_port_and_not_its_bridge_is_lost_between_them() {
    if !has_programs() {
        return;
    }
    for group in [V4, V6] {
        let net = with_bridge();
        // Whether the rule matches cannot be known.
        let rule = "udp dport 5000 limit rate 100000/second ether daddr set 02:00:00:00:00:09";
        nft(&net.receiver, "bridge", "hook prerouting", rule);
        let _stream = Stream::to(&net.sender, group);
        let report = examine(&net.receiver, &membership(group, "br9"));
        let finding = only(&report, Id::LostInThisMachine);
        assert!(finding.cause.contains("between eth0 and br9"), "{}", finding.cause);
        assert!(finding.evidence.iter().any(|each| each.location.contains("test c handle")), "{finding:#?}");
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
    }
}

/// Returns the port of the switch that leads to the sender.
fn port_of_sender(switch: &Host) -> String {
    let list = "ip -o link show master br0 | head -1 | cut -d: -f2 | cut -d@ -f1 | tr -d ' \n'";
    let output = switch.command("sh").unwrap().args(["-c", list]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn program_at_the_port_of_a_switch_is_named_where_its_bridge_is_examined() {
    const XDP_DROP: i32 = 1;
    const XDP_PASS: i32 = 2;
    if !has_programs() || !can_trace() {
        return;
    }
    for group in [V4, V6] {
        let net = Net::new();
        let switch = net.lan.inside();
        let port = port_of_sender(&switch);
        let _stream = Stream::to(&net.sender, group);
        let program = attach_xdp_to(&switch, &port, XDP_PASS);
        assert_received(&examine(&switch, &membership(group, "br0")));
        drop(program);
        let _program = attach_xdp_to(&switch, &port, XDP_DROP);
        let report = examine(&switch, &membership(group, "br0"));
        let finding = only(&report, Id::XdpDrops);
        assert_eq!(finding.subject.interface().as_deref(), Some(port.as_str()), "{}", finding.cause);
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
    }
}

/// A program that joins `232.1.2.3` from a source on an interface, until its input ends.
const JOINS: &str = "import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 5000))
address = lambda text: struct.pack('=HH4s8x', socket.AF_INET, 0, socket.inet_aton(text)).ljust(128, bytes(1))
index = struct.pack('=I4x', socket.if_nametoindex(sys.argv[1]))
s.setsockopt(socket.IPPROTO_IP, 46, index + address('232.1.2.3') + address(sys.argv[2]))
print('joined', flush=True)
sys.stdin.read()";

#[test]
fn group_from_another_source_on_another_interface_is_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _second = net.second_lan();
    let _stream = Stream::to(&net.sender, "232.1.2.3:5000");
    for (interface, source, expected) in [
        (
            "eth1",
            "10.9.0.99",
            Some("from 10.9.0.1, but is joined on eth1 for 10.9.0.99 only, which does not admit 10.9.0.1"),
        ),
        ("eth1", "10.9.0.1", Some("232.1.2.3:5000 arrives on eth0, but is joined on eth1.")),
        ("eth0", "10.9.0.1", None),
    ] {
        let mut python = net.receiver.command("python3").unwrap();
        python.args(["-c", JOINS, interface, source]);
        let pipes = python.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut String::new()).unwrap();
        let report = examine_port(&net.receiver, 5000);
        child.kill().unwrap();
        child.wait().unwrap();
        match expected {
            Some(cause) => {
                let found = only(&report, Id::JoinedOtherInterface);
                assert!(found.cause.contains(cause), "{}", found.cause);
                assert!(!has(&report, Id::NothingArrives), "{report:#?}");
            }
            None => assert!(!has(&report, Id::JoinedOtherInterface), "{report:#?}"),
        }
    }
}

/// Connects both hosts by a VXLAN over the group 239.99.1.1 or ff15::99, which takes datagrams at these ports, and sends a group inside.
fn with_vxlan(outer: &str, ports: [u16; 2], group: &str) -> (Net, Stream) {
    let outer = format!("group {outer}");
    carried_by([&outer, &outer], ports, group)
}

/// The same, over these other ends.
fn carried_by(outer: [&str; 2], ports: [u16; 2], group: &str) -> (Net, Stream) {
    let net = Net::new();
    for (number, host) in [&net.sender, &net.receiver].into_iter().enumerate() {
        let (address, outer, port) = (number + 1, outer[number], ports[number]);
        run(
            host,
            &format!(
                "ip link add vx0 type vxlan id 5 {outer} dev eth0 dstport {port} ttl 4 && ip link set vx0 up \
                && ip address add 10.88.0.{address}/24 dev vx0 && ip address add fd88::{address}/64 dev vx0 nodad"
            ),
        );
    }
    let to: std::net::SocketAddr = group.parse().unwrap();
    let socket = crate::net::socket(&net.sender, to.ip(), "vx0");
    let stream = Stream::by(socket.into(), to, 64);
    (net, stream)
}

#[test]
fn rule_below_a_vxlan_between_two_addresses_is_named() {
    if !has_programs() {
        return;
    }
    for (outer, group) in
        [(["remote 10.9.0.2", "remote 10.9.0.1"], V4), (["remote fd09::2", "remote fd09::1"], V6)]
    {
        let (net, _stream) = carried_by(outer, [4789, 4789], group);
        assert_received(&examine(&net.receiver, &membership(group, "vx0")));
        nft(&net.receiver, "inet", "hook input", "udp dport 4789 reject");
        let report = examine(&net.receiver, &membership(group, "vx0"));
        let cause = &only(&report, Id::FirewallDropsData).cause;
        assert!(cause.contains(":4789 that arrive on eth0 and carry vx0"), "{cause}");
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
    }
}

/// The datagrams that carry a VXLAN have a route, an interface, rules and a neighbour of their own at the sender.
#[test]
fn what_keeps_a_vxlan_from_its_other_end_is_named_at_the_sender() {
    if !has_programs() {
        return;
    }
    const OUTPUT: &str = "nft add table inet t && nft 'add chain inet t c { type filter hook output priority 0 ; }' \
                          && nft add rule inet t c udp dport 4789 drop";
    for (outer, group, before, id, clause) in [
        (
            "remote 10.9.0.77 dev eth0",
            V4,
            "true",
            Id::DroppedWhenSending,
            "no host on eth0 answers for 10.9.0.77",
        ),
        (
            "remote fd09::77 dev eth0",
            V6,
            "true",
            Id::DroppedWhenSending,
            "no host on eth0 answers for fd09::77",
        ),
        (
            "remote 10.77.0.7",
            V6,
            "ip route add 10.77.0.0/24 via 10.9.0.77",
            Id::DroppedWhenSending,
            "answers for 10.9.0.77",
        ),
        ("remote 10.77.0.7", V4, "true", Id::DroppedWhenSending, "there is no route to 10.77.0.7"),
        ("remote fd77::7", V4, "true", Id::DroppedWhenSending, "there is no route to fd77::7"),
        ("remote 10.9.0.2 dev eth0", V4, "ip link set eth0 down", Id::InterfaceDown, "eth0 is down"),
        ("group 239.99.1.1 dev eth0", V6, "ip link set eth0 down", Id::InterfaceDown, "eth0 is down"),
        ("remote 10.9.0.2 dev eth0", V6, OUTPUT, Id::FirewallDropsOutput, "They carry vx0"),
        ("group ff15::99 dev eth0", V4, OUTPUT, Id::FirewallDropsOutput, "They carry vx0"),
    ] {
        let (net, _stream) = sending_by_vxlan(outer, group);
        run(&net.sender, before);
        for report in [examine_port(&net.sender, FROM), examine(&net.sender, &membership(group, "vx0"))] {
            let cause = &only(&report, id).cause;
            assert!(cause.contains(clause), "{outer}, {before}: {cause}");
            assert!(!report.summary().contains("leave"), "{}", report.summary());
        }
    }
}

#[test]
fn vxlan_that_gets_to_one_of_its_other_ends_is_a_warning() {
    if !has_programs() {
        return;
    }
    let (net, _stream) = sending_by_vxlan("remote 10.9.0.2 dev eth0", V4);
    let report = examine_port(&net.sender, FROM);
    assert_eq!(
        (report.verdict(), report.findings.as_slice()),
        (Verdict::Healthy, [].as_slice()),
        "{report:#?}"
    );
    run(&net.sender, "bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.9.0.77");
    let report = examine_port(&net.sender, FROM);
    assert_eq!(report.verdict(), Verdict::Warnings, "{report:#?}");
    assert!(only(&report, Id::DroppedWhenSending).cause.contains("answers for 10.9.0.77"), "{report:#?}");
}

/// Of the other ends of a large network, many may be gone.
#[test]
fn many_other_ends_of_a_vxlan_that_are_gone_are_counted() {
    if !has_programs() {
        return;
    }
    let (net, _stream) = sending_by_vxlan("remote 10.9.0.2 dev eth0", V4);
    let append = |last: u8| format!("bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.9.0.{last}");
    run(&net.sender, &(100..140).map(append).collect::<Vec<_>>().join(" && "));
    let report = examine_port(&net.sender, FROM);
    assert_eq!((report.verdict(), report.findings.len()), (Verdict::Warnings, 6), "{report:#?}");
    let last = &report.findings[5].cause;
    assert!(last.starts_with("The same holds 35 more times"), "{last}");
}

#[test]
fn router_whose_vxlan_gets_nowhere_is_named() {
    if !has_programs() {
        return;
    }
    for (remote, group, membership) in
        [("10.2.0.77", V4, "239.1.2.3%r0:5000"), ("fd02::77", V6, "[ff15::1234%r0]:5000")]
    {
        let net = Routed::new();
        let vxlan = format!("ip link add vx0 type vxlan id 5 remote {remote} dev r1 dstport 4789");
        run(&net.router, &format!("{vxlan} && ip link set vx0 up && ip address add 10.88.0.9/24 dev vx0"));
        let to: std::net::SocketAddr = group.parse().unwrap();
        net.route(&to.ip().to_string(), &["vx0"]);
        let _stream = Stream::to(&net.sender, group);
        let report = examine(&net.router, membership);
        let cause = &only(&report, Id::DroppedWhenSending).cause;
        assert!(cause.contains(&format!("no host on r1 answers for {remote}")), "{cause}");
    }
}

/// A bridge floods what others send to a VXLAN, too: that is not what a receiver there is about.
#[test]
fn receiver_beside_a_vxlan_that_gets_nowhere_is_healthy() {
    if !has_programs() {
        return;
    }
    let net = with_bridge();
    let (_lan, _port) = net.second_lan();
    run(
        &net.receiver,
        "ip link add vx0 type vxlan id 5 remote 10.8.0.77 dev eth1 dstport 4789 && ip link set vx0 up && ip link set vx0 master br9",
    );
    let report = net.examine(V4, &membership(V4, "br9"));
    assert_received(&report);
    assert!(format!("{:?}", report.observations).contains("port vx0"), "{report:#?}");
}

/// The port from which a group is sent by a VXLAN.
const FROM: u16 = 6000;

fn sending_by_vxlan(outer: &str, group: &str) -> (Net, Stream) {
    let net = Net::new();
    run(
        &net.sender,
        &format!(
            "ip link add vx0 type vxlan id 5 {outer} dstport 4789 ttl 4 && ip link set vx0 up \
            && ip address add 10.88.0.1/24 dev vx0 && ip address add fd88::1/64 dev vx0 nodad"
        ),
    );
    let to: std::net::SocketAddr = group.parse().unwrap();
    let index = net.sender.interface_index("vx0").unwrap();
    let open = || {
        let any = if to.is_ipv6() { "[::]" } else { "0.0.0.0" };
        let socket = std::net::UdpSocket::bind(format!("{any}:{FROM}")).unwrap();
        let options = options(&socket);
        match to.is_ipv6() {
            true => options.set_multicast_if_v6(index).unwrap(),
            false => options.set_multicast_if_v4(&[10, 88, 0, 1].into()).unwrap(),
        }
        socket
    };
    let socket = net.sender.run(open).unwrap();
    (net, Stream::by(socket, to, 64))
}

#[test]
fn innocent_rules_below_a_silent_vxlan_are_not_accused() {
    if !has_programs() {
        return;
    }
    let (net, stream) = carried_by(["remote 10.9.0.2", "remote 10.9.0.1"], [4789, 4789], V4);
    drop(stream);
    // It would drop what another family carries, and nothing that carries this one has the other port.
    nft(&net.receiver, "ip6", "hook input", "udp dport 4789 drop");
    nft(&net.receiver, "ip", "hook input", "udp dport 4788 drop");
    let report = examine(&net.receiver, &membership(V4, "vx0"));
    assert!(!has(&report, Id::FirewallDropsData), "{report:#?}");
}

#[test]
fn what_carries_a_silent_vxlan_is_examined() {
    if !has_programs() {
        return;
    }
    for (outer, group) in [("239.99.1.1", V4), ("ff15::99", V6), ("239.99.1.1", V6)] {
        let (net, _stream) = with_vxlan(outer, [4789, 4789], group);
        assert_received(&examine(&net.receiver, &membership(group, "vx0")));
        nft(&net.receiver, "inet", "hook input", "udp dport 4789 counter drop");
        let report = examine(&net.receiver, &membership(group, "vx0"));
        let finding = only(&report, Id::FirewallDropsData);
        assert!(
            finding.cause.contains("carry vx0") && finding.cause.contains("`nft inet test c handle"),
            "{}",
            finding.cause
        );
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
        run(&net.receiver, &finding.remedies[0].command().unwrap());
        assert_received(&examine(&net.receiver, &membership(group, "vx0")));
        let (net, _stream) = with_vxlan(outer, [4789, 8472], group);
        let report = examine(&net.receiver, &membership(group, "vx0"));
        let cause = &only(&report, Id::WrongPort).cause;
        assert!(cause.contains("port 8472") && cause.contains("port 4789"), "{cause}");
        assert!(!has(&report, Id::NothingArrives), "{report:#?}");
    }
}

/// Returns the report on a receiver whose VXLAN is replaced by another one.
fn with_other_vxlan(outer: &str, options: &str) -> mcast_doctor::Report {
    let (net, _stream) = with_vxlan(outer, [4789, 4789], V4);
    run(
        &net.receiver,
        &format!(
            "ip link del vx0 && ip link add vx0 type vxlan {options} dev eth0 dstport 4789 && ip link set vx0 up && ip address add 10.88.0.2/24 dev vx0"
        ),
    );
    examine(&net.receiver, &membership(V4, "vx0"))
}

pub(crate) fn vxlan_of_another_network() -> mcast_doctor::Report {
    with_other_vxlan("239.99.1.1", "id 6 group 239.99.1.1")
}

pub(crate) fn vxlan_of_another_network_v6() -> mcast_doctor::Report {
    with_other_vxlan("ff15::99", "id 6 group ff15::99")
}

pub(crate) fn vxlan_in_another_group() -> mcast_doctor::Report {
    with_other_vxlan("239.99.1.1", "id 5 group 239.99.1.2")
}

#[test]
fn port_that_the_kernel_has_open_for_a_vxlan_is_not_of_another_program() {
    if !has_programs() {
        return;
    }
    let (net, _stream) = with_vxlan("239.99.1.1", [4789, 4789], V4);
    let report = examine(&net.receiver, "239.99.1.1%eth0:4789");
    assert_eq!(report.findings, [], "{report:#?}");
    assert_eq!(report.verdict(), mcast_doctor::Verdict::Unknown, "{report:#?}");
    let is_kernel =
        |question: &mcast_doctor::OpenQuestion| question.reason.contains("open for the VXLAN vx0");
    assert!(report.open_questions.iter().any(is_kernel), "{report:#?}");
}

/// The report passes the IP layer and the tap of the bridge, and a rule drops it at the port.
#[test]
fn rule_of_a_bridge_that_drops_reports_is_named() {
    if !has_programs() {
        return;
    }
    for (group, rule) in [
        (V4, "ether type ip meta l4proto igmp drop"),
        (V6, "ether type ip6 icmpv6 type { mld-listener-report, mld2-listener-report } drop"),
    ] {
        let net = with_bridge_behind(SwitchOptions::managed());
        nft(&net.receiver, "bridge", "hook output", rule);
        let _stream = Stream::to(&net.sender, group);
        let report = examine(&net.receiver, &membership(group, "br9"));
        let finding = only(&report, Id::FirewallDropsIgmp);
        assert_eq!(finding.severity, mcast_doctor::Severity::Fault, "{report:#?}");
        assert!(finding.cause.contains("leave br9 by eth0"), "{report:#?}");
    }
}
