//! Faults that hide behind others: what drops a flow as soon as the first fault is gone.
//!
//! A datagram that is dropped early leaves no trace in the counters of what is behind. Where that is known, it is evaluated for
//! a datagram of the flow: its frame, its source, the filters, its checksum, and the options of the socket.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::filter_rules::{INCOMING, arriving, arriving_for, loss_at};
use super::{
    Check, damage, early_filters, firewall_drops_data, frames, lost_before_this_machine, not_forwarded,
    order, programs, redirected, routes, sizes, sources, tunnels, unsent,
};
use crate::acceptance::{Blocked, Refusal};
use crate::finding::Subject;
use crate::netfilter::{Hook, KnownPacket, Layer};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::snapshot::explains;
use crate::wire::{Flow, FlowKey};
use crate::{Finding, Id, Severity};

/// Returns the faults behind those that were found, in the order in which they act.
pub(super) fn findings(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    let flows = observation.wire.flows.iter().filter(|flow| is_usable(flow));
    let arriving = arriving_flows(observation);
    let mut reported = BTreeSet::new();
    let lost = |flow: &Flow| !arriving.contains(&(flow.destination(), flow.key.source));
    let of_flows = flows.filter(|flow| lost(flow)).flat_map(|flow| behind(observation, (flow, flow), found));
    let meant = found.iter().flat_map(|finding| meant(observation, finding));
    let of_meant = meant
        .filter(|(flow, _)| lost(flow))
        .flat_map(|(flow, meant)| behind(observation, (flow, &meant), found));
    let incoming = observation.wire.flows.iter().filter(|flow| !flow.key.outgoing);
    let unrouted = incoming.flat_map(|flow| {
        found.iter().filter_map(|fault| not_forwarded::behind_missing_route(observation, fault, flow))
    });
    let unseen = found.iter().flat_map(|finding| behind_silence(observation, finding, found));
    of_flows
        .chain(of_meant)
        .chain(unseen)
        .chain(unrouted)
        .chain(unsent::ahead(observation, found))
        .filter(|finding| {
            let Subject { interface, group, .. } = finding.subject.clone();
            reported.insert((finding.id, finding.hook.map(Hook::name), interface, group))
        })
        .collect()
}

/// Returns the faults that flows with a tag would meet without it, and the tag as the first fault, if no interface of this machine
/// is in their VLAN. They are judged as if they had no tag.
pub(super) fn behind_tags(observation: &Observation, found: &[Finding]) -> Vec<Finding> {
    /// The faults that follow from tables and from what arrives: they are the same on an interface in the VLAN.
    const OF_TABLES: [Id; 6] = [
        Id::NotJoined,
        Id::JoinedOtherInterface,
        Id::SourceNotAdmitted,
        Id::OwnGroupsOnly,
        Id::WrongPort,
        Id::MembershipLimit,
    ];
    // On a trunk, other machines have the groups of all VLANs.
    let is_trunk = |key: &FlowKey| {
        let mut links = observation.after.links.iter();
        links.any(|link| link.lower == Some(key.interface) && link.is_vlan())
    };
    let is_tagged = |flow: &Flow| {
        let mut same = observation.wire.incoming(flow.key.group);
        let has_tag = |flow: &Flow| flow.key.vlan.is_some_and(|tagging| tagging.id != 0);
        !flow.key.outgoing && has_tag(flow) && !is_trunk(&flow.key) && same.all(has_tag)
    };
    let tagged: Vec<_> = observation.wire.flows.iter().filter(|flow| is_tagged(flow)).collect();
    let is_one =
        matches!(&observation.target, ExaminationTarget::Membership(_) | ExaminationTarget::Program(_));
    if tagged.is_empty() || !is_one {
        return Vec::new();
    }
    let mut untagged = observation.clone();
    let keys: Vec<_> = tagged.iter().map(|flow| &flow.key).collect();
    for flow in untagged.wire.flows.iter_mut().filter(|flow| keys.contains(&&flow.key)) {
        flow.key.vlan = None;
    }
    let judged = OF_TABLES.iter().flat_map(|id| id.cause().judge(&untagged));
    let is_new = |finding: &Finding| {
        finding.severity == Severity::Fault
            && tagged.iter().any(|flow| is_about(finding, flow))
            && !found.iter().any(|own| own.id == finding.id)
    };
    let mut findings: Vec<_> = judged.filter(is_new).collect();
    let is_hidden = |flow: &&&Flow| {
        let of_tables = |finding: &Finding| {
            finding.severity == Severity::Fault && OF_TABLES.contains(&finding.id) && is_about(finding, flow)
        };
        findings.iter().chain(found).any(of_tables)
    };
    let first = tagged.iter().find(is_hidden).filter(|_| !found.iter().any(|own| own.id == Id::VlanTagged));
    findings.extend(first.and_then(|flow| frames::of_flow(observation, flow)));
    findings
}

