//! The rules of the old `iptables` and `ip6tables`, as those of nftables.

mod ebtables;

use std::collections::BTreeMap;

use mcast::Family;
use mcast_sys::xtables::{self, Table};

use super::net_table;
use crate::netfilter::{
    BaseChain, Chain, Comparison, Expression, FilterLayer, Header, Hook, IpSetTest, LookupResult, PacketSide,
    Rule, RuleEffect, RuleSet, RuleVerdict, Ruleset, SetElement, TableFamily,
};

/// Limits the memory for tables with many rules.
const MAX_ENTRIES: usize = 100_000;

/// Adds the chains of all tables to a ruleset, or their names where they cannot be read.
pub(super) fn add_to(ruleset: &mut Ruleset) {
    for (family, names) in [(Family::V4, "ip_tables_names"), (Family::V6, "ip6_tables_names")] {
        for name in net_table(names).lines() {
            let parsed = xtables::table(family, name).ok().and_then(|table| chains(&table, family, name));
            match parsed {
                Some((chains, sets)) => {
                    ruleset.chains.extend(chains);
                    ruleset.sets.extend(sets);
                }
                None => ruleset.legacy_tables.push(format!("{} {name}", table_family(family).name())),
            }
        }
    }
}

const fn table_family(family: Family) -> TableFamily {
    match family {
        Family::V4 => TableFamily::Iptables,
        Family::V6 => TableFamily::Ip6tables,
    }
}

/// Where the parts of `struct ipt_entry` or `struct ip6t_entry` are.
struct Layout {
    /// The length of an address.
    address: usize,
    /// The names of the interfaces and their masks.
    interfaces: usize,
    protocol: usize,
    flags: usize,
    inverted: usize,
    /// The offset of the target; that of the next entry follows.
    offsets: usize,
    packets: usize,
    matches: usize,
    /// The offsets of the addresses in a packet.
    in_packet: [usize; 2],
    is_goto: u8,
    /// Flags whose conditions are not evaluated: fragments, the traffic class.
    is_opaque: u8,
}

const V4: Layout = Layout {
    address: 4,
    interfaces: 16,
    protocol: 80,
    flags: 82,
    inverted: 83,
    offsets: 88,
    packets: 96,
    matches: 112,
    in_packet: [12, 16],
    is_goto: 2,
    is_opaque: 1,
};
const V6: Layout = Layout {
    address: 16,
    interfaces: 64,
    protocol: 128,
    flags: 131,
    inverted: 132,
    offsets: 140,
    packets: 152,
    matches: 168,
    in_packet: [8, 24],
    is_goto: 4,
    is_opaque: 2,
};

/// One entry: a rule, a policy, or the head of a chain.
struct Entry<'a> {
    position: usize,
    next: usize,
    /// Where the target begins in `bytes`.
    target: usize,
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(entries: &'a [u8], position: usize, layout: &Layout) -> Option<Self> {
        let bytes = entries.get(position..)?;
        let target = usize::from(u16_at(bytes, layout.offsets)?);
        let length = usize::from(u16_at(bytes, layout.offsets + 2)?);
        let bytes = bytes.get(..length)?;
        let is_plausible = layout.matches <= target && target + EXTENSION <= length;
        is_plausible.then_some(Self { position, next: position + length, target, bytes })
    }

    fn target(&self) -> Option<(String, &'a [u8])> {
        let (name, _, data) = extension(self.bytes.get(self.target..)?)?;
        Some((name, data))
    }

    /// Returns the name of the chain that begins behind this entry, if it is a head.
    fn head(&self) -> Option<String> {
        let (name, data) = self.target()?;
        (name == "ERROR").then(|| text(data))
    }
}

/// The length of the header of a match or target: its length, name and revision.
const EXTENSION: usize = 32;

