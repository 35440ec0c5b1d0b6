//! Rules are evaluated as the kernel evaluates them, as far as the packet is known.

use mcast::InterfaceIndex;

use super::packet::Header;
use super::ruleset::{
    BaseChain, Chain, Comparison, Expression, LookupResult, Rule, RuleEffect, RuleSet, RuleVerdict, Ruleset,
    SetElement, TableFamily,
};
use super::{FilterLayer, Hook, KnownPacket};

use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};

const DROP: RuleVerdict = RuleVerdict::Effect(RuleEffect::Drop);
const PORT: [u8; 2] = 5000_u16.to_be_bytes();
const DESTINATION_PORT: Expression = payload(Header::Transport, 2, 2);

const fn payload(header: Header, offset: usize, length: usize) -> Expression {
    Expression::Payload { header, offset, length, to: 0 }
}

fn compare(operator: Comparison, with: &[u8]) -> Expression {
    Expression::Compare { register: 0, operator, with: with.into() }
}

fn rule(handle: u64, expressions: Vec<Expression>, verdict: RuleVerdict) -> Rule {
    let expressions = expressions.into_iter().chain([Expression::Verdict(verdict)]).collect();
    Rule { handle, expressions, packets: None }
}

/// Returns a chain at the input hook.
fn input(rules: Vec<Rule>) -> Chain {
    let base = BaseChain {
        layer: FilterLayer::Ip,
        hook: Hook::Input,
        priority: 0,
        devices: Vec::new(),
        drops: false,
        packets: None,
    };
    Chain { family: TableFamily::Inet, table: "t".into(), name: "input".into(), base: Some(base), rules }
}

/// Returns the rules and policies that drop a datagram to 239.1.2.3:5000, each with whether it is certain.
fn traced(ruleset: &Ruleset, layer: FilterLayer, hook: Hook, device: &str) -> Vec<(String, bool)> {
    let (source, to) = ("10.9.0.1:6000".parse().unwrap(), "239.1.2.3:5000".parse().unwrap());
    let index = InterfaceIndex::new(2).unwrap();
    let packet = KnownPacket::datagram(source, to, None).arriving_on(index, "eth0");
    let outcomes = ruleset.trace(&packet, layer, hook, device);
    outcomes.into_iter().map(|outcome| (outcome.rule.part, outcome.is_certain)).collect()
}

fn drops_at_input(chains: Vec<Chain>, sets: Vec<RuleSet>) -> Vec<(String, bool)> {
    traced(&Ruleset { chains, sets, ..Ruleset::default() }, FilterLayer::Ip, Hook::Input, "")
}

/// Returns whether a rule drops the datagram: with certainty, possibly (`Some(false)`), or not.
fn dropped_by(expressions: Vec<Expression>, sets: Vec<RuleSet>) -> Option<bool> {
    let drops = drops_at_input(vec![input(vec![rule(1, expressions, DROP)])], sets);
    drops.first().map(|(_, is_certain)| *is_certain)
}

#[test]
fn expressions_match_as_far_as_the_packet_is_known() {
    let with_port = |last| vec![DESTINATION_PORT, last];
    let port_range = |is_negated| {
        let (from, to) = (PORT.to_vec(), 5001_u16.to_be_bytes().to_vec());
        with_port(Expression::Range { register: 0, is_negated, from, to })
    };
    let has_state = |mask: u32| {
        let (mask, xor) = (mask.to_ne_bytes().to_vec(), vec![0; 4]);
        let state = Expression::ConnectionState { to: 0 };
        vec![state, Expression::Bitwise { from: 0, to: 0, mask, xor }, compare(NotEqual, &[0; 4])]
    };
    let opaque = |writes| Expression::Opaque { name: "fib".into(), writes };
    let interface = b"eth0\0\0\0\0\0\0\0\0\0\0\0\0";
    let cases = [
        (vec![payload(Header::Network, 9, 1), compare(Equal, &[17])], Some(true)),
        (vec![payload(Header::Network, 9, 1), compare(NotEqual, &[17])], None),
        (vec![payload(Header::Network, 8, 1), compare(Equal, &[1])], Some(false)),
        (vec![payload(Header::Link, 0, 3), compare(Equal, &[1, 0, 0x5e])], Some(true)),
        (vec![payload(Header::Other, 0, 1), compare(Equal, &[1])], Some(false)),
        (with_port(compare(Less, &PORT)), None),
        (with_port(compare(LessOrEqual, &PORT)), Some(true)),
        (with_port(compare(Greater, &PORT)), None),
        (with_port(compare(GreaterOrEqual, &PORT)), Some(true)),
        (port_range(false), Some(true)),
        (port_range(true), None),
        (vec![Expression::Meta { key: 6, to: 0 }, compare(Equal, interface)], Some(true)),
        (vec![Expression::Meta { key: 99, to: 0 }, compare(Equal, &[1])], Some(false)),
        (has_state(8), Some(true)),
        (has_state(2), None),
        (vec![Expression::Immediate { value: vec![1], to: 0 }, compare(Equal, &[1])], Some(true)),
        (vec![opaque(Some(0)), compare(Equal, &[1])], Some(false)),
        (vec![opaque(None)], Some(false)),
        (vec![Expression::Neutral], Some(true)),
    ];
    for (expressions, expected) in cases {
        assert_eq!(dropped_by(expressions.clone(), Vec::new()), expected, "{expressions:?}");
    }
}

