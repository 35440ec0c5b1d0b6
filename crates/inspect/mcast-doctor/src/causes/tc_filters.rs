//! Filters of traffic control (`tc`), or BPF programs in their place, drop or divert datagrams before the IP layer, or
//! after it when this machine sends.

use mcast::Family;

use super::filter_rules::{arriving, explained, met_by};
use crate::fate::depth::LostFlow;
use crate::kernel_drops::KernelDrop;
use crate::netfilter::{CountedTraffic, Hook, HookCount, Layer, RuleEffect};
use crate::observation::{Interest, Observation};
use crate::snapshot::{Counter, Link, TrafficFilter, explains};
use crate::wire::{ControlPacket, Flow, Wire};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool};

/// Returns the findings that the counts of temporary rules and of the queueing disciplines prove.
pub(super) fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let incoming = interests.iter().filter_map(|interest| dropped_at_ingress(observation, interest));
    let outgoing = observation.hooks.counts.iter().filter_map(|count| dropped_at_egress(observation, count));
    incoming.chain(outgoing).collect()
}

/// Returns the drops of a flow by a filter of an interface on its way through this machine.
pub(super) fn filter_drops<'a>(
    observation: &'a Observation,
    flow: &Flow,
    link: &Link,
) -> Vec<&'a KernelDrop> {
    let is_here = |drop: &&KernelDrop| {
        drop.is_of(&flow.key) && drop.interface == Some(link.index()) && drop.reason.starts_with("TC_")
    };
    observation.kernel_drops.drops.iter().filter(is_here).collect()
}

/// Returns whether the filters at one side of an interface explain what is lost of a flow that this machine forwards.
pub(crate) fn is_filtered(
    observation: &Observation,
    flow: &Flow,
    lost: u64,
    (link, is_ingress): (&Link, bool),
) -> bool {
    let by_reason: u64 = filter_drops(observation, flow, link).iter().map(|drop| drop.packets).sum();
    let filters = filters(link, is_ingress);
    // A filter that hands the packets to another interface counts no drops.
    let diverts = || {
        let refused = observation.kernel_drops.drops.iter().any(|drop| drop.is_of(&flow.key));
        let is_open = observation.closed_state(link).is_none() && link.port.is_none_or(|port| !port.locked);
        is_ingress
            && lost == flow.datagrams
            && is_open
            && !refused
            && !is_dropped_by_rule(observation, flow, link)
    };
    explains(by_reason, lost)
        || (!filters.is_empty() && (explains(rise(observation, link), lost) || diverts()))
}

/// Returns whether a rule of the packet filter may drop a flow at a port.
fn is_dropped_by_rule(observation: &Observation, flow: &Flow, port: &Link) -> bool {
    let places = [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting)];
    let packet = arriving(observation, flow);
    let drops = [RuleEffect::Drop, RuleEffect::Divert];
    places.into_iter().any(|place| !met_by(observation, &packet, place, port.name(), &drops).is_empty())
}

/// Returns the finding about datagrams that the tap saw, and that did not reach the first hook behind traffic control.
fn dropped_at_ingress(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link = observation.link(interest.interface)?;
    let mut lost = observation.lost_flows(interest);
    lost.extend(observation.stray_flows(interest));
    // A coalesced packet is captured as several datagrams and counted once.
    lost.retain(|lost| lost.flow.resegmented == 0 && lost.flow.fragmented == 0 && !lost.flow.key.outgoing);
    // A filter may hand packets to the queue of another interface, which drops them.
    let is_other = |drop: &KernelDrop| !["TC_", "QDISC_"].iter().any(|begin| drop.reason.starts_with(begin));
    let others = observation.dropped_flows(interest, is_other);
    lost.retain(|lost| {
        did_not_reach_a_hook(observation, lost, link)
            && !others.iter().any(|dropped| dropped.flow.is_some_and(|flow| flow.key == lost.flow.key))
    });
    let first = lost.first()?;
    let to = first.status.destination;
    let (missing, all) = lost
        .iter()
        .filter(|lost| lost.status.destination == to)
        .fold((0, 0), |(missing, all), lost| (missing + lost.lost, all + lost.flow.datagrams));
    let cause = format!(
        "{missing} of {all} datagrams to {to} that arrived on {} did not reach the IP layer: {}.",
        link.name(),
        culprit(link, true)
    );
    let reached = observation.hooks.of_flow(Layer::Device, Hook::Ingress, &first.flow.key);
    let reached = reached.map(|(reached, _)| {
        Evidence::new(EvidenceKind::Counter, "hook ingress", format!("{reached} datagrams reached it"))
    });
    let finding = Finding::fault(Id::TcDrops, cause)
        .concerning(link.name(), to)
        .explaining(lost.iter().map(|lost| explained(observation, lost.flow)))
        .with_evidence(observation.packets_of(first.flow))
        .with_all_evidence(reached);
    Some(with_filters(finding, observation, link, true))
}

