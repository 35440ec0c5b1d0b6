//! A bridge removes a port from a group at the first leave, although other hosts behind it still listen.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.1"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let risky = observation.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| port.fast_leave && port.hosts > 1)?;
        let bridge = link.interface.port_of.and_then(|bridge| observation.after.link(bridge))?;
        bridge.bridge.is_some_and(|bridge| bridge.snooping).then_some((link, port, bridge))
    });
    risky
        .map(|(link, port, bridge)| {
            let scope = RemedyScope::new(format!("every group that hosts behind {} leave: it flows there a few seconds longer", link.name()));
            Finding::new(
                Id::FastLeave,
                Severity::Warning,
                format!("{} removes {} from a group at the first leave, although {} hosts are behind the port: the other hosts lose the group as well.", bridge.name(), link.name(), port.hosts),
            )
            .on_interface(link.name())
            .with_evidence(Evidence::new(EvidenceKind::Setting, format!("{} fastleave", link.name()), "on"))
            .with_evidence(Evidence::new(EvidenceKind::Table, format!("bridge fdb of {}", link.name()), format!("{} hosts", port.hosts)))
            .with_remedies([Remedy::now(Tool::Bridge, ["link", "set", "dev", link.name(), "fastleave", "off"]).with_scope(scope.clone())])
            .with_remedies(remedies::networkd(link, "fast-leave", "[Bridge]\nFastLeave=no\n", scope))
        })
        .collect()
}
