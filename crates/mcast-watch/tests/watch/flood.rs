//! A hostile network.

use std::net::Ipv4Addr;

use mcast_watch::Options;

use crate::support::{Datagram, PLAIN, Table};

#[test]
fn a_flood_of_made_up_streams_leaves_those_that_last() {
    let mut table = Table::with(Options { capacity: 64, ..Options::default() });
    let lasting: Vec<String> = (1..=20).map(|last| format!("10.0.0.{last}")).collect();
    let mut flood = 0_u32;
    for second in 0..20 {
        for source in &lasting {
            table.see(second * 1_000, Datagram { source, ..PLAIN });
        }
        for _ in 0..if second < 2 { 0 } else { 1_000 } {
            flood += 1;
            let group = Ipv4Addr::from_bits(Ipv4Addr::new(239, 200, 0, 0).to_bits() + flood).to_string();
            table.see(second * 1_000 + 500, Datagram { group: &group, ..PLAIN });
        }
    }

    let report = table.report(20_000);

    assert_eq!(report.streams.len(), 64);
    for source in &lasting {
        let row = report.streams.iter().find(|row| row.key.source.to_string() == *source).unwrap();
        assert_eq!(row.datagrams, 20, "{source}");
    }
    assert_eq!(report.totals.streams_left_out, 18_000 - 44);
    assert_eq!(report.totals.datagrams, 20 * 20 + 18_000);
}

#[test]
fn a_fast_stream_finds_its_place_in_the_middle_of_a_flood() {
    let mut table = Table::with(Options { capacity: 64, ..Options::default() });
    for n in 0..30_000_u32 {
        let group = Ipv4Addr::from_bits(Ipv4Addr::new(239, 200, 0, 0).to_bits() + n).to_string();
        table.see(u64::from(n) / 10, Datagram { group: &group, ..PLAIN });
        if n % 10 == 0 {
            table.see(u64::from(n) / 10, Datagram { source: "10.0.0.99", ..PLAIN });
        }
    }
    let report = table.report(3_000);
    let row = report.streams.iter().find(|row| row.key.source.to_string() == "10.0.0.99").unwrap();
    assert_eq!(row.datagrams, 3_000);
}
