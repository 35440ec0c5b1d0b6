//! What becomes of a datagram: everything that keeps it from its program, in the order of the kernel.
//!
//! A datagram that is dropped early leaves no trace in the counters of what is behind. Each cause therefore states in its row of
//! the table of causes at which [`Stage`] it acts, how it is seen in what was observed, and how it is predicted from settings for
//! a datagram that does not get to it yet. [`fate`] puts both together for one way.

pub(crate) mod depth;
pub(crate) mod forwarding;
pub(crate) mod leaving;
pub(crate) mod sockets;
mod stage;
mod tags;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::causes::filter_rules::arriving;
use crate::netfilter::{Hook, KnownPacket};
use crate::observation::{Interest, Observation};
use crate::wire::{Flow, FlowKey};
use crate::{Finding, Id, Severity};
use leaving::{Elsewhere, Unsent};
use sockets::{Blocked, Refusal};
pub(crate) use stage::Stage;
pub(crate) use tags::behind_tags;

/// How an obstacle is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It is the first in the way: what is lost shows it.
    Observed,
    /// It is behind another, and from its settings certain to take the datagrams as soon as that is gone.
    Predicted,
}

/// Something that keeps the datagrams of a way from their program.
#[derive(Clone, Debug)]
pub(crate) struct Obstacle<'a> {
    pub(crate) finding: Cow<'a, Finding>,
    pub(crate) sight: Sight,
}

/// The way of datagrams that do not get to where they should.
#[derive(Clone, Debug)]
pub(crate) enum Way<'a> {
    /// They arrive. `meant` is what they should be: it is for another group if their sender is wrong.
    Arriving { seen: &'a Flow, meant: &'a Flow },
    /// Nothing of them is captured.
    Silent(Interest<'a>),
    /// They arrive at this router, which does not get to forwarding them.
    Routed(&'a Flow),
    /// This machine sends them, and they do not leave it.
    Leaving(Unsent),
    /// This machine sends them by another interface than it should, or has no route for them.
    Elsewhere(Elsewhere<'a>),
}

/// A way, as a cause is asked about it that its datagrams do not reach yet: would it take them?
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead<'a> {
    pub(crate) observation: &'a Observation,
    pub(crate) way: &'a Way<'a>,
    /// What was observed on the way, and what is predicted for earlier stages.
    pub(crate) obstacles: &'a [Obstacle<'a>],
}

impl Ahead<'_> {
    /// Returns the faults that were observed on the way.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.of_sight(Sight::Observed)
    }

    /// Returns whether a fault of this cause was observed on the way.
    pub(crate) fn has(&self, id: Id) -> bool {
        self.faults().any(|fault| fault.id == id)
    }

    /// Returns whether datagrams to the wrong port are all that is known: they are dropped last, so that the filters before
    /// have counted what they drop. What changes the destination has counted nothing.
    pub(crate) fn is_only_last(&self) -> bool {
        self.faults().all(|fault| fault.id == Id::WrongPort)
            && self.of_sight(Sight::Predicted).all(|finding| finding.id == Id::Redirected)
    }

    fn of_sight(&self, sight: Sight) -> impl Iterator<Item = &Finding> {
        let of_sight = self.obstacles.iter().filter(move |obstacle| obstacle.sight == sight);
        of_sight.map(|obstacle| &*obstacle.finding)
    }

    /// Returns the sockets of the examined program that would not take what arrives.
    pub(crate) fn blocked(&self) -> Vec<Blocked<'_>> {
        let Way::Arriving { meant, .. } = self.way else { return Vec::new() };
        if self.observation.program().is_none() {
            return Vec::new();
        }
        // Without a member, the program has to join.
        let is_joined = self.observation.before.is_joined(meant.key.group, meant.key.interface);
        let mut blocked = self.observation.blocked_ahead(meant);
        blocked.retain(|blocked| is_joined || blocked.refusal != Refusal::Membership);
        blocked
    }
}

