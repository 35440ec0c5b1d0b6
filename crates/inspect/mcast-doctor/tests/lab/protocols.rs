//! Groups of protocols without UDP and ports: VRRP, OSPF, PIM.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::ops::ControlFlow;
use std::process::Stdio;

use mcast::InterfaceSelector;
use mcast_doctor::{
    ArrivalStatus, Depth, Error, Id, IpProtocol, ProgramSelector, ProtocolTarget, Report, Verdict,
    examine_program, examine_programs, examine_protocol,
};
use mcast_lab::{Child, Host};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{
    Net, Stream, assert_healthy, assert_only, briefly, examine_process, has_programs, nft, run,
};
use crate::started::examine_command;
use crate::treatment::on;

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
    Stream::by(host.run(open).unwrap(), to, 32)
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
        assert!(matches!(error, Error::OtherNamespace { pid, .. } if pid == id), "{error}");
    }
}
