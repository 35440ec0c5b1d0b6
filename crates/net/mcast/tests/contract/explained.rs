//! Guarantee 2: every datagram comes with its group, interface and source, and more metadata.

use std::net::SocketAddr;
use std::time::SystemTime;

use mcast::{GroupAddr, InterfaceSelector, Membership};

use crate::net::{Net, both_families, next, texts_until, until};

both_families!(
    reports_group_interface_source_hop_limit_class_and_time,
    reports_group_interface_and_source_without_details,
    distinguishes_several_groups_ports_and_interfaces,
    an_empty_datagram_counts_as_a_datagram,
    a_truncated_datagram_reports_its_full_length;
    by_the_sockets:
    queued_datagrams_keep_their_interface_while_others_are_joined_and_left,
);

fn reports_group_interface_source_hop_limit_class_and_time(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let before = SystemTime::now();

    let source = net.address(0, 1);
    net.send_with(
        |builder| {
            builder
                .interface(InterfaceSelector::Name("eth0".into()))
                .source_address(source)
                .source_port(4321)
                .hop_limit(7)
                .traffic_class(46 << 2)
        },
        |sender| sender.send_to(b"hello", net.group(1)).unwrap(),
    );

    let received = next(&receiver);
    let after = SystemTime::now();
    assert_eq!(received.text, "hello");
    assert_eq!(received.arrival.group(), Some(net.group(1)));
    assert_eq!(received.arrival.interface, net.index(&net.receiver, "eth0"));
    assert_eq!(received.arrival.source, SocketAddr::new(source, 4321));
    assert_eq!(received.arrival.hop_limit, Some(7));
    assert_eq!((received.arrival.traffic_class, received.arrival.dscp()), (Some(46 << 2), Some(46)));
    assert_eq!(
        (received.arrival.length, received.arrival.truncated, received.arrival.lost),
        (5, false, Some(0))
    );
    let time = received.arrival.time.unwrap();
    assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
}

fn reports_group_interface_and_source_without_details(net: &Net) {
    let few = vec![net.on("eth0", net.group(1))];
    let many = (1..=100).map(|number| net.on("eth0", net.group(number))).collect();
    for memberships in [few, many] {
        let receiver = net.receiver(|builder| builder.join_all(memberships).details(false));
        net.send("eth1", net.group(1), b"by another interface");
        net.send("eth0", net.group(1), b"hello");

        let received = next(&receiver);
        assert_eq!(received.text, "hello");
        assert_eq!(received.arrival.group(), Some(net.group(1)));
        assert_eq!(received.arrival.interface, net.index(&net.receiver, "eth0"));
        assert_eq!(received.arrival.source.ip(), net.address(0, 1));
        assert_eq!((received.arrival.length, received.arrival.truncated), (5, false));
        assert_eq!((received.arrival.hop_limit, received.arrival.traffic_class), (None, None));
        assert_eq!((received.arrival.time, received.arrival.lost), (None, None));
        assert_eq!(receiver.statistics().dropped.count(), Some(0));
    }
}

fn distinguishes_several_groups_ports_and_interfaces(net: &Net) {
    let other_port = GroupAddr::new(net.group(1).group, 7001);
    let receiver = net.joined(&[
        Membership::new(net.group(1)),
        Membership::new(net.group(2)),
        Membership::new(other_port),
    ]);
    let (eth0, eth1) = (net.index(&net.receiver, "eth0"), net.index(&net.receiver, "eth1"));

    let sent = [(net.group(1), "eth0"), (other_port, "eth1"), (net.group(2), "eth0"), (net.group(1), "eth1")];
    for (number, (group, interface)) in sent.iter().enumerate() {
        net.send(interface, *group, number.to_string().as_bytes());
    }

    let mut received: Vec<_> = (0..4).map(|_| next(&receiver)).collect();
    received.sort_by(|a, b| a.text.cmp(&b.text));
    let actual: Vec<_> = received
        .iter()
        .map(|received| (received.arrival.group().unwrap(), received.arrival.interface))
        .collect();
    assert_eq!(
        actual,
        [(net.group(1), eth0), (other_port, eth1), (net.group(2), eth0), (net.group(1), eth1)]
    );
}

fn queued_datagrams_keep_their_interface_while_others_are_joined_and_left(net: &Net) {
    let (on_eth0, on_eth1) = (net.on("eth0", net.group(1)), net.on("eth1", net.group(1)));
    let (eth0, eth1) = (net.index(&net.receiver, "eth0"), net.index(&net.receiver, "eth1"));
    let receiver = net.joined(std::slice::from_ref(&on_eth0));

    // Datagrams are sent one after the other and received only when all have arrived.
    net.until_arrived(1, || net.send("eth0", net.group(1), b"alone"));
    net.receiver.run(|| receiver.join(on_eth1.clone())).unwrap().unwrap();
    net.until_arrived(1, || net.send("eth1", net.group(1), b"second"));
    net.until_arrived(1, || net.send("eth0", net.group(1), b"first"));
    let received: Vec<_> = (0..3).map(|_| next(&receiver)).collect();
    let actual: Vec<_> =
        received.iter().map(|received| (&*received.text, received.arrival.interface)).collect();
    assert_eq!(actual, [("alone", eth0), ("second", eth1), ("first", eth0)]);

    let another = net.joined(std::slice::from_ref(&on_eth0));
    net.send("eth0", net.group(1), b"left meanwhile");
    net.receiver.run(|| another.join(on_eth1)).unwrap().unwrap();
    for receiver in [&receiver, &another] {
        net.receiver.run(|| receiver.leave(&on_eth0)).unwrap().unwrap();
        net.send("eth1", net.group(1), b"end");
        assert_eq!(texts_until(receiver, "end"), ["end"]);
    }
}

fn an_empty_datagram_counts_as_a_datagram(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);

    net.send("eth0", net.group(1), b"");
    net.send("eth0", net.group(1), b"end");

    let received = until(&receiver, "end");
    assert_eq!(
        received.iter().map(|received| (&*received.text, received.arrival.length)).collect::<Vec<_>>(),
        [("", 0), ("end", 3)]
    );

    net.send("eth0", net.group(1), b"");
    let mut reader = receiver.reader();
    assert_eq!(reader.next().unwrap().unwrap().payload(), b"");
}

fn a_truncated_datagram_reports_its_full_length(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send("eth0", net.group(1), &[b'x'; 1000]);
    net.send("eth0", net.group(1), &[b'y'; 1000]);

    let mut small = [0; 10];
    let datagram = receiver.recv(&mut small).unwrap();
    assert_eq!((datagram.payload(), datagram.length, datagram.truncated), (&[b'x'; 10][..], 1000, true));

    let mut batch = mcast::Batch::new(4, 16);
    assert_eq!(receiver.recv_batch(&mut batch, None).unwrap(), 1);
    let datagram = batch.iter().next().unwrap();
    assert_eq!((datagram.payload(), datagram.length, datagram.truncated), (&[b'y'; 16][..], 1000, true));
    assert_eq!(receiver.statistics().truncated, 2);
}