/// Returns the finding about a flow that is not expected where it arrives, and of which nothing gets past a filter.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    /// Of fewer datagrams, those that were counted may have been captured later.
    const MIN_DATAGRAMS: u64 = 10;
    let link = observation.link(flow.key.interface)?;
    let (reached, _) = observation.hooks.of_flow(Layer::Device, Hook::Ingress, &flow.key)?;
    let is_taken = reached == 0 && flow.datagrams >= MIN_DATAGRAMS && flow.resegmented == 0;
    if !is_taken || flow.key.vlan.is_some() || filters(link, true).is_empty() {
        return None;
    }
    let cause = format!(
        "None of {} datagrams to {} that arrived on {} reached the IP layer: {}.",
        flow.datagrams,
        flow.destination(),
        link.name(),
        culprit(link, true)
    );
    let finding = Finding::fault(Id::TcDrops, cause)
        .about_flow(link.name(), flow)
        .with_evidence(observation.packets_of(flow))
        .evidence(EvidenceKind::Counter, "hook ingress", "0 datagrams reached it");
    Some(with_filters(finding, observation, link, true))
}

fn did_not_reach_a_hook(observation: &Observation, lost: &LostFlow<'_>, link: &Link) -> bool {
    match observation.hooks.of_flow(Layer::Device, Hook::Ingress, &lost.flow.key) {
        // Packets that are damaged do not reach the hook either: without a filter, it is not the culprit.
        Some(_) if filters(link, true).is_empty() && !explains(rise(observation, link), lost.lost) => false,
        Some((reached, _)) => explains(lost.flow.datagrams.saturating_sub(reached), lost.lost),
        // The counter of the queueing discipline also counts frames of other protocols.
        None => {
            let received = observation.rise(Counter::InReceives, Family::of(lost.flow.key.group));
            explains(rise(observation, link), lost.lost)
                && received.is_none_or(|received| received.saturating_mul(2) < lost.lost)
        }
    }
}

/// Returns the finding about datagrams of this machine that passed the last hook, and that the tap did not see.
fn dropped_at_egress(observation: &Observation, count: &HookCount) -> Option<Finding> {
    let last =
        if observation.hooks.devices.contains(&count.interface) { Hook::Egress } else { Hook::Postrouting };
    let link = observation.link(count.interface).filter(|_| count.hook == last)?;
    let is_own =
        observation.after.is_own(count.peer.ip()) || matches!(count.traffic, CountedTraffic::SentFrom(..));
    let sent = seen_to_leave(observation, count);
    let lost = count.passed.saturating_sub(sent);
    if !is_own || !observation.wire.is_tapped(count.interface) || !explains(rise(observation, link), lost) {
        return None;
    }
    let (what, to) = match count.traffic {
        CountedTraffic::Datagrams(to) => (format!("datagrams that this machine sends to {to}"), Some(to)),
        CountedTraffic::SentFrom(..) => {
            (format!("datagrams that this machine sends to {}", count.peer), Some(count.peer))
        }
        CountedTraffic::Control(Family::V4) => ("IGMP messages of this machine".to_owned(), None),
        CountedTraffic::Control(Family::V6) => ("MLD messages of this machine".to_owned(), None),
    };
    let cause = format!(
        "{lost} of {} {what} did not leave by {}: {}.",
        count.passed,
        link.name(),
        culprit(link, false)
    );
    let finding = Finding::fault(Id::TcDrops, cause).on_interface(link.name());
    let finding = finding.with(to, Finding::for_group);
    let passed = format!("{} packets passed it", count.passed);
    let finding = finding.evidence(EvidenceKind::Counter, format!("hook {}", last.name()), passed);
    Some(with_filters(finding, observation, link, false))
}

/// Returns how many of the packets of this machine that a rule counted were captured as they left.
fn seen_to_leave(observation: &Observation, count: &HookCount) -> u64 {
    let Wire { flows, control, .. } = &observation.wire;
    let is_counted = |flow: &&Flow| match count.traffic {
        CountedTraffic::Datagrams(to) => flow.destination() == to && flow.key.source == count.peer,
        CountedTraffic::SentFrom(_, port) => {
            flow.destination() == count.peer && flow.key.source.port() == port
        }
        CountedTraffic::Control(_) => false,
    };
    if let CountedTraffic::Control(_) = count.traffic {
        let is_counted = |packet: &&ControlPacket| {
            packet.outgoing && (packet.interface, packet.source) == (count.interface, count.peer.ip())
        };
        return control.iter().filter(is_counted).count() as u64;
    }
    let leaving = flows.iter().filter(|flow| flow.key.outgoing && flow.key.interface == count.interface);
    leaving.filter(is_counted).map(|flow| flow.datagrams).sum()
}

/// Returns by how much the number of packets that the filters of an interface dropped increased.
fn rise(observation: &Observation, link: &Link) -> u64 {
    dropped(observation, link).map_or(0, |(before, after)| after.saturating_sub(before))
}

