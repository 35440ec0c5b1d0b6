//! Loss as shown by the streams' own sequence numbers.

use mcast_measure::wire::{MessageType, SessionHeader, SessionId, UnixNanos};
use mcast_packet::Packet;
use mcast_packet::payload::{MoldUdp64, Rtp, TsPacket};
use mcast_sim::Dice;
use mcast_watch::{Format, JitterBasis, RtpFlows, SequenceStatistics, Unit, WatchOptions};
use proptest::prelude::*;

use crate::support::{DEFAULT_DATAGRAM, Datagram, Table, at};

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    rtp_of(Rtp {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp: 0,
        ssrc,
        csrc_count: 0,
        extension: None,
        payload: &[1; 100],
    })
}

fn rtp_of(packet: Rtp<'_>) -> Vec<u8> {
    let mut buffer = vec![0; Rtp::HEADER_LENGTH + packet.payload.len()];
    let length = packet.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn observe(table: &mut Table, milliseconds: u64, payload: &[u8]) {
    table.observe(milliseconds, Datagram { payload, ..DEFAULT_DATAGRAM });
}

fn datagrams(received: u64, missing: u64) -> SequenceStatistics {
    SequenceStatistics {
        unit: Unit::Datagrams,
        received,
        missing,
        duplicates: 0,
        reordered: Some(0),
        repairs: None,
        restarts: 0,
    }
}

#[test]
fn rtp_loss_is_counted_across_sequence_wraparound() {
    let mut table = Table::new();
    for sequence in (65_500..=65_535).chain(0..100).filter(|sequence| sequence % 10 != 7) {
        observe(&mut table, 10, &rtp(sequence, 7));
    }
    let row = table.row(1_000);
    assert_eq!((row.format, row.numbers), (Some(Format::Rtp), Some(datagrams(123, 13))));
    assert_eq!(row.lost_now, 13);
    assert!((row.numbers.unwrap().loss() - 13.0 / 136.0).abs() < 1e-9);
}

#[test]
fn rtp_on_an_odd_port_is_recognized_by_its_numbers() {
    let format = |numbers: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut table = Table::new();
        for payload in numbers {
            table.observe(10, Datagram { payload: &payload, port: 5001, ..DEFAULT_DATAGRAM });
        }
        let row = table.row(1_000);
        (row.format, row.numbers.map(|numbers| (numbers.received, numbers.missing)))
    };
    let lossy = (0..100_u16).filter(|number| number % 10 != 7);
    assert_eq!(format(&mut lossy.map(|number| rtp(number, 7))), (Some(Format::Rtp), Some((90, 10))));
    assert_eq!(format(&mut (0..12).map(|number| rtp(number, 7))), (None, None), "too few");
    assert_eq!(
        format(&mut (0..100).map(|number| rtp(number, 7 + u32::from(number)))),
        (None, None),
        "sources"
    );
    let random = (0..100_u32).map(|number| rtp((number * 40_503 % 65_536) as u16, 7));
    assert_eq!(format(&mut random.into_iter()), (None, None), "random numbers");
}

#[test]
fn atypical_rtp_packet_leaves_no_gap() {
    let mut table = Table::new();
    for sequence in 0..10 {
        let mut packet = rtp(sequence, 7);
        if sequence == 5 {
            packet[0] |= 0x01; // One contributing source, which takes the first bytes of the payload.
        }
        observe(&mut table, 10, &packet);
    }
    assert_eq!(table.row(1_000).numbers, Some(datagrams(10, 0)));
}

#[test]
fn new_ssrc_is_a_restart_without_loss() {
    let mut table = Table::new();
    (0..10).for_each(|sequence| observe(&mut table, 10, &rtp(sequence, 7)));
    (5_000..5_010).for_each(|sequence| observe(&mut table, 20, &rtp(sequence, 8)));
    let expected = SequenceStatistics { restarts: 1, ..datagrams(20, 0) };
    assert_eq!(table.row(1_000).numbers, Some(expected));
}

#[test]
fn random_payloads_are_not_recognized_as_rtp() {
    let mut table = Table::new();
    let mut dice = Dice::new(1);
    for n in 0..20_000 {
        let payload: [u8; 40] = std::array::from_fn(|_| dice.next() as u8);
        observe(&mut table, n / 20, &payload);
        if n % 100 == 0 {
            let row = table.row(n / 20);
            assert_eq!((row.format, row.numbers), (None, None), "after {n}");
        }
    }
}

