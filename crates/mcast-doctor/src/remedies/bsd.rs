//! macOS and FreeBSD: `route` and `ifconfig`, whose changes last until the next boot.

use std::net::IpAddr;

use mcast::Family;

use crate::{Remedy, Tool};

pub(crate) const ROUTE_V4: &str = "route -n get 239.255.255.1";
pub(crate) const ROUTE_V6: &str = "route -n get -inet6 ff15::1";

pub(crate) fn route_groups(family: Family, interface: &str) -> Vec<Remedy> {
    let groups = match family {
        Family::V4 => "-net 224.0.0.0/4",
        Family::V6 => "-inet6 ff00::/8",
    };
    vec![Remedy::now(Tool::Route, format!("route add {groups} -interface {interface}"))]
}

pub(crate) fn move_groups(interface: &str) -> Remedy {
    Remedy::now(Tool::Route, format!("route change -net 224.0.0.0/4 -interface {interface}"))
}

pub(crate) fn bring_up(interface: &str) -> Vec<Remedy> {
    vec![Remedy::now(Tool::Ifconfig, format!("ifconfig {interface} up"))]
}

pub(crate) fn bring_down_and_up(interface: &str) -> Remedy {
    Remedy::now(Tool::Ifconfig, format!("ifconfig {interface} down && ifconfig {interface} up"))
}

pub(crate) fn remove_address(address: IpAddr, _prefix: u8, interface: &str) -> Remedy {
    Remedy::now(Tool::Ifconfig, format!("ifconfig {interface} inet6 {address} delete"))
}
