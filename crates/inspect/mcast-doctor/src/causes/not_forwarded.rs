//! What this machine should pass on as a bridge, a router or a relay, and does not.

use std::collections::BTreeSet;

use mcast::Family;

use super::filter_rules::{Suspects, arriving, certain_drop, met_by, responsible};
use super::{Cause, Check, Forecast, policy_rules, routes, snooping};
use crate::change::{Attribute, Change};
use crate::fate::forwarding::{Barrier, BlockedFlow};
use crate::fate::{Ahead, Sight, Way};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::netfilter::{ControlKind, Hook, KnownPacket, Layer, RuleEffect};
use crate::observation::Observation;
use crate::snapshot::{Link, MulticastRoute, RelayRefusal};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

/// This machine should forward a flow as a bridge or router, and does not. No setting that the doctor knows explains it,
/// apart from the MTU and the state of the outgoing interface.
pub(super) const NOT_FORWARDED: Cause = Cause::new(Check::Observation(not_forwarded), &[]).without_loss();

fn not_forwarded(observation: &Observation) -> Vec<Finding> {
    let too_large = observation.blocked_flows(Barrier::Mtu);
    let down = observation.blocked_flows(Barrier::Down);
    let mut unknown = observation.blocked_flows(Barrier::Unknown);
    unknown
        .retain(|blocked| blocked.first.bridge.is_some() || !routes::drops(observation, blocked.first.flow));
    let too_large = too_large.iter().map(too_large_packets);
    let down = down.iter().map(interface_down);
    let unknown = unknown.iter().map(|blocked| {
        policy_rules::of_forwarding(observation, blocked).unwrap_or_else(|| unexplained(observation, blocked))
    });
    too_large.chain(down).chain(unknown).chain(dropped_by_filters(observation)).collect()
}

fn too_large_packets(blocked: &BlockedFlow<'_>) -> Finding {
    let (first, names) = (blocked.first, blocked.names());
    let (size, mtu) = (first.flow.largest, first.to.interface.mtu);
    let of = first.to.name();
    let cause = format!(
        "{}, because its packets of up to {size} bytes exceed the MTU of {of} ({mtu} bytes).",
        blocked.sentence()
    );
    Finding::fault(Id::MtuTooSmall, cause)
        .about_flow(&names, first.flow)
        .with_all_evidence(blocked.evidence())
        .evidence(EvidenceKind::Setting, format!("{of} mtu"), mtu)
        .with_remedies([remedies::linux::set_mtu(first.to, first.from.interface.mtu)]).advise(Tool::Network, format!("The link behind {of} and the hosts there must accept packets of this size. Otherwise, have the sender send at most {} bytes per datagram.", mtu.saturating_sub(28)))
}

fn interface_down(blocked: &BlockedFlow<'_>) -> Finding {
    let (first, of) = (blocked.first, blocked.first.to.name());
    let cause = format!("{}, because {of} is down.", blocked.sentence());
    Finding::fault(Id::InterfaceDown, cause)
        .about_flow(of, first.flow)
        .with_all_evidence(blocked.evidence())
        .with_remedies([Remedy::now_changing(Tool::Ip, Change::interface(of, Attribute::State, "up"))
            .with_scope(RemedyScope::new(format!("all traffic of {of}")))])
}

fn unexplained(observation: &Observation, blocked: &BlockedFlow<'_>) -> Finding {
    let (first, names) = (blocked.first, blocked.names());
    let drops = first.drops(observation);
    let suspects = first.suspects(observation);
    let rules = suspects.clause();
    let reason = match drops.is_empty() {
        true => format!(
            " Possible causes are the firewall ({rules}), a traffic control filter, and a full queue."
        ),
        false => String::new(),
    };
    Finding::fault(Id::NotForwarded, format!("{}.{reason}", blocked.sentence()))
        .about_flow(&names, first.flow)
        .with_all_evidence(blocked.evidence())
        .with_all_evidence(evidence(drops))
        .with_all_evidence(suspects.evidence(observation))
        .advise(Tool::Nft, "List the rules that the datagrams pass, and add a counter to those that drop: `nft -a list ruleset`, `ebtables -L --Lc`.").advise(Tool::Tc, format!("List filters and queues of {names}: `tc -s filter show dev {0} egress`, `tc -s qdisc show dev {0}`.", first.to.name()))
}

