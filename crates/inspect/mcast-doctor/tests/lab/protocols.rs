//! Groups of protocols without UDP and ports: VRRP, OSPF, PIM.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::ops::ControlFlow;
use std::process::Stdio;

use mcast::InterfaceSelector;
use mcast_doctor::{
    ArrivalStatus, Depth, Error, HostError, Id, IpProtocol, ProgramSelector, ProtocolTarget, Report, Verdict,
    examine_program, examine_programs, examine_protocol, explain_capture_of,
};
use mcast_lab::{Child, Host};
use mcast_packet::InternetChecksum;
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{
    Net, Stream, assert_healthy, assert_only, briefly, examine_process, has_programs, nft, run,
};
use crate::started::examine_command;
use crate::treatment::on;

crate::table::cases! {
    two_masters: TwoMasters, "two senders of VRRP for one virtual router", || masters(VRRP[0]);
    two_masters_v6: TwoMasters, "the same, IPv6", || masters(VRRP[1]);
    vrrp_of_two_versions: ProtocolMismatch, "two senders of VRRP, versions 2 and 3", versions;
    ospf_hellos_that_differ: ProtocolMismatch, "two senders of OSPF, hello intervals of 10 and 5 s", || hellos("224.0.0.5");
    ospf_hellos_that_differ_v6: ProtocolMismatch, "the same, IPv6", || hellos("ff02::5");
    ptp_without_udp: NothingArrives, "PTP over Ethernet, and a member that expects it over UDP", || ptp("224.0.1.129%eth0:320");
    ptp_without_udp_v6: NothingArrives, "the same, IPv6", || ptp("[ff0e::181%eth0]:320");
    vrrp_with_a_wrong_checksum: BadChecksum, "VRRP with a checksum of 0", damaged;
}

const VRRP: [&str; 2] = ["224.0.0.18", "ff02::12"];

/// Joins a group with a raw socket of a protocol, and reads.
const RECEIVER: &str = "import socket, struct, sys
group, protocol, interface = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ':' in group
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, protocol)
index = struct.pack('i', socket.if_nametoindex(interface))
if v6: s.setsockopt(41, 20, socket.inet_pton(socket.AF_INET6, group) + index)
else: s.setsockopt(0, 35, socket.inet_aton(group) + bytes(4) + index)
print('joined', flush=True)
while True: s.recv(2048)";

/// A program that is ended when it is dropped.
struct Program(Child);

impl Program {
    fn receive(host: &Host, group: &str, protocol: u8, interface: &str) -> Self {
        Self::start(host, &["-c", RECEIVER, group, &protocol.to_string(), interface])
    }

    fn start(host: &Host, arguments: &[&str]) -> Self {
        let mut python = host.command("python3").unwrap();
        python.args(arguments);
        let mut child = python.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "joined\n");
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends packets of a protocol to a group from `eth0`, with this hop limit and source.
fn stream(host: &Host, group: &str, protocol: u8, hop_limit: u8, source: Option<&str>) -> Stream {
    stream_of(host, group, (protocol, hop_limit), source, vec![0; 32])
}

/// The same, with this message.
fn stream_of(
    host: &Host,
    group: &str,
    (protocol, hop_limit): (u8, u8),
    source: Option<&str>,
    message: Vec<u8>,
) -> Stream {
    let group: IpAddr = group.parse().unwrap();
    let index = host.interface_index("eth0").unwrap();
    let open = || {
        let domain = Domain::for_address(SocketAddr::new(group, 0));
        let protocol = Some(Protocol::from(i32::from(protocol)));
        let socket = Socket::new(domain, Type::RAW, protocol).unwrap();
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
        }
        match group {
            IpAddr::V4(_) => {
                socket.bind_device(Some(b"eth0")).unwrap();
                socket.set_multicast_ttl_v4(u32::from(hop_limit)).unwrap();
            }
            IpAddr::V6(_) => {
                socket.set_multicast_if_v6(index).unwrap();
                socket.set_multicast_hops_v6(u32::from(hop_limit)).unwrap();
            }
        }
        UdpSocket::from(socket)
    };
    let to = match group {
        IpAddr::V4(group) => SocketAddr::from((group, 0)),
        IpAddr::V6(group) => SocketAddrV6::new(group, 0, 0, index).into(),
    };
    Stream::of(host.run(open).unwrap(), to, move |_| message.clone())
}

