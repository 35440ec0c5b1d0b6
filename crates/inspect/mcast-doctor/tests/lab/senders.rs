//! Programs that cannot send, because of what their sockets have chosen, or because of the routes of their machine.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use mcast_doctor::{Finding, Id, Report, Severity, Verdict};
use mcast_lab::Host;
use socket2::{SockRef, Socket};

use crate::net::{Net, Stream, examine, examine_port, has_programs, run};

crate::table::cases! {
    sender_bound_to_an_address_that_moved: NoSuchInterface, "the address that a sender is bound to deleted", bound_address_moved;
    sender_with_a_renewed_address: NoSuchInterface, "the address in a sender's `IP_MULTICAST_IF` replaced", interface_address_renewed;
    sender_without_a_route_in_ipv6: NoRoute, "no route for IPv6 groups, sending program examined", without_route_v6;
    sender_without_an_ipv6_address: Ipv6NotReady, "the interface in a sender's `IPV6_MULTICAST_IF` has lost its IPv6 addresses", without_address_v6;
    sender_into_a_dead_tunnel: InterfaceDown, "the route for a group leads to a tunnel that no program serves", dead_tunnel;
    sender_with_a_deleted_interface_v6: NoSuchInterface, "the interface in a sender's `IPV6_MULTICAST_IF` deleted", interface_deleted_v6;
}

const GROUP: &str = "239.1.2.3:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const PORT: u16 = 6000;

