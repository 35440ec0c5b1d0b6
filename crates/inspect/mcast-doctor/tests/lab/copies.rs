//! Datagrams that arrive more than once because of how programs open their sockets.

use std::net::{SocketAddr, UdpSocket};

use mcast_doctor::{Finding, Id, Report, Severity};
use socket2::SockRef;

use crate::net::{
    Listener, Net, Stream, assert_healthy, examine, examine_port, has_programs, listener, options, run,
};

/// Each group with an address of the sender, another one, and the membership.
const FAMILIES: [(&str, &str, &str, &str); 2] = [
    ("239.1.2.3:5000", "10.9.0.1", "10.9.0.11", "239.1.2.3%eth0:5000"),
    ("[ff15::1234]:5000", "fd09::1", "fd09::11", "[ff15::1234%eth0]:5000"),
];

/// Streams from an address of the sender.
fn stream_from(net: &Net, source: &str, to: &str) -> Stream {
    let (to, source): (SocketAddr, std::net::IpAddr) = (to.parse().unwrap(), source.parse().unwrap());
    let index = net.sender.interface_index("eth0").unwrap();
    let open = || {
        let socket = UdpSocket::bind((source, 6060)).unwrap();
        match source {
            std::net::IpAddr::V4(own) => SockRef::from(&socket).set_multicast_if_v4(&own).unwrap(),
            std::net::IpAddr::V6(_) => SockRef::from(&socket).set_multicast_if_v6(index).unwrap(),
        }
        socket
    };
    Stream::by(net.sender.run(open).unwrap(), to, 64)
}

fn add_second_address(net: &Net, address: &str) {
    let command = match address.contains(':') {
        true => format!("ip address add {address}/64 dev eth0 nodad"),
        false => format!("ip address add {address}/24 dev eth0"),
    };
    run(&net.sender, &command);
}

fn warning(report: &Report, id: Id) -> &Finding {
    let is_this = |finding: &&Finding| finding.id == id && finding.severity == Severity::Warning;
    let Some(found) = report.findings.iter().find(is_this) else { panic!("no {id}: {report:#?}") };
    assert!(report.findings.iter().all(|finding| finding.severity != Severity::Fault), "{report:#?}");
    found
}

#[test]
fn sender_that_sends_once_per_address_is_named() {
    if !has_programs() {
        return;
    }
    for (to, first, second, membership) in FAMILIES {
        let net = Net::new();
        add_second_address(&net, second);
        let _streams = [stream_from(&net, first, to), stream_from(&net, second, to)];
        let report = examine(&net.receiver, membership);
        let found = warning(&report, Id::DuplicatePath);
        let mac = mcast_packet::MacAddress(net.ports[0].hardware_address).to_string();
        assert!([first, second, &mac].iter().all(|word| found.cause.contains(word)), "{found:#?}");
    }
}

/// Two programs of one host that send different payloads from two addresses.
#[test]
fn two_streams_of_one_host_are_no_copies() {
    if !has_programs() {
        return;
    }
    let (to, first, second, membership) = FAMILIES[0];
    let net = Net::new();
    add_second_address(&net, second);
    let other = net.sender.run(|| UdpSocket::bind((second, 6060)).unwrap()).unwrap();
    SockRef::from(&other).set_multicast_if_v4(&second.parse().unwrap()).unwrap();
    let payload = |number: u64| [&b"other"[..], &number.to_be_bytes()].concat();
    let _streams = (stream_from(&net, first, to), Stream::of(other, to.parse().unwrap(), payload));
    assert_healthy(&examine(&net.receiver, membership));
}

/// Opens a socket for each interface on one port.
fn socket_per_interface(net: &Net, group: &str) -> [Listener; 2] {
    let any = if group.contains(':') { "[::]:5000" } else { "0.0.0.0:5000" };
    ["eth0", "eth1"].map(|interface| listener(&net.receiver, any, &[(group, interface)]))
}

#[test]
fn socket_per_interface_receives_what_the_others_joined() {
    for (group, remedy) in [("239.1.2.3", "IP_MULTICAST_ALL to 0"), ("ff15::1234", "SO_BINDTODEVICE")] {
        let net = Net::new();
        let _second = net.second_lan();
        let sockets = socket_per_interface(&net, group);
        let to = SocketAddr::new(group.parse().unwrap(), 5000).to_string();
        let _stream = Stream::to(&net.sender, &to);
        let report = examine_port(&net.receiver, 5000);
        let found = warning(&report, Id::ForeignGroupsLeak);
        assert!(found.cause.contains("twice"), "{found:#?}");
        assert!(format!("{:?}", found.remedies).contains(remedy), "{found:#?}");
        drop(sockets);
    }
}

#[test]
fn socket_per_interface_with_its_own_groups_only_is_healthy() {
    for group in ["239.1.2.3", "ff15::1234"] {
        let net = Net::new();
        let _second = net.second_lan();
        let sockets = socket_per_interface(&net, group);
        for (socket, interface) in sockets.iter().zip(["eth0", "eth1"]) {
            match group.contains(':') {
                true => SockRef::from(&**socket).bind_device(Some(interface.as_bytes())).unwrap(),
                false => options(socket).set_multicast_all_v4(false).unwrap(),
            }
        }
        let to = SocketAddr::new(group.parse().unwrap(), 5000).to_string();
        let _stream = Stream::to(&net.sender, &to);
        let report = examine_port(&net.receiver, 5000);
        assert!(report.findings.iter().all(|finding| finding.id != Id::ForeignGroupsLeak), "{report:#?}");
    }
}
