//! The tables that the kernel shows as text: counters, multicast routes and UDP sockets; and what relays have not forwarded.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast::Family;
use mcast_measure::{DropCounts, DropPoint};
use mcast_metrics::{fetch_locally, local_exporters, samples};

use super::net_table;
use crate::snapshot::{Counter, Counters, MulticastRoute, RelayRefusal, UdpSocket};

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
pub fn accepted_packets() -> BTreeMap<Family, u64> {
    let counters: Counters =
        pairs(&net_table("netstat")).into_iter().chain(lines(&net_table("snmp6"))).collect();
    let count = |family| Some((family, counters.value(Counter::InMulticast.name(family))?));
    [Family::V4, Family::V6].into_iter().filter_map(count).collect()
}

/// Returns what this host has dropped so far.
pub fn host_drops() -> DropCounts {
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

/// Parses `/proc/net/ip_mr_cache` with the interface names from `/proc/net/ip_mr_vif`.
pub(super) fn routes_v4(cache: &str, interfaces: &str) -> Vec<MulticastRoute> {
    let names = virtual_interfaces(interfaces);
    let address = |word: &str| {
        let number = u32::from_str_radix(word, 16).ok().filter(|_| word.len() == 8)?;
        // The kernel prints the big-endian address as a native number.
        Some(IpAddr::from(number.to_ne_bytes()))
    };
    cache.lines().skip(1).filter_map(|line| route(line, &names, address)).collect()
}

/// Parses `/proc/net/ip6_mr_cache` with the interface names from `/proc/net/ip6_mr_vif`.
pub(super) fn routes_v6(cache: &str, interfaces: &str) -> Vec<MulticastRoute> {
    let names = virtual_interfaces(interfaces);
    let address = |word: &str| word.parse().ok().filter(IpAddr::is_ipv6);
    cache.lines().skip(1).filter_map(|line| route(line, &names, address)).collect()
}

/// Parses lines `NUMBER NAME …`.
fn virtual_interfaces(table: &str) -> Vec<(usize, String)> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// Parses a line `GROUP ORIGIN IIF PACKETS BYTES WRONG OIF:TTL…`.
fn route(
    line: &str,
    names: &[(usize, String)],
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<MulticastRoute> {
    let name = |number: usize| names.iter().find(|(each, _)| *each == number).map(|(_, name)| name.clone());
    let mut words = line.split_ascii_whitespace();
    let (group, source) = (address(words.next()?)?, address(words.next()?)?);
    let from = words.next()?.parse().ok().and_then(name);
    let packets = words.next()?.parse().ok()?;
    let wrong_interface = words.nth(1)?.parse().ok()?;
    let to = words.filter_map(|word| {
        let (number, threshold) = word.split_once(':')?;
        Some((name(number.parse().ok()?)?, threshold.parse().ok()?))
    });
    Some(MulticastRoute { group, source, from, packets, wrong_interface, to: to.collect() })
}

/// Returns how many bytes of memory wait in the receive queue of each UDP socket, by the inode of the socket.
pub fn queues() -> BTreeMap<u64, u64> {
    ["udp", "udp6"].iter().flat_map(|name| parse_queues(&net_table(name))).collect()
}

/// Returns how many datagrams each UDP socket has dropped, by its inode.
pub fn socket_drops() -> BTreeMap<u64, u64> {
    let sockets = ["udp", "udp6"].iter().flat_map(|name| udp_sockets(&net_table(name)));
    sockets.map(|socket| (socket.inode, socket.drops)).collect()
}

/// Parses the column `TRANSMIT:RECEIVE` of the queues.
fn parse_queues(table: &str) -> Vec<(u64, u64)> {
    let queue = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let (_, receive) = words.get(4)?.split_once(':')?;
        Some((words.get(9)?.parse().ok()?, u64::from_str_radix(receive, 16).ok()?))
    };
    table.lines().skip(1).filter_map(queue).collect()
}

/// Parses `/proc/net/udp` or `/proc/net/udp6`.
pub(super) fn udp_sockets(table: &str) -> Vec<UdpSocket> {
    table.lines().skip(1).filter_map(socket).collect()
}

/// Parses a line `SL LOCAL REMOTE ST QUEUES TIMER RETRANSMITS UID TIMEOUT INODE REF POINTER DROPS`.
fn socket(line: &str) -> Option<UdpSocket> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let peer = parse_address(words.get(2)?)?;
    Some(UdpSocket {
        local: parse_address(words.get(1)?)?,
        peer: (peer.port() != 0).then_some(peer),
        inode: words.get(9)?.parse().ok()?,
        drops: words.last()?.parse().ok()?,
        programs: Vec::new(),
    })
}

