//! Groups of protocols that run directly over IP, without UDP and ports: VRRP, OSPF, PIM, neighbour discovery.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use mcast::group::{GroupKind, WellKnown};
use mcast::{Group, InterfaceIndex, InterfaceSelector};
use mcast_packet::protocol::{ICMPV6, IGMP, UDP};

use crate::speakers::Instances;
use crate::wire::{Refusal, Tap};

/// An IP protocol other than UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(u8);

/// What to examine instead of a group and port: the packets of an IP protocol to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtocolTarget {
    /// The group.
    pub group: Group,
    /// The protocol of its packets.
    pub protocol: IpProtocol,
    /// The interface on which they should arrive; `None` for any.
    pub interface: Option<InterfaceSelector>,
    /// The name by which the group was chosen, such as `vrrp`, if it was not the group.
    pub name: Option<String>,
}

impl IpProtocol {
    /// Returns the protocol with this number; `None` for UDP, whose groups have ports.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number == UDP { None } else { Some(Self(number)) }
    }

    /// Returns the protocol that is known to use a group without UDP.
    #[must_use]
    pub fn of_group(group: Group) -> Option<Self> {
        let named = group.well_known().find_map(|known| known.protocol);
        let solicits = matches!(group.kind(), GroupKind::SolicitedNode { .. });
        Self::new(named.or_else(|| solicits.then_some(ICMPV6))?)
    }

    /// Returns its number in the IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns whether its sockets are for groups, so that one which has joined none is remarkable. Programs use ICMPv6 for much else,
    /// and the socket by which a multicast router sets its routes (`MRT_INIT`) is one of IGMP that receives without joining.
    pub(crate) const fn is_for_groups(self) -> bool {
        !matches!(self.0, ICMPV6 | IGMP)
    }

    /// Returns the row of the table of groups for its use of a group.
    pub(crate) fn known(self, group: Group) -> Option<&'static WellKnown> {
        group.well_known().find(|known| known.protocol == Some(self.0))
    }
}

/// Writes `vrrp (IP protocol 112)`, or only the number if no name is known.
impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Several protocols of IPv6 are messages of this one.
        let name = match self.0 {
            ICMPV6 => Some("icmpv6"),
            number => {
                WellKnown::all().iter().find(|known| known.protocol == Some(number)).map(|known| known.name)
            }
        };
        match name {
            Some(name) => write!(f, "{name} (IP protocol {})", self.0),
            None => write!(f, "IP protocol {}", self.0),
        }
    }
}

/// The error for a text that is neither the name nor the number of an IP protocol without ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is neither the number of an IP protocol other than UDP, nor a name such as vrrp, ospf, pim or icmpv6"
)]
pub struct UnknownProtocol(pub String);

impl FromStr for IpProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let number = match text.parse() {
            Ok(number) => Some(number),
            Err(_) if text.eq_ignore_ascii_case("icmpv6") => Some(ICMPV6),
            Err(_) => WellKnown::named(text).iter().find_map(|known| known.protocol),
        };
        number.and_then(Self::new).ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

impl ProtocolTarget {
    /// Returns the packets of a protocol to a group, on any interface.
    #[must_use]
    pub const fn new(group: Group, protocol: IpProtocol) -> Self {
        Self { group, protocol, interface: None, name: None }
    }

    /// Returns the groups that a text names without a port: `vrrp`, `224.0.0.18`, `[ff02::12%eth0]`; none if it is one for UDP. The
    /// protocol is that of the group, unless one is `given`.
    ///
    /// # Errors
    /// Returns an error if the text has an invalid interface.
    pub fn named(text: &str, given: Option<IpProtocol>) -> Result<Vec<Self>, mcast::ParseError> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let (name, interface) = match bare.split_once('%') {
            Some((name, interface)) => (name, Some(interface.parse::<InterfaceSelector>()?)),
            None => (bare, None),
        };
        let (groups, name): (Vec<Group>, _) = match name.parse() {
            Ok(group) => (vec![group], None),
            Err(_) => (WellKnown::named(name).iter().map(|row| row.group).collect(), Some(name.to_owned())),
        };
        let target = |group: Group| {
            // The ports of a name come first: such a protocol runs over UDP.
            let is_udp = group.well_known().any(|known| !known.ports.is_empty());
            let protocol = given.or_else(|| IpProtocol::of_group(group).filter(|_| !is_udp))?;
            Some(Self { interface: interface.clone(), name: name.clone(), ..Self::new(group, protocol) })
        };
        Ok(groups.into_iter().filter_map(target).collect())
    }

    /// Sets the interface.
    #[must_use]
    pub fn on(self, interface: InterfaceSelector) -> Self {
        Self { interface: Some(interface), ..self }
    }
}

