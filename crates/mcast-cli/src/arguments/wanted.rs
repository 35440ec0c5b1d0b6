//! Which packets are wanted, of all that cross an interface: what `sniff` and its like show.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::Context;
use mcast::group::Expand;
use mcast::{Family, Group, InterfaceIndex, InterfaceSelector, Membership, SourceFilter};
use mcast_packet::{Packet, Transport, protocol};

use super::chosen::{Chosen, Families, filter_of_sources};
use super::{Pattern, read_description};
use crate::console::Console;
use crate::exit::Failure;

/// `--port` and `--protocol`, which narrow what is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Narrowing {
    /// Only to this UDP port, or to these (`5000-5003`); repeatable
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',')]
    pub(crate) ports: Vec<Ports>,

    /// Only this protocol: udp, igmp, mld, pim, icmp, icmpv6, tcp, or its number; repeatable
    #[arg(long = "protocol", value_name = "PROTOCOL", value_delimiter = ',')]
    pub(crate) protocols: Vec<Protocol>,
}

/// A port, or several in a row.
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

/// What IP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A part of ICMPv6.
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

/// Which packets are wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// By group; several where ports, sources or interfaces differ.
    exact: HashMap<IpAddr, Vec<Place>>,
    ranges: Vec<(Pattern, Place)>,
    sources: SourceFilter,
    ports: Vec<Ports>,
    protocols: Vec<Protocol>,
    family: Option<Family>,
}

/// Where packets to a group are wanted.
#[derive(Debug)]
struct Place {
    port: Option<u16>,
    sources: SourceFilter,
    /// A name or an index; `None`: everywhere.
    interface: Option<InterfaceSelector>,
}

/// What is asked about a packet that its bytes do not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) interface: InterfaceIndex,
    pub(crate) interface_name: &'a str,
    /// The UDP port it was sent to, also where the packet is a later fragment.
    pub(crate) port: Option<u16>,
}

/// A group, several, or memberships, as they were typed: what is wanted, and what joining it means.
#[derive(Debug)]
pub(crate) enum Target {
    /// Groups without a port.
    Groups(String, Pattern),
    Membership(Membership),
}

/// What these texts mean: whatever `mcast recv` takes, and groups without a port (`239.1.2.3`,
/// `239.1.2.0/24`, `mdns`).
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
                Chosen::default().take(text, expansion, console)
            }
        };
        for membership in &memberships {
            families.check(text, membership.address.group.family())?;
        }
        targets.extend(memberships.into_iter().map(Target::Membership));
    }
    Ok(targets)
}

impl Wanted {
    /// `places` says which interfaces, by name or index, a selector means for a group; none: all.
    pub(crate) fn new(
        targets: &[Target],
        narrowing: &Narrowing,
        sources: &[String],
        families: Families,
        places: impl Fn(&InterfaceSelector, Group) -> anyhow::Result<Vec<InterfaceSelector>>,
    ) -> anyhow::Result<Self> {
        let mut wanted = Self {
            exact: HashMap::new(),
            ranges: Vec::new(),
            sources: filter_of_sources(sources)?,
            ports: narrowing.ports.clone(),
            protocols: narrowing.protocols.clone(),
            family: families.only(),
        };
        for target in targets {
            match target {
                Target::Groups(_, pattern) => wanted.ranges.push((pattern.clone(), Place::everywhere())),
                Target::Membership(membership) => {
                    let group = membership.address.group;
                    let places = Place::all_of(membership, |selector| places(selector, group))?;
                    wanted.exact.entry(group.addr()).or_default().extend(places);
                }
            }
        }
        Ok(wanted)
    }

    /// Whether a packet to a group is wanted. One that is to no group never is.
    pub(crate) fn admits(&self, packet: &Packet<'_>, sight: &Sight<'_>) -> bool {
        let Some(ip) = packet.ip_layer() else { return false };
        ip.destination.is_multicast()
            && self.admits_narrowly(packet, sight.port)
            && self.is_meant(ip.destination, Some(ip.source), sight)
    }

