//! The rules of nftables, from netlink. Needs `CAP_NET_ADMIN`. Rules of `iptables-nft`, today's default `iptables`, are
//! included.

use std::collections::BTreeMap;
use std::io;

use mcast_sys::netlink::{
    Netlink, NetlinkProtocol, NetlinkReply, attribute, attributes, push_attribute, text,
};

use super::dump;
use super::legacy_tables::{Owner, target};
use crate::netfilter::{
    BaseChain, Chain, Comparison, Expression, FilterLayer, Header, Hook, LookupResult, Register, Rule,
    RuleEffect, RuleSet, RuleVerdict, Ruleset, SetElement, TableFamily,
};

// Messages and attributes from linux/netfilter/nf_tables.h.
pub(super) const SUBSYSTEM_NUMBER: u16 = 10;
const SUBSYSTEM: u16 = SUBSYSTEM_NUMBER << 8;
pub(super) const NEW_TABLE: u16 = SUBSYSTEM;
pub(super) const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
pub(super) const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
pub(super) const NEW_SET: u16 = SUBSYSTEM | 9;
const GET_SET: u16 = SUBSYSTEM | 10;
pub(super) const GET_SET_ELEMENTS: u16 = SUBSYSTEM | 13;
/// What the names of the tables of the counting rules of all doctors begin with.
pub(super) const TABLE_PREFIX: &str = "mcast-doctor-";
/// `NLM_F_CREATE`
pub(super) const CREATE: u16 = 0x400;

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
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_LENGTH: u16 = 5;
const SET_DESCRIPTION: u16 = 9;

/// The number of elements of a set that are read. Block lists may be much larger.
const MAX_ELEMENTS: usize = 20_000;

/// Reads all chains, rules and sets.
pub(super) fn ruleset() -> io::Result<Ruleset> {
    let mut chains: Vec<_> =
        dump(NetlinkProtocol::Netfilter, GET_CHAIN, &HEADER)?.iter().filter_map(chain).collect();
    let mut rules: BTreeMap<_, Vec<Rule>> = BTreeMap::new();
    let mut sets_of_matches = Vec::new();
    for message in dump(NetlinkProtocol::Netfilter, GET_RULE, &HEADER)? {
        if let Some((id, rule)) = rule(&message, &mut sets_of_matches) {
            rules.entry(id).or_default().push(rule);
        }
    }
    for chain in &mut chains {
        let id = (chain.family, chain.table.clone(), chain.name.clone());
        chain.rules = rules.remove(&id).unwrap_or_default();
    }
    let mut sets = if chains.is_empty() { Vec::new() } else { sets()? };
    sets.append(&mut sets_of_matches);
    Ok(Ruleset { chains, sets, ..Ruleset::default() })
}

/// A chain: family, table and name.
type ChainId = (TableFamily, String, String);

fn family(number: u8) -> TableFamily {
    match number {
        1 => TableFamily::Inet,
        2 => TableFamily::Ip,
        5 => TableFamily::Netdev,
        7 => TableFamily::Bridge,
        10 => TableFamily::Ip6,
        _ => TableFamily::Other,
    }
}

fn chain(message: &NetlinkReply) -> Option<Chain> {
    let body = message.payload.get(HEADER.len()..)?;
    let family = family(*message.payload.first()?);
    let base = attribute(body, CHAIN_HOOK).and_then(|hook| base_chain(family, hook, body));
    let (table, name) = (text(attribute(body, CHAIN_TABLE)?), text(attribute(body, CHAIN_NAME)?));
    // The rules with which another doctor counts accept everything.
    if table.starts_with(TABLE_PREFIX) {
        return None;
    }
    Some(Chain { family, table, name, base, rules: Vec::new() })
}

fn base_chain(family: TableFamily, hook: &[u8], body: &[u8]) -> Option<BaseChain> {
    const DROP: u32 = 0;
    let (layer, place) = layer_and_hook(family, be32_at(attribute(hook, 1)?, 0)?)?;
    let one = attribute(hook, 3).map(text);
    let list = attribute(hook, 4).into_iter().flat_map(attributes).map(|(_, name)| text(name));
    let counters = attribute(body, CHAIN_COUNTERS);
    let packets = counters.and_then(|counters| be64_at(attribute(counters, 2)?, 0));
    Some(BaseChain {
        layer,
        hook: place,
        priority: be32_at(attribute(hook, 2)?, 0)?.cast_signed(),
        devices: one.into_iter().chain(list).collect(),
        drops: attribute(body, CHAIN_POLICY).and_then(|policy| be32_at(policy, 0)) == Some(DROP),
        packets,
    })
}