/// Returns the name, revision and data of a match or target at the start of `bytes`.
fn extension(bytes: &[u8]) -> Option<(String, u8, &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    Some((text(bytes.get(2..31)?), *bytes.get(31)?, bytes.get(EXTENSION..length)?))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Returns the chains of a table and the sets that their rules need; `None` if its entries cannot be understood.
fn chains(table: &Table, family: Family, name: &str) -> Option<(Vec<Chain>, Vec<RuleSet>)> {
    let layout = if family == Family::V4 { &V4 } else { &V6 };
    let mut entries = Vec::new();
    let mut position = 0;
    while position < table.entries.len() {
        let entry = Entry::read(&table.entries, position, layout)?;
        position = entry.next;
        entries.push(entry);
        if entries.len() > MAX_ENTRIES {
            return None;
        }
    }
    let names = names(table, &entries);
    let (mut chains, mut sets): (Vec<Chain>, Vec<RuleSet>) = Default::default();
    for entry in &entries {
        if let Some(chain) = names.get(&entry.position) {
            let family = table_family(family);
            let (table, name) = (name.to_owned(), chain.clone());
            chains.push(Chain { family, table, name, base: None, rules: Vec::new() });
        }
        let Some(chain) = chains.last_mut().filter(|_| entry.head().is_none()) else { continue };
        let handle = chain.rules.len() as u64 + 1;
        let owner =
            Owner { family: chain.family, table: name, is_ipv6: family == Family::V6, sets: &mut sets };
        chain.rules.push(rule(entry, handle, layout, &names, owner)?);
    }
    for (number, positions) in table.hooks.iter().enumerate() {
        let Some((first, policy)) = *positions else { continue };
        let chain = chains.iter_mut().find(|chain| names.get(&first) == Some(&chain.name))?;
        let policy = policy_of(chain, &entries, policy)?;
        chain.base = Some(base_chain(name, number, policy));
    }
    // The last entry of a chain that is jumped to returns, as does its end.
    Some((chains, sets))
}

/// Returns the names of all chains by the position of their first entry.
fn names(table: &Table, entries: &[Entry<'_>]) -> BTreeMap<usize, String> {
    const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    let built_in = table.hooks.iter().zip(BUILT_IN);
    let built_in = built_in.filter_map(|(positions, name)| Some(((*positions)?.0, name.to_owned())));
    // Behind the last head, there is no entry.
    let others = entries.iter().filter_map(|entry| Some((entry.next, entry.head()?)));
    built_in.chain(others).collect()
}

/// Takes the last rule of a chain, which is its policy; returns whether it drops, and how many packets it has counted.
fn policy_of(chain: &mut Chain, entries: &[Entry<'_>], position: usize) -> Option<(bool, u64)> {
    entries.iter().find(|entry| entry.position == position)?;
    let policy = chain.rules.pop()?;
    let drops = policy.expressions.contains(&Expression::Verdict(RuleVerdict::Effect(RuleEffect::Drop)));
    Some((drops, policy.packets.unwrap_or_default()))
}

fn base_chain(table: &str, number: usize, (drops, packets): (bool, u64)) -> BaseChain {
    const HOOKS: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];
    let hook = HOOKS[number];
    // `NF_IP_PRI_…`
    let priority = match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Prerouting | Hook::Output) => -100,
        ("security", _) => 50,
        ("nat", _) => 100,
        _ => 0,
    };
    let devices = Vec::new();
    BaseChain { layer: FilterLayer::Ip, hook, priority, devices, drops, packets: Some(packets) }
}

fn rule(
    entry: &Entry<'_>,
    handle: u64,
    layout: &Layout,
    names: &BTreeMap<usize, String>,
    mut owner: Owner<'_>,
) -> Option<Rule> {
    let flags = *entry.bytes.get(layout.flags)?;
    let mut expressions = conditions(entry.bytes, layout)?;
    if flags & layout.is_opaque != 0 {
        expressions.push(Expression::Opaque { name: "fragment or class".to_owned(), writes: None });
    }
    let mut position = layout.matches;
    while position < entry.target {
        let bytes = entry.bytes.get(position..entry.target)?;
        let (name, revision, data) = extension(bytes)?;
        expressions.extend(owner.matching(&name, revision, data));
        position += usize::from(u16_at(bytes, 0)?);
    }
    expressions.push(verdict(entry, flags & layout.is_goto != 0, names)?);
    Some(Rule { handle, expressions, packets: u64_at(entry.bytes, layout.packets) })
}

