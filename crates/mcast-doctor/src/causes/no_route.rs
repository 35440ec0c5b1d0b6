//! No route says by which interface groups leave: programs that choose none cannot send (`ENETUNREACH`),
//! and not join either.

use mcast::{ErrorKind, Family};

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    if let Some(asked) = seen.asked() {
        let refused = asked.failed_with(ErrorKind::NoRoute);
        let finding = refused.map(|failure| {
            finding(seen, asked.group.family(), Severity::Fault).because(Evidence::new(
                Sort::Answer,
                "join",
                &failure.text,
            ))
        });
        return finding.into_iter().collect();
    }
    if !seen.is_about_machine() {
        return Vec::new();
    }
    let missing = seen.after.group_routes.iter().filter(|route| {
        let usable = |v4| seen.after.links.iter().any(|link| link.is_of_the_host() && link.has_address(v4));
        route.interface.is_none() && usable(route.family == Family::V4)
    });
    missing.map(|route| finding(seen, route.family, Severity::Warning)).collect()
}

fn finding(seen: &Observation, family: Family, severity: Severity) -> Finding {
    let v4 = family == Family::V4;
    let usable = seen.after.links.iter().find(|link| link.is_of_the_host() && link.has_address(v4));
    let interface = usable.map_or("INTERFACE", |link| link.name.as_str());
    Finding::new(
        Id::NoRoute,
        severity,
        format!("There is no {family} route for groups, so programs that choose no interface can neither send nor join."),
    )
    .because(Evidence::new(Sort::Route, if v4 { remedies::ROUTE_V4 } else { remedies::ROUTE_V6 }, "unreachable"))
    .remedied(remedies::route_groups(family, interface))
    .remedied([Remedy::advice(Tool::Program, "Or choose the interface in the program: IP_MULTICAST_IF (IPV6_MULTICAST_IF) to send, the index to join.")])
}
