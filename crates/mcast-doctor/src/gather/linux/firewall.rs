//! Rules of nftables that drop and count, from netlink; needs `CAP_NET_ADMIN`. What `iptables` of
//! today writes is nftables, too.

use std::collections::BTreeMap;
use std::io;

use super::netlink::{self, Message, attribute, attributes, be32_at, be64_at, text};
use crate::snapshot::DroppingRule;

// Messages and attributes of linux/netfilter/nf_tables.h.
const SUBSYSTEM: u16 = 10 << 8;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const GET_RULE: u16 = SUBSYSTEM | 7;
/// Family (any), version and resource: `struct nfgenmsg`.
const HEADER: [u8; 4] = [0; 4];
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_COUNTERS: u16 = 8;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;

/// The rules and chains that drop, and how much those have dropped that count.
pub(super) fn dropping_rules() -> io::Result<Vec<DroppingRule>> {
    let chains = netlink::dump(netlink::NETFILTER, GET_CHAIN, &HEADER)?;
    let rules = netlink::dump(netlink::NETFILTER, GET_RULE, &HEADER)?;
    let hooks: BTreeMap<_, _> = chains.iter().filter_map(hook_of).collect();
    let by_policy = chains.iter().filter_map(dropping_chain);
    let by_rule = rules.iter().filter_map(|rule| dropping_rule(rule, &hooks));
    Ok(by_policy.chain(by_rule).collect())
}

type Place = (u8, String, String);

fn place(message: &Message, table: u16, chain: u16) -> Option<Place> {
    let body = message.payload.get(HEADER.len()..)?;
    Some((*message.payload.first()?, text(attribute(body, table)?), text(attribute(body, chain)?)))
}

fn hook_of(chain: &Message) -> Option<(Place, String)> {
    let body = chain.payload.get(HEADER.len()..)?;
    let number = be32_at(attribute(attribute(body, CHAIN_HOOK)?, 1)?, 0)?;
    let place = place(chain, CHAIN_TABLE, CHAIN_NAME)?;
    let hook = hook_name(place.0, number).to_owned();
    Some((place, hook))
}

/// A chain that drops whatever no rule has accepted.
fn dropping_chain(chain: &Message) -> Option<DroppingRule> {
    const DROP: u32 = 0;
    let body = chain.payload.get(HEADER.len()..)?;
    be32_at(attribute(body, CHAIN_POLICY)?, 0).filter(|policy| *policy == DROP)?;
    let (place, hook) = hook_of(chain)?;
    let packets = attribute(body, CHAIN_COUNTERS)
        .and_then(|counters| attributes(counters).find(|(kind, _)| *kind == 2))
        .and_then(|(_, value)| be64_at(value, 0));
    Some(DroppingRule { place: format!("{} policy drop", describe(&place)), hook: Some(hook), packets })
}

fn dropping_rule(rule: &Message, hooks: &BTreeMap<Place, String>) -> Option<DroppingRule> {
    let place = place(rule, RULE_TABLE, RULE_CHAIN)?;
    let body = rule.payload.get(HEADER.len()..)?;
    let expressions = attribute(body, RULE_EXPRESSIONS)?;
    let (mut packets, mut drops) = (None, false);
    for (_, expression) in attributes(expressions) {
        let name = attribute(expression, 1).map(text).unwrap_or_default();
        let data = attribute(expression, 2).unwrap_or_default();
        match name.as_str() {
            // NFTA_COUNTER_PACKETS
            "counter" => packets = attribute(data, 2).and_then(|value| be64_at(value, 0)),
            "immediate" => drops |= is_drop(data),
            "reject" => drops = true,
            _ => {}
        }
    }
    let handle = attribute(body, RULE_HANDLE).and_then(|value| be64_at(value, 0))?;
    drops.then(|| DroppingRule {
        place: format!("{} handle {handle}", describe(&place)),
        hook: hooks.get(&place).cloned(),
        packets,
    })
}

/// `NFTA_IMMEDIATE_DATA`, in it `NFTA_DATA_VERDICT`, in it `NFTA_VERDICT_CODE` 0.
fn is_drop(immediate: &[u8]) -> bool {
    let verdict = attribute(immediate, 2).and_then(|data| attribute(data, 2));
    verdict.and_then(|verdict| be32_at(attribute(verdict, 1)?, 0)) == Some(0)
}

fn describe((family, table, chain): &Place) -> String {
    let family = match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    };
    format!("nft {family} {table} {chain}")
}

fn hook_name(family: u8, number: u32) -> &'static str {
    const NETDEV: u8 = 5;
    match (family, number) {
        (NETDEV, 0) => "ingress",
        (NETDEV, _) => "egress",
        (_, 0) => "prerouting",
        (_, 1) => "input",
        (_, 2) => "forward",
        (_, 3) => "output",
        (_, 4) => "postrouting",
        _ => "ingress",
    }
}
