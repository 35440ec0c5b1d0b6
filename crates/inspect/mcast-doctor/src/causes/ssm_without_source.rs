//! A group of the source-specific range was joined without a source. Routers ignore such a membership.

use std::collections::BTreeSet;

use mcast::{ErrorKind, Group, SourceFilter};

use super::{Cause, Check};
use crate::observation::{ExaminationTarget, Observation};
use crate::wire::ControlMessage;
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4607 section 4.3", "RFC 4604 section 2.2.1"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let refused = trial.failed_with(ErrorKind::SourceNeeded);
        let finding = refused.map(|failure| {
            finding(observation, trial.group(), Some(trial.port())).evidence(
                EvidenceKind::Answer,
                "join",
                &failure.text,
            )
        });
        return finding.into_iter().collect();
    }
    if matches!(observation.target, ExaminationTarget::File) {
        return in_capture(observation);
    }
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.address());
    let wrong = interests.iter().filter(|interest| {
        interest.group.is_source_specific() && matches!(interest.sources, SourceFilter::Exclude(_))
    });
    wrong
        .map(|interest| {
            let socket = interest.socket.map_or(0, |socket| socket.inode);
            finding(observation, interest.group, Some(interest.port))
                .evidence(
                    EvidenceKind::Socket,
                    format!("socket {socket}"),
                    format!("joined {} from any source", interest.group),
                )
                .in_program(observation.program().map_or("", |program| &program.name))
        })
        .collect()
}

/// Judges the reports of older versions in a capture, which cannot carry sources.
fn in_capture(observation: &Observation) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    let mut findings = Vec::new();
    for control in &observation.wire.control {
        let ControlMessage::Report { version, joined, .. } = &control.message else { continue };
        let newest = if control.source.is_ipv4() { 3 } else { 2 };
        for group in joined.iter().filter_map(|group| Group::new(*group).ok()) {
            if group.is_source_specific() && *version < newest && known.insert((group, control.source)) {
                let evidence = format!("{} reports {group} with version {version}", control.source);
                findings.push(
                    finding(observation, group, None)
                        .evidence(EvidenceKind::Packet, observation.link_name(control.interface), evidence)
                        .for_group(group),
                );
            }
        }
    }
    findings
}

fn finding(observation: &Observation, group: Group, port: Option<u16>) -> Finding {
    let sender = observation.wire.incoming(group.addr()).next().map(|flow| flow.key.source.ip());
    let packets = observation.wire.incoming(group.addr()).map(|flow| observation.packets_of(flow));
    let target = match port {
        Some(port) => std::net::SocketAddr::new(group.addr(), port).to_string(),
        None => group.to_string(),
    };
    Finding::fault(
        Id::SsmWithoutSource,
        format!("{group} is source-specific but was joined without a source: routers do not forward anything for such a membership."),
    )
    .for_group(&target)
    .with_all_evidence(packets)
    .with_remedies(sender.zip(port).map(|(sender, port)| {
        remedies::mcast::recv_from(&[sender], std::net::SocketAddr::new(group.addr(), port))
    }))
    .advise(Tool::Program, "Join with the address of the sender (IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP), or use a group outside 232.0.0.0/8 and ff3x::/32.")
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;

    use super::super::fixtures::{ETH0, control, joined_socket, membership, program, severities};
    use super::*;
    use crate::Severity;

    /// Returns what a capture shows in which a host reports a group with this version.
    fn in_file(source: &str, group: &str, version: u8) -> Vec<Severity> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        observation.target = ExaminationTarget::File;
        let (time, _) = observation.wire.span.unwrap();
        let joined = vec![group.parse().unwrap()];
        let report = ControlMessage::Report { version, joined, left: Vec::new(), sources: Vec::new() };
        observation.wire.control = vec![control(time, source, report.clone()), control(time, source, report)];
        severities(&CAUSE, &observation)
    }

    #[test]
    fn capture_shows_reports_of_old_versions_for_source_specific_groups() {
        assert_eq!(in_file("10.9.0.2", "232.1.2.3", 2), [Severity::Fault], "once for each host");
        assert_eq!(in_file("10.9.0.2", "232.1.2.3", 3), []);
        assert_eq!(in_file("10.9.0.2", "239.1.2.3", 2), []);
        assert_eq!(in_file("fe80::2", "ff35::8000:1234", 1), [Severity::Fault]);
        assert_eq!(in_file("fe80::2", "ff35::8000:1234", 2), []);
    }

    #[test]
    fn program_that_joins_a_source_specific_group_needs_sources() {
        let outcome = |group: &str, sources: SourceFilter| {
            let mut socket = joined_socket(ETH0, sources);
            socket.memberships[0].address.group = group.parse().unwrap();
            severities(&CAUSE, &program(vec![socket], Vec::new()))
        };
        let one = || SourceFilter::Include(["10.9.0.1".parse().unwrap()].into());
        assert_eq!(outcome("232.1.2.3", SourceFilter::ANY), [Severity::Fault]);
        assert_eq!((outcome("232.1.2.3", one()), outcome("239.1.2.3", SourceFilter::ANY)), (vec![], vec![]));
    }
}
