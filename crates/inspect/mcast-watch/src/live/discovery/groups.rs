//! The groups on which things announce themselves by UDP.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use mcast::{Group, GroupAddr};
use mcast_packet::payload::Rtps;

use crate::discovery::DiscoveryProtocol;

/// The protocols that sockets receive, with the groups of each. RTPS and sACN have more (RFC and registry of IANA).
const GROUPS: [(DiscoveryProtocol, &[&str], &[u16]); 16] = [
    (DiscoveryProtocol::Mdns, &["224.0.0.251", "ff02::fb"], &[5353]),
    (DiscoveryProtocol::Llmnr, &["224.0.0.252", "ff02::1:3"], &[5355]),
    (DiscoveryProtocol::Ssdp, &["239.255.255.250", "ff02::c", "ff05::c", "ff08::c"], &[1900]),
    (DiscoveryProtocol::WsDiscovery, &["239.255.255.250", "ff02::c", "ff05::c"], &[3702]),
    (DiscoveryProtocol::Sap, &["224.2.127.254", "239.255.255.255", "239.195.255.255"], &[9875]),
    (DiscoveryProtocol::Sap, &["ff02::2:7ffe", "ff05::2:7ffe", "ff08::2:7ffe", "ff0e::2:7ffe"], &[9875]),
    (DiscoveryProtocol::Ptp, &["224.0.1.129", "224.0.0.107", "ff02::6b"], &[319, 320]),
    (DiscoveryProtocol::Ptp, &["224.0.1.130", "224.0.1.131", "224.0.1.132"], &[319, 320]),
    (DiscoveryProtocol::Ptp, &["ff02::181", "ff05::181", "ff0e::181"], &[319, 320]),
    (DiscoveryProtocol::Sacn, &["239.255.250.214"], &[5568]),
    (DiscoveryProtocol::Coap, &["224.0.1.187", "ff02::fd", "ff05::fd"], &[5683]),
    (DiscoveryProtocol::Knx, &["224.0.23.12"], &[3671]),
    (DiscoveryProtocol::Hsrp, &["224.0.0.2", "224.0.0.102"], &[1985]),
    (DiscoveryProtocol::Hsrp, &["ff02::66"], &[2029]),
    (DiscoveryProtocol::Mcast, &["239.255.251.67"], &[7767]),
    (DiscoveryProtocol::Mcast, &["ff15::8000:4d43"], &[7767]),
];

/// Returns the groups of all protocols, with these DDS domains and sACN universes.
pub(super) fn groups(domains: &[u8], universes: &[u16]) -> Vec<(DiscoveryProtocol, GroupAddr)> {
    let listed = GROUPS.iter().flat_map(|(protocol, groups, ports)| {
        let addresses = groups.iter().filter_map(|group| group.parse::<IpAddr>().ok());
        addresses.flat_map(move |group| ports.iter().map(move |port| (*protocol, group, *port)))
    });
    // RTPS section 9.6.1.1: port base 7400, domain gain 250. Domains above 232 have no port.
    let of_dds = domains.iter().filter(|domain| **domain <= 232).flat_map(|domain| {
        let port = Rtps::FIRST_PORT + 250 * u16::from(*domain);
        let groups = [IpAddr::V4(Rtps::GROUP), IpAddr::V6(Rtps::GROUP_V6)];
        groups.map(|group| (DiscoveryProtocol::Rtps, group, port))
    });
    // E1.31 section 9.3.1.
    let of_sacn = universes.iter().map(|universe| {
        let [high, low] = universe.to_be_bytes();
        (DiscoveryProtocol::Sacn, Ipv4Addr::new(239, 255, high, low).into(), 5568)
    });
    let all = listed.chain(of_dds).chain(of_sacn);
    let all: BTreeSet<_> = all
        .filter_map(|(protocol, group, port)| Some((protocol, GroupAddr::new(Group::new(group).ok()?, port))))
        .collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_is_listed() {
        let listed: usize = GROUPS.iter().map(|(_, groups, ports)| groups.len() * ports.len()).sum();
        let all = groups(&Vec::from_iter(0..=u8::MAX), &[1, 63_999]);
        assert_eq!(all.len(), listed + 2 * 233 + 2);
        let has = |text: &str| all.iter().any(|(_, at)| at.to_string() == text);
        assert!(has("239.255.0.1:65400") && has("239.255.249.255:5568") && has("[ff02::fb]:5353"));
        assert!(has("[ff02::ffff:efff:1]:65400"));
    }
}
