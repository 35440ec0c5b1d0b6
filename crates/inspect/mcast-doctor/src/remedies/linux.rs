//! Linux: iproute2, and the services that configure interfaces permanently.

use std::net::IpAddr;

use mcast::Family;

use super::{networkd, scope_of_address, scope_of_group, scope_of_groups, scope_of_interface};
use crate::snapshot::{ConfigService, Link};
use crate::{Effective, Remedy, Tool};

pub(crate) const ROUTE_V4: &str = "ip route get 239.255.255.1";
pub(crate) const ROUTE_V6: &str = "ip -6 route get ff15::1";

pub(crate) fn route_groups(family: Family, link: &Link) -> Vec<Remedy> {
    match family {
        Family::V4 => {
            // `replace`, because an unreachable route may exist.
            let scope = scope_of_groups(family, link.name());
            let now = Remedy::now(Tool::Ip, ["route", "replace", "224.0.0.0/4", "dev", link.name()]);
            let mut remedies = vec![now.with_scope(scope.clone())];
            let lines = "[Route]\nDestination=224.0.0.0/4\nScope=link\n";
            remedies.extend(networkd(link, "route", lines, scope.clone()));
            if let Some(ConfigService::NetworkManager { connection }) = &link.config_service {
                remedies.push(
                    Remedy::permanent(
                        Tool::NetworkManager,
                        ["connection", "modify", "uuid", connection, "+ipv4.routes", "224.0.0.0/4"],
                    )
                    .with_scope(scope.effective(Effective::AfterReconnect)),
                );
            }
            remedies
        }
        Family::V6 => vec![
            Remedy::now(
                Tool::Ip,
                ["-6", "route", "replace", "multicast", "ff00::/8", "dev", link.name(), "table", "local"],
            )
            .with_scope(scope_of_groups(family, link.name())),
        ],
    }
}

/// Routes a group to an interface. The table `local` comes before all rules for routing, which may choose others.
pub(crate) fn route_group(group: IpAddr, link: &Link, has_routing_rules: bool) -> Option<Remedy> {
    let to = format!("{group}/{}", if group.is_ipv4() { 32 } else { 128 });
    let table = if has_routing_rules { ["table", "local"].as_slice() } else { &[] };
    let remedy = match group {
        IpAddr::V4(_) => {
            let route = ["route", "replace", &to, "dev", link.name()];
            Remedy::now(Tool::Ip, route.iter().chain(table))
        }
        IpAddr::V6(_) => Remedy::now(
            Tool::Ip,
            ["-6", "route", "replace", "multicast", &to, "dev", link.name(), "table", "local"],
        ),
    };
    Some(remedy.with_scope(scope_of_group(group, link.name())))
}

pub(crate) fn bring_up(link: &Link) -> Vec<Remedy> {
    let scope = scope_of_interface(link.name());
    let now = Remedy::now(Tool::Ip, ["link", "set", "dev", link.name(), "up"]);
    let mut remedies = vec![now.with_scope(scope.clone())];
    if matches!(link.config_service, Some(ConfigService::NetworkManager { .. })) {
        remedies.push(
            Remedy::permanent(
                Tool::NetworkManager,
                ["device", "set", link.name(), "managed", "yes", "autoconnect", "yes"],
            )
            .with_scope(scope),
        );
    }
    remedies
}

pub(crate) fn remove_address(address: IpAddr, prefix: u8, interface: &str) -> Remedy {
    Remedy::now(Tool::Ip, ["-6", "address", "del", &format!("{address}/{prefix}"), "dev", interface])
        .with_scope(scope_of_address(address, interface))
}
