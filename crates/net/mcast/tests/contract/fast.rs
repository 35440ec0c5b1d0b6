//! Guarantee 8: batches and readers deliver the same as single calls.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mcast::{Batch, InterfaceSelector, Outgoing};

use crate::net::{Net, TIMEOUT, both_families};

both_families!(
    a_batch_keeps_order_sizes_and_metadata,
    a_reader_reads_available_datagrams_and_waits_for_more,
    a_kept_datagram_outlives_the_batch,
    threads_share_a_receiver_and_each_datagram_goes_to_one,
    coalesced_and_single_receives_may_be_mixed,
    datagrams_over_the_mtu_are_not_segmented,
    one_batch_takes_mixed_sizes_groups_and_interfaces,
    without_gro_and_gso_the_same_datagrams_arrive,
    a_small_batch_never_truncates_a_coalesced_buffer,
    a_coalesced_buffer_that_ends_a_wait_is_delivered_whole,
    after_a_wait_a_datagram_longer_than_the_buffer_is_truncated;
    by_the_sockets:
    segmented_buffers_arrive_as_separate_datagrams,
);

fn payloads(count: u16) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number as u8; usize::from(number * 37 % 1400)]).collect()
}

fn send_all(net: &Net, payloads: &[Vec<u8>]) {
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()),
        |sender| {
            let outgoing: Vec<_> = payloads.iter().map(|payload| Outgoing::new(payload)).collect();
            assert_eq!(sender.send_batch(&outgoing).unwrap(), payloads.len());
        },
    );
}

fn a_batch_keeps_order_sizes_and_metadata(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let sent = payloads(300);
    send_all(net, &sent);

    let mut batch = Batch::new(32, 65_536);
    let mut received = Vec::new();
    while received.len() < sent.len() {
        assert!(receiver.recv_batch(&mut batch, Some(TIMEOUT)).unwrap() > 0);
        for datagram in batch.iter() {
            assert_eq!((datagram.length, datagram.truncated), (datagram.payload().len(), false));
            assert_eq!(datagram.arrival().group(), Some(net.group(1)));
            assert!(datagram.time.is_some() && datagram.hop_limit == Some(1));
            received.push(datagram.payload().to_vec());
        }
    }
    assert!(received == sent);
    assert_eq!(receiver.statistics().received, 300);
}

fn a_reader_reads_available_datagrams_and_waits_for_more(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth0", net.group(2))]);
    let sent = payloads(100);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = receiver.reader();
            let mut received = Vec::new();
            while received.len() < 200 {
                received.push(reader.next_timeout(TIMEOUT).unwrap().unwrap().payload().to_vec());
            }
            received
        });
        send_all(net, &sent);
        send_all(net, &sent);
        let received = reading.join().unwrap();
        assert!(received[..100] == sent && received[100..] == sent);
    });
}

fn a_kept_datagram_outlives_the_batch(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let sent = payloads(64);
    send_all(net, &sent);
    let mut batch = Batch::new(4, 2048);
    let mut kept = Vec::new();
    while kept.len() < sent.len() {
        assert!(receiver.recv_batch(&mut batch, Some(TIMEOUT)).unwrap() > 0);
        kept.extend(batch.iter().map(|datagram| datagram.to_owned_datagram()));
    }
    assert!(kept.iter().zip(&sent).all(|(kept, sent)| kept.payload() == sent));
}

fn threads_share_a_receiver_and_each_datagram_goes_to_one(net: &Net) {
    const COUNT: usize = 400;
    /// As many as the receive buffer holds while no thread reads.
    const UNREAD: usize = 50;
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(2))]);
    let (text, texts) = mpsc::channel();
    let mut distinct = HashSet::new();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let text = text.clone();
                let receiver = &receiver;
                scope.spawn(move || {
                    let mut buffer = [0; 64];
                    loop {
                        let datagram = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
                        let received = String::from_utf8(datagram.payload().to_vec()).unwrap();
                        if received == "end" {
                            return;
                        }
                        text.send(received).unwrap();
                    }
                })
            })
            .collect();
        let mut next = || distinct.insert(texts.recv_timeout(TIMEOUT).unwrap());
        for number in 0..COUNT {
            net.send(
                ["eth0", "eth1"][number % 2],
                net.group(1 + number as u16 % 2),
                number.to_string().as_bytes(),
            );
            assert!(number < UNREAD || next(), "a datagram went to two threads");
        }
        // What arrives on one interface may overtake what arrives on the other: the threads end when all is there.
        for _ in 0..UNREAD {
            assert!(next(), "a datagram went to two threads");
        }
        for _ in &readers {
            net.send("eth0", net.group(1), b"end");
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!((distinct.len(), texts.try_iter().count()), (COUNT, 0));
}

/// Returns numbered datagrams of equal length, which can be segmented.
fn equal(count: u32, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| [&number.to_be_bytes()[..], &vec![7; size - 4]].concat()).collect()
}

fn receive(receiver: &mcast::Receiver, batch: &mut Batch, count: usize) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    while received.len() < count {
        assert!(
            receiver.recv_batch(batch, Some(TIMEOUT)).unwrap() > 0,
            "received {} of {count}",
            received.len()
        );
        received.extend(batch.iter().map(|datagram| datagram.payload().to_vec()));
    }
    received
}

fn segmented_buffers_arrive_as_separate_datagrams(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let mut batch = Batch::new(32, 65_536);
    let mut sent = equal(1000, 100);
    sent.push(vec![1; 50]);
    send_all(net, &sent);
    assert!(receive(&receiver, &mut batch, sent.len()) == sent);

    let statistics = receiver.statistics();
    assert_eq!(statistics.received, 1001);
    assert!(statistics.merged >= 8 && statistics.calls < 100, "{statistics:?}");
    assert!(
        matches!(statistics.dropped, mcast::Drops::AtLeast(0) | mcast::Drops::About(0)),
        "{statistics:?}"
    );
    let last = batch.iter().last().unwrap();
    assert_eq!((last.length, last.truncated, last.arrival().group()), (50, false, Some(net.group(1))));
}