/// Returns an advertisement of virtual router 51, every second, with the checksum of the message and these addresses.
fn advertisement(version: u8, priority: u8, addresses: Option<(IpAddr, IpAddr)>) -> Vec<u8> {
    let timing = if version == 2 { [0, 1] } else { [0, 100] };
    let mut message = [&[version << 4 | 1, 51, priority, 1][..], &timing, &[0, 0, 10, 9, 0, 9]].concat();
    let sum = addresses.map_or_else(InternetChecksum::new, |(source, group)| {
        InternetChecksum::pseudo_header(source, group, 112, message.len() as u32).unwrap()
    });
    let checksum = sum.bytes(&message).finish();
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// Sends advertisements from a host with an address of its own.
fn master(host: &Host, group: &str, source: &str, (version, priority): (u8, u8)) -> Stream {
    run(
        host,
        &format!("ip address add {source}/64 dev eth0 2>/dev/null || ip address add {source}/24 dev eth0"),
    );
    let addresses = (source.parse().unwrap(), group.parse().unwrap());
    let message = advertisement(version, priority, (version == 3).then_some(addresses));
    stream_of(host, group, (112, 255), Some(source), message)
}

/// Examines a receiver that gets the advertisements of two senders.
fn masters(group: &str) -> Report {
    let net = Net::new();
    let sources = if group.contains(':') { ["fd09::a1", "fd09::a2"] } else { ["10.9.0.101", "10.9.0.102"] };
    let version = if group.contains(':') { 3 } else { 2 };
    let _first = master(&net.sender, group, sources[0], (version, 100));
    let _second = master(&net.sender, group, sources[1], (version, 200));
    examine(&net.receiver, group, 112, "eth0")
}

/// Sends announcements of PTP, domain 24, as frames on `eth0`.
const CLOCK: &str = "import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
message = bytes([0x0b, 2, 0, 64, 24]) + bytes(59)
print('joined', flush=True)
while True:
    s.send(bytes.fromhex('011b19000000') + bytes.fromhex('020000000001') + bytes.fromhex('88f7') + message)
    time.sleep(0.02)";

fn ptp(group: &str) -> Report {
    let net = Net::new();
    let _clock = Program::start(&net.sender, &["-c", CLOCK]);
    let report = crate::net::examine(&net.receiver, group);
    let cause = &report.findings[0].cause;
    assert!(cause.contains("over Ethernet alone") && cause.contains("domain 24"), "{cause}");
    report
}

fn versions() -> Report {
    let net = Net::new();
    let _first = master(&net.sender, VRRP[0], "10.9.0.101", (2, 100));
    let _second = master(&net.sender, VRRP[0], "10.9.0.102", (3, 200));
    examine(&net.receiver, VRRP[0], 112, "eth0")
}

fn damaged() -> Report {
    let net = Net::new();
    let message = vec![0x21, 51, 100, 1, 0, 1, 0, 0, 10, 9, 0, 9];
    let _stream = stream_of(&net.sender, VRRP[0], (112, 255), None, message);
    examine(&net.receiver, VRRP[0], 112, "eth0")
}

/// Returns a hello in area 0 with a dead interval of 40 s.
fn hello(is_v6: bool, interval: u8) -> Vec<u8> {
    let mut message = vec![0; 44];
    message[..2].copy_from_slice(&[if is_v6 { 3 } else { 2 }, 1]);
    if is_v6 {
        message[24..28].copy_from_slice(&[0, interval, 0, 40]);
    } else {
        message[24..36].copy_from_slice(&[255, 255, 255, 0, 0, interval, 0, 1, 0, 0, 0, 40]);
    }
    message
}

fn hellos(group: &str) -> Report {
    let net = Net::new();
    let is_v6 = group.contains(':');
    let sources = if is_v6 { ["fd09::a1", "fd09::a2"] } else { ["10.9.0.101", "10.9.0.102"] };
    sources.iter().for_each(|source| {
        run(&net.sender, &format!("ip address add {source}/{} dev eth0", if is_v6 { 64 } else { 24 }));
    });
    let streams = [10, 5].into_iter().zip(sources).map(|(interval, source)| {
        stream_of(&net.sender, group, (89, 1), Some(source), hello(is_v6, interval))
    });
    let _streams: Vec<_> = streams.collect();
    let report = examine(&net.receiver, group, 89, "eth0");
    assert!(report.findings[0].cause.contains("hello interval"), "{report:#?}");
    report
}

fn examine(host: &Host, group: &str, protocol: u8, interface: &str) -> Report {
    let target = ProtocolTarget::new(group.parse().unwrap(), IpProtocol::new(protocol).unwrap());
    let target = target.on(InterfaceSelector::Name(interface.into()));
    on(host, || examine_protocol(&target, &briefly(), &mut |_| ControlFlow::Continue(())).unwrap())
}

#[test]
fn packets_of_a_protocol_without_ports_arrive() {
    for (group, protocol, hop_limit) in
        [(VRRP[0], 112, 255), (VRRP[1], 112, 255), ("224.0.0.5", 89, 1), ("ff02::5", 89, 1)]
    {
        let net = Net::new();
        let _stream = stream(&net.sender, group, protocol, hop_limit, None);
        let report = examine(&net.receiver, group, protocol, "eth0");
        assert_eq!(report.findings, [], "{report:#?}");
        assert_eq!(report.arrival, ArrivalStatus::Arrives, "{report:#?}");
        assert_eq!(report.verdict(), Verdict::Healthy, "{report:#?}");
        let flow = serde_json::to_value(&report.flows[0]).unwrap();
        assert_eq!((&flow["group"], &flow["depth"]), (&group.into(), &"arrives".into()), "{flow}");
        assert!(flow["source"].as_str().unwrap().parse::<IpAddr>().is_ok(), "{flow}");
        let report = examine(&net.sender, group, protocol, "eth0");
        assert_eq!(report.flows[0].depth, Depth::Leaves, "{report:#?}");
        assert_eq!(
            (report.findings.as_slice(), report.verdict()),
            (&[][..], Verdict::Healthy),
            "{report:#?}"
        );
    }
}

#[test]
fn firewall_that_drops_the_protocol_is_named_at_the_receiver() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook input", "meta l4proto 112 drop");
        let _stream = stream(&net.sender, group, 112, 255, None);
        let report = examine(&net.receiver, group, 112, "eth0");
        assert_only(&report, Id::FirewallDropsData);
        assert!(report.findings[0].cause.contains("nft inet test c handle"), "{report:#?}");
    }
}