/// Returns the number of packets that the filters of an interface have dropped, before and after listening.
fn dropped(observation: &Observation, link: &Link) -> Option<(u64, u64)> {
    let after = link.classifier.as_ref()?.dropped;
    let before = observation.before.link(link.index()).and_then(|link| link.classifier.as_ref());
    Some((before.map_or(0, |queue| queue.dropped), after))
}

fn filters(link: &Link, is_ingress: bool) -> Vec<&TrafficFilter> {
    link.filters.iter().filter(|filter| filter.is_ingress == is_ingress).collect()
}

const fn side(is_ingress: bool) -> &'static str {
    if is_ingress { "ingress" } else { "egress" }
}

/// Returns what drops them, as a clause.
pub(super) fn culprit(link: &Link, is_ingress: bool) -> String {
    let (name, side) = (link.name(), side(is_ingress));
    match filters(link, is_ingress)[..] {
        [] => format!("a BPF program at the {side} of {name} (tcx) drops or diverts them"),
        [only] => format!(
            "the tc {side} filter with preference {} ({}) of {name} drops or diverts them",
            only.preference, only.kind
        ),
        ref several => format!("one of {} tc {side} filters of {name} drops or diverts them", several.len()),
    }
}

/// Adds the filters as evidence, and the remedies.
pub(super) fn with_filters(
    finding: Finding,
    observation: &Observation,
    link: &Link,
    is_ingress: bool,
) -> Finding {
    let (name, side) = (link.name(), side(is_ingress));
    let filters = filters(link, is_ingress);
    let listed = filters.iter().take(4).map(|filter| {
        let program = filter.name.as_ref().map(|name| format!(", program {name}")).unwrap_or_default();
        let location = format!("tc filter show dev {name} {side}");
        Evidence::new(
            EvidenceKind::Rule,
            location,
            format!("{}, preference {}{program}", filter.kind, filter.preference),
        )
    });
    let counter =
        dropped(observation, link).filter(|(before, after)| after > before).map(|(before, after)| {
            Evidence::change(
                EvidenceKind::Counter,
                format!("tc -s qdisc show dev {name}, dropped"),
                before,
                after,
            )
        });
    let delete = match filters[..] {
        [only] => Some(delete(name, side, &only.preference.to_string())),
        _ => None,
    };
    let show = match filters[..] {
        [] => format!(
            "`bpftool net show dev {name}` lists the programs, and `bpftool link` what attached them."
        ),
        _ => format!(
            "`tc -s filter show dev {name} {side}` shows the filters. Deleting one also affects other traffic: if the filter is needed, exempt the group in it instead."
        ),
    };
    finding.with_all_evidence(counter).with_all_evidence(listed).with_remedies(delete).advise(Tool::Tc, show)
}

/// Deletes the filter with a preference.
pub(super) fn delete(interface: &str, side: &str, preference: &str) -> Remedy {
    let scope = RemedyScope::new(format!("all traffic of {interface} at {side}"))
        .warning("whatever the filter does for other traffic ends, too");
    Remedy::now(Tool::Tc, ["filter", "delete", "dev", interface, side, "pref", preference]).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, with_counters};
    use super::*;
    use crate::snapshot::Queue;

    const TO: &str = "239.1.2.3:5000";

    fn with_classifier(received: u64, dropped: u64) -> Observation {
        let observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        let mut observation = with_counters(observation, &[("IpInReceives", 0)]);
        let queue = |dropped| Some(Queue { kind: "clsact".into(), dropped });
        observation.before.links[1].classifier = queue(0);
        observation.after.links[1].classifier = queue(dropped);
        observation
    }

    #[test]
    fn filter_is_reported_if_its_drops_explain_the_loss() {
        assert_eq!(check(&with_classifier(0, 10)).len(), 1);
        assert_eq!(check(&with_classifier(10, 10)), [], "all were received");
        assert_eq!(check(&with_classifier(0, 0)), [], "nothing was dropped there");
    }

    #[test]
    fn filter_that_hands_packets_to_a_full_queue_is_reported() {
        use super::super::fixtures::kernel_drop;

        let found = |reason| {
            let mut observation = with_classifier(0, 10);
            observation.kernel_drops.drops = vec![kernel_drop(reason, "10.9.0.1:6000", TO, 10)];
            check(&observation).len()
        };
        assert_eq!((found("QDISC_DROP"), found("OTHERHOST")), (1, 0));
    }

    #[test]
    fn only_filter_is_deleted_by_its_preference() {
        let mut observation = with_classifier(0, 10);
        let filter =
            |preference| TrafficFilter { kind: "u32".into(), is_ingress: true, preference, name: None };
        observation.after.links[1].filters = vec![filter(7)];
        let command = check(&observation)[0].remedies[0].command();
        assert_eq!(command.as_deref(), Some("tc filter delete dev eth0 ingress pref 7"));
        observation.after.links[1].filters = vec![filter(7), filter(8)];
        assert_eq!(check(&observation)[0].remedies[0].command(), None);
    }
}
