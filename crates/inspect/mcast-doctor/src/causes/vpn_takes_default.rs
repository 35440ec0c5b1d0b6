//! The route for groups leads into a tunnel, and most tunnels do not carry multicast.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{EvidenceKind, Finding, Id, Severity, Tool, remedies};
use mcast::{Family, InterfaceSelector};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &[])
    .offering(|on| remedies::linux::route_groups(Family::V4, &on.link));

fn check(observation: &Observation) -> Vec<Finding> {
    let by_default = observation
        .trial()
        .filter(|trial| trial.membership.interface == Some(InterfaceSelector::Default))
        .map(|trial| trial.group().family());
    let routes = observation.after.group_routes.iter().filter(|route| match by_default {
        Some(family) => route.family == family,
        None => observation.is_about_machine(),
    });
    let findings = routes.filter_map(|route| {
        let tunnel = observation.after.link(route.interface?).filter(|link| link.is_tunnel())?;
        let v4 = route.family == Family::V4;
        let ordinary = |link: &&Link| {
            link.is_of_the_host() && link.interface.multicast && !link.is_tunnel() && link.has_address(route.family)
        };
        let other = observation.after.links.iter().find(ordinary)?;
        let severity = if by_default.is_some() && !observation.received_anything() {
            Severity::Fault
        } else {
            Severity::Warning
        };
        let finding = Finding::new(
            Id::VpnTakesDefault,
            severity,
            format!(
                "{} groups leave through the tunnel {} unless a program chooses another interface, such as {}.",
                route.family, tunnel.name(), other.name()
            ),
        )
        .on_interface(tunnel.name())
        .evidence(
            EvidenceKind::Route,
            if v4 { "ip route get 239.255.255.1" } else { "ip -6 route get ff15::1" },
            format!("dev {}", tunnel.name()),
        )
        .evidence(
            EvidenceKind::Interface,
            tunnel.name(),
            tunnel.kind.as_deref().unwrap_or("point-to-point"),
        )
        .with_remedies(match observation.trial() {
            Some(trial) => remedies::route_group(trial.group().addr(), other, observation.after.has_routing_rules).into_iter().collect(),
            None => remedies::route_groups(route.family, other),
        })
        .advise(
            Tool::Program,
            format!("Or choose the interface {} in the program.", other.name()),
        );
        Some(finding)
    });
    findings.collect()
}
