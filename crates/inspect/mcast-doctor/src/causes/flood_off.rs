//! A bridge does not flood unregistered groups to a port. 224.0.0.x is never reported, and without snooping no
//! group is registered.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.2"])
    .without_loss()
    .offering(|on| flood(&on.link));

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
            Finding::new(
                Id::FloodOff,
                severity,
                format!("{} does not forward to {} {groups}.", bridge.name(), link.name()),
            )
            .on_interface(link.name())
            .evidence(EvidenceKind::Setting, format!("{} mcast_flood", link.name()), "off")
            .evidence(
                EvidenceKind::Setting,
                format!("{} mcast_snooping", bridge.name()),
                if options.snooping { "on" } else { "off" },
            )
            .with_remedies(flood(link))
        })
        .collect()
}

fn flood(port: &Link) -> Vec<Remedy> {
    let name = port.name();
    let scope = RemedyScope::new(format!("every group that no host behind {name} has reported"));
    let now = Remedy::now(Tool::Bridge, ["link", "set", "dev", name, "mcast_flood", "on"]);
    remedies::with_networkd(now.with_scope(scope), port, "flood", "[Bridge]\nMulticastFlood=yes\n")
}
