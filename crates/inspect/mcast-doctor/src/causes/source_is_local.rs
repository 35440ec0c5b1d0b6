//! Datagrams arrive with one of this machine's own addresses as their source, or with an address that a local route covers.
//! The system drops them without counting them.

use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};

use super::scope_section::Placeholders;
use super::{Cause, Check};
use crate::kernel_drops::KernelVerdict;
use crate::observation::{Interest, Observation};
use crate::snapshot::interface_setting;
use crate::wire::{Flow, FlowKey};
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(
    Check::Interest(check),
    &["RFC 1812 section 5.3.7", "ip-sysctl: accept_local"],
)
.offering(|on| {
    address_remedies(Placeholders::SOURCE, true, &interface_setting(Family::V4, on.name(), "accept_local"))
});

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if !is_refused(observation, interest.interface, interest.group.addr()) {
        return None;
    }
    // Datagrams of this machine that it receives on the sending interface may arrive again on another interface
    // of the same network.
    let is_received = |source: IpAddr| {
        let trial = observation.trial();
        trial.is_some_and(|trial| trial.received.iter().any(|count| count.source.ip() == source))
    };
    let mut flows = observation.arrivals(interest);
    flows.retain(|flow| match flow.key.source.ip() {
        source if observation.before.is_own(source) => !is_received(source),
        // Without a source, datagrams are dropped before routes are looked up.
        source => {
            !source.is_unspecified()
                && is_routed_locally(observation, source)
                && is_lost(observation, interest, flow)
        }
    });
    (!flows.is_empty()).then(|| finding(observation, &flows))
}

/// Returns the finding about a flow that does not get to the check of its source, because something drops it before.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let FlowKey { interface, group, source, outgoing, .. } = flow.key;
    let is_local = !outgoing && observation.before.is_own(source.ip());
    (is_local && is_refused(observation, interface, group)).then(|| finding(observation, &[flow]))
}

/// Returns whether an interface refuses datagrams from the addresses of this machine.
fn is_refused(observation: &Observation, interface: InterfaceIndex, group: IpAddr) -> bool {
    let name = observation.link_name(interface);
    let is_accepted = |interface: &str| observation.after.number(&accept_local(interface)) == Some(1);
    // This is normal on the loopback interface.
    let is_loopback = observation.link(interface).is_none_or(|link| link.interface.loopback);
    !is_loopback && group.is_ipv4() && !is_accepted(&name) && !is_accepted("all")
}

fn accept_local(interface: &str) -> String {
    interface_setting(Family::V4, interface, "accept_local")
}

fn finding(observation: &Observation, flows: &[&Flow]) -> Finding {
    let Some(flow) = flows.first() else { return Finding::fault(Id::SourceIsLocal, "") };
    let interface = observation.link_name(flow.key.interface);
    let setting = accept_local(&interface);
    let (source, to) = (flow.key.source.ip(), flow.destination());
    let cause = match observation.before.is_own(source) {
        true => format!(
            "Datagrams for {to} arrive on {interface} with this machine's own address {source} as their source, so the system drops them."
        ),
        false => format!(
            "Datagrams for {to} arrive on {interface} from {source}, which this machine takes for an address of its own, because a route of type local covers it: the system drops them."
        ),
    };
    let route = (!observation.before.is_own(source)).then(|| {
        Evidence::new(
            EvidenceKind::Route,
            format!("ip route get {source}"),
            "local, by the loopback interface",
        )
    });
    Finding::fault(Id::SourceIsLocal, cause)
        .on_interface(&interface)
        .for_group(to)
        .from_source(source)
        .explaining(flows.iter().map(|flow| ExplainedFlow {
            destination: flow.destination(),
            source: Some(flow.key.source.ip()),
            interface: interface.clone(),
        }))
        .with_all_evidence(flows.iter().map(|flow| {
            Evidence::new(
                EvidenceKind::Packet,
                &interface,
                format!(
                    "{} datagrams from {}, sent by {}",
                    flow.datagrams,
                    flow.key.source.ip(),
                    flow.mac_list()
                ),
            )
        }))
        .with_all_evidence(route)
        .evidence(EvidenceKind::Setting, &setting, 0)
        .with_remedies(address_remedies(source, observation.before.is_own(source), &setting))
}

/// Returns whether a flow is lost, and not for another reason that the kernel gives. Without policy routing and local
/// routes of its own, the system compares the source only with the addresses of interfaces.
fn is_lost(observation: &Observation, interest: &Interest<'_>, flow: &Flow) -> bool {
    let lost = observation.lost_flows(interest);
    let mut same = lost.iter().filter(|lost| lost.flow.key == flow.key);
    same.any(|lost| observation.kernel_verdict(lost, "IP_LOCAL_SOURCE") != KernelVerdict::Refuted)
}

/// Returns whether a route makes an address local that no interface has.
fn is_routed_locally(observation: &Observation, source: IpAddr) -> bool {
    if source.is_loopback() {
        return false;
    }
    let route = observation.source_routes.get(&source).copied().flatten();
    route.and_then(|index| observation.link(index)).is_some_and(|link| link.interface.loopback)
}

/// Returns the remedies. A source in 127.0.0.0/8 is dropped whatever the setting (RFC 1122 section 3.2.1.3).
fn address_remedies(source: IpAddr, is_own: bool, setting: &str) -> Vec<Remedy> {
    if source.is_loopback() {
        let advice = format!(
            "The sender has bound its socket to {source}. Bind it to the address of its interface, or to none."
        );
        return vec![Remedy::advice(Tool::Program, advice)];
    }
    let advice = match is_own {
        true => format!(
            "If another host also has {source}, give one of them another address. If this machine sends to itself through two interfaces, allow that:"
        ),
        false => format!(
            "Find the route with `ip route show table local match {source}` and narrow it: it comes from an address with too short a prefix, or from a transparent proxy or load balancer. Until then:"
        ),
    };
    let mut remedies = vec![Remedy::advice(Tool::Network, advice)];
    let scope = RemedyScope::new("every IPv4 packet that arrives on this interface")
        .warning("packets that pretend to come from this machine are no longer dropped there");
    remedies.extend(remedies::sysctl(setting, 1, scope));
    remedies
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;
    use crate::observation::ReceivedCount;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn loopback_source_has_no_remedy_by_a_setting() {
        let commands = |source: &str| {
            let finding = CAUSE.judge(&membership(TO, vec![flow(ETH0, source, TO)], 0)).remove(0);
            finding.remedies.iter().filter_map(Remedy::command).count()
        };
        assert_eq!((commands("127.0.0.1:6000"), commands("10.8.0.2:6000")), (0, 2));
    }

    #[test]
    fn source_that_a_local_route_covers_is_reported() {
        use super::super::fixtures::{ETH1, LO};

        let outcome = |route| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
            observation.source_routes.insert("10.9.0.1".parse().unwrap(), Some(route));
            CAUSE.judge(&observation)
        };
        assert_eq!(outcome(ETH1), []);
        let findings = outcome(LO);
        assert!(findings[0].cause.contains("a route of type local covers it"), "{findings:?}");
    }

    #[test]
    fn what_is_received_where_it_was_sent_may_come_in_again() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.8.0.2:6000", TO)], 0);
        assert_eq!(CAUSE.judge(&observation).len(), 1);
        let source = "10.8.0.2:6000".parse().unwrap();
        observation.trial_mut().received =
            vec![ReceivedCount { interface: super::super::fixtures::ETH1, source, datagrams: 10 }];
        assert_eq!(CAUSE.judge(&observation), []);
    }
}
