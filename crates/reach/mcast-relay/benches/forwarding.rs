//! Cost of a datagram that is forwarded to one leg, without sockets: the rule, the guard with its hash, and the copy.
//! Run with `cargo bench -p mcast-relay`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mcast_pace::ClockTime;
use mcast_relay::{LegArrival, LegId, Relay, RelayConfig, RelayOutput, RelayPath, parse_rules};

/// Datagrams in a coalesced buffer, and buffers of an iteration, each to another group.
const SEGMENTS: usize = 20;
const BUFFERS: usize = 32;

fn relay() -> (Relay, ClockTime) {
    let rules = parse_rules("239.1.2.0/24:5000 from s0 to s1 always").unwrap();
    let (mut relay, mut now) = (Relay::new(RelayConfig::new(rules, 1)).unwrap(), ClockTime::START);
    let legs: Vec<LegId> = relay.legs().map(|(leg, _)| leg).collect();
    legs.into_iter().for_each(|leg| relay.handle_leg_up(now, leg, &[[10, 0, leg.0, 200].into()]));
    // It listens for other relays first.
    let end = now + Duration::from_secs(5);
    while let Some(deadline) = relay.poll_timeout().filter(|deadline| *deadline <= end) {
        now = now.max(deadline);
        relay.handle_timeout(now);
        while relay.poll_output().is_some() {}
    }
    (relay, now)
}

fn forwarding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements((SEGMENTS * BUFFERS) as u64));
    for size in [64, 1316] {
        let (mut relay, mut now) = relay();
        let mut payload = vec![0; size];
        let (mut number, mut copies) = (0_u64, 0_u64);
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter(|| {
                for buffer in 0..BUFFERS {
                    let destination = SocketAddr::from(([239, 1, 2, buffer as u8], 5000));
                    for _ in 0..SEGMENTS {
                        // Each has another content.
                        number += 1;
                        payload[..8].copy_from_slice(&number.to_le_bytes());
                        let arrival = LegArrival {
                            leg: LegId(0),
                            source: ([10, 0, 0, 1], 4000).into(),
                            destination,
                            hop_limit: 8,
                            mac: None,
                            trail: RelayPath::default(),
                            payload: black_box(&payload),
                        };
                        relay.handle_datagram(now, &arrival);
                        while let Some(output) = relay.poll_output() {
                            copies += u64::from(matches!(output, RelayOutput::Send { .. }));
                        }
                    }
                }
                now = now + Duration::from_micros(100);
            });
        });
        assert_eq!(copies, number, "each is forwarded");
    }
}

fn forwarding_together(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward together");
    group.throughput(Throughput::Elements((SEGMENTS * BUFFERS) as u64));
    for size in [64, 1316] {
        let (mut relay, mut now) = relay();
        let mut payload = vec![0; size * SEGMENTS];
        let (mut number, mut forwarded) = (0_u64, 0_u64);
        let segment = NonZeroUsize::new(size).unwrap();
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter(|| {
                for buffer in 0..BUFFERS {
                    for datagram in payload.chunks_mut(size) {
                        number += 1;
                        datagram[..8].copy_from_slice(&number.to_le_bytes());
                    }
                    let arrival = LegArrival {
                        leg: LegId(0),
                        source: ([10, 0, 0, 1], 4000).into(),
                        destination: SocketAddr::from(([239, 1, 2, buffer as u8], 5000)),
                        hop_limit: 8,
                        mac: None,
                        trail: RelayPath::default(),
                        payload: black_box(&payload),
                    };
                    forwarded += relay.handle_coalesced(now, &arrival, segment) as u64;
                    while relay.poll_output().is_some() {}
                }
                now = now + Duration::from_micros(100);
            });
        });
        assert_eq!(forwarded, number, "each is forwarded");
    }
}

criterion_group!(benches, forwarding, forwarding_together);
criterion_main!(benches);
