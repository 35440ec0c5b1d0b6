//! nftables rules that drop, from netlink. Needs `CAP_NET_ADMIN`. Rules of `iptables-nft`, today's default
//! `iptables`, are included.

use std::collections::BTreeMap;
use std::io;

use mcast_sys::netlink::{NetlinkProtocol, NetlinkReply, attribute, attributes, text};

use super::dump;
use crate::snapshot::DroppingRule;

// Messages and attributes from linux/netfilter/nf_tables.h.
const SUBSYSTEM: u16 = 10 << 8;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const GET_RULE: u16 = SUBSYSTEM | 7;
/// `struct nfgenmsg`: family (any), version and resource id.
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

/// Returns the rules and chain policies that drop, with their packet counters if they have one.
pub(super) fn dropping_rules() -> io::Result<Vec<DroppingRule>> {
    let chains = dump(NetlinkProtocol::Netfilter, GET_CHAIN, &HEADER)?;
    let rules = dump(NetlinkProtocol::Netfilter, GET_RULE, &HEADER)?;
    let hooks: BTreeMap<_, _> = chains.iter().filter_map(hook_of).collect();
    let by_policy = chains.iter().filter_map(dropping_chain);
    let by_rule = rules.iter().filter_map(|rule| dropping_rule(rule, &hooks));
    Ok(by_policy.chain(by_rule).collect())
}

/// A chain: family, table and name.
type ChainId = (u8, String, String);

fn chain_id(message: &NetlinkReply, table: u16, chain: u16) -> Option<ChainId> {
    let body = message.payload.get(HEADER.len()..)?;
    Some((*message.payload.first()?, text(attribute(body, table)?), text(attribute(body, chain)?)))
}

fn hook_of(chain: &NetlinkReply) -> Option<(ChainId, String)> {
    let body = chain.payload.get(HEADER.len()..)?;
    let number = be32_at(attribute(attribute(body, CHAIN_HOOK)?, 1)?, 0)?;
    let id = chain_id(chain, CHAIN_TABLE, CHAIN_NAME)?;
    let hook = hook_name(id.0, number).to_owned();
    Some((id, hook))
}

/// Returns the policy of a chain as a rule, if the policy is to drop.
fn dropping_chain(chain: &NetlinkReply) -> Option<DroppingRule> {
    const DROP: u32 = 0;
    let body = chain.payload.get(HEADER.len()..)?;
    be32_at(attribute(body, CHAIN_POLICY)?, 0).filter(|policy| *policy == DROP)?;
    let (id, hook) = hook_of(chain)?;
    let packets = attribute(body, CHAIN_COUNTERS)
        .and_then(|counters| attributes(counters).find(|(kind, _)| *kind == 2))
        .and_then(|(_, value)| be64_at(value, 0));
    Some(dropping(id, "policy drop".to_owned(), Some(hook), packets))
}

fn dropping_rule(rule: &NetlinkReply, hooks: &BTreeMap<ChainId, String>) -> Option<DroppingRule> {
    let id = chain_id(rule, RULE_TABLE, RULE_CHAIN)?;
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
    let hook = hooks.get(&id).cloned();
    drops.then(|| dropping(id, format!("handle {handle}"), hook, packets))
}

/// Returns whether an immediate expression drops: `NFTA_IMMEDIATE_DATA` contains `NFTA_DATA_VERDICT`, which
/// contains `NFTA_VERDICT_CODE` 0.
fn is_drop(immediate: &[u8]) -> bool {
    let verdict = attribute(immediate, 2).and_then(|data| attribute(data, 2));
    verdict.and_then(|verdict| be32_at(attribute(verdict, 1)?, 0)) == Some(0)
}

fn dropping(
    (family, table, chain): ChainId,
    part: String,
    hook: Option<String>,
    packets: Option<u64>,
) -> DroppingRule {
    DroppingRule { family: family_name(family).to_owned(), table, chain, part, hook, packets }
}

fn family_name(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
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

/// Reads a number in network byte order, which nftables uses.
fn be32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

fn be64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}
