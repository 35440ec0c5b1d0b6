//! What no rule forwards, and what a rule cannot do.

use std::net::IpAddr;

use mcast_group::{AddrRange, GroupAddr, GroupRange, SourceFilter};

use super::{Leg, Rewrite, RewriteTarget, Route, Rule, RuleError, RuleTarget, Selection, ServiceFilter};
use crate::amt::AmtRelayName;
use crate::rule::DiscoveryProtocol;

/// The largest number of groups that a rule joins while nobody has joined them.
pub(crate) const MAX_ALWAYS: usize = 4_096;

/// The largest number of ports of a rule that forwards: each of them needs a socket.
const MAX_PORTS: usize = 256;

/// Ports of protocols that forwarding breaks.
const REFUSED_PORTS: [(u16, &str); 6] = [
    (67, "DHCP"),
    (68, "DHCP"),
    (546, "DHCPv6"),
    (547, "DHCPv6"),
    (319, "PTP, which needs a boundary clock"),
    (320, "PTP, which needs a boundary clock"),
];

pub(super) fn check(rule: &Rule) -> Result<(), RuleError> {
    check_legs(rule)?;
    check_amt(rule)?;
    if rule.traffic.protocol.is_none() {
        check_traffic(rule)?;
    }
    check_http(rule)?;
    if rule.services != ServiceFilter::All && rule.traffic.protocol != Some(DiscoveryProtocol::Mdns) {
        return Err(RuleError::ServicesWithoutMdns);
    }
    if let Some(rewrite) = &rule.rewrite {
        check_rewrite(rule, rewrite).map_err(|problem| RuleError::Rewrite(rewrite.to_string(), problem))?;
        if let RewriteTarget::Groups(groups) = rewrite.target {
            check_groups(groups)?;
        }
        rewrite.port.map_or(Ok(()), |port| check_ports(port..=port))?;
    }
    check_sources(rule)?;
    let is_tunnel = |(_, to): &(_, RuleTarget)| matches!(to, RuleTarget::Leg(leg) if leg.tunnel().is_some());
    if rule.repair.is_some() && !rule.pairs().iter().any(is_tunnel) {
        return Err(RuleError::RepairWithoutTunnel);
    }
    if rule.always { check_always(rule) } else { Ok(()) }
}

fn check_legs(rule: &Rule) -> Result<(), RuleError> {
    let mut names = Vec::new();
    let targets = match &rule.route {
        Route::OneWay { from, to } => {
            names.push(from.to_string());
            to.iter().map(ToString::to_string).collect()
        }
        Route::Between(legs) => legs.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    for name in targets {
        if names.contains(&name) {
            return Err(RuleError::SameLeg(name));
        }
        names.push(name);
    }
    if names.len() < 2 { Err(RuleError::Form("a rule has at least two legs".into())) } else { Ok(()) }
}

/// AMT carries datagrams one way, from a relay to gateways.
fn check_amt(rule: &Rule) -> Result<(), RuleError> {
    let is_from = |leg: &Leg| matches!(&rule.route, Route::OneWay { from, .. } if from == leg);
    if let Some(target) = rule.legs().find(|leg| leg.amt_relay().is_some() && !is_from(leg)) {
        return Err(RuleError::AmtTarget(target.clone()));
    }
    let relay = rule.legs().find_map(Leg::amt_relay);
    if relay.is_none() && rule.amt_addresses().next().is_none() {
        return Ok(());
    }
    let has_groups = !rule.traffic.ranges().is_empty() || rule.traffic.selection == Selection::Playlist;
    if rule.traffic.protocol.is_some() || !has_groups {
        return Err(RuleError::AmtTraffic);
    }
    let has_one_source =
        matches!(&rule.traffic.sources, SourceFilter::Include(sources) if sources.len() == 1);
    match relay {
        Some(AmtRelayName::Driad) if !has_one_source => Err(RuleError::DriadSource),
        _ => Ok(()),
    }
}

fn check_traffic(rule: &Rule) -> Result<(), RuleError> {
    match &rule.traffic.selection {
        Selection::Broadcast(port) => check_ports(*port..=*port),
        Selection::Playlist if rule.is_http_only() => Ok(()),
        Selection::Playlist => Err(RuleError::Playlist),
        // A group is received while a client requests it, so a wide range costs nothing.
        Selection::Groups(ranges) if rule.is_http_only() => ranges.iter().try_for_each(check_requestable),
        Selection::Groups(ranges) => ranges.iter().try_for_each(|range| {
            check_groups(range.groups)?;
            check_ports(range.ports.clone())
        }),
    }
}

/// Refuses a range of which clients could not request anything.
fn check_requestable(range: &AddrRange) -> Result<(), RuleError> {
    let (groups, ports) = (range.groups, &range.ports);
    let first = check_address(GroupAddr::new(groups.first, *ports.start()));
    let last = check_address(GroupAddr::new(groups.last, *ports.end()));
    if last.is_ok() { Ok(()) } else { first }
}

/// Refuses what no rule forwards. A range for HTTP clients may contain it.
pub(crate) fn check_address(address: GroupAddr) -> Result<(), RuleError> {
    check_groups(address.group.into())?;
    check_ports(address.port..=address.port)
}

/// Refuses groups of routing protocols, of IGMP and MLD, and of the discovery protocols: those have names.
fn check_groups(groups: GroupRange) -> Result<(), RuleError> {
    let controls = match (groups.first.addr(), groups.last.addr()) {
        // 224.0.0.0/24
        (IpAddr::V4(first), _) => first.to_bits() <= 0xe000_00ff,
        // Well-known groups of one interface or link: ff00::/16 to ff02::/16, and any in ff11::/16.
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (first.segments()[0], last.segments()[0]);
            first <= 0xff02 || (first..=last).contains(&0xff11)
        }
        (IpAddr::V6(_), IpAddr::V4(_)) => true,
    };
    if controls { Err(RuleError::LinkControl(groups)) } else { Ok(()) }
}

