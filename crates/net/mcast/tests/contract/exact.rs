//! Guarantee 1: a datagram is delivered only if its group was joined on the interface of arrival,
//! for its source; and never twice.

use std::net::{SocketAddr, UdpSocket};

use mcast::{InterfaceSelector, Membership, SourceFilter};

use crate::net::{Net, PORT, both_families, next, texts_until, until};

both_families!(
    with_and_without_gro:
    ignores_other_groups_on_the_same_port,
    ignores_the_same_group_on_another_interface,
    ignores_unicast_to_the_port,
    ignores_groups_that_another_program_joined,
    ignores_sources_that_are_not_admitted,
    ignores_sources_that_are_excluded,
    filters_each_interface_separately,
    two_memberships_of_a_group_admit_the_sources_of_either,
    two_receivers_both_get_a_copy,
    filters_exactly_with_more_groups_than_sockets;
    by_the_sockets:
    delivers_each_datagram_once_with_two_interfaces,
    joins_every_usable_interface_by_default,
);

fn ignores_other_groups_on_the_same_port(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let other = net.joined(&[net.on("eth0", net.group(2))]);

    net.send("eth0", net.group(2), b"other");
    net.send("eth0", net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(next(&other).text, "other", "the other group's datagram was not sent");
}

fn ignores_the_same_group_on_another_interface(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let other = net.joined(&[net.on("eth1", net.group(1))]);

    net.send("eth1", net.group(1), b"other");
    net.send("eth0", net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(next(&other).text, "other", "the other interface's datagram was not sent");
}

fn ignores_unicast_to_the_port(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);

    unicast(net, b"unicast");
    net.send("eth0", net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn ignores_groups_that_another_program_joined(net: &Net) {
    let many: Vec<_> = (100..200).map(|number| net.on("eth0", net.group(number))).collect();
    let receiver = net.joined(&many);
    let other = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(100))]);

    net.send("eth0", net.group(1), b"another group");
    net.send("eth1", net.group(100), b"another interface");
    net.send("eth0", net.group(100), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(texts_until(&other, "another interface"), ["another group", "another interface"]);
}

fn ignores_sources_that_are_not_admitted(net: &Net) {
    let (wanted, unwanted) = (net.another_source(1), net.another_source(2));
    let membership = net.on("eth0", net.group(1)).from_sources(SourceFilter::Include([wanted].into()));
    let receiver = net.joined(&[membership]);
    let other = net.joined(&[net.on("eth0", net.group(1))]);

    net.send_from(unwanted, net.group(1), b"unwanted");
    net.send_from(wanted, net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(texts_until(&other, "end"), ["unwanted", "end"]);
}

fn ignores_sources_that_are_excluded(net: &Net) {
    let (wanted, unwanted) = (net.another_source(1), net.another_source(2));
    let membership = net.on("eth0", net.group(1)).from_sources(SourceFilter::Exclude([unwanted].into()));
    let receiver = net.joined(&[membership]);

    net.send_from(unwanted, net.group(1), b"unwanted");
    net.send_from(wanted, net.group(1), b"wanted");
    net.send("eth0", net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["wanted", "end"]);
}

fn delivers_each_datagram_once_with_two_interfaces(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(1))]);

    for round in 0..20 {
        net.send("eth0", net.group(1), format!("a{round}").as_bytes());
        net.send("eth1", net.group(1), format!("b{round}").as_bytes());
    }
    net.send("eth0", net.group(1), b"end");

    let mut expected: Vec<String> =
        (0..20).flat_map(|round| [format!("a{round}"), format!("b{round}")]).collect();
    expected.push("end".into());
    assert_eq!(texts_until(&receiver, "end"), expected);
}

