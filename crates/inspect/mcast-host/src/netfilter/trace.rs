//! Which rules a packet meets: each rule is evaluated as far as the packet is known.

use std::cmp::Ordering;

use super::ip_sets::IpSetFinding;
use super::packet::KnownPacket;
use super::ruleset::{
    Chain, Comparison, Expression, LookupResult, Rule, RuleEffect, RuleSet, RuleVerdict, Ruleset, SetMatch,
    TableFamily,
};
use super::{FilterLayer, Hook};
use crate::snapshot::DroppingRule;
use mcast::Family;

/// The depth of jumps that the kernel allows.
const MAX_DEPTH: usize = 16;
/// Limits the work for rulesets with many jumps.
const MAX_RULES: usize = 200_000;
/// The part of the location of a policy that drops.
const POLICY: &str = "policy drop";
/// The size of all registers.
const REGISTERS: usize = 80;

/// A rule or policy that keeps a packet from its sockets, or may do so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where the rule or policy is.
    pub rule: DroppingRule,
    /// What it does to the packet.
    pub effect: RuleEffect,
    /// Whether all that is known suffices: the packet reaches the rule, and the rule matches it.
    pub is_certain: bool,
    /// The expressions of the rule whose result is not known, such as `fib` or `limit`.
    pub opaque: Vec<String>,
    /// What the sets of `ipset` that the rule tests have for the packet.
    pub ip_sets: Vec<IpSetFinding>,
}

impl Outcome {
    /// Returns whether both are of the same rule and for the same reasons, be it by other elements of its sets.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.rule, self.effect, self.is_certain, &self.opaque)
            == (&other.rule, other.effect, other.is_certain, &other.opaque)
    }
}

/// Whether a packet reaches a rule, or whether a rule matches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    Never,
    Possibly,
    Certainly,
}

use Likelihood::{Certainly, Never, Possibly};

/// How a packet leaves a chain.
#[derive(Clone, Copy, Debug)]
struct Exits {
    /// It was accepted.
    accepted: Likelihood,
    /// It returns to the chain that jumped here, or to the policy.
    returned: Likelihood,
}

struct Tracer<'a> {
    rules: &'a Ruleset,
    packet: &'a KnownPacket,
    layer: FilterLayer,
    hook: Hook,
    outcomes: Vec<Outcome>,
    budget: usize,
}

impl Ruleset {
    /// Returns the number of packets that a rule or policy has counted, if it has a counter.
    pub fn packets_of(&self, rule: &DroppingRule) -> Option<u64> {
        let same = |chain: &&Chain| {
            (chain.family.name(), &chain.table, &chain.name)
                == (rule.family.as_str(), &rule.table, &rule.chain)
        };
        let chain = self.chains.iter().find(same)?;
        match rule.part.as_str() {
            POLICY => chain.base.as_ref()?.packets,
            part => chain.rules.iter().find(|each| part == part_of(chain, each))?.packets,
        }
    }

    /// The same for all tables.
    #[cfg(test)]
    pub fn trace(&self, packet: &KnownPacket, layer: FilterLayer, hook: Hook, device: &str) -> Vec<Outcome> {
        self.trace_beside(packet, (layer, hook), device, None)
    }

    /// Returns the rules and policies of a hook that drop or divert a packet, or may do so. `device` is that of a hook of a
    /// device. The table of the rule `beside` is left out, as if it let the packet pass.
    pub fn trace_beside(
        &self,
        packet: &KnownPacket,
        (layer, hook): (FilterLayer, Hook),
        device: &str,
        beside: Option<&DroppingRule>,
    ) -> Vec<Outcome> {
        let is_beside = |chain: &Chain| {
            beside.is_none_or(|rule| (chain.family.name(), &chain.table) != (&rule.family, &rule.table))
        };
        let is_met = |chain: &&Chain| {
            let family = match chain.family {
                TableFamily::Ip | TableFamily::Iptables => packet.family() == Family::V4,
                TableFamily::Ip6 | TableFamily::Ip6tables => packet.family() == Family::V6,
                _ => true,
            };
            let base = chain.base.as_ref().filter(|base| (base.layer, base.hook) == (layer, hook));
            family
                && is_beside(chain)
                && base.is_some_and(|base| {
                    layer != FilterLayer::Device || base.devices.iter().any(|each| is_device(each, device))
                })
        };
        let mut chains: Vec<_> = self.chains.iter().filter(is_met).collect();
        let priority = |chain: &Chain| chain.base.as_ref().map(|base| base.priority);
        chains.sort_by_key(|chain| priority(chain));
        let untracks = |rule: &Rule| rule.expressions.contains(&Expression::Untrack);
        let untracked = self.chains.iter().flat_map(|chain| &chain.rules).any(untracks);
        // Which of the packets connection tracking sees is not known then.
        let packet = &if untracked { packet.clone().with_unknown_state() } else { packet.clone() };
        let mut tracer = Tracer { rules: self, packet, layer, hook, outcomes: Vec::new(), budget: MAX_RULES };
        let mut reach = Certainly;
        // Of chains with the same priority, the kernel does not report which comes first.
        for chains in chains.chunk_by(|one, other| priority(one) == priority(other)) {
            let passed = chains.iter().map(|chain| {
                let exits = tracer.walk(chain, reach, 0);
                exits.accepted.max(tracer.apply_policy(chain, exits.returned))
            });
            reach = passed.min().unwrap_or(reach);
        }
        tracer.outcomes
    }
}

