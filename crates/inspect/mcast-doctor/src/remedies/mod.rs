//! Remedies for this system.
//!
//! The module of each platform family provides:
//! - `ROUTE_V4`, `ROUTE_V6`: the commands that show the interface by which groups leave.
//! - `route_groups(family, link)`: makes groups leave by an interface unless a program chooses another.
//! - `route_group(group, link, has_routing_rules)`: the same for one group, leaving the routes of others unchanged.
//! - `bring_up(link)`: brings an interface up.
//! - `remove_address(address, prefix, interface)`: removes an IPv6 address.
//!
//! Their scopes are the same on every platform: `scope_of_groups`, `scope_of_group`, `scope_of_interface` and
//! `scope_of_address`.
//!
//! All of them compile on every platform for the tests.

#[cfg(any(test, target_vendor = "apple", target_os = "freebsd"))]
mod bsd;
#[cfg_attr(
    any(target_vendor = "apple", target_os = "freebsd", windows),
    allow(dead_code, reason = "other systems need only what pages show")
)]
pub(crate) mod linux;
pub(crate) mod mcast;
pub(crate) mod socket;
#[cfg(any(test, windows))]
mod windows;

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use bsd as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(windows)]
use windows as system;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ::mcast::Family;

use crate::change::{Attribute, Chain, Change, Firewall, Rule, is_pattern};
use crate::netfilter::{Hook, Layer, RuleEffect};
use crate::observation::protocol;
use crate::snapshot::{ConfigService, DroppingRule, Link};
use crate::{Persistence, Remedy, RemedyScope, Tool};
use system::{ROUTE_V4, ROUTE_V6};
pub(crate) use system::{bring_up, remove_address, route_group, route_groups};

/// Returns the command that shows the interface by which the groups of a family leave.
pub(crate) const fn group_route(family: Family) -> &'static str {
    match family {
        Family::V4 => ROUTE_V4,
        Family::V6 => ROUTE_V6,
    }
}

/// The scope of a route for all groups of a family.
fn scope_of_groups(family: Family, interface: &str) -> RemedyScope {
    RemedyScope::after_restart(format!(
        "moves every {family} group of this host to {interface}, unless a program names an interface"
    ))
    .warning("programs that send to other groups by another interface send by this one from now on")
}

/// The scope of a route for one group.
fn scope_of_group(group: IpAddr, interface: &str) -> RemedyScope {
    RemedyScope::after_restart(format!("moves {group} to {interface}, unless a program names an interface"))
}

/// The scope of bringing an interface up.
fn scope_of_interface(interface: &str) -> RemedyScope {
    RemedyScope::new(format!("all traffic of {interface}"))
        .warning(format!("routes and services that are configured for {interface} become active"))
}

/// The scope of removing an address.
fn scope_of_address(address: IpAddr, interface: &str) -> RemedyScope {
    RemedyScope::new(format!("{address} on {interface}")).warning("connections from this address end")
}

/// Returns the change of an option of a bridge port.
pub(crate) fn port_option(port: &str, option: &str, value: &str) -> Change {
    Change::interface(port, Attribute::Port(option.to_owned()), value)
}

/// Changes a setting now and permanently.
pub(crate) fn sysctl(name: &str, value: impl std::fmt::Display, scope: RemedyScope) -> [Remedy; 2] {
    sysctls(&[name], value, scope)
}

/// Changes several settings, which only work together.
pub(crate) fn sysctls(names: &[&str], value: impl std::fmt::Display, scope: RemedyScope) -> [Remedy; 2] {
    [set(names, &value).with_scope(scope.clone()), make_permanent(names, &value, scope)]
}

fn set(names: &[&str], value: &impl std::fmt::Display) -> Remedy {
    Remedy::of(Tool::Sysctl, Persistence::Now, names.iter().map(|name| Change::setting(name, value)))
}

