//! Announces to the hosts on the link of a leg at which hardware address the addresses of the leg are.
//!
//! Hosts keep the hardware addresses that they have resolved. If an interface is made again with the same addresses and
//! another hardware address, as for a container that is started again, they send to the former one until it expires.
//! Linux announces nothing by default (`arp_notify` and `ndisc_notify` are 0).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_packet::{InternetChecksum, MacAddress, ether_type};

/// How often each address is announced: `ANNOUNCE_NUM` of RFC 5227 section 1.1, and fewer than
/// `MAX_NEIGHBOR_ADVERTISEMENT` of RFC 4861 section 10.
const TIMES: u8 = 2;
/// The time between two announcements: `ANNOUNCE_INTERVAL` of RFC 5227 section 1.1, and more than `RETRANS_TIMER` of RFC 4861
/// section 10.
const INTERVAL: Duration = Duration::from_secs(2);

/// Decides when which address of an interface is announced.
#[derive(Debug, Default)]
pub(crate) struct NeighborNotices {
    mac: Option<MacAddress>,
    addresses: BTreeMap<IpAddr, Repeats>,
    due: Vec<NeighborNotice>,
}

/// What remains to be sent about an address.
#[derive(Clone, Copy, Debug)]
struct Repeats {
    left: u8,
    next: ClockTime,
}

/// An address, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeighborNotice {
    pub(crate) mac: MacAddress,
    pub(crate) address: IpAddr,
}

impl NeighborNotices {
    /// Takes the addresses of the interface that can be used, and its hardware address. Those that are new, and all of them
    /// with a new hardware address, are announced at once.
    pub(crate) fn handle_interface(
        &mut self,
        now: ClockTime,
        mac: Option<MacAddress>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) {
        let mut known = std::mem::take(&mut self.addresses);
        if self.mac != mac {
            known.clear();
        }
        self.mac = mac;
        let first = Repeats { left: TIMES, next: now };
        let remains = |address| (address, known.get(&address).copied().unwrap_or(first));
        self.addresses = addresses.into_iter().filter(|_| mac.is_some()).map(remains).collect();
    }

    /// Prepares what is due.
    pub(crate) fn handle_timeout(&mut self, now: ClockTime) {
        let Some(mac) = self.mac else { return };
        for (address, repeats) in &mut self.addresses {
            if repeats.left == 0 || repeats.next > now {
                continue;
            }
            *repeats = Repeats { left: repeats.left - 1, next: now + INTERVAL };
            self.due.push(NeighborNotice { mac, address: *address });
        }
    }

    /// Returns when to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<ClockTime> {
        self.addresses.values().filter(|repeats| repeats.left > 0).map(|repeats| repeats.next).min()
    }

    /// Returns what must be sent now.
    pub(crate) fn poll_transmit(&mut self) -> Option<NeighborNotice> {
        self.due.pop()
    }
}

impl NeighborNotice {
    /// Returns its Ethernet frame. `is_router` states whether the machine forwards IPv6 on the interface: hosts remove a router
    /// that says no from their default routers (RFC 4861 section 7.2.5).
    pub(crate) fn frame(&self, is_router: bool) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => arp_announcement(self.mac, address),
            IpAddr::V6(address) => neighbor_advertisement(self.mac, address, is_router),
        }
    }
}

/// Returns an ARP announcement (RFC 5227 section 2.3): a request of an address for itself.
fn arp_announcement(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    /// Ethernet, IPv4, the lengths of their addresses, request (RFC 826).
    const HEADER: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let arp: [&[u8]; 5] = [&HEADER, &mac.0, &address.octets(), &[0; 6], &address.octets()];
    ethernet(MacAddress::BROADCAST, mac, ether_type::ARP, &arp.concat())
}

/// Returns an unsolicited neighbor advertisement (RFC 4861 sections 4.4 and 7.2.6).
fn neighbor_advertisement(mac: MacAddress, address: Ipv6Addr, is_router: bool) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
    const ICMPV6: u8 = 58;
    const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    const ROUTER: u8 = 0x80;
    const OVERRIDE: u8 = 0x20;
    /// The target link-layer address, in units of eight bytes.
    const OPTION: [u8; 2] = [2, 1];
    let flags = if is_router { ROUTER | OVERRIDE } else { OVERRIDE };
    let head = [NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let parts: [&[u8]; 4] = [&head, &address.octets(), &OPTION, &mac.0];
    let mut message = parts.concat();
    let length = message.len() as u32;
    let sum = InternetChecksum::pseudo_header(address.into(), ALL_NODES.into(), ICMPV6, length);
    let checksum = sum.unwrap_or_default().bytes(&message).finish();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    // Version 6, the length, ICMPv6, and the hop limit that proves that no router has forwarded it.
    let header = [0x60, 0, 0, 0, 0, length as u8, ICMPV6, 255];
    let parts: [&[u8]; 4] = [&header, &address.octets(), &ALL_NODES.octets(), &message];
    ethernet(ALL_NODES_MAC, mac, ether_type::IPV6, &parts.concat())
}