#[test]
fn late_datagram_is_no_longer_missing() {
    let mut table = Table::new();
    for sequence in [0, 1, 2, 4, 5] {
        observe(&mut table, 10, &rtp(sequence, 7));
    }
    assert_eq!(table.row(500).numbers, Some(datagrams(5, 1)));
    observe(&mut table, 600, &rtp(3, 7));
    observe(&mut table, 600, &rtp(3, 7));
    let row = table.row(1_000);
    let expected = SequenceStatistics { duplicates: 1, reordered: Some(1), ..datagrams(7, 0) };
    assert_eq!((row.numbers, row.lost_now), (Some(expected), 0));
}

#[test]
fn transport_stream_loss_is_counted_by_continuity_counters() {
    let mut table = Table::new();
    let content = [9; 184];
    for datagram in 0..20_u32 {
        let mut payload = vec![0; 7 * TsPacket::LENGTH];
        for (number, cell) in payload.chunks_mut(TsPacket::LENGTH).enumerate() {
            let continuity = (datagram * 7 + number as u32) % 16;
            TsPacket::new(256, continuity as u8, &content).emit(cell).unwrap();
        }
        if datagram != 10 {
            observe(&mut table, 10, &payload);
        }
    }
    let row = table.row(1_000);
    let expected = SequenceStatistics {
        unit: Unit::Cells,
        received: 19 * 7,
        missing: 7,
        duplicates: 0,
        reordered: None,
        repairs: None,
        restarts: 0,
    };
    assert_eq!((row.format, row.numbers), (Some(Format::MpegTs), Some(expected)));
    assert_eq!((row.continuity_errors, row.lost_now), (Some(1), 7));
}

#[test]
fn mold_udp64_loss_is_counted_in_messages() {
    let mut table = Table::new();
    let mut next = 1;
    for datagram in 0..10 {
        let messages: Vec<&[u8]> = vec![b"trade"; datagram];
        let mut buffer = [0; 500];
        let length = MoldUdp64::emit(*b"SESSION001", next, &messages, &mut buffer).unwrap();
        next += datagram as u64;
        if datagram != 4 {
            observe(&mut table, 10, &buffer[..length]);
        }
    }
    let row = table.row(1_000);
    assert_eq!(row.format, Some(Format::MoldUdp64));
    assert_eq!(row.numbers, Some(SequenceStatistics { unit: Unit::Messages, ..datagrams(41, 4) }));
}

fn perf(sequence: u64, sent: u64) -> Vec<u8> {
    let time = UnixNanos(sent);
    SessionHeader { kind: MessageType::Data, stream: 0, session: SessionId(99), sequence, time }
        .encode()
        .to_vec()
}

#[test]
fn probes_are_counted_and_timed_by_their_headers() {
    let mut table = Table::new();
    for n in 0..100_u64 {
        // The sender's clock is a minute behind and sending is irregular; transit always takes 3 ms.
        let sent = at(n * 5 + n % 3).as_nanos() - 60_000_000_000;
        if n != 50 {
            observe(&mut table, n * 5 + n % 3 + 3, &perf(n, sent));
        }
    }
    let row = table.row(1_000);
    assert_eq!((row.format, row.numbers), (Some(Format::Probe), Some(datagrams(99, 1))));
    let jitter = row.jitter.unwrap();
    assert_eq!((jitter.basis, jitter.jitter.as_nanos()), (JitterBasis::Transit, 0));
}

#[test]
fn configured_sequence_field_works_in_either_byte_order() {
    for (text, encode) in [("2:4", u32::to_be_bytes as fn(u32) -> [u8; 4]), ("2:4le", u32::to_le_bytes)] {
        let options = WatchOptions { sequence: Some(text.parse().unwrap()), ..WatchOptions::default() };
        let mut table = Table::with(options);
        for number in (100_u32..200).filter(|number| *number != 150) {
            observe(&mut table, 10, &[&b"xy"[..], &encode(number)].concat());
        }
        observe(&mut table, 10, b"short");
        let row = table.row(1_000);
        assert_eq!((row.format, row.numbers), (Some(Format::Field), Some(datagrams(99, 1))), "{text}");
    }
}

