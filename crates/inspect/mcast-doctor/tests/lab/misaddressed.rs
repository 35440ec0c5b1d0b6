//! Datagrams that are sent to another address than the group: unicast, another group, another port.

use std::net::{Ipv4Addr, UdpSocket};

use mcast_doctor::{Id, Report};
use mcast_lab::Host;
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{Net, Stream, examine, examine_port, has, listener};

crate::table::cases! {
    sent_by_unicast: SentToUnicast, "sent to the receiver's unicast address", sent_by_unicast;
    sent_by_unicast_v6: SentToUnicast, "the same, IPv6", sent_by_unicast_v6;
    sent_by_broadcast: SentToUnicast, "sent to the broadcast address, program examined", sent_by_broadcast;
    sent_by_unicast_by_program: SentToUnicast, "a program sends to a unicast address only, it is examined", sent_by_unicast_by_program;
    other_group_sent_here: SentToAnotherGroup, "sent to 239.1.3.2, 239.1.2.3 examined on the sender", other_group_sent_here;
    other_port_sent_here: WrongPort, "sent to port 500, port 5000 examined on the sender, IPv6", other_port_sent_here;
    other_scope: SentToAnotherGroup, "sent to ff02::1234, joined ff15::1234", other_scope;
    udp_lite: NothingArrives, "sent by UDP-Lite", udp_lite;
}

const MEMBERSHIP: &str = "239.1.2.3%eth0:5000";
const GROUP_V6: &str = "[ff15::1234]:5000";
const MEMBERSHIP_V6: &str = "[ff15::1234%eth0]:5000";

/// Streams to an address that is not a group.
fn stream_by_unicast(host: &Host, to: &str) -> (Stream, u16) {
    let to: std::net::SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = host.run(|| UdpSocket::bind(any).unwrap()).unwrap();
    socket.set_broadcast(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    (Stream::by(socket, to, 64), port)
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

/// The same group number in another scope.
pub(crate) fn other_scope() -> Report {
    let net = Net::new();
    let _stream = Stream::to(&net.sender, "[ff02::1234]:5000");
    examine(&net.receiver, MEMBERSHIP_V6)
}

/// UDP-Lite instead of UDP.
pub(crate) fn udp_lite() -> Report {
    const UDP_LITE: i32 = 136;
    let net = Net::new();
    let socket = net.sender.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::from(UDP_LITE))).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::new(10, 9, 0, 1)).unwrap();
        socket
    });
    let _stream = Stream::by(socket.unwrap().into(), "239.1.2.3:5000".parse().unwrap(), 64);
    let report = examine(&net.receiver, MEMBERSHIP);
    let is_named = report.findings.iter().any(|finding| finding.cause.contains("UDP-Lite"));
    assert!(is_named || !crate::drops::can_trace(), "{report:#?}");
    report
}

#[test]
fn only_a_group_of_the_other_family_is_named() {
    let net = Net::new();
    let report = net.examine(GROUP_V6, MEMBERSHIP);
    assert!(has(&report, Id::SentToAnotherGroup) && has(&report, Id::NothingArrives), "{report:#?}");
}