/// Sends from a socket on the sender that is bound to port 6000 of an address.
fn sender(net: &Net, local: &str, prepare: impl FnOnce(SockRef<'_>) + Send) -> Stream {
    let to: SocketAddr = if local.starts_with('[') { GROUP_V6 } else { GROUP }.parse().unwrap();
    let open = || {
        let socket = UdpSocket::bind(format!("{local}:{PORT}")).unwrap();
        prepare(SockRef::from(&socket));
        socket
    };
    Stream::by(net.sender.run(open).unwrap(), to, 100)
}

/// Examines the sender after a change of its machine.
fn examine_after(net: &Net, change: &str) -> Report {
    run(&net.sender, change);
    examine_port(&net.sender, PORT)
}

fn index(host: &Host, name: &str) -> u32 {
    host.interface_index(name).unwrap()
}

/// A second interface of the sender, which is deleted.
const SECOND: &str = "ip link add eth1 type veth peer name far1 && ip link set far1 up && ip link set eth1 up && \
    ip address add 10.8.0.1/24 dev eth1 && ip -6 address add fd08::1/64 dev eth1 nodad";

/// The address that the sender is bound to moves to another host.
pub(crate) fn bound_address_moved() -> Report {
    let net = Net::new();
    run(&net.sender, "ip route del 224.0.0.0/4 && ip address add 10.9.0.50/24 dev eth0");
    let _stream = sender(&net, "10.9.0.50", |_| {});
    let report = examine_after(&net, "ip address del 10.9.0.50/24 dev eth0");
    assert_names(&report, &["bound to 10.9.0.50", "eth0"]);
    report
}

/// The address by which the sender has chosen its interface is renewed.
pub(crate) fn interface_address_renewed() -> Report {
    let net = Net::new();
    run(&net.sender, "ip route del 224.0.0.0/4");
    let by = Ipv4Addr::new(10, 9, 0, 1);
    let _stream = sender(&net, "0.0.0.0", move |socket| socket.set_multicast_if_v4(&by).unwrap());
    let report =
        examine_after(&net, "ip address del 10.9.0.1/24 dev eth0 && ip address add 10.9.0.7/24 dev eth0");
    assert_names(&report, &["10.9.0.1 (IP_MULTICAST_IF)", "eth0"]);
    report
}

/// The interface that an IPv6 sender has chosen is deleted.
pub(crate) fn interface_deleted_v6() -> Report {
    let net = Net::new();
    run(&net.sender, SECOND);
    let index = index(&net.sender, "eth1");
    let _stream = sender(&net, "[::]", move |socket| socket.set_multicast_if_v6(index).unwrap());
    let report = examine_after(&net, "ip link del eth1");
    assert_names(&report, &[&format!("index {index} (IPV6_MULTICAST_IF)")]);
    report
}

/// No route for IPv6 groups.
pub(crate) fn without_route_v6() -> Report {
    let net = Net::new();
    let _stream = sender(&net, "[::]", |_| {});
    examine_after(&net, "ip -6 route del multicast ff00::/8 dev eth0 table local")
}

/// The interface that an IPv6 sender has chosen has no address any more.
pub(crate) fn without_address_v6() -> Report {
    let net = Net::new();
    let index = index(&net.sender, "eth0");
    let _stream = sender(&net, "[::]", move |socket| socket.set_multicast_if_v6(index).unwrap());
    examine_after(&net, "ip -6 address flush dev eth0")
}

/// A tunnel whose program has ended.
const DEAD_TUNNEL: &str =
    "ip tuntap add tun0 mode tun && ip link set tun0 up && ip address add 10.8.0.2/24 dev tun0";

/// What the sender sends goes into the tunnel.
pub(crate) fn dead_tunnel() -> Report {
    let net = Net::new();
    let _stream = sender(&net, "0.0.0.0", |_| {});
    examine_after(&net, &format!("{DEAD_TUNNEL} && ip route replace 239.0.0.0/8 dev tun0"))
}

/// The rules that drop what leaves, for a family.
fn dropping(family: &str, rule: &str) -> String {
    format!(
        "nft 'table {family} f {{ chain o {{ type filter hook output priority 0; policy accept; {rule}; }}; }}'"
    )
}

/// The routes for groups of a family that a sender uses, deleted.
const ROUTES: [(&str, &str, &str, &str, &str); 2] = [
    ("ip", "0.0.0.0", "ip route del 224.0.0.0/4", GROUP, "ip daddr 239.0.0.0/8 drop"),
    (
        "ip6",
        "[::]",
        "ip -6 route del multicast ff00::/8 dev eth0 table local",
        GROUP_V6,
        "ip6 daddr ff15::/16 drop",
    ),
];

#[test]
fn policy_behind_what_keeps_a_program_from_sending_is_named() {
    if !has_programs() {
        return;
    }
    let cases = [
        ("0.0.0.0", "ip rule add to 224.0.0.0/4 prohibit pref 50", Id::PolicyRule),
        ("[::]", "ip -6 address flush dev eth0", Id::Ipv6NotReady),
    ];
    for (local, change, first) in cases {
        let net = Net::new();
        let index = index(&net.sender, "eth0");
        let _stream = sender(&net, local, move |socket| {
            let is_v6 = local.starts_with('[');
            if is_v6 { socket.set_multicast_if_v6(index) } else { socket.set_multicast_ttl_v4(4) }.unwrap();
        });
        run(&net.sender, &dropping("inet", "meta l4proto udp drop"));
        let report = examine_after(&net, change);
        assert_eq!(faults(&report), [first, Id::FirewallDropsOutput], "{report:#?}");
    }
}

#[test]
fn queue_that_no_program_reads_is_the_only_fault_of_its_sender() {
    if !has_programs() {
        return;
    }
    for (local, program) in [("0.0.0.0", "iptables-legacy"), ("[::]", "ip6tables-legacy")] {
        let net = Net::new();
        let _stream = sender(&net, local, |_| {});
        let report =
            examine_after(&net, &format!("{program} -A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 5"));
        assert_eq!(faults(&report), [Id::FirewallDropsOutput], "{report:#?}");
    }
}

fn faults(report: &Report) -> Vec<Id> {
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    faults.map(|finding| finding.id).collect()
}

#[test]
fn sender_that_finds_no_route_is_at_fault_with_the_rule_behind() {
    if !has_programs() {
        return;
    }
    for (family, local, change, _, _) in ROUTES {
        let net = Net::new();
        let _stream = sender(&net, local, |_| {});
        let report = examine_after(&net, change);
        assert_eq!((faults(&report), report.verdict()), (vec![Id::NoRoute], Verdict::Faults), "{report:#?}");
        assert!(report.open_questions.is_empty(), "{report:#?}");
        let report = examine_after(&net, &dropping(family, "meta l4proto udp drop"));
        assert_eq!(faults(&report), [Id::NoRoute, Id::FirewallDropsOutput], "{report:#?}");
    }
}

#[test]
fn idle_program_without_a_route_is_not_said_to_send() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.sender, "ip route del 224.0.0.0/4");
    run(&net.sender, &dropping("ip", "meta l4proto udp drop"));
    let _socket = net.sender.run(|| UdpSocket::bind(("0.0.0.0", PORT)).unwrap()).unwrap();
    let report = examine_port(&net.sender, PORT);
    assert_eq!((faults(&report), report.verdict()), (Vec::new(), Verdict::Unknown), "{report:#?}");
    assert!(has(&report, Id::NoRoute) && !has(&report, Id::FirewallDropsOutput), "{report:#?}");
}