#[test]
fn rule_for_udp_is_not_accused_of_dropping_another_protocol() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook input", "meta l4proto udp drop");
        let _stream = stream(&net.sender, group, 112, 255, None);
        let report = examine(&net.receiver, group, 112, "eth0");
        assert_eq!(
            (report.findings.as_slice(), report.arrival),
            (&[][..], ArrivalStatus::Arrives),
            "{report:#?}"
        );
    }
}

#[test]
fn output_rule_is_named_at_the_sender() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        nft(&net.sender, "inet", "hook output", "meta l4proto 112 counter drop");
        let _stream = stream(&net.sender, group, 112, 255, None);
        let report = examine(&net.sender, group, 112, "eth0");
        assert_only(&report, Id::FirewallDropsOutput);
    }
}

#[test]
fn raw_socket_of_a_process_is_examined() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        let program = Program::receive(&net.receiver, group, 112, "eth0");
        let _stream = stream(&net.sender, group, 112, 255, None);
        let report = examine_process(&net.receiver, program.0.id());
        assert_eq!(
            (report.findings.as_slice(), report.arrival),
            (&[][..], ArrivalStatus::Arrives),
            "{report:#?}"
        );
        nft(&net.receiver, "inet", "hook input", "meta l4proto 112 drop");
        let report = examine_process(&net.receiver, program.0.id());
        assert_only(&report, Id::FirewallDropsData);
        assert!(report.findings[0].subject.program.as_ref().unwrap().contains("python3"), "{report:#?}");
    }
}

