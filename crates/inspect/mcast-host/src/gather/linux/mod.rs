//! Linux: netlink, `/proc/thread-self/net` and `/proc/sys/net`, all in the network namespace of the calling thread.

mod bridges;
pub(super) mod counting_rules;
mod frame_memberships;
mod ip_sets;
mod kernel_drops;
mod legacy_tables;
mod links;
mod nftables;
pub mod processes;
mod remotes;
mod routing;
mod tables;

pub use kernel_drops::DropCounter;
pub use links::refused_frames;
pub use tables::{accepted_packets, host_drops, queues, socket_drops};

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

use mcast::Family;
use mcast::joined::Version;
use mcast_sys::joined::TableEntry;
use mcast_sys::netlink::{Netlink, NetlinkProtocol, NetlinkReply};

use crate::snapshot::{
    Counters, HostSnapshot, JoinedGroup, Link, Machine, Plane, Routing, RoutingRule, RuleAction,
    interface_setting, setting_path,
};
use crate::{ExaminedPart, Result};

/// Takes a snapshot of this machine, in the network namespace of the calling thread.
///
/// # Errors
/// If the interfaces cannot be listed. What else cannot be read is in [`HostSnapshot::parts`].
pub fn snapshot() -> Result<HostSnapshot> {
    let mut links = links::list()?;
    links::add_config_services(&mut links);
    let mut parts = Vec::new();
    // Without `CAP_NET_ADMIN`, there is no evidence of rules.
    let mut ruleset = read("nftables rules", nftables::ruleset(), &mut parts);
    // The rules of legacy iptables are not nftables rules.
    legacy_tables::add_to(&mut ruleset);
    if !ruleset.legacy_tables.is_empty() {
        let names = ruleset.legacy_tables.join(", ");
        parts.push(
            ExaminedPart::new("rules of iptables-legacy").without(format!("{names} could not be read")),
        );
    }
    let unknown_sets = ip_sets::add_to(&mut ruleset);
    if !ruleset.ip_sets.is_empty() {
        let part = ExaminedPart::new("sets of ipset");
        parts.push(if unknown_sets.is_empty() { part } else { part.without(unknown_sets.join(", ")) });
    }
    let mut tables = bridges::BridgeTables::default();
    if links.iter().any(|link| link.bridge.is_some()) {
        read("hosts behind the ports of bridges", links::add_hosts(&mut links), &mut parts);
        read("VLANs of bridges", bridges::add_vlan_limits(&mut links), &mut parts);
        tables = read("groups of bridges", bridges::tables(&mut links), &mut parts);
    }
    if links.iter().any(|link| link.carrier.is_some()) {
        read("other ends of VXLANs", remotes::add(&mut links), &mut parts);
    }
    if links.iter().any(|link| link.classifier.is_some()) {
        read("tc filters", links::add(&mut links), &mut parts);
    }
    let mut relay_refusals = BTreeMap::new();
    match tables::refusals() {
        Ok(refusals) if refusals.is_empty() => {}
        refusals => relay_refusals = read("relays", refusals, &mut parts),
    }
    // Android does not let every app read it.
    let memberships = read("joined groups", mcast_sys::joined::table(), &mut parts);
    let routing = match routing::read() {
        // Where only the usual rules are, they decide nothing that the routes do not show.
        Ok(read) if read.rules.iter().all(RoutingRule::is_usual) => read,
        result => read("routing rules", result, &mut parts),
    };
    let mut udp_sockets = tables::udp_sockets(&net_table("udp"));
    udp_sockets.extend(tables::udp_sockets(&net_table("udp6")));
    let mut routes = tables::routes_v4(&net_table("ip_mr_cache"), &net_table("ip_mr_vif"));
    routes.extend(tables::routes_v6(&net_table("ip6_mr_cache"), &net_table("ip6_mr_vif")));
    Ok(HostSnapshot {
        counters: counters(),
        settings: settings(&links),
        group_routes: super::group_routes(),
        gateways: gateways(&net_table("route")),
        v6_group_routes: Some(v6_group_routes(&net_table("ipv6_route"))),
        joined: memberships.iter().map(joined_group).collect(),
        igmp_versions: memberships.iter().filter_map(igmp_version).collect(),
        frame_memberships: frame_memberships::read(&net_table("dev_mcast"), &net_table("packet")),
        udp_sockets,
        multicast_routes: routes,
        backlog_dropped: tables::backlog(&net_table("softnet_stat")).unwrap_or(0),
        ruleset,
        firewall: None,
        machine: machine(),
        socket_options: BTreeMap::new(),
        socket_processes: BTreeMap::new(),
        bridge_groups: tables.groups,
        router_ports: tables.router_ports,
        has_routing_rules: has_routing_rules(&routing),
        routing,
        ipsec_policies: links::policies(),
        relay_refusals,
        links,
        parts,
    })
}

