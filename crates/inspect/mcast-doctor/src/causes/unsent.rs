//! The rules that keep what this machine sends here, behind the first fault.

use std::net::SocketAddr;

use mcast::Family;

use super::filter_rules::{OUTGOING, dropping_beside, ip_sets, leaving, met_by};
use crate::fate::leaving::{Elsewhere, Unsent};
use crate::fate::{Ahead, Way};
use crate::netfilter::{Hook, KnownPacket, Layer, Outcome, RuleEffect};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

/// Returns the rules that would drop what this machine sends, behind a fault that keeps it here or sends it elsewhere.
pub(super) fn ahead(ahead: &Ahead<'_>) -> Vec<Finding> {
    match ahead.way {
        Way::Leaving(unsent) => rules_behind(ahead.observation, unsent),
        Way::Elsewhere(sent) => rules_on(ahead.observation, sent),
        _ => Vec::new(),
    }
}

/// Returns the rules behind the last hook that datagrams reached, and those of other tables at this hook.
fn rules_behind(observation: &Observation, unsent: &Unsent) -> Vec<Finding> {
    let device = observation.link_name(unsent.interface);
    let packet = leaving(observation, unsent.interface, unsent.source, unsent.to);
    let behind = OUTGOING.into_iter().skip_while(|(_, hook)| *hook != unsent.last).skip(1);
    let mut rules: Vec<_> =
        behind.filter_map(|place| certain(observation, &packet, place, &device)).collect();
    let at_last = OUTGOING.into_iter().find(|(_, hook)| *hook == unsent.last);
    let first = at_last.and_then(|place| certain(observation, &packet, place, &device));
    rules.extend(first.and_then(|outcome| dropping_beside(observation, &packet, &outcome.rule, &device)));
    rules.iter().map(|outcome| finding(outcome, &device, Some(unsent.source), unsent.to)).collect()
}

/// Returns the rules that would drop what should be sent by an interface.
fn rules_on(observation: &Observation, sent: &Elsewhere<'_>) -> Vec<Finding> {
    let name = sent.link.name();
    let rules = OUTGOING.into_iter().filter_map(|place| certain(observation, &sent.packet, place, name));
    let finding = |outcome: Outcome| match sent.to {
        Some(to) => finding(&outcome, name, None, to),
        None => of_any_group(&outcome, name, sent.packet.family()),
    };
    rules.map(|outcome| Finding { severity: sent.severity, ..finding(outcome) }).collect()
}

/// Returns the rule of a hook that is certain to keep a packet from leaving.
fn certain(
    observation: &Observation,
    packet: &KnownPacket,
    place: (Layer, Hook),
    device: &str,
) -> Option<Outcome> {
    let effects = [RuleEffect::Drop, RuleEffect::Queue];
    let outcomes = met_by(observation, packet, place, device, &effects);
    outcomes.into_iter().find(|outcome| outcome.is_certain)
}

/// Returns whether a flow belongs to the examined program or group.
pub(super) fn is_examined(observation: &Observation, flow: &Flow) -> bool {
    if let Some(program) = observation.program() {
        return program.sends(flow);
    }
    observation.trial().is_some_and(|trial| trial.group().addr() == flow.key.group)
}

/// Returns the rule that is certain to refuse what this machine sends to an address by an interface, from whichever source.
pub(super) fn refused(observation: &Observation, link: &Link, to: SocketAddr) -> Option<Finding> {
    let packet = match to.ip().is_multicast() {
        true => KnownPacket::from_anyone(to),
        false => KnownPacket::unicast_from_anyone(to),
    };
    let packet = packet.leaving_by(link.index(), link.name());
    let mut places = OUTGOING.into_iter();
    let outcome = places.find_map(|place| certain(observation, &packet, place, link.name()))?;
    let rule = &outcome.rule;
    let cause = format!(
        "This machine's firewall drops the datagrams that this machine sends to {to} by {}: `{}` matches them at the {} hook.",
        link.name(),
        rule.location(),
        rule.hook.name()
    );
    Some(of_rule(&outcome, link.name(), to, cause))
}

fn finding(outcome: &Outcome, device: &str, source: Option<SocketAddr>, to: SocketAddr) -> Finding {
    let rule = &outcome.rule;
    let cause = format!(
        "This machine's firewall drops the datagrams that this machine sends to {to} by {device}, at its {} hook: `{}` matches them.",
        rule.hook.name(),
        rule.location()
    );
    of_rule(outcome, device, to, cause).with(source, Finding::from_source)
}

fn of_rule(outcome: &Outcome, device: &str, to: SocketAddr, cause: String) -> Finding {
    by_rule(outcome, device, cause).for_group(to).with_remedies(remedies::admit_sent_datagrams(
        device,
        to,
        Some(&outcome.rule),
    ))
}

fn of_any_group(outcome: &Outcome, device: &str, family: Family) -> Finding {
    let rule = &outcome.rule;
    let cause = format!(
        "This machine's firewall drops every UDP datagram to an {family} group that leaves by {device}, at its {} hook: `{}` matches it.",
        rule.hook.name(),
        rule.location()
    );
    let tool = if rule.is_of_xtables { Tool::Iptables } else { Tool::Nft };
    by_rule(outcome, device, cause).advise(
        tool,
        "Accept the program's datagrams before this rule. Once the program sends, run the doctor for it again: it then prints the command.",
    )
}

fn by_rule(outcome: &Outcome, device: &str, cause: String) -> Finding {
    let rule = &outcome.rule;
    Finding::fault(Id::FirewallDropsOutput, cause)
        .on_interface(device)
        .at_hook(rule.hook)
        .evidence(EvidenceKind::Rule, rule.location(), format!("at {}; matches", rule.hook.name()))
        .with_all_evidence(ip_sets(outcome))
}