#[test]
fn process_that_has_joined_on_the_other_interface_is_named() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        let _second = net.second_lan();
        let program = Program::receive(&net.receiver, group, 112, "eth1");
        let _stream = stream(&net.sender, group, 112, 255, None);
        let report = examine_process(&net.receiver, program.0.id());
        assert_only(&report, Id::JoinedOtherInterface);
    }
}

#[test]
fn hop_limit_that_receivers_of_the_protocol_discard_is_named() {
    for group in VRRP {
        let net = Net::new();
        let _stream = stream(&net.sender, group, 112, 64, None);
        let report = examine(&net.receiver, group, 112, "eth0");
        assert_only(&report, Id::TtlTooSmall);
    }
}

#[test]
fn reverse_path_filter_drops_other_protocols_as_well() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    run(&net.sender, "ip address add 10.77.0.1/32 dev eth0");
    run(&net.receiver, "ip route add 10.77.0.0/24 dev lo && echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter");
    let _stream = stream(&net.sender, VRRP[0], 112, 255, Some("10.77.0.1"));
    let report = examine(&net.receiver, VRRP[0], 112, "eth0");
    assert_only(&report, Id::ReversePathFilter);
}

/// VRRP sends every second, PIM every 30 s.
#[test]
fn silence_is_a_fault_only_if_the_protocol_should_have_sent() {
    let net = Net::new();
    let report = examine(&net.receiver, VRRP[0], 112, "eth0");
    assert_only(&report, Id::NothingArrives);
    for group in ["224.0.0.13", "ff02::d"] {
        let report = examine(&net.receiver, group, 103, "eth0");
        assert_eq!(
            (report.findings.as_slice(), report.verdict()),
            (&[][..], Verdict::Unknown),
            "{report:#?}"
        );
    }
}

fn examine_alone(host: &Host) -> Report {
    on(host, || examine_programs(&briefly(), &mut |_| ControlFlow::Continue(())).unwrap())
}

#[test]
fn raw_sockets_count_where_no_program_is_named() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        let _program = Program::receive(&net.receiver, group, 112, "eth0");
        let _stream = stream(&net.sender, group, 112, 255, None);
        let report = examine_alone(&net.receiver);
        assert_healthy(&report);
        assert_eq!((report.flows.len(), report.arrival), (1, ArrivalStatus::Arrives), "{report:#?}");
        nft(&net.receiver, "inet", "hook input", "meta l4proto 112 drop");
        let report = examine_alone(&net.receiver);
        assert_only(&report, Id::FirewallDropsData);
        assert!(report.findings[0].subject.program.as_ref().unwrap().contains("python3"), "{report:#?}");
    }
}

/// VRRP is over its interval, PIM is not.
#[test]
fn protocol_that_rests_leaves_nothing_undecided_where_no_program_is_named() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let pim = Program::receive(&net.receiver, "224.0.0.13", 103, "eth0");
    let report = examine_alone(&net.receiver);
    assert_healthy(&report);
    assert_eq!(report.verdict(), Verdict::Healthy, "{report:#?}");
    assert_eq!((report.flows.as_slice(), report.open_questions.len()), (&[][..], 1), "{report:#?}");
    drop(pim);
    let _vrrp = Program::receive(&net.receiver, VRRP[0], 112, "eth0");
    assert_only(&examine_alone(&net.receiver), Id::NothingArrives);
}

