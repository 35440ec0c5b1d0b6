//! This machine routes the group, but receives it on another interface than its multicast route expects.

use std::collections::BTreeSet;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 7761 section 4.2"]).without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let mut reported = BTreeSet::new();
    let wrong = observation.after.multicast_routes.iter().filter_map(|route| {
        let before = observation.before.multicast_routes.iter().find(|before| {
            (before.group, before.source, &before.from) == (route.group, route.source, &route.from)
        });
        let before = before.map_or(0, |before| before.wrong_interface);
        let from = route.from.as_ref()?;
        (route.wrong_interface > before && reported.insert((route.group, route.source)))
            .then_some((route, from, before))
    });
    wrong
        .map(|(route, from, before)| {
            let actual = observation.wire.incoming(route.group).find(|flow| {
                let same = flow.key.source.ip() == route.source || route.source.is_unspecified();
                same && observation.link_name(flow.key.interface) != *from
            });
            let by = actual.map_or_else(|| "another interface".to_owned(), |flow| observation.link_name(flow.key.interface));
            Finding::fault(
                Id::RouterWrongInterface,
                format!("{} arrives on {by}, but its multicast route expects it on {from}, so it is not forwarded.", route.group),
            )
            .on_interface(from)
            .for_group(route.group)
            .from_source(route.source)
            .change(EvidenceKind::Counter, "/proc/net/ip_mr_cache Wrong", before, route.wrong_interface)
            .advise(Tool::Network, format!("Route {} by unicast through the interface on which the group arrives, or change the incoming interface of the multicast route (smcroute, PIM).", route.source))
        })
        .collect()
}
