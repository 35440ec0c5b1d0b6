//! Commands that help, for this system and this interface.

use std::net::SocketAddr;

use mcast::Family;

use crate::snapshot::DroppingRule;
use crate::{Remedy, Tool};

/// Sets a setting, now and for good.
pub(crate) fn sysctl(name: &str, value: impl std::fmt::Display) -> [Remedy; 2] {
    sysctls(&[name], value)
}

/// Sets several, which help together only.
pub(crate) fn sysctls(names: &[&str], value: impl std::fmt::Display) -> [Remedy; 2] {
    let now: String = names.iter().map(|name| format!(" {name}={value}")).collect();
    let lines: String = names.iter().map(|name| format!("{name} = {value}\\n")).collect();
    [
        Remedy::now(Tool::Sysctl, format!("sysctl -w{now}")),
        Remedy::for_good(
            Tool::Sysctl,
            format!("printf '{lines}' >> /etc/sysctl.d/90-mcast.conf && sysctl --system"),
        ),
    ]
}

/// Sends groups out by an interface unless a program chooses another.
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

/// Adds lines to what systemd-networkd has for an interface, in whichever file that stands.
pub(crate) fn networkd(interface: &str, lines: &str) -> Remedy {
    let command = format!(
        "d=/etc/systemd/network/$(basename \"$(networkctl status {interface} | sed -n 's/^ *Network File: *//p')\").d && mkdir -p \"$d\" && printf '{lines}' > \"$d/mcast.conf\" && networkctl reload"
    );
    Remedy::for_good(Tool::Networkd, command)
}

/// Lets datagrams in: nftables where the rule that dropped them is known, and the tools above it.
pub(crate) fn admit_datagrams(interface: &str, to: SocketAddr, rule: Option<&DroppingRule>) -> Vec<Remedy> {
    let family = if to.is_ipv4() { "ip" } else { "ip6" };
    let (group, port) = (to.ip(), to.port());
    // "nft FAMILY TABLE CHAIN handle N"
    let place =
        rule.map(|rule| rule.place.split_ascii_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "));
    let place = place.unwrap_or_else(|| "inet filter input".to_owned());
    let of_device = place.starts_with("netdev");
    let on = if of_device { String::new() } else { format!("iifname \"{interface}\" ") };
    vec![
        Remedy::now(
            Tool::Nft,
            format!("nft insert rule {place} '{on}{family} daddr {group} udp dport {port} accept'"),
        ),
        Remedy::for_good(
            Tool::Firewalld,
            format!(
                "firewall-cmd --permanent --zone=\"$(firewall-cmd --get-zone-of-interface={interface})\" --add-port={port}/udp && firewall-cmd --reload"
            ),
        ),
        Remedy::for_good(Tool::Ufw, format!("ufw allow in on {interface} to {group} port {port} proto udp")),
    ]
}

/// Lets the protocol out and in by which hosts tell which groups they want.
pub(crate) fn admit_membership_protocol(family: Family, interface: &str) -> Vec<Remedy> {
    let matches = match family {
        Family::V4 => "ip protocol igmp",
        Family::V6 => "icmpv6 type { 130, 131, 132, 143 }",
    };
    let mut remedies = vec![
        Remedy::now(
            Tool::Nft,
            format!("nft insert rule inet filter output 'oifname \"{interface}\" {matches} accept'"),
        ),
        Remedy::now(
            Tool::Nft,
            format!("nft insert rule inet filter input 'iifname \"{interface}\" {matches} accept'"),
        ),
    ];
    if family == Family::V4 {
        remedies.push(Remedy::for_good(
            Tool::Firewalld,
            "firewall-cmd --permanent --add-protocol=igmp && firewall-cmd --reload",
        ));
        remedies.push(Remedy::for_good(
            Tool::Ufw,
            "sed -i '/^COMMIT/i -A ufw-before-input -p igmp -j ACCEPT\\n-A ufw-before-output -p igmp -j ACCEPT' /etc/ufw/before.rules && ufw reload",
        ));
    }
    remedies
}