/// Writes the settings to a file of their own, so that applying the remedy twice is harmless, and loads only
/// that file.
fn make_permanent(names: &[&str], value: &impl std::fmt::Display, scope: RemedyScope) -> Remedy {
    if names.iter().any(|name| is_pattern(name)) {
        return Remedy::advice(
            Tool::Sysctl,
            "To make the change permanent, first rename the interface: sysctl.d cannot address a name that contains wildcards.",
        );
    }
    let name = names.last().copied().unwrap_or_default().replace('/', ".");
    let path = format!("/etc/sysctl.d/90-mcast-{name}.conf");
    let text = names.iter().map(|name| format!("{name} = {value}\n")).collect();
    let path = PathBuf::from(path);
    let file = Change::File { path: path.clone(), text: Some(text) };
    let load = |name: &&str| Change::Setting {
        name: (*name).to_owned(),
        value: value.to_string(),
        file: Some(path.clone()),
    };
    let changes = std::iter::once(file).chain(names.iter().map(load));
    Remedy::of(Tool::Sysctl, Persistence::Permanent, changes).with_scope(scope)
}

/// Adds lines to the systemd-networkd configuration of an interface, if networkd manages it. `topic` names the
/// file, so that different findings do not overwrite each other.
pub(crate) fn networkd(link: &Link, topic: &str, lines: &str, scope: RemedyScope) -> Option<Remedy> {
    let Some(ConfigService::Networkd { file }) = &link.config_service else { return None };
    let path = format!("/etc/systemd/network/{file}.d/mcast-{topic}.conf");
    let file = Change::File { path: path.into(), text: Some(lines.to_owned()) };
    let remedy = Remedy::of(Tool::Networkd, Persistence::Permanent, [file, Change::Reload]);
    let reconfigured = "networkd reloads every interface whose files have changed";
    let warning = scope
        .warning
        .as_ref()
        .map_or_else(|| reconfigured.to_owned(), |own| format!("{own}; {reconfigured}"));
    Some(remedy.with_scope(scope.warning(warning)))
}

/// Returns a remedy, and the same in the systemd-networkd configuration of the interface, if networkd manages it.
pub(crate) fn with_networkd(now: Remedy, link: &Link, topic: &str, lines: &str) -> Vec<Remedy> {
    let permanent = now.scope.clone().and_then(|scope| networkd(link, topic, lines, scope));
    std::iter::once(now).chain(permanent).collect()
}

/// Admits datagrams that arrive: with an nftables rule in front of the one that drops, if it is known, and with the
/// tools that make rules permanent.
pub(crate) fn admit_datagrams(interface: &str, to: SocketAddr, rule: Option<&DroppingRule>) -> Vec<Remedy> {
    let mut remedies = vec![admit_by_rule(interface, to, rule)];
    let port = to.port();
    if rule.is_some_and(DroppingRule::is_of_firewalld) {
        remedies.push(Remedy::advice(
            Tool::Firewalld,
            format!("To make it permanent, run `firewall-cmd --permanent --zone=ZONE --add-port={port}/udp`, then `firewall-cmd --reload`. `firewall-cmd --get-active-zones` shows the zone of {interface}."),
        ));
    }
    remedies.extend(permanently(ufw(&["allow", "in", "on", interface], interface, to), rule));
    remedies
}

/// Admits the packets of a protocol other than UDP to a group, in or out.
pub(crate) fn admit_protocol(
    interface: &str,
    group: IpAddr,
    protocol: u8,
    rule: Option<&DroppingRule>,
) -> Vec<Remedy> {
    let family = if group.is_ipv4() { "ip" } else { "ip6" };
    let (group, number) = (group.to_string(), protocol.to_string());
    let scope = RemedyScope::new(format!("IP protocol {number} to {group} on {interface}, from any source"));
    let matches = [family, "daddr", &group, "meta", "l4proto", &number];
    let now = accept(&matches, &[&["-d", &group, "-p", &number]], interface, rule, &scope);
    vec![now, Remedy::advice(Tool::Nft, "Permanently: add the same rule where the rules are configured.")]
}

/// The port by which answers are recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerPort {
    /// They come from the port of the group.
    From(u16),
    /// They go to the port from which the program asks.
    To(u16),
}

