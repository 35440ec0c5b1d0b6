//! Windows: `netsh`, with changes until the next boot (`store=active`) or permanent ones (`store=persistent`).

use std::net::IpAddr;

use mcast::Family;

use super::{scope_of_address, scope_of_groups, scope_of_interface};
use crate::snapshot::Link;
use crate::{Persistence, Remedy, Tool};

pub(crate) const ROUTE_V4: &str = "netsh interface ipv4 show route";
pub(crate) const ROUTE_V6: &str = "netsh interface ipv6 show route";

pub(crate) fn route_groups(family: Family, link: &Link) -> Vec<Remedy> {
    let (name, groups) = match family {
        Family::V4 => ("ipv4", "224.0.0.0/4"),
        Family::V6 => ("ipv6", "ff00::/8"),
    };
    let args = |verb, store| ["interface", name, verb, "route", groups, link.name(), store];
    let scope = scope_of_groups(family, link.name());
    vec![
        Remedy::with_undo(
            Tool::Netsh,
            Persistence::Now,
            args("add", "store=active"),
            args("delete", "store=active"),
        )
        .with_scope(scope.clone()),
        Remedy::with_undo(
            Tool::Netsh,
            Persistence::Permanent,
            args("add", "store=persistent"),
            args("delete", "store=persistent"),
        )
        .with_scope(scope),
    ]
}

/// Returns `None`: Windows joins on the interface of the unicast route, so a route for one group does not move
/// its membership.
pub(crate) fn route_group(_group: IpAddr, _link: &Link, _has_routing_rules: bool) -> Option<Remedy> {
    None
}

pub(crate) fn bring_up(link: &Link) -> Vec<Remedy> {
    let words = |state| ["interface", "set", "interface", link.name(), state];
    let remedy = Remedy::with_undo(Tool::Netsh, Persistence::Permanent, words("enabled"), words("disabled"));
    vec![remedy.with_scope(scope_of_interface(link.name()))]
}

pub(crate) fn remove_address(address: IpAddr, _prefix: u8, interface: &str) -> Remedy {
    Remedy::now(Tool::Netsh, ["interface", "ipv6", "delete", "address", interface, &address.to_string()])
        .with_scope(scope_of_address(address, interface))
}
