//! A bridge removes a port from a group at the first leave, although other hosts behind it still listen.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.1"])
    .without_loss()
    .offering(|on| leave_slowly(&on.link));

fn check(observation: &Observation) -> Vec<Finding> {
    let risky = observation.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| port.fast_leave && port.hosts > 1)?;
        let bridge = link.interface.port_of.and_then(|bridge| observation.after.link(bridge))?;
        bridge.bridge.is_some_and(|bridge| bridge.snooping).then_some((link, port, bridge))
    });
    risky
        .map(|(link, port, bridge)| {
            Finding::warning(
                Id::FastLeave,
                format!("{} removes {} from a group at the first leave, although {} hosts are behind the port: the other hosts lose the group as well.", bridge.name(), link.name(), port.hosts),
            )
            .on_interface(link.name())
            .evidence(EvidenceKind::Setting, format!("{} fastleave", link.name()), "on")
            .evidence(EvidenceKind::Table, format!("bridge fdb of {}", link.name()), format!("{} hosts", port.hosts))
            .with_remedies(leave_slowly(link))
        })
        .collect()
}

fn leave_slowly(port: &Link) -> Vec<Remedy> {
    let name = port.name();
    let scope = format!("every group that hosts behind {name} leave: it flows there a few seconds longer");
    let scope = RemedyScope::new(scope);
    let now = Remedy::now(Tool::Bridge, ["link", "set", "dev", name, "fastleave", "off"]);
    remedies::with_networkd(now.with_scope(scope), port, "fast-leave", "[Bridge]\nFastLeave=no\n")
}
