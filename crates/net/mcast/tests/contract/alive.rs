//! Guarantee 7: memberships and senders can change while in use, and survive changes of their
//! interfaces.

use std::thread;
use std::time::{Duration, Instant};

use mcast::{ErrorKind, InterfaceSelector, Membership, Receiver, SourceFilter};

use crate::net::{Net, ReceivedDatagram, TIMEOUT, both_families, next, texts_until, until};

both_families!(
    joins_and_leaves_while_another_thread_waits,
    leaving_what_was_not_joined_is_an_error,
    sources_change_at_once,
    a_failed_join_changes_nothing,
    a_waker_ends_a_wait,
    a_timeout_ends_a_wait,
    the_descriptor_is_readable_when_a_datagram_arrives,
    closed_and_opened_again,
    follows_an_interface_that_is_deleted_and_created_again,
    follows_an_interface_created_again_with_the_same_index,
    follows_an_interface_that_appears_later,
    follows_all_interfaces,
    follows_while_spinning,
    follows_while_datagrams_keep_arriving,
    keeps_its_membership_when_addresses_change_and_the_link_flaps,
    a_sender_follows_its_interface,
    without_following_a_vanished_interface_stays_silent,
);

fn joins_and_leaves_while_another_thread_waits(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| until(&receiver, "end"));
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(2)))).unwrap().unwrap();
        net.send("eth1", net.group(2), b"joined");
        net.send("eth0", net.group(1), b"first");
        net.receiver.run(|| receiver.leave(&net.on("eth1", net.group(2)))).unwrap().unwrap();
        net.send("eth1", net.group(2), b"left");
        net.send("eth0", net.group(1), b"end");
        let mut texts: Vec<_> = waiting.join().unwrap().into_iter().map(|received| received.text).collect();
        // The datagram sent before leaving may or may not have been delivered.
        texts.retain(|text| text != "joined");
        assert_eq!(texts, ["first", "end"]);
    });
}

fn leaving_what_was_not_joined_is_an_error(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let not_joined =
        [net.on("eth1", net.group(1)), net.on("eth0", net.group(2)), Membership::new(net.group(1))];
    for membership in not_joined {
        let error = net.receiver.run(|| receiver.leave(&membership)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotJoined, "{error}");
    }
}

fn sources_change_at_once(net: &Net) {
    let (first, second) = (net.another_source(1), net.another_source(2));
    let only = |source| net.on("eth0", net.group(1)).from_sources(SourceFilter::Include([source].into()));
    let receiver = net.joined(&[only(first)]);

    net.receiver
        .run(|| receiver.set_sources(&only(first), SourceFilter::Include([second].into())))
        .unwrap()
        .unwrap();
    net.send_from(first, net.group(1), b"first");
    net.send_from(second, net.group(1), b"second");
    assert_eq!(texts_until(&receiver, "second"), ["second"]);

    net.receiver.run(|| receiver.set_sources(&only(second), SourceFilter::ANY)).unwrap().unwrap();
    net.send_from(first, net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn a_failed_join_changes_nothing(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let error = net.receiver.run(|| receiver.join(net.on("eth7", net.group(2)))).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert_eq!((receiver.memberships().len(), receiver.socket_count()), (1, 1));
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn a_waker_ends_a_wait(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let waker = receiver.waker();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| receiver.recv(&mut [0; 16]).map(|_| ()).unwrap_err().kind());
        waker.wake().unwrap();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Woken);

        let reading = scope.spawn(|| receiver.reader().next().unwrap().is_none());
        waker.wake().unwrap();
        assert!(reading.join().unwrap());
    });
    // One wake-up ends one wait.
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn a_timeout_ends_a_wait(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let timeout = Duration::from_millis(30);
    let start = Instant::now();
    assert!(receiver.recv_timeout(&mut [0; 16], timeout).unwrap().is_none());
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
    assert_eq!(receiver.recv_batch(&mut mcast::Batch::new(1, 16), Some(timeout)).unwrap(), 0);
    assert!(receiver.reader().next_timeout(timeout).unwrap().is_none());
    assert!(receiver.recv_timeout(&mut [0; 16], Duration::ZERO).unwrap().is_none());
}

