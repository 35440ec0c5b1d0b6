//! The rules of the packet filter.

use super::ip_sets::{IpSetTest, IpSets};
use super::packet::Header;
use super::{FilterLayer, Hook};

/// The tables of the packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub(crate) chains: Vec<Chain>,
    pub(crate) sets: Vec<RuleSet>,
    /// The tables of the old `iptables` whose rules could not be read, as `iptables raw`.
    pub legacy_tables: Vec<String>,
    /// The sets of `ipset` that rules refer to.
    pub(crate) ip_sets: IpSets,
}

mcast::group::named! {
    /// The family of a table.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum TableFamily {
        Inet = "inet",
        Ip = "ip",
        Ip6 = "ip6",
        Netdev = "netdev",
        Bridge = "bridge",
        /// The tables of the old `iptables`.
        Iptables = "iptables",
        /// The tables of the old `ip6tables`.
        Ip6tables = "ip6tables",
        Other = "unknown",
    }
    fn name;
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: TableFamily,
    pub(crate) table: String,
    pub(crate) name: String,
    /// `None` for a chain that is only jumped to.
    pub(crate) base: Option<BaseChain>,
    pub(crate) rules: Vec<Rule>,
}

/// Where a chain begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseChain {
    pub(crate) layer: FilterLayer,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    /// The devices of an ingress or egress hook.
    pub(crate) devices: Vec<String>,
    /// Whether the policy is to drop.
    pub(crate) drops: bool,
    /// The number of packets that the policy applied to, if it is counted.
    pub(crate) packets: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its handle; the position in the chain, from 1, of a rule of the old `iptables`.
    pub(crate) handle: u64,
    pub(crate) expressions: Vec<Expression>,
    /// The number of packets, if the rule has a counter.
    pub(crate) packets: Option<u64>,
}

/// A position in the registers, in bytes.
pub(crate) type Register = usize;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Payload {
        header: Header,
        offset: usize,
        length: usize,
        to: Register,
    },
    Meta {
        key: u32,
        to: Register,
    },
    /// The state of the connection.
    ConnectionState {
        to: Register,
    },
    Immediate {
        value: Vec<u8>,
        to: Register,
    },
    Bitwise {
        from: Register,
        to: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        register: Register,
        operator: Comparison,
        with: Vec<u8>,
    },
    Range {
        register: Register,
        is_negated: bool,
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Lookup {
        register: Register,
        set: String,
        is_negated: bool,
        result: LookupResult,
    },
    /// A test by a set of `ipset`.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(
            dead_code,
            reason = "only Linux has sets of ipset, but their evaluation is tested on every system"
        )
    )]
    IpSet(IpSetTest),
    Verdict(RuleVerdict),
    /// An expression whose result is not known here, by its name. It may write a register.
    Opaque {
        name: String,
        writes: Option<Register>,
    },
    /// It keeps connection tracking from the packet (`notrack`).
    Untrack,
    /// An expression that does not affect what happens to the packet.
    Neutral,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupResult {
    Membership,
    Verdict,
    Value(Register),
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleVerdict {
    Accept,
    Continue,
    Return,
    Jump(String),
    Goto(String),
    /// It ends here, or elsewhere.
    Effect(RuleEffect),
}

/// How a rule keeps a packet from the sockets that joined its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleEffect {
    /// It ends here (`drop`, `reject`).
    Drop,
    /// Its destination changes (`redirect`, `dnat`).
    Redirect,
    /// Its source changes (`snat`, `masquerade`).
    Masquerade,
    /// It goes to the socket of a proxy (`tproxy`).
    Proxy,
    /// A program decides (`queue`).
    Queue,
    /// It leaves by another interface (`fwd`).
    Divert,
    /// The rule writes its addresses or its destination port.
    Rewrite,
    /// The rule writes the Ethernet address that its frame is sent to, by which bridges decide.
    Readdress,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleSet {
    pub(crate) family: TableFamily,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) key_length: usize,
    pub(crate) has_intervals: bool,
    /// The lengths of the fields of a concatenated key, in bytes.
    pub(crate) fields: Vec<usize>,
    /// `None` if they were not read.
    pub(crate) elements: Option<Vec<SetElement>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetElement {
    pub(crate) key: Vec<u8>,
    /// The last key of a range in a concatenated set.
    pub(crate) key_end: Option<Vec<u8>>,
    /// Whether it ends the interval that the element before it began.
    pub(crate) ends_interval: bool,
    /// Whether it stands for all other keys.
    pub(crate) is_catch_all: bool,
    pub(crate) verdict: Option<RuleVerdict>,
}

/// The result of looking up a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetMatch<'a> {
    Element(&'a SetElement),
    Nothing,
    Unknown,
}

impl RuleSet {
    /// Looks up a key, some of whose bytes may be unknown.
    pub(crate) fn find(&self, key: &[Option<u8>]) -> SetMatch<'_> {
        let Some(elements) = &self.elements else { return SetMatch::Unknown };
        let Some(key) = key.iter().copied().collect::<Option<Vec<u8>>>() else { return SetMatch::Unknown };
        let is_concatenated = elements.iter().any(|element| element.key_end.is_some());
        let found = if is_concatenated {
            elements.iter().find(|element| self.has_in_all_fields(element, &key))
        } else if self.has_intervals {
            interval_with(elements, &key)
        } else {
            elements.iter().find(|element| !element.is_catch_all && element.key == key)
        };
        let found = found.or_else(|| elements.iter().find(|element| element.is_catch_all));
        found.map_or(SetMatch::Nothing, SetMatch::Element)
    }

    fn has_in_all_fields(&self, element: &SetElement, key: &[u8]) -> bool {
        let end = element.key_end.as_ref().unwrap_or(&element.key);
        let fields = if self.fields.is_empty() { vec![key.len()] } else { self.fields.clone() };
        let mut position = 0;
        !element.is_catch_all
            && fields.into_iter().all(|length| {
                let field = position..position + length;
                // Each field begins at a register of 4 bytes.
                position = (position + length).next_multiple_of(4);
                match (key.get(field.clone()), element.key.get(field.clone()), end.get(field)) {
                    (Some(key), Some(from), Some(to)) => from <= key && key <= to,
                    _ => false,
                }
            })
    }
}

