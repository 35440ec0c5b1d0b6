//! Rules for routing (`ip rule`, `ip mrule`) that keep groups from leaving, from being accepted or from being forwarded.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use mcast::{ErrorKind, Family};
use mcast_sys::SendAnswer;

use super::routes::{Unrouted, may_send_by_route, unrouted};
use super::scope_section::Placeholders;
use super::{Cause, Check, sending_sockets};
use crate::change::Change;
use crate::fate::Stage;
use crate::fate::depth::{KernelVerdict, LostFlow};
use crate::fate::forwarding::BlockedFlow;
use crate::kernel_drops::UNROUTED;
use crate::netfilter::Hook;
use crate::observation::{Interest, Observation, Program, ProgramSocket};
use crate::snapshot::{
    Decision, Link, Plane, Prefix, Rejection, RouteKind, RoutedPacket, RoutingRule, RuleAction, RuleSelector,
    interface_setting,
};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(policy_rule), &["ip-rule(8)", "ip-sysctl: src_valid_mark"])
        .at(Stage::Source)
        .offering(remedies_of_page);

fn policy_rule(observation: &Observation) -> Vec<Finding> {
    let mut findings = at_sender(observation);
    let mut reported = BTreeSet::new();
    for interest in observation.interests() {
        if reported.insert((interest.destination(), interest.interface)) {
            findings.extend(at_receiver(observation, &interest));
        }
    }
    findings
}

fn at_sender(observation: &Observation) -> Vec<Finding> {
    let mut families = BTreeSet::new();
    let mut findings = Vec::new();
    for Unrouted { family, severity, answer, program, to } in unrouted(observation) {
        let Some(decision) = observation.after.routing.rejected(family).filter(|_| families.insert(family))
        else {
            continue;
        };
        let socket = observation.program().and_then(|program| refused(observation, program, family));
        let is_sender = socket.is_some_and(|socket| is_set_up_to_send(socket, family));
        let severity = if is_sender { Severity::Fault } else { severity };
        let finding = sender_finding(family, severity, decision).with_all_evidence(answer);
        let finding = finding.with_all_evidence(socket.and_then(refusal));
        findings.push(finding.with(program, Finding::in_program).with(to, Finding::for_group));
    }
    let program = observation.program().into_iter();
    for (program, family) in
        program.flat_map(|program| [Family::V4, Family::V6].map(|family| (program, family)))
    {
        findings.extend(for_some_groups(observation, program, family));
        // The rule may be for this program alone: for its user or its mark.
        let socket = refused(observation, program, family).filter(|_| !families.contains(&family));
        let Some((socket, decision)) = socket.zip(observation.after.routing.rejected(family)) else {
            continue;
        };
        let severity = match is_set_up_to_send(socket, family) {
            true => Severity::Fault,
            false => Severity::Warning,
        };
        let finding = sender_finding(family, severity, decision).with_all_evidence(refusal(socket));
        findings.push(finding.in_program(&socket.owner));
    }
    findings
}

/// Judges the rules that reject some groups. Which group a program sends to that sends nothing is not known.
fn for_some_groups(observation: &Observation, program: &Program, family: Family) -> Vec<Finding> {
    let routing = &observation.after.routing;
    if !may_send_by_route(observation, program, family) || routing.rejected(family).is_some() {
        return Vec::new();
    }
    let rejecting = routing.rejecting(family).into_iter().filter(|one| !one.rule.is_usual());
    let finding = |one| sender_finding(family, Severity::Warning, one).in_program(&program.name);
    rejecting.map(finding).collect()
}

/// Returns a socket of a program that has joined nothing, and for which the kernel finds no route to a group.
fn refused<'a>(observation: &Observation, program: &'a Program, family: Family) -> Option<&'a ProgramSocket> {
    program.sockets.iter().find(|socket| {
        let is_refused = matches!(
            socket.send_answer,
            Some((to, SendAnswer::Refused { kind: ErrorKind::NoRoute | ErrorKind::RouteRejects | ErrorKind::Other, .. }))
                if Family::of(to.ip()) == family
        );
        is_refused && !sending_sockets::needs_no_route(observation, socket)
    })
}

/// Returns whether a program has set options that matter only for what it sends to groups.
fn is_set_up_to_send(socket: &ProgramSocket, family: Family) -> bool {
    const DEFAULT_HOP_LIMIT: u8 = 1;
    let options = socket.options.as_ref().and_then(|options| options.groups.get(&family));
    let is_set = options.is_some_and(|options| options.hop_limit != DEFAULT_HOP_LIMIT || !options.loopback);
    is_set || socket.peer.is_some_and(|peer| peer.ip().is_multicast())
}

