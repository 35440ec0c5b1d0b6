//! The packet filter of `mcast sniff`: groups, memberships, sources, ports and protocols.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use mcast::group::Expand;
use mcast::{Family, Group, InterfaceIndex, InterfaceSelector, Membership, SourceFilter};
use mcast_packet::{Packet, Transport, protocol};

use super::memberships::unused_port;
use super::selected::{Families, Selected, filter_of_sources};
use super::{Pattern, read_description};
use crate::console::Console;
use crate::exit::Failure;

/// `--port` and `--protocol`.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterOptions {
    /// Only to this UDP port, or to these (`5000-5003`); repeatable
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',')]
    pub(crate) ports: Vec<Ports>,

    /// Only this protocol: udp, igmp, mld, pim, icmp, icmpv6, tcp, or its number; repeatable
    #[arg(long = "protocol", value_name = "PROTOCOL", value_delimiter = ',')]
    pub(crate) protocols: Vec<Protocol>,
}

/// A range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports(RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse().map_err(|_| "write a port such as 5000, or 5000-5003");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = port(first)?..=port(last)?;
        if range.is_empty() { Err("the last port is before the first".into()) } else { Ok(Self(range)) }
    }
}

/// A protocol carried by IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Multicast Listener Discovery, a part of ICMPv6.
    Mld,
    Number(u8),
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self::Number(match text.to_ascii_lowercase().as_str() {
            "mld" => return Ok(Self::Mld),
            "udp" => protocol::UDP,
            "tcp" => protocol::TCP,
            "igmp" => protocol::IGMP,
            "pim" => protocol::PIM,
            "icmp" => protocol::ICMP,
            "icmpv6" => protocol::ICMPV6,
            number => {
                number.parse().map_err(|_| "write udp, igmp, mld, pim, icmp, icmpv6, tcp or a number")?
            }
        }))
    }
}

/// Selects packets.
#[derive(Debug)]
pub(crate) struct PacketFilter {
    /// By group; several if ports, sources or interfaces differ.
    exact: HashMap<IpAddr, Vec<MembershipFilter>>,
    ranges: Vec<(Pattern, MembershipFilter)>,
    sources: SourceFilter,
    ports: Vec<Ports>,
    protocols: Vec<Protocol>,
    family: Option<Family>,
}

/// Selects packets to a group.
#[derive(Debug)]
struct MembershipFilter {
    port: Option<u16>,
    sources: SourceFilter,
    /// A name or an index; `None` means every interface.
    interface: Option<InterfaceSelector>,
}

/// Properties of a packet that its bytes do not contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketContext<'a> {
    pub(crate) interface: InterfaceIndex,
    pub(crate) interface_name: &'a str,
    /// The destination UDP port, also of a fragment that does not contain it.
    pub(crate) port: Option<u16>,
}

/// Groups or a membership, as typed: what to show, and what to join.
#[derive(Debug)]
pub(crate) enum Target {
    /// Groups without a port.
    Groups(String, Pattern),
    Membership(Membership),
}

/// Parses targets: everything that `mcast recv` accepts, and groups without a port (`239.1.2.3`, `239.1.2.0/24`,
/// `mdns`).
pub(crate) fn read_targets(
    texts: &[String],
    families: Families,
    console: &Console,
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for text in texts {
        let described = read_description(text, families, console)?;
        let memberships = match (described, text.parse::<Pattern>()) {
            (Some(memberships), _) => memberships,
            (None, Ok(pattern)) => {
                targets.push(Target::Groups(text.clone(), pattern));
                continue;
            }
            (None, Err(_)) => {
                let expansion = Expand { family: families.only(), ..Expand::default() }.memberships(text)?;
                Selected::default().expand(text, expansion, console)
            }
        };
        for membership in &memberships {
            families.check(text, membership.address.group.family())?;
        }
        targets.extend(memberships.into_iter().map(Target::Membership));
    }
    Ok(targets)
}

impl PacketFilter {
    /// Creates a filter. `resolve` returns the interfaces, by name or index, that a selector means for a group; an
    /// empty list means all.
    pub(crate) fn new(
        targets: &[Target],
        options: &FilterOptions,
        sources: &[String],
        families: Families,
        resolve: impl Fn(&InterfaceSelector, Group) -> anyhow::Result<Vec<InterfaceSelector>>,
    ) -> anyhow::Result<Self> {
        let mut filter = Self {
            exact: HashMap::new(),
            ranges: Vec::new(),
            sources: filter_of_sources(sources)?,
            ports: options.ports.clone(),
            protocols: options.protocols.clone(),
            family: families.only(),
        };
        for target in targets {
            match target {
                Target::Groups(_, pattern) => filter.ranges.push((pattern.clone(), MembershipFilter::any())),
                Target::Membership(membership) => {
                    let group = membership.address.group;
                    let filters = MembershipFilter::all_of(membership, |selector| resolve(selector, group))?;
                    filter.exact.entry(group.addr()).or_default().extend(filters);
                }
            }
        }
        Ok(filter)
    }