fn filters_each_interface_separately(net: &Net) {
    let admitted = net.another_source(1);
    let not_here = net.another_source(2);
    let only = |source| SourceFilter::Include([source].into());
    let receiver = net.joined(&[
        net.on("eth0", net.group(1)).from_sources(only(admitted)),
        net.on("eth1", net.group(1)).from_sources(only(not_here)),
    ]);

    net.send("eth0", net.group(1), b"another source");
    net.send("eth1", net.group(1), b"another source there");
    net.send_from(not_here, net.group(1), b"admitted there, not here");
    net.send_from(admitted, net.group(1), b"end");

    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn two_memberships_of_a_group_admit_the_sources_of_either(net: &Net) {
    let (first, second, third) = (net.another_source(1), net.another_source(2), net.another_source(3));
    let only = |source| net.on("eth0", net.group(1)).from_sources(SourceFilter::Include([source].into()));
    let receiver = net.joined(&[only(first), only(second)]);

    net.send_from(first, net.group(1), b"first");
    net.send_from(third, net.group(1), b"third");
    net.send_from(second, net.group(1), b"second");
    assert_eq!(texts_until(&receiver, "second"), ["first", "second"]);

    net.receiver.run(|| receiver.leave(&only(first))).unwrap().unwrap();
    net.send_from(first, net.group(1), b"first");
    net.send_from(second, net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn joins_every_usable_interface_by_default(net: &Net) {
    net.receiver.macvlan("port", "eth1", &[]).unwrap();
    net.receiver.bridge("br0", &["port"], &[]).unwrap();
    let receiver = net.joined(&[Membership::new(net.group(1))]);

    let statuses = receiver.memberships();
    let mut names: Vec<_> = statuses[0].interfaces.iter().map(|each| &*each.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["br0", "eth0", "eth1"], "loopback and ports of bridges are omitted");

    net.send("eth1", net.group(1), b"one");
    net.send("eth0", net.group(1), b"end");
    let received = until(&receiver, "end");
    let on_eth =
        received.iter().filter(|received| received.arrival.interface != net.index(&net.receiver, "br0"));
    let by: Vec<_> = on_eth.map(|received| (received.text.as_str(), received.arrival.interface)).collect();
    assert_eq!(by, [("one", net.index(&net.receiver, "eth1")), ("end", net.index(&net.receiver, "eth0"))]);
}

fn two_receivers_both_get_a_copy(net: &Net) {
    let one = net.joined(&[net.on("eth0", net.group(1))]);
    let two = net.joined(&[net.on("eth0", net.group(1))]);

    net.send("eth0", net.group(1), b"end");

    assert_eq!(texts_until(&one, "end"), ["end"]);
    assert_eq!(texts_until(&two, "end"), ["end"]);
}

fn filters_exactly_with_more_groups_than_sockets(net: &Net) {
    let source = net.another_source(1);
    let only = SourceFilter::Include([source].into());
    let mut memberships: Vec<_> = (0..100).map(|number| net.on("eth0", net.group(number))).collect();
    memberships.push(net.on("eth0", net.group(200)).from_sources(only));
    let receiver = net.joined(&memberships);
    // Another receiver joins all of it, so that the kernel lets all of it in.
    let _other = net.joined(&[
        net.on("eth1", net.group(1)),
        net.on("eth0", net.group(200)),
        net.on("eth0", net.group(300)),
    ]);

    net.send("eth1", net.group(1), b"another interface");
    net.send("eth0", net.group(300), b"another group");
    net.send("eth0", net.group(200), b"another source");
    unicast(net, b"unicast");
    net.send_from(source, net.group(200), b"admitted");
    net.send("eth0", net.group(99), b"end");

    // The order between groups with separate sockets is undefined.
    let mut texts = texts_until(&receiver, "end");
    if !texts.contains(&"admitted".into()) {
        texts.push(next(&receiver).text);
    }
    texts.sort();
    assert_eq!(texts, ["admitted", "end"]);
}

/// Sends a unicast datagram to the receiver's port.
fn unicast(net: &Net, payload: &[u8]) {
    let to = SocketAddr::new(net.address(0, 2), PORT);
    let from = SocketAddr::new(net.address(0, 1), 0);
    net.sender.run(|| UdpSocket::bind(from).unwrap().send_to(payload, to).unwrap()).unwrap();
}

#[test]
fn a_loopback_copy_arrives_on_the_interface_it_was_sent_by() {
    let net = Net::new(mcast::Family::V4);
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let group = net.group(1);
    net.receiver
        .run(|| {
            let by = |name: &str| {
                mcast::Sender::builder().interface(InterfaceSelector::Name(name.into())).build().unwrap()
            };
            by("eth1").send_to(b"other", group).unwrap();
            by("eth0").send_to(b"end", group).unwrap();
        })
        .unwrap();
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}