fn layer_and_hook(family: TableFamily, number: u32) -> Option<(FilterLayer, Hook)> {
    const INET_INGRESS: u32 = 5;
    let layer = match family {
        TableFamily::Inet if number == INET_INGRESS => return Some((FilterLayer::Device, Hook::Ingress)),
        TableFamily::Netdev if number == 0 => return Some((FilterLayer::Device, Hook::Ingress)),
        TableFamily::Netdev => return Some((FilterLayer::Device, Hook::Egress)),
        TableFamily::Bridge => FilterLayer::Bridge,
        TableFamily::Inet | TableFamily::Ip | TableFamily::Ip6 => FilterLayer::Ip,
        TableFamily::Iptables | TableFamily::Ip6tables | TableFamily::Other => return None,
    };
    let hook = match number {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        _ => return None,
    };
    Some((layer, hook))
}

/// Returns a rule, and adds the sets that its matches of `iptables` need.
fn rule(message: &NetlinkReply, sets: &mut Vec<RuleSet>) -> Option<(ChainId, Rule)> {
    let body = message.payload.get(HEADER.len()..)?;
    let id = (
        family(*message.payload.first()?),
        text(attribute(body, RULE_TABLE)?),
        text(attribute(body, RULE_CHAIN)?),
    );
    let handle = attribute(body, RULE_HANDLE).and_then(|value| be64_at(value, 0))?;
    let elements = attribute(body, RULE_EXPRESSIONS).into_iter().flat_map(attributes);
    let mut rule = Rule { handle, ..Rule::default() };
    for (_, element) in elements {
        let name = attribute(element, 1).map(text).unwrap_or_default();
        let data = attribute(element, 2).unwrap_or_default();
        if name == "counter" {
            // NFTA_COUNTER_PACKETS
            rule.packets = attribute(data, 2).and_then(|value| be64_at(value, 0));
        }
        match matching(&name, data, &id, sets) {
            Some(conditions) => rule.expressions.extend(conditions),
            None => rule.expressions.push(expression(&name, data)),
        }
    }
    Some((id, rule))
}

/// Returns the conditions of an expression that is a match of `iptables`.
fn matching(
    name: &str,
    data: &[u8],
    (family, table, _): &ChainId,
    sets: &mut Vec<RuleSet>,
) -> Option<Vec<Expression>> {
    let kind = attribute(data, 1).filter(|_| name == "match").map(text)?;
    let revision =
        attribute(data, 2).and_then(|value| be32_at(value, 0)).and_then(|value| u8::try_from(value).ok())?;
    let is_ipv6 = *family == TableFamily::Ip6;
    Some(Owner { family: *family, table, is_ipv6, sets }.matching(&kind, revision, attribute(data, 3)?))
}

fn sets() -> io::Result<Vec<RuleSet>> {
    let mut netlink = Netlink::open(NetlinkProtocol::Netfilter)?;
    let messages = netlink.dump(GET_SET, &HEADER)?;
    let mut sets = Vec::new();
    for (message, mut set) in messages.iter().filter_map(|message| Some((message, set(message)?))) {
        let mut body = vec![message.payload[0], 0, 0, 0];
        push_attribute(&mut body, 1, &[set.table.as_bytes(), b"\0"].concat());
        push_attribute(&mut body, 2, &[set.name.as_bytes(), b"\0"].concat());
        // A set may be deleted meanwhile; its elements are then unknown.
        set.elements = netlink.dump(GET_SET_ELEMENTS, &body).ok().and_then(|replies| elements(&replies));
        sets.push(set);
    }
    Ok(sets)
}

fn set(message: &NetlinkReply) -> Option<RuleSet> {
    const INTERVAL: u32 = 4;
    let body = message.payload.get(HEADER.len()..)?;
    let number = |kind| attribute(body, kind).and_then(|value| be32_at(value, 0));
    let fields = attribute(body, SET_DESCRIPTION).and_then(|description| attribute(description, 2));
    let lengths =
        fields.into_iter().flat_map(attributes).filter_map(|(_, field)| be32_at(attribute(field, 1)?, 0));
    Some(RuleSet {
        family: family(*message.payload.first()?),
        table: text(attribute(body, SET_TABLE)?),
        name: text(attribute(body, SET_NAME)?),
        key_length: number(SET_KEY_LENGTH)? as usize,
        has_intervals: number(SET_FLAGS).unwrap_or_default() & INTERVAL != 0,
        fields: lengths.map(|bytes| bytes as usize).collect(),
        elements: None,
    })
}

