//! The groups of announcements, on which publishers announce streams, and histories their address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast::{ErrorKind, Family, Group, GroupAddr, HostAddr, InterfaceSelector, Membership};

use super::transmit::Endpoint;
use super::unicast::any_address;

/// The IPv4 group and port of announcements. It is administratively scoped, so that it stays in the site, and above the
/// part of that scope that other protocols use by convention (Streaming ACN up to 239.255.249.255).
pub const DISCOVERY_V4: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(239, 255, 251, 67)), PORT);
/// The IPv6 group and port of announcements, in the site scope.
pub const DISCOVERY_V6: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0x8000, 0x4d43)), PORT);
const PORT: u16 = 7767;

/// Joins the groups of announcements, and receives those that are sent to this host. With both families, one of them
/// suffices: the machine may not have IPv6.
pub(super) fn join(
    family: Option<Family>,
    interface: Option<&InterfaceSelector>,
) -> mcast::Result<mcast::Receiver> {
    let families: Vec<Family> =
        [Family::V4, Family::V6].into_iter().filter(|each| family.is_none_or(|only| only == *each)).collect();
    let membership = |family: &Family| {
        group(*family).map(|group| Membership { interface: interface.cloned(), ..Membership::new(group) })
    };
    let listener = |families: &[Family]| {
        let hosts = families.iter().filter_map(|family| HostAddr::new(any_address(*family).ip(), PORT).ok());
        hosts.fold(mcast::Receiver::builder().share_ports(true), mcast::ReceiverBuilder::listen)
    };
    let join =
        |families: &[Family]| listener(families).join_all(families.iter().filter_map(membership)).build();
    join(&families)
        .or_else(|error| families.iter().find_map(|each| join(&[*each]).ok()).ok_or(error))
        .or_else(|error| match error.kind() {
            // Without any interface that can multicast, they are only sent to this host.
            ErrorKind::NoUsableInterface => listener(&families).build(),
            _ => Err(error),
        })
}

/// Returns the group of announcements of this family.
pub(super) fn group(family: Family) -> Option<GroupAddr> {
    let address = if family == Family::V4 { DISCOVERY_V4 } else { DISCOVERY_V6 };
    Some(GroupAddr::new(Group::new(address.ip()).ok()?, PORT))
}

/// Returns where a stream is announced that is sent to these: to the group of announcements, on the interface of the
/// first group, and to every host, on the same port.
pub(super) fn endpoints(stream: &[Endpoint]) -> Vec<Endpoint> {
    let discovery = |each: &Endpoint| {
        let group = group(each.family()).filter(|_| each.is_group()).map(|group| group.group.addr());
        let address = SocketAddr::new(group.unwrap_or_else(|| each.address.ip()), PORT);
        Endpoint { address, ..each.clone() }
    };
    stream.iter().filter(|each| each.path == 0 || !each.is_group()).map(discovery).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_announcements_are_not_assigned_to_others() {
        for address in [DISCOVERY_V4, DISCOVERY_V6] {
            let found: Vec<_> = Group::new(address.ip()).unwrap().assignments().collect();
            let names: Vec<_> = found.iter().map(|each| each.name).collect();
            assert_eq!(names, ["mcast stream announcements"], "{address}");
            assert!(found[0].ports.contains(&address.port()));
        }
    }
}