fn check_ports(ports: std::ops::RangeInclusive<u16>) -> Result<(), RuleError> {
    if ports.len() > MAX_PORTS {
        return Err(RuleError::TooManyPorts(ports.len(), MAX_PORTS));
    }
    match REFUSED_PORTS.iter().find(|(port, _)| ports.contains(port)) {
        Some((port, protocol)) => Err(RuleError::Port(*port, protocol)),
        None => Ok(()),
    }
}

fn check_rewrite(rule: &Rule, rewrite: &Rewrite) -> Result<(), &'static str> {
    let Route::OneWay { to, .. } = &rule.route else {
        return Err("both directions would be rewritten; write a rule for each direction");
    };
    if rule.traffic.protocol.is_some() {
        return Err("discovery protocols have fixed groups and ports");
    }
    if to.iter().any(|target| matches!(target, RuleTarget::Unicast(_))) {
        return Err("a unicast target has an address and a port of its own");
    }
    match (rewrite.target, rule.traffic.ranges()) {
        (RewriteTarget::Groups(groups), ranges) if groups.count() > 1 => {
            let same = ranges.iter().all(|range| range.groups.count() == groups.count());
            if same && !ranges.is_empty() { Ok(()) } else { Err("the ranges differ in length") }
        }
        (RewriteTarget::Unchanged, []) => Err("broadcast stays broadcast; write as broadcast:PORT"),
        (RewriteTarget::Unchanged, _) if rewrite.port.is_none() => Err("it changes nothing"),
        _ => Ok(()),
    }
}

/// HTTP clients request a group by its name, and get what arrives for it.
fn check_http(rule: &Rule) -> Result<(), RuleError> {
    if !rule.pairs().iter().any(|(_, target)| matches!(target, RuleTarget::Http(_))) {
        return Ok(());
    }
    Err(RuleError::HttpOption(match rule {
        _ if rule.traffic.selection == Selection::Playlist => return Ok(()),
        _ if rule.traffic.ranges().is_empty() => "they request a group, and broadcast has none",
        Rule { rewrite: Some(_), .. } => "they request the group as it is sent; remove as",
        _ if rule.services != ServiceFilter::All => "they would see all services; remove allow and deny",
        Rule { always: true, .. } if rule.is_http_only() => {
            "a group is joined while a client requests it; remove always"
        }
        _ => return Ok(()),
    }))
}

/// A source-specific group is joined from a source. Hosts downstream cannot name it: to them, the relay is the source.
/// HTTP clients and gateways of AMT can.
fn check_sources(rule: &Rule) -> Result<(), RuleError> {
    let is_for_gateways =
        matches!(&rule.route, Route::OneWay { to, .. } if to.len() == rule.amt_addresses().count());
    if rule.is_http_only() || is_for_gateways && !rule.always {
        return Ok(());
    }
    let is_specific = |range: &&AddrRange| range.groups.first.is_source_specific();
    match (rule.traffic.ranges().iter().find(is_specific), &rule.traffic.sources) {
        (Some(range), SourceFilter::Exclude(_)) => Err(RuleError::NoSource(range.groups)),
        _ => Ok(()),
    }
}

fn check_always(rule: &Rule) -> Result<(), RuleError> {
    let counts = rule.traffic.ranges().iter().map(|range| range.groups.count());
    let total = counts.fold(0_u128, u128::saturating_add);
    match total > MAX_ALWAYS as u128 {
        true => Err(RuleError::TooManyGroups(total, MAX_ALWAYS)),
        false => Ok(()),
    }
}
