//! A bridge cuts a port off at the first leave, although others behind the port still listen.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let risky = seen.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| port.fast_leave && port.hosts > 1)?;
        let bridge = link.master.and_then(|bridge| seen.after.link(bridge))?;
        bridge.bridge.is_some_and(|bridge| bridge.snooping).then_some((link, port, bridge))
    });
    risky
        .map(|(link, port, bridge)| {
            Finding::new(
                Id::FastLeave,
                Severity::Warning,
                format!("{} takes {} off a group at the first leave, although {} hosts are behind it: the others lose the group, too.", bridge.name, link.name, port.hosts),
            )
            .on(&link.name)
            .because(Evidence::new(Sort::Setting, format!("{} fastleave", link.name), "on"))
            .because(Evidence::new(Sort::Table, format!("bridge fdb of {}", link.name), format!("{} hosts", port.hosts)))
            .remedied([
                Remedy::now(Tool::Bridge, format!("bridge link set dev {} fastleave off", link.name)),
                remedies::networkd(&link.name, "[Bridge]\\nFastLeave=no\\n"),
            ])
        })
        .collect()
}
