//! This machine routes the group, but receives it on another interface than its multicast route expects.

use std::collections::BTreeSet;

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::MulticastRoute;
use crate::wire::Flow;
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
    let is_of = |route: &MulticastRoute, flow: &Flow| {
        flow.key.source.ip() == route.source || route.source.is_unspecified()
    };
    let actual = |route: &MulticastRoute, from: &str| {
        let mut incoming = observation.wire.incoming(route.group);
        incoming.find(|flow| is_of(route, flow) && observation.link_name(flow.key.interface) != from)
    };
    // The kernel also counts its own copies of what it forwards to an interface on which a program has joined.
    let is_own_copy = |route: &MulticastRoute, from: &str| {
        actual(route, from).is_none() && observation.wire.outgoing(route.group).any(|flow| is_of(route, flow))
    };
    wrong
        .filter(|(route, from, _)| !is_own_copy(route, from))
        .map(|(route, from, before)| {
            let actual = actual(route, from);
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
