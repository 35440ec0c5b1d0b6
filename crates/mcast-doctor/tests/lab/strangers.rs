//! Networks and programs that somebody else thought of: faults at the sender, misplaced memberships, translated addresses,
//! and healthy ones that looked faulty.

use std::net::UdpSocket;

use mcast_doctor::{Id, Report};
use mcast_lab::{Host, Lab, SwitchOptions};

use crate::boxes::Routed;
use crate::net::{
    Net, Stream, assert_healthy, assert_received, examine, examine_host, examine_port, has_programs,
    idle_listener, listener, run, socket,
};
use crate::programs::Player;
use crate::started::examine_command;

const GROUP: &str = "239.1.2.3:5000";
const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// Streams from a host with a socket of its own, and returns its port.
fn stream_of_program(host: &Host, to: &str, interface: &str) -> (Stream, u16) {
    let to = to.parse::<std::net::SocketAddr>().unwrap();
    let socket = socket(host, to.ip(), interface);
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (Stream::by(socket.into(), to, 64), port)
}

/// Streams to an address that is not a group.
fn stream_by_unicast(host: &Host, to: &str) -> (Stream, u16) {
    let to: std::net::SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = host.run(|| UdpSocket::bind(any).unwrap()).unwrap();
    socket.set_broadcast(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    (Stream::by(socket, to, 64), port)
}

fn load(host: &Host, chain: &str, rule: &str) {
    run(host, &format!("nft -f - <<'END'\ntable ip own {{\nchain c {{\n{chain};\n{rule}\n}}\n}}\nEND"));
}

/// The sender's address is translated to that of another machine, and joined with the original one.
pub(crate) fn translated_source() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook postrouting priority 100", "ip daddr 224.0.0.0/4 snat to 10.9.0.99");
    let _stream = Stream::to(&net.sender, GROUP);
    examine(&net.sender, "10.9.0.1@239.1.2.3%eth0:5000")
}

/// The same for a program that sends.
pub(crate) fn translated_source_of_program() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook postrouting priority 100", "udp dport 5000 counter snat to 10.9.0.99");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    examine_port(&net.sender, port)
}

/// A rule for a port that changes the destination on the way out.
pub(crate) fn translated_destination() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook output priority -100", "udp dport 5000 dnat to 239.9.9.9");
    let _stream = Stream::to(&net.sender, GROUP);
    examine(&net.sender, MEMBERSHIP)
}

/// The same for a program that sends.
pub(crate) fn translated_destination_of_program() -> Report {
    let net = Net::new();
    load(&net.sender, "type nat hook output priority -100", "udp dport 5000 dnat to 239.9.9.9");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    examine_port(&net.sender, port)
}

pub(crate) fn sent_by_unicast() -> Report {
    let net = Net::new();
    let _stream = stream_by_unicast(&net.sender, "10.9.0.2:5000");
    examine(&net.receiver, MEMBERSHIP)
}

pub(crate) fn sent_by_unicast_v6() -> Report {
    let net = Net::new();
    let _stream = stream_by_unicast(&net.sender, "[fd09::2]:5000");
    examine(&net.receiver, MEMBERSHIP_V6)
}

pub(crate) fn sent_by_broadcast() -> Report {
    let net = Net::new();
    let _stream = stream_by_unicast(&net.sender, "10.9.0.255:5000");
    let _listener = listener(&net.receiver, "239.1.2.3:5000", &[("239.1.2.3", "eth0")]);
    examine_port(&net.receiver, 5000)
}

pub(crate) fn sent_by_unicast_by_program() -> Report {
    let net = Net::new();
    let (_stream, port) = stream_by_unicast(&net.sender, "10.9.0.2:5000");
    examine_port(&net.sender, port)
}

/// The sender's machine has the right group joined, and sends to another.
pub(crate) fn other_group_sent_here() -> Report {
    let net = Net::new();
    let _stream = Stream::to(&net.sender, "239.1.3.2:5000");
    examine(&net.sender, MEMBERSHIP)
}