fn coalesced_and_single_receives_may_be_mixed(net: &Net) {
    let memberships = [net.on("eth0", net.group(1)), net.on("eth0", net.group(2))];
    for memberships in [&memberships[..1], &memberships[..]] {
        let receiver = net.joined(memberships);
        let (mut large, mut small) = (Batch::new(4, 65_536), Batch::new(3, 200));
        let mut buffer = [0; 200];
        let sent = equal(3000, 100);
        send_all(net, &sent);

        let mut received = Vec::new();
        for round in 0_u32.. {
            if received.len() == sent.len() {
                break;
            }
            match round % 5 {
                0 if round % 50 == 0 => {
                    receiver.recv_batch(&mut large, Some(TIMEOUT)).unwrap();
                    received.extend(large.iter().map(|datagram| datagram.payload().to_vec()));
                }
                1 => {
                    receiver.recv_batch(&mut small, Some(TIMEOUT)).unwrap();
                    received.extend(small.iter().map(|datagram| datagram.payload().to_vec()));
                }
                _ => {
                    let datagram = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
                    assert_eq!((datagram.length, datagram.truncated), (100, false));
                    received.push(datagram.payload().to_vec());
                }
            }
        }
        assert!(received == sent);
        assert!(receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap().is_none());
    }
}

/// Returns a receiver that has waited in vain, to which `payloads` were sent afterwards.
fn after_a_wait(net: &Net, payloads: &[Vec<u8>]) -> mcast::Receiver {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    assert!(receiver.recv_timeout(&mut [0], Duration::from_millis(1)).unwrap().is_none());
    send_all(net, payloads);
    receiver
}

fn a_coalesced_buffer_that_ends_a_wait_is_delivered_whole(net: &Net) {
    let sent: Vec<_> = (0..40).map(|number| vec![number; 100]).collect();
    // The first datagram fits the buffer or not, and the coalesced buffer is longer in any case.
    for room in [100, 250, 65_536] {
        let (receiver, mut buffer) = (after_a_wait(net, &sent), vec![0; room]);
        for payload in &sent {
            let datagram = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
            assert_eq!((datagram.payload(), datagram.truncated), (&payload[..], false));
        }
        assert_eq!(receiver.statistics().received, 40);
    }
}

fn after_a_wait_a_datagram_longer_than_the_buffer_is_truncated(net: &Net) {
    let sent = [vec![7; 1000], vec![8; 10]];
    let (receiver, mut buffer) = (after_a_wait(net, &sent), [0; 64]);
    let first = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
    assert_eq!((first.payload(), first.length, first.truncated), (&[7; 64][..], 1000, true));
    let second = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
    assert_eq!((second.payload(), second.truncated), (&[8; 10][..], false));
}

fn datagrams_over_the_mtu_are_not_segmented(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let mut batch = Batch::new(32, 65_536);
    let sent = equal(20, 4000);
    send_all(net, &sent);
    assert!(receive(&receiver, &mut batch, 20) == sent);
}

fn one_batch_takes_mixed_sizes_groups_and_interfaces(net: &Net) {
    let memberships = [1, 2].map(|number| mcast::Membership::new(net.group(number)));
    let receiver = net.joined(&memberships);
    let (eth0, eth1) = (net.index(&net.sender, "eth0"), net.index(&net.sender, "eth1"));
    let payloads: Vec<_> =
        (0..600_u32).map(|n| [&n.to_be_bytes()[..], &vec![1; (n / 50 * 100) as usize]].concat()).collect();
    let outgoing: Vec<_> = payloads
        .iter()
        .enumerate()
        .map(|(n, payload)| {
            Outgoing::new(payload).to(net.group(1 + n as u16 / 7 % 2)).by(if n / 20 % 2 == 0 {
                eth0
            } else {
                eth1
            })
        })
        .collect();
    net.send_with(|builder| builder, |sender| assert_eq!(sender.send_batch(&outgoing).unwrap(), 600));

    let mut received = receive(&receiver, &mut Batch::new(64, 65_536), 600);
    received.sort();
    assert!(received == payloads);
}

fn without_gro_and_gso_the_same_datagrams_arrive(net: &Net) {
    let membership = net.on("eth0", net.group(1));
    let receiver = net.receiver(|builder| builder.join(membership).gro(false));
    let mut batch = Batch::new(32, 65_536);
    let sent = equal(500, 100);
    let statistics = net.send_with(
        |builder| {
            builder
                .interface(InterfaceSelector::Name("eth0".into()))
                .to(net.group(1).into())
                .segmentation(false)
        },
        |sender| {
            let outgoing: Vec<_> = sent.iter().map(|payload| Outgoing::new(payload)).collect();
            assert_eq!(sender.send_batch(&outgoing).unwrap(), 500);
            assert_eq!(sender.segments_at_once(net.family).unwrap(), 1);
            sender.statistics()
        },
    );
    assert_eq!((statistics.datagrams, statistics.trains), (500, 0));
    assert!(receive(&receiver, &mut batch, 500) == sent);
    assert_eq!(receiver.statistics().merged, 0);
}

fn a_small_batch_never_truncates_a_coalesced_buffer(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let mut small = Batch::new(8, 128);
    let sent = equal(300, 100);
    send_all(net, &sent);
    assert!(receive(&receiver, &mut small, 300) == sent);
    assert_eq!(receiver.statistics().truncated, 0);
}
