//! The bridge's table of groups is full: the kernel then switches snooping off and floods everything.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let full = seen.after.links.iter().filter_map(|link| {
        let bridge = link.bridge.filter(|bridge| bridge.table_limit > 0 && bridge.table_entries > 0)?;
        let nearly = u64::from(bridge.table_entries) * 10 >= u64::from(bridge.table_limit) * 9;
        nearly.then_some((link, bridge))
    });
    full.map(|(link, bridge)| {
        let what = if bridge.snooping {
            "nearly full: one that does not fit switches snooping off"
        } else {
            "full, so snooping is off and every group goes to every port"
        };
        Finding::new(
            Id::SnoopingTableFull,
            Severity::Warning,
            format!("The table of groups of {} is {what}.", link.name),
        )
        .on(&link.name)
        .because(Evidence::new(
            Sort::Table,
            format!("bridge mdb show dev {}", link.name),
            format!("{} entries", bridge.table_entries),
        ))
        .because(Evidence::new(Sort::Setting, format!("{} mcast_hash_max", link.name), bridge.table_limit))
        .because(Evidence::new(
            Sort::Setting,
            format!("{} mcast_snooping", link.name),
            if bridge.snooping { "on" } else { "off" },
        ))
        .remedied([Remedy::now(
            Tool::Ip,
            format!(
                "ip link set {} type bridge mcast_hash_max {} mcast_snooping 1",
                link.name,
                bridge.table_limit.max(1024).saturating_mul(4)
            ),
        )])
    })
    .collect()
}
