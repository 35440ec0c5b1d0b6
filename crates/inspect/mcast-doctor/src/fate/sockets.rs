//! Which sockets take a datagram that has reached UDP, and why the others do not.
//!
//! The kernel asks every socket on the port (Linux: `__udp_is_mcast_sock`, `ip_mc_sf_allow`). A datagram that none takes is
//! discarded, and only `UdpIgnoredMulti` shows it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mcast::{Family, InterfaceIndex};

use crate::observation::{ExaminationTarget, Observation, ProgramSocket, index_of};
use crate::snapshot::{Counter, Snapshot};
use crate::wire::{Flow, FlowKey};
use crate::{EvidenceKind, Finding, Id, Severity};

/// A datagram that has reached UDP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) to: SocketAddr,
    /// `None` for any source that the socket admits.
    pub(crate) source: Option<SocketAddr>,
    pub(crate) interface: InterfaceIndex,
}

/// Why a socket does not take a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not bound to the port.
    Port,
    /// It receives only the other address family.
    Family,
    /// It is connected to another address than the source.
    Peer(SocketAddr),
    /// It is bound to another address than the group.
    Address(SocketAddr),
    /// It is bound to another interface (`SO_BINDTODEVICE`).
    Interface(InterfaceIndex),
    /// Its own membership does not admit the source.
    Source,
    /// It receives only groups that it has joined itself, and has not joined this one (`IP_MULTICAST_ALL`).
    Membership,
}

/// A group that a program has joined and does not receive, because the socket on the port does not take it.
#[derive(Clone, Debug)]
pub(crate) struct Blocked<'a> {
    /// The program, as `name (pid)`.
    pub(crate) program: &'a str,
    pub(crate) socket: &'a ProgramSocket,
    pub(crate) refusal: Refusal,
    pub(crate) to: SocketAddr,
    /// Where the group is joined.
    pub(crate) interface: InterfaceIndex,
    /// The datagrams that are not taken; empty if none was seen.
    pub(crate) flows: Vec<&'a Flow>,
    pub(crate) severity: Severity,
}

/// A socket of an examined program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExaminedSocket<'a> {
    /// The program, as `name (pid)`.
    pub(crate) program: &'a str,
    pub(crate) socket: &'a ProgramSocket,
    /// The severity of what keeps it from receiving.
    pub(crate) severity: Severity,
}

/// Sockets that receive for each other: those of one program.
struct SocketSet<'a> {
    name: &'a str,
    sockets: Vec<&'a ProgramSocket>,
    severity: Severity,
    /// The only destination that matters; `None` for all.
    destination: Option<SocketAddr>,
}

impl Blocked<'_> {
    fn is_like(&self, other: &Self) -> bool {
        let key = |blocked: &Self| (blocked.socket.inode, blocked.to, blocked.interface, blocked.refusal);
        key(self) == key(other)
    }

    /// Returns a finding about the socket, with what it is as evidence, and the datagrams that it does not take.
    pub(crate) fn finding(
        &self,
        observation: &Observation,
        id: Id,
        cause: String,
        socket: String,
    ) -> Finding {
        let location = format!("socket {} of {}", self.socket.inode, self.program);
        let ignored = observation.counter_increase(Counter::IgnoredMulticast, Family::of(self.to.ip()));
        Finding::new(id, self.severity, cause)
            .concerning(observation.link_name(self.interface), self.to)
            .from_sources(self.flows.iter().map(|flow| flow.key.source))
            .in_program(self.program)
            .evidence(EvidenceKind::Socket, location, socket)
            .with_all_evidence(self.flows.iter().map(|flow| observation.packets_of(flow)))
            .with_all_evidence(ignored.filter(|_| !self.flows.is_empty()))
    }
}

impl Arrival {
    fn of(flow: &Flow) -> Self {
        Self { to: flow.destination(), source: Some(flow.key.source), interface: flow.key.interface }
    }
}

