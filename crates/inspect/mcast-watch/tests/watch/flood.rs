//! Behavior under floods of forged traffic.

use std::net::Ipv4Addr;

use mcast_watch::WatchOptions;

use crate::support::{DEFAULT_DATAGRAM, Datagram, Table};

#[test]
fn flood_of_forged_streams_evicts_no_established_stream() {
    let mut table = Table::with(WatchOptions { capacity: 64, ..WatchOptions::default() });
    let lasting: Vec<String> = (1..=20).map(|last| format!("10.0.0.{last}")).collect();
    let mut flood = 0_u32;
    for second in 0..20 {
        for source in &lasting {
            table.observe(second * 1_000, Datagram { source, ..DEFAULT_DATAGRAM });
        }
        for _ in 0..if second < 2 { 0 } else { 1_000 } {
            flood += 1;
            let group = Ipv4Addr::from_bits(Ipv4Addr::new(239, 200, 0, 0).to_bits() + flood).to_string();
            table.observe(second * 1_000 + 500, Datagram { group: &group, ..DEFAULT_DATAGRAM });
        }
    }

    let report = table.report(20_000);

    assert_eq!(report.streams.len(), 64);
    for source in &lasting {
        let row = report.streams.iter().find(|row| row.key.source.to_string() == *source).unwrap();
        assert_eq!(row.datagrams, 20, "{source}");
    }
    assert_eq!(report.totals.streams_evicted, 18_000 - 44);
    assert_eq!(report.totals.datagrams, 20 * 20 + 18_000);
}

#[test]
fn fast_stream_is_tracked_during_a_flood() {
    let mut table = Table::with(WatchOptions { capacity: 64, ..WatchOptions::default() });
    for n in 0..30_000_u32 {
        let group = Ipv4Addr::from_bits(Ipv4Addr::new(239, 200, 0, 0).to_bits() + n).to_string();
        table.observe(u64::from(n) / 10, Datagram { group: &group, ..DEFAULT_DATAGRAM });
        if n % 10 == 0 {
            table.observe(u64::from(n) / 10, Datagram { source: "10.0.0.99", ..DEFAULT_DATAGRAM });
        }
    }
    let report = table.report(3_000);
    let row = report.streams.iter().find(|row| row.key.source.to_string() == "10.0.0.99").unwrap();
    assert_eq!(row.datagrams, 3_000);
}