fn the_descriptor_is_readable_when_a_datagram_arrives(net: &Net) {
    use std::os::fd::AsFd;
    let readable = |receiver: &Receiver, timeout| {
        mcast_sys::readable::wait_for_any(&[receiver.as_fd()], Some(timeout)).unwrap()
    };
    let receiver = net.joined(&[
        net.on("eth0", net.group(1)),
        net.on("eth0", net.group(2)),
        net.on("eth1", net.group(3)),
    ]);
    assert!(!readable(&receiver, Duration::ZERO));
    for (interface, group) in [("eth0", 1), ("eth0", 2), ("eth1", 3)] {
        net.send(interface, net.group(group), b"x");
        assert!(readable(&receiver, TIMEOUT));
        next(&receiver);
        assert!(!readable(&receiver, Duration::ZERO));
    }
}

fn closed_and_opened_again(net: &Net) {
    for round in 0..50 {
        let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(1))]);
        let text = round.to_string();
        net.send("eth0", net.group(1), text.as_bytes());
        assert_eq!(texts_until(&receiver, &text), [text]);
    }
}

fn follows_an_interface_that_is_deleted_and_created_again(net: &Net) {
    let (eth0, eth1) = (net.on("eth0", net.group(1)), net.on("eth1", net.group(2)));
    let receiver = net.receiver(|builder| builder.join(eth0).join(eth1).follow(true));

    for round in 0..3 {
        net.disconnect(&net.receiver, 0);
        eventually(net, &receiver, "waiting", |receiver| receiver.memberships()[0].waiting.is_some());
        net.connect(&net.receiver, 0);
        eventually(net, &receiver, "joined again", |receiver| receiver.memberships()[0].is_joined());
        let text = format!("again {round}");
        net.send("eth0", net.group(1), text.as_bytes());
        let received = until(&receiver, &text).pop().unwrap();
        assert_eq!(received.arrival.interface, net.index(&net.receiver, "eth0"));
    }
    net.send("eth1", net.group(2), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"], "the other membership was not disturbed");
}

fn follows_an_interface_created_again_with_the_same_index(net: &Net) {
    let ip = |words: &str| {
        let status = net.receiver.command("ip").unwrap().args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    };
    let make = || {
        ip("link add eth9 index 77 type veth peer name peer9");
        ip("link set eth9 up");
        ip("link set peer9 up");
    };
    let (table, group) = match net.family {
        mcast::Family::V4 => ("igmp", "010001EF"),
        mcast::Family::V6 => ("igmp6", "ff150000000000000000000000010001"),
    };
    let kernel_has_it = || net.receiver.read_proc_net(table).unwrap().contains(group);
    make();
    let membership = net.on("eth9", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).follow(true));
    assert!(kernel_has_it());

    ip("link del eth9");
    make();
    assert!(!kernel_has_it(), "the kernel drops memberships on a deleted interface");
    eventually(net, &receiver, "joined again", |_| kernel_has_it());
    assert!(receiver.memberships()[0].is_joined());
}

fn follows_an_interface_that_appears_later(net: &Net) {
    let membership = net.on("eth2", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).follow(true));
    let status = &receiver.memberships()[0];
    assert!(!status.is_joined() && status.to_string().contains("waiting"), "{status}");

    net.receiver.connect("eth2", &net.switches[0], &[]).unwrap();
    eventually(net, &receiver, "joined", |receiver| receiver.memberships()[0].is_joined());
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn follows_all_interfaces(net: &Net) {
    let receiver = net.receiver(|builder| builder.join(Membership::new(net.group(1))).follow(true));
    net.receiver.connect("eth2", &net.switches[1], &[]).unwrap();
    eventually(net, &receiver, "joined on three", |receiver| receiver.memberships()[0].interfaces.len() == 3);
    net.receiver.set_down("eth0").unwrap();
    eventually(net, &receiver, "joined on two", |receiver| receiver.memberships()[0].interfaces.len() == 2);

    net.send("eth0", net.group(1), b"down there");
    net.send("eth1", net.group(1), b"x");
    let mut by: Vec<_> = (0..2)
        .map(|_| next(&receiver))
        .map(|ReceivedDatagram { text, arrival }| (text, arrival.interface))
        .collect();
    by.sort();
    let (eth1, eth2) = (net.index(&net.receiver, "eth1"), net.index(&net.receiver, "eth2"));
    let mut both = [("x".into(), eth1), ("x".into(), eth2)];
    both.sort();
    assert_eq!(by, both);
}