/// Admits unicast answers to what a program sends to a group.
pub(crate) fn admit_answers(
    interface: &str,
    group: SocketAddr,
    port: AnswerPort,
    rule: Option<&DroppingRule>,
) -> Vec<Remedy> {
    let (side, legacy, number, what) = match port {
        AnswerPort::From(port) => ("sport", "--sport", port, format!("UDP from port {port} of any host")),
        AnswerPort::To(port) => ("dport", "--dport", port, format!("UDP to port {port} from any host")),
    };
    let number = number.to_string();
    let family = if group.is_ipv4() { "ipv4" } else { "ipv6" };
    let scope = RemedyScope::new(format!("{what} on {interface}"))
        .warning("untrusted hosts can send such datagrams as well");
    let matches = ["meta", "nfproto", family, "udp", side, &number];
    let now = accept(&matches, &[&["-p", "udp", legacy, &number]], interface, rule, &scope);
    let permanent = match port {
        AnswerPort::From(_) => "Permanently: add the same rule where the rules are configured.",
        AnswerPort::To(_) => {
            "After a restart, the program sends its queries from another port, unless it chooses one: make it bind to a fixed port, and admit that port."
        }
    };
    vec![now, Remedy::advice(Tool::Nft, permanent)]
}

/// Admits datagrams that this machine forwards from one interface to another.
pub(crate) fn admit_forwarded(
    (from, to): (&str, &str),
    address: SocketAddr,
    rule: Option<&DroppingRule>,
) -> Vec<Remedy> {
    let path = ["route", "allow", "in", "on", from, "out", "on", to];
    let permanent = permanently(ufw(&path, from, address), rule);
    std::iter::once(admit_by_rule(from, address, rule)).chain(permanent).collect()
}

/// Admits datagrams that this machine sends.
pub(crate) fn admit_sent_datagrams(
    interface: &str,
    to: SocketAddr,
    rule: Option<&DroppingRule>,
) -> Vec<Remedy> {
    let permanent = permanently(ufw(&["allow", "out", "on", interface], interface, to), rule);
    std::iter::once(admit_by_rule(interface, to, rule)).chain(permanent).collect()
}

/// Keeps a rule from redirecting datagrams. Connection tracking remembers translated destinations, so that a rule in
/// front of the one that translates would not help a stream that is running.
pub(crate) fn keep_destination(
    hook: Hook,
    interface: &str,
    to: SocketAddr,
    effect: RuleEffect,
    rule: Option<&DroppingRule>,
) -> Vec<Remedy> {
    if !matches!(effect, RuleEffect::Redirect | RuleEffect::Masquerade) {
        return vec![admit_by_rule(interface, to, rule)];
    }
    let (family, group) = (if to.is_ipv4() { "ip" } else { "ip6" }, to.ip().to_string());
    let raw = ["{", "type", "filter", "hook", hook.name(), "priority", "-300", ";", "}"];
    let port = to.port().to_string();
    let scope = RemedyScope::new(format!("datagrams to {to}: connection tracking ignores them"));
    let untracked = match rule.and_then(legacy_program) {
        Some(program) => {
            let chain = if matches!(hook, Hook::Output) { "OUTPUT" } else { "PREROUTING" };
            let words = ["-d", &group, "-p", "udp", "--dport", &port, "-j", "CT", "--notrack"];
            let firewall = Firewall::Legacy {
                program: program.to_owned(),
                table: "raw".to_owned(),
                chain: chain.to_owned(),
                place: Some("1".to_owned()),
            };
            Remedy::now_changing(Tool::Iptables, Change::Rule(Rule::new(firewall, words)))
        }
        None => Remedy::of(
            Tool::Nft,
            Persistence::Now,
            in_own_table(&raw, [family, "daddr", &group, "udp", "dport", &port, "notrack"]),
        ),
    };
    vec![
        untracked.with_scope(scope),
        Remedy::advice(
            Tool::Nft,
            "Permanently: restrict the rule to the unicast addresses that it is meant for.",
        ),
    ]
}

/// Returns the changes that put a rule into a chain of an own table.
fn in_own_table<const N: usize>(hook: &[&str], words: [&str; N]) -> [Change; 3] {
    let own = |word: &str| word.to_owned();
    let (family, table, name) = (own("inet"), own("mcast"), own("untracked"));
    let firewall =
        Firewall::Nft { family: family.clone(), table: table.clone(), chain: name.clone(), is_first: false };
    let chain = Chain {
        family: family.clone(),
        table: table.clone(),
        name,
        hook: hook.iter().map(|word| own(word)).collect(),
        is_there: true,
        is_used: false,
    };
    [
        Change::Table { family, name: table, is_there: true, is_used: false },
        Change::Chain(chain),
        Change::Rule(Rule::new(firewall, words)),
    ]
}

