//! Selects decoded packets by group, membership, source, port and protocol.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use mcast_group::{Family, Group, GroupRange, InterfaceIndex, InterfaceSelector, Membership, SourceFilter};
use mcast_packet::{Packet, Transport};

use crate::Frame;

/// Selects packets to groups. A new filter selects all of them; each call restricts it.
///
/// Unlike [`Filter`](crate::Filter), which the kernel applies before a packet costs anything, it selects by
/// everything that a packet and its [`PacketContext`] contain.
///
/// ```
/// use mcast_capture::PacketFilter;
/// use mcast_packet::protocol;
///
/// let membership = "10.0.0.7@232.1.2.3:5000".parse()?;
/// let filter = PacketFilter::default()
///     .membership(&membership, &[])
///     .protocols([protocol::UDP.into()]);
/// assert!(!filter.is_unrestricted());
/// # Ok::<(), mcast_group::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PacketFilter {
    /// By group; several if ports, sources or interfaces differ.
    exact: HashMap<Group, Vec<MembershipFilter>>,
    ranges: Vec<GroupRange>,
    sources: SourceFilter,
    ports: Vec<RangeInclusive<u16>>,
    protocols: Vec<PacketProtocol>,
    family: Option<Family>,
    interfaces: Vec<InterfaceSelector>,
}

/// A protocol that IP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketProtocol {
    /// The protocol with this number.
    Number(u8),
    /// Multicast Listener Discovery, a part of ICMPv6.
    Mld,
}

/// Properties of a packet that its bytes do not contain.
#[derive(Clone, Copy, Debug)]
pub struct PacketContext<'a> {
    /// The index of its interface, or its number in a file.
    pub interface: InterfaceIndex,
    /// The name of its interface.
    pub interface_name: &'a str,
    /// Its destination UDP port, also of a fragment that does not contain it.
    pub port: Option<u16>,
}

/// Selects packets of a membership.
#[derive(Clone, Debug)]
struct MembershipFilter {
    port: u16,
    sources: SourceFilter,
    /// Names or indexes; empty means every interface.
    interfaces: Vec<InterfaceSelector>,
}

impl Default for PacketFilter {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            ranges: Vec::new(),
            sources: SourceFilter::ANY,
            ports: Vec::new(),
            protocols: Vec::new(),
            family: None,
            interfaces: Vec::new(),
        }
    }
}

impl PacketFilter {
    /// Selects the groups of these ranges, in addition to other ranges and memberships.
    #[must_use]
    pub fn groups(mut self, ranges: impl IntoIterator<Item = GroupRange>) -> Self {
        self.ranges.extend(ranges);
        self
    }

    /// Selects a membership by group, port and sources, in addition to others and to ranges. `interfaces` are
    /// names and indexes that replace its own interface; none means every interface.
    #[must_use]
    pub fn membership(mut self, membership: &Membership, interfaces: &[InterfaceSelector]) -> Self {
        self.exact.entry(membership.address.group).or_default().push(MembershipFilter {
            port: membership.address.port,
            sources: membership.sources.clone(),
            interfaces: interfaces.to_vec(),
        });
        self
    }

    /// Selects only packets from these sources.
    #[must_use]
    pub fn sources(self, sources: SourceFilter) -> Self {
        Self { sources, ..self }
    }

    /// Selects only UDP datagrams to these ports. None, the default, selects all packets.
    #[must_use]
    pub fn ports(self, ports: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        Self { ports: ports.into_iter().collect(), ..self }
    }

    /// Selects only packets of these protocols. None, the default, selects all.
    #[must_use]
    pub fn protocols(self, protocols: impl IntoIterator<Item = PacketProtocol>) -> Self {
        Self { protocols: protocols.into_iter().collect(), ..self }
    }

    /// Selects only packets of this family. `None`, the default, selects both.
    #[must_use]
    pub fn family(self, family: impl Into<Option<Family>>) -> Self {
        Self { family: family.into(), ..self }
    }

    /// Selects only packets on these interfaces, which are names and indexes. None, the default, selects all.
    #[must_use]
    pub fn interfaces(self, interfaces: Vec<InterfaceSelector>) -> Self {
        Self { interfaces, ..self }
    }

