//! A bridge does not flood unregistered groups to a port. 224.0.0.x is never reported, and without snooping no
//! group is registered.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.2"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let ports = observation.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| !port.floods_multicast && !port.leads_to_router)?;
        let bridge = link.interface.port_of.and_then(|bridge| observation.after.link(bridge))?;
        Some((link, port, bridge, bridge.bridge?))
    });
    ports
        .map(|(link, _, bridge, options)| {
            let (severity, groups) = if options.snooping {
                (
                    Severity::Warning,
                    "groups that no host has reported, including 224.0.0.x, which hosts never report",
                )
            } else {
                (Severity::Fault, "any group, because snooping is off as well")
            };
            let scope =
                RemedyScope::new(format!("every group that no host behind {} has reported", link.name()));
            Finding::new(
                Id::FloodOff,
                severity,
                format!("{} does not forward to {} {groups}.", bridge.name(), link.name()),
            )
            .on_interface(link.name())
            .with_evidence(Evidence::new(
                EvidenceKind::Setting,
                format!("{} mcast_flood", link.name()),
                "off",
            ))
            .with_evidence(Evidence::new(
                EvidenceKind::Setting,
                format!("{} mcast_snooping", bridge.name()),
                if options.snooping { "on" } else { "off" },
            ))
            .with_remedies([Remedy::now(
                Tool::Bridge,
                ["link", "set", "dev", link.name(), "mcast_flood", "on"],
            )
            .with_scope(scope.clone())])
            .with_remedies(remedies::networkd(
                link,
                "flood",
                "[Bridge]\nMulticastFlood=yes\n",
                scope,
            ))
        })
        .collect()
}