#[test]
fn group_that_a_program_cannot_send_is_named_with_the_rule_behind() {
    if !has_programs() {
        return;
    }
    for (family, local, change, to, rule) in ROUTES {
        let net = Net::new();
        let _stream = sender(&net, local, |_| {});
        run(&net.sender, &format!("{change} && {}", dropping(family, rule)));
        let report =
            examine(&net.sender, &to.replace("239.1.2.3", "239.1.2.3%eth0").replace("1234]", "1234%eth0]"));
        let warned = |id| {
            let mut own = report.findings.iter().filter(|finding| finding.id == id);
            own.any(|finding| finding.severity == Severity::Warning && finding.subject.groups.len() == 1)
        };
        assert!(warned(Id::NoRoute) && warned(Id::FirewallDropsOutput), "{report:#?}");
        assert_eq!(faults(&report), [Id::NothingArrives], "{report:#?}");
    }
}

#[test]
fn receiver_on_the_machine_of_a_dead_tunnel_is_no_all_clear() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _stream = sender(&net, "0.0.0.0", |_| {});
    run(&net.sender, &format!("{DEAD_TUNNEL} && ip route replace 239.0.0.0/8 dev tun0"));
    let report = examine(&net.sender, "239.1.2.3%tun0:5000");
    assert_eq!(
        (faults(&report), report.verdict()),
        (vec![Id::InterfaceDown], Verdict::Faults),
        "{report:#?}"
    );
}

/// A tunnel that a program serves, and the default route by it.
const SERVED_TUNNEL: &str = "import fcntl, os, struct, subprocess
tunnel = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tunnel, 0x400454ca, struct.pack('16sH22x', b'tun0', 0x1001))
for words in ['link set tun0 up', 'address add 10.8.0.2/24 dev tun0', 'route add 0.0.0.0/1 dev tun0', 'route add 128.0.0.0/1 dev tun0']:
    subprocess.run(['ip', *words.split()], check=True)
print('served', flush=True)
while True:
    os.read(tunnel, 2000)";