fn elements(replies: &[NetlinkReply]) -> Option<Vec<SetElement>> {
    let lists = replies.iter().filter_map(|reply| attribute(reply.payload.get(HEADER.len()..)?, 3));
    let elements: Vec<_> =
        lists.flat_map(attributes).take(MAX_ELEMENTS + 1).map(|(_, value)| element(value)).collect();
    (elements.len() <= MAX_ELEMENTS).then_some(elements)
}

fn element(value: &[u8]) -> SetElement {
    const INTERVAL_END: u32 = 1;
    const CATCH_ALL: u32 = 2;
    let key = |kind| attribute(value, kind).and_then(|key| attribute(key, 1)).map(<[u8]>::to_vec);
    let flags = attribute(value, 3).and_then(|flags| be32_at(flags, 0)).unwrap_or_default();
    SetElement {
        key: key(1).unwrap_or_default(),
        key_end: key(10),
        ends_interval: flags & INTERVAL_END != 0,
        is_catch_all: flags & CATCH_ALL != 0,
        verdict: attribute(value, 2).and_then(|data| attribute(data, 2)).and_then(verdict),
    }
}

/// Reads a number in network byte order, which nftables uses.
pub(super) fn be32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn be64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

/// Returns an expression. One that is malformed or of an unknown kind is opaque.
pub(super) fn expression(name: &str, data: &[u8]) -> Expression {
    known(name, data).unwrap_or_else(|| Expression::Opaque { name: name.to_owned(), writes: None })
}

fn known(name: &str, data: &[u8]) -> Option<Expression> {
    let number = |kind| attribute(data, kind).and_then(|value| be32_at(value, 0));
    let register = |kind| number(kind).and_then(register);
    let value = |kind| attribute(data, kind).and_then(|value| attribute(value, 1)).map(<[u8]>::to_vec);
    let opaque = |writes| Some(Expression::Opaque { name: name.to_owned(), writes });
    Some(match name {
        "payload" => payload(header(number(2)?), number(3)? as usize, number(4)? as usize, register(1)),
        "meta" => match register(1) {
            Some(to) => Expression::Meta { key: number(2)?, to },
            None => Expression::Neutral,
        },
        "ct" => match (number(2)?, register(1)) {
            (0, Some(to)) => Expression::ConnectionState { to },
            (_, Some(to)) => return opaque(Some(to)),
            (_, None) => Expression::Neutral,
        },
        "immediate" => immediate(data)?,
        "bitwise" => match number(6).unwrap_or_default() {
            0 => {
                Expression::Bitwise { from: register(1)?, to: register(2)?, mask: value(4)?, xor: value(5)? }
            }
            _ => return opaque(register(2)),
        },
        "cmp" => {
            Expression::Compare { register: register(1)?, operator: comparison(number(2)?)?, with: value(3)? }
        }
        "range" => Expression::Range {
            register: register(1)?,
            is_negated: number(2) == Some(1),
            from: value(3)?,
            to: value(4)?,
        },
        "lookup" => Expression::Lookup {
            register: register(2)?,
            set: text(attribute(data, 1)?),
            is_negated: number(5).unwrap_or_default() & 1 != 0,
            result: match number(3) {
                None => LookupResult::Membership,
                Some(0) => LookupResult::Verdict,
                Some(to) => LookupResult::Value(self::register(to)?),
            },
        },
        "reject" | "synproxy" => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Drop)),
        "redir" => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Redirect)),
        // `NFT_NAT_DNAT`
        "nat" if number(1) == Some(1) => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Redirect)),
        "nat" | "masq" => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Masquerade)),
        "tproxy" => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Proxy)),
        "queue" => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Queue)),
        "fwd" => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Divert)),
        "target" => target(&text(attribute(data, 1)?))?,
        // Those that add to a set match unless the set is full, or a condition in it fails.
        "dynset" if attribute(data, 7).is_some() || attribute(data, 10).is_some() => return opaque(None),
        "counter" | "log" | "dynset" | "last" | "dup" | "objref" | "flow_offload" => Expression::Neutral,
        "notrack" => Expression::Untrack,
        "fib" | "rt" | "xfrm" | "osf" | "exthdr" | "numgen" => return opaque(register(1)),
        "socket" | "tunnel" | "hash" | "byteorder" => return opaque(register(2)),
        // `limit`, `quota`, `connlimit`
        _ => return None,
    })
}