    /// Returns whether the filter selects the interface of a packet.
    #[must_use]
    pub fn watches(&self, context: &PacketContext<'_>) -> bool {
        context.is_on(&self.interfaces)
    }

    /// Returns whether the filter selects a packet. Unicast packets are never selected.
    #[must_use]
    pub fn admits(&self, packet: &Packet<'_>, context: &PacketContext<'_>) -> bool {
        packet.ip_layer().is_some_and(|ip| {
            ip.destination.is_multicast()
                && self.watches(context)
                && self.matches_options(packet, context.port)
                && self.matches_group(ip.destination, Some(ip.source), context, |port| {
                    context.port == Some(port)
                })
        })
    }

    /// Returns whether the filter selects a later fragment of a datagram to any port, because a fragment does
    /// not contain the port. The first fragment is selected by [`Self::admits`].
    #[must_use]
    pub fn admits_fragment(&self, packet: &Packet<'_>, context: &PacketContext<'_>) -> bool {
        packet.ip_layer().is_some_and(|ip| {
            ip.fragment.is_some_and(|fragment| fragment.offset > 0)
                && self.watches(context)
                && self.family.is_none_or(|family| family == Family::of(ip.destination))
                && self.sources.admits(ip.source)
                && self.matches_group(ip.destination, Some(ip.source), context, |_| true)
        })
    }

    /// Returns whether the filter selects a message of IGMP, MLD or PIM: whether the message is about a
    /// selected group.
    #[must_use]
    pub fn admits_control(&self, packet: &Packet<'_>, context: &PacketContext<'_>) -> bool {
        let has_message =
            matches!(packet.transport, Some(Transport::Igmp(_) | Transport::Mld(_) | Transport::Pim(_)));
        // A malformed message may be about any group.
        let is_about = !has_message
            || packet.is_control_about(|group| self.matches_group(group, None, context, |_| true));
        is_about && self.watches(context) && self.matches_options(packet, None)
    }

    /// Returns whether the filter selects all packets to groups, on the interfaces that it selects.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        !self.names_groups()
            && self.ports.is_empty()
            && self.protocols.is_empty()
            && self.family.is_none()
            && self.sources.is_any()
    }

    /// Returns whether the filter selects by group or membership.
    #[must_use]
    pub fn names_groups(&self) -> bool {
        !self.exact.is_empty() || !self.ranges.is_empty()
    }

    fn matches_options(&self, packet: &Packet<'_>, port: Option<u16>) -> bool {
        let Some(ip) = packet.ip_layer() else { return false };
        self.family.is_none_or(|family| family == Family::of(ip.destination))
            && self.sources.admits(ip.source)
            && (self.ports.is_empty()
                || port.is_some_and(|port| self.ports.iter().any(|ports| ports.contains(&port))))
            && (self.protocols.is_empty() || self.protocols.iter().any(|each| each.is_in(packet)))
    }

    /// Returns whether a group is selected. Messages about a group have neither a source nor a port.
    fn matches_group(
        &self,
        group: IpAddr,
        source: Option<IpAddr>,
        context: &PacketContext<'_>,
        matches_port: impl Fn(u16) -> bool,
    ) -> bool {
        if !self.names_groups() {
            return true;
        }
        let Ok(group) = Group::new(group) else { return false };
        let admits = |filter: &MembershipFilter| {
            context.is_on(&filter.interfaces)
                && source.is_none_or(|source| filter.sources.admits(source))
                && matches_port(filter.port)
        };
        self.exact.get(&group).is_some_and(|filters| filters.iter().any(admits))
            || self.ranges.iter().any(|range| range.contains(group))
    }
}

impl<'a> Frame<'a> {
    /// Returns the context of the frame's packet. `port` is its destination UDP port, also of a fragment that
    /// does not contain it.
    #[must_use]
    pub fn context(&self, port: Option<u16>) -> PacketContext<'a> {
        let interface_name = self.interface_name.unwrap_or_default();
        PacketContext { interface: self.interface, interface_name, port }
    }
}

