//! The kernel's table of UDP sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::net_table;
use crate::snapshot::UdpSocket;

/// Returns how many bytes of memory wait in the receive queue of each UDP socket, by the inode of the socket.
pub(crate) fn queues() -> BTreeMap<u64, u64> {
    ["udp", "udp6"].iter().flat_map(|name| parse_queues(&net_table(name))).collect()
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
pub(super) fn parse(table: &str) -> Vec<UdpSocket> {
    table.lines().skip(1).filter_map(parse_line).collect()
}

/// Parses a line `SL LOCAL REMOTE ST QUEUES TIMER RETRANSMITS UID TIMEOUT INODE REF POINTER DROPS`.
fn parse_line(line: &str) -> Option<UdpSocket> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_tables_are_parsed() {
        let v4 = format!("{:08X}:1388", u32::from_ne_bytes([239, 1, 2, 3]));
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
             12: {v4} 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 4711 2 ffff 496\n \
             13: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 ffff 0\n"
        );
        let [first, second] = &parse(&table)[..] else { panic!("{table}") };
        assert_eq!(parse_queues(&table), [(4711, 0x300), (4712, 0)]);
        assert_eq!((first.local, first.inode, first.drops), ("239.1.2.3:5000".parse().unwrap(), 4711, 496));
        assert_eq!((second.local, second.peer), ("[::]:5353".parse().unwrap(), None));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[0-9A-Fa-f:\\s\\PC]{0,200}") {
            parse(&table);
            parse_queues(&table);
        }
    }
}