#[test]
fn sender_whose_groups_a_vpn_takes_is_warned() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.sender, "ip route del 224.0.0.0/4");
    let mut python = net.sender.command("python3").unwrap();
    let mut child = python.args(["-c", SERVED_TUNNEL]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufRead::read_line(&mut BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
    let _stream = sender(&net, "0.0.0.0", |_| {});
    let reports = [examine_port(&net.sender, PORT), examine(&net.sender, GROUP)];
    // A route for groups is meant for them.
    run(&net.sender, "ip route add 239.0.0.0/8 dev tun0");
    let meant = examine_port(&net.sender, PORT);
    child.kill().unwrap();
    child.wait().unwrap();
    for report in reports {
        assert!(has(&report, Id::VpnTakesDefault), "{report:#?}");
    }
    assert!(!has(&meant, Id::VpnTakesDefault), "{meant:#?}");
}

#[test]
fn silence_on_a_vpn_that_may_carry_no_groups_names_it() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let mut python = net.receiver.command("python3").unwrap();
    let mut child = python.args(["-c", SERVED_TUNNEL]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufRead::read_line(&mut BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
    // As the kernel's WireGuard has it.
    run(&net.receiver, "ip link set tun0 multicast off");
    let reports =
        [examine(&net.receiver, "239.1.2.3%tun0:5000"), examine(&net.receiver, "239.1.2.3%eth0:5000")];
    child.kill().unwrap();
    child.wait().unwrap();
    let names_it = reports.map(|report| {
        assert_eq!(faults(&report), [Id::NothingArrives], "{report:#?}");
        format!("{:?}", report.findings).contains("tun0 is a tunnel without the flag MULTICAST")
    });
    assert_eq!(names_it, [true, false]);
}

/// Asserts that the finding has these words, and that the sender is not advised to add a route.
fn assert_names(report: &Report, words: &[&str]) {
    let found = report.findings.iter().find(|finding| finding.id == Id::NoSuchInterface);
    let Some(finding) = found else { panic!("{report:#?}") };
    let text = format!("{finding:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {finding:#?}");
    assert_eq!((finding.severity, report.verdict()), (Severity::Fault, Verdict::Faults), "{report:#?}");
    assert!(!has(report, Id::NoRoute), "{report:#?}");
}

fn has(report: &Report, id: Id) -> bool {
    report.findings.iter().any(|finding: &Finding| finding.id == id)
}

#[test]
fn sender_that_chose_a_deleted_interface_by_its_index_is_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.sender, SECOND);
    let index = index(&net.sender, "eth1");
    let by_index = move |socket: SockRef<'_>| {
        let file = File::from(OwnedFd::from(socket.try_clone().unwrap()));
        let change = format!("send-by ipv4 {index} instead-of route").parse().unwrap();
        mcast_sys::joined::change(std::process::id(), file.metadata().unwrap().ino(), &change).unwrap();
    };
    let _stream = sender(&net, "0.0.0.0", by_index);
    assert_names(&examine_after(&net, "ip link del eth1"), &["IP_MULTICAST_IF", "index"]);
}

#[test]
fn sender_bound_to_a_deleted_interface_is_named() {
    if !has_programs() {
        return;
    }
    for local in ["0.0.0.0", "[::]"] {
        let net = Net::new();
        run(&net.sender, SECOND);
        let _stream = sender(&net, local, |socket| socket.bind_device(Some(b"eth1")).unwrap());
        assert_names(&examine_after(&net, "ip link del eth1"), &["SO_BINDTODEVICE"]);
    }
}

/// The same, by a rule for routing. In IPv6, the routes for groups are in the local table, whose rule is the first.
#[test]
fn rule_that_rejects_a_group_is_named_to_a_silent_sender() {
    if !has_programs() {
        return;
    }
    for (kind, prefix) in [("prohibit", "239.1.2.3"), ("blackhole", "239.1.0.0/16")] {
        let net = Net::new();
        run(&net.sender, &format!("ip rule add to {prefix} {kind} pref 50"));
        let _stream = sender(&net, "0.0.0.0", |_| {});
        let report = examine_port(&net.sender, PORT);
        let found: Vec<_> = report.findings.iter().filter(|each| each.id == Id::PolicyRule).collect();
        let [finding] = found.as_slice() else { panic!("{prefix}: {report:#?}") };
        assert!(finding.cause.contains(&format!("to {prefix} {kind}")), "{}", finding.cause);
        assert_eq!(
            (finding.severity, report.verdict()),
            (Severity::Warning, Verdict::Unknown),
            "{report:#?}"
        );
    }
    let net = Net::new();
    run(&net.sender, "ip -6 rule add to ff15::/64 prohibit pref 50");
    let _stream = sender(&net, "[::]", |_| {});
    let report = examine_port(&net.sender, PORT);
    let is_claimed = report.findings.iter().any(|finding| finding.id == Id::PolicyRule);
    assert_eq!((is_claimed, report.verdict()), (false, Verdict::Healthy), "{report:#?}");
}

