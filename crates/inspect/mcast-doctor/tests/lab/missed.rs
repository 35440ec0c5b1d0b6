//! Faults that an earlier doctor called healthy, or did not name.

use std::net::SocketAddr;

use mcast_doctor::{Id, Verdict};
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use crate::net::{
    Net, Stream, assert_only, examine, examine_many, examine_port, has_programs, idle_listener, listener,
    options, rtp, run, socket,
};
use crate::started::examine_command;

const GROUP: &str = "239.1.2.3:5000";

#[test]
fn stream_that_loses_every_second_datagram_is_not_called_healthy() {
    for step in [2, 5] {
        let net = Net::new();
        let to: SocketAddr = GROUP.parse().unwrap();
        let sender = socket(&net.sender, to.ip(), "eth0");
        let _stream = Stream::of(sender.into(), to, move |number| rtp((number * step) as u16, 7));
        let report = examine_many(&net.receiver, "239.1.2.3%eth0:5000");
        assert_only(&report, Id::LostBeforeThisMachine);
        assert_eq!(report.verdict(), Verdict::Faults, "{report:#?}");
    }
}

#[test]
fn sender_without_an_address_is_at_fault_where_it_sends() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let to: SocketAddr = GROUP.parse().unwrap();
    let sender = net.sender.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    run(&net.sender, "ip address flush dev eth0 scope global && ip route replace 224.0.0.0/4 dev eth0");
    let _stream = Stream::by(sender, to, 100);
    let report = examine(&net.sender, "239.1.2.3%eth0:5000");
    assert!(report.findings.iter().any(|finding| finding.id == Id::SourceZero), "{report:#?}");
    assert_eq!(report.verdict(), Verdict::Faults, "{report:#?}");
}

#[test]
fn reader_whose_group_a_socket_on_another_port_has_joined_is_named() {
    let net = Net::new();
    let reader = listener(&net.receiver, "0.0.0.0:5000", &[]);
    options(&reader).set_multicast_all_v4(false).unwrap();
    let _member = listener(&net.receiver, "0.0.0.0:6000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine_port(&net.receiver, 5000);
    assert_only(&report, Id::OwnGroupsOnly);
}

#[test]
fn reader_of_groups_of_others_is_not_accused_while_it_receives() {
    let net = Net::new();
    let _reader = listener(&net.receiver, "0.0.0.0:5000", &[]);
    let _member = listener(&net.receiver, "0.0.0.0:6000", &[("239.1.2.3", "eth0")]);
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine_port(&net.receiver, 5000);
    assert_eq!(report.findings, [], "{report:#?}");
    assert_ne!(report.verdict(), Verdict::Faults, "{report:#?}");
}

/// A socket whose buffer is full from the first moment of the examination to the last, on a machine that drops many.
#[test]
fn full_buffer_is_not_taken_for_a_filter() {
    for group in [GROUP, "[ff15::1234]:5000"] {
        let net = Net::new();
        let to: SocketAddr = group.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:5000" } else { "[::]:5000" };
        let _idle = idle_listener(&net.receiver, any, &[(&to.ip().to_string(), "eth0")]);
        let _streams = [(); 8].map(|()| Stream::to(&net.sender, group));
        let report = examine_port(&net.receiver, 5000);
        assert_only(&report, Id::NotRead);
        assert!(report.findings.iter().all(|finding| finding.id != Id::SocketFilter), "{report:#?}");
    }
}

/// The socket that has joined receives IPv6 only; another one of the program, on the same port, is for another group.
#[test]
fn healthy_socket_on_the_port_is_not_offered_a_change() {
    let net = Net::new();
    let healthy = listener(&net.receiver, "[::]:5000", &[("ff15::9:9", "eth0")]);
    let index = net.receiver.interface_index("eth0").unwrap();
    let failing = net.receiver.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_only_v6(true).unwrap();
        socket.bind(&"[::]:5000".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.join_multicast_v4_n(&[239, 1, 2, 3].into(), &InterfaceIndexOrAddress::Index(index)).unwrap();
        socket
    });
    let _failing = failing.unwrap();
    let _streams = [Stream::to(&net.sender, GROUP), Stream::to(&net.sender, "[ff15::9:9]:5000")];
    let report = examine_port(&net.receiver, 5000);
    assert!(report.findings.iter().any(|finding| finding.id == Id::FamilyMismatch), "{report:#?}");
    assert!(report.findings.iter().all(|finding| finding.id != Id::OwnGroupsOnly), "{report:#?}");
    drop(healthy);
}

/// Receives two datagrams on a port, and ends soon after the doctor has begun to listen on its machine; joins before if its
/// argument is `join`, and reads only at the end if it is `idle`.
const ENDS: &str = "import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('0.0.0.0', 5000))
if sys.argv[1] == 'join':
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes([239, 1, 2, 3, 10, 9, 0, 2]))
read = lambda: [s.recv(2000) for _ in range(2)]
if sys.argv[1] != 'idle': read()
while len(open('/proc/thread-self/net/packet').readlines()) < 2: time.sleep(0.01)
time.sleep(0.2)
if sys.argv[1] == 'idle': read()";

/// Asserts that nobody is accused of losing what arrives for a program that ends while it is examined.
fn assert_not_accused(net: &Net, argument: &str) {
    let _stream = Stream::to(&net.sender, GROUP);
    let report = examine_command(&net.receiver, &["python3", "-c", ENDS, argument]);
    assert_only(&report, Id::ProgramEnded);
    assert_eq!(report.verdict(), Verdict::Unknown, "{argument}: {report:#?}");
}

#[test]
fn program_that_ends_while_examined_is_not_accused_of_losses() {
    if !has_programs() {
        return;
    }
    assert_not_accused(&Net::new(), "join");
    for argument in ["", "idle", "join"] {
        let net = Net::new();
        let _member = listener(&net.receiver, "0.0.0.0:6000", &[("239.1.2.3", "eth0")]);
        assert_not_accused(&net, argument);
    }
}
