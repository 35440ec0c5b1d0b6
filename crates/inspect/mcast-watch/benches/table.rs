//! Cost of a packet for one stream, for a thousand, and during a flood of forged sources; and of a report.
//! Run with `cargo bench -p mcast-watch`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mcast_group::InterfaceIndex;
use mcast_packet::{MacAddress, Packet, UdpFrame};
use mcast_watch::{ObservedPacket, Time, Watch, WatchOptions};

const START: u64 = 1_700_000_000;

/// Returns one frame from each source, with 64 bytes of payload.
fn frames(sources: u32) -> Vec<Vec<u8>> {
    let frame = |number: u32| {
        let mut bytes = [0; 256];
        let datagram = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: Ipv4Addr::from(0x0a00_0001 + number).into(),
            source_port: 4000,
            group: "239.1.2.3".parse().unwrap(),
            destination_port: 5000,
            hop_limit: 4,
            payload: &[7; 64],
        };
        let length = datagram.emit(&mut bytes).unwrap();
        bytes[..length].to_vec()
    };
    (0..sources).map(frame).collect()
}

fn watch() -> Watch {
    let mut watch = Watch::new(WatchOptions::default());
    watch.begin(Time::from_secs(START));
    watch
}

fn observe(watch: &mut Watch, frame: &[u8]) {
    let packet = Packet::ethernet(frame);
    let interface = InterfaceIndex::new(2).unwrap();
    let time = Time::from_secs(START);
    watch.observe(&ObservedPacket {
        time,
        interface,
        outgoing: false,
        length: frame.len(),
        packet: &packet,
        state: mcast_watch::PacketState::Whole,
        tunnel: None,
        sequence_info: None,
    });
}

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    group.throughput(Throughput::Elements(1));
    for (name, sources) in [("one stream", 1), ("1,000 streams", 1000), ("flood of 100,000 sources", 100_000)]
    {
        let frames = frames(sources);
        let mut watch = watch();
        let mut next = frames.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| observe(&mut watch, black_box(next.next().unwrap())));
        });
    }
}

fn report(criterion: &mut Criterion) {
    let mut watch = watch();
    frames(1000).iter().for_each(|frame| observe(&mut watch, frame));
    // The time is constant: with advancing time the streams would expire, and an empty report would be
    // measured.
    let now = Time::from_secs(START + 1);
    assert_eq!(watch.report(now).streams.len(), 1000);
    criterion.bench_function("report of 1,000 streams", |bencher| {
        bencher.iter(|| watch.report(black_box(now)).streams.len());
    });
}

criterion_group!(benches, packets, report);
criterion_main!(benches);