/// Returns the conditions on addresses, interfaces and protocol that each rule has room for.
fn conditions(bytes: &[u8], layout: &Layout) -> Option<Vec<Expression>> {
    const INTERFACE: usize = 16;
    // `IPT_INV_…`
    const INVERTED: [u8; 2] = [8, 16];
    const INCOMING: u32 = 6;
    const OUTGOING: u32 = 7;
    const PROTOCOL: u32 = 16;
    let inverted = *bytes.get(layout.inverted)?;
    let part = |start: usize, length: usize| Some(bytes.get(start..)?.get(..length)?.to_vec());
    let mut expressions = Vec::new();
    for (side, inverts) in INVERTED.into_iter().enumerate() {
        let mask = part((2 + side) * layout.address, layout.address)?;
        if mask.iter().any(|byte| *byte != 0) {
            let with = part(side * layout.address, layout.address)?;
            expressions.push(payload(Header::Network, layout.in_packet[side], layout.address));
            expressions.extend(masked(inverted & inverts != 0, mask, with));
        }
    }
    for (side, key) in [INCOMING, OUTGOING].into_iter().enumerate() {
        let mask = part(layout.interfaces + (2 + side) * INTERFACE, INTERFACE)?;
        if mask.iter().any(|byte| *byte != 0) {
            let with = part(layout.interfaces + side * INTERFACE, INTERFACE)?;
            expressions.push(Expression::Meta { key, to: 0 });
            expressions.extend(masked(inverted & (1 << side) != 0, mask, with));
        }
    }
    let protocol = u16_at(bytes, layout.protocol)?;
    if protocol != 0 {
        expressions.push(Expression::Meta { key: PROTOCOL, to: 0 });
        // The protocols that datagrams and membership messages have fit into a byte.
        expressions.push(comparison(inverted & 0x40 != 0, vec![u8::try_from(protocol).unwrap_or(u8::MAX)]));
    }
    Some(expressions)
}

/// Returns what the target of an entry does.
fn verdict(entry: &Entry<'_>, is_goto: bool, names: &BTreeMap<usize, String>) -> Option<Expression> {
    let (name, data) = entry.target()?;
    if !name.is_empty() {
        return Some(target(&name).unwrap_or(Expression::Opaque { name, writes: None }));
    }
    let verdict = match u32_at(data, 0)?.cast_signed() {
        // `-NF_DROP - 1`
        -1 => RuleVerdict::Effect(RuleEffect::Drop),
        -2 => RuleVerdict::Accept,
        -4 => RuleVerdict::Effect(RuleEffect::Queue),
        -5 => RuleVerdict::Return,
        // A rule without a target continues with the next one.
        next if usize::try_from(next) == Ok(entry.next) => RuleVerdict::Continue,
        position => {
            let name = names.get(&usize::try_from(position).ok()?)?.clone();
            if is_goto { RuleVerdict::Goto(name) } else { RuleVerdict::Jump(name) }
        }
    };
    Some(Expression::Verdict(verdict))
}

/// The bits that a rule is compared with if a condition does not depend on the packet.
const YES: u8 = 1;
/// Where ports are in the header of UDP.
const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;

/// The rule that a match belongs to, for the sets that it needs.
pub(super) struct Owner<'a> {
    pub(super) family: TableFamily,
    pub(super) table: &'a str,
    pub(super) is_ipv6: bool,
    pub(super) sets: &'a mut Vec<RuleSet>,
}

impl Owner<'_> {
    /// Returns the conditions of a match. One that is malformed or of an unknown kind is opaque.
    pub(super) fn matching(&mut self, name: &str, revision: u8, data: &[u8]) -> Vec<Expression> {
        self.known(name, revision, data)
            .unwrap_or_else(|| vec![Expression::Opaque { name: name.to_owned(), writes: None }])
    }

    fn known(&mut self, name: &str, revision: u8, data: &[u8]) -> Option<Vec<Expression>> {
        Some(match (name, revision) {
            ("comment", _) => vec![Expression::Neutral],
            ("udp", 0) => udp(data)?,
            ("multiport", 1) => self.multiport(data)?,
            ("state", 0) => state(u32_at(data, 0)?, false),
            ("conntrack", 1..=3) => conntrack(data, revision)?,
            ("pkttype", 0) => {
                // The kernel's numbers of packet types fit into a byte.
                let kind = u8::try_from(u32_at(data, 0)?).ok()?;
                vec![Expression::Meta { key: 19, to: 0 }, comparison(u32_at(data, 4)? != 0, vec![kind])]
            }
            ("addrtype", 1) => address_type(data)?,
            ("iprange", 1) => self.address_range(data)?,
            ("set", 1..=4) if self.family != TableFamily::Bridge => {
                vec![Expression::IpSet(ip_set_test(revision, data)?)]
            }
            ("ttl" | "hl", 0) => hop_limit(name == "hl", data)?,
            ("ip" | "ip6", 0) if self.family == TableFamily::Bridge => {
                ebtables::matching(name == "ip6", data)?
            }
            _ => return None,
        })
    }

    fn multiport(&mut self, data: &[u8]) -> Option<Vec<Expression>> {
        const ROOM: usize = 15;
        let (direction, count, is_negated) = (*data.first()?, *data.get(1)?, *data.get(47)? != 0);
        let offset = match direction {
            0 => SOURCE_PORT,
            1 => DESTINATION_PORT,
            _ => return None,
        };
        let count = usize::from(count).min(ROOM);
        let ports: Option<Vec<_>> = (0..count).map(|index| u16_at(data, 2 + 2 * index)).collect();
        let begins_range = data.get(32..32 + count)?;
        let mut elements: Vec<SetElement> = Vec::new();
        let mut is_open = false;
        for (port, begins) in ports?.into_iter().zip(begins_range) {
            let key = port.to_be_bytes().to_vec();
            match elements.last_mut().filter(|_| is_open) {
                Some(range) => range.key_end = Some(key),
                None => {
                    elements.push(SetElement { key_end: Some(key.clone()), key, ..SetElement::default() });
                }
            }
            is_open = !is_open && *begins != 0;
        }
        let name = format!("multiport {}", self.sets.len());
        self.sets.push(RuleSet {
            family: self.family,
            table: self.table.to_owned(),
            name: name.clone(),
            key_length: 2,
            has_intervals: true,
            fields: Vec::new(),
            elements: Some(elements),
        });
        let lookup =
            Expression::Lookup { register: 0, set: name, is_negated, result: LookupResult::Membership };
        // Protocols other than UDP have their ports at the same place, and rules name the protocol.
        Some(vec![payload(Header::Transport, offset, 2), lookup])
    }

    fn address_range(&self, data: &[u8]) -> Option<Vec<Expression>> {
        const ADDRESS: usize = 16;
        let flags = *data.get(4 * ADDRESS)?;
        let (length, places) = if self.is_ipv6 { (16, [8, 24]) } else { (4, [12, 16]) };
        let mut expressions = Vec::new();
        for (side, offset) in places.into_iter().enumerate().filter(|(side, _)| flags & (1 << side) != 0) {
            let end = |position: usize| Some(data.get(position * ADDRESS..)?.get(..length)?.to_vec());
            expressions.push(payload(Header::Network, offset, length));
            expressions.push(Expression::Range {
                register: 0,
                is_negated: flags & (16 << side) != 0,
                from: end(2 * side)?,
                to: end(2 * side + 1)?,
            });
        }
        Some(expressions)
    }
}

