//! What programs of this machine send and what does not leave it: what else would keep it here, behind the first fault.
//!
//! Of datagrams that are dropped on their way out, a capture shows nothing. The temporary rules at the output hook count them, so
//! that the socket that sends them, and the rules behind, can be judged all the same.

use std::net::SocketAddr;

use mcast::{Family, InterfaceIndex};
use mcast_sys::GroupOptions;

use super::filter_rules::{OUTGOING, dropping_beside, ip_sets, leaving, met_by};
use super::sending;
use crate::finding::Subject;
use crate::netfilter::{Hook, HookCount, KnownPacket, Layer, Outcome, RuleEffect};
use crate::observation::Observation;
use crate::snapshot::{Link, UdpSocket};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, remedies};

/// Of fewer datagrams, the last may have been on their way when listening ended.
const MIN_DATAGRAMS: u64 = 3;

/// Datagrams that reached the output hook, and of which almost none left by their interface. A few may leave before the doctor
/// joins their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    pub(super) interface: InterfaceIndex,
    pub(super) source: SocketAddr,
    pub(super) to: SocketAddr,
    /// How many reached the output hook.
    pub(super) datagrams: u64,
    left: u64,
    /// The last hook that they reached.
    last: Hook,
}

/// Returns the examined datagrams of this machine that do not leave it.
pub(super) fn unsent(observation: &Observation) -> Vec<Unsent> {
    let at_output = observation.hooks.counts.iter().filter(|count| {
        (count.layer, count.hook) == (Layer::Ip, Hook::Output) && count.reached >= MIN_DATAGRAMS
    });
    at_output.filter_map(|count| of_count(observation, count)).collect()
}

