//! Datagrams arrive with one of this machine's own addresses as their source. The system drops them without
//! counting them.

use crate::observation::Observation;
use super::Cause;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(check, &["RFC 1812 section 5.3.7", "ip-sysctl: accept_local"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for interest in observation.interests() {
        let interface = observation.link_name(interest.interface);
        let setting = format!("net.ipv4.conf.{}.accept_local", interface.replace('.', "/"));
        if observation.after.number(&setting) == Some(1)
            || observation.after.number("net.ipv4.conf.all.accept_local") == Some(1)
        {
            continue;
        }
        // This is normal on the loopback interface.
        if observation.link(interest.interface).is_none_or(|link| link.interface.loopback)
            || interest.group.addr().is_ipv6()
        {
            continue;
        }
        // Datagrams of this machine that it receives on the sending interface may arrive again on another interface
        // of the same network.
        let is_received = |source: std::net::IpAddr| {
            observation
                .trial()
                .is_some_and(|trial| trial.received.iter().any(|count| count.source.ip() == source))
        };
        let own = observation.arrivals(&interest).into_iter().find(|flow| {
            let source = flow.key.source.ip();
            observation.before.is_own(source) && !is_received(source)
        });
        let Some(flow) = own else { continue };
        let source = flow.key.source.ip();
        let macs: Vec<_> = flow.macs.iter().map(ToString::to_string).collect();
        findings.push(
            Finding::new(
                Id::SourceIsLocal,
                Severity::Fault,
                format!("Datagrams for {} arrive on {interface} with this machine's own address {source} as their source, so the system drops them.", interest.destination()),
            )
            .on_interface(&interface)
            .for_group(interest.destination())
            .from_source(source)
            .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, format!("{} datagrams from {source}, sent by {}", flow.datagrams, macs.join(", "))))
            .with_evidence(Evidence::new(EvidenceKind::Setting, &setting, 0))
            .with_remedies(address_remedies(source, &setting)),
        );
    }
    findings
}

/// Returns the remedies. A source in 127.0.0.0/8 is dropped whatever the setting (RFC 1122 section 3.2.1.3).
fn address_remedies(source: std::net::IpAddr, setting: &str) -> Vec<Remedy> {
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
    remedies.extend(remedies::sysctl(setting, 1));
    remedies
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership};
    use super::*;
    use crate::observation::{ExaminationTarget, ReceivedCount};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn loopback_source_has_no_remedy_by_a_setting() {
        let commands = |source: &str| {
            let finding = check(&membership(TO, vec![flow(ETH0, source, TO)], 0)).remove(0);
            finding.remedies.iter().filter_map(Remedy::command).count()
        };
        assert_eq!((commands("127.0.0.1:6000"), commands("10.8.0.2:6000")), (0, 2));
    }

    #[test]
    fn what_is_received_where_it_was_sent_may_come_in_again() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.8.0.2:6000", TO)], 0);
        assert_eq!(check(&observation).len(), 1);
        if let ExaminationTarget::Membership(trial) = &mut observation.target {
            let source = "10.8.0.2:6000".parse().unwrap();
            trial.received =
                vec![ReceivedCount { interface: super::super::fixtures::ETH1, source, datagrams: 10 }];
        }
        assert_eq!(check(&observation), []);
    }
}
