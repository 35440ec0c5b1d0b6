//! Cost of a packet for one stream, for a thousand, and during a flood of forged sources; of a report; and of 5,000 services that
//! are asked for.
//! Run with `cargo bench -p mcast-watch`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mcast_group::InterfaceIndex;
use mcast_packet::payload::{DnsKind, DnsRecord, DnsSection, DnsWriter, Name};
use mcast_packet::{MacAddress, Packet, UdpFrame};
use mcast_watch::discovery::{DiscoveryDatagram, DiscoveryPlace, DiscoveryTable};
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

/// A response with the four records of a service.
fn service(number: u32) -> Vec<u8> {
    let label = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let name = |labels: &[&str]| {
        [labels.iter().map(|text| label(text)).collect::<Vec<_>>().concat(), vec![0]].concat()
    };
    let (instance, host) = (format!("Printer {number}"), format!("printer-{number}"));
    let kind = name(&["_ipp", "_tcp", "local"]);
    let owner = name(&[&instance, "_ipp", "_tcp", "local"]);
    let target = name(&[&host, "local"]);
    let mut buffer = [0; 1_024];
    let mut writer = DnsWriter::new(&mut buffer, 0, DnsWriter::RESPONSE).unwrap();
    let mut record = |wire: &[u8], kind: DnsKind, time_to_live, data: &[u8], target: Option<&[u8]>| {
        let record = DnsRecord {
            name: Name::from_bytes(wire).unwrap(),
            kind: kind.0,
            class: 1,
            cache_flush: kind != DnsKind::PTR,
            time_to_live,
            data,
            target: target.map(|wire| Name::from_bytes(wire).unwrap()),
        };
        assert!(writer.record(DnsSection::Answer, &record));
    };
    record(&kind, DnsKind::PTR, 4_500, &[], Some(&owner));
    record(&owner, DnsKind::SRV, 120, &[0, 0, 0, 0, 2, 119], Some(&target));
    let text = [label("rp=ipp/print"), label("ty=Model 7"), label("note=Room 7"), label("Color=T")].concat();
    record(&owner, DnsKind::TXT, 4_500, &text, None);
    record(&target, DnsKind::A, 120, &(0x0a00_0000 + number).to_be_bytes(), None);
    writer.as_bytes().to_vec()
}

/// 5,000 services during a second of their steady state: 1 in 96 of them is asked for, and answers.
fn discovery(criterion: &mut Criterion) {
    let place = DiscoveryPlace { interface: InterfaceIndex::new(2).unwrap(), vlan: None };
    let responses: Vec<_> = (0..5_000).map(service).collect();
    let mut table = DiscoveryTable::new();
    let mut now = Time::from_secs(START);
    let receive = |table: &mut DiscoveryTable, now: Time, payload: &[u8]| {
        let datagram = DiscoveryDatagram {
            place,
            source: "10.0.0.7:5353".parse().unwrap(),
            destination: "224.0.0.251:5353".parse().unwrap(),
            hop_limit: Some(255),
            outgoing: false,
            payload,
        };
        table.handle_datagram(now, &datagram);
    };
    responses.iter().for_each(|response| receive(&mut table, now, response));
    table.ask(now);
    let mut next = responses.iter().cycle();
    criterion.bench_function("a second of 5,000 services", |bencher| {
        bencher.iter(|| {
            for _ in 0..52 {
                now = now.after(Duration::from_micros(19_230));
                receive(&mut table, now, black_box(next.next().unwrap()));
                table.handle_timeout(now);
                while table.poll_transmit(now).is_some() {}
                while table.poll_event().is_some() {}
            }
            table.counts().announcements
        });
    });
    assert!(table.entries().len() >= 9_000);
}

criterion_group!(benches, packets, report, discovery);
criterion_main!(benches);
