//! Line 8: batches and readers, with the same answers as single calls.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use mcast::{Batch, DatagramSink, DatagramSource, InterfaceSelector, Outgoing};

use crate::net::{Net, PATIENCE, both_families};

both_families!(
    a_batch_keeps_order_sizes_and_metadata,
    a_reader_reads_what_is_there_and_waits_for_more,
    a_kept_datagram_survives,
    threads_share_a_receiver_and_each_datagram_goes_to_one,
    sources_and_sinks_are_objects,
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
    let mut came = Vec::new();
    while came.len() < sent.len() {
        assert!(receiver.recv_batch_timeout(&mut batch, PATIENCE).unwrap() > 0);
        for datagram in batch.iter() {
            assert_eq!((datagram.length, datagram.truncated), (datagram.payload().len(), false));
            assert_eq!(datagram.arrival().group, net.group(1));
            assert!(datagram.time.is_some() && datagram.hop_limit == Some(1));
            came.push(datagram.payload().to_vec());
        }
    }
    assert!(came == sent);
    assert_eq!(receiver.statistics().received, 300);
}

fn a_reader_reads_what_is_there_and_waits_for_more(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth0", net.group(2))]);
    let sent = payloads(100);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = receiver.reader();
            let mut came = Vec::new();
            while came.len() < 200 {
                came.push(reader.next_timeout(PATIENCE).unwrap().unwrap().payload().to_vec());
            }
            came
        });
        send_all(net, &sent);
        send_all(net, &sent);
        let came = reading.join().unwrap();
        assert!(came[..100] == sent && came[100..] == sent);
    });
}

fn a_kept_datagram_survives(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let sent = payloads(64);
    send_all(net, &sent);
    let mut batch = Batch::new(4, 2048);
    let mut kept = Vec::new();
    while kept.len() < sent.len() {
        assert!(receiver.recv_batch_timeout(&mut batch, PATIENCE).unwrap() > 0);
        kept.extend(batch.iter().map(|datagram| datagram.keep()));
    }
    assert!(kept.iter().zip(&sent).all(|(kept, sent)| kept.payload() == sent));
}

fn threads_share_a_receiver_and_each_datagram_goes_to_one(net: &Net) {
    const COUNT: usize = 400;
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(2))]);
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut buffer = [0; 64];
                    loop {
                        let datagram = receiver.recv_timeout(&mut buffer, PATIENCE).unwrap().unwrap();
                        let text = String::from_utf8(datagram.payload().to_vec()).unwrap();
                        if text == "end" {
                            return;
                        }
                        seen.lock().unwrap().push(text);
                    }
                })
            })
            .collect();
        for number in 0..COUNT {
            net.send(
                ["eth0", "eth1"][number % 2],
                net.group(1 + number as u16 % 2),
                number.to_string().as_bytes(),
            );
        }
        for _ in &readers {
            net.send("eth0", net.group(1), b"end");
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let seen = seen.into_inner().unwrap();
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (COUNT, COUNT));
}

fn sources_and_sinks_are_objects(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()),
        |sender| {
            let mut sink: Box<dyn DatagramSink + '_> = Box::new(sender);
            assert_eq!(sink.send_batch(&[Outgoing::new(b"x"), Outgoing::new(b"y")]).unwrap(), 2);
        },
    );
    let mut source: Box<dyn DatagramSource + '_> = Box::new(&receiver);
    let mut batch = Batch::new(8, 64);
    let mut came = Vec::new();
    while came.len() < 2 {
        assert!(source.receive_batch(&mut batch, Some(PATIENCE)).unwrap() > 0);
        came.extend(batch.iter().map(|datagram| datagram.payload().to_vec()));
    }
    assert_eq!(came, [b"x", b"y"]);
    assert!(!source.is_at_end());
}
