//! Line 2: every datagram says by which group, interface and source it came, and more.

use std::net::SocketAddr;
use std::time::SystemTime;

use mcast::{GroupAddr, InterfaceSelector, Membership};

use crate::net::{Net, both_families, next, texts_until, until};

both_families!(
    tells_group_interface_source_hop_limit_class_and_time,
    without_details_group_interface_and_source_are_told,
    tells_which_of_several_groups_ports_and_interfaces,
    what_waits_while_interfaces_are_joined_and_left_is_still_told_apart,
    an_empty_datagram_is_a_datagram,
    a_truncated_datagram_says_so_and_how_long_it_was,
);

fn tells_group_interface_source_hop_limit_class_and_time(net: &Net) {
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

    let came = next(&receiver);
    let after = SystemTime::now();
    assert_eq!(came.text, "hello");
    assert_eq!(came.arrival.group, net.group(1));
    assert_eq!(came.arrival.interface, net.index(&net.receiver, "eth0"));
    assert_eq!(came.arrival.source, SocketAddr::new(source, 4321));
    assert_eq!(came.arrival.hop_limit, Some(7));
    assert_eq!((came.arrival.traffic_class, came.arrival.dscp()), (Some(46 << 2), Some(46)));
    assert_eq!((came.arrival.length, came.arrival.truncated, came.arrival.lost), (5, false, Some(0)));
    let time = came.arrival.time.unwrap();
    assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
}

fn without_details_group_interface_and_source_are_told(net: &Net) {
    let few = vec![net.on("eth0", net.group(1))];
    let many = (1..=100).map(|number| net.on("eth0", net.group(number))).collect();
    for memberships in [few, many] {
        let receiver = net.receiver(|builder| builder.join_all(memberships).details(false));
        net.send("eth1", net.group(1), b"by another interface");
        net.send("eth0", net.group(1), b"hello");

        let came = next(&receiver);
        assert_eq!(came.text, "hello");
        assert_eq!(came.arrival.group, net.group(1));
        assert_eq!(came.arrival.interface, net.index(&net.receiver, "eth0"));
        assert_eq!(came.arrival.source.ip(), net.address(0, 1));
        assert_eq!((came.arrival.length, came.arrival.truncated), (5, false));
        assert_eq!((came.arrival.hop_limit, came.arrival.traffic_class), (None, None));
        assert_eq!((came.arrival.time, came.arrival.lost), (None, None));
        assert_eq!(receiver.statistics().dropped.count(), Some(0));
    }
}

fn tells_which_of_several_groups_ports_and_interfaces(net: &Net) {
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

    let mut came: Vec<_> = (0..4).map(|_| next(&receiver)).collect();
    came.sort_by(|a, b| a.text.cmp(&b.text));
    let told: Vec<_> = came.iter().map(|came| (came.arrival.group, came.arrival.interface)).collect();
    assert_eq!(told, [(net.group(1), eth0), (other_port, eth1), (net.group(2), eth0), (net.group(1), eth1)]);
}

fn what_waits_while_interfaces_are_joined_and_left_is_still_told_apart(net: &Net) {
    let (on_eth0, on_eth1) = (net.on("eth0", net.group(1)), net.on("eth1", net.group(1)));
    let (eth0, eth1) = (net.index(&net.receiver, "eth0"), net.index(&net.receiver, "eth1"));
    let receiver = net.joined(std::slice::from_ref(&on_eth0));

    // Nothing is received before all of it has come, one after the other.
    net.until_arrived(1, || net.send("eth0", net.group(1), b"alone"));
    net.receiver.run(|| receiver.join(on_eth1.clone())).unwrap().unwrap();
    net.until_arrived(1, || net.send("eth1", net.group(1), b"second"));
    net.until_arrived(1, || net.send("eth0", net.group(1), b"first"));
    let told: Vec<_> = (0..3).map(|_| next(&receiver)).collect();
    let told: Vec<_> = told.iter().map(|came| (&*came.text, came.arrival.interface)).collect();
    assert_eq!(told, [("alone", eth0), ("second", eth1), ("first", eth0)]);

    let another = net.joined(std::slice::from_ref(&on_eth0));
    net.send("eth0", net.group(1), b"left meanwhile");
    net.receiver.run(|| another.join(on_eth1)).unwrap().unwrap();
    for receiver in [&receiver, &another] {
        net.receiver.run(|| receiver.leave(&on_eth0)).unwrap().unwrap();
        net.send("eth1", net.group(1), b"end");
        assert_eq!(texts_until(receiver, "end"), ["end"]);
    }
}

fn an_empty_datagram_is_a_datagram(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);

    net.send("eth0", net.group(1), b"");
    net.send("eth0", net.group(1), b"end");

    let came = until(&receiver, "end");
    assert_eq!(
        came.iter().map(|came| (&*came.text, came.arrival.length)).collect::<Vec<_>>(),
        [("", 0), ("end", 3)]
    );

    net.send("eth0", net.group(1), b"");
    let mut reader = receiver.reader();
    assert_eq!(reader.next().unwrap().unwrap().payload(), b"");
}

fn a_truncated_datagram_says_so_and_how_long_it_was(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send("eth0", net.group(1), &[b'x'; 1000]);
    net.send("eth0", net.group(1), &[b'y'; 1000]);

    let mut small = [0; 10];
    let datagram = receiver.recv(&mut small).unwrap();
    assert_eq!((datagram.payload(), datagram.length, datagram.truncated), (&[b'x'; 10][..], 1000, true));

    let mut batch = mcast::Batch::new(4, 16);
    assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 1);
    let datagram = batch.iter().next().unwrap();
    assert_eq!((datagram.payload(), datagram.length, datagram.truncated), (&[b'y'; 16][..], 1000, true));
    assert_eq!(receiver.statistics().truncated, 2);
}
