//! The hop limit is too small to cross the next router. The default of senders is 1.

use mcast::group::Scope;
use mcast::{Family, Group};

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{Observation, ReceivedCount, TrialMembership};
use crate::snapshot::UdpSocket;
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 1112 section 6.1"])
    .without_loss()
    .offering(|on| on.on_socket(&[remedies::socket::hop_limit(Family::V4, 1, FAR)]));

fn check(observation: &Observation) -> Vec<Finding> {
    let mut findings = zero_hop_limits(observation);
    for flow in observation.wire.flows.iter().filter(|flow| flow.hop_limits.1 <= 1) {
        let is_sent_by_program =
            flow.key.outgoing && observation.program().is_some_and(|program| program.sends(flow));
        let finding = match blocked_outgoing_interfaces(observation, flow) {
            Some(to) => at_router(observation, flow, &to),
            None if is_sent_by_program && flow.hop_limits.1 == 1 && may_cross_routers(flow) => {
                at_sender(observation, flow)
            }
            None => continue,
        };
        findings.push(finding);
    }
    findings
}

/// Judges senders on this machine with a hop limit of 0: the sockets of the examined program, or those from which the
/// doctor's own socket received what did not leave.
fn zero_hop_limits(observation: &Observation) -> Vec<Finding> {
    let sockets = observation.before.udp_sockets.iter().filter_map(|socket| {
        let options = observation.before.socket_options.get(&socket.inode)?;
        let is_zero = |family| options.groups.get(&family).is_some_and(|groups| groups.hop_limit == 0);
        let family = [Family::V4, Family::V6].into_iter().find(|family| is_zero(*family))?;
        match (observation.trial(), observation.program()) {
            (Some(trial), _) => {
                let is_family = trial.group().family() == family;
                (is_family && is_kept_here(observation, trial, socket)).then_some((
                    socket,
                    family,
                    Severity::Fault,
                ))
            }
            (None, Some(program)) => {
                let own = program.sockets.iter().find(|own| own.inode == socket.inode)?;
                // A program that only receives may set it as well.
                let is_sender = own.memberships.is_empty();
                Some((socket, family, if is_sender { Severity::Fault } else { Severity::Warning }))
            }
            (None, None) => None,
        }
    });
    sockets.map(|(socket, family, severity)| zero_hop_limit(observation, socket, family, severity)).collect()
}

/// A hop limit for all routers of a site.
const FAR: u8 = 16;

fn zero_hop_limit(
    observation: &Observation,
    socket: &UdpSocket,
    family: Family,
    severity: Severity,
) -> Finding {
    let port = socket.local.port();
    let sent =
        || observation.wire.flows.iter().find(|flow| flow.key.outgoing && flow.key.source.port() == port);
    let to = observation.trial().map(TrialMembership::destination).or_else(|| Some(sent()?.destination()));
    let who = observation.program().map_or("A program on this machine", |program| &program.name);
    let option = hop_limit_option(family);
    let text = to.map_or_else(|| "groups".to_owned(), |to| to.to_string());
    let finding = Finding::new(
        Id::TtlTooSmall,
        severity,
        format!("{who} sends to {text} from port {port} with hop limit 0: while a program on this machine has joined the group, nothing leaves the machine."),
    )
    .in_program(who)
    .evidence(EvidenceKind::Socket, format!("socket {}", socket.inode), format!("{option} 0"))
    .with_remedies(observation.program().and_then(|program| {
        let own = program.sockets.iter().find(|own| own.inode == socket.inode)?;
        remedies::socket::change(own, &[remedies::socket::hop_limit(family, 0, 1)])
    }))
    .with_remedies([raise(family)]);
    match to {
        Some(to) => finding.for_group(to).with_remedies([remedies::mcast::send_far(to)]),
        None => finding,
    }
}

/// Returns whether the doctor's own socket received from a socket of this machine, and nothing of it left.
fn is_kept_here(observation: &Observation, trial: &TrialMembership, socket: &UdpSocket) -> bool {
    let port = socket.local.port();
    let is_sender =
        |count: &ReceivedCount| count.source.port() == port && observation.before.is_own(count.source.ip());
    let mut sent = observation.wire.outgoing(trial.group().addr());
    trial.received.iter().any(is_sender) && !sent.any(|flow| flow.key.source.port() == port)
}

/// Returns the interfaces to which this machine would forward the flow if its hop limit were larger.
fn blocked_outgoing_interfaces(observation: &Observation, flow: &Flow) -> Option<String> {
    let route = observation.after.multicast_routes.iter().find(|route| {
        let here = route.from.as_deref() == Some(&observation.link_name(flow.key.interface));
        !flow.key.outgoing && here && route.group == flow.key.group && route.source == flow.key.source.ip()
    })?;
    (!route.to.is_empty()).then(|| list(route.to.iter().map(|(name, _)| name)))
}

fn at_router(observation: &Observation, flow: &Flow, to: &str) -> Finding {
    let (destination, source, hop_limit) = (flow.destination(), flow.key.source, flow.hop_limits.1);
    let interface = observation.link_name(flow.key.interface);
    let route = format!("{} from {interface} to {to}", flow.key.group);
    let cause = format!(
        "{destination} from {source} arrives with hop limit {hop_limit}, so it is not forwarded to {to}."
    );
    finding(observation, flow, Severity::Fault, cause).evidence(
        EvidenceKind::Table,
        "/proc/net/ip_mr_cache",
        route,
    )
}

fn at_sender(observation: &Observation, flow: &Flow) -> Finding {
    let (destination, hop_limit) = (flow.destination(), flow.hop_limits.1);
    let cause = format!(
        "{destination} is sent with hop limit {hop_limit}: receivers behind a router do not receive it."
    );
    let family = Family::of(flow.key.group);
    let on_socket = observation.program().and_then(|program| {
        let change = remedies::socket::hop_limit(family, hop_limit, FAR);
        remedies::socket::change(program.socket_of(flow)?, &[change])
    });
    let finding = finding(observation, flow, Severity::Note, cause);
    Finding { remedies: on_socket.into_iter().chain(finding.remedies).collect(), ..finding }
}

fn finding(observation: &Observation, flow: &Flow, severity: Severity, cause: String) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let packets = format!("{} datagrams, hop limit {}", flow.datagrams, flow.hop_limits.1);
    Finding::new(Id::TtlTooSmall, severity, cause)
        .about_flow(&interface, flow)
        .evidence(EvidenceKind::Packet, &interface, packets)
        .with_remedies([raise(Family::of(flow.key.group)), remedies::mcast::send_far(flow.destination())])
}

const fn hop_limit_option(family: Family) -> &'static str {
    match family {
        Family::V4 => "IP_MULTICAST_TTL",
        Family::V6 => "IPV6_MULTICAST_HOPS",
    }
}

fn raise(family: Family) -> Remedy {
    let option = hop_limit_option(family);
    Remedy::advice(
        Tool::Program,
        format!("In the sender, set {option} to more than the number of routers on the path."),
    )
}

/// Returns whether the scope of the group allows it to cross routers.
fn may_cross_routers(flow: &Flow) -> bool {
    let scope = Group::new(flow.key.group).map(Group::scope);
    matches!(scope, Ok(Scope::SiteLocal | Scope::OrganizationLocal | Scope::Global))
}