/// A multicast router sets its routes by a raw socket of IGMP, which has joined nothing.
#[test]
fn socket_of_a_multicast_router_need_not_join() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let script = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 2)
print('joined', flush=True)
while True: s.recv(2048)";
    let _router = Program::start(&net.receiver, &["-c", script]);
    let _reports = stream(&net.sender, "224.0.0.22", 2, 1, None);
    assert_healthy(&examine_alone(&net.receiver));
}

#[test]
fn program_with_raw_sockets_only_is_started_and_examined() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        let _stream = stream(&net.sender, group, 112, 255, None);
        let command = ["python3", "-c", RECEIVER, group, "112", "eth0"];
        assert_healthy(&examine_command(&net.receiver, &command));
        nft(&net.receiver, "inet", "hook input", "meta l4proto 112 drop");
        assert_only(&examine_command(&net.receiver, &command), Id::FirewallDropsData);
    }
}

#[test]
fn process_with_raw_sockets_in_another_network_is_found_there() {
    if !has_programs() {
        return;
    }
    for group in VRRP {
        let net = Net::new();
        let program = Program::receive(&net.receiver, group, 112, "eth0");
        let id = program.0.id();
        let target = ProgramSelector::Process(id);
        let examine = || examine_program(target, &briefly(), &mut |_| ControlFlow::Continue(()));
        let error = on(&net.sender, || examine().unwrap_err());
        assert!(matches!(error, Error::Host(HostError::OtherNamespace { pid, .. }) if pid == id), "{error}");
    }
}

/// Routers that agree are neighbours, and a master with a backup is alone.
#[test]
fn routers_that_agree_are_not_accused() {
    if !has_programs() {
        return;
    }
    for (group, version) in [(VRRP[0], 2), (VRRP[0], 3), (VRRP[1], 3)] {
        let net = Net::new();
        let source = if group.contains(':') { "fd09::a1" } else { "10.9.0.101" };
        let _master = master(&net.sender, group, source, (version, 100));
        assert_healthy(&examine(&net.receiver, group, 112, "eth0"));
    }
    let net = Net::new();
    let _first = stream_of(&net.sender, "224.0.0.5", (89, 1), None, hello(false, 10));
    // Without a designated router, the masks are not compared.
    let with_mask = [&hello(false, 10)[..26], &[0, 0], &hello(false, 10)[28..]].concat();
    let _second = stream_of(&net.receiver, "224.0.0.5", (89, 1), None, with_mask.clone());
    assert_healthy(&examine(&net.receiver, "224.0.0.5", 89, "eth0"));
    let designated = |message: &[u8]| [&message[..36], &[10, 9, 0, 1], &message[40..]].concat();
    let net = Net::new();
    let _first = stream_of(&net.sender, "224.0.0.5", (89, 1), None, designated(&hello(false, 10)));
    let _second = stream_of(&net.receiver, "224.0.0.5", (89, 1), None, designated(&with_mask));
    assert_only(&examine(&net.receiver, "224.0.0.5", 89, "eth0"), Id::ProtocolMismatch);
}

/// What a master receives and does not take explains that there are two.
#[test]
fn rule_that_makes_two_masters_is_named_at_one_of_them() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    nft(&net.receiver, "inet", "hook input", "meta l4proto 112 drop");
    let _first = master(&net.sender, VRRP[0], "10.9.0.101", (2, 100));
    let _second = master(&net.receiver, VRRP[0], "10.9.0.102", (2, 200));
    assert_only(&examine(&net.receiver, VRRP[0], 112, "eth0"), Id::FirewallDropsData);
}

/// Returns a frame with an advertisement for a capture file.
fn frame(source: &str, ttl: u8, message: &[u8]) -> Vec<u8> {
    let [from, to] = [source, VRRP[0]].map(|text| text.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let length = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0xc0, length[0], length[1], 0, 0, 0, 0, ttl, 112, 0, 0][..], &from, &to].concat();
    let checksum = InternetChecksum::new().bytes(&header).finish().to_be_bytes();
    header[10..12].copy_from_slice(&checksum);
    [&[1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 1, 8, 0][..], &header, message].concat()
}