fn refusal(socket: &ProgramSocket) -> Option<Evidence> {
    let (to, SendAnswer::Refused { number, .. }) = socket.send_answer? else { return None };
    let error = io::Error::from_raw_os_error(number);
    Some(Evidence::new(EvidenceKind::Answer, format!("a datagram to {}, which is not sent", to.ip()), error))
}

fn sender_finding(family: Family, severity: Severity, decision: Decision<'_>) -> Finding {
    let Decision { rule, .. } = decision;
    let cause = format!(
        "A routing rule of this machine rejects {family} groups before a route for them is looked up: {rule} ({}).",
        rule.command()
    );
    let finding = Finding::new(Id::PolicyRule, severity, cause)
        .at_hook(Hook::Output)
        .with_all_evidence(of_decision(decision));
    let is_about_groups =
        rule.selector.destination.is_some_and(|destination| destination.address.is_multicast());
    let removal = removal(rule).filter(|_| decision.route.is_none() || is_about_groups);
    let finding = finding.with_remedies(removal);
    match decision.route {
        Some(route) => finding.advise(
            Tool::Ip,
            format!("Or replace the route `{route}` by one that leads out of this machine."),
        ),
        None => finding.advise(
            Tool::Ip,
            format!("Remove the rule where it is made, too: `{}` lists those in effect.", rule.command()),
        ),
    }
}

/// Returns a rule, and the route that it leads to, as evidence.
pub(super) fn of_decision(decision: Decision<'_>) -> Vec<Evidence> {
    let Decision { rule, route, .. } = decision;
    let rule_evidence = Evidence::new(EvidenceKind::Route, rule.command(), rule);
    let route = route.map(|route| Evidence::new(EvidenceKind::Route, "ip route show table all", route));
    std::iter::once(rule_evidence).chain(route).collect()
}

/// Returns the remedy that removes a rule; `None` if it could not be made again.
pub(super) fn removal(rule: &RoutingRule) -> Option<Remedy> {
    let change = Change::RoutingRule {
        command: command(rule),
        words: rule.words()?,
        priority: rule.priority,
        is_there: false,
    };
    let scope = RemedyScope::new("everything that the rule selects, including traffic of other programs")
        .warning("the rule may be there to keep groups out of a network");
    Some(Remedy::now_changing(Tool::Ip, change).with_scope(scope))
}

/// Returns the words between `ip` and the verb.
fn command(rule: &RoutingRule) -> Vec<String> {
    rule.command().split(' ').skip(1).map(str::to_owned).collect()
}

/// Judges what this machine does not accept: in IPv4, because the route back to the source leads to this machine; in IPv6, because
/// the route to the group rejects.
fn at_receiver(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let family = interest.family();
    let reason = match family {
        Family::V4 => "IP_LOCAL_SOURCE",
        Family::V6 => UNROUTED,
    };
    let lost = observation.lost_flows(interest);
    let judged = |lost: &LostFlow<'_>| {
        let decision = of_lost(observation, interest, lost.flow.key.source.ip())?;
        let is_cause = match observation.kernel_verdict(lost, reason) {
            KernelVerdict::Proven => true,
            KernelVerdict::Unknown => decision.is_certain,
            KernelVerdict::Refuted => false,
        };
        is_cause.then_some(decision)
    };
    let decision = lost.iter().find_map(judged)?;
    let explained: Vec<_> =
        lost.iter().filter(|lost| judged(lost).is_some_and(|other| other.rule == decision.rule)).collect();
    let source = explained.first()?.flow.key.source.ip();
    let (interface, to, rule) =
        (observation.link_name(interest.interface), interest.destination(), decision.rule);
    let (command, why) = match family {
        Family::V4 => (rule.command(), format!("the route to {source} leads to this machine itself")),
        Family::V6 => (rule.command(), format!("it rejects what {source} sends to the group")),
    };
    let finding = Finding::fault(
        Id::PolicyRule,
        format!("A routing rule makes this machine drop the datagrams for {to} from {source} that arrive on {interface}: by {rule} ({command}), {why}."),
    )
    .about(&interface, to, source)
    .explaining(explained.iter().map(|lost| ExplainedFlow::from(&lost.status)))
    .with_all_evidence(of_decision(decision))
    .with_all_evidence(explained.iter().map(|lost| observation.packets_of(lost.flow)))
    .with_remedies(exception(observation, interest, source, rule))
    .advise(Tool::Ip, format!("Remove the rule if it is not intended: `{command}` lists those in effect. If it matches a mark, it belongs to a transparent proxy: exempt groups where the mark is set (nft list ruleset)."));
    Some(finding)
}

