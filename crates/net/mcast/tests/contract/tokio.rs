//! Guarantees on tokio: cancelled waits consume nothing, and senders wait without blocking.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use mcast::{Family, InterfaceSelector, Outgoing};
use tokio::time::timeout;

use crate::net::{Net, TIMEOUT, both_families};

both_families!(
    a_cancelled_wait_consumes_nothing,
    several_tasks_share_a_receiver,
    sends_and_receives_replies,
    joins_while_a_task_waits,
    a_datagram_without_a_destination_is_an_error,
    finds_an_admitted_datagram_behind_refused_ones,
    sends_batches_and_follows_its_interface,
    a_stream_yields_owned_datagrams_that_a_sink_sent,
);

/// Runs a future on the calling thread, so that sockets are opened in its network namespace.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn a_cancelled_wait_consumes_nothing(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth0", net.group(2))]);
    block_on(async {
        let receiver = mcast::tokio::Receiver::new(receiver).unwrap();
        let mut buffer = [0; 64];
        for round in 0..200_u32 {
            assert!(
                timeout(Duration::from_micros(u64::from(round % 7)), receiver.recv(&mut buffer))
                    .await
                    .is_err()
            );
            net.send("eth0", net.group(1 + round as u16 % 2), &round.to_be_bytes());
            // Cancelled when the datagram has already arrived: it is either returned, or still
            // available.
            let received = match timeout(Duration::ZERO, receiver.recv(&mut buffer)).await {
                Ok(datagram) => datagram.unwrap().payload().to_vec(),
                Err(_) => {
                    timeout(TIMEOUT, receiver.recv(&mut buffer)).await.unwrap().unwrap().payload().to_vec()
                }
            };
            assert_eq!(received, round.to_be_bytes());
        }
        assert_eq!(receiver.blocking().statistics().received, 200);
    });
}

fn a_stream_yields_owned_datagrams_that_a_sink_sent(net: &Net) {
    let group = net.group(1);
    let receiver = net.joined(&[net.on("eth0", group)]);
    let send = || {
        block_on(async {
            let eth0 = InterfaceSelector::Name("eth0".into());
            let sender = mcast::Sender::builder().to(group.into()).interface(eth0).build().unwrap();
            let sender = mcast::tokio::Sender::new(sender);
            let payloads = (0..100_u8).map(|number| Bytes::from(vec![number; 20]));
            sender.sink().send_all(&mut stream::iter(payloads).map(Ok)).await.unwrap();
        });
    };
    net.sender.run(send).unwrap();
    block_on(async {
        let receiver = mcast::tokio::Receiver::new(receiver).unwrap();
        let received: Vec<Bytes> = {
            // Fewer buffers than datagrams: each batch is used again while what it held is kept.
            let datagrams = receiver.datagrams(mcast::Batch::new(8, 64)).take(100);
            let payloads = datagrams.map(|datagram| {
                let datagram = datagram.unwrap();
                assert_eq!(datagram.group(), Some(group));
                Bytes::from(datagram)
            });
            timeout(TIMEOUT, payloads.collect()).await.unwrap()
        };
        for (number, payload) in (0..).zip(&received) {
            assert_eq!(payload[..], [number; 20]);
        }
        // An error is an item, and the stream continues.
        let mut datagrams = receiver.datagrams(mcast::Batch::new(8, 64));
        receiver.blocking().waker().wake().unwrap();
        let woken = timeout(TIMEOUT, datagrams.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(woken.kind(), mcast::ErrorKind::Woken);
        net.send("eth0", group, b"after it");
        let datagram = timeout(TIMEOUT, datagrams.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(datagram.payload(), b"after it");
    });
}

fn several_tasks_share_a_receiver(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let numbers = block_on(async {
        let receiver = std::sync::Arc::new(mcast::tokio::Receiver::new(receiver).unwrap());
        let (count, deadline) = (std::sync::Arc::new(AtomicUsize::new(0)), Instant::now() + TIMEOUT);
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (receiver, count) = (receiver.clone(), count.clone());
                tokio::spawn(async move {
                    let mut batch = mcast::Batch::new(2, 64);
                    let mut numbers = Vec::new();
                    while count.load(Ordering::Relaxed) < 100 && Instant::now() < deadline {
                        let waiting = timeout(Duration::from_millis(20), receiver.recv_batch(&mut batch));
                        let Ok(received) = waiting.await else { continue };
                        count.fetch_add(received.unwrap(), Ordering::Relaxed);
                        numbers.extend(batch.iter().map(|datagram| datagram.payload()[0]));
                    }
                    numbers
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for number in 0..100 {
            net.send("eth0", net.group(1), &[number]);
            tokio::task::yield_now().await;
        }
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.extend(task.await.unwrap());
        }
        numbers
    });
    let mut numbers = numbers;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
}

fn sends_and_receives_replies(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(1))]);
    let group = net.group(1);
    let family: Family = net.family;
    net.sender
        .run(|| {
            block_on(async {
                let sender = mcast::Sender::builder()
                    .to(group.into())
                    .interface(InterfaceSelector::Name("eth0".into()))
                    .interface(InterfaceSelector::Name("eth1".into()))
                    .build()
                    .unwrap();
                let sender = mcast::tokio::Sender::new(sender);
                sender.send(b"who?").await.unwrap();
                sender.send_one(&Outgoing::new(b"more").hop_limit(3)).await.unwrap();
                let mut buffer = [0; 64];
                for _ in 0..4 {
                    let datagram = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
                    let reply = [b"re: ", datagram.payload()].concat();
                    receiver.reply(&datagram, &reply).unwrap();
                }
                let mut replies = Vec::new();
                for _ in 0..4 {
                    let reply =
                        timeout(TIMEOUT, sender.recv_answer(family, &mut buffer)).await.unwrap().unwrap();
                    replies.push(String::from_utf8(reply.payload.to_vec()).unwrap());
                }
                replies.sort();
                assert_eq!(replies, ["re: more", "re: more", "re: who?", "re: who?"]);
            });
        })
        .unwrap();
}

