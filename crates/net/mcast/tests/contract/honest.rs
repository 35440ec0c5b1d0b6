//! Guarantee 4: all loss that the system can count is counted and reported, and nothing else is.

use std::time::{Duration, Instant};

use mcast::{Drops, ErrorKind, InterfaceSelector, Operation, SourceFilter};

use crate::net::{Net, TIMEOUT, both_families, next, until};

both_families!(
    a_full_buffer_is_counted_to_the_datagram,
    refused_datagrams_are_not_lost,
    seventy_thousand_bytes_are_a_clear_error,
    the_largest_datagrams_arrive,
    dont_fragment_refuses_datagrams_above_the_mtu,
    drops_in_the_senders_queue_are_reported,
    the_granted_buffer_is_reported,
);

fn a_full_buffer_is_counted_to_the_datagram(net: &Net) {
    const SENT: u64 = 500;
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).receive_buffer(4096).gro(false));
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()),
        |sender| (0..SENT).for_each(|_| sender.send(&[0; 1400]).unwrap()),
    );

    let mut buffer = [0; 2048];
    let (mut received, mut lost) = (0, 0);
    let deadline = Instant::now() + TIMEOUT;
    // The last ones may arrive a while after they were sent.
    while received + receiver.statistics().dropped.count().unwrap() < SENT {
        assert!(Instant::now() < deadline, "received {received}, {:?}", receiver.statistics());
        while let Some(datagram) = receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap() {
            received += 1;
            lost += datagram.lost.unwrap();
        }
    }
    assert!(received < SENT, "the buffer did not overflow");
    assert_eq!(receiver.statistics().dropped, exactly(net, SENT - received));

    // The datagram after the gap reports the loss before it.
    net.send("eth0", net.group(1), b"end");
    let last = until(&receiver, "end").pop().unwrap();
    assert_eq!(lost + last.arrival.lost.unwrap(), SENT - received);
    assert_eq!(receiver.statistics().received, received + 1);
}

fn refused_datagrams_are_not_lost(net: &Net) {
    let unwanted = net.another_source(1);
    let filter = SourceFilter::Exclude([unwanted].into());
    let membership = net.on("eth0", net.group(1)).from_sources(filter);
    let receiver = net.receiver(|builder| builder.join(membership).gro(false));
    let _other = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(1))]);

    for _ in 0..10 {
        net.send_from(unwanted, net.group(1), b"unwanted");
        net.send("eth1", net.group(1), b"another interface");
    }
    net.send("eth0", net.group(1), b"end");
    assert_eq!(next(&receiver).arrival.lost, Some(0));

    let statistics = receiver.statistics();
    assert_eq!(statistics.dropped, exactly(net, 0));
    assert_eq!(statistics.received, 1);
    // The kernel filters IPv4 by interface, but IPv6 only by source.
    assert_eq!(statistics.refused, if net.family == mcast::Family::V4 { 0 } else { 10 });
}

fn seventy_thousand_bytes_are_a_clear_error(net: &Net) {
    let error = net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())),
        |sender| sender.send_to(&vec![0; 70_000], net.group(1)).unwrap_err(),
    );
    assert_eq!((error.kind(), error.operation()), (ErrorKind::TooLarge, Operation::Send), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("70000 bytes") && text.contains("eth0") && text.contains(&net.group(1).to_string()),
        "{text}"
    );
    assert!(error.remedy().unwrap().contains("65,507"));
}

fn the_largest_datagrams_arrive(net: &Net) {
    let largest = if net.family == mcast::Family::V4 { 65_507 } else { 65_527 };
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send("eth0", net.group(1), &vec![b'x'; largest]);
    let received = next(&receiver);
    assert_eq!(
        (received.text.len(), received.arrival.length, received.arrival.truncated),
        (largest, largest, false)
    );
}

fn dont_fragment_refuses_datagrams_above_the_mtu(net: &Net) {
    let kinds = net.send_with(
        |builder| {
            builder
                .interface(InterfaceSelector::Name("eth0".into()))
                .dont_fragment(true)
                .to(net.group(1).into())
        },
        |sender| (sender.send(&[0; 1400]).is_ok(), sender.send(&[0; 2000]).unwrap_err().kind()),
    );
    assert_eq!(kinds, (true, ErrorKind::TooLarge));
}

fn drops_in_the_senders_queue_are_reported(net: &Net) {
    let shape =
        ["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms"];
    let status = net.sender.command("tc").unwrap().args(shape).status().unwrap();
    assert!(status.success(), "tc failed to shape eth0");

    let error = net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()),
        |sender| {
            let deadline = Instant::now() + TIMEOUT;
            loop {
                if let Err(error) = sender.send(&[0; 1400]) {
                    return error;
                }
                assert!(Instant::now() < deadline, "the queue did not overflow");
            }
        },
    );
    assert_eq!((error.kind(), error.interface()), (ErrorKind::QueueFull, Some("eth0")), "{error}");
}

fn the_granted_buffer_is_reported(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let small = net.receiver(|builder| builder.join(membership.clone()).receive_buffer(100_000));
    assert_eq!(small.receive_buffer(), 100_000);
}

/// IPv6 sockets on Linux also receive groups that other sockets joined on other interfaces, so
/// their count is an upper bound.
fn exactly(net: &Net, count: u64) -> Drops {
    match net.family {
        mcast::Family::V4 => Drops::Exactly(count),
        mcast::Family::V6 => Drops::AtMost(count),
    }
}