/// Returns what a target does; `None` if it is not known.
pub(super) fn target(name: &str) -> Option<Expression> {
    let effect = match name {
        "REJECT" => RuleEffect::Drop,
        "DNAT" | "REDIRECT" | "NETMAP" => RuleEffect::Redirect,
        "SNAT" | "MASQUERADE" => RuleEffect::Masquerade,
        "TPROXY" => RuleEffect::Proxy,
        "NFQUEUE" => RuleEffect::Queue,
        // Those of `ebtables` have their names in small letters.
        "dnat" | "redirect" => RuleEffect::Readdress,
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "CLASSIFY" | "TTL" | "HL" | "TEE" | "TRACE"
        | "CHECKSUM" | "DSCP" | "TOS" | "SET" => return Some(Expression::Neutral),
        "CT" | "NOTRACK" => return Some(Expression::Untrack),
        _ => return None,
    };
    Some(Expression::Verdict(RuleVerdict::Effect(effect)))
}

/// Loads a part of the packet into the first register.
pub(super) const fn payload(header: Header, offset: usize, length: usize) -> Expression {
    Expression::Payload { header, offset, length, to: 0 }
}

/// Compares the first register.
pub(super) const fn comparison(is_negated: bool, with: Vec<u8>) -> Expression {
    let operator = if is_negated { Comparison::NotEqual } else { Comparison::Equal };
    Expression::Compare { register: 0, operator, with }
}

/// Compares the first register in the bits of a mask.
pub(super) fn masked(is_negated: bool, mask: Vec<u8>, with: Vec<u8>) -> [Expression; 2] {
    let xor = vec![0; mask.len()];
    // The kernel masks both.
    let with = with.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    [Expression::Bitwise { from: 0, to: 0, mask, xor }, comparison(is_negated, with)]
}

/// Returns a condition that is known.
fn constant(holds: bool) -> Vec<Expression> {
    vec![Expression::Immediate { value: vec![u8::from(holds)], to: 0 }, comparison(false, vec![YES])]
}

fn udp(data: &[u8]) -> Option<Vec<Expression>> {
    let inverted = *data.get(8)?;
    let mut expressions = Vec::new();
    for (side, offset) in [SOURCE_PORT, DESTINATION_PORT].into_iter().enumerate() {
        let (from, to) = (u16_at(data, 4 * side)?, u16_at(data, 4 * side + 2)?);
        if (from, to) != (0, u16::MAX) {
            expressions.push(payload(Header::Transport, offset, 2));
            expressions.push(Expression::Range {
                register: 0,
                is_negated: inverted & (1 << side) != 0,
                from: from.to_be_bytes().to_vec(),
                to: to.to_be_bytes().to_vec(),
            });
        }
    }
    Some(expressions)
}