/// Returns findings about rules that drop what this machine forwards as a bridge or router, or the reports of hosts behind a
/// bridge port, unless the temporary rules counted it.
fn dropped_by_filters(observation: &Observation) -> Vec<Finding> {
    let places = [(Layer::Bridge, Hook::Forward), (Layer::Ip, Hook::Forward)];
    let is_counted = |blocked: &BlockedFlow<'_>| {
        places.iter().any(|(layer, hook)| {
            observation
                .hooks
                .of_flow(*layer, *hook, &blocked.first.flow.key)
                .is_some_and(|(reached, passed)| reached > passed)
        })
    };
    let blocked = observation.blocked_flows(Barrier::Firewall);
    let blocked = blocked.iter().filter(|blocked| !is_counted(blocked));
    let mut findings: Vec<_> = blocked.map(|blocked| dropped_flow(observation, blocked)).collect();
    findings.extend(unlearnt_members(observation));
    findings
}

fn dropped_flow(observation: &Observation, blocked: &BlockedFlow<'_>) -> Finding {
    let (first, names) = (blocked.first, blocked.names());
    let (suspects, what) = match blocked.sight {
        Sight::Observed => (first.suspects(observation), "the firewall drops them, and"),
        Sight::Predicted => {
            (first.certain_rule(observation), "even if nothing else did, the firewall would drop them:")
        }
    };
    let to = first.flow.destination();
    // What is dropped before the bridge itself gets it does not arrive on this machine either.
    let arrives = observation
        .wire
        .incoming(to.ip())
        .any(|flow| Some(flow.key.interface) == first.bridge.map(Link::index));
    // Rules of the IP layer meet frames as if they had arrived on the bridge.
    let bridge = first.bridge.filter(|_| suspects.rule().is_some_and(|rule| rule.layer == Layer::Ip));
    let from = bridge.unwrap_or(first.from).name();
    let subject = if first.bridge.is_some() && !arrives { first.from.name() } else { &names };
    Finding::fault(Id::FirewallDropsData, format!("{}: {what} {}.", blocked.sentence(), suspects.clause()))
        .about_flow(subject, first.flow)
        .with_all_evidence(blocked.evidence())
        .with_all_evidence(suspects.evidence(observation))
        .with_all_evidence(evidence(first.drops(observation)))
        .with_remedies(remedies::admit_forwarded((from, first.to.name()), to, suspects.rule()))
}

/// Returns the rules that would drop what this router does not get to forwarding, by whichever interface it should leave. They
/// matter as much as what keeps it from there.
pub(super) fn behind_routing(observation: &Observation, severity: Severity, flow: &Flow) -> Vec<Finding> {
    let device = observation.link_name(flow.key.interface);
    let to = flow.destination();
    let packet = arriving(observation, flow);
    let finding = |hook: Hook| {
        let outcome = certain_drop(observation, &packet, &[(Layer::Ip, hook)], &device)?;
        let suspects = Suspects::certain(vec![outcome]);
        let cause = format!(
            "This machine's firewall drops the datagrams from {} to {to} as soon as it forwards them from {device}: {} at its {} hook.",
            flow.key.source,
            suspects.clause(),
            hook.name()
        );
        let finding = Finding::new(Id::FirewallDropsData, severity, cause)
            .about_flow(&device, flow)
            .at_hook(hook)
            .with_all_evidence(suspects.evidence(observation))
            .with_remedies(remedies::admit_datagrams(&device, to, suspects.rule()));
        Some(finding)
    };
    [Hook::Forward, Hook::Postrouting].into_iter().filter_map(finding).collect()
}