/// Returns everything that keeps the datagrams of a way from their program, in the order in which it acts, of which these faults
/// were observed. Without a fault, nothing does.
pub(crate) fn fate<'a>(
    observation: &Observation,
    way: &Way<'_>,
    faults: impl IntoIterator<Item = &'a Finding>,
) -> Vec<Obstacle<'a>> {
    let observed = |fault| Obstacle { finding: Cow::Borrowed(fault), sight: Sight::Observed };
    let mut obstacles: Vec<_> = faults.into_iter().map(observed).collect();
    if obstacles.is_empty() {
        return obstacles;
    }
    for id in Stage::causes() {
        let predicted = id.predicted(&Ahead { observation, way, obstacles: &obstacles });
        obstacles.extend(
            predicted
                .into_iter()
                .map(|finding| Obstacle { finding: Cow::Owned(finding), sight: Sight::Predicted }),
        );
    }
    obstacles.sort_by_key(|obstacle| Stage::of(&obstacle.finding));
    obstacles
}

/// Returns the faults behind those that were found.
pub(crate) fn predicted(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    let mut reported = BTreeSet::new();
    let meant: Vec<_> = found.iter().flat_map(|finding| meant(observation, finding)).collect();
    let ways = ways(observation, found, &meant);
    let obstacles = ways.iter().flat_map(|(way, faults)| fate(observation, way, faults.iter().copied()));
    let predicted = obstacles.filter(|obstacle| obstacle.sight == Sight::Predicted);
    predicted
        .map(|obstacle| obstacle.finding.into_owned())
        // The rule that takes what leaves by one interface may be the one that is found at another.
        .filter(|finding| {
            let is_own = |own: &Finding| own.names_the_rule_of(finding);
            finding.id != Id::FirewallDropsOutput || !found.iter().any(is_own)
        })
        .filter(|finding| {
            let subject = &finding.subject;
            let hook = finding.hook.map(Hook::name);
            reported.insert((finding.id, hook, subject.interfaces.clone(), subject.groups.clone()))
        })
        .collect()
}

/// Returns the ways of the datagrams that do not get to where they should, each with the faults that were observed on it.
fn ways<'a>(
    observation: &'a Observation,
    found: &'a [Finding],
    meant: &'a [(&'a Flow, Flow)],
) -> Vec<(Way<'a>, Vec<&'a Finding>)> {
    let mut ways = Vec::new();
    let arriving = arriving_flows(observation);
    let is_lost = |flow: &Flow| !arriving.contains(&(flow.destination(), flow.key.source));
    let incoming: Vec<_> = observation.wire.flows.iter().filter(|flow| !flow.key.outgoing).collect();
    let faults_of = |flow: &Flow| -> Vec<&Finding> {
        found.iter().filter(|finding| takes(observation, finding, flow)).collect()
    };
    let as_seen = incoming.iter().map(|flow| (*flow, *flow));
    let as_meant = meant.iter().map(|(seen, meant)| (*seen, meant));
    for (seen, meant) in as_seen.chain(as_meant).filter(|(seen, _)| is_lost(seen)) {
        ways.push((Way::Arriving { seen, meant }, faults_of(meant)));
    }
    for fault in found {
        let hidden = hidden(observation, fault).into_iter();
        ways.extend(hidden.map(|interest| (Way::Silent(interest), found.iter().collect())));
        let elsewhere = leaving::elsewhere(observation, fault).into_iter();
        ways.extend(elsewhere.map(|sent| (Way::Elsewhere(sent), vec![fault])));
    }
    for flow in incoming.into_iter().filter(|flow| observation.is_to_be_routed(flow)) {
        let faults: Vec<_> =
            found.iter().filter(|fault| keeps_from_forwarding(observation, fault, flow)).collect();
        ways.push((Way::Routed(flow), faults));
    }
    for unsent in leaving::unsent(observation) {
        let faults = found.iter().filter(|fault| leaving::explains(observation, fault, &unsent)).collect();
        ways.push((Way::Leaving(unsent), faults));
    }
    ways
}

/// Returns whether a router does not get to forwarding a flow because of a finding.
fn keeps_from_forwarding(observation: &Observation, finding: &Finding, flow: &Flow) -> bool {
    match finding.id {
        Id::NoMulticastRoute => is_about(observation, finding, flow),
        // It names the interface that the route expects.
        Id::RouterWrongInterface => {
            let subject = &finding.subject;
            subject.has_group(flow.destination()) && subject.has_source(flow.key.source)
        }
        _ => Stage::of(finding).is_before_routing() && takes(observation, finding, flow),
    }
}

