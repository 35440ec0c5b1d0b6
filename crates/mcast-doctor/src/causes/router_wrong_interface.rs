//! This machine routes the group, and gets it by another interface than its way back to the source.

use std::collections::BTreeSet;

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let wrong = seen.after.multicast_routes.iter().filter_map(|route| {
        let before = seen.before.multicast_routes.iter().find(|before| {
            (before.group, before.source, &before.from) == (route.group, route.source, &route.from)
        });
        let before = before.map_or(0, |before| before.wrong_interface);
        let from = route.from.as_ref()?;
        (route.wrong_interface > before && told.insert((route.group, route.source)))
            .then_some((route, from, before))
    });
    wrong
        .map(|(route, from, before)| {
            let real = seen.wire.incoming(route.group).find(|flow| {
                let same = flow.key.source.ip() == route.source || route.source.is_unspecified();
                same && seen.link_name(flow.key.interface) != *from
            });
            let by = real.map_or_else(|| "another interface".to_owned(), |flow| seen.link_name(flow.key.interface));
            Finding::new(
                Id::RouterWrongInterface,
                Severity::Fault,
                format!("{} comes in by {by}, but the route for the group expects it by {from}, so it is not forwarded.", route.group),
            )
            .on(from)
            .of(route.group)
            .from(route.source)
            .because(Evidence::change(Sort::Counter, "/proc/net/ip_mr_cache Wrong", before, route.wrong_interface))
            .remedied([
                Remedy::advice(Tool::Network, format!("Make the unicast route to {} lead out by the interface by which the group comes, or give the group's route (smcroute, PIM) that interface.", route.source)),
            ])
        })
        .collect()
}