/// Returns findings for ports at which hosts report an examined group that the bridge does not learn.
fn unlearnt_members(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.group);
    let ports: Vec<_> =
        observation.wire.ports.taps.iter().filter_map(|tap| observation.after.link(tap.interface)).collect();
    let unlearnt = interests.iter().flat_map(|interest| {
        let group = interest.group.addr();
        ports
            .iter()
            .filter(move |port| is_reported_and_unlearnt(observation, port, group))
            .map(move |port| (interest, port))
    });
    unlearnt
        .map(|(interest, port)| {
            let (name, protocol) = (port.name(), interest.protocol());
            let bridge = observation.bridge_of(port).map_or(name, |(bridge, _)| bridge.name());
            let drops = reports_dropped_at(observation, port, interest.family());
            let packet = KnownPacket::control(ControlKind::Report, None, interest.family());
            let packet = packet.arriving_on(port.index(), name);
            let places = [(Layer::Device, Hook::Ingress), (Layer::Bridge, Hook::Prerouting)];
            let outcomes = places.into_iter().flat_map(|place| {
                met_by(observation, &packet, place, name, &[RuleEffect::Drop])
            });
            let suspects = responsible(observation, outcomes.collect(), 1);
            Finding::fault(
                Id::FirewallDropsIgmp,
                format!("{bridge} does not learn that hosts behind its port {name} have joined {}, although their {protocol} reports arrive there: {}.", interest.group, suspects.clause()),
            )
            .concerning(name, interest.group)
            .evidence(EvidenceKind::Packet, name, format!("{protocol} reports of {}", interest.group))
            .evidence(EvidenceKind::Table, format!("bridge mdb show dev {bridge}"), format!("no entry for {} at {name}", interest.group))
            .with_all_evidence(suspects.evidence(observation))
            .with_all_evidence(evidence(drops))
            .with_remedies(remedies::admit_membership_protocol(interest.family(), name, suspects.rule()))
            .advise(Tool::Nft, "A rule at a port is in the bridge family or, for one port, in a netdev chain; ebtables shows only its own.")
        })
        .collect()
}

/// Returns whether a host behind a port reported a group, and the bridge has no entry for it though it should.
fn is_reported_and_unlearnt(observation: &Observation, port: &Link, group: std::net::IpAddr) -> bool {
    let Some((_, bridge)) = observation.bridge_of(port) else { return false };
    let has_space = bridge.table_limit == 0 || bridge.table_entries < bridge.table_limit;
    let is_open = observation.closed_state(port).is_none()
        && port.port.is_some_and(|port| !port.locked)
        && !snooping::has_all_groups(port);
    has_space && is_open && observation.unlearnt_report(port, group).is_some()
}

fn reports_dropped_at<'a>(observation: &'a Observation, port: &Link, family: Family) -> Vec<&'a KernelDrop> {
    let protocols: &[u8] = match family {
        Family::V4 => &[2],
        // MLD begins with a header of options.
        Family::V6 => &[0, 58],
    };
    let is_report = |drop: &&KernelDrop| {
        drop.arrived_on == Some(port.index())
            && protocols.contains(&drop.protocol)
            && Family::of(drop.destination.ip()) == family
    };
    observation.kernel_drops.drops.iter().filter(is_report).collect()
}

/// This machine routes the group, but receives it on another interface than its multicast route expects.
pub(super) const ROUTER_WRONG_INTERFACE: Cause =
    Cause::new(Check::Observation(router_wrong_interface), &["RFC 7761 section 4.2"])
        .predicted_by(Forecast::Way(wrong_interface_ahead))
        .without_loss();

fn router_wrong_interface(observation: &Observation) -> Vec<Finding> {
    let mut reported = BTreeSet::new();
    let wrong = observation.after.multicast_routes.iter().filter_map(|route| {
        let before = observation.before.multicast_routes.iter().find(|before| {
            (before.group, before.source, &before.from) == (route.group, route.source, &route.from)
        });
        let before = before.map_or(0, |before| before.wrong_interface);
        let from = route.from.as_ref()?;
        (route.wrong_interface > before && reported.insert((route.group, route.source)))
            .then_some((route, from, before))
    });
    let is_of = |route: &MulticastRoute, flow: &Flow| {
        flow.key.source.ip() == route.source || route.source.is_unspecified()
    };
    let actual = |route: &MulticastRoute, from: &str| {
        let mut incoming = observation.wire.incoming(route.group);
        incoming.find(|flow| is_of(route, flow) && observation.link_name(flow.key.interface) != from)
    };
    // The kernel also counts its own copies of what it forwards to an interface on which a program has joined.
    let is_own_copy = |route: &MulticastRoute, from: &str| {
        actual(route, from).is_none() && observation.wire.outgoing(route.group).any(|flow| is_of(route, flow))
    };
    wrong
        .filter(|(route, from, _)| !is_own_copy(route, from))
        .map(|(route, from, before)| {
            let actual = actual(route, from);
            let by = actual.map_or_else(
                || "another interface".to_owned(),
                |flow| observation.link_name(flow.key.interface),
            );
            expected_elsewhere(route, &by, from).change(
                EvidenceKind::Counter,
                "/proc/net/ip_mr_cache Wrong",
                before,
                route.wrong_interface,
            )
        })
        .collect()
}