/// Returns whether a finding is about the interface, group and source of a flow.
fn is_about(observation: &Observation, finding: &Finding, flow: &Flow) -> bool {
    let subject = &finding.subject;
    subject.has_interface(&observation.link_name(flow.key.interface))
        && subject.has_group(flow.destination())
        && subject.has_source(flow.key.source)
}

/// Returns the flows that are sent to another group than was meant, each with what was meant.
fn meant<'a>(observation: &'a Observation, finding: &Finding) -> Vec<(&'a Flow, Flow)> {
    let to = finding.subject.groups.first().and_then(|group| group.socket_address());
    let Some(to) = to.filter(|_| finding.id == Id::SentToAnotherGroup) else { return Vec::new() };
    let is_this = |flow: &&Flow| {
        !flow.key.outgoing
            && finding.subject.has_source(flow.key.source)
            && finding.subject.has_interface(&observation.link_name(flow.key.interface))
    };
    let as_meant = |flow: &'a Flow| {
        let key = FlowKey { group: to.ip(), port: to.port(), ..flow.key };
        let mut meant = flow.clone();
        meant.key = key;
        (flow, meant)
    };
    observation.wire.flows.iter().filter(is_this).map(as_meant).collect()
}

/// Returns the interests of which a fault keeps everything from being captured.
fn hidden<'a>(observation: &'a Observation, fault: &Finding) -> Vec<Interest<'a>> {
    let hides = matches!(fault.id, Id::XdpDrops | Id::InterfaceDown) && fault.severity == Severity::Fault;
    let is_hidden = |interest: &Interest<'_>| {
        fault.subject.has_interface(&observation.link_name(interest.interface))
            && fault.subject.has_group(interest.destination())
    };
    let mut interests = observation.interests();
    interests.retain(|interest| hides && is_hidden(interest));
    interests
}

/// Returns a datagram of a flow. A source that the system refuses has to change, so that it is not known.
pub(crate) fn as_known(observation: &Observation, flow: &Flow) -> KnownPacket {
    match has_usable_source(observation, flow) {
        true => arriving(observation, flow),
        false => KnownPacket::from_anyone(flow.destination())
            .arriving_on(flow.key.interface, &observation.link_name(flow.key.interface)),
    }
}

/// Returns whether the system accepts the source of a flow.
pub(crate) fn has_usable_source(observation: &Observation, flow: &Flow) -> bool {
    let source = flow.key.source.ip();
    !source.is_unspecified() && !observation.before.is_own(source)
}

/// Returns whether a finding keeps a flow from arriving, or would if it were expected.
fn takes(observation: &Observation, finding: &Finding, flow: &Flow) -> bool {
    let (to, subject) = (flow.destination(), &finding.subject);
    // The group arrives on another port than the one that was examined.
    let is_any_port = finding.id == Id::WrongPort;
    let of_group = || {
        let is_group = subject.groups.iter().any(|own| own.address == to.ip());
        !subject.groups.is_empty() && (subject.has_group(to) || (is_any_port && is_group))
    };
    let has_group = match finding.flows.as_slice() {
        [] => of_group(),
        flows => flows.iter().any(|own| {
            own.destination == to && own.source.is_none_or(|source| source == flow.key.source.ip())
        }),
    };
    finding.severity == Severity::Fault
        && finding.id.loses_datagrams()
        && subject.has_interface(&observation.link_name(flow.key.interface))
        && has_group
}

/// Returns the destinations and sources of the flows of which datagrams are received all the same.
fn arriving_flows(observation: &Observation) -> BTreeSet<(SocketAddr, SocketAddr)> {
    let expected = observation.expected_flows().into_iter().map(|expected| expected.status);
    let arriving = expected.filter(|status| status.depth == crate::Depth::Arrives || status.some_arrive);
    arriving.filter_map(|status| Some((status.destination, status.source?))).collect()
}
