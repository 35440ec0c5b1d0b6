//! Linux: the tables in `/proc/thread-self/net`, which belong to the network namespace of the thread. Only the backlog
//! is counted for all namespaces together.

use std::fs;

use mcast_measure::{DropCounts, DropPoint};

pub(super) fn host_drops() -> DropCounts {
    let read = |table: &str| fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
    drops(&read("snmp"), &read("snmp6"), &read("softnet_stat"), &read("dev"))
}

/// Reads the counters in these tables. A missing counter is unknown.
fn drops(snmp: &str, snmp6: &str, softnet: &str, dev: &str) -> DropCounts {
    let full = sum(udp(snmp, "RcvbufErrors"), line(snmp6, "Udp6RcvbufErrors"));
    let errors = sum(udp(snmp, "InErrors"), line(snmp6, "Udp6InErrors"));
    // `InErrors` includes the datagrams dropped for lack of buffer space.
    let broken = errors.map(|errors| errors.saturating_sub(full.unwrap_or(0)));
    DropCounts::default()
        .with(DropPoint::ReceiveBuffers, full)
        .with(DropPoint::Broken, broken)
        .with(DropPoint::Backlog, backlog(softnet))
        .with(DropPoint::InterfaceIn, interfaces(dev, &[2, 3]))
        .with(DropPoint::InterfaceOut, interfaces(dev, &[10, 11]))
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.saturating_add(other.unwrap_or(0)))
}

/// A counter of the lines `Udp: NAME NAME…` and `Udp: NUMBER NUMBER…`.
fn udp(snmp: &str, name: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|other| other == name)?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

/// A counter of a line `NAME NUMBER`.
fn line(table: &str, name: &str) -> Option<u64> {
    let mut lines = table.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

/// Reads a table with one line per processor, in hexadecimal; the second number is the count of drops.
fn backlog(softnet: &str) -> Option<u64> {
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    let counts: Vec<u64> = softnet.lines().filter_map(dropped).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

/// Sums these columns after the name over all interfaces.
fn interfaces(dev: &str, columns: &[usize]) -> Option<u64> {
    let lines: Vec<Vec<u64>> = dev
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(_, numbers)| numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect())
        .collect();
    let of_line = |line: &Vec<u64>| columns.iter().filter_map(|column| line.get(*column)).sum::<u64>();
    (!lines.is_empty()).then(|| lines.iter().map(of_line).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Without the column `fifo`, which drivers include in the errors or the drops.
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
}