    /// Whether nothing is named, and nothing narrows it.
    pub(crate) fn is_anything(&self) -> bool {
        self.exact.is_empty()
            && self.ranges.is_empty()
            && self.ports.is_empty()
            && self.protocols.is_empty()
            && self.family.is_none()
            && self.sources == SourceFilter::ANY
    }

    /// Whether a message of IGMP, MLD or PIM is wanted: whether it is about a group that is.
    pub(crate) fn admits_control(&self, packet: &Packet<'_>, sight: &Sight<'_>) -> bool {
        let has_message =
            matches!(packet.transport, Some(Transport::Igmp(_) | Transport::Mld(_) | Transport::Pim(_)));
        // What is malformed may be about anything.
        let is_about = !has_message || packet.is_control_about(|group| self.is_meant(group, None, sight));
        is_about && self.admits_narrowly(packet, None)
    }

    fn admits_narrowly(&self, packet: &Packet<'_>, port: Option<u16>) -> bool {
        let Some(ip) = packet.ip_layer() else { return false };
        self.family.is_none_or(|family| family == Family::of(ip.destination))
            && self.sources.admits(ip.source)
            && (self.ports.is_empty()
                || port.is_some_and(|port| self.ports.iter().any(|ports| ports.0.contains(&port))))
            && (self.protocols.is_empty() || self.protocols.iter().any(|each| each.is_in(packet)))
    }

    /// Whether the group is meant there. A message about a group has neither its source nor its port.
    fn is_meant(&self, group: IpAddr, source: Option<IpAddr>, sight: &Sight<'_>) -> bool {
        if self.exact.is_empty() && self.ranges.is_empty() {
            return true;
        }
        let fits = |place: &Place| {
            place.is_on(sight)
                && source.is_none_or(|source| {
                    place.sources.admits(source) && place.port.is_none_or(|port| sight.port == Some(port))
                })
        };
        self.exact.get(&group).is_some_and(|places| places.iter().any(fits))
            || self.ranges.iter().any(|(pattern, place)| {
                fits(place) && Group::new(group).is_ok_and(|group| pattern.contains(group))
            })
    }
}

impl Place {
    const fn everywhere() -> Self {
        Self { port: None, sources: SourceFilter::ANY, interface: None }
    }

    fn all_of(
        membership: &Membership,
        places: impl FnOnce(&InterfaceSelector) -> anyhow::Result<Vec<InterfaceSelector>>,
    ) -> anyhow::Result<Vec<Self>> {
        let place = |interface| Self {
            port: Some(membership.address.port),
            sources: membership.sources.clone(),
            interface,
        };
        let interfaces = membership.interface.as_ref().map(places).transpose()?.unwrap_or_default();
        if interfaces.is_empty() {
            return Ok(vec![place(None)]);
        }
        Ok(interfaces.into_iter().map(|interface| place(Some(interface))).collect())
    }

    fn is_on(&self, sight: &Sight<'_>) -> bool {
        match &self.interface {
            None => true,
            Some(selector) => is_named(selector, sight.interface, sight.interface_name),
        }
    }
}

/// Whether a selector is this interface's name or index.
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
    /// The memberships that joining it takes. Groups without a port are joined on any: only that they are
    /// counts then.
    pub(crate) fn memberships(&self) -> anyhow::Result<Vec<Membership>> {
        /// More groups than any switch keeps.
        const MOST: usize = 4_096;

        let (text, pattern) = match self {
            Self::Membership(membership) => return Ok(vec![membership.clone()]),
            Self::Groups(text, pattern) => (text, pattern),
        };
        let groups: Vec<Group> = pattern.groups().take(MOST + 1).collect();
        if groups.len() > MOST {
            let failure = Failure::usage(format!("{text} has too many groups to join all of them"));
            return Err(failure.remedy(format!("name {MOST} at most")).into());
        }
        // One that nobody has; whoever takes it later may share it.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot find a free port")?;
        let port = socket.local_addr().context("cannot find a free port")?.port();
        let membership = |group| Membership::new(mcast::GroupAddr::new(group, port));
        Ok(groups.into_iter().map(membership).collect())
    }
}