/// Which group it sends to is not known, so that it is a warning.
#[test]
fn route_that_rejects_a_group_is_named_to_a_silent_sender() {
    if !has_programs() {
        return;
    }
    for (kind, prefix, local, route) in [
        ("unreachable", "239.1.2.3/32", "0.0.0.0", "ip route"),
        ("prohibit", "239.0.0.0/8", "0.0.0.0", "ip route"),
        ("blackhole", "239.1.2.0/24", "0.0.0.0", "ip route"),
        ("unreachable", "ff15::/16", "[::]", "ip -6 route"),
    ] {
        let net = Net::new();
        let (add, table) = if local == "[::]" { ("-6 route", " table local") } else { ("route", "") };
        run(&net.sender, &format!("ip {add} add {kind} {prefix}{table}"));
        let _stream = sender(&net, local, |_| {});
        let report = examine_port(&net.sender, PORT);
        let found: Vec<_> = report.findings.iter().filter(|each| each.id == Id::NoRoute).collect();
        let [finding] = found.as_slice() else { panic!("{prefix}: {report:#?}") };
        assert!(
            finding.cause.contains(&format!("{kind} {}", prefix.trim_end_matches("/32"))),
            "{}",
            finding.cause
        );
        assert!(format!("{:?}", finding.remedies).contains(&format!("{route} del {kind}")), "{finding:#?}");
        assert_eq!(report.verdict(), Verdict::Unknown, "{report:#?}");
        // One that has chosen its interface sends all the same.
        if local != "[::]" {
            let net = Net::new();
            run(&net.sender, &format!("ip route add {kind} {prefix}"));
            let eth0 = Ipv4Addr::new(10, 9, 0, 1);
            let _stream = sender(&net, "0.0.0.0", |socket| socket.set_multicast_if_v4(&eth0).unwrap());
            let report = examine_port(&net.sender, PORT);
            assert_eq!(
                (report.verdict(), report.findings.as_slice()),
                (Verdict::Healthy, [].as_slice()),
                "{report:#?}"
            );
        }
    }
}

#[test]
fn senders_that_can_send_are_not_accused() {
    if !has_programs() {
        return;
    }
    let eth0 = Some(Ipv4Addr::new(10, 9, 0, 1));
    let cases = [
        // An address of a route of type local, which no interface has.
        ("ip route add local 10.7.0.0/24 dev lo", "10.7.0.5", None),
        ("ip address add 10.9.0.60/24 dev eth0", "10.9.0.60", None),
        ("ip address add 239.9.9.9/32 dev eth0 autojoin", "239.9.9.9", None),
        ("true", "0.0.0.0", None),
        ("ip route del 224.0.0.0/4", "0.0.0.0", eth0),
        ("true", "[::]", None),
    ];
    for (change, local, interface) in cases {
        let net = Net::new();
        run(&net.sender, change);
        // It is idle: what is judged is what it has chosen.
        let socket = net.sender.run(|| {
            let socket = UdpSocket::bind(format!("{local}:{PORT}")).unwrap();
            let options = SockRef::from(&socket);
            interface.into_iter().for_each(|by| options.set_multicast_if_v4(&by).unwrap());
            socket
        });
        let _socket: Socket = socket.unwrap().into();
        let report = examine_port(&net.sender, PORT);
        assert!(!has(&report, Id::NoSuchInterface) && !has(&report, Id::NoRoute), "{local}: {report:#?}");
    }
}
