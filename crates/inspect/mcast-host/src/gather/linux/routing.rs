//! The rules for routing and the routes of all tables, over netlink.

use std::io;
use std::net::IpAddr;

use mcast::Family;
use mcast_sys::netlink::{NetlinkProtocol, NetlinkReply, attribute, attributes, text, u32_at};

use super::dump;
use crate::snapshot::{
    AddressPrefix, ForwardedGroup, Plane, Rejection, RouteKind, Routing, RoutingRule, RuleAction,
    RuleSelector, TableRoute,
};

// `linux/rtnetlink.h`, `linux/fib_rules.h`.
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_RULE: u16 = 32;
const GET_RULE: u16 = 34;
/// The size of `struct fib_rule_hdr` and `struct rtmsg`.
const HEADER: usize = 12;

/// The families of the tables: `AF_INET`, `AF_INET6`, `RTNL_FAMILY_IPMR`, `RTNL_FAMILY_IP6MR`.
const FAMILIES: [(u8, Plane, Family); 4] = [
    (2, Plane::Packets, Family::V4),
    (10, Plane::Packets, Family::V6),
    (128, Plane::Forwarding, Family::V4),
    (129, Plane::Forwarding, Family::V6),
];

/// Reads the rules, and the routes that matter for groups or that rules of this machine lead to.
pub(super) fn read() -> io::Result<Routing> {
    let mut routing = Routing::default();
    for (number, plane, family) in FAMILIES {
        let rules = table(number, GET_RULE)?;
        let rules = rules.iter().filter(|reply| reply.kind == NEW_RULE);
        routing.rules.extend(rules.filter_map(|reply| rule(&reply.payload, plane, family)));
        if plane == Plane::Packets {
            let routes = table(number, GET_ROUTE)?;
            let routes = routes.iter().filter(|reply| reply.kind == NEW_ROUTE);
            routing.routes.extend(routes.filter_map(|reply| route(&reply.payload, family)).filter(is_kept));
        } else {
            let routes = table(number, GET_ROUTE)?;
            let routes = routes.iter().filter(|reply| reply.kind == NEW_ROUTE);
            routing.forwarded.extend(routes.filter_map(|reply| forwarded(&reply.payload, family)));
        }
    }
    routing.rules.sort_by_key(|rule| rule.priority);
    Ok(routing)
}

/// Returns a table of a family; empty on kernels that lack the family or its rules.
fn table(family: u8, kind: u16) -> io::Result<Vec<NetlinkReply>> {
    let mut request = [0; HEADER];
    request[0] = family;
    match dump(NetlinkProtocol::Route, kind, &request) {
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported) => Ok(Vec::new()),
        result => result,
    }
}

/// Returns whether a route is kept. A router may have a million others.
fn is_kept(route: &TableRoute) -> bool {
    const MAIN: u32 = 254;
    const DEFAULT: u32 = 253;
    let is_of_rule = !matches!(route.table, MAIN | DEFAULT);
    is_of_rule
        || route.kind != RouteKind::Out
        || route.destination.length == 0
        || route.destination.address.is_multicast()
}

fn rule(payload: &[u8], plane: Plane, family: Family) -> Option<RoutingRule> {
    const INVERTED: u32 = 2;
    let (header, rest) = payload.split_at_checked(HEADER)?;
    let [_, to_length, from_length, tos, table, _, _, action, ..] = *header else { return None };
    let mut selector =
        RuleSelector { is_inverted: u32_at(header, 8)? & INVERTED != 0, ..RuleSelector::default() };
    if tos != 0 {
        selector.others.push(format!("tos {tos:#x}"));
    }
    let (mut table, mut priority, mut target, mut suppressed_length, mut is_vrf) =
        (u32::from(table), 0, 0, None, false);
    let (mut mark, mut mask) = (None, u32::MAX);
    for (kind, value) in attributes(rest) {
        match kind {
            1 => selector.destination = prefix(family, value, to_length),
            2 => selector.source = prefix(family, value, from_length),
            3 => selector.incoming = Some(text(value)),
            4 => target = u32_at(value, 0)?,
            6 => priority = u32_at(value, 0)?,
            10 => mark = u32_at(value, 0),
            14 => suppressed_length = u32_at(value, 0).and_then(|length| u8::try_from(length).ok()),
            15 => table = u32_at(value, 0)?,
            16 => mask = u32_at(value, 0)?,
            17 => selector.outgoing = Some(text(value)),
            19 => is_vrf = value.first().is_some_and(|value| *value != 0),
            20 => selector.others.push(format!("uidrange {}-{}", u32_at(value, 0)?, u32_at(value, 4)?)),
            22 => selector.others.push(format!("ipproto {}", value.first()?)),
            23 => selector.others.push(format!("sport {}", ports(value)?)),
            24 => selector.others.push(format!("dport {}", ports(value)?)),
            // Padding, the routing protocol that made it, and the realm of what it matches.
            11 | 18 | 21 => {}
            // `FRA_SUPPRESS_IFGROUP`: -1 stands for none.
            13 if u32_at(value, 0) == Some(u32::MAX) => {}
            _ => selector.is_incomplete = true,
        }
    }
    // A rule with a mask alone selects packets without a mark.
    selector.mark = mark.or_else(|| (mask != u32::MAX && mask != 0).then_some(0)).map(|mark| (mark, mask));
    let action = match action {
        1 if is_vrf => RuleAction::Vrf,
        1 => RuleAction::Lookup(table),
        2 => RuleAction::Goto(target),
        6 => RuleAction::Reject(Rejection::Blackhole),
        7 => RuleAction::Reject(Rejection::Unreachable),
        8 => RuleAction::Reject(Rejection::Prohibit),
        _ => RuleAction::Nothing,
    };
    Some(RoutingRule { plane, family, priority, selector, action, suppressed_length })
}

