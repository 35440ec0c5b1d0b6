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