/// Returns the routes that expect what does not get to routing yet on another interface.
fn wrong_interface_ahead(ahead: &Ahead<'_>) -> Vec<Finding> {
    let Way::Routed(flow) = ahead.way else { return Vec::new() };
    let arrives = ahead.observation.link_name(flow.key.interface);
    let routes = ahead.observation.after.multicast_routes.iter();
    let expects = |route: &MulticastRoute| {
        let is_wrong =
            |from: &&String| **from != arrives && !route.source.is_unspecified() && route.is_for(&flow.key);
        let from = route.from.as_ref().filter(is_wrong)?;
        let evidence = format!("{} from {}: in by {from}", route.group, route.source);
        let finding = expected_elsewhere(route, &arrives, from);
        Some(finding.evidence(EvidenceKind::Table, "/proc/net/ip_mr_cache", evidence))
    };
    match ahead.has(Id::RouterWrongInterface) {
        true => Vec::new(),
        false => routes.filter_map(expects).collect(),
    }
}

fn expected_elsewhere(route: &MulticastRoute, arrives: &str, expected: &str) -> Finding {
    let cause = format!(
        "{} arrives on {arrives}, but its multicast route expects it on {expected}, so it is not forwarded.",
        route.group
    );
    let advice = format!(
        "Route {} by unicast through the interface on which the group arrives, or change the incoming interface of the multicast route (smcroute, PIM).",
        route.source
    );
    Finding::fault(Id::RouterWrongInterface, cause)
        .about(expected, route.group, route.source)
        .advise(Tool::Network, advice)
}

/// A relay on this machine (`mcast relay`) does not forward datagrams, and states why.
pub(super) const NOT_RELAYED: Cause =
    Cause::new(Check::Observation(not_relayed), &["RFC 1112 section 6.1", "RFC 8200 section 3"])
        .without_loss();

fn not_relayed(observation: &Observation) -> Vec<Finding> {
    let groups: Vec<_> = observation.interests().iter().map(|interest| interest.group.to_string()).collect();
    let refusals = observation.after.relay_refusals.iter().filter_map(|(refusal, count)| {
        let before = observation.before.relay_refusals.get(refusal).copied().unwrap_or_default();
        let is_recent = *count > before;
        let is_examined = observation.is_about_machine()
            || groups.iter().any(|group| refusal.rule.contains(group.as_str()));
        let (what, advice) = describe(&refusal.reason)?;
        (is_recent || is_examined).then(|| not_relayed_finding(refusal, (before, *count), what, advice))
    });
    refusals.collect()
}

fn not_relayed_finding(
    refusal: &RelayRefusal,
    (before, count): (u64, u64),
    what: &str,
    advice: &str,
) -> Finding {
    let RelayRefusal { pid, rule, reason } = refusal;
    let program = format!("mcast relay ({pid})");
    let location = format!("mcast_relay_refused_datagrams_total, reason {reason}");
    let (number, since) = match count.saturating_sub(before) {
        0 => (count, "since it started"),
        recent => (recent, "while the doctor listened"),
    };
    let cause = format!(
        "{number} datagrams of the rule `{rule}` {what}, and {program} did not forward them {since}."
    );
    let finding = Finding::warning(Id::NotRelayed, cause).in_program(&program).advise(Tool::Mcast, advice);
    match count > before {
        true => finding.change(EvidenceKind::Counter, location, before, count),
        false => finding.evidence(EvidenceKind::Counter, location, count),
    }
}

