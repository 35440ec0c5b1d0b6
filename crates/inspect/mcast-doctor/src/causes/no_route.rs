//! There is no route for groups, so programs that do not choose an interface can neither send (`ENETUNREACH`)
//! nor join.

use mcast::{ErrorKind, Family};

use super::{Cause, Check};
use crate::observation::{Observation, Program, ProgramSocket};
use crate::printed_error::PrintedErrorKind;
use crate::snapshot::Link;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 1112 section 6.1"])
    .offering(|on| remedies::linux::route_groups(Family::V4, &on.link));

fn check(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let refused = trial.failed_with(ErrorKind::NoRoute);
        let finding = refused.map(|failure| {
            finding(observation, trial.group().family(), Severity::Fault).evidence(
                EvidenceKind::Answer,
                "join",
                &failure.text,
            )
        });
        return finding.into_iter().collect();
    }
    if let Some(program) = observation.program() {
        let printed = printed(observation, program);
        if !printed.is_empty() {
            return printed;
        }
    }
    let is_concerned = |family| match observation.program() {
        Some(program) => is_silent_sender(observation, program, family),
        None => observation.is_about_machine(),
    };
    let missing = missing_routes(observation).filter(|family| is_concerned(*family));
    missing.map(|family| finding(observation, family, Severity::Warning)).collect()
}

/// Judges a program that prints that a join found no interface, or sending no route.
fn printed(observation: &Observation, program: &Program) -> Vec<Finding> {
    let kinds = [PrintedErrorKind::NoRoute, PrintedErrorKind::NoDevice];
    let mut errors = kinds.into_iter().flat_map(|kind| program.failed_with(kind, &observation.wire));
    let Some(error) = errors.next() else { return Vec::new() };
    let missing = missing_routes(observation).map(|family| {
        let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
        finding(observation, family, Severity::Fault).with_evidence(answer).in_program(&program.name)
    });
    missing.collect()
}

/// Returns the families for whose groups there is no route, although an interface could carry them.
pub(super) fn missing_routes(observation: &Observation) -> impl Iterator<Item = Family> {
    let routes = observation.after.group_routes.iter();
    let missing = routes.filter(|route| route.interface.is_none()).map(|route| route.family);
    missing.filter(|family| usable(observation, *family).is_some())
}

/// Returns whether a program may be trying to send to groups of a family: it has joined none, has a socket for the family
/// that is not bound to an interface, and sends to no group.
fn is_silent_sender(observation: &Observation, program: &Program, family: Family) -> bool {
    let is_open = |socket: &ProgramSocket| {
        socket.bound_interface.is_none() && socket.local.is_some_and(|local| Family::of(local.ip()) == family)
    };
    program.sockets.iter().any(is_open)
        && program.sockets.iter().all(|socket| socket.memberships.is_empty())
        && !observation.wire.flows.iter().any(|flow| flow.key.outgoing && program.sends(flow))
}

/// Returns an interface that could carry the groups of a family.
fn usable(observation: &Observation, family: Family) -> Option<&Link> {
    observation.after.links.iter().find(|link| link.is_of_the_host() && link.has_address(family))
}

fn finding(observation: &Observation, family: Family, severity: Severity) -> Finding {
    let v4 = family == Family::V4;
    Finding::new(
        Id::NoRoute,
        severity,
        format!("There is no {family} route for groups, so programs that do not choose an interface can neither send nor join."),
    )
    .evidence(EvidenceKind::Route, if v4 { remedies::ROUTE_V4 } else { remedies::ROUTE_V6 }, "unreachable")
    .with_remedies(usable(observation, family).map(|link| remedies::route_groups(family, link)).unwrap_or_default())
    .advise(Tool::Program, "Or choose the interface in the program: with IP_MULTICAST_IF (IPV6_MULTICAST_IF) to send, and by its index to join.")
}
