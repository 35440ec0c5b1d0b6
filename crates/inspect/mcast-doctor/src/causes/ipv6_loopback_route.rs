//! The loopback interface has no route for IPv6 groups, so nothing can be sent to them there. A plain route
//! becomes one that rejects; only a route of type `local` works.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4291 section 2.7"]).offering(|on| add_route(&on.link));

fn check(observation: &Observation) -> Vec<Finding> {
    if observation.received_anything() {
        return Vec::new();
    }
    let on_loopback = observation.interests().into_iter().find_map(|interest| {
        let link = observation.link(interest.interface).filter(|link| link.interface.loopback)?;
        let silent = observation.arrivals(&interest).is_empty()
            && observation.wire.outgoing(interest.group.addr()).next().is_none();
        let lacks_route = observation.after.lacks_v6_group_route(link.name());
        (interest.group.addr().is_ipv6() && silent && lacks_route).then_some((interest, link))
    });
    let finding = on_loopback.map(|(interest, link)| {
        Finding::fault(
            Id::Ipv6LoopbackRoute,
            format!(
                "Nothing can be sent to {} on {}: it has no route for IPv6 groups.",
                interest.group,
                link.name()
            ),
        )
        .on_interface(link.name())
        .for_group(interest.destination())
        .evidence(
            EvidenceKind::Route,
            "/proc/net/ipv6_route",
            format!("no route of type local for ff00::/8 on {}", link.name()),
        )
        .with_remedies(add_route(link))
    });
    finding.into_iter().collect()
}

fn add_route(link: &Link) -> Vec<Remedy> {
    let name = link.name();
    let scope = RemedyScope::new(format!("every IPv6 group that a program sends to on {name}"));
    let now = Remedy::now(Tool::Ip, ["-6", "route", "add", "local", "ff00::/8", "dev", name]);
    remedies::with_networkd(
        now.with_scope(scope),
        link,
        "route",
        "[Route]\nDestination=ff00::/8\nType=local\n",
    )
}