/// Returns the condition that the state of the connection is one of these, as `ct state` of nftables numbers them.
fn state(states: u32, is_negated: bool) -> Vec<Expression> {
    let [load, compare] = masked(!is_negated, states.to_ne_bytes().to_vec(), vec![0; 4]);
    vec![Expression::ConnectionState { to: 0 }, load, compare]
}

fn conntrack(data: &[u8], revision: u8) -> Option<Vec<Expression>> {
    /// `XT_CONNTRACK_STATE`
    const STATE: u16 = 1;
    /// `XT_CONNTRACK_STATE_ALIAS`: the rule was written with `-m state`.
    const ALIAS: u16 = 1 << 13;
    const SAME_IN_NFTABLES: u16 = 0b1111;
    const TRANSLATED: u16 = 0b1100_0000;
    const UNTRACKED: u16 = 1 << 8;
    let (matched, inverted) = (u16_at(data, 146)?, u16_at(data, 148)?);
    let states = match revision {
        1 => u16::from(*data.get(150)?),
        _ => u16_at(data, 150)?,
    };
    if matched & !ALIAS != STATE || states & TRANSLATED != 0 {
        return None;
    }
    let untracked = if states & UNTRACKED != 0 { 64 } else { 0 };
    Some(state(u32::from(states & SAME_IN_NFTABLES) | untracked, inverted & STATE != 0))
}

/// Returns the condition on the types of the addresses. That of a group is multicast.
fn address_type(data: &[u8]) -> Option<Vec<Expression>> {
    /// `1 << RTN_MULTICAST`
    const MULTICAST: u16 = 1 << 5;
    const INVERT_DESTINATION: u32 = 2;
    let (source, destination, flags) = (u16_at(data, 0)?, u16_at(data, 2)?, u32_at(data, 4)?);
    if source != 0 {
        return None;
    }
    let has_type = destination & MULTICAST != 0;
    Some(constant(destination == 0 || has_type != (flags & INVERT_DESTINATION != 0)))
}

fn hop_limit(is_ipv6: bool, data: &[u8]) -> Option<Vec<Expression>> {
    let operator = match *data.first()? {
        0 => Comparison::Equal,
        1 => Comparison::NotEqual,
        2 => Comparison::Less,
        3 => Comparison::Greater,
        _ => return None,
    };
    let with = vec![*data.get(1)?];
    let offset = if is_ipv6 { 7 } else { 8 };
    Some(vec![payload(Header::Network, offset, 1), Expression::Compare { register: 0, operator, with }])
}

/// Returns the test of the match `set`, `struct xt_set_info_match_v1` to `…_v4`; `None` if it also tests the counters of elements.
fn ip_set_test(revision: u8, data: &[u8]) -> Option<IpSetTest> {
    /// `IPSET_INV_MATCH`; the bits behind it are those of the dimensions, set for the source.
    const INVERTED: u8 = 1;
    /// `IPSET_RETURN_NOMATCH` and `IPSET_FLAG_RETURN_NOMATCH`
    const RETURN_NOMATCH: u8 = 1 << 7;
    /// `IPSET_DIM_MAX`
    const MAX_DIMENSIONS: u8 = 6;
    /// Where the operators of the counters of packets and bytes are, and where the flags are.
    const OF_REVISION_3: ([usize; 2], usize) = ([8, 24], 40);
    const OF_REVISION_4: ([usize; 2], usize) = ([16, 32], 40);
    let (index, dimensions, flags) = (u16_at(data, 0)?, *data.get(2)?, *data.get(3)?);
    let wants_exceptions = match revision {
        1 | 2 => flags & RETURN_NOMATCH != 0,
        _ => {
            let (operators, place) = if revision == 3 { OF_REVISION_3 } else { OF_REVISION_4 };
            for operator in operators {
                // `IPSET_COUNTER_NONE`
                (*data.get(operator)? == 0).then_some(())?;
            }
            u32_at(data, place)? & u32::from(RETURN_NOMATCH) != 0
        }
    };
    let side = |dimension| match flags & (1_u8 << dimension) {
        0 => PacketSide::Destination,
        _ => PacketSide::Source,
    };
    (dimensions <= MAX_DIMENSIONS).then_some(())?;
    let sides = (1..=dimensions).map(side).collect();
    Some(IpSetTest { index, sides, is_negated: flags & INVERTED != 0, wants_exceptions })
}

