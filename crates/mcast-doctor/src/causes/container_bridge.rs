//! A container's bridge does address translation for unicast and nothing for groups: they end at it.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(asked) = seen.asked() else { return Vec::new() };
    let arrives = seen.wire.incoming(asked.group.addr()).next().is_some();
    if arrives || seen.heard_anything() || asked.group.scope().stays_on_link() {
        return Vec::new();
    }
    let is_inside = |index: &&u32| {
        seen.wire.is_complete(**index)
            && seen.link(**index).is_some_and(|link| {
                link.peer_elsewhere
                    && link.kind.as_deref() == Some("veth")
                    && seen.after.gateways.contains(&link.name)
            })
    };
    let Some(link) = asked.joined.iter().find(is_inside).and_then(|index| seen.link(*index)) else {
        return Vec::new();
    };
    let marker =
        seen.after.machine.container.iter().map(|marker| Evidence::new(Sort::Machine, marker, "exists"));
    let finding = Finding::new(
        Id::ContainerBridge,
        Severity::Warning,
        format!("{} ends in another network namespace of this machine, whose bridge passes no groups from outside, and nothing for {} came.", link.name, asked.group),
    )
    .on(&link.name)
    .of(format_args!("{}:{}", asked.group, asked.port))
    .because(Evidence::new(Sort::Interface, &link.name, "veth, its other end in another network namespace"))
    .because(Evidence::new(Sort::Route, "default", format!("by a gateway behind {}", link.name)))
    .because_all(marker)
    .remedied([
        Remedy::advice(Tool::Container, "Run the container in the host's network (docker run --network host; hostNetwork: true in Kubernetes), or give it a macvlan interface (docker network create -d macvlan)."),
        Remedy::advice(Tool::Network, "Or route the group on the host, from its interface to the bridge, with smcroute."),
    ]);
    vec![finding]
}