/// Returns what loads a part of the packet, or writes to it if there is no register to load it to.
fn payload(header: Header, offset: usize, length: usize, to: Option<Register>) -> Expression {
    /// The addresses of both families, and neither hop limit nor checksum, end behind it.
    const BEFORE_ADDRESSES: usize = 12;
    const DESTINATION_PORT: std::ops::Range<usize> = 2..4;
    /// The header begins with the address of the destination.
    const ETHERNET_ADDRESS: usize = 6;
    let end = offset.saturating_add(length);
    let is_address = match header {
        Header::Network => end > BEFORE_ADDRESSES,
        Header::Transport => offset < DESTINATION_PORT.end && end > DESTINATION_PORT.start,
        Header::Link | Header::Other => false,
    };
    match to {
        Some(to) => Expression::Payload { header, offset, length, to },
        // `ether daddr set`
        None if header == Header::Link && offset < ETHERNET_ADDRESS => {
            Expression::Verdict(RuleVerdict::Effect(RuleEffect::Readdress))
        }
        None if is_address => Expression::Verdict(RuleVerdict::Effect(RuleEffect::Rewrite)),
        None => Expression::Neutral,
    }
}

fn immediate(data: &[u8]) -> Option<Expression> {
    let to = be32_at(attribute(data, 1)?, 0)?;
    let content = attribute(data, 2)?;
    Some(match register(to) {
        Some(to) => Expression::Immediate { value: attribute(content, 1)?.to_vec(), to },
        None => Expression::Verdict(verdict(attribute(content, 2)?)?),
    })
}

/// Reads `NFTA_DATA_VERDICT`.
pub(super) fn verdict(data: &[u8]) -> Option<RuleVerdict> {
    let chain = || attribute(data, 2).map(text);
    Some(match be32_at(attribute(data, 1)?, 0)?.cast_signed() {
        0 => RuleVerdict::Effect(RuleEffect::Drop),
        1 => RuleVerdict::Accept,
        // The upper half is the number of the queue.
        code if code > 0 && code & 0xff == 3 => RuleVerdict::Effect(RuleEffect::Queue),
        -1 => RuleVerdict::Continue,
        -3 => RuleVerdict::Jump(chain()?),
        -4 => RuleVerdict::Goto(chain()?),
        -5 => RuleVerdict::Return,
        _ => return None,
    })
}

/// Returns the position of a register; `None` for that of verdicts.
fn register(number: u32) -> Option<Register> {
    match number {
        1..=4 => Some((number as usize - 1) * 16),
        8..=23 => Some((number as usize - 8) * 4),
        _ => None,
    }
}

const fn header(number: u32) -> Header {
    match number {
        0 => Header::Link,
        1 => Header::Network,
        2 => Header::Transport,
        _ => Header::Other,
    }
}