impl PacketContext<'_> {
    /// Returns whether the packet's interface is one of these names and indexes; none means every interface.
    #[must_use]
    pub fn is_on(&self, interfaces: &[InterfaceSelector]) -> bool {
        let is_it = |selector: &InterfaceSelector| match selector {
            InterfaceSelector::Name(name) => name == self.interface_name,
            InterfaceSelector::Index(index) => *index == self.interface,
            _ => false,
        };
        interfaces.is_empty() || interfaces.iter().any(is_it)
    }
}

impl PacketProtocol {
    fn is_in(self, packet: &Packet<'_>) -> bool {
        match self {
            Self::Mld => matches!(packet.transport, Some(Transport::Mld(_))),
            Self::Number(number) => packet.ip_layer().is_some_and(|ip| ip.protocol == number),
        }
    }
}

impl From<u8> for PacketProtocol {
    fn from(number: u8) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use mcast_packet::{MacAddress, UdpFrame, protocol};

    use super::*;

    fn admits(filter: &PacketFilter, source: &str, group: &str, port: u16) -> bool {
        let frame = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: source.parse().unwrap(),
            source_port: 4000,
            group: group.parse().unwrap(),
            destination_port: port,
            hop_limit: 1,
            payload: b"x",
        };
        let mut bytes = [0; 200];
        let length = frame.emit(&mut bytes).unwrap();
        let interface = InterfaceIndex::new(7).unwrap();
        let context = PacketContext { interface, interface_name: "eth7", port: Some(port) };
        filter.admits(&Packet::ethernet(&bytes[..length]), &context)
    }

    fn of_membership(text: &str) -> PacketFilter {
        let membership: Membership = text.parse().unwrap();
        PacketFilter::default().membership(&membership, membership.interface.as_slice())
    }

    #[test]
    fn an_empty_filter_selects_every_group() {
        let all = PacketFilter::default();
        assert!(all.is_unrestricted() && !all.names_groups());
        assert!(admits(&all, "10.0.0.1", "239.1.2.3", 5000) && admits(&all, "fd00::1", "ff15::1", 1));
    }

    #[test]
    fn a_membership_selects_by_port_source_and_interface() {
        let one = of_membership("10.0.0.1@239.1.2.3%eth7:5000");
        assert!(admits(&one, "10.0.0.1", "239.1.2.3", 5000));
        assert!(!admits(&one, "10.0.0.1", "239.1.2.3", 5001) && !admits(&one, "10.0.0.2", "239.1.2.3", 5000));
        assert!(!admits(&of_membership("239.1.2.3%eth0:5000"), "10.0.0.1", "239.1.2.3", 5000));
        assert!(admits(&of_membership("239.1.2.4%7:5000"), "10.0.0.1", "239.1.2.4", 5000));
    }

    #[test]
    fn a_range_selects_its_groups_on_every_port() {
        let range = GroupRange::of_prefix("239.1.2.0".parse().unwrap(), 24);
        let some = of_membership("239.9.9.9:9").groups([range]);
        assert!(admits(&some, "10.0.0.1", "239.1.2.3", 1) && admits(&some, "10.0.0.1", "239.9.9.9", 9));
        assert!(!admits(&some, "10.0.0.1", "239.1.3.3", 1) && !admits(&some, "10.0.0.1", "239.9.9.9", 8));
    }

    #[test]
    fn ports_protocols_sources_and_families_are_filtered() {
        let filter = PacketFilter::default()
            .ports([5000..=5003, 6000..=6000])
            .protocols([protocol::UDP.into()])
            .sources(SourceFilter::Exclude(["10.0.0.9".parse().unwrap()].into()))
            .family(Family::V4);
        assert!(admits(&filter, "10.0.0.1", "239.1.2.3", 5003));
        assert!(admits(&filter, "10.0.0.1", "239.1.2.3", 6000));
        assert!(!admits(&filter, "10.0.0.1", "239.1.2.3", 5004));
        assert!(!admits(&filter, "10.0.0.9", "239.1.2.3", 5000));
        assert!(!admits(&filter, "fd00::1", "ff15::1", 5000));
        let control = [protocol::IGMP.into(), PacketProtocol::Mld];
        let control = PacketFilter::default().protocols(control);
        assert!(!admits(&control, "10.0.0.1", "239.1.2.3", 5000));
    }
}