/// Parses an address and port. The kernel prints each big-endian 32-bit word as a native number.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets = words.concat();
            Ipv6Addr::from(*octets.first_chunk::<16>()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `mcast relay` serves its metrics under this name, with its process id.
const PREFIX: &str = "mcast-relay.";
const METRIC: &str = "mcast_relay_refused_datagrams_total";
/// The number of relays that are asked, and of refusals that are read. Every program may use the name.
const MAX_RELAYS: usize = 8;
const MAX_REFUSALS: usize = 1_000;

pub(super) fn refusals() -> io::Result<BTreeMap<RelayRefusal, u64>> {
    let mut refusals = BTreeMap::new();
    for name in local_exporters(PREFIX)?.into_iter().take(MAX_RELAYS) {
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok()) else { continue };
        // A relay may end meanwhile.
        let text = match fetch_locally(&name) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            text => text?,
        };
        for (labels, count) in samples(&text, METRIC) {
            let label = |name| {
                let found = labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.clone());
                found.filter(|value| value.len() < 1_000 && !value.contains(char::is_control))
            };
            let (Some(rule), Some(reason)) = (label("rule"), label("reason")) else { continue };
            if refusals.len() < MAX_REFUSALS {
                refusals.insert(RelayRefusal { pid, rule, reason }, count);
            }
        }
    }
    Ok(refusals)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    const INTERFACES: &str = "Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote\n \
        0 va             1     1         1       1 00008 00000002 00000000\n \
        1 vb             1     1         1       1 00008 00000003 00000000\n";

    #[test]
    fn routes_are_parsed_with_names_and_thresholds() {
        let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let cache = format!(
            "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs\n{} {} 0         12      512       10  1:3  \n",
            word([239, 1, 2, 3]),
            word([10, 0, 0, 1])
        );
        let [route] = &routes_v4(&cache, INTERFACES)[..] else { panic!("{cache}") };
        assert_eq!((route.group, route.source), ("239.1.2.3".parse().unwrap(), "10.0.0.1".parse().unwrap()));
        assert_eq!((route.from.as_deref(), route.packets, route.wrong_interface), (Some("va"), 12, 10));
        assert_eq!(route.to, [("vb".to_owned(), 3)]);
    }

    #[test]
    fn ipv6_routes_are_parsed() {
        let cache = "Group                            Origin                           Iif      Pkts  Bytes     Wrong  Oifs\n\
            ff15:0000:0000:0000:0000:0000:0000:0001 fd00:0000:0000:0000:0000:0000:0000:0001 0  5  7 0  1:1\n";
        let [route] = &routes_v6(cache, INTERFACES)[..] else { panic!("{cache}") };
        assert_eq!((route.group, route.packets), ("ff15::1".parse().unwrap(), 5));
    }

    proptest! {
        #[test]
        fn any_routes_are_parsed_without_panic(table in "[0-9A-Fa-f:\\s\\PC]{0,200}") {
            let _ = (routes_v4(&table, &table), routes_v6(&table, &table));
        }
    }

    #[test]
    fn both_tables_are_parsed() {
        let v4 = format!("{:08X}:1388", u32::from_ne_bytes([239, 1, 2, 3]));
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
             12: {v4} 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 4711 2 ffff 496\n \
             13: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 ffff 0\n"
        );
        let [first, second] = &udp_sockets(&table)[..] else { panic!("{table}") };
        assert_eq!(parse_queues(&table), [(4711, 0x300), (4712, 0)]);
        assert_eq!((first.local, first.inode, first.drops), ("239.1.2.3:5000".parse().unwrap(), 4711, 496));
        assert_eq!((second.local, second.peer), ("[::]:5353".parse().unwrap(), None));
    }

    proptest! {
        #[test]
        fn any_sockets_are_parsed_without_panic(table in "[0-9A-Fa-f:\\s\\PC]{0,200}") {
            udp_sockets(&table);
            parse_queues(&table);
        }
    }
}
