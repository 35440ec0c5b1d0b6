//! Guarantee 5: unicast datagrams for another program on the same port still reach it, and it keeps
//! its groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::slice::from_ref;

use mcast::{Family, Membership, Receiver};

use crate::net::{Net, PORT, TIMEOUT, both_families, texts_until};

both_families!(unicast_for_another_program_on_the_port_reaches_it, leaving_does_not_affect_other_receivers,);

fn unicast_for_another_program_on_the_port_reaches_it(net: &Net) {
    for groups in [1, 3, 100] {
        let memberships: Vec<Membership> =
            (0..groups).map(|number| net.on("eth0", net.group(number))).collect();
        let before = program(net);
        let receiver = net.joined(&memberships);
        assert_unicast_reaches(net, &before, &format!("{groups} groups, joined after"));
        drop(before);
        let after = program(net);
        assert_unicast_reaches(net, &after, &format!("{groups} groups, joined before"));
        still_receives(net, &receiver);
    }
}

fn leaving_does_not_affect_other_receivers(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let (one, two) = (net.joined(from_ref(&membership)), net.joined(from_ref(&membership)));
    net.receiver.run(|| one.leave(&membership)).unwrap().unwrap();
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&two, "end"), ["end"]);
}

fn still_receives(net: &Net, receiver: &Receiver) {
    net.send("eth0", net.group(0), b"end");
    assert_eq!(texts_until(receiver, "end"), ["end"]);
}

/// Opens the socket of a program that shares the port and waits for unicast datagrams.
fn program(net: &Net) -> UdpSocket {
    let any: IpAddr = match net.family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    net.receiver
        .run(|| {
            let domain = socket2::Domain::for_address(SocketAddr::new(any, PORT));
            let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::new(any, PORT).into()).unwrap();
            socket.set_read_timeout(Some(TIMEOUT)).unwrap();
            socket.into()
        })
        .unwrap()
}

fn assert_unicast_reaches(net: &Net, program: &UdpSocket, when: &str) {
    let to = SocketAddr::new(net.address(0, 2), PORT);
    let from = SocketAddr::new(net.address(0, 1), 0);
    net.sender.run(|| UdpSocket::bind(from).unwrap().send_to(b"unicast", to).unwrap()).unwrap();
    let mut buffer = [0; 64];
    let length = program.recv(&mut buffer).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(&buffer[..length], b"unicast", "{when}");
}