fn follows_while_spinning(net: &Net) {
    let (eth0, eth2) = (net.on("eth0", net.group(1)), net.on("eth2", net.group(1)));
    let receiver = net.receiver(|builder| builder.join(eth0).join(eth2).follow(true).spin(Duration::MAX));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| texts_until(&receiver, "end"));
        net.receiver.connect("eth2", &net.switches[1], &[]).unwrap();
        let deadline = Instant::now() + TIMEOUT / 2;
        while !receiver.memberships()[1].is_joined() && Instant::now() < deadline {
            thread::yield_now();
        }
        let statuses = receiver.memberships();
        net.send("eth0", net.group(1), b"end");
        assert_eq!(waiting.join().unwrap(), ["end"]);
        assert!(statuses[1].is_joined(), "{statuses:?}");
    });
}

fn follows_while_datagrams_keep_arriving(net: &Net) {
    let (eth0, eth2) = (net.on("eth0", net.group(1)), net.on("eth2", net.group(1)));
    let receiver = net.receiver(|builder| builder.join(eth0).join(eth2).follow(true));
    net.send("eth0", net.group(1), b"x");
    net.receiver.connect("eth2", &net.switches[1], &[]).unwrap();
    eventually(net, &receiver, "joined", |receiver| {
        // One more than is received, so that no call waits.
        net.send("eth0", net.group(1), b"x");
        receiver.memberships()[1].is_joined()
    });
}

fn keeps_its_membership_when_addresses_change_and_the_link_flaps(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let followed = net.receiver(|builder| builder.join(membership.clone()).follow(true));
    let plain = net.joined(&[membership]);

    net.receiver.remove_address("eth0", "10.0.0.2/24").unwrap();
    net.receiver.add_address("eth0", "10.0.0.77/24").unwrap();
    net.send("eth0", net.group(1), b"address changed");
    net.receiver.set_down("eth0").unwrap();
    net.receiver.set_up("eth0").unwrap();
    for receiver in [&followed, &plain] {
        assert_eq!(texts_until(receiver, "address changed"), ["address changed"]);
        comes_through(net, receiver, "after the flap");
    }
}

fn a_sender_follows_its_interface(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send_with(
        |builder| {
            builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()).follow(true)
        },
        |sender| {
            sender.send(b"before").unwrap();
            net.disconnect(&net.sender, 0);
            let error = sender.send(b"gone").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSuchInterface, "{error}");
            net.connect(&net.sender, 0);
            sender.send(b"end").unwrap();
        },
    );
    assert_eq!(texts_until(&receiver, "end"), ["before", "end"]);
}

fn without_following_a_vanished_interface_stays_silent(net: &Net) {
    let (eth0, eth1) = (net.on("eth0", net.group(1)), net.on("eth1", net.group(1)));
    let receiver = net.joined(&[eth0.clone(), eth1]);
    net.disconnect(&net.receiver, 0);
    net.send("eth0", net.group(1), b"gone");
    net.send("eth1", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);

    let statuses = receiver.memberships();
    let failure = statuses[0].interfaces[0].failure.as_ref().expect("the deleted interface was not reported");
    assert_eq!((failure.kind(), failure.interface()), (ErrorKind::NoSuchInterface, Some("eth0")));
    assert!(!statuses[0].is_joined() && statuses[1].is_joined(), "{statuses:?}");
    net.receiver.run(|| receiver.leave(&eth0)).unwrap().unwrap();
}

/// Receives, which makes a receiver follow its interfaces, until a condition holds.
fn eventually(net: &Net, receiver: &Receiver, what: &str, holds: impl Fn(&Receiver) -> bool + Sync) {
    let deadline = Instant::now() + TIMEOUT;
    let mut buffer = [0; 64];
    while !holds(receiver) {
        assert!(Instant::now() < deadline, "not {what} before the deadline: {:?}", receiver.memberships());
        net.receiver
            .run(|| receiver.recv_timeout(&mut buffer, Duration::from_millis(20)).map(|_| ()))
            .unwrap()
            .unwrap();
    }
}

/// Sends until a datagram arrives, because a link takes a moment to carry traffic again.
fn comes_through(net: &Net, receiver: &Receiver, text: &str) {
    let deadline = Instant::now() + TIMEOUT;
    let mut buffer = [0; 64];
    loop {
        net.send("eth0", net.group(1), text.as_bytes());
        if let Some(datagram) = receiver.recv_timeout(&mut buffer, Duration::from_millis(20)).unwrap() {
            assert_eq!(datagram.payload(), text.as_bytes());
            return;
        }
        assert!(Instant::now() < deadline, "\"{text}\" did not arrive before the deadline");
    }
}