/// Returns the part of the location of a rule that names it in its chain.
fn part_of(chain: &Chain, rule: &Rule) -> String {
    let kind = match chain.family {
        // They have no handles, but numbers.
        TableFamily::Iptables | TableFamily::Ip6tables => "rule",
        _ => "handle",
    };
    format!("{kind} {}", rule.handle)
}

/// Returns whether a chain's device is this one. It may end with an asterisk.
fn is_device(pattern: &str, device: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => device.starts_with(prefix),
        None => pattern == device,
    }
}

impl<'a> Tracer<'a> {
    /// Returns the likelihood that the packet passes the policy.
    fn apply_policy(&mut self, chain: &Chain, reach: Likelihood) -> Likelihood {
        let Some(base) = chain.base.as_ref().filter(|base| base.drops && reach > Never) else { return reach };
        let rule = self.location(chain, POLICY.to_owned(), base.packets);
        let opaque = Vec::new();
        self.outcomes.push(Outcome {
            rule,
            effect: RuleEffect::Drop,
            is_certain: reach == Certainly,
            opaque,
            ip_sets: Vec::new(),
        });
        Never
    }

    fn walk(&mut self, chain: &'a Chain, mut reach: Likelihood, depth: usize) -> Exits {
        let mut exits = Exits { accepted: Never, returned: Never };
        for rule in &chain.rules {
            if reach == Never || depth > MAX_DEPTH || self.budget == 0 {
                break;
            }
            self.budget -= 1;
            let (matches, verdicts) = self.evaluate(chain, rule);
            if matches == Never {
                continue;
            }
            let inside = if verdicts.len() == 1 { reach.min(matches) } else { reach.min(Possibly) };
            // What the verdicts leave of the packets that match.
            let mut remains = Never;
            for verdict in verdicts {
                remains = remains.max(self.apply(chain, rule, &verdict, inside, &mut exits, depth));
            }
            reach = match matches {
                Certainly => remains,
                _ => reach.min(Possibly),
            };
        }
        exits.returned = exits.returned.max(reach);
        exits
    }

    /// Applies a verdict to packets that reach it; returns the likelihood that they continue with the next rule.
    fn apply(
        &mut self,
        chain: &'a Chain,
        rule: &Rule,
        verdict: &RuleVerdict,
        reach: Likelihood,
        exits: &mut Exits,
        depth: usize,
    ) -> Likelihood {
        match verdict {
            RuleVerdict::Continue => return reach,
            RuleVerdict::Accept => exits.accepted = exits.accepted.max(reach),
            RuleVerdict::Return => exits.returned = exits.returned.max(reach),
            RuleVerdict::Jump(name) | RuleVerdict::Goto(name) => {
                let Some(target) = self.chain(chain, name) else { return reach };
                let inner = self.walk(target, reach, depth + 1);
                exits.accepted = exits.accepted.max(inner.accepted);
                if matches!(verdict, RuleVerdict::Jump(_)) {
                    return inner.returned;
                }
                exits.returned = exits.returned.max(inner.returned);
            }
            RuleVerdict::Effect(effect) => {
                self.record(chain, rule, *effect, reach);
                match effect {
                    RuleEffect::Proxy | RuleEffect::Rewrite => return reach,
                    // Some of these rules accept, and others continue.
                    RuleEffect::Readdress => {
                        let possibly = reach.min(Possibly);
                        exits.accepted = exits.accepted.max(reach);
                        return possibly;
                    }
                    RuleEffect::Redirect | RuleEffect::Masquerade => {
                        exits.accepted = exits.accepted.max(reach);
                    }
                    RuleEffect::Drop | RuleEffect::Queue | RuleEffect::Divert => {}
                }
            }
        }
        Never
    }

