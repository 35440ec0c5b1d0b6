//! The counters of the IP layer, the backlog and the interfaces.

use std::collections::BTreeMap;

use mcast::Family;
use mcast_measure::{DropCounts, DropPoint};

use super::net_table;
use crate::snapshot::{Counter, Counters};

/// Parses a table of line pairs (names, then values): `/proc/net/snmp` and `/proc/net/netstat`.
pub(super) fn pairs(table: &str) -> Vec<(String, u64)> {
    let mut counters = Vec::new();
    let mut lines = table.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((prefix, names)) = names.split_once(':') else { continue };
        let Some((_, values)) = values.split_once(':') else { continue };
        let pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        counters
            .extend(pairs.filter_map(|(name, value)| Some((format!("{prefix}{name}"), value.parse().ok()?))));
    }
    counters
}

/// Parses a table with one name and value per line: `/proc/net/snmp6`.
pub(super) fn lines(table: &str) -> Vec<(String, u64)> {
    let counter = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    table.lines().filter_map(counter).collect()
}

/// Sums the second column of `/proc/net/softnet_stat`, which has one line per CPU.
pub(super) fn backlog(table: &str) -> Option<u64> {
    let dropped = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok();
    table.lines().filter_map(dropped).reduce(u64::saturating_add)
}

/// Sums these columns after the name in `/proc/net/dev`, over all interfaces.
fn interfaces(table: &str, columns: &[usize]) -> Option<u64> {
    let of_line = |line: &str| {
        let (_, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> =
            numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        Some(columns.iter().filter_map(|column| numbers.get(*column)).sum::<u64>())
    };
    table.lines().filter_map(of_line).reduce(u64::saturating_add)
}

/// Returns how many packets to groups the IP layer has accepted so far.
pub(crate) fn accepted_packets() -> BTreeMap<Family, u64> {
    let counters: Counters =
        pairs(&net_table("netstat")).into_iter().chain(lines(&net_table("snmp6"))).collect();
    let count = |family| Some((family, counters.value(Counter::InMulticast.name(family))?));
    [Family::V4, Family::V6].into_iter().filter_map(count).collect()
}

/// Returns what this host has dropped so far.
pub(crate) fn host_drops() -> DropCounts {
    drops(&net_table("snmp"), &net_table("snmp6"), &net_table("softnet_stat"), &net_table("dev"))
}

fn drops(snmp: &str, snmp6: &str, softnet: &str, dev: &str) -> DropCounts {
    let counters: Counters = pairs(snmp).into_iter().chain(lines(snmp6)).collect();
    let sum = |v4, v6| Some(counters.value(v4)?.saturating_add(counters.value(v6).unwrap_or(0)));
    let full = sum("UdpRcvbufErrors", "Udp6RcvbufErrors");
    let errors = sum("UdpInErrors", "Udp6InErrors");
    // `InErrors` includes the datagrams dropped for lack of buffer space.
    let broken = errors.map(|errors| errors.saturating_sub(full.unwrap_or(0)));
    // Without the columns `fifo`, which drivers include in the errors or the drops.
    DropCounts::default()
        .with(DropPoint::ReceiveBuffers, full)
        .with(DropPoint::Broken, broken)
        .with(DropPoint::Backlog, backlog(softnet))
        .with(DropPoint::InterfaceIn, interfaces(dev, &[2, 3]))
        .with(DropPoint::InterfaceOut, interfaces(dev, &[10, 11]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_formats_use_nstat_names() {
        let read = pairs("Ip: InReceives InDelivers\nIp: 10 9\nIpExt: InMcastPkts\nIpExt: 7\n");
        let named = |name: &str, value| (name.to_owned(), value);
        assert_eq!(read, [named("IpInReceives", 10), named("IpInDelivers", 9), named("IpExtInMcastPkts", 7)]);
        let read = lines("Ip6InReceives                   \t2\nbroken\n");
        assert_eq!(read, [named("Ip6InReceives", 2)]);
    }

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL\nIp: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 100 2 30 4 25 0 5
UdpLite: InDatagrams\nUdpLite: 0\n";
    const SNMP6: &str = "Ip6InReceives 7\nUdp6InErrors 3\nUdp6RcvbufErrors\t2\n";
    const SOFTNET: &str = "00000010 0000000a 00000000\n00000011 00000001 00000000\n";
    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    9000      90    0    7    1     0          0         0     8000      80    0    3    0     0       0          0
";

    #[test]
    fn each_counter_is_read_from_its_table() {
        let drops = drops(SNMP, SNMP6, SOFTNET, DEV);
        assert_eq!(drops.at(DropPoint::ReceiveBuffers), Some(27));
        assert_eq!(drops.at(DropPoint::Broken), Some(6));
        assert_eq!(drops.at(DropPoint::Backlog), Some(11));
        assert_eq!(drops.at(DropPoint::InterfaceIn), Some(7));
        assert_eq!(drops.at(DropPoint::InterfaceOut), Some(3));
        assert_eq!(drops.at(DropPoint::Socket), None);
    }

    #[test]
    fn missing_counters_are_unknown() {
        assert_eq!(drops("", "", "", ""), DropCounts::default());
        assert_eq!(drops("Udp: InErrors\n", "x", "zz\n", "a\nb"), DropCounts::default());
    }

    #[test]
    fn this_system_has_the_tables() {
        let drops = host_drops();
        for place in
            [DropPoint::ReceiveBuffers, DropPoint::Broken, DropPoint::InterfaceIn, DropPoint::InterfaceOut]
        {
            assert!(drops.at(place).is_some(), "{place:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[A-Z:0-9 \\n\\PC]{0,200}") {
            let _ = drops(&table, &table, &table, &table);
        }
    }
}
