//! The expressions of nftables rules, from their attributes (linux/netfilter/nf_tables.h).

use mcast_sys::netlink::{attribute, text};

use super::nftables::be32_at;
use super::xt_extensions::target;
use crate::netfilter::{Comparison, Expression, Header, LookupResult, Register, RuleEffect, RuleVerdict};

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
    let end = offset.saturating_add(length);
    let is_address = match header {
        Header::Network => end > BEFORE_ADDRESSES,
        Header::Transport => offset < DESTINATION_PORT.end && end > DESTINATION_PORT.start,
        Header::Link | Header::Other => false,
    };
    match to {
        Some(to) => Expression::Payload { header, offset, length, to },
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