/// Returns the rule that a datagram from a source may meet, with a decision by which it is dropped.
fn of_lost<'a>(
    observation: &'a Observation,
    interest: &Interest<'_>,
    source: IpAddr,
) -> Option<Decision<'a>> {
    let interface = observation.link_name(interest.interface);
    match interest.family() {
        Family::V4 => {
            // Addresses of interfaces are `source-is-local`.
            let is_own = observation.before.is_own(source) || observation.after.is_own(source);
            let setting =
                |name: &str| observation.after.number(&interface_setting(Family::V4, name, "src_valid_mark"));
            // The mark counts for the route back only with this setting.
            let has_mark =
                ["all", &interface].into_iter().any(|name| setting(name).is_none_or(|value| value != 0));
            let packet = RoutedPacket {
                plane: Plane::Packets,
                source: None,
                destination: source,
                incoming: "lo",
                outgoing: None,
                mark: (!has_mark).then_some(0),
            };
            observation.after.routing.chosen(&packet, |kind| kind == RouteKind::Local).filter(|_| !is_own)
        }
        Family::V6 => {
            let packet = RoutedPacket {
                plane: Plane::Packets,
                source: Some(source),
                destination: interest.group.addr(),
                incoming: &interface,
                outgoing: None,
                mark: None,
            };
            observation.after.routing.chosen(&packet, |kind| matches!(kind, RouteKind::Reject(_)))
        }
    }
}

/// Returns the remedy that inserts an exception before a rule: in IPv4, for the way back to the source, in IPv6, for the source and
/// the group.
fn exception(
    observation: &Observation,
    interest: &Interest<'_>,
    source: IpAddr,
    rule: &RoutingRule,
) -> Option<Remedy> {
    let priority = rule.priority.checked_sub(1).filter(|priority| *priority > 0)?;
    match interest.family() {
        Family::V4 => {
            let route = observation.source_routes.get(&source).copied().flatten();
            route.filter(|route| *route == interest.interface)?;
            Some(way_back(source, priority))
        }
        Family::V6 => Some(way_in(source, interest.group.addr(), priority)),
    }
}

/// Returns the remedy that looks up the way back to a source in the main table.
fn way_back(source: IpAddr, priority: u32) -> Remedy {
    let scope =
        RemedyScope::new(format!("every IPv4 packet to {source}, and the check of what arrives from it"));
    let words = ["from", "all", "to", &source.to_string(), "lookup", "main"].map(str::to_owned);
    let change = Change::RoutingRule {
        command: vec!["rule".to_owned()],
        words: words.to_vec(),
        priority,
        is_there: true,
    };
    Remedy::now_changing(Tool::Ip, change).with_scope(scope)
}

/// Returns the remedy that admits an IPv6 source to a group.
fn way_in(source: IpAddr, group: IpAddr, priority: u32) -> Remedy {
    let scope = RemedyScope::new(format!("what {source} sends to {group}"))
        .warning("the later rule may be there to keep the source out");
    let words = ["from", &source.to_string(), "to", &group.to_string(), "lookup", "local"].map(str::to_owned);
    let change = Change::RoutingRule {
        command: ["-6", "rule"].map(str::to_owned).to_vec(),
        words: words.to_vec(),
        priority,
        is_there: true,
    };
    Remedy::now_changing(Tool::Ip, change).with_scope(scope)
}

fn remedies_of_page(on: &Placeholders) -> Vec<Remedy> {
    let (group, priority) = (on.to.ip(), Placeholders::PRIORITY);
    let selector =
        RuleSelector { destination: Some(Prefix { address: group, length: 32 }), ..RuleSelector::default() };
    let rule = RoutingRule {
        plane: Plane::Packets,
        family: Family::V4,
        priority,
        selector,
        action: RuleAction::Reject(Rejection::Prohibit),
        suppressed_length: None,
    };
    let exceptions =
        [way_back(Placeholders::SOURCE, priority), way_in(Placeholders::SOURCE, group, priority)];
    removal(&rule).into_iter().chain(exceptions).collect()
}

/// Judges a flow that a router does not forward although it has a multicast route for it.
pub(super) fn of_forwarding(observation: &Observation, blocked: &BlockedFlow<'_>) -> Option<Finding> {
    let first = blocked.first;
    let is_routed = first.bridge.is_none();
    let finding =
        of_router(observation, first.flow, first.from, &blocked.sentence()).filter(|_| is_routed)?;
    Some(finding.with_all_evidence(blocked.evidence()))
}

