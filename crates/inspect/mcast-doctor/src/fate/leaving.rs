//! What this machine sends to groups and what does not leave it as it should.
//!
//! Of datagrams that are dropped on their way out, a capture shows nothing. The temporary rules at the output hook count them, so
//! that the socket that sends them, and the rules behind, can be judged all the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mcast::{Family, InterfaceIndex};
use mcast_sys::GroupOptions;

use crate::causes::filter_rules::{OUTGOING, ends, leaving};
use crate::causes::routes::{missing_routes, usable};
use crate::netfilter::{Hook, HookCount, KnownPacket, Layer};
use crate::observation::Observation;
use crate::snapshot::{Link, UdpSocket};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity};

/// Of fewer datagrams, the last may have been on their way when listening ended.
const MIN_DATAGRAMS: u64 = 3;

/// Datagrams that reached the output hook, and of which almost none left by their interface. A few may leave before the doctor
/// joins their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) interface: InterfaceIndex,
    pub(crate) source: SocketAddr,
    pub(crate) to: SocketAddr,
    /// How many reached the output hook.
    pub(crate) datagrams: u64,
    left: u64,
    /// The last hook that they reached.
    pub(crate) last: Hook,
}

/// Returns the examined datagrams of this machine that do not leave it.
pub(crate) fn unsent(observation: &Observation) -> Vec<Unsent> {
    let at_output = observation.hooks.counts.iter().filter(|count| {
        (count.layer, count.hook) == (Layer::Ip, Hook::Output) && count.reached >= MIN_DATAGRAMS
    });
    at_output.filter_map(|count| of_count(observation, count)).collect()
}

fn of_count(observation: &Observation, count: &HookCount) -> Option<Unsent> {
    let (source, to) = ends(observation, count)?;
    let is_outside = observation.link(count.interface).is_some_and(|link| !link.interface.loopback);
    // A capture that missed frames does not show that none left.
    let is_captured = observation.wire.is_complete(count.interface);
    let is_this = |flow: &Flow| {
        flow.key.interface == count.interface
            && flow.key.source.port() == source.port()
            && flow.destination() == to
    };
    let left = observation.wire.outgoing(to.ip()).filter(|flow| is_this(flow));
    let left: u64 = left.map(|flow| flow.datagrams).sum();
    let leaves = left.saturating_mul(10) > count.reached;
    if !is_outside || !is_captured || leaves || !observation.after.is_own(source.ip()) {
        return None;
    }
    let is_reached = |(layer, hook): &(Layer, Hook)| {
        observation.hooks.counts.iter().any(|other| {
            (other.layer, other.hook, other.traffic) == (*layer, *hook, count.traffic)
                && (other.interface, other.peer) == (count.interface, count.peer)
                && other.reached > 0
        })
    };
    let last = OUTGOING.into_iter().rev().find(is_reached).map_or(Hook::Output, |(_, hook)| hook);
    Some(Unsent { interface: count.interface, source, to, datagrams: count.reached, left, last })
}

impl Unsent {
    pub(crate) fn family(&self) -> Family {
        Family::of(self.to.ip())
    }

    /// Returns the datagrams that the output hook counted.
    pub(crate) fn evidence(&self) -> Evidence {
        let Self { datagrams, left, source, to, .. } = self;
        let counted = format!("{datagrams} datagrams from {source} to {to} reached it, {left} left");
        Evidence::new(EvidenceKind::Counter, "hook output", counted)
    }

    /// Returns the sockets that may send them, if all of them have an option set in this way.
    pub(crate) fn sockets<'a>(
        &self,
        observation: &'a Observation,
        is_set: impl Fn(&GroupOptions) -> bool,
    ) -> Vec<&'a UdpSocket> {
        let machine = &observation.before;
        let is_sender = |socket: &&UdpSocket| {
            let local = socket.local;
            let may_send = local.is_ipv6() || self.to.is_ipv4();
            local.port() == self.source.port() && may_send
        };
        let sockets: Vec<_> = machine.udp_sockets.iter().filter(is_sender).collect();
        let has_option = |socket: &&UdpSocket| {
            let options = machine.socket_options.get(&socket.inode);
            options.and_then(|options| options.groups.get(&self.family())).is_some_and(&is_set)
        };
        // Which of several sockets on a port sends is not known.
        if sockets.iter().all(has_option) { sockets } else { Vec::new() }
    }
}