    /// Returns whether the filter selects a packet. Unicast packets are never selected.
    pub(crate) fn admits(&self, packet: &Packet<'_>, context: &PacketContext<'_>) -> bool {
        let Some(ip) = packet.ip_layer() else { return false };
        ip.destination.is_multicast()
            && self.matches_options(packet, context.port)
            && self.matches_group(ip.destination, Some(ip.source), context)
    }

    /// Returns whether the filter selects all multicast packets.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.exact.is_empty()
            && self.ranges.is_empty()
            && self.ports.is_empty()
            && self.protocols.is_empty()
            && self.family.is_none()
            && self.sources == SourceFilter::ANY
    }

    /// Returns whether the filter selects a message of IGMP, MLD or PIM: whether the message is about a selected group.
    pub(crate) fn admits_control(&self, packet: &Packet<'_>, context: &PacketContext<'_>) -> bool {
        let has_message =
            matches!(packet.transport, Some(Transport::Igmp(_) | Transport::Mld(_) | Transport::Pim(_)));
        // A malformed message may be about any group.
        let is_about =
            !has_message || packet.is_control_about(|group| self.matches_group(group, None, context));
        is_about && self.matches_options(packet, None)
    }

    fn matches_options(&self, packet: &Packet<'_>, port: Option<u16>) -> bool {
        let Some(ip) = packet.ip_layer() else { return false };
        self.family.is_none_or(|family| family == Family::of(ip.destination))
            && self.sources.admits(ip.source)
            && (self.ports.is_empty()
                || port.is_some_and(|port| self.ports.iter().any(|ports| ports.0.contains(&port))))
            && (self.protocols.is_empty() || self.protocols.iter().any(|each| each.is_in(packet)))
    }

    /// Returns whether a group is selected. Messages about a group have neither a source nor a port.
    fn matches_group(&self, group: IpAddr, source: Option<IpAddr>, context: &PacketContext<'_>) -> bool {
        if self.exact.is_empty() && self.ranges.is_empty() {
            return true;
        }
        let matches = |filter: &MembershipFilter| {
            filter.is_on(context)
                && source.is_none_or(|source| {
                    filter.sources.admits(source) && filter.port.is_none_or(|port| context.port == Some(port))
                })
        };
        self.exact.get(&group).is_some_and(|filters| filters.iter().any(matches))
            || self.ranges.iter().any(|(pattern, filter)| {
                matches(filter) && Group::new(group).is_ok_and(|group| pattern.contains(group))
            })
    }
}

impl MembershipFilter {
    const fn any() -> Self {
        Self { port: None, sources: SourceFilter::ANY, interface: None }
    }

    fn all_of(
        membership: &Membership,
        resolve: impl FnOnce(&InterfaceSelector) -> anyhow::Result<Vec<InterfaceSelector>>,
    ) -> anyhow::Result<Vec<Self>> {
        let filter = |interface| Self {
            port: Some(membership.address.port),
            sources: membership.sources.clone(),
            interface,
        };
        let interfaces = membership.interface.as_ref().map(resolve).transpose()?.unwrap_or_default();
        if interfaces.is_empty() {
            return Ok(vec![filter(None)]);
        }
        Ok(interfaces.into_iter().map(|interface| filter(Some(interface))).collect())
    }

    fn is_on(&self, context: &PacketContext<'_>) -> bool {
        match &self.interface {
            None => true,
            Some(selector) => is_named(selector, context.interface, context.interface_name),
        }
    }
}

/// Returns whether a selector is this interface's name or index.
pub(crate) fn is_named(selector: &InterfaceSelector, index: InterfaceIndex, name: &str) -> bool {
    match selector {
        InterfaceSelector::Name(own) => own == name,
        InterfaceSelector::Index(own) => *own == index,
        _ => false,
    }
}

impl Protocol {
    fn is_in(self, packet: &Packet<'_>) -> bool {
        match self {
            Self::Mld => matches!(packet.transport, Some(Transport::Mld(_))),
            Self::Number(number) => packet.ip_layer().is_some_and(|ip| ip.protocol == number),
        }
    }
}

impl Target {
    /// Returns the memberships to join. Groups without a port are joined on an arbitrary one, because only the
    /// membership matters.
    pub(crate) fn memberships(&self) -> anyhow::Result<Vec<Membership>> {
        /// More groups than switches keep.
        const MAX: usize = 4_096;

        let (text, pattern) = match self {
            Self::Membership(membership) => return Ok(vec![membership.clone()]),
            Self::Groups(text, pattern) => (text, pattern),
        };
        let groups: Vec<Group> = pattern.groups().take(MAX + 1).collect();
        if groups.len() > MAX {
            let failure = Failure::usage(format!("{text} has too many groups to join all of them"));
            return Err(failure.remedy(format!("name at most {MAX}")).into());
        }
        // A program that binds the port later can share it.
        let port = unused_port()?;
        let membership = |group| Membership::new(mcast::GroupAddr::new(group, port));
        Ok(groups.into_iter().map(membership).collect())
    }
}

