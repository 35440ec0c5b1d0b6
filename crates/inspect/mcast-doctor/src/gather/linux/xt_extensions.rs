//! The matches and targets of `iptables` (linux/netfilter/xt_*.h), which rules of the old `iptables` consist of, and those of
//! `iptables-nft` contain. Numbers are in the byte order of this machine.

use crate::netfilter::{
    Comparison, Expression, Header, LookupResult, RuleEffect, RuleSet, RuleVerdict, SetElement, TableFamily,
};

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
            ("ttl" | "hl", 0) => hop_limit(name == "hl", data)?,
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

pub(super) fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(position..)?.first_chunk()?))
}
