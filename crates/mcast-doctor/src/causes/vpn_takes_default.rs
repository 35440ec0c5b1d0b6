//! The route for groups leads into a tunnel, which few carry them through.

use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};
use mcast::Family;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let by_default = seen.asked().filter(|asked| asked.by_default).map(|asked| asked.group.family());
    let routes = seen.after.group_routes.iter().filter(|route| match by_default {
        Some(family) => route.family == family,
        None => seen.is_about_machine(),
    });
    let findings = routes.filter_map(|route| {
        let tunnel = seen.after.link(route.interface?).filter(|link| link.is_tunnel())?;
        let v4 = route.family == Family::V4;
        let ordinary = |link: &&Link| {
            link.is_of_the_host() && link.multicast && !link.is_tunnel() && link.has_address(v4)
        };
        let other = seen.after.links.iter().find(ordinary)?;
        let severity =
            if by_default.is_some() && !seen.heard_anything() { Severity::Fault } else { Severity::Warning };
        let finding = Finding::new(
            Id::VpnTakesDefault,
            severity,
            format!(
                "{} groups leave by the tunnel {} unless a program chooses another interface, such as {}.",
                route.family, tunnel.name, other.name
            ),
        )
        .on(&tunnel.name)
        .because(Evidence::new(
            Sort::Route,
            if v4 { "ip route get 239.255.255.1" } else { "ip -6 route get ff15::1" },
            format!("dev {}", tunnel.name),
        ))
        .because(Evidence::new(
            Sort::Interface,
            &tunnel.name,
            tunnel.kind.as_deref().unwrap_or("point to point"),
        ))
        .remedied(remedies::route_groups(route.family, &other.name))
        .remedied([Remedy::advice(
            Tool::Program,
            format!("Or choose the interface in the program: {}.", other.name),
        )]);
        Some(finding)
    });
    findings.collect()
}