fn joins_while_a_task_waits(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    block_on(async {
        let receiver = std::sync::Arc::new(mcast::tokio::Receiver::new(receiver).unwrap());
        let waiting = tokio::spawn({
            let receiver = receiver.clone();
            async move {
                receiver.recv(&mut [0; 64]).await.map(|datagram| datagram.arrival().group().unwrap()).unwrap()
            }
        });
        tokio::task::yield_now().await;
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(2)))).unwrap().unwrap();
        net.send("eth1", net.group(2), b"x");
        assert_eq!(timeout(TIMEOUT, waiting).await.unwrap().unwrap(), net.group(2));
    });
}

fn finds_an_admitted_datagram_behind_refused_ones(net: &Net) {
    let (receiver, _other, (interface, others)) = crate::interleaved::beside_another(net);
    block_on(async {
        let receiver = mcast::tokio::Receiver::new(receiver).unwrap();
        let mut batch = mcast::Batch::new(2, 64);
        for _ in 0..3 {
            for _ in 0..200 {
                net.send(interface, others, b"not yours");
            }
            net.send("eth0", net.group(1), b"yours");
            let count = timeout(TIMEOUT, receiver.recv_batch(&mut batch)).await.unwrap().unwrap();
            assert_eq!(count, 1);
        }
        (0..200).for_each(|_| net.send(interface, others, b"not yours"));
        net.send("eth0", net.group(1), b"yours");
        let mut buffer = [0; 64];
        let datagram = timeout(TIMEOUT, receiver.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(datagram.payload(), b"yours");
    });
}

fn sends_batches_and_follows_its_interface(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let group = net.group(1);
    net.sender
        .run(|| {
            block_on(async {
                let eth0 = InterfaceSelector::Name("eth0".into());
                let sender = mcast::Sender::builder().to(group.into()).interface(eth0).follow(true);
                let sender = mcast::tokio::Sender::new(sender.build().unwrap());
                let batch: Vec<_> = ["a", "b", "c"].map(|text| Outgoing::new(text.as_bytes())).into();
                assert_eq!(sender.send_batch(&batch).await.unwrap(), 3);

                for text in ["single", "end"] {
                    net.disconnect(&net.sender, 0);
                    let error = sender.send(b"gone").await.unwrap_err();
                    assert_eq!(error.kind(), mcast::ErrorKind::NoSuchInterface, "{error}");
                    net.connect(&net.sender, 0);
                    match text {
                        "end" => assert_eq!(sender.send_batch(&[Outgoing::new(b"end")]).await.unwrap(), 1),
                        text => sender.send(text.as_bytes()).await.unwrap(),
                    }
                }
            });
        })
        .unwrap();
    assert_eq!(crate::net::texts_until(&receiver, "end"), ["a", "b", "c", "single", "end"]);
}

fn a_datagram_without_a_destination_is_an_error(net: &Net) {
    let kind = net.sender.run(|| {
        block_on(async {
            let sender = mcast::tokio::Sender::new(mcast::Sender::builder().build().unwrap());
            sender.send(b"nowhere").await.unwrap_err().kind()
        })
    });
    assert_eq!(kind.unwrap(), mcast::ErrorKind::Mismatch);
}
