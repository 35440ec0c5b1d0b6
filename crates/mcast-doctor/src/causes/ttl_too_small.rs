//! The hop limit is too small to cross the next router. The default of senders is 1.

use mcast::Group;
use mcast::group::Scope;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 1112 section 6.1"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for flow in observation.wire.flows.iter().filter(|flow| flow.hop_limits.1 <= 1) {
        let finding = match blocked_outgoing_interfaces(observation, flow) {
            Some(to) => at_router(observation, flow, &to),
            None if flow.key.outgoing
                && observation.program().is_some_and(|program| program.sends(flow))
                && may_cross_routers(flow) =>
            {
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
    let (destination, source, hop_limit) = (flow.destination(), flow.key.source, flow.hop_limits.1);
    let interface = observation.link_name(flow.key.interface);
    let route = format!("{} from {interface} to {to}", flow.key.group);
    let cause = format!(
        "{destination} from {source} arrives with hop limit {hop_limit}, so it is not forwarded to {to}."
    );
    finding(observation, flow, Severity::Fault, cause).with_evidence(Evidence::new(
        EvidenceKind::Table,
        "/proc/net/ip_mr_cache",
        route,
    ))
}

fn at_sender(observation: &Observation, flow: &Flow) -> Finding {
    let (destination, hop_limit) = (flow.destination(), flow.hop_limits.1);
    let cause =
        format!("{destination} is sent with hop limit {hop_limit}: receivers behind a router do not get it.");
    finding(observation, flow, Severity::Note, cause)
}

fn finding(observation: &Observation, flow: &Flow, severity: Severity, cause: String) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let packets = format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1);
    Finding::new(Id::TtlTooSmall, severity, cause)
        .about_flow(&interface, flow)
        .with_evidence(Evidence::new(EvidenceKind::Packet, &interface, packets))
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

/// Returns whether the scope of the group allows it to cross routers.
fn may_cross_routers(flow: &Flow) -> bool {
    let scope = Group::new(flow.key.group).map(Group::scope);
    matches!(scope, Ok(Scope::SiteLocal | Scope::OrganizationLocal | Scope::Global))
}