#[cfg(test)]
mod tests {
    use mcast_packet::{MacAddress, UdpFrame};

    use super::*;

    fn options(ports: &[&str], protocols: &[&str]) -> FilterOptions {
        FilterOptions {
            ports: ports.iter().map(|text| text.parse().unwrap()).collect(),
            protocols: protocols.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn filter(texts: &[&str], options: &FilterOptions, sources: &[&str]) -> PacketFilter {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let targets = read_targets(&owned(texts), Families::default(), &Console::new(true, false)).unwrap();
        let same = |selector: &InterfaceSelector, _| Ok(vec![selector.clone()]);
        PacketFilter::new(&targets, options, &owned(sources), Families::default(), same).unwrap()
    }

    fn admits(filter: &PacketFilter, source: &str, group: &str, port: u16) -> bool {
        let frame = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: source.parse().unwrap(),
            source_port: 4000,
            group: group.parse::<Group>().unwrap(),
            destination_port: port,
            hop_limit: 1,
            payload: b"x",
        };
        let mut bytes = [0; 200];
        let length = frame.emit(&mut bytes).unwrap();
        let index = InterfaceIndex::new(7).unwrap();
        let context = PacketContext { interface: index, interface_name: "eth7", port: Some(port) };
        filter.admits(&Packet::ethernet(&bytes[..length]), &context)
    }

    #[test]
    fn an_empty_filter_selects_every_group() {
        let all = filter(&[], &options(&[], &[]), &[]);
        assert!(admits(&all, "10.0.0.1", "239.1.2.3", 5000) && admits(&all, "fd00::1", "ff15::1", 1));
    }

    #[test]
    fn a_membership_selects_by_port_source_and_interface() {
        let none = options(&[], &[]);
        let one = filter(&["10.0.0.1@239.1.2.3%eth7:5000"], &none, &[]);
        assert!(admits(&one, "10.0.0.1", "239.1.2.3", 5000));
        assert!(!admits(&one, "10.0.0.1", "239.1.2.3", 5001) && !admits(&one, "10.0.0.2", "239.1.2.3", 5000));
        let elsewhere = filter(&["239.1.2.3%eth0:5000", "239.1.2.4%7:5000"], &none, &[]);
        assert!(!admits(&elsewhere, "10.0.0.1", "239.1.2.3", 5000));
        assert!(admits(&elsewhere, "10.0.0.1", "239.1.2.4", 5000));
    }

    #[test]
    fn groups_ranges_and_names_need_no_port() {
        let some = filter(&["239.1.2.0/24", "mdns", "ff15::1"], &options(&[], &[]), &[]);
        assert!(admits(&some, "10.0.0.1", "239.1.2.3", 1) && admits(&some, "10.0.0.1", "224.0.0.251", 5353));
        assert!(admits(&some, "fd00::1", "ff02::fb", 5353) && admits(&some, "fd00::1", "ff15::1", 9));
        assert!(!admits(&some, "10.0.0.1", "239.1.3.3", 1));
    }

    #[test]
    fn ports_protocols_and_sources_are_filtered() {
        let ports = filter(&[], &options(&["5000-5003", "6000"], &["udp"]), &["!10.0.0.9"]);
        assert!(
            admits(&ports, "10.0.0.1", "239.1.2.3", 5003) && admits(&ports, "10.0.0.1", "239.1.2.3", 6000)
        );
        assert!(!admits(&ports, "10.0.0.1", "239.1.2.3", 5004));
        assert!(!admits(&ports, "10.0.0.9", "239.1.2.3", 5000));
        let control = filter(&[], &options(&[], &["igmp", "mld", "103"]), &[]);
        assert!(!admits(&control, "10.0.0.1", "239.1.2.3", 5000));
        "5003-5000".parse::<Ports>().unwrap_err();
        "carrier pigeon".parse::<Protocol>().unwrap_err();
    }

    #[test]
    fn groups_without_a_port_can_be_joined() {
        let joined = |text: &str| {
            let targets =
                read_targets(&[text.into()], Families::default(), &Console::new(true, false)).unwrap();
            targets[0].memberships().map(|memberships| memberships.len())
        };
        assert_eq!(joined("239.1.2.0/30").unwrap(), 4);
        assert_eq!(joined("mdns").unwrap(), 2);
        assert!(joined("239.0.0.0/8").unwrap_err().to_string().contains("too many"));
    }
}