/// Returns the remedy by ufw if its rules may be the ones that drop: what it accepts, rules of other tables still drop.
fn permanently(ufw: Remedy, rule: Option<&DroppingRule>) -> Option<Remedy> {
    let Some(rule) = rule else { return Some(ufw) };
    let (family, table) = (&rule.family, &rule.table);
    let (tool, how) = match () {
        () if rule.is_of_firewalld() => return None,
        () if rule.is_of_ebtables() => {
            (Tool::Ebtables, "save the rules where they are restored at boot: `ebtables-save` prints them, and `ebtables-restore` loads them.".to_owned())
        }
        () if rule.may_be_of_ufw() => return Some(ufw),
        () if rule.is_legacy() => {
            (Tool::Iptables, format!("save the rules where they are restored at boot: `{family}-legacy-save` prints them, `netfilter-persistent save` stores them on Debian and Ubuntu."))
        }
        () if rule.is_of_xtables => {
            let program = if family == "ip6" { "ip6tables" } else { "iptables" };
            (Tool::Iptables, format!("save the rules where they are restored at boot: `{program}-save` prints them, and `{program}-restore` loads them; `netfilter-persistent save` stores them on Debian and Ubuntu."))
        }
        () => {
            (Tool::Nft, format!("put the rule into the file that creates the table `{family} {table}`, often /etc/nftables.conf."))
        }
    };
    Some(Remedy::advice(tool, format!("Permanently: {how}")))
}

/// Admits datagrams that take this path: `in on eth0`.
fn ufw(path: &[&str], interface: &str, to: SocketAddr) -> Remedy {
    let (group, port) = (to.ip().to_string(), to.port().to_string());
    let args = path.iter().copied().chain(["to", &group, "port", &port, "proto", "udp"]);
    let rule = Change::Rule(Rule::new(Firewall::Ufw, args));
    Remedy::of(Tool::Ufw, Persistence::Permanent, [rule]).with_scope(scope_of_flow(interface, to))
}

/// The scope of a rule that admits the datagrams to one group and port.
fn scope_of_flow(interface: &str, to: SocketAddr) -> RemedyScope {
    RemedyScope::new(format!("datagrams to {to} on {interface}, from any source"))
}

/// Inserts a rule that admits datagrams in front of the one that drops.
fn admit_by_rule(interface: &str, to: SocketAddr, rule: Option<&DroppingRule>) -> Remedy {
    let family = if to.is_ipv4() { "ip" } else { "ip6" };
    let (group, port) = (to.ip().to_string(), to.port().to_string());
    let matches = [family, "daddr", &group, "udp", "dport", &port];
    let scope = scope_of_flow(interface, to);
    let words = match to.is_ipv4() {
        true => ["--ip-dst", &group, "--ip-proto", "udp", "--ip-dport", &port],
        false => ["--ip6-dst", &group, "--ip6-proto", "udp", "--ip6-dport", &port],
    };
    let legacy = ["-d", &group, "-p", "udp", "--dport", &port];
    rule.and_then(|rule| accept_by_ebtables(rule, Family::of(to.ip()), interface, &[&words], &scope))
        .unwrap_or_else(|| accept(&matches, &[&legacy], interface, rule, &scope))
}

/// Returns the program for a rule of the old `iptables`; `None` if it is of nftables.
fn legacy_program(rule: &DroppingRule) -> Option<&'static str> {
    match rule.family.as_str() {
        "iptables" => Some("iptables-legacy"),
        "ip6tables" => Some("ip6tables-legacy"),
        _ => None,
    }
}

/// Returns the words that restrict a rule to an interface. A chain that is jumped to may be used in both directions.
fn on_interface<'a>(rule: &DroppingRule, interface: &'a str) -> Option<[&'a str; 2]> {
    let side = match rule.hook {
        Hook::Input | Hook::Prerouting | Hook::Forward => "-i",
        Hook::Output | Hook::Postrouting => "-o",
        Hook::Ingress | Hook::Egress => return None,
    };
    rule.is_base.then_some([side, interface])
}