/// Returns the element that begins the interval with a key.
fn interval_with<'a>(elements: &'a [SetElement], key: &[u8]) -> Option<&'a SetElement> {
    let not_above = elements.iter().filter(|element| !element.is_catch_all && element.key.as_slice() <= key);
    // Where one interval ends and the next begins, both elements have the same key.
    let last = not_above.max_by_key(|element| (&element.key, !element.ends_interval))?;
    (!last.ends_interval).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(has_intervals: bool, elements: Vec<SetElement>) -> RuleSet {
        RuleSet {
            family: TableFamily::Inet,
            table: "t".into(),
            name: "s".into(),
            key_length: 1,
            has_intervals,
            fields: Vec::new(),
            elements: Some(elements),
        }
    }

    fn element(key: u8, ends_interval: bool) -> SetElement {
        SetElement { key: vec![key], ends_interval, ..SetElement::default() }
    }

    fn contains(set: &RuleSet, key: u8) -> bool {
        matches!(set.find(&[Some(key)]), SetMatch::Element(_))
    }

    #[test]
    fn interval_contains_its_first_key_and_not_its_end() {
        let set = set(
            true,
            vec![element(0, true), element(5, false), element(8, true), element(8, false), element(9, true)],
        );
        let inside: Vec<_> = (0..12).filter(|key| contains(&set, *key)).collect();
        assert_eq!(inside, [5, 6, 7, 8]);
    }

    #[test]
    fn ranges_of_a_concatenation_are_compared_by_field() {
        let range = SetElement {
            key: vec![1, 0, 0, 0, 5],
            key_end: Some(vec![3, 0, 0, 0, 6]),
            ..SetElement::default()
        };
        let set = RuleSet { fields: vec![1, 1], ..set(true, vec![range]) };
        let has =
            |first, second| matches!(set.find(&[first, 0, 0, 0, second].map(Some)), SetMatch::Element(_));
        assert!(has(2, 5) && has(3, 6) && !has(2, 7) && !has(4, 5));
    }

    #[test]
    fn unknown_byte_or_unread_set_is_undecided() {
        let known = set(false, vec![element(5, false)]);
        assert_eq!(known.find(&[None]), SetMatch::Unknown);
        assert_eq!(RuleSet { elements: None, ..known }.find(&[Some(5)]), SetMatch::Unknown);
    }

    #[test]
    fn catch_all_element_stands_for_every_other_key() {
        let all = SetElement { is_catch_all: true, ..SetElement::default() };
        let set = set(false, vec![element(5, false), all.clone()]);
        assert_eq!(set.find(&[Some(6)]), SetMatch::Element(&all));
    }
}