impl ProgramSocket {
    /// Returns why the socket does not take a datagram; `None` if it does.
    pub(crate) fn refusal(&self, arrival: &Arrival, machine: &Snapshot) -> Option<Refusal> {
        self.refusals(arrival, machine).into_iter().next()
    }

    /// Returns all reasons why the socket does not take a datagram, in the order in which the kernel looks for them.
    fn refusals(&self, arrival: &Arrival, machine: &Snapshot) -> Vec<Refusal> {
        let Some(local) = self.local.filter(|local| local.port() == arrival.to.port()) else {
            return vec![Refusal::Port];
        };
        let family = Family::of(arrival.to.ip());
        if !self.receives(family, local) {
            return vec![Refusal::Family];
        }
        let peer = self.peer.filter(|peer| {
            let is_other = |source: SocketAddr| (peer.ip(), peer.port()) != (source.ip(), source.port());
            arrival.source.is_some_and(is_other)
        });
        // Connecting a socket also binds it to an address.
        let address =
            Some(local).filter(|local| !local.ip().is_unspecified() && local.ip() != arrival.to.ip());
        let address = address.filter(|_| peer.is_none());
        let bound = self.bound_interface.filter(|bound| !is_within(arrival.interface, *bound, machine));
        let all = [
            peer.map(Refusal::Peer),
            address.map(Refusal::Address),
            bound.map(Refusal::Interface),
            self.refusal_of_membership(arrival, family),
        ];
        all.into_iter().flatten().collect()
    }

    fn refusal_of_membership(&self, arrival: &Arrival, family: Family) -> Option<Refusal> {
        let own = self.memberships.iter().find(|membership| {
            membership.address.group.addr() == arrival.to.ip()
                && index_of(membership) == Some(arrival.interface)
        });
        match (own, arrival.source) {
            (None, _) => self.own_groups_only.contains(&family).then_some(Refusal::Membership),
            (Some(own), Some(source)) => (!own.sources.admits(source.ip())).then_some(Refusal::Source),
            (Some(_), None) => None,
        }
    }

    /// Returns whether a socket bound to `local` receives a family at all.
    fn receives(&self, family: Family, local: SocketAddr) -> bool {
        match (family, local.ip()) {
            (Family::V4, IpAddr::V6(address)) => address.is_unspecified() && !self.is_v6_only(),
            (Family::V4, IpAddr::V4(_)) => true,
            (Family::V6, address) => address.is_ipv6(),
        }
    }

    /// Returns whether the socket takes a flow, once any program has joined the group where it arrives.
    pub(crate) fn takes(&self, flow: &Flow, machine: &Snapshot) -> bool {
        self.refusal(&Arrival::of(flow), machine).is_none()
    }

    pub(crate) fn is_v6_only(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.v6_only)
    }
}

/// Returns whether a socket bound to `bound` receives from an interface: the same, or a port of it, as of a VRF.
fn is_within(interface: InterfaceIndex, bound: InterfaceIndex, machine: &Snapshot) -> bool {
    interface == bound || machine.link(interface).is_some_and(|link| link.interface.port_of == Some(bound))
}

