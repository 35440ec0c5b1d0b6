//! A port of a bridge does not get groups that nobody has reported. Nobody reports 224.0.0.x, and
//! without snooping nobody's reports count.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let ports = seen.after.links.iter().filter_map(|link| {
        let port = link.port.filter(|port| !port.floods_multicast && !port.leads_to_router)?;
        let bridge = link.master.and_then(|bridge| seen.after.link(bridge))?;
        Some((link, port, bridge, bridge.bridge?))
    });
    ports
        .map(|(link, _, bridge, options)| {
            let (severity, what) = if options.snooping {
                (
                    Severity::Warning,
                    "groups that nobody has reported, 224.0.0.x among them, which nobody ever reports",
                )
            } else {
                (Severity::Fault, "any group, as snooping is off, too")
            };
            Finding::new(
                Id::FloodOff,
                severity,
                format!("{} does not pass on by {} {what}.", bridge.name, link.name),
            )
            .on(&link.name)
            .because(Evidence::new(Sort::Setting, format!("{} mcast_flood", link.name), "off"))
            .because(Evidence::new(
                Sort::Setting,
                format!("{} mcast_snooping", bridge.name),
                if options.snooping { "on" } else { "off" },
            ))
            .remedied([
                Remedy::now(Tool::Bridge, format!("bridge link set dev {} mcast_flood on", link.name)),
                remedies::networkd(&link.name, "[Bridge]\\nMulticastFlood=yes\\n"),
            ])
        })
        .collect()
}
