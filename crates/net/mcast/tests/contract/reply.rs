//! Replies are sent by the interface on which the datagram arrived, from the service's port.

use std::net::SocketAddr;

use mcast::{Family, InterfaceSelector, Membership, Receiver};

use crate::net::{Net, PORT, TIMEOUT, both_families};

both_families!(
    a_reply_comes_from_the_services_port_by_the_arrival_interface,
    replies_work_with_many_groups,
    each_reply_goes_by_the_interface_of_its_datagram,
);

fn a_reply_comes_from_the_services_port_by_the_arrival_interface(net: &Net) {
    // The routing table would choose another interface for the way back.
    let back = if net.family == Family::V4 { "10.0.0.1/32" } else { "fd00::1/128" };
    net.receiver.add_route(back, "eth1").unwrap();
    request_reply(net, &[Membership::new(net.group(1))]);
}

fn replies_work_with_many_groups(net: &Net) {
    let memberships: Vec<_> = (0..100).map(|number| net.on("eth0", net.group(number))).collect();
    request_reply(net, &memberships);
}

fn each_reply_goes_by_the_interface_of_its_datagram(net: &Net) {
    // The routing table would choose the other interface for each way back.
    for (network, other) in [(0, "eth1"), (1, "eth0")] {
        let prefix = if net.family == Family::V4 { 32 } else { 128 };
        net.receiver.add_route(&format!("{}/{prefix}", net.address(network, 1)), other).unwrap();
    }
    let receiver = net.joined(&[Membership::new(net.group(1))]);
    for network in [0, 1, 0, 1] {
        ask(net, &receiver, network);
    }
}

fn request_reply(net: &Net, memberships: &[Membership]) {
    ask(net, &net.joined(memberships), 0);
}

/// Asks on a network, where the reply must arrive.
fn ask(net: &Net, receiver: &Receiver, network: u8) {
    let (name, source) = (format!("eth{network}"), net.address(network, 1));
    let (reply, by) = net.send_with(
        |builder| builder.interface(InterfaceSelector::Name(name.clone())).source_address(source),
        |sender| {
            sender.send_to(b"who?", net.group(1)).unwrap();
            net.receiver
                .run(|| {
                    let mut buffer = [0; 64];
                    let datagram = receiver.recv(&mut buffer).unwrap();
                    receiver.reply(&datagram, b"me").unwrap();
                })
                .unwrap();
            let mut buffer = [0; 64];
            let reply = sender.recv_answer(net.family, &mut buffer, TIMEOUT).unwrap().expect("no reply");
            assert_eq!(reply.payload, b"me");
            (reply.source, reply.interface)
        },
    );
    assert_eq!(reply, SocketAddr::new(net.address(network, 2), PORT));
    assert_eq!(by, Some(net.index(&net.sender, &name)));
}

#[test]
fn link_local_replies_keep_their_interface() {
    let net = Net::new(Family::V6);
    let receiver = net.joined(&["[ff12::1%eth1]:7000".parse().unwrap()]);
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth1".into())),
        |sender| {
            let link_local = net.sender.addresses("eth1").unwrap();
            assert!(
                link_local.iter().any(|address| address.to_string().starts_with("fe80:")),
                "{link_local:?}"
            );
            sender.send_to(b"who?", "[ff12::1]:7000".parse().unwrap()).unwrap();
            let mut buffer = [0; 64];
            let datagram = receiver.recv(&mut buffer).unwrap();
            assert!(datagram.source.ip().to_string().starts_with("fe80:"), "{}", datagram.source.ip());
            receiver.reply(&datagram, b"me").unwrap();
            let reply = sender.recv_answer(Family::V6, &mut buffer, TIMEOUT).unwrap().expect("no reply");
            assert_eq!((reply.payload, reply.interface), (&b"me"[..], Some(net.index(&net.sender, "eth1"))));
        },
    );
}