/// Returns a range of ports as `ip rule` writes it.
fn ports(value: &[u8]) -> Option<String> {
    let number = |at: usize| Some(u16::from_ne_bytes(*value.get(at..)?.first_chunk()?));
    let (first, last) = (number(0)?, number(2)?);
    Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
}

fn route(payload: &[u8], family: Family) -> Option<TableRoute> {
    const DESTINATION: u16 = 1;
    const METRIC: u16 = 6;
    const TABLE: u16 = 15;
    let (header, rest) = payload.split_at_checked(HEADER)?;
    let [_, length, from_length, _, table, _, _, kind, ..] = *header else { return None };
    let kind = match kind {
        1 | 4 | 5 => RouteKind::Out,
        2 => RouteKind::Local,
        6 => RouteKind::Reject(Rejection::Blackhole),
        7 => RouteKind::Reject(Rejection::Unreachable),
        8 => RouteKind::Reject(Rejection::Prohibit),
        9 => RouteKind::Throw,
        _ => return None,
    };
    // Routes from a source are for some packets only.
    if from_length != 0 {
        return None;
    }
    let unspecified = match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    };
    let number = |kind| attribute(rest, kind).and_then(|value| u32_at(value, 0));
    let destination = match attribute(rest, DESTINATION) {
        Some(value) => prefix(family, value, length)?,
        None => AddressPrefix { address: unspecified, length: 0 },
    };
    let table = number(TABLE).unwrap_or_else(|| table.into());
    Some(TableRoute { table, kind, destination, metric: number(METRIC).unwrap_or_default() })
}

/// Returns a multicast route, unless the kernel still waits for the routing daemon.
fn forwarded(payload: &[u8], family: Family) -> Option<ForwardedGroup> {
    /// `RTNH_F_UNRESOLVED`.
    const UNRESOLVED: u32 = 32;
    const GROUP: u16 = 1;
    const SOURCE: u16 = 2;
    const TABLE: u16 = 15;
    let (header, rest) = payload.split_at_checked(HEADER)?;
    if u32_at(header, 8)? & UNRESOLVED != 0 {
        return None;
    }
    let address = |kind| prefix(family, attribute(rest, kind)?, 0).map(|prefix| prefix.address);
    let source = address(SOURCE).filter(|source| !source.is_unspecified());
    let table = attribute(rest, TABLE).and_then(|value| u32_at(value, 0));
    let table = table.unwrap_or_else(|| header[4].into());
    Some(ForwardedGroup { table, group: address(GROUP)?, source })
}

fn prefix(family: Family, value: &[u8], length: u8) -> Option<AddressPrefix> {
    let address = match family {
        Family::V4 => IpAddr::from(*value.first_chunk::<4>()?),
        Family::V6 => IpAddr::from(*value.first_chunk::<16>()?),
    };
    Some(AddressPrefix { address, length })
}

#[cfg(test)]
mod tests {
    use mcast_sys::netlink::push_attribute;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rule_is_read_from_its_message() {
        let mut message = vec![2, 8, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
        push_attribute(&mut message, 1, &[239, 0, 0, 0]);
        push_attribute(&mut message, 6, &50_u32.to_ne_bytes());
        push_attribute(&mut message, 14, &u32::MAX.to_ne_bytes());
        let read = rule(&message, Plane::Packets, Family::V4).unwrap();
        assert_eq!(read.to_string(), "50: from all to 239.0.0.0/8 prohibit");
        push_attribute(&mut message, 99, &[1]);
        assert_eq!(rule(&message, Plane::Packets, Family::V4).unwrap().words(), None);
    }

    #[test]
    fn rules_of_this_machine_are_read() {
        let routing = read().unwrap();
        assert!(routing.rules.iter().any(|rule| rule.action == RuleAction::Lookup(255)), "{routing:?}");
        assert!(routing.routes.iter().any(|route| route.kind == RouteKind::Local), "{routing:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = rule(&bytes, Plane::Packets, Family::V6);
            let _ = route(&bytes, Family::V4);
        }
    }
}
