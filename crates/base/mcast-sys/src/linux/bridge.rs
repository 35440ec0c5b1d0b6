//! Bridges and queue disciplines, listed over rtnetlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_group::InterfaceIndex;

use super::netlink::{
    Netlink, NetlinkProtocol, NetlinkReply, attribute, attributes, push_attribute, text, u32_at,
};
use crate::{Bridge, BridgeQuerier};

/// The sizes of `struct ifinfomsg` and `struct tcmsg`.
const LINK_HEADER: usize = 16;
const TRAFFIC_HEADER: usize = 20;

/// Attributes of links (`linux/if_link.h`).
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// `RTEXT_FILTER_SKIP_STATS`.
const SKIP_STATISTICS: u32 = 1 << 3;

/// Attributes of bridges.
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_MCAST_QUERIER: u16 = 25;
const IFLA_BR_MCAST_MEMBERSHIP_INTVL: u16 = 31;
const IFLA_BR_MCAST_QUERY_INTVL: u16 = 33;
const IFLA_BR_MCAST_IGMP_VERSION: u16 = 43;
const IFLA_BR_MCAST_MLD_VERSION: u16 = 44;
const IFLA_BR_MCAST_QUERIER_STATE: u16 = 47;

/// The attributes of a querier's state (`linux/if_bridge.h`), for IPv4 and for IPv6.
const QUERIER_V4: QuerierAttributes = QuerierAttributes { address: 1, port: 2, timer: 3 };
const QUERIER_V6: QuerierAttributes = QuerierAttributes { address: 5, port: 6, timer: 7 };

/// Queue disciplines (`linux/rtnetlink.h`).
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const TCA_KIND: u16 = 1;
const TC_H_ROOT: u32 = u32::MAX;

struct QuerierAttributes {
    address: u16,
    port: u16,
    timer: u16,
}

/// Returns all bridges of the calling thread's network namespace.
pub fn list() -> io::Result<Vec<Bridge>> {
    let mut request = vec![0; LINK_HEADER];
    push_attribute(&mut request, IFLA_EXT_MASK, &SKIP_STATISTICS.to_ne_bytes());
    let links = Netlink::open(NetlinkProtocol::Route)?.dump(libc::RTM_GETLINK, &request)?;
    Ok(links.iter().filter_map(bridge).collect())
}

fn bridge(answer: &NetlinkReply) -> Option<Bridge> {
    let header = answer.payload.get(..LINK_HEADER).filter(|_| answer.kind == libc::RTM_NEWLINK)?;
    let index = InterfaceIndex::new(u32_at(header, 4)?)?;
    let own = answer.payload.get(LINK_HEADER..)?;
    let info = attribute(own, IFLA_LINKINFO)?;
    if text(attribute(info, IFLA_INFO_KIND)?) != "bridge" {
        return None;
    }
    let mut bridge = Bridge {
        index,
        name: attribute(own, IFLA_IFNAME).map(text).unwrap_or_default(),
        snooping: false,
        querier: false,
        igmp_version: None,
        mld_version: None,
        query_interval: None,
        membership_interval: None,
        queriers: Vec::new(),
    };
    for (kind, value) in attributes(attribute(info, IFLA_INFO_DATA).unwrap_or_default()) {
        match kind {
            IFLA_BR_MCAST_SNOOPING => bridge.snooping = value.first() == Some(&1),
            IFLA_BR_MCAST_QUERIER => bridge.querier = value.first() == Some(&1),
            IFLA_BR_MCAST_IGMP_VERSION => bridge.igmp_version = value.first().copied(),
            IFLA_BR_MCAST_MLD_VERSION => bridge.mld_version = value.first().copied(),
            IFLA_BR_MCAST_QUERY_INTVL => bridge.query_interval = ticks(value),
            IFLA_BR_MCAST_MEMBERSHIP_INTVL => bridge.membership_interval = ticks(value),
            IFLA_BR_MCAST_QUERIER_STATE => bridge.queriers = queriers(value),
            _ => {}
        }
    }
    Some(bridge)
}

fn queriers(state: &[u8]) -> Vec<BridgeQuerier> {
    let v4 = |bytes: &[u8]| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)));
    let v6 = |bytes: &[u8]| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)));
    let both = [querier(state, &QUERIER_V4, v4), querier(state, &QUERIER_V6, v6)];
    both.into_iter().flatten().collect()
}

fn querier(
    state: &[u8],
    attributes: &QuerierAttributes,
    address: impl Fn(&[u8]) -> Option<IpAddr>,
) -> Option<BridgeQuerier> {
    let port = attribute(state, attributes.port).and_then(|port| InterfaceIndex::new(u32_at(port, 0)?));
    Some(BridgeQuerier {
        address: address(attribute(state, attributes.address)?)?,
        port,
        expires: attribute(state, attributes.timer).and_then(ticks),
    })
}

/// Converts a time of a bridge, which the kernel reports in hundredths of a second.
fn ticks(value: &[u8]) -> Option<Duration> {
    let ticks = u64::from_ne_bytes(*value.first_chunk()?);
    Some(Duration::from_millis(ticks.saturating_mul(10)))
}

/// Returns the queue disciplines of an interface that have no children.
pub fn queue_disciplines(interface: InterfaceIndex) -> io::Result<Vec<String>> {
    let mut request = vec![0; TRAFFIC_HEADER];
    request[4..8].copy_from_slice(&interface.number().to_ne_bytes());
    let answers = Netlink::open(NetlinkProtocol::Route)?.dump(RTM_GETQDISC, &request)?;
    let found: Vec<_> = answers.iter().filter_map(|answer| discipline(answer, interface)).collect();
    let leaves: Vec<_> = found.iter().filter(|(_, is_root)| !is_root).map(|(kind, _)| kind.clone()).collect();
    Ok(if leaves.is_empty() { found.into_iter().map(|(kind, _)| kind).collect() } else { leaves })
}

/// Returns the name of the discipline, and whether it is the root.
fn discipline(answer: &NetlinkReply, interface: InterfaceIndex) -> Option<(String, bool)> {
    /// Disciplines for incoming packets.
    const INCOMING: [&str; 2] = ["ingress", "clsact"];
    let header = answer.payload.get(..TRAFFIC_HEADER).filter(|_| answer.kind == RTM_NEWQDISC)?;
    let kind = text(attribute(answer.payload.get(TRAFFIC_HEADER..)?, TCA_KIND)?);
    let is_egress = u32_at(header, 4)? == interface.number() && !INCOMING.contains(&kind.as_str());
    is_egress.then_some((kind, u32_at(header, 12)? == TC_H_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_querier_behind_a_port_is_reported_with_its_remaining_time() {
        let mut state = Vec::new();
        push_attribute(&mut state, 1, &[10, 9, 0, 254]);
        push_attribute(&mut state, 2, &7_u32.to_ne_bytes());
        push_attribute(&mut state, 3, &25_490_u64.to_ne_bytes());
        let found = queriers(&state);
        let expected = BridgeQuerier {
            address: IpAddr::from([10, 9, 0, 254]),
            port: InterfaceIndex::new(7),
            expires: Some(Duration::from_millis(254_900)),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn interfaces_other_than_bridges_are_skipped() {
        assert_eq!(bridge(&NetlinkReply { kind: libc::RTM_NEWLINK, payload: vec![1; 40] }), None);
        assert_eq!(bridge(&NetlinkReply { kind: libc::RTM_NEWLINK, payload: Vec::new() }), None);
        assert_eq!(queriers(&[1, 2, 3]), []);
    }
}