/// Takes a snapshot of what decides by which way this machine sends: interfaces, routes, rules for routing and settings.
///
/// # Errors
/// If one of them cannot be read; nothing is known then.
pub fn sending_snapshot() -> Result<HostSnapshot> {
    let mut links = links::list()?;
    links::add_config_services(&mut links);
    let system = |source| crate::Error::System { what: "the rules for routing".to_owned(), source };
    Ok(HostSnapshot {
        settings: settings(&links),
        group_routes: super::group_routes(),
        v6_group_routes: Some(v6_group_routes(&net_table("ipv6_route"))),
        routing: routing::read().map_err(system)?,
        links,
        ..HostSnapshot::default()
    })
}

/// Reads the counters of a snapshot again, which begin with the traffic that is compared with them.
pub fn refresh_counters(machine: &mut HostSnapshot) {
    machine.counters = counters();
}

fn counters() -> Counters {
    let mut counters = tables::pairs(&net_table("snmp"));
    counters.extend(tables::pairs(&net_table("netstat")));
    counters.extend(tables::lines(&net_table("snmp6")));
    // Kernels without IPsec have none.
    counters.extend(tables::lines(&net_table("xfrm_stat")));
    counters.into_iter().collect()
}

/// Returns whether IPv4 has rules for routing (`ip rule`) besides those for the tables `local`, `main` and `default`.
fn has_routing_rules(routing: &Routing) -> bool {
    // `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`.
    const TABLES: [u32; 3] = [253, 254, 255];
    let mut rules =
        routing.rules.iter().filter(|rule| (rule.plane, rule.family) == (Plane::Packets, Family::V4));
    rules.any(|rule| !matches!(rule.action, RuleAction::Lookup(table) if TABLES.contains(&table)))
}

/// Records whether a part of this machine could be read, and returns its default if not.
fn read<T: Default>(what: &str, result: io::Result<T>, parts: &mut Vec<ExaminedPart>) -> T {
    let part = ExaminedPart::new(what);
    match result {
        Ok(value) => {
            parts.push(part);
            value
        }
        Err(error) => {
            parts.push(part.without(error));
            T::default()
        }
    }
}

/// Dumps a table of the kernel in the calling thread's network namespace.
fn dump(protocol: NetlinkProtocol, kind: u16, body: &[u8]) -> io::Result<Vec<NetlinkReply>> {
    Netlink::open(protocol)?.dump(kind, body)
}