/// Returns what is the matter with the datagrams, and what to do about it; `None` if the relay works as it should.
fn describe(reason: &str) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        "hop-limit" => (
            "had TTL 1",
            "Send with a larger TTL (`mcast send --ttl 2`, or the option of the program), or add `ttl 2` to the rule: the relay then sends its copies with this TTL, whatever that of the datagrams was.",
        ),
        "rate-limit" => (
            "exceeded a limit",
            "Raise `rate` in the rule, or the limit for all sources (--max-rate), if this traffic should pass.",
        ),
        "too-many-paths" => (
            "came from more senders than the relay has paths",
            "Raise --max-paths, or lower --path-idle, so that paths of senders that have stopped are closed earlier.",
        ),
        "receive-buffer-full" => (
            "did not fit into the receive buffer of the relay",
            "Give the relay more processor time, or forward less: name only the groups in the rules that are needed.",
        ),
        "unreachable" => (
            "have a unicast target that does not accept them",
            "Check that a program listens at the target, and that no firewall there rejects them.",
        ),
        "too-many-repeats" => (
            "are repeats",
            "Look for another device that forwards between the same networks: the relay holds repeats back until it knows whether they are a loop.",
        ),
        "too-many-hops" => {
            ("have passed too many relays", "Connect the sites through fewer relays: at most 8 in a row.")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{
        ETH0, ETH1, control, flow, kernel_drop, membership, report, with_counters,
    };
    use crate::fate::forwarding::tests::{TO, bridged};
    use crate::snapshot::BridgeGroup;

    #[test]
    fn what_the_reverse_path_filter_drops_needs_no_other_explanation() {
        const TO: &str = "239.1.2.3:5000";
        let outcome = |rise: u64| {
            let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
            let mut observation = with_counters(observation, &[(routes::REVERSE_PATH_COUNTER, rise)]);
            observation.after.multicast_routes = vec![MulticastRoute {
                group: "239.1.2.3".parse().unwrap(),
                source: "192.0.2.1".parse().unwrap(),
                from: Some("eth0".into()),
                to: vec![("eth1".into(), 1)],
                packets: 10,
                wrong_interface: 0,
            }];
            observation.after.settings.insert("net.ipv4.conf.eth0.rp_filter".into(), "1".into());
            observation.source_routes = [("192.0.2.1".parse().unwrap(), Some(ETH1))].into();
            not_forwarded(&observation).len()
        };
        assert_eq!((outcome(0), outcome(10)), (1, 0));
    }

    #[test]
    fn large_packets_are_explained_by_the_mtu() {
        let mut observation = bridged(0, |_, _| {});
        assert_eq!(not_forwarded(&observation)[0].id, Id::NotForwarded);
        observation.after.links[2].interface.mtu = 90;
        let [finding] = &not_forwarded(&observation)[..] else { panic!() };
        assert_eq!(finding.id, Id::MtuTooSmall);
        assert!(finding.cause.contains("exceed the MTU of eth1 (90 bytes)"), "{}", finding.cause);
    }

    #[test]
    fn drops_by_the_firewall_are_reported_once() {
        let mut observation = bridged(0, |_, _| {});
        assert_eq!(dropped_by_filters(&observation), []);
        observation.kernel_drops.drops = vec![kernel_drop("NETFILTER_DROP", "10.9.0.1:6000", TO, 10)];
        let [finding] = &dropped_by_filters(&observation)[..] else { panic!() };
        assert_eq!(finding.id, Id::FirewallDropsData);
        assert!(finding.cause.contains("no rule that could be read"), "{}", finding.cause);
    }

    #[test]
    fn report_that_is_not_learnt_was_dropped_at_the_port() {
        let mut observation = bridged(0, |bridge, _| (bridge.snooping, bridge.querier) = (true, true));
        let (time, _) = observation.wire.span.unwrap();
        let group = [239, 1, 2, 3].into();
        observation.wire.ports.control.push(control(time, "10.9.0.7", report("239.1.2.3")));
        let [finding] = &dropped_by_filters(&observation)[..] else { panic!() };
        assert_eq!(finding.id, Id::FirewallDropsIgmp);
        observation.after.bridge_groups.push(BridgeGroup { port: ETH0, group, source: None, blocked: false });
        assert_eq!(dropped_by_filters(&observation), []);
    }

    fn causes(reason: &str, (before, after): (u64, u64), rule: &str) -> Vec<String> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        let refusal = RelayRefusal { pid: 7, rule: rule.into(), reason: reason.into() };
        observation.before.relay_refusals.insert(refusal.clone(), before);
        observation.after.relay_refusals.insert(refusal, after);
        not_relayed(&observation).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn refusals_of_other_groups_count_only_while_they_happen() {
        let (own, other) = ("239.1.2.3:5000 from eth0 to eth1", "239.9.9.9:5000 from eth0 to eth1");
        assert_eq!(
            causes("hop-limit", (3, 20), own),
            [
                "17 datagrams of the rule `239.1.2.3:5000 from eth0 to eth1` had TTL 1, and mcast relay (7) did not forward them while the doctor listened."
            ]
        );
        assert_eq!(causes("hop-limit", (3, 20), other).len(), 1);
        assert!(causes("hop-limit", (20, 20), own)[0].starts_with("20 datagrams"));
        assert!(causes("hop-limit", (20, 20), other).is_empty());
    }

    #[test]
    fn what_a_relay_should_not_forward_is_not_reported() {
        for reason in ["own-copy", "standby", "not-wanted", "duplicate", "new in a later version"] {
            assert!(causes(reason, (0, 20), "239.1.2.3:5000 from eth0 to eth1").is_empty());
        }
    }
}