/// Datagrams of this machine that should leave by an interface and do not get there: they leave by another, or there is no route.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) link: &'a Link,
    /// One of them, as it would leave.
    pub(crate) packet: KnownPacket,
    /// `None` if the group of a program that sends nothing is not known.
    pub(crate) to: Option<SocketAddr>,
    /// That of the fault that keeps them from the interface.
    pub(crate) severity: Severity,
}

/// Returns what a sender sends by another interface than it should, or cannot send for lack of a route, if a fault is about it.
pub(crate) fn elsewhere<'a>(observation: &'a Observation, fault: &Finding) -> Vec<Elsewhere<'a>> {
    match fault.id {
        Id::SentByOtherInterface => by_other_interface(observation, fault).into_iter().collect(),
        // Without a count, it is not known that anything is sent.
        Id::NoRoute if fault.evidence.iter().any(|each| each.kind == EvidenceKind::Counter) => {
            unsent_of(observation, fault, missing_routes(observation))
        }
        // Of a program whose socket cannot send, and of what IPsec drops, the group is not known.
        Id::NoSuchInterface | Id::Ipv6NotReady | Id::PolicyRule | Id::DroppedWhenSending
            if fault.severity == Severity::Fault && fault.subject.groups.is_empty() =>
        {
            unsent_of(observation, fault, sending_families(observation))
        }
        _ => Vec::new(),
    }
}

/// Returns the families in which the examined program may send: of a socket of both, only IPv6 is certain.
fn sending_families(observation: &Observation) -> impl Iterator<Item = Family> {
    let sockets = observation.program().into_iter().flat_map(|program| &program.sockets);
    let local = sockets.filter(|socket| socket.never_joined()).filter_map(|socket| socket.local);
    let families: BTreeSet<_> = local.map(|local| Family::of(local.ip())).collect();
    families.into_iter()
}

fn by_other_interface<'a>(observation: &'a Observation, fault: &Finding) -> Option<Elsewhere<'a>> {
    let is_fault = fault.severity == Severity::Fault;
    let to = fault.subject.groups.first().filter(|_| is_fault)?.socket_address()?;
    let link = observation.link(*observation.trial()?.joined.first()?)?;
    // The sender takes the address of the other interface.
    let address = link.interface.addresses_of(Family::of(to.ip())).next()?;
    let source = SocketAddr::new(address, fault.subject.sources.first()?.port?);
    let packet = leaving(observation, link.index(), source, to);
    Some(Elsewhere { link, packet, to: Some(to), severity: Severity::Fault })
}

/// Returns what cannot be sent, as it would leave by the interface that is used for groups of these families otherwise.
fn unsent_of<'a>(
    observation: &'a Observation,
    fault: &Finding,
    families: impl Iterator<Item = Family>,
) -> Vec<Elsewhere<'a>> {
    let to = fault.subject.groups.first().and_then(|group| group.socket_address());
    let families = families.filter(|family| to.is_none_or(|to| Family::of(to.ip()) == *family));
    let named = || {
        let mut links = observation.after.links.iter();
        links.find(|link| link.is_of_the_host() && fault.subject.has_interface(link.name()))
    };
    let unsent = |family| {
        let link = usable(observation, family).or_else(named)?;
        let packet = to.map_or_else(|| KnownPacket::to_any_group(family), KnownPacket::from_anyone);
        let packet = packet.leaving_by(link.index(), link.name());
        Some(Elsewhere { link, packet, to, severity: fault.severity })
    };
    families.filter_map(unsent).collect()
}

/// Returns whether a fault explains why datagrams do not leave.
pub(crate) fn explains(observation: &Observation, fault: &Finding, unsent: &Unsent) -> bool {
    fault.severity == Severity::Fault
        && matches!(fault.id, Id::TtlTooSmall | Id::FirewallDropsOutput)
        && fault.subject.has_interface(&observation.link_name(unsent.interface))
        && fault.subject.has_group(unsent.to)
}
