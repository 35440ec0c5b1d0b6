//! Guarantee 3: interfaces are identified by index. Joining needs neither routes nor addresses,
//! sending needs an address, and failures are clear errors.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use mcast::{ErrorKind, Family, InterfaceSelector, Membership, Operation, Receiver, Sender};
use mcast_lab::Lab;

use crate::net::{Net, PORT, both_families, next, texts_until, until};

both_families!(
    an_interface_without_address_can_be_joined,
    sending_without_an_address_is_a_clear_error,
    sending_without_a_route_is_an_error_with_a_remedy,
    sends_by_the_route_by_default,
    interfaces_are_selected_by_name_index_and_address,
    an_interface_that_does_not_exist_is_an_error_that_names_it,
    an_address_in_use_is_a_clear_error,
    one_datagram_is_sent_by_several_interfaces,
    each_datagram_may_have_its_own_interface,
);

fn an_interface_without_address_can_be_joined(net: &Net) {
    let addresses = net.receiver.addresses("eth0").unwrap();
    for address in addresses.iter().filter(|address| address.address.is_ipv4()) {
        net.receiver.remove_address("eth0", &address.to_string()).unwrap();
    }
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);

    net.send("eth0", net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn sending_without_an_address_is_a_clear_error(net: &Net) {
    let bare = net.lab.host("bare").unwrap();
    bare.connect("eth0", &net.switches[0], &[]).unwrap();
    bare.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    let to = net.group(1);

    let error = bare
        .run(|| {
            let sender = Sender::builder().interface(InterfaceSelector::Name("eth0".into())).build().unwrap();
            sender.send_to(b"x", to).unwrap_err()
        })
        .unwrap();

    assert_eq!((error.kind(), error.interface()), (ErrorKind::NoAddress, Some("eth0")), "{error}");
    assert!(error.remedy().unwrap().contains("eth0"), "{:?}", error.remedy());
}

fn sending_without_a_route_is_an_error_with_a_remedy(net: &Net) {
    let bare = net.lab.host("bare").unwrap();
    let to = net.group(1);
    let error = bare.run(|| Sender::builder().build().unwrap().send_to(b"x", to).unwrap_err()).unwrap();

    assert_eq!((error.kind(), error.operation()), (ErrorKind::NoRoute, Operation::Send), "{error}");
    assert!(error.to_string().contains(&to.to_string()), "{error}");
    assert!(error.remedy().unwrap().contains("name the interface"), "{:?}", error.remedy());
}

fn sends_by_the_route_by_default(net: &Net) {
    match net.family {
        Family::V4 => net.sender.add_route("239.0.0.0/8", "eth1").unwrap(),
        // The table that is consulted first contains a route to ff00::/8 for each interface.
        Family::V6 => {
            let route = ["-6", "route", "add", "multicast", "ff15::/16", "dev", "eth1", "table", "local"];
            assert!(net.sender.command("ip").unwrap().args(route).status().unwrap().success());
        }
    }
    let receiver = net.joined(&[Membership::new(net.group(1))]);

    net.send_with(|builder| builder, |sender| sender.send_to(b"routed", net.group(1)).unwrap());

    let received = next(&receiver);
    assert_eq!((&*received.text, received.arrival.interface), ("routed", net.index(&net.receiver, "eth1")));
}

fn interfaces_are_selected_by_name_index_and_address(net: &Net) {
    let eth1 = net.index(&net.receiver, "eth1");
    let selectors = [
        InterfaceSelector::Name("eth1".into()),
        InterfaceSelector::Index(eth1),
        InterfaceSelector::Address(net.address(1, 2)),
    ];
    for selector in selectors {
        let receiver = net.joined(&[Membership::new(net.group(1)).on(selector.clone())]);
        net.send("eth0", net.group(1), b"other");
        net.send("eth1", net.group(1), b"end");
        assert_eq!(texts_until(&receiver, "end"), ["end"], "{selector}");
    }
}

fn an_interface_that_does_not_exist_is_an_error_that_names_it(net: &Net) {
    let selectors = [
        InterfaceSelector::Name("eth7".into()),
        InterfaceSelector::Index(mcast::InterfaceIndex::new(4711).unwrap()),
        InterfaceSelector::Address("192.0.2.1".parse().unwrap()),
    ];
    for selector in selectors {
        let membership = Membership::new(net.group(1)).on(selector.clone());
        let error = net.try_receiver(|builder| builder.join(membership)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSuchInterface, "{error}");
        let text = error.to_string();
        assert!(text.contains(&selector.to_string()) && text.contains("eth0"), "{text}");
    }
}

fn an_address_in_use_is_a_clear_error(net: &Net) {
    let bind = (net.group(1).group.addr(), PORT);
    let occupant = net.receiver.run(|| UdpSocket::bind(bind).unwrap()).unwrap();

    let error = net.try_receiver(|builder| builder.join(net.on("eth0", net.group(1)))).unwrap_err();
    assert_eq!((error.kind(), error.group()), (ErrorKind::AddressInUse, Some(net.group(1))), "{error}");
    assert!(error.remedy().unwrap().contains("SO_REUSEADDR"));

    drop(occupant);
    net.joined(&[net.on("eth0", net.group(1))]);
}

fn one_datagram_is_sent_by_several_interfaces(net: &Net) {
    let receiver = net.joined(&[Membership::new(net.group(1))]);
    net.send_with(
        |builder| builder.interface(InterfaceSelector::All).to(net.group(1).into()),
        |sender| sender.send(b"both").unwrap(),
    );
    let mut by = [next(&receiver).arrival.interface, next(&receiver).arrival.interface];
    by.sort();
    assert_eq!(by, [net.index(&net.receiver, "eth0"), net.index(&net.receiver, "eth1")]);
}

fn each_datagram_may_have_its_own_interface(net: &Net) {
    let receiver = net.joined(&[Membership::new(net.group(1)), Membership::new(net.group(2))]);
    let (out0, out1) = (net.index(&net.sender, "eth0"), net.index(&net.sender, "eth1"));
    let (in0, in1) = (net.index(&net.receiver, "eth0"), net.index(&net.receiver, "eth1"));
    let batch = [
        mcast::Outgoing::new(b"0").to(net.group(1)).by(out0),
        mcast::Outgoing::new(b"1").to(net.group(2)).by(out1).hop_limit(9),
        mcast::Outgoing::new(b"2").to(net.group(1)).by(out1),
        mcast::Outgoing::new(b"3").to(net.group(2)).by(out0).traffic_class(8),
    ];
    let sent = net.send_with(|builder| builder, |sender| sender.send_batch(&batch).unwrap());
    assert_eq!(sent, 4);

    let mut received: Vec<_> = (0..4).map(|_| next(&receiver)).collect();
    received.sort_by(|a, b| a.text.cmp(&b.text));
    let actual: Vec<_> = received
        .iter()
        .map(|received| {
            let arrival = received.arrival;
            (
                arrival.group().unwrap(),
                arrival.interface,
                arrival.hop_limit.unwrap(),
                arrival.traffic_class.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        actual,
        [
            (net.group(1), in0, 1, 0),
            (net.group(2), in1, 9, 0),
            (net.group(1), in1, 1, 0),
            (net.group(2), in0, 1, 8)
        ]
    );
}

#[test]
fn loopback_works_without_setup() {
    let lab = Lab::new().unwrap();
    let host = lab.host("alone").unwrap();
    host.run(|| {
        let receiver = Receiver::join_one("239.1.2.3%lo:7000".parse().unwrap()).unwrap();
        Sender::to("239.1.2.3%lo:7000".parse().unwrap()).unwrap().send(b"end").unwrap();
        let received = until(&receiver, "end").pop().unwrap();
        assert_eq!(
            received.arrival.source.ip(),
            IpAddr::from(Ipv4Addr::LOCALHOST),
            "the source cannot be replied to"
        );
    })
    .unwrap();
}

#[test]
fn ipv6_on_loopback_names_the_route_that_it_needs() {
    let lab = Lab::new().unwrap();
    let host = lab.host("alone").unwrap();
    let error = host
        .run(|| Sender::to("[ff15::1%lo]:7000".parse().unwrap()).unwrap().send(b"x").unwrap_err())
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::FamilyUnavailable, "{error}");
    assert!(error.to_string().contains("loopback interface has no route"), "{error}");
    assert_eq!(error.remedy().unwrap(), "add one: `ip -6 route add local ff00::/8 dev lo`");

    host.add_local_route("ff00::/8", "lo").unwrap();
    host.run(|| {
        for scope in 1..=14 {
            let group = format!("[ff1{scope:x}::1%lo]:7000");
            let receiver = Receiver::join_one(group.parse().unwrap()).unwrap();
            Sender::to(group.parse().unwrap()).unwrap().send(b"end").unwrap();
            assert_eq!(texts_until(&receiver, "end"), ["end"], "{group}");
        }
    })
    .unwrap();
}

#[test]
fn joining_without_a_usable_interface_is_a_clear_error() {
    let lab = Lab::new().unwrap();
    let host = lab.host("alone").unwrap();
    let error = host.run(|| Receiver::join_one("239.1.2.3:7000".parse().unwrap()).unwrap_err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::NoUsableInterface, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("cannot join 239.1.2.3:7000") && text.contains("lo"), "{text}");
    assert!(error.remedy().is_some());
}
