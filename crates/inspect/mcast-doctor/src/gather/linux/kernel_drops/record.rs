//! The entries of the map: one for each kind of drop, with the number of packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast::InterfaceIndex;
use mcast_packet::MacAddress;

use crate::kernel_drops::KernelDrop;

/// The offsets in a key. Multi-byte numbers of the kernel are in its byte order, those of packets as on the wire.
pub(super) const LOCATION: i16 = 0;
pub(super) const REASON: i16 = 8;
pub(super) const INTERFACE: i16 = 12;
pub(super) const ARRIVED_ON: i16 = 16;
/// 4 or 6, in a byte.
pub(super) const VERSION: i16 = 20;
/// The IP protocol, in a byte.
pub(super) const PROTOCOL: i16 = 21;
pub(super) const SOURCE: i16 = 24;
pub(super) const DESTINATION: i16 = 40;
/// The source port, then the destination port.
pub(super) const PORTS: i16 = 56;
pub(super) const MAC: i16 = 60;
pub(super) const KEY_BYTES: usize = 72;
pub(super) const VALUE_BYTES: usize = 8;

/// The key that counts the packets for which there was no room.
pub(super) const UNCOUNTED: [u8; KEY_BYTES] = [0; KEY_BYTES];

/// Names of reasons with which nothing is lost: the packet was used up, the reader of a capture was too slow, or a socket
/// was closed with unread datagrams.
const HARMLESS: [&str; 5] =
    ["SKB_NOT_DROPPED_YET", "SKB_CONSUMED", "PACKET_SOCK_ERROR", "QUEUE_PURGE", "SOCKET_CLOSE"];

/// Returns the drop that a key describes and the address of the instruction that dropped; `None` if nothing was lost or
/// the key is damaged.
pub(super) fn parse(key: &[u8], packets: u64, reasons: &BTreeMap<u32, String>) -> Option<(KernelDrop, u64)> {
    let number = u32_at(key, REASON)?;
    let reason = reasons.get(&number).cloned().unwrap_or_else(|| format!("reason {number:#x}"));
    if HARMLESS.contains(&reason.as_str()) {
        return None;
    }
    let interface = |offset| Some(InterfaceIndex::new(u32_at(key, offset)?));
    // In a damaged header, the ports may be anywhere.
    let is_damaged = reason == "IP_INHDR" && bytes_at::<1>(key, VERSION) == Some(&[4]);
    let port = |offset| bytes_at(key, offset).map_or(0, |port| u16::from_be_bytes(*port));
    let [source_port, destination_port] = [PORTS, PORTS + 2].map(|at| if is_damaged { 0 } else { port(at) });
    let mac: [u8; 6] = *bytes_at(key, MAC)?;
    let drop = KernelDrop {
        reason,
        function: None,
        interface: interface(INTERFACE)?,
        arrived_on: interface(ARRIVED_ON)?,
        source: SocketAddr::new(address_at(key, SOURCE)?, source_port),
        destination: SocketAddr::new(address_at(key, DESTINATION)?, destination_port),
        protocol: bytes_at::<1>(key, PROTOCOL)?[0],
        mac: (mac != [0; 6]).then_some(MacAddress(mac)),
        packets,
    };
    Some((drop, u64::from_ne_bytes(*bytes_at(key, LOCATION)?)))
}

/// Returns the number of packets that a value counts.
pub(super) fn count(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |count| u64::from_ne_bytes(*count))
}

fn address_at(key: &[u8], offset: i16) -> Option<IpAddr> {
    match bytes_at::<1>(key, VERSION)?[0] {
        4 => Some(IpAddr::V4(Ipv4Addr::from(*bytes_at::<4>(key, offset)?))),
        6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes_at::<16>(key, offset)?))),
        _ => None,
    }
}

fn u32_at(key: &[u8], offset: i16) -> Option<u32> {
    bytes_at(key, offset).map(|bytes| u32::from_ne_bytes(*bytes))
}

fn bytes_at<const LENGTH: usize>(key: &[u8], offset: i16) -> Option<&[u8; LENGTH]> {
    key.get(usize::try_from(offset).ok()?..)?.first_chunk()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel_drops::DropDirection;

    fn reasons() -> BTreeMap<u32, String> {
        [(1, "SKB_CONSUMED"), (12, "NETFILTER_DROP")].map(|(number, name)| (number, name.to_owned())).into()
    }

    /// Returns the key of a datagram from 10.9.0.1:6000 to 239.1.2.3:5000, dropped by a firewall on interface 2.
    fn key() -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let mut put = |offset: i16, bytes: &[u8]| {
            let start = usize::try_from(offset).unwrap();
            key[start..start + bytes.len()].copy_from_slice(bytes);
        };
        put(LOCATION, &77_u64.to_ne_bytes());
        put(REASON, &12_u32.to_ne_bytes());
        put(INTERFACE, &2_u32.to_ne_bytes());
        put(ARRIVED_ON, &2_u32.to_ne_bytes());
        put(VERSION, &[4, 17]);
        put(SOURCE, &[10, 9, 0, 1]);
        put(DESTINATION, &[239, 1, 2, 3]);
        put(PORTS, &[0x17, 0x70, 0x13, 0x88]);
        put(MAC, &[1, 0, 0x5e, 1, 2, 3]);
        key
    }

    #[test]
    fn key_has_the_reason_the_addresses_and_the_interface() {
        let (drop, location) = parse(&key(), 9, &reasons()).unwrap();
        assert_eq!((drop.reason.as_str(), drop.packets, location), ("NETFILTER_DROP", 9, 77));
        assert_eq!(drop.source, "10.9.0.1:6000".parse().unwrap());
        assert_eq!(drop.destination, "239.1.2.3:5000".parse().unwrap());
        assert_eq!((drop.arrived_on, drop.direction()), (InterfaceIndex::new(2), DropDirection::Incoming));
        assert_eq!((drop.protocol, drop.mac.unwrap().to_string().as_str()), (17, "01:00:5e:01:02:03"));
    }

    #[test]
    fn packet_that_was_not_lost_is_no_drop() {
        let mut consumed = key();
        consumed[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        assert_eq!(parse(&consumed, 9, &reasons()), None);
        assert_eq!(parse(&UNCOUNTED, 9, &reasons()), None);
    }

    #[test]
    fn unknown_reason_is_reported_by_its_number() {
        let (drop, _) = parse(&key(), 9, &BTreeMap::new()).unwrap();
        assert_eq!(drop.reason, "reason 0xc");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(key in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = parse(&key, count(&key), &reasons());
        }
    }
}