pub(crate) fn other_port_sent_here() -> Report {
    let net = Net::new();
    let _stream = Stream::to(&net.sender, "[ff15::1234]:500");
    examine(&net.sender, MEMBERSHIP_V6)
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

/// An IPsec policy that blocks what a program sends.
pub(crate) fn policy_blocks_output() -> Report {
    let net = Net::new();
    run(&net.sender, "ip xfrm policy add dir out dst 239.0.0.0/8 action block");
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
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

/// A process that inherited the socket should read it, and is stopped; its parent waits.
pub(crate) fn stopped_worker() -> Report {
    // The worker ends with its parent (`PR_SET_PDEATHSIG`).
    const WORKER: &str = "
import ctypes
worker = os.fork()
if worker == 0:
    ctypes.CDLL(None).prctl(1, 9)
    os.kill(os.getpid(), signal.SIGSTOP)
else:
    os.waitpid(worker, 0)";
    let net = Net::new();
    let _player = Player::start(&net.receiver, GROUP, WORKER);
    let _stream = Stream::to(&net.sender, GROUP);
    examine_port(&net.receiver, 5000)
}

/// A switch that forgets memberships long before it queries again.
pub(crate) fn forgetful_switch() -> Report {
    let net = Net::with(SwitchOptions::managed());
    let switch = net.lan.inside();
    run(&switch, "ip link set dev br0 type bridge mcast_membership_interval 500");
    examine_host(&switch)
}

/// A program that sends longer datagrams than fit, and forbids fragments.
pub(crate) fn message_too_long() -> Report {
    const SENDER: &str = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)
s.sendto(bytes(3000), ('239.1.2.3', 5000))";
    examine_command(&Net::new().receiver, &["python3", "-c", SENDER])
}

/// Returns whether a report has a finding with this id, of any severity.
fn has(report: &Report, id: Id) -> bool {
    report.findings.iter().any(|finding| finding.id == id)
}

#[test]
fn only_a_group_of_the_other_family_is_named() {
    let net = Net::new();
    let report = net.examine(GROUP_V6, MEMBERSHIP);
    assert!(has(&report, Id::SentToAnotherGroup) && has(&report, Id::NothingArrives), "{report:#?}");
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

#[test]
fn numbers_in_text_are_not_sequence_numbers() {
    let net = Net::new();
    let formats: [fn(u64) -> String; 4] = [
        |number| format!("{} volts", number + 10),
        |number| format!("{{\"seq\": {}, \"ok\": true}}", number + 100),
        |number| format!("{:06x}", number + 8),
        |number| format!("${number:04},240.5,-3.1*"),
    ];
    for format in formats {
        let socket = socket(&net.sender, [239, 1, 2, 3].into(), "eth0");
        let _stream =
            Stream::of(socket.into(), GROUP.parse().unwrap(), move |number| format(number).into_bytes());
        assert_received(&examine(&net.receiver, MEMBERSHIP));
    }
}

#[test]
fn router_that_has_joined_on_both_sides() {
    for (to, group) in [(GROUP, "239.1.2.3"), (GROUP_V6, "ff15::1234")] {
        let net = Routed::new();
        net.route(group, &["r1"]);
        let _stream = Stream::to(&net.sender, to);
        assert_received(&examine(&net.router, to));
    }
}

/// Reports to the group itself, which the kernel may drop after it has looked at them, are not datagrams.
#[test]
fn switch_with_an_old_querier() {
    if !has_programs() {
        return;
    }
    let net = Net::with(SwitchOptions::managed().igmp_version(2));
    let switch = net.lan.inside();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    assert_received(&examine(&switch, "239.1.2.3%br0:5000"));
}

#[test]
fn program_beside_one_whose_buffer_is_full() {
    let net = Net::new();
    let _listener = listener(&net.receiver, "0.0.0.0:5000", &[("239.1.2.3", "eth0")]);
    let full = idle_listener(&net.receiver, "0.0.0.0:6000", &[("239.7.7.7", "eth0")]);
    crate::net::options(&full).set_recv_buffer_size(2048).unwrap();
    let _other = Stream::to(&net.sender, "239.7.7.7:6000");
    let _stream = Stream::to(&net.sender, GROUP);
    // The buffer is full before the examination begins.
    while net
        .receiver
        .read_proc_net("udp")
        .unwrap()
        .lines()
        .filter(|line| line.contains(":1770 "))
        .all(|line| line.trim_end().ends_with(" 0"))
    {
        std::thread::yield_now();
    }
    assert_healthy(&examine_port(&net.receiver, 5000));
}

#[test]
fn masquerade_of_another_network() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    load(
        &net.sender,
        "type nat hook postrouting priority 100",
        "ip saddr 172.17.0.0/16 oifname \"eth0\" masquerade",
    );
    let (_stream, port) = stream_of_program(&net.sender, GROUP, "eth0");
    assert_healthy(&examine_port(&net.sender, port));
    assert_received(&examine(&net.sender, MEMBERSHIP));
}