    fn record(&mut self, chain: &Chain, rule: &Rule, effect: RuleEffect, reach: Likelihood) {
        let opaque = rule.expressions.iter().filter_map(|expression| match expression {
            Expression::Opaque { name, .. } => Some(name.clone()),
            _ => None,
        });
        let opaque = opaque.collect();
        let ip_sets = rule.expressions.iter().filter_map(|expression| match expression {
            Expression::IpSet(test) => Some(self.rules.ip_sets.test(test, self.packet)),
            _ => None,
        });
        let ip_sets = ip_sets.collect();
        let rule = self.location(chain, part_of(chain, rule), rule.packets);
        self.outcomes.push(Outcome { rule, effect, is_certain: reach == Certainly, opaque, ip_sets });
    }

    fn location(&self, chain: &Chain, part: String, packets: Option<u64>) -> DroppingRule {
        DroppingRule {
            family: chain.family.name().to_owned(),
            table: chain.table.clone(),
            chain: chain.name.clone(),
            part,
            layer: self.layer,
            hook: self.hook,
            is_base: chain.base.is_some(),
            packets,
            is_of_xtables: self.is_of_xtables(chain),
        }
    }

    /// Returns whether the table of a chain has the name and the base chains of one of `iptables-nft` or `ebtables-nft`.
    fn is_of_xtables(&self, chain: &Chain) -> bool {
        const TABLES: [&str; 6] = ["filter", "nat", "mangle", "raw", "security", "broute"];
        const CHAINS: [&str; 6] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "BROUTING"];
        let has_tools = matches!(chain.family, TableFamily::Ip | TableFamily::Ip6 | TableFamily::Bridge);
        let mut bases = self.rules.chains.iter().filter(|other| {
            other.base.is_some() && (other.family, &other.table) == (chain.family, &chain.table)
        });
        has_tools
            && TABLES.contains(&chain.table.as_str())
            && bases.any(|base| CHAINS.contains(&base.name.as_str()))
    }

    fn chain(&self, from: &Chain, name: &str) -> Option<&'a Chain> {
        let same = |chain: &&Chain| {
            (chain.family, chain.table.as_str(), chain.name.as_str()) == (from.family, &from.table, name)
        };
        self.rules.chains.iter().find(same)
    }

    /// Returns whether a rule matches the packet, and its verdicts: several if it is unknown which one applies.
    fn evaluate(&self, chain: &Chain, rule: &Rule) -> (Likelihood, Vec<RuleVerdict>) {
        let mut registers = [None; REGISTERS];
        let mut matches = Certainly;
        for expression in &rule.expressions {
            let step = match expression {
                Expression::Verdict(verdict) => return (matches, vec![verdict.clone()]),
                Expression::Lookup { register, set, is_negated, result } => {
                    match self.look_up(chain, set, *register, &registers) {
                        (Certainly, Some(element)) if *result == LookupResult::Verdict => {
                            return (matches, vec![element.unwrap_or(RuleVerdict::Continue)]);
                        }
                        // The key is unknown, so each element of the map could be the one that applies.
                        (Possibly, _) if *result == LookupResult::Verdict => {
                            return (Possibly, self.verdicts_of(chain, set));
                        }
                        (found, _) => {
                            // What a map returns is not followed: a later comparison with it is undecided.
                            if let LookupResult::Value(to) = result {
                                write(&mut registers, *to, &[None; 16]);
                            }
                            if *is_negated { negated(found) } else { found }
                        }
                    }
                }
                Expression::IpSet(test) => {
                    let found = self.rules.ip_sets.test(test, self.packet).membership;
                    match found.holds(test.wants_exceptions) {
                        Some(holds) if holds != test.is_negated => Certainly,
                        Some(_) => Never,
                        None => Possibly,
                    }
                }
                other => step(other, self.packet, &mut registers),
            };
            // The kernel leaves a rule at the first expression that does not match.
            matches = matches.min(step);
            if matches == Never {
                break;
            }
        }
        (matches, vec![RuleVerdict::Continue])
    }

    /// Looks up the key in a register; returns the verdict of the element as well.
    fn look_up(
        &self,
        chain: &Chain,
        set: &str,
        register: usize,
        registers: &[Option<u8>; REGISTERS],
    ) -> (Likelihood, Option<Option<RuleVerdict>>) {
        let Some(set) = self.set(chain, set) else { return (Possibly, None) };
        match set.find(&read(registers, register, set.key_length)) {
            SetMatch::Element(element) => (Certainly, Some(element.verdict.clone())),
            SetMatch::Nothing => (Never, None),
            SetMatch::Unknown => (Possibly, None),
        }
    }

    fn set(&self, chain: &Chain, name: &str) -> Option<&'a RuleSet> {
        let same = |set: &&RuleSet| {
            (set.family, set.table.as_str(), set.name.as_str()) == (chain.family, &chain.table, name)
        };
        self.rules.sets.iter().find(same)
    }

    /// Returns the different verdicts of a map.
    fn verdicts_of(&self, chain: &Chain, set: &str) -> Vec<RuleVerdict> {
        let mut verdicts = vec![RuleVerdict::Continue];
        let elements = self.set(chain, set).and_then(|set| set.elements.as_ref());
        for verdict in elements.into_iter().flatten().filter_map(|element| element.verdict.clone()) {
            if !verdicts.contains(&verdict) {
                verdicts.push(verdict);
            }
        }
        verdicts
    }
}