pub(super) fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::process::Command;

    use mcast::InterfaceIndex;
    use mcast_lab::{Host, Lab};
    use proptest::prelude::*;

    use super::*;
    use crate::netfilter::KnownPacket;

    /// Returns what the tables of a host are after a command of the shell, and whether it succeeded.
    fn tables_after(command: &str) -> Ruleset {
        let lab = Lab::new().unwrap();
        tables_of(&lab.host("a").unwrap(), command)
    }

    fn tables_of(host: &Host, command: &str) -> Ruleset {
        host.run(|| {
            let lock = tempfile::NamedTempFile::new().unwrap();
            let done =
                Command::new("sh").args(["-ec", command]).env("XTABLES_LOCKFILE", lock.path()).status();
            let done = done.unwrap();
            assert!(done.success(), "{command}");
            let mut ruleset = super::super::nftables::ruleset().unwrap();
            add_to(&mut ruleset);
            super::super::ip_sets::add_to(&mut ruleset);
            ruleset
        })
        .unwrap()
    }

    /// Returns the rules that take a datagram to this group, as their locations.
    fn taken(ruleset: &Ruleset, to: &str, interface: &str, hook: Hook) -> Vec<String> {
        let to: SocketAddr = to.parse().unwrap();
        let source = if to.is_ipv4() { "10.9.0.1:6000" } else { "[fe80::7]:6000" };
        let index = InterfaceIndex::new(4).unwrap();
        let packet =
            KnownPacket::datagram(source.parse().unwrap(), to, Some(1)).arriving_on(index, interface);
        let outcomes = ruleset.trace(&packet, FilterLayer::Ip, hook, interface);
        outcomes
            .iter()
            .map(|outcome| format!("{}, {}", outcome.rule.location(), outcome.is_certain))
            .collect()
    }

    fn has_programs() -> bool {
        let found =
            Command::new("iptables-legacy").arg("-V").output().is_ok_and(|output| output.status.success());
        if !found {
            mcast_lab::skip("this test needs iptables-legacy");
        }
        found
    }

    #[test]
    fn rule_takes_what_its_conditions_name() {
        if !has_programs() {
            return;
        }
        const TAKEN: [(&str, &str, bool); 21] = [
            ("-d 239.1.2.3", "-p udp", true),
            ("-d 239.1.0.0/16", "-p udp", true),
            ("! -d 239.1.2.0/24", "", false),
            ("-s 10.9.0.0/24", "", true),
            ("-i eth+", "", true),
            ("-i eth1", "", false),
            ("! -i eth1", "", true),
            ("! -p tcp", "", true),
            ("! -p udp", "", false),
            ("-p udp", "--dport 5000", true),
            ("-p udp", "--dport 5001:6000", false),
            ("-p udp", "--sport 6000 ! --dport 4000", true),
            ("-p udp", "-m multiport --dports 53,4000:4999,5000", true),
            ("-p udp", "-m multiport ! --dports 53,4990:5010", false),
            ("-m pkttype", "--pkt-type multicast", true),
            ("-m conntrack", "--ctstate RELATED,ESTABLISHED", false),
            ("-m conntrack", "! --ctstate RELATED,ESTABLISHED", true),
            ("-m state", "! --state NEW", false),
            ("-m addrtype", "! --dst-type MULTICAST", false),
            ("-m iprange", "! --dst-range 239.1.2.0-239.1.2.9", false),
            ("-m iprange", "--dst-range 239.1.2.0-239.1.2.9 -m ttl --ttl-lt 2", true),
        ];
        for (first, second, is_taken) in TAKEN {
            let ruleset = tables_after(&format!(
                "iptables-legacy -A INPUT {first} {second} -m comment --comment why -j DROP"
            ));
            let expected = is_taken.then(|| "iptables-legacy -t filter INPUT rule 1, true".to_owned());
            let taken = taken(&ruleset, "239.1.2.3:5000", "eth0", Hook::Input);
            assert_eq!(taken, Vec::from_iter(expected), "{first} {second}");
            assert_eq!(ruleset.legacy_tables, Vec::<String>::new());
        }
    }

    /// A kind of set, its elements, the options of the rule, and whether the rule takes a datagram from 10.9.0.1:6000 to
    /// 239.1.2.3:5000; `None` if it may.
    type SetCase = (&'static str, &'static [&'static str], &'static str, Option<bool>);

    const SETS: [SetCase; 27] = [
        ("hash:ip", &["10.9.0.7", "10.9.0.1"], "s src", Some(true)),
        ("hash:ip", &["10.9.0.7"], "s src", Some(false)),
        ("hash:ip timeout 900", &["10.9.0.1 timeout 600"], "s src", Some(true)),
        ("hash:ip", &["239.1.2.3"], "s dst", Some(true)),
        ("hash:ip", &["239.1.2.3"], "s src", Some(false)),
        ("hash:ip netmask 24", &["10.9.0.200"], "s src", Some(true)),
        ("hash:ip netmask 24", &["10.9.1.1"], "s src", Some(false)),
        ("hash:net", &["10.0.0.0/8"], "s src", Some(true)),
        ("hash:net", &["10.0.0.0/8", "10.9.0.0/16 nomatch"], "s src", Some(false)),
        ("hash:net", &["10.0.0.0/8", "10.9.0.0/16 nomatch", "10.9.0.1"], "s src", Some(true)),
        ("hash:net", &["10.0.0.0/8", "10.9.0.0/16 nomatch"], "s src --return-nomatch", Some(true)),
        ("hash:net", &["10.0.0.0/8"], "s src --return-nomatch", Some(false)),
        ("hash:ip,port", &["10.9.0.1,udp:5000"], "s src,dst", Some(true)),
        ("hash:ip,port", &["10.9.0.1,tcp:5000"], "s src,dst", Some(false)),
        ("hash:ip,port", &["10.9.0.1,udp:6000"], "s src,src", Some(true)),
        ("hash:ip,port", &["10.9.0.1,udp:5000"], "s src", Some(false)),
        (
            "hash:net,port",
            &["239.0.0.0/8,udp:5000", "239.1.0.0/16,udp:5000 nomatch"],
            "s dst,dst",
            Some(false),
        ),
        ("hash:net,port", &["239.1.0.0/16,udp:5000"], "s dst,dst", Some(true)),
        ("hash:ip,port,ip", &["10.9.0.1,udp:5000,239.1.2.3"], "s src,dst,dst", Some(true)),
        ("hash:ip,port,ip", &["10.9.0.1,udp:5000,239.1.2.4"], "s src,dst,dst", Some(false)),
        ("hash:ip,port,net", &["10.9.0.1,udp:5000,239.1.0.0/16"], "s src,dst,dst", Some(true)),
        ("bitmap:ip range 10.9.0.0/24", &["10.9.0.1"], "s src", Some(true)),
        ("bitmap:ip range 10.9.0.0/24", &["10.9.0.2"], "s src", Some(false)),
        ("bitmap:ip range 10.8.0.0/24", &["10.8.0.1"], "s src", Some(false)),
        ("bitmap:port range 5000-5010", &["5000"], "s dst", Some(true)),
        ("bitmap:port range 5000-5010", &["5001"], "s dst", Some(false)),
        ("bitmap:ip,mac range 10.9.0.0/24", &["10.9.0.1,02:00:00:00:00:09"], "s src,src", None),
    ];

    /// Returns whether the rule takes the datagram, and the rules that do.
    fn taken_by_set(program: &str, (kind, elements, options, _): SetCase, to: &str) -> Option<bool> {
        let lab = Lab::new().unwrap();
        let host = lab.host("a").unwrap();
        host.add_ip_set("s", kind, elements).unwrap();
        let ruleset = tables_of(&host, &format!("{program} -A INPUT -m set {options} -j DROP"));
        let taken = taken(&ruleset, to, "eth0", Hook::Input);
        match taken.first() {
            Some(rule) if rule.ends_with("false") => None,
            rule => Some(rule.is_some()),
        }
    }

    #[test]
    fn rule_with_a_set_takes_what_the_set_contains() {
        if !has_programs() {
            return;
        }
        for program in ["iptables-legacy", "iptables-nft"] {
            for case in SETS {
                let (kind, elements, options, expected) = case;
                for (not, is_negated) in [("", false), ("! ", true)] {
                    let options = format!("{not}--match-set {options}").leak();
                    let taken = taken_by_set(program, (kind, elements, options, expected), "239.1.2.3:5000");
                    let expected = expected.map(|is_taken| is_taken != is_negated);
                    assert_eq!(taken, expected, "{program} {kind} {elements:?} {options}");
                }
            }
        }
    }

    #[test]
    fn rule_with_a_set_of_ipv6_takes_what_the_set_contains() {
        if !has_programs() {
            return;
        }
        let cases: [SetCase; 4] = [
            ("hash:ip family inet6", &["fe80::7"], "--match-set s src", Some(true)),
            ("hash:ip family inet6", &["fe80::8"], "--match-set s src", Some(false)),
            ("hash:net family inet6", &["ff15::/16", "ff15::/112 nomatch"], "--match-set s dst", Some(false)),
            ("hash:net,port family inet6", &["ff00::/8,udp:5000"], "--match-set s dst,dst", Some(true)),
        ];
        for program in ["ip6tables-legacy", "ip6tables-nft"] {
            for case in cases {
                assert_eq!(taken_by_set(program, case, "[ff15::7]:5000"), case.3, "{program} {case:?}");
            }
        }
    }

    #[test]
    fn list_of_sets_has_what_its_members_have() {
        if !has_programs() {
            return;
        }
        for (source, expected) in [("10.9.0.1", true), ("10.9.0.2", false)] {
            let lab = Lab::new().unwrap();
            let host = lab.host("a").unwrap();
            host.add_ip_set("v6", "hash:ip family inet6", &["fe80::7"]).unwrap();
            host.add_ip_set("sources", "hash:ip", &[source]).unwrap();
            host.add_ip_set("all", "list:set", &["v6", "sources"]).unwrap();
            let ruleset = tables_of(&host, "iptables-legacy -A INPUT -m set --match-set all src -j DROP");
            let taken = taken(&ruleset, "239.1.2.3:5000", "eth0", Hook::Input);
            assert_eq!(!taken.is_empty(), expected, "{source}");
        }
    }

    #[test]
    fn chains_policies_and_tables_are_followed() {
        if !has_programs() {
            return;
        }
        let ruleset = tables_after(
            "iptables-legacy -N groups; iptables-legacy -A groups -d 239.9.0.0/16 -j RETURN
             iptables-legacy -A groups -m addrtype --dst-type MULTICAST -j REJECT; iptables-legacy -A groups -j ACCEPT
             iptables-legacy -A INPUT -p tcp -j ACCEPT; iptables-legacy -A INPUT -p udp -j groups; iptables-legacy -P INPUT DROP
             iptables-legacy -t raw -N early; iptables-legacy -t raw -A early -d 239.7.7.7 -j DROP
             iptables-legacy -t raw -A PREROUTING -d 239.0.0.0/8 -g early; iptables-legacy -t raw -A PREROUTING -j DROP
             iptables-legacy -t mangle -A PREROUTING -d 239.7.7.7 -j DROP
             ip6tables-legacy -A INPUT -p udp -s fe80::/10 -d ff15::7 -m udp --dport 5000 -m hl --hl-eq 1 -j DROP",
        );
        let taken = |to: &str, hook| taken(&ruleset, to, "eth0", hook);
        let rejected = ["iptables-legacy -t filter groups rule 2, true"];
        assert_eq!(taken("239.1.2.3:5000", Hook::Input), rejected);
        assert_eq!(
            taken("239.9.2.3:5000", Hook::Input),
            ["iptables-legacy -t filter INPUT policy drop, true"]
        );
        assert_eq!(taken("239.1.2.3:5000", Hook::Prerouting), Vec::<String>::new());
        assert_eq!(taken("239.7.7.7:5000", Hook::Prerouting), ["iptables-legacy -t raw early rule 1, true"]);
        assert_eq!(taken("[ff15::7]:5000", Hook::Input), ["ip6tables-legacy -t filter INPUT rule 1, true"]);
        assert_eq!(taken("[ff15::8]:5000", Hook::Input), Vec::<String>::new());
    }

    #[test]
    fn rule_with_an_unknown_match_takes_perhaps() {
        if !has_programs() {
            return;
        }
        let ruleset = tables_after("iptables-legacy -A INPUT -p udp -m limit --limit 5/s -j DROP");
        let taken = taken(&ruleset, "239.1.2.3:5000", "eth0", Hook::Input);
        assert_eq!(taken, ["iptables-legacy -t filter INPUT rule 1, false"]);
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(
            entries in proptest::collection::vec(any::<u8>(), 0..600),
            lengths in proptest::collection::vec((112_u16..400, 112_u16..400), 0..4),
            hooks in any::<[Option<(u16, u16)>; 5]>(),
        ) {
            let mut entries = entries;
            // Lengths that lead from one entry to the next.
            let mut position = 0;
            for (target, length) in lengths {
                if let Some(place) = entries.get_mut(position + V4.offsets..position + V4.offsets + 4) {
                    place[..2].copy_from_slice(&target.to_ne_bytes());
                    place[2..].copy_from_slice(&length.to_ne_bytes());
                }
                position += usize::from(length);
            }
            let hooks = hooks.map(|positions| positions.map(|(first, last)| (first.into(), last.into())));
            let table = Table { hooks, entries };
            let _ = (chains(&table, Family::V4, "filter"), chains(&table, Family::V6, "raw"));
        }
    }
}
