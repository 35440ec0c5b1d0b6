//! What is missing by the streams' own numbers.

use mcast_packet::payload::{Cell, MoldUdp64, Rtp};
use mcast_probe::wire::{Header, Kind, SessionId, UnixNanos};
use mcast_watch::{Format, JitterBasis, Numbers, Options, Unit};
use proptest::prelude::*;

use crate::support::{Datagram, PLAIN, Table, at};

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    rtp_of(Rtp {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp: 0,
        ssrc,
        contributors: 0,
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

fn see(table: &mut Table, milliseconds: u64, payload: &[u8]) {
    table.see(milliseconds, Datagram { payload, ..PLAIN });
}

fn datagrams(received: u64, missing: u64) -> Numbers {
    Numbers {
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
fn rtp_is_followed_by_its_sequence_numbers() {
    let mut table = Table::new();
    for sequence in (65_500..=65_535).chain(0..100).filter(|sequence| sequence % 10 != 7) {
        see(&mut table, 10, &rtp(sequence, 7));
    }
    let row = table.row(1_000);
    assert_eq!((row.format, row.numbers), (Some(Format::Rtp), Some(datagrams(123, 13))));
    assert_eq!(row.lost_now, 13);
    assert!((row.numbers.unwrap().loss() - 13.0 / 136.0).abs() < 1e-9);
}

#[test]
fn a_packet_of_rtp_that_looks_unlike_it_leaves_no_gap() {
    let mut table = Table::new();
    for sequence in 0..10 {
        let mut packet = rtp(sequence, 7);
        if sequence == 5 {
            packet[0] |= 0x01; // One contributor, whose number is the first of the payload.
        }
        see(&mut table, 10, &packet);
    }
    assert_eq!(table.row(1_000).numbers, Some(datagrams(10, 0)));
}

#[test]
fn another_sender_behind_the_same_port_is_a_restart_and_no_loss() {
    let mut table = Table::new();
    (0..10).for_each(|sequence| see(&mut table, 10, &rtp(sequence, 7)));
    (5_000..5_010).for_each(|sequence| see(&mut table, 20, &rtp(sequence, 8)));
    let expected = Numbers { restarts: 1, ..datagrams(20, 0) };
    assert_eq!(table.row(1_000).numbers, Some(expected));
}

#[test]
fn noise_is_never_taken_for_rtp() {
    let mut table = Table::new();
    let mut state = 1_u64;
    for n in 0..20_000 {
        let mut payload = [0; 40];
        for byte in &mut payload {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        see(&mut table, n / 20, &payload);
        if n % 100 == 0 {
            let row = table.row(n / 20);
            assert_eq!((row.format, row.numbers), (None, None), "after {n}");
        }
    }
}

#[test]
fn what_comes_late_is_no_loss_any_more() {
    let mut table = Table::new();
    for sequence in [0, 1, 2, 4, 5] {
        see(&mut table, 10, &rtp(sequence, 7));
    }
    assert_eq!(table.row(500).numbers, Some(datagrams(5, 1)));
    see(&mut table, 600, &rtp(3, 7));
    see(&mut table, 600, &rtp(3, 7));
    let row = table.row(1_000);
    let expected = Numbers { duplicates: 1, reordered: Some(1), ..datagrams(7, 0) };
    assert_eq!((row.numbers, row.lost_now), (Some(expected), 0));
}

#[test]
fn a_transport_stream_is_followed_by_the_counters_of_its_cells() {
    let mut table = Table::new();
    let content = [9; 184];
    for datagram in 0..20_u32 {
        let mut payload = vec![0; 7 * Cell::LENGTH];
        for (number, place) in payload.chunks_mut(Cell::LENGTH).enumerate() {
            let continuity = (datagram * 7 + number as u32) % 16;
            Cell::new(256, continuity as u8, &content).emit(place).unwrap();
        }
        if datagram != 10 {
            see(&mut table, 10, &payload);
        }
    }
    let row = table.row(1_000);
    let expected = Numbers {
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
fn mold_udp64_is_followed_by_its_messages() {
    let mut table = Table::new();
    let mut next = 1;
    for datagram in 0..10 {
        let messages: Vec<&[u8]> = vec![b"trade"; datagram];
        let mut buffer = [0; 500];
        let length = MoldUdp64::emit(*b"SESSION001", next, &messages, &mut buffer).unwrap();
        next += datagram as u64;
        if datagram != 4 {
            see(&mut table, 10, &buffer[..length]);
        }
    }
    let row = table.row(1_000);
    assert_eq!(row.format, Some(Format::MoldUdp64));
    assert_eq!(row.numbers, Some(Numbers { unit: Unit::Messages, ..datagrams(41, 4) }));
}

fn perf(sequence: u64, sent: u64) -> Vec<u8> {
    let time = UnixNanos(sent);
    Header { kind: Kind::Data, stream: 0, session: SessionId(99), sequence, time }.encode().to_vec()
}

#[test]
fn probes_are_followed_by_their_numbers_and_times() {
    let mut table = Table::new();
    for n in 0..100_u64 {
        // Sent with a clock that is a minute behind, and unevenly; always 3 ms on the way.
        let sent = at(n * 5 + n % 3).as_nanos() - 60_000_000_000;
        if n != 50 {
            see(&mut table, n * 5 + n % 3 + 3, &perf(n, sent));
        }
    }
    let row = table.row(1_000);
    assert_eq!((row.format, row.numbers), (Some(Format::Probe), Some(datagrams(99, 1))));
    let jitter = row.jitter.unwrap();
    assert_eq!((jitter.basis, jitter.jitter.as_nanos()), (JitterBasis::Transit, 0));
}

#[test]
fn a_number_whose_place_is_told_is_followed_in_either_byte_order() {
    for (text, encode) in [("2:4", u32::to_be_bytes as fn(u32) -> [u8; 4]), ("2:4le", u32::to_le_bytes)] {
        let options = Options { sequence: Some(text.parse().unwrap()), ..Options::default() };
        let mut table = Table::with(options);
        for number in (100_u32..200).filter(|number| *number != 150) {
            see(&mut table, 10, &[&b"xy"[..], &encode(number)].concat());
        }
        see(&mut table, 10, b"short");
        let row = table.row(1_000);
        assert_eq!((row.format, row.numbers), (Some(Format::Field), Some(datagrams(99, 1))), "{text}");
    }
}

#[test]
fn loss_is_told_in_the_interval_in_which_it_was_found() {
    let mut table = Table::new();
    for (milliseconds, sequence) in [(10, 0), (20, 1), (30, 2), (1_500, 5), (1_600, 6), (2_500, 7)] {
        see(&mut table, milliseconds, &rtp(sequence, 7));
    }
    let row = table.row(3_000);
    assert_eq!(row.history.iter().map(|slot| slot.lost).collect::<Vec<_>>(), [0, 2, 0]);
}

proptest! {
    #[test]
    fn what_is_left_out_is_missing(kept in prop::collection::vec(any::<bool>(), 10..300), first in any::<u16>()) {
        let mut table = Table::new();
        let mut sent = Vec::new();
        for (n, keep) in kept.iter().enumerate() {
            if *keep {
                see(&mut table, 10, &rtp(first.wrapping_add(n as u16), 7));
                sent.push(n);
            }
        }
        prop_assume!(sent.len() >= 3);
        let span = sent[sent.len() - 1] - sent[0] + 1;
        let numbers = table.row(1_000).numbers.unwrap();
        prop_assert_eq!(numbers, datagrams(sent.len() as u64, (span - sent.len()) as u64));
    }

    #[test]
    fn no_payload_makes_it_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..50)) {
        let mut table = Table::new();
        for payload in payloads {
            see(&mut table, 10, &payload);
        }
        table.report(2_000);
    }
}