/// Returns whether a finding names the group of a flow.
fn is_about(finding: &Finding, flow: &Flow) -> bool {
    let group = flow.key.group.to_string();
    let named = finding.subject.group.iter().flat_map(|named| named.split(", "));
    let mut groups = named.map(|named| match named.parse::<SocketAddr>() {
        Ok(named) => named.ip().to_string(),
        Err(_) => named.to_owned(),
    });
    groups.any(|named| named == group)
}

/// Returns whether a flow arrives. Of datagrams in pieces, the first has the header of UDP: what takes it takes the datagram.
fn is_usable(flow: &Flow) -> bool {
    !flow.key.outgoing
}

/// Returns the flows that are sent to another group than was meant, each with what was meant.
fn meant<'a>(observation: &'a Observation, finding: &Finding) -> Vec<(&'a Flow, Flow)> {
    let Subject { interface, group, source, .. } = &finding.subject;
    let to = group.as_ref().and_then(|group| group.parse::<SocketAddr>().ok());
    let Some(to) = to.filter(|_| finding.id == Id::SentToAnotherGroup) else { return Vec::new() };
    let is_this = |flow: &&Flow| {
        is_usable(flow)
            && Some(flow.key.source.to_string()) == *source
            && Some(observation.link_name(flow.key.interface)) == *interface
    };
    let as_meant = |flow: &'a Flow| {
        let key = FlowKey { group: to.ip(), port: to.port(), ..flow.key };
        let mut meant = flow.clone();
        meant.key = key;
        (flow, meant)
    };
    observation.wire.flows.iter().filter(is_this).map(as_meant).collect()
}

/// Returns the faults behind those that keep a flow from arriving. It is `meant` for another group if the sender is wrong.
fn behind(observation: &Observation, (seen, meant): (&Flow, &Flow), found: &[Finding]) -> Vec<Finding> {
    let faults: Vec<_> = found.iter().filter(|finding| takes(observation, finding, meant)).collect();
    let has = |id: Id| faults.iter().any(|finding| finding.id == id);
    if faults.is_empty() {
        return Vec::new();
    }
    const OF_FLOW: [fn(&Observation, &Flow) -> Option<Finding>; 8] = [
        lost_before_this_machine::judge,
        sizes::fragments_lost_ahead,
        early_filters::tc_drops_ahead,
        frames::ahead,
        damage::defective_flow,
        sources::source_zero_ahead,
        sources::source_is_local_ahead,
        sources::invalid_source_ahead,
    ];
    let of_flow = OF_FLOW.into_iter().filter_map(|ahead| ahead(observation, seen));
    let mut behind: Vec<_> = of_flow.filter(|finding| !has(finding.id)).collect();
    let (reached, passed) = observation.hooks.at_input(&meant.key).unwrap_or_default();
    // Datagrams to the wrong port are dropped last, so that the filters before have counted what they drop.
    let is_only_last = behind.is_empty() && faults.iter().all(|finding| finding.id == Id::WrongPort);
    let rise = observation.rise_of(routes::REVERSE_PATH_COUNTER).unwrap_or_default();
    // The interface of a VLAN has a filter of its own, and a source that the system refuses has to change.
    let has_route = meant.key.vlan.is_none() && has_usable_source(observation, meant);
    let by_route = (!has(Id::ReversePathFilter) && reached == 0 && has_route)
        .then(|| routes::ahead(observation, meant))
        .flatten()
        .filter(|_| !is_only_last || explains(rise, meant.datagrams));
    if passed == 0 {
        // What changes the destination has counted nothing.
        let mut by_rule = by_rule(observation, meant, &has);
        by_rule.retain(|finding| !is_only_last || by_route.is_some() || finding.id == Id::Redirected);
        behind.extend(by_rule);
    }
    let by_checksum = damage::bad_checksum_ahead(observation, seen).filter(|_| !has(Id::BadChecksum));
    behind.extend(by_route.into_iter().chain(by_checksum));
    behind.extend(by_socket(observation, meant).into_iter().filter(|finding| !has(finding.id)));
    let is_before_policies =
        |finding: &&Finding| order::of_finding(finding) < order::position(Id::IpsecPolicy);
    if faults.iter().any(is_before_policies) {
        let interface = observation.link_name(meant.key.interface);
        let source = has_usable_source(observation, meant).then_some(meant.key.source);
        behind.extend(tunnels::ipsec_policy_ahead(observation, &interface, source, meant.destination()));
    }
    if observation.program().is_some() && !has(Id::SocketFilter) {
        let what = format!("the datagrams from {} to {}", meant.key.source, meant.key.group);
        let packet = as_known(observation, meant);
        behind.extend(programs::socket_filter_ahead(observation, &packet, (&what, meant.key.group)));
    }
    behind
}