/// Writes `vrrp (IP protocol 112) to 224.0.0.18`.
impl fmt::Display for ProtocolTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.protocol, self.group)
    }
}

/// The packets of one source on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProtocolFlow {
    pub(crate) interface: InterfaceIndex,
    pub(crate) outgoing: bool,
    pub(crate) source: IpAddr,
}

/// How many packets of a flow were captured, with their lowest and highest hop limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolCount {
    pub(crate) packets: u64,
    pub(crate) hop_limits: (u8, u8),
}

/// Whether the doctor's raw socket has joined the group on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawJoin {
    Joined,
    Refused(Refusal),
}

/// A program whose raw sockets are examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawProgram {
    /// Its name, as `name (pid)`.
    pub(crate) name: String,
    /// The interfaces on which one of its sockets has joined the group; empty if none has.
    pub(crate) joined: Vec<InterfaceIndex>,
}

/// What was observed of a protocol and a group.
#[derive(Clone, Debug)]
pub(crate) struct ProtocolTraffic {
    pub(crate) target: ProtocolTarget,
    /// The program whose sockets should receive it; `None` if the doctor alone has joined.
    pub(crate) program: Option<RawProgram>,
    /// Whether the doctor has joined, by interface.
    pub(crate) joins: BTreeMap<InterfaceIndex, RawJoin>,
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: BTreeMap<ProtocolFlow, ProtocolCount>,
    /// Captured packets of more sources than are recorded.
    pub(crate) unrecorded: u64,
    /// What the doctor's raw sockets received, by interface and source.
    pub(crate) received: BTreeMap<(InterfaceIndex, IpAddr), u64>,
    pub(crate) listened: Duration,
    /// What the senders have announced.
    pub(crate) instances: Instances,
    /// The end of the observation, on the clock of the capture; `None` if it is not known.
    pub(crate) until: Option<SystemTime>,
}

impl ProtocolTraffic {
    pub(crate) fn new(target: &ProtocolTarget, program: Option<RawProgram>) -> Self {
        Self {
            target: target.clone(),
            program,
            joins: BTreeMap::new(),
            taps: Vec::new(),
            flows: BTreeMap::new(),
            unrecorded: 0,
            received: BTreeMap::new(),
            listened: Duration::ZERO,
            instances: Instances::new(),
            until: None,
        }
    }

    /// Returns the flows that arrived on an interface, or left by it.
    pub(crate) fn at(
        &self,
        interface: InterfaceIndex,
        outgoing: bool,
    ) -> impl Iterator<Item = (&ProtocolFlow, &ProtocolCount)> {
        self.flows.iter().filter(move |(flow, _)| (flow.interface, flow.outgoing) == (interface, outgoing))
    }

    /// Returns how many packets of a flow the doctor's socket received.
    pub(crate) fn received_of(&self, flow: &ProtocolFlow) -> u64 {
        self.received.get(&(flow.interface, flow.source)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_is_that_of_the_name_the_number_or_the_group() {
        let vrrp = IpProtocol::new(112);
        assert_eq!(("vrrp".parse().ok(), "112".parse().ok()), (vrrp, vrrp));
        for (group, number) in
            [("224.0.0.18", 112), ("ff02::12", 112), ("ff02::5", 89), ("ff02::1:ff00:7", 58)]
        {
            assert_eq!(IpProtocol::of_group(group.parse().unwrap()), IpProtocol::new(number), "{group}");
        }
        assert_eq!(IpProtocol::of_group("239.1.2.3".parse().unwrap()), None);
        for text in ["udp", "17", "mdns", "256", ""] {
            assert!(text.parse::<IpProtocol>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_those_of_the_table_of_groups() {
        let text = |number| IpProtocol::new(number).unwrap().to_string();
        assert_eq!(text(112), "vrrp (IP protocol 112)");
        assert_eq!((text(58), text(200)), ("icmpv6 (IP protocol 58)".into(), "IP protocol 200".into()));
    }
}
