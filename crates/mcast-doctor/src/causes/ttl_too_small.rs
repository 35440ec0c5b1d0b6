//! The hop limit does not take the datagrams beyond the next router: 1 is what senders have by default.

use mcast::Group;
use mcast::group::Scope;

use crate::observation::{About, Observation};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for flow in seen.wire.flows.iter().filter(|flow| flow.hop_limits.1 <= 1) {
        let finding = match is_to_be_forwarded_here(seen, flow) {
            Some(to) => at_router(seen, flow, &to),
            None if flow.key.outgoing && is_of_program(seen, flow) && goes_far(flow) => at_sender(seen, flow),
            None => continue,
        };
        findings.push(finding);
    }
    findings
}

/// The interfaces to which this machine would route the flow, were its hop limit larger.
fn is_to_be_forwarded_here(seen: &Observation, flow: &Flow) -> Option<String> {
    let route = seen.after.multicast_routes.iter().find(|route| {
        let here = route.from.as_deref() == Some(&seen.link_name(flow.key.interface));
        !flow.key.outgoing && here && route.group == flow.key.group && route.source == flow.key.source.ip()
    })?;
    let names: Vec<_> = route.to.iter().map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn at_router(seen: &Observation, flow: &Flow, to: &str) -> Finding {
    let interface = seen.link_name(flow.key.interface);
    Finding::new(
        Id::TtlTooSmall,
        Severity::Fault,
        format!(
            "{} from {} comes with hop limit {}, so it is not forwarded to {to}.",
            flow.destination(),
            flow.key.source,
            flow.hop_limits.1
        ),
    )
    .on(&interface)
    .of(flow.destination())
    .from(flow.key.source)
    .because(Evidence::new(
        Sort::Packet,
        &interface,
        format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1),
    ))
    .because(Evidence::new(
        Sort::Table,
        "/proc/net/ip_mr_cache",
        format!("{} from {interface} to {to}", flow.key.group),
    ))
    .remedied(raise(flow))
}

fn at_sender(seen: &Observation, flow: &Flow) -> Finding {
    let interface = seen.link_name(flow.key.interface);
    Finding::new(
        Id::TtlTooSmall,
        Severity::Note,
        format!(
            "{} leaves with hop limit {}: receivers behind a router do not get it.",
            flow.destination(),
            flow.hop_limits.1
        ),
    )
    .on(&interface)
    .of(flow.destination())
    .from(flow.key.source)
    .because(Evidence::new(
        Sort::Packet,
        &interface,
        format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1),
    ))
    .remedied(raise(flow))
}

fn raise(flow: &Flow) -> [Remedy; 2] {
    let option = if flow.key.group.is_ipv4() { "IP_MULTICAST_TTL" } else { "IPV6_MULTICAST_HOPS" };
    [
        Remedy::advice(
            Tool::Program,
            format!("In the sender, set {option} to more than the number of routers on the way."),
        ),
        Remedy::now(Tool::Mcast, format!("mcast send --ttl 16 {}", flow.destination())),
    ]
}

fn is_of_program(seen: &Observation, flow: &Flow) -> bool {
    let About::Program(program) = &seen.about else { return false };
    program
        .sockets
        .iter()
        .any(|socket| socket.local.is_some_and(|local| local.port() == flow.key.source.port()))
}

/// Whether the group is one that is meant to cross routers.
fn goes_far(flow: &Flow) -> bool {
    let scope = Group::new(flow.key.group).map(Group::scope);
    matches!(scope, Ok(Scope::SiteLocal | Scope::OrganizationLocal | Scope::Global))
}