/// Returns a datagram of a flow. A source that the system refuses has to change, so that it is not known.
fn as_known(observation: &Observation, flow: &Flow) -> KnownPacket {
    match has_usable_source(observation, flow) {
        true => arriving(observation, flow),
        false => KnownPacket::from_anyone(flow.destination())
            .arriving_on(flow.key.interface, &observation.link_name(flow.key.interface)),
    }
}

/// Returns the rules of the packet filter that take a flow, behind the hook at which it is dropped.
fn by_rule(observation: &Observation, flow: &Flow, has: &dyn Fn(Id) -> bool) -> Vec<Finding> {
    let (device, to, source) =
        (observation.link_name(flow.key.interface), flow.destination(), flow.key.source);
    let is_usable = has_usable_source(observation, flow);
    let packet = as_known(observation, flow);
    let what = format!("the datagrams from {source} to {to}");
    let is_lost_at = |(layer, hook): &(Layer, Hook)| {
        let counted = observation.hooks.of_flow(*layer, *hook, &flow.key);
        counted.is_some_and(|(reached, passed)| reached > passed)
    };
    let place = INCOMING.into_iter().rev().find(is_lost_at).filter(|_| has(Id::FirewallDropsData));
    let last = place.map(|(_, hook)| hook);
    let mut findings = Vec::new();
    let loss = place.filter(|_| is_usable).and_then(|place| loss_at(observation, flow, place));
    if let Some(rule) = loss.as_ref().and_then(|loss| loss.suspects.rule()) {
        findings.extend(firewall_drops_data::beside(observation, &packet, rule, &device, (&what, to)));
    }
    if !has(Id::Redirected) && last.is_none_or(|hook| hook == Hook::Ingress) {
        let what = format!("The datagrams from {source} to {to}");
        findings.extend(redirected::ahead(observation, &packet, &device, (&what, to)));
    }
    if !has(Id::FirewallDropsData) || last.is_some() {
        findings.extend(firewall_drops_data::ahead(observation, &packet, (&device, last), (&what, to)));
    }
    findings.into_iter().map(|finding| finding.from_source(source)).collect()
}

/// Returns what would take the datagrams of any source behind a fault that keeps them from being captured.
fn behind_silence(observation: &Observation, fault: &Finding, found: &[Finding]) -> Vec<Finding> {
    let hides = matches!(fault.id, Id::XdpDrops | Id::InterfaceDown) && fault.severity == Severity::Fault;
    let is_hidden = |interest: &Interest<'_>| {
        let Subject { interface, group, .. } = &fault.subject;
        let is_same = |own: Option<&String>, other: String| own.is_none_or(|own| *own == other);
        is_same(interface.as_ref(), observation.link_name(interest.interface))
            && is_same(group.as_ref(), interest.destination().to_string())
    };
    let mut interests = observation.interests();
    interests.retain(|interest| hides && is_hidden(interest));
    let of_interest = |interest: &Interest<'_>| {
        let (device, to) = (observation.link_name(interest.interface), interest.destination());
        let packet = arriving_for(observation, interest);
        let (what, at_start) = (format!("the datagrams to {to}"), format!("The datagrams to {to}"));
        let mut findings = firewall_drops_data::ahead(observation, &packet, (&device, None), (&what, to));
        findings.extend(redirected::ahead(observation, &packet, &device, (&at_start, to)));
        findings.extend(tunnels::ipsec_policy_ahead(observation, &device, None, to));
        findings.extend(programs::socket_filter_ahead(observation, &packet, (&what, to.ip())));
        findings.retain(|finding| found.iter().all(|own| own.id != finding.id));
        findings
    };
    interests.iter().flat_map(of_interest).collect()
}

fn has_usable_source(observation: &Observation, flow: &Flow) -> bool {
    let source = flow.key.source.ip();
    !source.is_unspecified() && !observation.before.is_own(source)
}

/// Returns the findings about sockets of the examined program that would not take a flow.
fn by_socket(observation: &Observation, flow: &Flow) -> Vec<Finding> {
    if observation.program().is_none() {
        return Vec::new();
    }
    // Without a member, the program has to join.
    let is_joined = observation.before.is_joined(flow.key.group, flow.key.interface);
    let mut blocked = observation.blocked_ahead(flow);
    blocked.retain(|blocked| is_joined || blocked.refusal != Refusal::Membership);
    let judge = |blocked: &Blocked<'_>| {
        let judged = Id::ALL.iter().filter_map(|id| match id.cause().check {
            Check::Blocked(check) => check(observation, blocked),
            _ => None,
        });
        judged.collect::<Vec<_>>()
    };
    blocked.iter().flat_map(judge).collect()
}

