//! Selects the frames of the joined groups, on the interfaces where they were joined.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use mcast::{Arrival, Group, GroupAddr, InterfaceIndex, MembershipStatus, SourceFilter};
use mcast_packet::Packet;

use super::GroupFrameKind;

/// The memberships by group and interface.
#[derive(Debug, Default)]
pub(super) struct MembershipIndex {
    filters: HashMap<(Group, InterfaceIndex), Vec<(u16, SourceFilter)>>,
}

impl MembershipIndex {
    /// Creates an index of the joined memberships.
    pub(super) fn of(statuses: &[MembershipStatus]) -> Self {
        let mut index = Self::default();
        for status in statuses {
            let GroupAddr { group, port } = status.membership.address;
            let joined = status.interfaces.iter().filter(|interface| interface.failure.is_none());
            for interface in joined {
                let filters = index.filters.entry((group, interface.index)).or_default();
                filters.push((port, status.membership.sources.clone()));
            }
        }
        index
    }

    /// Returns the kind of a packet, if it is selected.
    pub(super) fn admit(&self, packet: &Packet<'_>, interface: InterfaceIndex) -> Option<GroupFrameKind> {
        let ip = packet.ip_layer()?;
        let group = Group::new(ip.destination).ok()?;
        let filters = self.filters.get(&(group, interface))?;
        let admits = |wanted: Option<u16>, source: IpAddr| {
            let of_port = filters.iter().filter(|(port, _)| wanted.is_none_or(|wanted| wanted == *port));
            of_port.into_iter().any(|(_, filter)| filter.admits(source))
        };
        let is_later = ip.fragment.is_some_and(|fragment| fragment.offset > 0);
        if is_later {
            return admits(None, ip.source).then_some(GroupFrameKind::Fragment);
        }
        let udp = packet.udp()?;
        if !admits(Some(udp.destination_port), ip.source) {
            return None;
        }
        let source = SocketAddr::new(ip.source, udp.source_port);
        let mut arrival = Arrival::new(GroupAddr::new(group, udp.destination_port), interface, source);
        arrival.length = udp.payload.len();
        arrival.hop_limit = Some(ip.hop_limit);
        Some(GroupFrameKind::Datagram(arrival))
    }
}
