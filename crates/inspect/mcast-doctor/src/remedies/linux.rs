//! Linux: iproute2, and the services that configure interfaces permanently.

use std::net::IpAddr;

use mcast::Family;

use super::{networkd, scope_of_address, scope_of_group, scope_of_groups, scope_of_interface};
use crate::change::{Attribute, Change, Route};
use crate::snapshot::{ConfigService, Link};
use crate::{Effective, Persistence, Remedy, RemedyScope, Tool};

pub(crate) const ROUTE_V4: &str = "ip route get 239.255.255.1";
pub(crate) const ROUTE_V6: &str = "ip -6 route get ff15::1";

pub(crate) fn route_groups(family: Family, link: &Link) -> Vec<Remedy> {
    match family {
        Family::V4 => {
            // `replace`, because an unreachable route may exist.
            let scope = scope_of_groups(family, link.name());
            let now = Remedy::now_changing(Tool::Ip, Change::Route(Route::v4("224.0.0.0/4", link.name())));
            let mut remedies = vec![now.with_scope(scope.clone())];
            let lines = "[Route]\nDestination=224.0.0.0/4\nScope=link\n";
            remedies.extend(networkd(link, "route", lines, scope.clone()));
            if let Some(ConfigService::NetworkManager { connection }) = &link.config_service {
                remedies.push(
                    Remedy::of(
                        Tool::NetworkManager,
                        Persistence::Permanent,
                        [Change::Connection {
                            uuid: connection.clone(),
                            option: "ipv4.routes".to_owned(),
                            value: "224.0.0.0/4".to_owned(),
                            is_there: true,
                        }],
                    )
                    .with_scope(scope.effective(Effective::AfterReconnect)),
                );
            }
            remedies
        }
        Family::V6 => vec![
            Remedy::now_changing(Tool::Ip, v6("ff00::/8", link))
                .with_scope(scope_of_groups(family, link.name())),
        ],
    }
}

/// Routes a group to an interface. The table `local` comes before all rules for routing, which may choose others.
pub(crate) fn route_group(group: IpAddr, link: &Link, has_routing_rules: bool) -> Option<Remedy> {
    let to = format!("{group}/{}", if group.is_ipv4() { 32 } else { 128 });
    let route = match group {
        IpAddr::V4(_) if has_routing_rules => Change::Route(Route::v4(&to, link.name()).in_table_local()),
        IpAddr::V4(_) => Change::Route(Route::v4(&to, link.name())),
        IpAddr::V6(_) => v6(&to, link),
    };
    Some(Remedy::now_changing(Tool::Ip, route).with_scope(scope_of_group(group, link.name())))
}

/// Returns the route of IPv6 groups. With a metric of 1 it comes before those of the kernel (256), which every interface has.
fn v6(to: &str, link: &Link) -> Change {
    Change::Route(Route::v6("multicast", to, link.name(), Some(1)).in_table_local())
}

pub(crate) fn bring_up(link: &Link) -> Vec<Remedy> {
    let scope = scope_of_interface(link.name());
    let now = Remedy::now_changing(Tool::Ip, Change::interface(link.name(), Attribute::State, "up"));
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

/// Returns the remedy that sets the MTU of an interface.
pub(crate) fn set_mtu(link: &Link, mtu: u32) -> Remedy {
    let remedy = Remedy::now_changing(Tool::Ip, Change::interface(link.name(), Attribute::Mtu, mtu));
    remedy.with_scope(RemedyScope::new(format!("all traffic of {}", link.name())).warning(format!(
        "larger packets also leave by {}, which every device behind it must accept; some devices lose their link for a moment, and with it a remote session",
        link.name()
    )))
}

/// Removes a group from the addresses of an interface. Linux takes one of IPv6 back only with `autojoin`.
pub(crate) fn remove_group_address(group: IpAddr, prefix: u8, interface: &str, joins: bool) -> Remedy {
    let address = format!("{group}/{prefix}");
    let removal = ["address", "del", &address, "dev", interface];
    let mut undo = vec!["address", "add", &address, "dev", interface];
    if joins || group.is_ipv6() {
        undo.push("autojoin");
    }
    let scope = RemedyScope::new(format!("{group} on {interface}"))
        .warning("programs that have not joined the group themselves no longer receive it");
    Remedy::with_undo(Tool::Ip, Persistence::Now, removal, undo).with_scope(scope)
}

pub(crate) fn remove_address(address: IpAddr, prefix: u8, interface: &str) -> Remedy {
    let address_of = format!("{address}/{prefix}");
    let removal = Change::Address { interface: interface.to_owned(), address: address_of, is_there: false };
    Remedy::now_changing(Tool::Ip, removal).with_scope(scope_of_address(address, interface))
}