const fn comparison(number: u32) -> Option<Comparison> {
    Some(match number {
        0 => Comparison::Equal,
        1 => Comparison::NotEqual,
        2 => Comparison::Less,
        3 => Comparison::LessOrEqual,
        4 => Comparison::Greater,
        5 => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::netfilter::KnownPacket;

    /// What Linux 6.18 reports for `udp dport 5000 counter packets 7 bytes 224 drop` in the chain `c` of `ip t`.
    const RULE: &str = "02000004060001007400000006000200630000000c000300000000000000000220010400340001000c0001007061796c6f616400 \
        2400020008000100000000010800020000000001080003000000000908000400000000012c00010008000100636d700020000200 \
        080001000000000108000200000000000c0003000500010011000000340001000c0001007061796c6f6164002400020008000100 \
        000000010800020000000002080003000000000208000400000000022c00010008000100636d7000200002000800010000000001 \
        08000200000000000c00030006000100138800002c0001000c000100636f756e746572001c0002000c00010000000000000000e0 \
        0c0002000000000000000007300001000e000100696d6d6564696174650000001c0002000800010000000000100002000c000200 \
        0800010000000000";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<_> = hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    fn parsed_rule() -> (ChainId, Rule) {
        rule(&NetlinkReply { kind: NEW_RULE, payload: bytes(RULE) }, &mut Vec::new()).unwrap()
    }

    #[test]
    fn rule_of_the_kernel_is_parsed() {
        let (id, rule) = parsed_rule();
        assert_eq!(id, (TableFamily::Ip, "t".into(), "c".into()));
        let expected = [
            Expression::Payload { header: Header::Network, offset: 9, length: 1, to: 0 },
            Expression::Compare { register: 0, operator: Comparison::Equal, with: vec![17] },
            Expression::Payload { header: Header::Transport, offset: 2, length: 2, to: 0 },
            Expression::Compare { register: 0, operator: Comparison::Equal, with: vec![0x13, 0x88] },
            Expression::Neutral,
            Expression::Verdict(RuleVerdict::Effect(RuleEffect::Drop)),
        ];
        assert_eq!((rule.handle, rule.packets, &rule.expressions[..]), (2, Some(7), &expected[..]));
    }

    #[test]
    fn rule_drops_only_the_port_that_it_names() {
        let (_, rule) = parsed_rule();
        let base = BaseChain {
            layer: FilterLayer::Ip,
            hook: Hook::Input,
            priority: 0,
            devices: Vec::new(),
            drops: false,
            packets: None,
        };
        let chain = Chain {
            family: TableFamily::Ip,
            table: "t".into(),
            name: "c".into(),
            base: Some(base),
            rules: vec![rule],
        };
        let ruleset = Ruleset { chains: vec![chain], ..Ruleset::default() };
        let outcomes = |to: &str, hook| {
            let (source, to): (SocketAddr, SocketAddr) =
                ("10.9.0.1:6000".parse().unwrap(), to.parse().unwrap());
            ruleset.trace(&KnownPacket::datagram(source, to, None), FilterLayer::Ip, hook, "eth0")
        };
        let [only] = &outcomes("239.1.2.3:5000", Hook::Input)[..] else { panic!("one rule") };
        assert!(only.is_certain);
        assert_eq!(only.rule.location(), "nft ip t c handle 2");
        assert_eq!(outcomes("239.1.2.3:5001", Hook::Input), []);
        assert_eq!(outcomes("239.1.2.3:5000", Hook::Output), []);
    }

    #[test]
    fn state_of_the_connection_is_unknown_where_tracking_can_be_off() {
        let outcomes = |first: Vec<Expression>| {
            let (_, mut rule) = parsed_rule();
            let state = [
                Expression::ConnectionState { to: 0 },
                // `NF_CT_STATE_UNTRACKED`
                Expression::Compare {
                    register: 0,
                    operator: Comparison::Equal,
                    with: 64_u32.to_ne_bytes().to_vec(),
                },
            ];
            rule.expressions.splice(0..0, state);
            let mut ruleset = crate::fixtures::ruleset(Hook::Input, RuleEffect::Drop, None);
            ruleset.chains[0].rules = vec![Rule { expressions: first, ..Rule::default() }, rule];
            let (source, to) = ("10.9.0.1:6000".parse().unwrap(), "239.1.2.3:5000".parse().unwrap());
            ruleset
                .trace(&KnownPacket::datagram(source, to, None), FilterLayer::Ip, Hook::Input, "eth0")
                .len()
        };
        assert_eq!((outcomes(vec![]), outcomes(vec![Expression::Untrack])), (0, 1));
    }

    #[test]
    fn what_writes_addresses_and_ports_is_told_from_what_writes_the_hop_limit() {
        // Attributes with big-endian values: header, offset, length, source register.
        let write = |header: u8, offset: u8, length: u8| {
            let attribute = |kind: u8, value: u8| [8, 0, kind, 0, 0, 0, 0, value];
            let data =
                [attribute(2, header), attribute(3, offset), attribute(4, length), attribute(5, 1)].concat();
            expression("payload", &data) == Expression::Verdict(RuleVerdict::Effect(RuleEffect::Rewrite))
        };
        assert!(write(1, 16, 4) && write(1, 24, 16) && write(2, 2, 2));
        assert!(!write(1, 8, 1) && !write(1, 8, 2) && !write(2, 0, 2) && !write(0, 0, 6));
    }

    proptest! {
        #[test]
        fn any_message_is_parsed_without_panic(
            start in proptest::sample::select(vec![0_usize, 4, 24, 40, 60, 120]),
            noise in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut payload = bytes(RULE);
            let end = payload.len().min(start + noise.len());
            payload.splice(start..end, noise);
            let reply = NetlinkReply { kind: NEW_RULE, payload };
            let _ = (chain(&reply), rule(&reply, &mut Vec::new()), set(&reply), element(&reply.payload));
            let _ = elements(&[reply]);
        }

        #[test]
        fn any_expression_is_parsed_without_panic(
            name in proptest::sample::select(vec!["payload", "meta", "ct", "immediate", "bitwise", "cmp", "range",
                "lookup", "nat", "target", "dynset", "fib", "socket", "nonsense"]),
            data in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = expression(name, &data);
        }
    }
}