impl Observation {
    /// Returns the groups that programs have joined and do not receive because of their own sockets: those that arrive, and
    /// those that could not be received from any interface on which they are joined.
    pub(crate) fn blocked(&self) -> Vec<Blocked<'_>> {
        self.socket_sets().iter().flat_map(|set| self.blocked_in(set)).collect()
    }

    /// Returns the sockets of the examined programs; if a membership is examined, those that have joined it as well.
    pub(crate) fn examined_sockets(&self) -> Vec<ExaminedSocket<'_>> {
        self.socket_sets().into_iter().flat_map(SocketSet::examined).collect()
    }

    /// Returns the flows that a socket takes, also those that this machine sends and loops back.
    pub(crate) fn taken_by(&self, socket: &ProgramSocket) -> Vec<&Flow> {
        let is_taken = |flow: &&Flow| {
            flow.key.vlan.is_none()
                && flow.sound() > 0
                && self.before.is_joined(flow.key.group, flow.key.interface)
                && socket.takes(flow, &self.before)
        };
        self.wire.flows.iter().filter(is_taken).collect()
    }

    /// Returns whether a socket receives a flow only as long as the doctor is a member: the kernel delivers a group to every
    /// socket on its port, once any program has joined it where it arrives.
    pub(crate) fn depends_on_doctor(&self, socket: &ProgramSocket, flow: &Flow) -> bool {
        let FlowKey { interface, group, vlan, outgoing, .. } = flow.key;
        let joined =
            self.trial().filter(|trial| trial.group().addr() == group && !outgoing && vlan.is_none());
        joined.is_some_and(|trial| trial.joined.contains(&interface))
            && !self.before.is_joined(group, interface)
            && socket.takes(flow, &self.before)
    }

    /// Returns why the sockets of the examined program would not take a flow, even though something else keeps it from
    /// them.
    pub(crate) fn blocked_ahead<'a>(&'a self, flow: &'a Flow) -> Vec<Blocked<'a>> {
        let sets = self.socket_sets();
        let with_flow = |blocked: Blocked<'a>| Blocked { flows: vec![flow], ..blocked };
        let refused = |set: &SocketSet<'a>| self.refused(set, Arrival::of(flow), set.severity);
        sets.iter().flat_map(refused).map(with_flow).collect()
    }

    fn blocked_in<'a>(&'a self, set: &SocketSet<'a>) -> Vec<Blocked<'a>> {
        let mut all: Vec<Blocked<'a>> = Vec::new();
        for flow in self.arriving(set) {
            for blocked in self.refused(set, Arrival::of(flow), set.severity) {
                match all.iter_mut().find(|known| known.is_like(&blocked)) {
                    Some(known) => known.flows.push(flow),
                    None => all.push(Blocked { flows: vec![flow], ..blocked }),
                }
            }
        }
        // If other groups arrive, one that cannot be received may be joined for another purpose.
        let severity = if set.receives_any(&self.before) { Severity::Warning } else { set.severity };
        for (to, interfaces) in set.destinations() {
            let is_known = all.iter().any(|known| known.to == to);
            let arrival = |interface: &InterfaceIndex| Arrival { to, source: None, interface: *interface };
            let is_received = || interfaces.iter().any(|each| set.takes(&arrival(each), &self.before));
            if let Some(first) = interfaces.first().filter(|_| !is_known && !is_received()) {
                all.extend(self.refused(set, arrival(first), severity));
            }
        }
        all
    }

    /// Returns the sockets on the port that refuse a datagram, if none of the program's takes it.
    fn refused<'a>(&'a self, set: &SocketSet<'a>, arrival: Arrival, severity: Severity) -> Vec<Blocked<'a>> {
        if set.takes(&arrival, &self.before) {
            return Vec::new();
        }
        let Arrival { to, interface, .. } = arrival;
        // If the socket that has joined the group is on the port, it should receive, and the others are for something else.
        let is_member = |socket: &&ProgramSocket| {
            let joined = socket.interests().any(|own| own.destination() == to && own.interface == interface);
            joined && socket.refusal(&arrival, &self.before) != Some(Refusal::Port)
        };
        let has_member = set.sockets.iter().copied().any(|socket| is_member(&socket));
        let concerned = set.sockets.iter().copied().filter(move |socket| !has_member || is_member(socket));
        let refusing = concerned.flat_map(|socket| {
            let refusals = socket.refusals(&arrival, &self.before).into_iter();
            refusals.filter(|refusal| *refusal != Refusal::Port).map(|refusal| Blocked {
                program: set.name,
                socket,
                refusal,
                to,
                interface,
                flows: Vec::new(),
                severity,
            })
        });
        refusing.collect()
    }

    /// Returns the flows that arrive for a program: to a group that it has joined, or a socket of it is bound to, on an
    /// interface on which the group is joined.
    fn arriving<'a>(&'a self, set: &SocketSet<'a>) -> Vec<&'a Flow> {
        let is_wanted = |flow: &&Flow| {
            let key = &flow.key;
            let joins =
                set.memberships().any(|(group, interface)| (group, interface) == (key.group, key.interface));
            let is_bound = set.sockets.iter().any(|socket| socket.bound_group() == Some(key.group));
            let is_joined = || self.before.is_joined(key.group, key.interface);
            !key.outgoing
                && key.vlan.is_none()
                && set.destination.is_none_or(|only| only == flow.destination())
                && (joins || ((is_bound || set.relies_on_others(flow)) && is_joined()))
        };
        self.wire.flows.iter().filter(is_wanted).collect()
    }

    fn socket_sets(&self) -> Vec<SocketSet<'_>> {
        match &self.target {
            ExaminationTarget::Program(program) if program.is_one => vec![SocketSet {
                name: &program.name,
                sockets: program.sockets.iter().collect(),
                severity: Severity::Fault,
                destination: None,
            }],
            ExaminationTarget::Program(program) => by_owner(&program.sockets, Severity::Fault, None),
            ExaminationTarget::Membership(trial) => {
                by_owner(&trial.other_sockets, Severity::Warning, Some(trial.destination()))
            }
            ExaminationTarget::Machine => {
                let sets = self.programs.iter();
                sets.flat_map(|program| by_owner(&program.sockets, Severity::Warning, None)).collect()
            }
            ExaminationTarget::File => Vec::new(),
        }
    }
}