/// Evaluates an expression without a verdict.
fn step(
    expression: &Expression,
    packet: &KnownPacket,
    registers: &mut [Option<u8>; REGISTERS],
) -> Likelihood {
    match expression {
        Expression::Payload { header, offset, length, to } => {
            write(registers, *to, &packet.bytes(*header, *offset, *length));
        }
        Expression::Meta { key, to } => {
            write(registers, *to, &packet.meta(*key).unwrap_or_else(|| vec![None; 16]));
        }
        Expression::ConnectionState { to } => write(registers, *to, &packet.connection_state()),
        Expression::Immediate { value, to } => {
            let value: Vec<_> = value.iter().copied().map(Some).collect();
            write(registers, *to, &value);
        }
        Expression::Bitwise { from, to, mask, xor } => {
            let value = read(registers, *from, mask.len());
            let masked = value.iter().zip(mask).zip(xor).map(|((byte, mask), xor)| match (byte, mask) {
                (_, 0) => Some(*xor),
                (Some(byte), mask) => Some((byte & mask) ^ xor),
                (None, _) => None,
            });
            write(registers, *to, &masked.collect::<Vec<_>>());
        }
        Expression::Compare { register, operator, with } => {
            return compare(&read(registers, *register, with.len()), *operator, with);
        }
        Expression::Range { register, is_negated, from, to } => {
            let value = read(registers, *register, from.len());
            let inside = compare(&value, Comparison::GreaterOrEqual, from).min(compare(
                &value,
                Comparison::LessOrEqual,
                to,
            ));
            return if *is_negated { negated(inside) } else { inside };
        }
        Expression::Opaque { writes, .. } => match writes {
            // The rule compares the register.
            Some(to) => write(registers, *to, &[None; 16]),
            None => return Possibly,
        },
        Expression::Lookup { .. }
        | Expression::IpSet(_)
        | Expression::Verdict(_)
        | Expression::Untrack
        | Expression::Neutral => {}
    }
    Certainly
}

fn compare(value: &[Option<u8>], operator: Comparison, with: &[u8]) -> Likelihood {
    let known: Option<Vec<u8>> = value.iter().copied().collect();
    let Some(known) = known else {
        // One byte that differs decides, whatever the unknown ones are.
        let differs = value.iter().zip(with).any(|(byte, with)| byte.is_some_and(|byte| byte != *with));
        return match operator {
            Comparison::Equal if differs => Never,
            Comparison::NotEqual if differs => Certainly,
            _ => Possibly,
        };
    };
    let order = known.as_slice().cmp(with);
    let holds = match operator {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::NotEqual => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    };
    if holds { Certainly } else { Never }
}

const fn negated(likelihood: Likelihood) -> Likelihood {
    match likelihood {
        Never => Certainly,
        Possibly => Possibly,
        Certainly => Never,
    }
}

fn read(registers: &[Option<u8>; REGISTERS], from: usize, length: usize) -> Vec<Option<u8>> {
    (from..from.saturating_add(length)).map(|position| registers.get(position).copied().flatten()).collect()
}

/// Writes a value, padded with zeros to whole registers.
fn write(registers: &mut [Option<u8>; REGISTERS], to: usize, value: &[Option<u8>]) {
    let padding = value.len().next_multiple_of(4) - value.len();
    let value = value.iter().copied().chain(std::iter::repeat_n(Some(0), padding));
    for (register, byte) in registers.iter_mut().skip(to).zip(value) {
        *register = byte;
    }
}
