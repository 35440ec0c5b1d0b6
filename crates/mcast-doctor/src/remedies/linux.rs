//! Linux: iproute2, and who keeps settings for good.

use std::net::IpAddr;

use mcast::Family;

use super::networkd;
use crate::{Remedy, Tool};

pub(crate) const ROUTE_V4: &str = "ip route get 239.255.255.1";
pub(crate) const ROUTE_V6: &str = "ip -6 route get ff15::1";

pub(crate) fn route_groups(family: Family, interface: &str) -> Vec<Remedy> {
    match family {
        Family::V4 => vec![
            Remedy::now(Tool::Ip, format!("ip route add 224.0.0.0/4 dev {interface}")),
            networkd(interface, "[Route]\\nDestination=224.0.0.0/4\\nScope=link\\n"),
            Remedy::for_good(
                Tool::NetworkManager,
                format!(
                    "nmcli connection modify \"$(nmcli -g GENERAL.CONNECTION device show {interface})\" +ipv4.routes 224.0.0.0/4"
                ),
            ),
        ],
        Family::V6 => {
            vec![Remedy::now(
                Tool::Ip,
                format!("ip -6 route add multicast ff00::/8 dev {interface} table local"),
            )]
        }
    }
}

pub(crate) fn move_groups(interface: &str) -> Remedy {
    Remedy::now(Tool::Ip, format!("ip route replace 224.0.0.0/4 dev {interface}"))
}

pub(crate) fn bring_up(interface: &str) -> Vec<Remedy> {
    vec![
        Remedy::now(Tool::Ip, format!("ip link set {interface} up")),
        Remedy::for_good(
            Tool::NetworkManager,
            format!("nmcli device set {interface} managed yes autoconnect yes"),
        ),
    ]
}

pub(crate) fn bring_down_and_up(interface: &str) -> Remedy {
    Remedy::now(Tool::Ip, format!("ip link set {interface} down && ip link set {interface} up"))
}

pub(crate) fn remove_address(address: IpAddr, prefix: u8, interface: &str) -> Remedy {
    Remedy::now(Tool::Ip, format!("ip -6 address del {address}/{prefix} dev {interface}"))
}
