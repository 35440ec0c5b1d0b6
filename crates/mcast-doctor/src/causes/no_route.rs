//! There is no route for groups, so programs that do not choose an interface can neither send (`ENETUNREACH`)
//! nor join.

use mcast::{ErrorKind, Family};

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 1112 section 6.1"]);

fn check(observation: &Observation) -> Vec<Finding> {
    if let Some(trial) = observation.trial() {
        let refused = trial.failed_with(ErrorKind::NoRoute);
        let finding = refused.map(|failure| {
            finding(observation, trial.group().family(), Severity::Fault).with_evidence(Evidence::new(
                EvidenceKind::Answer,
                "join",
                &failure.text,
            ))
        });
        return finding.into_iter().collect();
    }
    if !observation.is_about_machine() {
        return Vec::new();
    }
    let missing = observation
        .after
        .group_routes
        .iter()
        .filter(|route| route.interface.is_none() && usable(observation, route.family).is_some());
    missing.map(|route| finding(observation, route.family, Severity::Warning)).collect()
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
    .with_evidence(Evidence::new(EvidenceKind::Route, if v4 { remedies::ROUTE_V4 } else { remedies::ROUTE_V6 }, "unreachable"))
    .with_remedies(usable(observation, family).map(|link| remedies::route_groups(family, link)).unwrap_or_default())
    .with_remedies([Remedy::advice(Tool::Program, "Or choose the interface in the program: with IP_MULTICAST_IF (IPV6_MULTICAST_IF) to send, and by its index to join.")])
}
