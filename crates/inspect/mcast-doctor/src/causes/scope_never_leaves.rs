//! The scope of the group's address keeps it from reaching this machine.

use mcast::group::Scope;

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{Interest, Observation};
use crate::snapshot::MulticastRoute;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4291 section 2.7", "RFC 5771 section 4"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let routed = routed_link_local_group(observation);
    if observation.received_anything() {
        return routed.into_iter().collect();
    }
    let mut findings: Vec<_> = routed.into_iter().collect();
    findings.extend(observation.interests().iter().filter_map(|interest| by_scope(observation, interest)));
    findings.extend(silent_link_local_group(observation));
    findings
}

fn by_scope(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let outside = observation.link(interest.interface).is_some_and(|link| !link.interface.loopback);
    let (severity, cause) = match interest.group.scope() {
        Scope::InterfaceLocal if outside => (
            Severity::Fault,
            format!(
                "{} has interface-local scope: it never leaves the machine that sends it.",
                interest.group
            ),
        ),
        Scope::Reserved(0) => {
            (Severity::Fault, format!("{} has the reserved scope 0: systems drop it.", interest.group))
        }
        Scope::Reserved(_) => {
            (Severity::Warning, format!("{} has a reserved scope, which must not be used.", interest.group))
        }
        _ => return None,
    };
    let finding = Finding::new(Id::ScopeNeverLeaves, severity, cause)
        .on_interface(observation.link_name(interest.interface))
        .for_group(interest.destination())
        .with_evidence(evidence(interest))
        .advise(
            Tool::Program,
            "Use a group with a wider scope: ff02:: for one link, ff05:: for a site, ff08:: for an organization.",
        );
    Some(finding)
}

/// Judges a multicast route of this machine for an examined group that routers must not forward. In IPv6, the kernel does
/// not use it.
fn routed_link_local_group(observation: &Observation) -> Option<Finding> {
    let interests = observation.interests();
    let is_link_local = |interest: &&Interest<'_>| interest.group.scope() == Scope::LinkLocal;
    let (interest, route) = interests.iter().filter(is_link_local).find_map(|interest| {
        let mut routes = observation.after.multicast_routes.iter();
        let is_of = |route: &&MulticastRoute| route.group == interest.group.addr() && route.from.is_some();
        Some((interest, routes.find(is_of)?))
    })?;
    let from = route.from.as_deref().unwrap_or("no interface");
    let to: Vec<_> = route.to.iter().map(|(name, _)| name.as_str()).collect();
    let to = if to.is_empty() { "no interface".to_owned() } else { to.join(", ") };
    let cause = format!(
        "This router has a multicast route for {}, which is a link-local group: routers do not forward it to other networks, whatever the hop limit.",
        interest.group
    );
    let finding = Finding::new(Id::ScopeNeverLeaves, Severity::Fault, cause)
        .for_group(interest.destination())
        .with_evidence(evidence(interest))
        .with_evidence(Evidence::new(EvidenceKind::Table, "ip mroute show", format!("{} from {from} to {to}", interest.group)))
        .with_remedies([Remedy::advice(
            Tool::Program,
            "Use a group with a wider scope for what crosses routers: 239.0.0.0/8 in IPv4, ff05:: or ff08:: in IPv6.",
        )]);
    Some(finding)
}

/// Judges a silent link-local group: senders on other networks cannot reach this machine, whatever the hop limit
/// and the routers. A protocol with a fixed group, such as mDNS, then needs a reflector.
fn silent_link_local_group(observation: &Observation) -> Option<Finding> {
    observation.trial()?;
    let interests = observation.interests();
    let link_local_interests: Vec<_> = interests
        .iter()
        .filter(|interest| interest.group.scope() == Scope::LinkLocal)
        .filter(|interest| observation.link(interest.interface).is_some_and(|link| !link.interface.loopback))
        .collect();
    let one = link_local_interests
        .first()
        .filter(|_| interests.iter().all(|interest| observation.arrivals(interest).is_empty()))?;
    let is_captured =
        link_local_interests.iter().all(|interest| observation.wire.is_complete(interest.interface));
    // Without a complete capture there may be other reasons.
    let severity = if is_captured { Severity::Fault } else { Severity::Note };
    let names = list(link_local_interests.iter().map(|interest| observation.link_name(interest.interface)));
    let finding = Finding::new(
        Id::ScopeNeverLeaves,
        severity,
        format!(
            "Nothing for {} arrived in {:.1} s, and it is a link-local group: routers do not forward it, so it can only come from machines on the network of {names}.",
            one.destination(),
            observation.listened().as_secs_f64()
        ),
    )
    .on_interface(&names)
    .for_group(one.destination())
    .with_evidence(evidence(one))
    .advise(
            Tool::Network,
            "To receive from another network, another VLAN or outside a container, run a reflector on a machine that is in both: for mDNS, the avahi reflector (enable-reflector=yes in avahi-daemon.conf) or mdns-repeater.",
        ).advise(Tool::Network, "On the same network, check that something sends: many of these protocols are silent until queried.");
    Some(finding)
}

fn evidence(interest: &Interest<'_>) -> Evidence {
    Evidence::new(
        EvidenceKind::Packet,
        interest.group.to_string(),
        format!("scope {}", interest.group.scope()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;
    use mcast::interface::InterfaceAddress;

    #[test]
    fn silent_link_local_group_needs_a_reflector_and_neither_hops_nor_routers() {
        for to in ["224.0.0.251:5353", "[ff02::fb]:5353"] {
            let mut observation = membership(to, Vec::new(), 0);
            observation.after.links[1]
                .interface
                .addresses
                .push(InterfaceAddress::new("fe80::2".parse().unwrap(), 64));
            let findings = super::super::judge(&observation);
            let causes: Vec<_> = findings.iter().map(|finding| (finding.id, finding.severity)).collect();
            assert_eq!(causes, [(Id::ScopeNeverLeaves, Severity::Fault)], "{to}");
            let text = format!("{findings:?}");
            assert!(text.contains("avahi reflector") && text.contains("mdns-repeater"), "{text}");
            assert!(!text.contains("hop limit") && !text.contains("must route"), "{text}");
        }
    }

    #[test]
    fn link_local_group_that_arrives_is_not_reported() {
        let to = "224.0.0.251:5353";
        let arriving = membership(to, vec![flow(ETH0, "10.9.0.1:5353", to)], 10);
        assert_eq!(check(&arriving), []);
        assert_eq!(check(&membership("239.1.2.3:5000", Vec::new(), 0)), []);
    }

    #[test]
    fn route_for_a_link_local_group_is_reported_even_if_the_router_receives_it() {
        for to in ["224.0.0.77:5000", "[ff02::77]:5000"] {
            let source = if to.starts_with('[') { "[fd09::1]:6000" } else { "10.9.0.1:6000" };
            let mut observation = membership(to, vec![flow(ETH0, source, to)], 10);
            observation.after.multicast_routes = vec![MulticastRoute {
                group: observation.trial_mut().group().addr(),
                source: source.parse::<std::net::SocketAddr>().unwrap().ip(),
                from: Some("eth0".into()),
                packets: 10,
                wrong_interface: 0,
                to: vec![("eth1".into(), 1)],
            }];
            let findings = check(&observation);
            assert_eq!((findings.len(), findings[0].severity), (1, Severity::Fault), "{findings:?}");
        }
    }

    #[test]
    fn it_is_a_note_without_a_capture() {
        let mut observation = membership("224.0.0.251:5353", Vec::new(), 0);
        observation.wire.taps[0].refused = Some("no right".into());
        assert_eq!(check(&observation)[0].severity, Severity::Note);
    }
}
