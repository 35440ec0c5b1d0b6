//! Datagrams arrive with one of this machine's own addresses as their source. The system drops them without
//! counting them.

use std::net::IpAddr;

use mcast::Family;

use super::scope_section::Placeholders;
use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::snapshot::interface_setting;
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 1812 section 5.3.7", "ip-sysctl: accept_local"]).offering(
        |on| {
            address_remedies(Placeholders::SOURCE, &interface_setting(Family::V4, on.name(), "accept_local"))
        },
    );

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let interface = observation.link_name(interest.interface);
    let accept_local = |interface| interface_setting(Family::V4, interface, "accept_local");
    let is_accepted = |interface| observation.after.number(&accept_local(interface)) == Some(1);
    // This is normal on the loopback interface.
    let is_loopback = observation.link(interest.interface).is_none_or(|link| link.interface.loopback);
    if is_loopback || interest.group.addr().is_ipv6() || is_accepted(&interface) || is_accepted("all") {
        return None;
    }
    // Datagrams of this machine that it receives on the sending interface may arrive again on another interface
    // of the same network.
    let is_received = |source: IpAddr| {
        let trial = observation.trial();
        trial.is_some_and(|trial| trial.received.iter().any(|count| count.source.ip() == source))
    };
    let is_own = |source: IpAddr| observation.before.is_own(source) && !is_received(source);
    let mut flows = observation.arrivals(interest);
    flows.retain(|flow| is_own(flow.key.source.ip()));
    let (flow, setting) = (flows.first()?, accept_local(&interface));
    let source = flow.key.source.ip();
    let finding = Finding::fault(
        Id::SourceIsLocal,
        format!("Datagrams for {} arrive on {interface} with this machine's own address {source} as their source, so the system drops them.", interest.destination()),
    )
    .on_interface(&interface)
    .for_group(interest.destination())
    .from_source(source)
    .explaining(flows.iter().map(|flow| ExplainedFlow {
        destination: flow.destination(),
        source: Some(flow.key.source.ip()),
        interface: interface.clone(),
    }))
    .with_all_evidence(flows.iter().map(|flow| Evidence::new(EvidenceKind::Packet, &interface, format!("{} datagrams from {}, sent by {}", flow.datagrams, flow.key.source.ip(), flow.mac_list()))))
    .evidence(EvidenceKind::Setting, &setting, 0)
    .with_remedies(address_remedies(source, &setting));
    Some(finding)
}

/// Returns the remedies. A source in 127.0.0.0/8 is dropped whatever the setting (RFC 1122 section 3.2.1.3).
fn address_remedies(source: IpAddr, setting: &str) -> Vec<Remedy> {
    if source.is_loopback() {
        let advice = format!(
            "The sender has bound its socket to {source}. Bind it to the address of its interface, or to none."
        );
        return vec![Remedy::advice(Tool::Program, advice)];
    }
    let mut remedies = vec![Remedy::advice(
        Tool::Network,
        format!(
            "If another host also has {source}, give one of them another address. If this machine sends to itself through two interfaces, allow that:"
        ),
    )];
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
    fn what_is_received_where_it_was_sent_may_come_in_again() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.8.0.2:6000", TO)], 0);
        assert_eq!(CAUSE.judge(&observation).len(), 1);
        let source = "10.8.0.2:6000".parse().unwrap();
        observation.trial_mut().received =
            vec![ReceivedCount { interface: super::super::fixtures::ETH1, source, datagrams: 10 }];
        assert_eq!(CAUSE.judge(&observation), []);
    }
}