#[test]
fn sets_and_maps_are_looked_up() {
    let set = |elements| RuleSet {
        family: TableFamily::Inet,
        table: "t".into(),
        name: "s".into(),
        key_length: 2,
        has_intervals: false,
        fields: Vec::new(),
        elements,
    };
    let look_up = |is_negated, result| {
        let lookup = Expression::Lookup { register: 0, set: "s".into(), is_negated, result };
        vec![DESTINATION_PORT, lookup]
    };
    let port = |verdict| SetElement { key: PORT.to_vec(), verdict, ..SetElement::default() };
    let (with_port, unread) = (set(Some(vec![port(None)])), set(None));

    assert_eq!(dropped_by(look_up(false, LookupResult::Membership), vec![with_port.clone()]), Some(true));
    assert_eq!(dropped_by(look_up(true, LookupResult::Membership), vec![with_port.clone()]), None);
    assert_eq!(dropped_by(look_up(false, LookupResult::Membership), vec![unread]), Some(false));
    let value = [look_up(false, LookupResult::Value(4)), vec![Expression::Neutral]].concat();
    assert_eq!(dropped_by(value, vec![with_port]), Some(true));
    let map = |verdict| vec![set(Some(vec![port(Some(verdict))]))];
    let by_map = |verdict| dropped_by(look_up(false, LookupResult::Verdict), map(verdict));
    assert_eq!((by_map(DROP), by_map(RuleVerdict::Accept)), (Some(true), None));
}

#[test]
fn a_jump_returns_behind_its_rule_and_a_goto_to_the_policy() {
    let drops = |verdict: RuleVerdict, inner: RuleVerdict| {
        let mut first = input(vec![rule(1, Vec::new(), verdict), rule(2, Vec::new(), DROP)]);
        first.base.as_mut().unwrap().drops = true;
        let inner = rule(3, Vec::new(), inner);
        let second = Chain { name: "inner".into(), base: None, ..input(vec![inner]) };
        drops_at_input(vec![first, second], Vec::new())
    };
    let (jump, goto) = (RuleVerdict::Jump("inner".into()), RuleVerdict::Goto("inner".into()));

    assert_eq!(drops(jump.clone(), RuleVerdict::Return), [("handle 2".into(), true)]);
    assert_eq!(drops(goto.clone(), RuleVerdict::Return), [("policy drop".into(), true)]);
    assert_eq!(drops(jump, RuleVerdict::Accept), []);
    assert_eq!(drops(goto, DROP), [("handle 3".into(), true)]);
}

#[test]
fn chains_are_met_by_their_family_hook_and_device() {
    let is_met = |family, layer, devices: &[&str], device: &str| {
        let mut chain = input(vec![rule(1, Vec::new(), DROP)]);
        chain.family = family;
        let base = chain.base.as_mut().unwrap();
        (base.layer, base.devices) = (layer, devices.iter().map(ToString::to_string).collect());
        let ruleset = Ruleset { chains: vec![chain], ..Ruleset::default() };
        assert_eq!(traced(&ruleset, layer, Hook::Forward, device), [], "another hook");
        !traced(&ruleset, layer, Hook::Input, device).is_empty()
    };
    let are_met =
        |families: [TableFamily; 3]| families.map(|family| is_met(family, FilterLayer::Ip, &[], ""));
    assert_eq!(are_met([TableFamily::Inet, TableFamily::Ip, TableFamily::Iptables]), [true; 3]);
    let others = [TableFamily::Ip6, TableFamily::Ip6tables, TableFamily::Other];
    assert_eq!(are_met(others), [false, false, true]);
    let on_device = |devices: &[&str]| is_met(TableFamily::Netdev, FilterLayer::Device, devices, "eth0");
    assert!(on_device(&["eth0"]) && on_device(&["eth1", "eth*"]) && !on_device(&["eth1"]));
    assert!(is_met(TableFamily::Bridge, FilterLayer::Bridge, &[], ""));
}

#[test]
fn of_two_tables_at_the_same_place_both_may_be_first() {
    let table = |name: &str, priority, rules| {
        let mut chain = input(rules);
        chain.table = name.into();
        chain.base.as_mut().unwrap().priority = priority;
        chain
    };
    let drops = |handle| vec![rule(handle, Vec::new(), DROP)];
    let ruleset = |second| Ruleset {
        chains: vec![table("a", 0, drops(1)), table("b", second, drops(2))],
        ..Ruleset::default()
    };
    let traced = |second| traced(&ruleset(second), FilterLayer::Ip, Hook::Input, "");
    assert_eq!(traced(0), [("handle 1".to_owned(), true), ("handle 2".to_owned(), true)]);
    let third = Ruleset {
        chains: vec![table("a", 0, drops(1)), table("b", 0, Vec::new()), table("c", 5, drops(3))],
        ..Ruleset::default()
    };
    // Behind a rule that drops everything, nothing is reached.
    assert_eq!(self::traced(&third, FilterLayer::Ip, Hook::Input, ""), [("handle 1".to_owned(), true)]);
    assert_eq!(traced(5), [("handle 1".to_owned(), true)]);
    let ruleset = ruleset(5);
    let (source, to) = ("10.9.0.1:6000".parse().unwrap(), "239.1.2.3:5000".parse().unwrap());
    let packet = KnownPacket::datagram(source, to, None);
    let first = &ruleset.trace(&packet, FilterLayer::Ip, Hook::Input, "")[0].rule;
    let beside = ruleset.trace_beside(&packet, (FilterLayer::Ip, Hook::Input), "", Some(first));
    assert_eq!(
        beside.iter().map(|outcome| outcome.rule.location()).collect::<Vec<_>>(),
        ["nft inet b input handle 2"]
    );
}
