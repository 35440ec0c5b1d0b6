//! Rates, histories, and what tells streams apart.

use std::time::Duration;

use mcast_watch::{JitterBasis, Options, Rate};
use proptest::prelude::*;

use crate::support::{Datagram, PLAIN, Table, at};

fn datagrams(rate: Rate) -> f64 {
    rate.datagrams_per_second
}

#[test]
fn the_rate_is_that_of_the_latest_interval_that_is_over() {
    let mut table = Table::new();
    (0..100).for_each(|n| table.see(n * 10, PLAIN));
    (0..50).for_each(|n| table.see(1_000 + n * 20, PLAIN));
    table.see(2_500, PLAIN);

    let row = table.row(2_600);

    assert_eq!(row.now, Rate { datagrams_per_second: 50.0, bits_per_second: 50.0 * 5.0 * 8.0 });
    assert_eq!(row.history.iter().map(|slot| slot.datagrams).collect::<Vec<_>>(), [100, 50]);
    assert_eq!((row.datagrams, row.bytes, row.frame_bytes), (151, 755, 151 * 47));
    assert!((datagrams(row.mean) - 151.0 / 2.6).abs() < 1e-9);
    assert_eq!((row.age, row.quiet), (Duration::from_millis(2_600), Duration::from_millis(100)));
}

#[test]
fn the_first_interval_is_shown_while_it_lasts() {
    let mut table = Table::new();
    (0..50).for_each(|n| table.see(n * 10, PLAIN));
    assert_eq!(datagrams(table.row(500).now), 100.0);
}

#[test]
fn a_stream_that_falls_silent_shows_nothing_and_stays() {
    let mut table = Table::new();
    table.see(100, PLAIN);
    let row = table.row(30_000);
    assert_eq!((datagrams(row.now), row.datagrams), (0.0, 1));
    assert_eq!(row.quiet, Duration::from_millis(29_900));
}

#[test]
fn a_long_silence_ends_a_stream() {
    let mut table = Table::new();
    table.see(0, PLAIN);
    assert_eq!(table.report(599_999).streams.len(), 1);
    assert_eq!(table.report(600_000).streams.len(), 0);
    table.see(601_000, PLAIN);
    assert_eq!(table.row(602_000).datagrams, 1);
}

#[test]
fn streams_are_told_apart_by_group_port_source_and_interface() {
    let mut table = Table::new();
    let streams = [
        PLAIN,
        Datagram { group: "239.1.2.4", ..PLAIN },
        Datagram { port: 5001, ..PLAIN },
        Datagram { source: "10.0.0.8", ..PLAIN },
        Datagram { source_port: 4001, ..PLAIN },
        Datagram { interface: 3, ..PLAIN },
        Datagram { group: "ff15::1", source: "fd00::7", ..PLAIN },
    ];
    for (number, stream) in streams.iter().enumerate() {
        (0..=number).for_each(|_| table.see(1, *stream));
    }
    let rows = table.report(1_000).streams;
    let mut counts: Vec<_> = rows.iter().map(|row| row.datagrams).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7]);
    assert!(rows.is_sorted_by_key(|row| row.key));
}

#[test]
fn the_same_stream_in_another_vlan_is_another() {
    let mut table = Table::new();
    let frame = PLAIN.frame();
    let tagged = [&frame[..12], &[0x81, 0x00, 0x00, 42], &frame[12..]].concat();
    for _ in 0..3 {
        table.see_frame(at(1), 2, &tagged);
    }
    table.see_frame(at(1), 2, &frame);
    let rows = table.report(1_000).streams;
    let told: Vec<_> = rows.iter().map(|row| (row.key.vlan, row.datagrams)).collect();
    assert_eq!(told, [(None, 1), (Some(42), 3)]);
}

#[test]
fn unicast_is_no_stream() {
    let mut table = Table::new();
    let mut frame = PLAIN.frame();
    frame[30] = 10; // 10.1.2.3
    assert_eq!(table.see_frame(at(1), 2, &frame), None);
    let report = table.report(1_000);
    assert_eq!((report.streams.len(), report.totals.datagrams), (0, 0));
}

#[test]
fn hop_limits_are_told_with_their_range() {
    let mut table = Table::new();
    for hop_limit in [4, 7, 2, 3] {
        table.see(1, Datagram { hop_limit, ..PLAIN });
    }
    let row = table.row(1_000);
    assert_eq!((row.hop_limit, row.hop_limits), (3, (2, 7)));
}

#[test]
fn a_wrong_checksum_is_counted() {
    let mut table = Table::new();
    table.see(1, PLAIN);
    let mut frame = PLAIN.frame();
    let last = frame.len() - 1;
    frame[last] ^= 1;
    table.see_frame(at(2), 2, &frame);
    assert_eq!(table.row(1_000).bad_checksums, 1);
}

#[test]
fn without_times_in_the_payload_jitter_is_that_of_the_gaps() {
    let mut table = Table::new();
    (0..200).for_each(|n| table.see(n * 10 + n % 2 * 4, PLAIN));
    let jitter = table.row(3_000).jitter.unwrap();
    assert_eq!(jitter.basis, JitterBasis::Gap);
    // Gaps of 14 and 6 ms in turn.
    assert!((0.0078..=0.008).contains(&jitter.jitter.as_secs_f64()), "{jitter:?}");
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let mut table = Table::new();
    (0..100).for_each(|n| table.see(n * 10, PLAIN));
    let hour_before =
        |milliseconds: u64| mcast_watch::Time::from_nanos(at(milliseconds).as_nanos() - 3_600_000_000_000);
    for n in 100..200 {
        table.see_at(hour_before(n * 10), PLAIN);
    }
    let rows = table.watch.report(hour_before(2_010)).streams;
    assert!((98.0..=102.0).contains(&datagrams(rows[0].now)), "{rows:?}");
}

proptest! {
    /// Whatever comes when, nothing is counted twice or lost between intervals.
    #[test]
    fn sums_agree(gaps in prop::collection::vec(0_u64..1_500, 1..200), interval in 1_u64..3_000) {
        let mut table =
            Table::with(Options { interval: Duration::from_millis(interval), ..Options::default() });
        let mut now = 0;
        for gap in &gaps {
            now += gap;
            table.see(now, PLAIN);
        }
        let row = table.row(now + interval);
        prop_assert_eq!(row.datagrams, gaps.len() as u64);
        let intervals = (now + interval) / interval;
        let since_first = intervals - gaps[0] / interval;
        let remembered: u64 = row.history.iter().map(|slot| u64::from(slot.datagrams)).sum();
        if since_first < 60 {
            prop_assert_eq!(remembered, row.datagrams);
            prop_assert_eq!(row.history.len() as u64, since_first);
        } else {
            prop_assert!(remembered <= row.datagrams);
            prop_assert_eq!(row.history.len(), 59);
        }
    }
}