/// Inserts rules of the old `iptables` in front of the one that drops. `None` if that one is of nftables.
fn accept_by_legacy_rules(
    rule: &DroppingRule,
    interface: &str,
    matches: &[&[&str]],
    scope: &RemedyScope,
) -> Option<Remedy> {
    let (program, on) = (legacy_program(rule)?, on_interface(rule, interface));
    let accept = |matches: &&[&str]| {
        let firewall = Firewall::Legacy {
            program: program.to_owned(),
            table: rule.table.clone(),
            chain: rule.chain.clone(),
            place: rule.part.strip_prefix("rule ").map(str::to_owned),
        };
        let words = on.iter().flatten().chain(*matches).chain(&["-j", "ACCEPT"]);
        Change::Rule(Rule::new(firewall, words))
    };
    let changes = matches.iter().map(accept);
    Some(Remedy::of(Tool::Iptables, Persistence::Now, changes).with_scope(scope.clone()))
}

/// Inserts rules of `ebtables` at the head of the chain that drops. `None` if that one is not of its tables. The words are in the
/// order in which `ebtables -L` prints them, by which the rule is found again: it can have no comment.
fn accept_by_ebtables(
    rule: &DroppingRule,
    family: Family,
    interface: &str,
    matches: &[&[&str]],
    scope: &RemedyScope,
) -> Option<Remedy> {
    let on = on_interface(rule, interface);
    let protocol = ["-p", if family == Family::V4 { "IPv4" } else { "IPv6" }];
    let accept = |matches: &&[&str]| {
        let firewall = Firewall::Ebtables { table: rule.table.clone(), chain: rule.chain.clone() };
        let words = protocol.iter().chain(on.iter().flatten()).chain(*matches).chain(&["-j", "ACCEPT"]);
        Change::Rule(Rule::new(firewall, words))
    };
    rule.is_of_ebtables().then(|| {
        Remedy::of(Tool::Ebtables, Persistence::Now, matches.iter().map(accept)).with_scope(scope.clone())
    })
}

/// Inserts a rule in front of the one that drops, in the words of nftables or of the old `iptables`, or advises to do so if it is
/// not known.
fn accept(
    matches: &[&str],
    legacy: &[&[&str]],
    interface: &str,
    rule: Option<&DroppingRule>,
    scope: &RemedyScope,
) -> Remedy {
    let words = matches.iter().chain(&["accept"]).map(|word| (*word).to_owned());
    let by_rule = rule.and_then(|rule| {
        accept_by_legacy_rules(rule, interface, legacy, scope)
            .or_else(|| insert_before(rule, interface, words, scope))
    });
    by_rule.unwrap_or_else(|| {
        let what = matches.join(" ");
        Remedy::advice(
            Tool::Nft,
            format!("Accept `{what}` on {interface} before the rule that drops it (`nft -a list ruleset` shows the rules)."),
        )
    })
}

/// Admits IGMP or MLD, in and out.
pub(crate) fn admit_membership_protocol(
    family: Family,
    interface: &str,
    rule: Option<&DroppingRule>,
) -> Vec<Remedy> {
    const MLD: [[&str; 4]; 4] = [
        ["-p", "icmpv6", "--icmpv6-type", "130"],
        ["-p", "icmpv6", "--icmpv6-type", "131"],
        ["-p", "icmpv6", "--icmpv6-type", "132"],
        ["-p", "icmpv6", "--icmpv6-type", "143"],
    ];
    let (matches, legacy): (&[&str], Vec<&[&str]>) = match family {
        Family::V4 => (&["ip", "protocol", "igmp"], vec![&["-p", "igmp"]]),
        Family::V6 => {
            let matches = &["icmpv6", "type", "{", "130,", "131,", "132,", "143", "}"];
            (matches, MLD.iter().map(<[&str; 4]>::as_slice).collect())
        }
    };
    let scope = RemedyScope::new(format!("{} on {interface}; no other traffic", protocol(family)));
    let by_ebtables = rule.and_then(|rule| {
        const MLD: [[&str; 4]; 4] = [
            ["--ip6-proto", "ipv6-icmp", "--ip6-icmp-type", "130/0"],
            ["--ip6-proto", "ipv6-icmp", "--ip6-icmp-type", "131/0"],
            ["--ip6-proto", "ipv6-icmp", "--ip6-icmp-type", "132/0"],
            ["--ip6-proto", "ipv6-icmp", "--ip6-icmp-type", "143/0"],
        ];
        let words: Vec<&[&str]> = match family {
            Family::V4 => vec![&["--ip-proto", "igmp"]],
            Family::V6 => MLD.iter().map(<[&str; 4]>::as_slice).collect(),
        };
        accept_by_ebtables(rule, family, interface, &words, &scope)
    });
    let mut remedies = vec![by_ebtables.unwrap_or_else(|| accept(matches, &legacy, interface, rule, &scope))];
    let ufw = Remedy::advice(
        Tool::Ufw,
        "With ufw, permanently: add `-A ufw-before-input -p igmp -j ACCEPT` and `-A ufw-before-output -p igmp -j ACCEPT` to the `*filter` section of /etc/ufw/before.rules, before its COMMIT, then run `ufw reload`.",
    );
    if family == Family::V4 && rule.is_some_and(DroppingRule::is_of_firewalld) {
        remedies.push(Remedy::advice(
            Tool::Firewalld,
            format!("To make it permanent, run `firewall-cmd --permanent --zone=ZONE --add-protocol=igmp`, then `firewall-cmd --reload`. `firewall-cmd --get-active-zones` shows the zone of {interface}."),
        ));
    }
    // ufw admits MLD unless somebody has changed that.
    let is_of_others = rule.is_some_and(|rule| !rule.may_be_of_ufw());
    remedies.extend((family == Family::V4 || is_of_others).then(|| permanently(ufw, rule)).flatten());
    remedies
}

