//! Rates, histories, and the identity of streams.

use std::time::Duration;

use mcast_watch::{JitterBasis, StreamRate, WatchOptions};
use proptest::prelude::*;

use crate::support::{DEFAULT_DATAGRAM, Datagram, Table, at};

fn datagrams(rate: StreamRate) -> f64 {
    rate.datagrams_per_second
}

#[test]
fn rate_is_that_of_the_latest_complete_interval() {
    let mut table = Table::new();
    (0..100).for_each(|n| table.observe(n * 10, DEFAULT_DATAGRAM));
    (0..50).for_each(|n| table.observe(1_000 + n * 20, DEFAULT_DATAGRAM));
    table.observe(2_500, DEFAULT_DATAGRAM);

    let row = table.row(2_600);

    assert_eq!(row.now, StreamRate { datagrams_per_second: 50.0, bits_per_second: 50.0 * 5.0 * 8.0 });
    assert_eq!(row.history.iter().map(|slot| slot.datagrams).collect::<Vec<_>>(), [100, 50]);
    assert_eq!((row.datagrams, row.bytes, row.frame_bytes), (151, 755, 151 * 47));
    assert!((datagrams(row.mean) - 151.0 / 2.6).abs() < 1e-9);
    assert_eq!((row.age, row.quiet), (Duration::from_millis(2_600), Duration::from_millis(100)));
}

#[test]
fn first_interval_is_reported_while_running() {
    let mut table = Table::new();
    (0..50).for_each(|n| table.observe(n * 10, DEFAULT_DATAGRAM));
    assert_eq!(datagrams(table.row(500).now), 100.0);
}

#[test]
fn silent_stream_has_zero_rate_and_stays() {
    let mut table = Table::new();
    table.observe(100, DEFAULT_DATAGRAM);
    let row = table.row(30_000);
    assert_eq!((datagrams(row.now), row.datagrams), (0.0, 1));
    assert_eq!(row.quiet, Duration::from_millis(29_900));
}

#[test]
fn stream_expires_after_the_keep_time() {
    let mut table = Table::new();
    table.observe(0, DEFAULT_DATAGRAM);
    assert_eq!(table.report(599_999).streams.len(), 1);
    assert_eq!(table.report(600_000).streams.len(), 0);
    table.observe(601_000, DEFAULT_DATAGRAM);
    assert_eq!(table.row(602_000).datagrams, 1);
}

#[test]
fn streams_differ_by_group_port_source_and_interface() {
    let mut table = Table::new();
    let streams = [
        DEFAULT_DATAGRAM,
        Datagram { group: "239.1.2.4", ..DEFAULT_DATAGRAM },
        Datagram { port: 5001, ..DEFAULT_DATAGRAM },
        Datagram { source: "10.0.0.8", ..DEFAULT_DATAGRAM },
        Datagram { source_port: 4001, ..DEFAULT_DATAGRAM },
        Datagram { interface: 3, ..DEFAULT_DATAGRAM },
        Datagram { group: "ff15::1", source: "fd00::7", ..DEFAULT_DATAGRAM },
    ];
    for (number, stream) in streams.iter().enumerate() {
        (0..=number).for_each(|_| table.observe(1, *stream));
    }
    let rows = table.report(1_000).streams;
    let mut counts: Vec<_> = rows.iter().map(|row| row.datagrams).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7]);
    assert!(rows.is_sorted_by_key(|row| row.key));
}

#[test]
fn streams_differ_by_vlan() {
    let mut table = Table::new();
    let frame = DEFAULT_DATAGRAM.frame();
    let tagged = [&frame[..12], &[0x81, 0x00, 0x00, 42], &frame[12..]].concat();
    for _ in 0..3 {
        table.observe_frame(at(1), 2, &tagged);
    }
    table.observe_frame(at(1), 2, &frame);
    let rows = table.report(1_000).streams;
    let summaries: Vec<_> = rows.iter().map(|row| (row.key.vlan, row.datagrams)).collect();
    assert_eq!(summaries, [(None, 1), (Some(42), 3)]);
}

#[test]
fn unicast_is_ignored() {
    let mut table = Table::new();
    let mut frame = DEFAULT_DATAGRAM.frame();
    frame[30] = 10; // 10.1.2.3
    assert_eq!(table.observe_frame(at(1), 2, &frame), None);
    let report = table.report(1_000);
    assert_eq!((report.streams.len(), report.totals.datagrams), (0, 0));
}

#[test]
fn hop_limits_are_reported_with_their_range() {
    let mut table = Table::new();
    for hop_limit in [4, 7, 2, 3] {
        table.observe(1, Datagram { hop_limit, ..DEFAULT_DATAGRAM });
    }
    let row = table.row(1_000);
    assert_eq!((row.hop_limit, row.hop_limits), (3, (2, 7)));
}

#[test]
fn wrong_checksum_is_counted() {
    let mut table = Table::new();
    table.observe(1, DEFAULT_DATAGRAM);
    let mut frame = DEFAULT_DATAGRAM.frame();
    let last = frame.len() - 1;
    frame[last] ^= 1;
    table.observe_frame(at(2), 2, &frame);
    assert_eq!(table.row(1_000).bad_checksums, 1);
}

#[test]
fn jitter_without_send_times_uses_gaps() {
    let mut table = Table::new();
    (0..200).for_each(|n| table.observe(n * 10 + n % 2 * 4, DEFAULT_DATAGRAM));
    let jitter = table.row(3_000).jitter.unwrap();
    assert_eq!(jitter.basis, JitterBasis::Gap);
    // Gaps alternate between 14 and 6 ms.
    assert!((0.0078..=0.008).contains(&jitter.jitter.as_secs_f64()), "{jitter:?}");
}

#[test]
fn rates_continue_after_the_clock_is_set_back() {
    let mut table = Table::new();
    (0..100).for_each(|n| table.observe(n * 10, DEFAULT_DATAGRAM));
    let hour_before =
        |milliseconds: u64| mcast_watch::Time::from_nanos(at(milliseconds).as_nanos() - 3_600_000_000_000);
    for n in 100..200 {
        table.observe_at(hour_before(n * 10), DEFAULT_DATAGRAM);
    }
    let rows = table.watch.report(hour_before(2_010)).streams;
    assert!((98.0..=102.0).contains(&datagrams(rows[0].now)), "{rows:?}");
}

proptest! {
    /// For any arrival times, nothing is counted twice or lost between intervals.
    #[test]
    fn history_and_totals_agree(gaps in prop::collection::vec(0_u64..1_500, 1..200), interval in 1_u64..3_000) {
        let mut table =
            Table::with(WatchOptions { interval: Duration::from_millis(interval), ..WatchOptions::default() });
        let mut now = 0;
        for gap in &gaps {
            now += gap;
            table.observe(now, DEFAULT_DATAGRAM);
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