fn by_owner(
    sockets: &[ProgramSocket],
    severity: Severity,
    destination: Option<SocketAddr>,
) -> Vec<SocketSet<'_>> {
    let mut sets: BTreeMap<&str, Vec<&ProgramSocket>> = BTreeMap::new();
    for socket in sockets {
        sets.entry(&socket.owner).or_default().push(socket);
    }
    let set = |(name, sockets)| SocketSet { name, sockets, severity, destination };
    sets.into_iter().map(set).collect()
}

impl<'a> SocketSet<'a> {
    fn examined(self) -> impl Iterator<Item = ExaminedSocket<'a>> {
        let Self { name: program, sockets, severity, destination } = self;
        let is_chosen = move |socket: &&ProgramSocket| {
            destination.is_none_or(|only| socket.interests().any(|interest| interest.destination() == only))
        };
        let examined = move |socket| ExaminedSocket { program, socket, severity };
        sockets.into_iter().filter(is_chosen).map(examined)
    }

    fn takes(&self, arrival: &Arrival, machine: &Snapshot) -> bool {
        self.sockets.iter().any(|socket| socket.refusal(arrival, machine).is_none())
    }

    /// Returns the joined groups, with their interfaces.
    fn memberships(&self) -> impl Iterator<Item = (IpAddr, InterfaceIndex)> {
        let memberships = self.sockets.iter().flat_map(|socket| &socket.memberships);
        memberships.filter_map(|membership| Some((membership.address.group.addr(), index_of(membership)?)))
    }

    /// Returns the joined groups and ports, each with the interfaces on which they are joined. A socket without a port
    /// joins for the others.
    fn destinations(&self) -> BTreeMap<SocketAddr, Vec<InterfaceIndex>> {
        let mut destinations: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for socket in &self.sockets {
            for membership in &socket.memberships {
                let Some(interface) = index_of(membership) else { continue };
                let own = socket.local.map(|local| local.port()).filter(|port| *port != 0);
                let others = self.sockets.iter().filter(|other| other.memberships.is_empty());
                let others = others.filter_map(|other| other.local.map(|local| local.port()));
                for port in own.map_or_else(|| others.collect(), |port| vec![port]) {
                    let to = SocketAddr::new(membership.address.group.addr(), port);
                    if self.destination.is_none_or(|only| only == to) {
                        destinations.entry(to).or_default().push(interface);
                    }
                }
            }
        }
        destinations
    }

    /// Returns whether a socket of the program is bound to the port of a flow and has turned off groups that only other sockets have
    /// joined, while the program has joined none itself by the sockets that are examined: it joins by another socket.
    fn relies_on_others(&self, flow: &Flow) -> bool {
        let family = Family::of(flow.key.group);
        let is_reader = |socket: &ProgramSocket| {
            let is_wildcard = |local: SocketAddr| {
                local.port() == flow.key.port
                    && (local.ip().is_unspecified() || socket.peer.is_some())
                    // An IPv6 socket never receives IPv4 groups of others, which the program has not chosen.
                    && Family::of(local.ip()) == family
            };
            socket.own_groups_only.contains(&family) && socket.local.is_some_and(is_wildcard)
        };
        self.memberships().next().is_none() && self.sockets.iter().any(|socket| is_reader(socket))
    }

    /// Returns whether any group that the program has joined can be received.
    fn receives_any(&self, machine: &Snapshot) -> bool {
        let destinations = self.destinations();
        let mut arrivals = destinations.iter().flat_map(|(to, interfaces)| {
            interfaces.iter().map(|interface| Arrival { to: *to, source: None, interface: *interface })
        });
        arrivals.any(|arrival| self.takes(&arrival, machine))
    }
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;
    use mcast_sys::SocketOptions;

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, flow, joined_socket, machine, program};

    const TO: &str = "239.1.2.3:5000";

    fn refusal(change: impl FnOnce(&mut ProgramSocket), to: &str) -> Option<Refusal> {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        change(&mut socket);
        let source = Some("10.9.0.1:6000".parse().unwrap());
        let arrival = Arrival { to: to.parse().unwrap(), source, interface: ETH0 };
        socket.refusal(&arrival, &machine())
    }

    fn local(address: &str) -> impl FnOnce(&mut ProgramSocket) {
        move |socket| socket.local = Some(address.parse().unwrap())
    }

    #[test]
    fn only_the_socket_that_has_joined_is_to_blame_if_it_is_on_the_port() {
        let options = |v6_only| {
            Some(SocketOptions {
                family: Family::V6,
                v6_only,
                bound_interface: None,
                receive_buffer: 0,
                filter: None,
                encapsulation: None,
                groups: std::collections::BTreeMap::new(),
            })
        };
        let bound = Some("[::]:5000".parse().unwrap());
        let joined = joined_socket(ETH0, SourceFilter::ANY);
        let member = ProgramSocket { local: bound, options: options(true), ..joined.clone() };
        let none = ProgramSocket { memberships: Vec::new(), memberships_after: Vec::new(), ..joined };
        let own_groups_only = [Family::V4].into();
        let other =
            ProgramSocket { inode: 10, local: bound, options: options(false), own_groups_only, ..none };
        let flows = || vec![flow(ETH0, "10.9.0.1:6000", TO)];
        let refusals = |sockets| {
            let observation = program(sockets, flows());
            observation
                .blocked()
                .iter()
                .map(|blocked| (blocked.socket.inode, blocked.refusal))
                .collect::<Vec<_>>()
        };
        assert_eq!(refusals(vec![member.clone(), other.clone()]), [(9, Refusal::Family)]);
        let joiner = ProgramSocket { local: None, ..member };
        assert_eq!(refusals(vec![joiner, other]), [(10, Refusal::Membership)], "that joins for the other");
    }

    #[test]
    fn sockets_take_what_the_kernel_delivers_to_them() {
        let v6_only = |socket: &mut ProgramSocket| {
            socket.local = Some("[::]:5000".parse().unwrap());
            socket.options = Some(SocketOptions {
                family: Family::V6,
                v6_only: true,
                bound_interface: None,
                receive_buffer: 0,
                filter: None,
                encapsulation: None,
                groups: BTreeMap::new(),
            });
        };
        let peer = "10.9.0.1:6001".parse().unwrap();
        assert_eq!(refusal(|_| {}, TO), None);
        assert_eq!(refusal(local(TO), TO), None);
        assert_eq!(refusal(local("[::]:5000"), TO), None);
        assert_eq!(refusal(v6_only, TO), Some(Refusal::Family));
        assert_eq!(refusal(local("[fd09::2]:5000"), TO), Some(Refusal::Family));
        assert_eq!(refusal(local("0.0.0.0:5000"), "[ff15::1]:5000"), Some(Refusal::Family));
        assert_eq!(refusal(local("0.0.0.0:5001"), TO), Some(Refusal::Port));
        assert_eq!(refusal(|socket| socket.local = None, TO), Some(Refusal::Port));
        assert_eq!(refusal(|socket| socket.peer = Some(peer), TO), Some(Refusal::Peer(peer)));
        let unicast = "10.9.0.2:5000".parse().unwrap();
        assert_eq!(refusal(|socket| socket.local = Some(unicast), TO), Some(Refusal::Address(unicast)));
        assert_eq!(refusal(|socket| socket.bound_interface = Some(ETH0), TO), None);
        let bound = |socket: &mut ProgramSocket| socket.bound_interface = Some(ETH1);
        assert_eq!(refusal(bound, TO), Some(Refusal::Interface(ETH1)));
    }

    #[test]
    fn membership_of_the_socket_itself_decides_if_it_has_one() {
        let other = SourceFilter::Include(["10.9.0.9".parse().unwrap()].into());
        let source = |socket: &mut ProgramSocket| *socket = joined_socket(ETH0, other);
        assert_eq!(refusal(source, TO), Some(Refusal::Source));
        let own = |socket: &mut ProgramSocket| {
            socket.own_groups_only.insert(Family::V4);
        };
        assert_eq!(refusal(own, TO), None);
        assert_eq!(refusal(own, "239.9.9.9:5000"), Some(Refusal::Membership));
        assert_eq!(refusal(|_| {}, "239.9.9.9:5000"), None);
    }

    #[test]
    fn one_socket_for_each_interface_is_fine() {
        let socket = |inode, interface| ProgramSocket {
            inode,
            bound_interface: Some(interface),
            ..joined_socket(interface, SourceFilter::ANY)
        };
        let flows = || vec![flow(ETH0, "10.9.0.1:6000", TO), flow(ETH1, "10.8.0.1:6000", TO)];
        let both = program(vec![socket(1, ETH0), socket(2, ETH1)], flows());
        assert!(both.blocked().is_empty(), "{:?}", both.blocked());
        let mut swapped = vec![socket(1, ETH0), socket(2, ETH1)];
        swapped[0].bound_interface = Some(ETH1);
        let observation = program(swapped, flows());
        let blocked = observation.blocked();
        assert!(blocked.iter().all(|one| one.interface == ETH0 && one.flows.len() == 1), "{blocked:?}");
        let sockets: Vec<_> = blocked.iter().map(|one| one.socket.inode).collect();
        assert_eq!(sockets, [1], "the other one receives what it has joined");
    }

    #[test]
    fn membership_on_more_interfaces_than_the_socket_receives_from_is_fine_until_something_arrives() {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        socket.memberships.extend(joined_socket(ETH1, SourceFilter::ANY).memberships);
        socket.bound_interface = Some(ETH0);
        let blocked = |flows| program(vec![socket.clone()], flows).blocked().len();
        assert_eq!(blocked(Vec::new()), 0);
        assert_eq!(blocked(vec![flow(ETH0, "10.9.0.1:6000", TO)]), 0);
        assert_eq!(blocked(vec![flow(ETH1, "10.8.0.1:6000", TO)]), 1);
    }
}
