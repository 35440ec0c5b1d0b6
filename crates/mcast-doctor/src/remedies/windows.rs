//! Windows: `netsh`, which changes for now (`store=active`) or for good.

use std::net::IpAddr;

use mcast::Family;

use crate::{Remedy, Tool};

pub(crate) const ROUTE_V4: &str = "netsh interface ipv4 show route";
pub(crate) const ROUTE_V6: &str = "netsh interface ipv6 show route";

pub(crate) fn route_groups(family: Family, interface: &str) -> Vec<Remedy> {
    let groups = match family {
        Family::V4 => "ipv4 add route 224.0.0.0/4",
        Family::V6 => "ipv6 add route ff00::/8",
    };
    let command = |store| format!("netsh interface {groups} \"{interface}\" store={store}");
    vec![Remedy::now(Tool::Netsh, command("active")), Remedy::for_good(Tool::Netsh, command("persistent"))]
}

pub(crate) fn move_groups(interface: &str) -> Remedy {
    // The route of the least metric is taken.
    Remedy::now(
        Tool::Netsh,
        format!("netsh interface ipv4 add route 224.0.0.0/4 \"{interface}\" metric=0 store=active"),
    )
}

pub(crate) fn bring_up(interface: &str) -> Vec<Remedy> {
    vec![Remedy::for_good(Tool::Netsh, set(interface, "enabled"))]
}

pub(crate) fn bring_down_and_up(interface: &str) -> Remedy {
    Remedy::now(Tool::Netsh, format!("{} && {}", set(interface, "disabled"), set(interface, "enabled")))
}

pub(crate) fn remove_address(address: IpAddr, _prefix: u8, interface: &str) -> Remedy {
    Remedy::now(Tool::Netsh, format!("netsh interface ipv6 delete address \"{interface}\" {address}"))
}

fn set(interface: &str, state: &str) -> String {
    format!("netsh interface set interface \"{interface}\" {state}")
}