#[test]
fn loss_counts_in_the_interval_in_which_it_was_detected() {
    let mut table = Table::new();
    for (milliseconds, sequence) in [(10, 0), (20, 1), (30, 2), (1_500, 5), (1_600, 6), (2_500, 7)] {
        observe(&mut table, milliseconds, &rtp(sequence, 7));
    }
    let row = table.row(3_000);
    assert_eq!(row.history.iter().map(|slot| slot.lost).collect::<Vec<_>>(), [0, 2, 0]);
}

proptest! {
    #[test]
    fn omitted_datagrams_are_missing(kept in prop::collection::vec(any::<bool>(), 10..300), first in any::<u16>()) {
        let mut table = Table::new();
        let mut sent = Vec::new();
        for (n, keep) in kept.iter().enumerate() {
            if *keep {
                observe(&mut table, 10, &rtp(first.wrapping_add(n as u16), 7));
                sent.push(n);
            }
        }
        prop_assume!(sent.len() >= 3);
        let span = sent[sent.len() - 1] - sent[0] + 1;
        let numbers = table.row(1_000).numbers.unwrap();
        prop_assert_eq!(numbers, datagrams(sent.len() as u64, (span - sent.len()) as u64));
    }

    #[test]
    fn no_payload_causes_a_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..50)) {
        let mut table = Table::new();
        for payload in payloads {
            observe(&mut table, 10, &payload);
        }
        table.report(2_000);
    }
}

/// Returns how many packets of a flow to a port are named as RTP, and how many come before the first of them.
fn named(payloads: impl IntoIterator<Item = Vec<u8>>) -> (usize, usize) {
    let mut flows = RtpFlows::default();
    let is_named = |payload: Vec<u8>| {
        let frame = Datagram { payload: &payload, port: 5001, ..DEFAULT_DATAGRAM }.frame();
        flows.recognize(&Packet::ethernet(&frame)).is_some()
    };
    let named: Vec<_> = payloads.into_iter().map(is_named).collect();
    (named.iter().filter(|named| **named).count(), named.iter().take_while(|named| !**named).count())
}

#[test]
fn flow_is_rtp_after_four_packets_that_continue_each_other() {
    assert_eq!(named((0..10).map(|number| rtp(number, 7))), (7, 3));
    assert_eq!(named((65_530..=65_535).chain(0..4).map(|number| rtp(number, 7))), (7, 3), "wraparound");
    let lossy = (0..40_u16).filter(|number| number % 4 != 1);
    assert_eq!(named(lossy.map(|number| rtp(number, 7))), (27, 3));
    assert_eq!(named((0..10).map(|number| rtp(number / 2, 7))), (4, 6), "each twice");
    assert_eq!(named([0, 1, 2, 3, 900, 4, 5].map(|number| rtp(number, 7))), (4, 3), "a gap once it is known");
}

#[test]
fn flow_that_only_resembles_rtp_is_not_named() {
    assert_eq!(named((0..100).map(|number| rtp(number, 7 + u32::from(number)))).0, 0, "sources");
    assert_eq!(named((0..100_u32).map(|number| rtp((number * 40_503) as u16, 7))).0, 0, "random numbers");
    assert_eq!(named((0..100).map(|_| rtp(1, 7))).0, 0, "one number");
    let with_others =
        (0..100).map(|number| if number % 3 == 2 { vec![number as u8; 50] } else { rtp(number, 7) });
    assert_eq!(named(with_others).0, 0, "other payloads between");
    let mut dice = Dice::new(1);
    let random = (0..50_000).map(|_| {
        let mut payload: [u8; 40] = std::array::from_fn(|_| dice.next() as u8);
        payload[0] = 0x80;
        payload[1] |= 0x60;
        payload.to_vec()
    });
    assert_eq!(named(random).0, 0, "random payloads");
}

#[test]
fn flows_do_not_share_a_series() {
    let mut flows = RtpFlows::default();
    for number in 0..30_u16 {
        let payload = rtp(number, 7);
        let source_port = 4_000 + number % 10;
        let frame = Datagram { payload: &payload, port: 5001, source_port, ..DEFAULT_DATAGRAM }.frame();
        assert_eq!(flows.recognize(&Packet::ethernet(&frame)), None);
    }
}