fn ethernet(destination: MacAddress, source: MacAddress, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &ether_type.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use mcast_packet::{Checksums, LinkType, Network, Packet, Transport};

    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
    const OTHER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 10]);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// What is sent at this time.
    fn sent(notices: &mut NeighborNotices, now: ClockTime) -> Vec<NeighborNotice> {
        notices.handle_timeout(now);
        std::iter::from_fn(|| notices.poll_transmit()).collect()
    }

    /// Lets time pass until nothing more is due; returns when what was sent.
    fn sent_until_the_end(notices: &mut NeighborNotices) -> Vec<(ClockTime, NeighborNotice)> {
        let mut all = Vec::new();
        while let Some(now) = notices.poll_timeout() {
            all.extend(sent(notices, now).into_iter().map(|notice| (now, notice)));
        }
        all
    }

    #[test]
    fn an_address_is_announced_at_once_and_again_after_two_seconds() {
        let (start, mut notices) = (ClockTime::START + Duration::from_secs(7), NeighborNotices::default());
        let own = address("10.0.1.9");
        notices.handle_interface(start, Some(MAC), [own]);
        let notice = NeighborNotice { mac: MAC, address: own };
        let expected = [(start, notice), (start + Duration::from_secs(2), notice)];
        assert_eq!(sent_until_the_end(&mut notices), expected);
    }

    #[test]
    fn an_address_that_is_added_is_announced_alone() {
        let (start, mut notices) = (ClockTime::START, NeighborNotices::default());
        let (own, added) = (address("10.0.1.9"), address("fd00:1::9"));
        notices.handle_interface(start, Some(MAC), [own]);
        sent_until_the_end(&mut notices);
        let later = start + Duration::from_secs(60);
        notices.handle_interface(later, Some(MAC), [own, added]);
        assert_eq!(sent(&mut notices, later), [NeighborNotice { mac: MAC, address: added }]);
    }

    #[test]
    fn all_addresses_are_announced_with_another_hardware_address() {
        let (start, mut notices) = (ClockTime::START, NeighborNotices::default());
        let own = [address("10.0.1.9"), address("fd00:1::9")];
        notices.handle_interface(start, Some(MAC), own);
        assert_eq!(sent(&mut notices, start).len(), 2);
        let soon = start + Duration::from_secs(1);
        notices.handle_interface(soon, Some(OTHER_MAC), own);
        let all = sent_until_the_end(&mut notices);
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all.iter().all(|(_, notice)| notice.mac == OTHER_MAC), "{all:?}");
    }

    #[test]
    fn an_address_that_is_removed_or_has_no_hardware_address_is_not_announced() {
        let (start, mut notices) = (ClockTime::START, NeighborNotices::default());
        let own = address("10.0.1.9");
        notices.handle_interface(start, None, [own]);
        assert_eq!(notices.poll_timeout(), None);
        notices.handle_interface(start, Some(MAC), [own]);
        assert_eq!(sent(&mut notices, start).len(), 1);
        notices.handle_interface(start, Some(MAC), []);
        assert_eq!((sent_until_the_end(&mut notices), notices.poll_timeout()), (Vec::new(), None));
    }

    #[test]
    fn an_announcement_of_ipv4_is_a_request_for_the_own_address() {
        let own = Ipv4Addr::new(10, 0, 1, 9);
        let frame = NeighborNotice { mac: MAC, address: own.into() }.frame(true);
        let packet = Packet::decode(&frame, LinkType::Ethernet, Checksums::Computed);
        assert!(packet.is_broadcast());
        let Some(Network::Arp(arp)) = packet.network else { panic!("{packet:?}") };
        assert_eq!((arp.operation, arp.sender, arp.sender_mac, arp.target), (1, own, MAC, own));
    }

    #[test]
    fn an_announcement_of_ipv6_overrides_and_says_whether_it_is_of_a_router() {
        let own: Ipv6Addr = "fd00:1::9".parse().unwrap();
        for (is_router, flags) in [(false, 0x20), (true, 0xa0)] {
            let frame = NeighborNotice { mac: MAC, address: own.into() }.frame(is_router);
            let packet = Packet::decode(&frame, LinkType::Ethernet, Checksums::Computed);
            assert_eq!(packet.hardware_addresses(), Some((MacAddress([0x33, 0x33, 0, 0, 0, 1]), MAC)));
            let ip = packet.ip_layer().unwrap();
            assert_eq!((ip.source, ip.destination), (own.into(), address("ff02::1")));
            assert_eq!((ip.hop_limit, ip.truncated), (255, false));
            let Some(Transport::Other(message)) = packet.transport else { panic!("{packet:?}") };
            assert_eq!((message[0], message[4]), (136, flags));
            assert_eq!(message[8..24], own.octets());
            assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 9]);
            let sum = InternetChecksum::pseudo_header(ip.source, ip.destination, 58, 32).unwrap();
            assert_eq!(sum.bytes(message).finish(), 0);
        }
    }
}
