//! A firewall of this machine drops what it forwards as a bridge or router, or the reports of hosts behind a bridge port.

use mcast::Family;

use super::filter_rules::{met_by, responsible};
use super::port_group_limit;
use crate::forwarding::{BlockedFlow, Obstacle};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::netfilter::{ControlKind, Hook, KnownPacket, Layer, RuleEffect};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

/// Returns findings about rules that drop what is forwarded, unless the temporary rules counted it.
pub(super) fn findings(observation: &Observation) -> Vec<Finding> {
    let places = [(Layer::Bridge, Hook::Forward), (Layer::Ip, Hook::Forward)];
    let is_counted = |blocked: &BlockedFlow<'_>| {
        places.iter().any(|(layer, hook)| {
            observation
                .hooks
                .of_flow(*layer, *hook, &blocked.first.flow.key)
                .is_some_and(|(reached, passed)| reached > passed)
        })
    };
    let blocked = observation.blocked_flows(Obstacle::Firewall);
    let blocked = blocked.iter().filter(|blocked| !is_counted(blocked));
    let mut findings: Vec<_> = blocked.map(|blocked| of_flow(observation, blocked)).collect();
    findings.extend(unlearnt_members(observation));
    findings
}

fn of_flow(observation: &Observation, blocked: &BlockedFlow<'_>) -> Finding {
    let (first, names) = (blocked.first, blocked.names());
    let suspects = first.suspects(observation);
    let to = first.flow.destination();
    // What is dropped before the bridge itself gets it does not arrive on this machine either.
    let arrives = observation
        .wire
        .incoming(to.ip())
        .any(|flow| Some(flow.key.interface) == first.bridge.map(Link::index));
    // Rules of the IP layer meet frames as if they had arrived on the bridge.
    let bridge = first.bridge.filter(|_| suspects.rule().is_some_and(|rule| rule.layer == Layer::Ip));
    let from = bridge.unwrap_or(first.from).name();
    let subject = if first.bridge.is_some() && !arrives { first.from.name() } else { &names };
    Finding::fault(
        Id::FirewallDropsData,
        format!("{}: the firewall drops them, and {}.", blocked.sentence(), suspects.clause()),
    )
    .about_flow(subject, first.flow)
    .with_all_evidence(blocked.evidence())
    .with_all_evidence(suspects.evidence(observation))
    .with_all_evidence(evidence(first.drops(observation)))
    .with_remedies(remedies::admit_forwarded((from, first.to.name()), to, suspects.rule()))
}

/// Returns findings for ports at which hosts report an examined group that the bridge does not learn.
fn unlearnt_members(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.group);
    let ports: Vec<_> =
        observation.wire.ports.taps.iter().filter_map(|tap| observation.after.link(tap.interface)).collect();
    let unlearnt = interests.iter().flat_map(|interest| {
        let group = interest.group.addr();
        ports
            .iter()
            .filter(move |port| is_reported_and_unlearnt(observation, port, group))
            .map(move |port| (interest, port))
    });
    unlearnt
        .map(|(interest, port)| {
            let (name, protocol) = (port.name(), interest.protocol());
            let bridge = observation.bridge_of(port).map_or(name, |(bridge, _)| bridge.name());
            let drops = reports_dropped_at(observation, port, interest.family());
            let packet = KnownPacket::control(ControlKind::Report, None, interest.family());
            let packet = packet.arriving_on(port.index(), name);
            let places = [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting)];
            let outcomes = places.into_iter().flat_map(|place| {
                met_by(observation, &packet, place, name, &[RuleEffect::Drop])
            });
            let suspects = responsible(observation, outcomes.collect(), 1);
            Finding::fault(
                Id::FirewallDropsIgmp,
                format!("{bridge} does not learn that hosts behind its port {name} have joined {}, although their {protocol} reports arrive there: {}.", interest.group, suspects.clause()),
            )
            .on_interface(name)
            .for_group(interest.group)
            .evidence(EvidenceKind::Packet, name, format!("{protocol} reports of {}", interest.group))
            .evidence(EvidenceKind::Table, format!("bridge mdb show dev {bridge}"), format!("no entry for {} at {name}", interest.group))
            .with_all_evidence(suspects.evidence(observation))
            .with_all_evidence(evidence(drops))
            .with_remedies(remedies::admit_membership_protocol(interest.family(), name, suspects.rule()))
            .advise(Tool::Nft, "A rule at a port is in the bridge family or, for one port, in a netdev chain; ebtables shows only its own.")
        })
        .collect()
}

/// Returns whether a host behind a port reported a group, and the bridge has no entry for it though it should.
fn is_reported_and_unlearnt(observation: &Observation, port: &Link, group: std::net::IpAddr) -> bool {
    let Some((_, bridge)) = observation.bridge_of(port) else { return false };
    let has_space = bridge.table_limit == 0 || bridge.table_entries < bridge.table_limit;
    let is_open = observation.closed_state(port).is_none()
        && port.port.is_some_and(|port| !port.locked)
        && !port_group_limit::has_all_groups(port);
    has_space && is_open && observation.unlearnt_report(port, group).is_some()
}

/// Returns the reports that the kernel dropped at a port.
fn reports_dropped_at<'a>(observation: &'a Observation, port: &Link, family: Family) -> Vec<&'a KernelDrop> {
    let protocols: &[u8] = match family {
        Family::V4 => &[2],
        // MLD begins with a header of options.
        Family::V6 => &[0, 58],
    };
    let is_report = |drop: &&KernelDrop| {
        drop.arrived_on == Some(port.index())
            && protocols.contains(&drop.protocol)
            && Family::of(drop.destination.ip()) == family
    };
    observation.kernel_drops.drops.iter().filter(is_report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, control, kernel_drop, report};
    use crate::forwarding::tests::{TO, bridged};
    use crate::snapshot::BridgeGroup;

    #[test]
    fn drops_by_the_firewall_are_reported_once() {
        let mut observation = bridged(0, |_, _| {});
        assert_eq!(findings(&observation), []);
        observation.kernel_drops.drops = vec![kernel_drop("NETFILTER_DROP", "10.9.0.1:6000", TO, 10)];
        let [finding] = &findings(&observation)[..] else { panic!() };
        assert_eq!(finding.id, Id::FirewallDropsData);
        assert!(finding.cause.contains("no rule that could be read"), "{}", finding.cause);
    }

    #[test]
    fn report_that_is_not_learnt_was_dropped_at_the_port() {
        let mut observation = bridged(0, |bridge, _| (bridge.snooping, bridge.querier) = (true, true));
        let (time, _) = observation.wire.span.unwrap();
        let group = [239, 1, 2, 3].into();
        observation.wire.ports.control.push(control(time, "10.9.0.7", report("239.1.2.3")));
        let [finding] = &findings(&observation)[..] else { panic!() };
        assert_eq!(finding.id, Id::FirewallDropsIgmp);
        observation.after.bridge_groups.push(BridgeGroup { port: ETH0, group, source: None, blocked: false });
        assert_eq!(findings(&observation), []);
    }
}