/// Reads a table of the calling thread's network namespace; empty on kernels that lack it.
fn net_table(name: &str) -> String {
    let bytes = fs::read(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the settings that the causes use, for the machine and each interface.
fn settings(links: &[Link]) -> BTreeMap<String, String> {
    const MACHINE: [&str; 13] = [
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-ip6tables",
        "net.ipv4.ip_forward",
        "net.ipv4.ip_local_port_range",
        "net.ipv6.conf.all.forwarding",
        "net.ipv4.igmp_max_memberships",
        "net.ipv4.igmp_max_msf",
        "net.ipv4.igmp_qrv",
        "net.ipv4.igmp_link_local_mcast_reports",
        "net.ipv6.mld_max_msf",
        "net.core.rmem_max",
        "net.core.optmem_max",
        "net.core.netdev_max_backlog",
    ];
    const INTERFACE: [(Family, &str); 11] = [
        (Family::V4, "src_valid_mark"),
        (Family::V4, "rp_filter"),
        (Family::V4, "force_igmp_version"),
        (Family::V4, "accept_local"),
        (Family::V4, "mc_forwarding"),
        (Family::V6, "accept_ra"),
        (Family::V6, "accept_ra_rt_info_max_plen"),
        (Family::V6, "addr_gen_mode"),
        (Family::V6, "disable_ipv6"),
        (Family::V6, "force_mld_version"),
        (Family::V6, "mc_forwarding"),
    ];
    let names = links.iter().map(Link::name).chain(["all", "default"]);
    let interfaces = names.flat_map(|interface| {
        INTERFACE.iter().map(move |(family, key)| interface_setting(*family, interface, key))
    });
    let read = |name: String| {
        let value = fs::read_to_string(setting_path(&name)).ok()?;
        Some((name, value.trim().to_owned()))
    };
    MACHINE.map(str::to_owned).into_iter().chain(interfaces).filter_map(read).collect()
}

fn joined_group(entry: &TableEntry) -> JoinedGroup {
    JoinedGroup { group: entry.group.addr(), interface: entry.interface }
}

/// Returns the IGMP version in use on the interface of a membership.
fn igmp_version(entry: &TableEntry) -> Option<(String, u8)> {
    let version = match entry.version? {
        Version::Igmp1 => 1,
        Version::Igmp2 => 2,
        Version::Igmp3 => 3,
        _ => return None,
    };
    Some((entry.interface_name.clone(), version))
}

/// Returns the interfaces of the default routes with a gateway in `/proc/net/route`
/// (`INTERFACE DESTINATION GATEWAY FLAGS …`).
fn gateways(table: &str) -> Vec<String> {
    let gateway = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let is_default = words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000");
        let has_gateway = words.get(2).is_some_and(|gateway| *gateway != "00000000");
        (is_default && has_gateway).then(|| words.first().map(|name| (*name).to_owned()))?
    };
    table.lines().skip(1).filter_map(gateway).collect()
}

/// Returns the interfaces for which `/proc/net/ipv6_route` (`DESTINATION LENGTH … FLAGS INTERFACE`) has a route for
/// `ff00::/8` that does not reject.
fn v6_group_routes(table: &str) -> BTreeSet<String> {
    const REJECTS: u32 = 0x0200;
    let interface = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [destination, length, .., flags, interface] = words.as_slice() else { return None };
        let takes = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & REJECTS == 0);
        (destination.starts_with("ff00") && *length == "08" && takes).then(|| (*interface).to_owned())
    };
    table.lines().filter_map(interface).collect()
}

fn machine() -> Machine {
    Machine { cloud: cloud(), container: container() }
}

/// Returns the cloud provider that the firmware names, if any.
fn cloud() -> Option<String> {
    const CLOUDS: [(&str, &str); 8] = [
        ("Amazon EC2", "Amazon EC2"),
        ("Google", "Google Cloud"),
        ("Microsoft Corporation", "Azure"),
        ("DigitalOcean", "DigitalOcean"),
        ("Hetzner", "Hetzner Cloud"),
        ("OracleCloud", "Oracle Cloud"),
        ("Alibaba Cloud", "Alibaba Cloud"),
        ("OpenStack Foundation", "OpenStack"),
    ];
    let read = |name: &str| fs::read_to_string(format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
    let (vendor, asset) = (read("sys_vendor"), read("chassis_asset_tag"));
    let is = |name: &str| vendor.trim() == name || asset.trim() == name;
    let (_, cloud) = CLOUDS.iter().find(|(name, _)| is(name))?;
    // Hyper-V and Surface machines name Microsoft as well; only Azure uses this asset tag.
    const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";
    (*cloud != "Azure" || asset.trim() == AZURE).then(|| (*cloud).to_owned())
}

/// Returns the file, created by the container runtime or by systemd, that marks this as a container.
fn container() -> Option<String> {
    let files = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];
    files.into_iter().find(|file| exists(file)).map(str::to_owned)
}

fn exists(path: &str) -> bool {
    matches!(fs::exists(path), Ok(true))
}
