//! Commands that help, for this system and this interface.
//!
//! Each family of systems offers:
//! - `ROUTE_V4`, `ROUTE_V6`: where people see by which interface groups leave.
//! - `route_groups(family, interface)`: has groups leave by an interface unless a program chooses another.
//! - `move_groups(interface)`: the same where IPv4 groups leave by another one now.
//! - `bring_up(interface)`, `bring_down_and_up(interface)`.
//! - `remove_address(address, prefix, interface)`: an IPv6 address.
//!
//! All of them compile everywhere for their tests.

#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bsd;
#[cfg(any(test, not(any(target_vendor = "apple", target_os = "freebsd", windows))))]
mod linux;
#[cfg(any(test, windows))]
mod windows;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use bsd as system;
#[cfg(not(any(target_vendor = "apple", target_os = "freebsd", windows)))]
use linux as system;
#[cfg(windows)]
use windows as system;

use std::net::SocketAddr;

use mcast::Family;

use crate::snapshot::DroppingRule;
use crate::{Remedy, Tool};
pub(crate) use system::{
    ROUTE_V4, ROUTE_V6, bring_down_and_up, bring_up, move_groups, remove_address, route_groups,
};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a system's module offers, for an interface.
    macro_rules! offered {
        ($system:ident, $interface:literal) => {{
            let mut remedies = vec![
                $system::move_groups($interface),
                $system::bring_down_and_up($interface),
                $system::remove_address("fe80::1".parse().unwrap(), 64, $interface),
            ];
            remedies.extend($system::bring_up($interface));
            remedies.extend($system::route_groups(Family::V4, $interface));
            remedies.extend($system::route_groups(Family::V6, $interface));
            let commands = remedies.iter().filter_map(Remedy::command).map(str::to_owned);
            commands.chain([$system::ROUTE_V4, $system::ROUTE_V6].map(str::to_owned)).collect::<Vec<_>>()
        }};
    }

    #[test]
    fn every_system_is_helped_by_its_own_programs() {
        let first = |command: &String| command.split(' ').next().unwrap_or_default().to_owned();
        let programs = |commands: &[String]| {
            let mut programs: Vec<_> = commands.iter().map(first).collect();
            programs.sort();
            programs.dedup();
            programs
        };

        assert_eq!(programs(&offered!(windows, "Ethernet 2")), ["netsh"]);
        assert_eq!(programs(&offered!(bsd, "en0")), ["ifconfig", "route"]);
        let linux = programs(&offered!(linux, "eth0"));
        assert!(linux.contains(&"ip".to_owned()) && !linux.contains(&"netsh".to_owned()), "{linux:?}");
    }

    #[test]
    fn names_of_windows_have_spaces() {
        let named =
            offered!(windows, "Ethernet 2").into_iter().filter(|command| command.contains("Ethernet"));
        for command in named {
            assert_eq!(
                command.matches("Ethernet 2").count(),
                command.matches("\"Ethernet 2\"").count(),
                "{command}"
            );
        }
    }
}
