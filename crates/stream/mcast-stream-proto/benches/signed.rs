//! The cost of a datagram for a publisher that signs and for a subscriber that verifies, on one core.
//! Run with `cargo bench -p mcast-stream-proto --features seal`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream_proto::sign::{PinnedKeys, SigningKey};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, Start, SubscriberConfig};
use mcast_stream_proto::wire::{FlowControl, Incarnation, KeyEpoch, Sequence, StreamId};

const STREAM: StreamId = StreamId(7);
const NOW: ClockTime = ClockTime(1_000_000_000);
/// Messages of this size fill a datagram of 1,232 bytes.
const MESSAGE: [u8; 1_100] = [7; 1_100];
const MESSAGES: u64 = 4_096;

fn publisher(key: &std::sync::Arc<SigningKey>, keys: &Keys) -> PublisherMachine {
    let config = PublisherConfig::new(STREAM, Incarnation(1)).with(|config| {
        config.flow = FlowControl::None;
        config.keys = keys.clone();
        config.signer = Some(key.clone());
    });
    PublisherMachine::new(config, NOW).unwrap()
}

/// Publishes all messages, and passes each datagram that it sends on.
fn publish(publisher: &mut PublisherMachine, mut take: impl FnMut(&[u8])) {
    for _ in 0..MESSAGES {
        publisher.publish(NOW, &MESSAGE).unwrap();
        while let Some(transmit) = publisher.poll_transmit(NOW) {
            match transmit {
                Transmit::Data { first, count } => {
                    Sequence::each(first..first + count)
                        .for_each(|sequence| take(publisher.datagram(sequence)));
                }
                Transmit::Control(control) => take(control.bytes()),
                Transmit::Repair { .. } => {}
            }
        }
    }
}

fn streams(criterion: &mut Criterion) {
    let key = SigningKey::new(&[7; 32]).unwrap();
    let sealed = Keys::one(KeyEpoch(1), GroupSecret::new(&[9; 32], Algorithm::Aes128Gcm));
    for (name, keys) in [("clear", Keys::none()), ("sealed", sealed)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
        group.bench_function("publish signed", |bencher| {
            bencher.iter_batched_ref(
                || publisher(&key, &keys),
                |publisher| publish(publisher, |datagram| _ = black_box(datagram)),
                BatchSize::LargeInput,
            );
        });
        let mut datagrams = Vec::new();
        publish(&mut publisher(&key, &keys), |datagram| datagrams.push(datagram.to_vec()));
        for (name, signed_by) in
            [("receive verified", key.public_key().pinned()), ("receive", PinnedKeys::none())]
        {
            let subscriber = || {
                let config = SubscriberConfig::new(STREAM).with(|config| {
                    config.start = Start::Oldest;
                    config.keys = keys.clone();
                    config.signed_by = signed_by.clone();
                });
                SubscriberMachine::new(config, NOW)
            };
            group.bench_function(name, |bencher| {
                bencher.iter_batched_ref(
                    subscriber,
                    |subscriber| {
                        let mut messages = 0;
                        for (at, datagram) in datagrams.iter().enumerate() {
                            let now = NOW + Duration::from_nanos(at as u64 * 1_000);
                            subscriber.handle_datagram(now, 0, ([10, 0, 0, 1], 7).into(), datagram);
                            while let Some(item) = subscriber.poll_item(now, datagram) {
                                messages += u64::from(matches!(item, Item::Message(_)));
                            }
                        }
                        // The last manifest is not due yet.
                        assert!(messages >= MESSAGES - 64, "{messages}");
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, streams);
criterion_main!(benches);