/// Returns whether a finding keeps a flow from arriving, or would if it were expected.
fn takes(observation: &Observation, finding: &Finding, flow: &Flow) -> bool {
    let (to, group) = (flow.destination().to_string(), flow.key.group.to_string());
    let interface = observation.link_name(flow.key.interface);
    let of_group = |own: &str| {
        own.split(", ").any(|own| own == to || own == group)
            // The group arrives on another port than the one that was examined.
            || (finding.id == Id::WrongPort && own.rsplit_once(':').is_some_and(|(own, _)| own.trim_matches(['[', ']']) == group))
    };
    let has_interface =
        finding.subject.interface.as_ref().is_none_or(|own| own.split(", ").any(|own| own == interface));
    let has_group = match finding.flows.as_slice() {
        [] => finding.subject.group.as_deref().is_some_and(of_group),
        flows => flows.iter().any(|own| {
            own.destination == flow.destination()
                && own.source.is_none_or(|source| source == flow.key.source.ip())
        }),
    };
    finding.severity == Severity::Fault && finding.id.loses_datagrams() && has_interface && has_group
}

/// Returns the destinations and sources of the flows of which datagrams are received all the same.
fn arriving_flows(observation: &Observation) -> BTreeSet<(SocketAddr, SocketAddr)> {
    let expected = observation.expected_flows().into_iter().map(|expected| expected.status);
    let arriving = expected.filter(|status| status.depth == crate::Depth::Arrives || status.some_arrive);
    arriving.filter_map(|status| Some((status.destination, status.source?))).collect()
}

#[cfg(test)]
mod tests {
    use mcast::{InterfaceIndex, SourceFilter};
    use mcast_packet::ether_type;

    use super::super::fixtures::{ETH0, ETH1, flow, joined_socket, program};
    use super::*;
    use crate::wire::Tagging;

    const TO: &str = "239.1.2.3:5000";

    fn tagged(interface: InterfaceIndex, to: &str) -> Flow {
        let mut flow = flow(interface, "10.9.0.1:6000", to);
        flow.key.vlan = Some(Tagging { id: 7, protocol: ether_type::VLAN, inner: None });
        flow
    }

    /// A program that has the port open and joined nothing.
    fn not_joined(flows: Vec<Flow>) -> Observation {
        let mut socket = joined_socket(ETH0, SourceFilter::ANY);
        (socket.memberships, socket.memberships_after) = (Vec::new(), Vec::new());
        let mut observation = program(vec![socket], flows);
        (observation.before.joined, observation.after.joined) = (Vec::new(), Vec::new());
        observation
    }

    fn faults(observation: &Observation) -> Vec<Id> {
        let findings = super::super::judge(observation);
        let faults = findings.iter().filter(|finding| finding.severity == Severity::Fault);
        faults.map(|finding| finding.id).collect()
    }

    #[test]
    fn what_is_wrong_besides_the_tag_is_named_behind_it() {
        assert_eq!(faults(&not_joined(vec![tagged(ETH0, TO)])), [Id::VlanTagged, Id::NotJoined]);
        let elsewhere = program(vec![joined_socket(ETH1, SourceFilter::ANY)], vec![tagged(ETH0, TO)]);
        assert_eq!(faults(&elsewhere), [Id::VlanTagged, Id::JoinedOtherInterface]);
        let other = SourceFilter::Include(["10.9.0.9".parse().unwrap()].into());
        let other = program(vec![joined_socket(ETH0, other)], vec![tagged(ETH0, TO)]);
        assert_eq!(faults(&other), [Id::VlanTagged, Id::SourceNotAdmitted]);
    }

    #[test]
    fn groups_of_other_vlans_accuse_nobody() {
        let mut trunk = not_joined(vec![tagged(ETH0, TO)]);
        trunk.after.links[2].lower = Some(ETH0);
        trunk.after.links[2].kind = Some("vlan".into());
        assert!(!faults(&trunk).contains(&Id::VlanTagged));
        let both = not_joined(vec![tagged(ETH0, TO), flow(ETH0, "10.9.0.1:6000", TO)]);
        assert_eq!(faults(&both), [Id::NotJoined]);
        let other_group = not_joined(vec![tagged(ETH0, "239.7.7.7:7000")]);
        assert_eq!(faults(&other_group), []);
    }
}
