//! The group table of a bridge is full. The kernel then disables snooping and floods all groups.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 4541 section 2.1.1"])
    .without_loss()
    .offering(|on| vec![enlarge_table(on.bridge.name(), 1024)]);

fn check(observation: &Observation) -> Vec<Finding> {
    let full = observation.after.links.iter().filter_map(|link| {
        let bridge = link.bridge.filter(|bridge| bridge.table_limit > 0 && bridge.table_entries > 0)?;
        let nearly = u64::from(bridge.table_entries) * 10 >= u64::from(bridge.table_limit) * 9;
        nearly.then_some((link, bridge))
    });
    full.map(|(link, bridge)| {
        let state = if bridge.snooping {
            "nearly full: when it overflows, the kernel disables snooping"
        } else {
            "full, so snooping is off and every group is flooded to every port"
        };
        Finding::warning(Id::SnoopingTableFull, format!("The group table of {} is {state}.", link.name()))
            .on_interface(link.name())
            .evidence(
                EvidenceKind::Table,
                format!("bridge mdb show dev {}", link.name()),
                format!("{} entries", bridge.table_entries),
            )
            .evidence(EvidenceKind::Setting, format!("{} mcast_hash_max", link.name()), bridge.table_limit)
            .evidence(
                EvidenceKind::Setting,
                format!("{} mcast_snooping", link.name()),
                if bridge.snooping { "on" } else { "off" },
            )
            .with_remedies([enlarge_table(link.name(), bridge.table_limit)])
    })
    .collect()
}

fn enlarge_table(bridge: &str, limit: u32) -> Remedy {
    let limit = limit.max(1024).saturating_mul(4).to_string();
    let options = ["type", "bridge", "mcast_hash_max", &limit, "mcast_snooping", "1"];
    let scope = RemedyScope::new(format!("every group that {bridge} forwards"))
        .warning("the bridge forwards groups only to members again, and learns them with the next query");
    Remedy::now(Tool::Ip, ["link", "set", "dev", bridge].into_iter().chain(options)).with_scope(scope)
}
