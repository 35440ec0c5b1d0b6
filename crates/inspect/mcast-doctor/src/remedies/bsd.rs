//! macOS and FreeBSD: `route` and `ifconfig`, whose changes last until the next boot.

use std::net::IpAddr;

use mcast::Family;

use super::{scope_of_address, scope_of_group, scope_of_groups, scope_of_interface};
use crate::snapshot::Link;
use crate::{Persistence, Remedy, Tool};

pub(crate) const ROUTE_V4: &str = "route -n get 239.255.255.1";
pub(crate) const ROUTE_V6: &str = "route -n get -inet6 ff15::1";

pub(crate) fn route_groups(family: Family, link: &Link) -> Vec<Remedy> {
    let (option, groups) = match family {
        Family::V4 => ("-net", "224.0.0.0/4"),
        Family::V6 => ("-inet6", "ff00::/8"),
    };
    vec![route(option, groups, link).with_scope(scope_of_groups(family, link.name()))]
}

pub(crate) fn route_group(group: IpAddr, link: &Link, _has_routing_rules: bool) -> Option<Remedy> {
    let option = if group.is_ipv4() { "-host" } else { "-inet6" };
    let remedy = route(option, &group.to_string(), link);
    Some(remedy.with_scope(scope_of_group(group, link.name())))
}

fn route(option: &str, to: &str, link: &Link) -> Remedy {
    let words = |verb| [verb, option, to, "-interface", link.name()];
    Remedy::with_undo(Tool::Route, Persistence::Now, words("add"), words("delete"))
}

pub(crate) fn bring_up(link: &Link) -> Vec<Remedy> {
    let remedy =
        Remedy::with_undo(Tool::Ifconfig, Persistence::Now, [link.name(), "up"], [link.name(), "down"]);
    vec![remedy.with_scope(scope_of_interface(link.name()))]
}

pub(crate) fn remove_address(address: IpAddr, _prefix: u8, interface: &str) -> Remedy {
    Remedy::now(Tool::Ifconfig, [interface, "inet6", &address.to_string(), "delete"])
        .with_scope(scope_of_address(address, interface))
}
