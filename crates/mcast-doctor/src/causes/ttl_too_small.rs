//! The hop limit is too small to cross the next router. The default of senders is 1.

use mcast::Group;
use mcast::group::Scope;

use crate::observation::{ExaminationTarget, Observation};
use crate::wire::Flow;
use super::Cause;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(check, &["RFC 1112 section 6.1"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for flow in observation.wire.flows.iter().filter(|flow| flow.hop_limits.1 <= 1) {
        let finding = match blocked_outgoing_interfaces(observation, flow) {
            Some(to) => at_router(observation, flow, &to),
            None if flow.key.outgoing && is_of_program(observation, flow) && may_cross_routers(flow) => {
                at_sender(observation, flow)
            }
            None => continue,
        };
        findings.push(finding);
    }
    findings
}

/// Returns the interfaces to which this machine would forward the flow if its hop limit were larger.
fn blocked_outgoing_interfaces(observation: &Observation, flow: &Flow) -> Option<String> {
    let route = observation.after.multicast_routes.iter().find(|route| {
        let here = route.from.as_deref() == Some(&observation.link_name(flow.key.interface));
        !flow.key.outgoing && here && route.group == flow.key.group && route.source == flow.key.source.ip()
    })?;
    let names: Vec<_> = route.to.iter().map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn at_router(observation: &Observation, flow: &Flow, to: &str) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    Finding::new(
        Id::TtlTooSmall,
        Severity::Fault,
        format!(
            "{} from {} arrives with hop limit {}, so it is not forwarded to {to}.",
            flow.destination(),
            flow.key.source,
            flow.hop_limits.1
        ),
    )
    .on_interface(&interface)
    .for_group(flow.destination())
    .from_source(flow.key.source)
    .with_evidence(Evidence::new(
        EvidenceKind::Packet,
        &interface,
        format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1),
    ))
    .with_evidence(Evidence::new(
        EvidenceKind::Table,
        "/proc/net/ip_mr_cache",
        format!("{} from {interface} to {to}", flow.key.group),
    ))
    .with_remedies(raise(flow))
}

fn at_sender(observation: &Observation, flow: &Flow) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    Finding::new(
        Id::TtlTooSmall,
        Severity::Note,
        format!(
            "{} is sent with hop limit {}: receivers behind a router do not get it.",
            flow.destination(),
            flow.hop_limits.1
        ),
    )
    .on_interface(&interface)
    .for_group(flow.destination())
    .from_source(flow.key.source)
    .with_evidence(Evidence::new(
        EvidenceKind::Packet,
        &interface,
        format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1),
    ))
    .with_remedies(raise(flow))
}

fn raise(flow: &Flow) -> [Remedy; 2] {
    let option = if flow.key.group.is_ipv4() { "IP_MULTICAST_TTL" } else { "IPV6_MULTICAST_HOPS" };
    [
        Remedy::advice(
            Tool::Program,
            format!("In the sender, set {option} to more than the number of routers on the path."),
        ),
        remedies::mcast::send_far(flow.destination()),
    ]
}

fn is_of_program(observation: &Observation, flow: &Flow) -> bool {
    let ExaminationTarget::Program(program) = &observation.target else { return false };
    program
        .sockets
        .iter()
        .any(|socket| socket.local.is_some_and(|local| local.port() == flow.key.source.port()))
}

/// Returns whether the scope of the group allows it to cross routers.
fn may_cross_routers(flow: &Flow) -> bool {
    let scope = Group::new(flow.key.group).map(Group::scope);
    matches!(scope, Ok(Scope::SiteLocal | Scope::OrganizationLocal | Scope::Global))
}