#[cfg(test)]
mod tests {
    use mcast_packet::{MacAddress, UdpFrame};

    use super::*;

    fn narrowing(ports: &[&str], protocols: &[&str]) -> Narrowing {
        Narrowing {
            ports: ports.iter().map(|text| text.parse().unwrap()).collect(),
            protocols: protocols.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn wanted(texts: &[&str], narrowing: &Narrowing, sources: &[&str]) -> Wanted {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let targets = read_targets(&owned(texts), Families::default(), &Console::new(true, false)).unwrap();
        let same = |selector: &InterfaceSelector, _| Ok(vec![selector.clone()]);
        Wanted::new(&targets, narrowing, &owned(sources), Families::default(), same).unwrap()
    }

    fn admits(wanted: &Wanted, source: &str, group: &str, port: u16) -> bool {
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
        let sight = Sight { interface: index, interface_name: "eth7", port: Some(port) };
        wanted.admits(&Packet::ethernet(&bytes[..length]), &sight)
    }

    #[test]
    fn without_a_wish_every_group_is_wanted() {
        let all = wanted(&[], &narrowing(&[], &[]), &[]);
        assert!(admits(&all, "10.0.0.1", "239.1.2.3", 5000) && admits(&all, "fd00::1", "ff15::1", 1));
    }

    #[test]
    fn a_membership_is_wanted_with_its_port_source_and_interface() {
        let none = narrowing(&[], &[]);
        let one = wanted(&["10.0.0.1@239.1.2.3%eth7:5000"], &none, &[]);
        assert!(admits(&one, "10.0.0.1", "239.1.2.3", 5000));
        assert!(!admits(&one, "10.0.0.1", "239.1.2.3", 5001) && !admits(&one, "10.0.0.2", "239.1.2.3", 5000));
        let elsewhere = wanted(&["239.1.2.3%eth0:5000", "239.1.2.4%7:5000"], &none, &[]);
        assert!(!admits(&elsewhere, "10.0.0.1", "239.1.2.3", 5000));
        assert!(admits(&elsewhere, "10.0.0.1", "239.1.2.4", 5000));
    }

    #[test]
    fn groups_ranges_and_names_need_no_port() {
        let some = wanted(&["239.1.2.0/24", "mdns", "ff15::1"], &narrowing(&[], &[]), &[]);
        assert!(admits(&some, "10.0.0.1", "239.1.2.3", 1) && admits(&some, "10.0.0.1", "224.0.0.251", 5353));
        assert!(admits(&some, "fd00::1", "ff02::fb", 5353) && admits(&some, "fd00::1", "ff15::1", 9));
        assert!(!admits(&some, "10.0.0.1", "239.1.3.3", 1));
    }

    #[test]
    fn ports_protocols_and_sources_narrow_it() {
        let ports = wanted(&[], &narrowing(&["5000-5003", "6000"], &["udp"]), &["!10.0.0.9"]);
        assert!(
            admits(&ports, "10.0.0.1", "239.1.2.3", 5003) && admits(&ports, "10.0.0.1", "239.1.2.3", 6000)
        );
        assert!(!admits(&ports, "10.0.0.1", "239.1.2.3", 5004));
        assert!(!admits(&ports, "10.0.0.9", "239.1.2.3", 5000));
        let control = wanted(&[], &narrowing(&[], &["igmp", "mld", "103"]), &[]);
        assert!(!admits(&control, "10.0.0.1", "239.1.2.3", 5000));
        "5003-5000".parse::<Ports>().unwrap_err();
        "carrier pigeon".parse::<Protocol>().unwrap_err();
    }

    #[test]
    fn groups_without_a_port_are_joined_on_any() {
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