/// Examines a file with one frame at each time, in tenths of a second.
fn explain(frames: &[(u32, Vec<u8>)], group: &str, protocol: u8) -> Report {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (time, frame) in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [1_700_000_000 + time / 10, time % 10 * 100_000, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap");
    std::fs::write(&path, bytes).unwrap();
    let target = ProtocolTarget::new(group.parse().unwrap(), IpProtocol::new(protocol).unwrap());
    explain_capture_of(&path, &target).unwrap()
}

/// One master from 10.9.0.1 at these times, in tenths of a second.
fn advertisements(source: &str, times: impl IntoIterator<Item = u32>) -> Vec<(u32, Vec<u8>)> {
    let frame = frame(source, 255, &advertisement(2, 100, None));
    times.into_iter().map(|time| (time, frame.clone())).collect()
}

fn seconds(range: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
    range.map(|second| second * 10)
}

#[test]
fn protocol_in_a_file_is_examined() {
    let report = explain(&advertisements("10.9.0.1", seconds(0..20)), VRRP[0], 112);
    assert_healthy(&report);
    assert_eq!((report.verdict(), report.flows[0].on_wire), (Verdict::Healthy, Some(20)), "{report:#?}");
    assert_only(&explain(&advertisements("10.9.0.1", seconds(0..20)), VRRP[1], 112), Id::NothingArrives);
    let pim = explain(&advertisements("10.9.0.1", seconds(0..20)), "224.0.0.13", 103);
    assert_eq!((pim.findings.as_slice(), pim.verdict()), (&[][..], Verdict::Unknown), "{pim:#?}");
    let low = (0..20).map(|time| (time * 10, frame("10.9.0.1", 64, &advertisement(2, 100, None))));
    assert_only(&explain(&low.collect::<Vec<_>>(), VRRP[0], 112), Id::TtlTooSmall);
}

#[test]
fn missed_advertisements_in_a_file_are_named() {
    let pause = advertisements("10.9.0.1", seconds(0..10).chain(seconds(15..25)));
    assert_only(&explain(&pause, VRRP[0], 112), Id::StreamStopped);
    let one_is_missing = advertisements("10.9.0.1", seconds(0..10).chain(seconds(11..25)));
    assert_healthy(&explain(&one_is_missing, VRRP[0], 112));
}

#[test]
fn masters_in_a_file_are_two_only_if_they_send_at_once() {
    let both = |first: std::ops::Range<u32>, second: std::ops::Range<u32>| {
        let mut frames = advertisements("10.9.0.1", seconds(first));
        frames.extend(advertisements("10.9.0.2", seconds(second).map(|time| time + 5)));
        frames.sort();
        explain(&frames, VRRP[0], 112)
    };
    assert_only(&both(0..20, 5..20), Id::TwoMasters);
    // One takes over from the other.
    assert_healthy(&both(0..10, 11..20));
    let resigned = (100, frame("10.9.0.1", 255, &advertisement(2, 0, None)));
    let mut frames = advertisements("10.9.0.1", seconds(0..10));
    frames.push(resigned);
    frames.push((200, [vec![0xff; 12], vec![0x88, 0xcc], vec![0; 46]].concat()));
    assert_healthy(&explain(&frames, VRRP[0], 112));
}

#[test]
fn program_with_packet_sockets_only_is_not_called_healthy() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let script = "import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88f7))
s.bind(('eth0', 0x88f7))
print('joined', flush=True)
while True: s.recv(2048)";
    let clock = Program::start(&net.receiver, &["-c", script]);
    let target = ProgramSelector::Process(clock.0.id());
    let examine = || examine_program(target, &briefly(), &mut |_| ControlFlow::Continue(()));
    let error = on(&net.receiver, || examine().unwrap_err()).to_string();
    assert!(error.contains("EtherType 0x88f7"), "{error}");
}
