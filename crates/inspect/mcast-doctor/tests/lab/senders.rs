//! Programs that cannot send, because of what their sockets have chosen, or because of the routes of their machine.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use mcast_doctor::{Finding, Id, Report, Severity, Verdict};
use mcast_lab::Host;
use socket2::{SockRef, Socket};

use crate::net::{Net, Stream, examine_port, has_programs, run};

crate::table::cases! {
    sender_bound_to_an_address_that_moved: NoSuchInterface, "the address that a sender is bound to deleted", bound_address_moved;
    sender_with_a_renewed_address: NoSuchInterface, "the address in a sender's `IP_MULTICAST_IF` replaced", interface_address_renewed;
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