/// Returns the finding about a rule by which a router does not forward a flow: it rejects, or leads to a table of multicast routes
/// without one for the flow. The sentence states what is not forwarded.
pub(super) fn of_router(
    observation: &Observation,
    flow: &Flow,
    from: &Link,
    sentence: &str,
) -> Option<Finding> {
    let packet = RoutedPacket {
        plane: Plane::Forwarding,
        source: Some(flow.key.source.ip()),
        destination: flow.key.group,
        incoming: from.name(),
        outgoing: None,
        mark: None,
    };
    let (rule, table) = observation.after.routing.forwarding_rule(&packet)?;
    let command = rule.command();
    let why = match table {
        Some(table) => format!("leads to table {table}, which has no multicast route for it"),
        None => "rejects it".to_owned(),
    };
    let routes = command.replace("mrule", "mroute");
    let finding = Finding::fault(Id::PolicyRule, format!("{sentence}: the rule {rule} ({command}) {why}."))
        .about_flow(from.name(), flow)
        .evidence(EvidenceKind::Route, command, rule)
        .with_remedies(removal(rule))
        .advise(Tool::Ip, format!("If the rule is intended, have the routing daemon put the multicast route into its table: `{routes} show table all` lists those that exist."));
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership, program};
    use crate::snapshot::{Route, Routing};
    use mcast_host::fixtures::{prefix, route, rule};

    const TO: &str = "239.1.2.3:5000";
    const PROHIBIT: RuleAction = RuleAction::Reject(Rejection::Prohibit);

    fn proxied(reason: Option<&str>) -> Observation {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 0);
        let mut marked = rule(32765, None, RuleAction::Lookup(100));
        marked.selector.mark = Some((1, u32::MAX));
        observation.after.routing = Routing {
            rules: vec![marked],
            routes: vec![route(100, RouteKind::Local, "0.0.0.0/0")],
            forwarded: Vec::new(),
        };
        observation.source_routes = [("10.9.0.1".parse().unwrap(), Some(ETH0))].into();
        let drop = reason.map(|reason| kernel_drop(reason, "10.9.0.1:6000", TO, 10));
        observation.kernel_drops.drops = drop.into_iter().collect();
        observation
    }

    #[test]
    fn rule_for_a_mark_is_named_only_if_the_kernel_gives_the_reason() {
        let findings = policy_rule(&proxied(Some("IP_LOCAL_SOURCE")));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(finding.cause.contains("32765: from all fwmark 0x1 lookup 100"), "{}", finding.cause);
        let commands: Vec<_> = finding.remedies.iter().filter_map(Remedy::command).collect();
        assert_eq!(commands, ["ip rule add from all to 10.9.0.1 lookup main priority 32764"]);
        assert_eq!(policy_rule(&proxied(None)), [], "the mark is not known");
        assert_eq!(policy_rule(&proxied(Some("NETFILTER_DROP"))), []);
    }

    #[test]
    fn mark_counts_only_with_the_setting() {
        let mut observation = proxied(Some("IP_LOCAL_SOURCE"));
        for name in ["all", "eth0"] {
            let setting = interface_setting(Family::V4, name, "src_valid_mark");
            observation.after.settings.insert(setting, "0".into());
        }
        assert_eq!(policy_rule(&observation), []);
    }

    #[test]
    fn rule_that_rejects_groups_replaces_the_missing_route() {
        let outcome = |to: &str| {
            let socket = ProgramSocket {
                local: Some("0.0.0.0:6000".parse().unwrap()),
                ..ProgramSocket::new(9, "sender (7)".into())
            };
            let mut observation = program(vec![socket], Vec::new());
            observation.after.group_routes = vec![Route { family: Family::V4, interface: None }];
            observation.after.routing.rules = vec![rule(50, Some(to), PROHIBIT)];
            let judged = crate::causes::judge(&observation);
            judged
                .iter()
                .map(|finding| (finding.id, finding.remedies[0].command().unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let removal = "ip rule del from all to 239.0.0.0/8 prohibit priority 50".to_owned();
        assert_eq!(outcome("239.0.0.0/8"), [(Id::PolicyRule, removal)]);
        assert_eq!(outcome("238.0.0.0/8")[0].0, Id::NoRoute);
    }

    #[test]
    fn rule_of_ipv6_is_about_the_source_and_the_group() {
        let to = "[ff15::1]:5000";
        let mut observation = membership(to, vec![flow(ETH0, "[fd61::1]:6000", to)], 0);
        let mut own = rule(50, Some("ff00::/8"), PROHIBIT);
        own.selector.destination = None;
        own.selector.source = Some(prefix("fd61::1/128"));
        observation.after.routing.rules = vec![own];
        observation.kernel_drops.drops = vec![kernel_drop(UNROUTED, "[fd61::1]:6000", to, 10)];
        let findings = policy_rule(&observation);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(finding.cause.contains("50: from fd61::1 prohibit (ip -6 rule)"), "{}", finding.cause);
        let command = finding.remedies[0].command().unwrap();
        assert_eq!(command, "ip -6 rule add from fd61::1 to ff15::1 lookup local priority 49");
    }
}