fn of_count(observation: &Observation, count: &HookCount) -> Option<Unsent> {
    let (source, to) = sending::ends(observation, count)?;
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
    pub(super) fn family(&self) -> Family {
        Family::of(self.to.ip())
    }

    /// Returns the datagrams that the output hook counted.
    pub(super) fn evidence(&self) -> Evidence {
        let Self { datagrams, left, source, to, .. } = self;
        let counted = format!("{datagrams} datagrams from {source} to {to} reached it, {left} left");
        Evidence::new(EvidenceKind::Counter, "hook output", counted)
    }

    /// Returns the sockets that may send them, if all of them have an option set in this way.
    pub(super) fn sockets<'a>(
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

/// Returns the rules that would drop what this machine sends, behind a fault that keeps it here or sends it elsewhere.
pub(super) fn ahead(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    let unsent = unsent(observation);
    let behind = unsent.iter().filter(|unsent| is_explained(observation, found, unsent));
    let behind = behind.flat_map(|unsent| rules_behind(observation, unsent));
    let findings = behind.chain(found.iter().flat_map(|finding| elsewhere(observation, finding)));
    findings.filter(|finding| !found.iter().any(|own| names_the_rule_of(own, finding))).collect()
}

/// Returns whether a fault explains why datagrams do not leave.
fn is_explained(observation: &Observation, found: &[Finding], unsent: &Unsent) -> bool {
    let (interface, to) = (observation.link_name(unsent.interface), unsent.to.to_string());
    found.iter().any(|finding| {
        let Subject { interface: own, group, .. } = &finding.subject;
        finding.severity == Severity::Fault
            && matches!(finding.id, Id::TtlTooSmall | Id::FirewallDropsOutput)
            && own.as_ref().is_none_or(|own| *own == interface)
            && group.as_ref().is_none_or(|group| *group == to)
    })
}

/// Returns the rules behind the last hook that datagrams reached, and those of other tables at this hook.
fn rules_behind(observation: &Observation, unsent: &Unsent) -> Vec<Finding> {
    let device = observation.link_name(unsent.interface);
    let packet = leaving(observation, unsent.interface, unsent.source, unsent.to);
    let behind = OUTGOING.into_iter().skip_while(|(_, hook)| *hook != unsent.last).skip(1);
    let mut rules: Vec<_> =
        behind.filter_map(|place| certain(observation, &packet, place, &device)).collect();
    let at_last = OUTGOING.into_iter().find(|(_, hook)| *hook == unsent.last);
    let first = at_last.and_then(|place| certain(observation, &packet, place, &device));
    rules.extend(first.and_then(|outcome| dropping_beside(observation, &packet, &outcome.rule, &device)));
    rules.iter().map(|outcome| finding(outcome, &device, Some(unsent.source), unsent.to)).collect()
}

/// Returns whether a finding has the rule of another as evidence.
fn names_the_rule_of(own: &Finding, other: &Finding) -> bool {
    let rules = |finding: &Finding| {
        let rules = finding.evidence.iter().filter(|evidence| evidence.kind == EvidenceKind::Rule);
        rules.map(|evidence| evidence.location.clone()).collect::<Vec<_>>()
    };
    let others = rules(other);
    own.id == other.id && rules(own).iter().any(|rule| others.contains(rule))
}

/// Returns the rules that would drop a group on the interface by which it should be sent, where the sender has chosen another.
fn elsewhere(observation: &Observation, fault: &Finding) -> Vec<Finding> {
    let is_fault = fault.id == Id::SentByOtherInterface && fault.severity == Severity::Fault;
    let to = fault.subject.group.as_ref().and_then(|group| group.parse::<SocketAddr>().ok());
    let trial = observation.trial().and_then(|trial| observation.link(*trial.joined.first()?));
    let (Some(to), Some(link)) = (to.filter(|_| is_fault), trial) else { return Vec::new() };
    let source = link.interface.addresses_of(Family::of(to.ip())).next();
    let port = fault.subject.source.as_ref().and_then(|source| source.parse::<SocketAddr>().ok());
    // The sender takes the address of the other interface.
    let (Some(address), Some(port)) = (source, port.map(|source| source.port())) else { return Vec::new() };
    let packet = leaving(observation, link.index(), SocketAddr::new(address, port), to);
    let rules = OUTGOING.into_iter().filter_map(|place| certain(observation, &packet, place, link.name()));
    rules.map(|outcome| finding(&outcome, link.name(), None, to)).collect()
}

/// Returns the rule of a hook that is certain to keep a packet from leaving.
fn certain(
    observation: &Observation,
    packet: &KnownPacket,
    place: (Layer, Hook),
    device: &str,
) -> Option<Outcome> {
    let effects = [RuleEffect::Drop, RuleEffect::Queue];
    let outcomes = met_by(observation, packet, place, device, &effects);
    outcomes.into_iter().find(|outcome| outcome.is_certain)
}

/// Returns the rule that is certain to refuse what this machine sends to a group by an interface, from whichever source.
pub(super) fn refused(observation: &Observation, link: &Link, to: SocketAddr) -> Option<Finding> {
    let packet = KnownPacket::from_anyone(to).leaving_by(link.index(), link.name());
    let mut places = OUTGOING.into_iter();
    let outcome = places.find_map(|place| certain(observation, &packet, place, link.name()))?;
    let rule = &outcome.rule;
    let cause = format!(
        "This machine's firewall drops what this machine sends to {to} by {}: `{}` matches it at the {} hook.",
        link.name(),
        rule.location(),
        rule.hook.name()
    );
    Some(of_rule(&outcome, link.name(), to, cause))
}

fn finding(outcome: &Outcome, device: &str, source: Option<SocketAddr>, to: SocketAddr) -> Finding {
    let rule = &outcome.rule;
    let cause = format!(
        "This machine's firewall drops what this machine sends to {to} by {device} as soon as it gets to its {} hook: `{}` matches it.",
        rule.hook.name(),
        rule.location()
    );
    source.into_iter().fold(of_rule(outcome, device, to, cause), Finding::from_source)
}

fn of_rule(outcome: &Outcome, device: &str, to: SocketAddr, cause: String) -> Finding {
    let rule = &outcome.rule;
    Finding::fault(Id::FirewallDropsOutput, cause)
        .on_interface(device)
        .for_group(to)
        .at_hook(rule.hook)
        .evidence(EvidenceKind::Rule, rule.location(), format!("at {}; matches", rule.hook.name()))
        .with_all_evidence(ip_sets(outcome))
        .with_remedies(remedies::admit_sent_datagrams(device, to, Some(rule)))
}