/// Inserts a rule at the head of the chain that drops. `None` if a name cannot be written in nftables syntax.
fn insert_before(
    rule: &DroppingRule,
    interface: &str,
    matches: impl IntoIterator<Item = String>,
    scope: &RemedyScope,
) -> Option<Remedy> {
    let is_plain = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter))
    };
    if !is_plain(&rule.table) || !is_plain(&rule.chain) {
        return None;
    }
    // A chain of a device needs no match, a bridge's chains see the names of its ports, and a chain that is jumped to
    // may be used in both directions.
    let side = match (rule.layer, rule.hook) {
        _ if !rule.is_base => None,
        (Layer::Ip, Hook::Input | Hook::Prerouting | Hook::Forward) => Some("iifname"),
        (Layer::Ip, Hook::Output | Hook::Postrouting) => Some("oifname"),
        _ => None,
    };
    // Quotes cannot be escaped in nftables syntax. Without the match, the rule covers all interfaces.
    let side = side.filter(|_| !interface.contains(['"', '*', '\\']));
    let firewall = Firewall::Nft {
        family: rule.family.clone(),
        table: rule.table.clone(),
        chain: rule.chain.clone(),
        is_first: true,
    };
    let on = side.map(|side| [side.to_owned(), format!("\"{interface}\"")]);
    let words = on.into_iter().flatten().chain(matches);
    let rule = Change::Rule(Rule::new(firewall, words));
    Some(Remedy::now_changing(Tool::Nft, rule).with_scope(scope.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use crate::snapshot::setting_path;
    use ::mcast::InterfaceIndex;
    use ::mcast::interface::Interface;

    fn link(name: &str, config_service: Option<ConfigService>) -> Link {
        Link { config_service, ..Interface::new(InterfaceIndex::new(2).unwrap(), name.into()).into() }
    }

    /// Returns every command that a platform module provides for an interface.
    macro_rules! commands {
        ($system:ident, $interface:literal) => {{
            let link = link($interface, None);
            let mut remedies = vec![$system::remove_address("fe80::1".parse().unwrap(), 64, $interface)];
            remedies.extend($system::bring_up(&link));
            remedies.extend($system::route_groups(Family::V4, &link));
            remedies.extend($system::route_groups(Family::V6, &link));
            remedies.extend($system::route_group("239.1.2.3".parse().unwrap(), &link, false));
            let commands = remedies.iter().filter_map(Remedy::command);
            commands.chain([$system::ROUTE_V4, $system::ROUTE_V6].map(str::to_owned)).collect::<Vec<_>>()
        }};
    }

    #[test]
    fn every_system_uses_its_own_programs() {
        let first = |command: &String| command.split(' ').next().unwrap_or_default().to_owned();
        let programs = |commands: &[String]| {
            let mut programs: Vec<_> = commands.iter().map(first).collect();
            programs.sort();
            programs.dedup();
            programs
        };

        assert_eq!(programs(&commands!(windows, "Ethernet 2")), ["netsh"]);
        assert_eq!(programs(&commands!(bsd, "en0")), ["ifconfig", "route"]);
        assert_eq!(programs(&commands!(linux, "eth0")), ["ip"]);
    }

    #[test]
    fn warning_of_a_configuration_file_keeps_that_of_the_change() {
        let managed = link("eth0", Some(ConfigService::Networkd { file: "lan.network".into() }));
        let scope = RemedyScope::new("x").warning("y");
        let remedy = networkd(&managed, "mtu", "[Link]\n", scope).unwrap();
        let warning = remedy.scope.unwrap().warning.unwrap();
        assert_eq!(warning, "y; networkd reloads every interface whose files have changed");
    }

    #[test]
    fn config_service_is_changed_only_for_its_own_interfaces() {
        let managed = |manager| {
            let remedies = linux::route_groups(Family::V4, &link("eth0", manager));
            remedies.iter().skip(1).filter_map(Remedy::command).collect::<Vec<_>>()
        };
        assert_eq!(managed(None), Vec::<String>::new());
        let networkd = managed(Some(ConfigService::Networkd { file: "10-lan.network".into() }));
        let written = "> /etc/systemd/network/10-lan.network.d/mcast-route.conf && networkctl reload";
        assert!(matches!(&networkd[..], [one] if one.ends_with(written)), "{networkd:?}");
        let manager = managed(Some(ConfigService::NetworkManager { connection: "5d-7".into() }));
        assert_eq!(manager, ["nmcli connection modify uuid 5d-7 +ipv4.routes 224.0.0.0/4"]);
    }

    #[test]
    fn permanent_setting_has_its_own_file() {
        let [now, permanent] =
            sysctls(&["net.ipv4.conf.all.x", "net.ipv4.conf.a/b.x"], 0, RemedyScope::new("x"));
        assert_eq!(now.command().unwrap(), "sysctl -w net.ipv4.conf.all.x=0 net.ipv4.conf.a/b.x=0");
        let path = "/etc/sysctl.d/90-mcast-net.ipv4.conf.a.b.x.conf";
        let text = "net.ipv4.conf.all.x = 0\nnet.ipv4.conf.a/b.x = 0\n".to_owned();
        let expected = [
            Action::Write { path: path.into(), text },
            Action::Run { program: "sysctl".into(), args: vec!["-p".into(), path.into()] },
        ];
        assert_eq!(permanent.actions(), expected);
    }

    #[test]
    fn interface_named_like_a_pattern_is_set_alone() {
        let [now, _] = sysctl("net.ipv4.conf.*.accept_local", 1, RemedyScope::new("x"));
        let path = "/proc/sys/net/ipv4/conf/*/accept_local".into();
        assert_eq!(now.actions(), [Action::Write { path, text: "1\n".into() }]);
        assert_eq!(
            setting_path("net.ipv4.conf.a/b.x"),
            std::path::Path::new("/proc/sys/net/ipv4/conf/a.b/x")
        );
    }

    fn rule(family: &str, chain: &str, hook: Hook, is_base: bool) -> DroppingRule {
        DroppingRule {
            family: family.into(),
            table: "own".into(),
            chain: chain.into(),
            part: "handle 4".into(),
            layer: Layer::Ip,
            hook,
            is_base,
            packets: None,
            is_of_xtables: false,
        }
    }

    #[test]
    fn rule_is_inserted_before_the_one_that_drops() {
        let inserted = |rule, interface| {
            let remedies = admit_membership_protocol(Family::V4, interface, Some(&rule));
            remedies[0].actions().first().map(|step| match step {
                Action::Run { args, .. } => args.join(" "),
                other => panic!("{other:?}"),
            })
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            inserted(rule("ip", "leaving", Hook::Output, true), "eth0"),
            text("insert rule ip own leaving oifname \"eth0\" ip protocol igmp accept")
        );
        assert_eq!(
            inserted(rule("inet", "user", Hook::Output, false), "eth0"),
            text("insert rule inet own user ip protocol igmp accept")
        );
        assert_eq!(
            inserted(rule("inet", "in", Hook::Input, true), "a\";flush"),
            text("insert rule inet own in ip protocol igmp accept")
        );
        assert_eq!(inserted(rule("inet", "a;flush", Hook::Input, true), "eth0"), None);
    }
}
