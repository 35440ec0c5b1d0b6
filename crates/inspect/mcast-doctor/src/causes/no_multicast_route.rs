//! This machine is a router and does not route the group: no multicast routing runs, it has no route for the group, or the
//! route leads nowhere.

use std::net::IpAddr;

use mcast::Family;

use super::{Cause, Check, policy_rules};
use crate::netfilter::{Hook, Layer};
use crate::observation::Observation;
use crate::snapshot::{Link, MulticastRoute, interface_setting};
use crate::wire::{ControlPacket, Flow, FlowKey};
use crate::{Evidence, EvidenceKind, Finding, FlowStatus, Id, OpenQuestion, Severity, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 4605", "RFC 7761 section 4.1", "ip-sysctl: mc_forwarding"])
        .without_loss();

/// Fewer datagrams may have been the first of a flow, which wait for the route.
const MIN_DATAGRAMS: u64 = 10;

fn check(observation: &Observation) -> Vec<Finding> {
    if observation.is_about_machine() {
        return unresolved(observation);
    }
    let mut seen = Vec::new();
    let flows = observation.interests().into_iter().flat_map(|interest| observation.arrivals(&interest));
    flows
        .filter(|flow| {
            let is_first = !seen.contains(&flow.key);
            seen.push(flow.key);
            is_first
                && flow.datagrams >= MIN_DATAGRAMS
                && flow.hop_limits.0 > 1
                && mcast::Group::new(flow.key.group).is_ok_and(|group| !group.scope().stays_on_link())
                && !observation.before.is_own(flow.key.source.ip())
                && reaches_routing(observation, flow)
        })
        .filter_map(|flow| judge(observation, flow))
        .collect()
}

/// Returns whether the datagrams of a flow are not dropped before the kernel looks for their route. It decides on it
/// together with the delivery to this machine, which begins at the input hook.
fn reaches_routing(observation: &Observation, flow: &Flow) -> bool {
    if let Some((reached, _)) = observation.hooks.of_flow(Layer::Ip, Hook::Input, &flow.key) {
        return reached > 0;
    }
    let (interface, to) = (observation.link_name(flow.key.interface), flow.destination());
    let is_lost = |status: &FlowStatus| {
        status.depth.is_lost_here()
            && (status.source, status.destination) == (Some(flow.key.source), to)
            && status.interface == interface
    };
    !observation.expected_flows().iter().any(|expected| is_lost(&expected.status))
}

fn judge(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let family = Family::of(flow.key.group);
    let arrives = observation.after.link(flow.key.interface)?;
    let enabled: Vec<_> =
        observation.after.links.iter().filter(|link| observation.routes_groups(link, family)).collect();
    if enabled.iter().all(|link| link.index() == arrives.index()) {
        return without_routing(observation, flow, arrives, !enabled.is_empty());
    }
    let elsewhere: Vec<_> =
        enabled.iter().filter(|link| link.index() != arrives.index()).map(|link| link.name()).collect();
    if !observation.routes_groups(arrives, family) {
        let cause = format!(
            "This router does not route {} from {}, because it arrives on {}, on which multicast routing is not enabled.",
            flow.key.group,
            flow.key.source.ip(),
            arrives.name()
        );
        let setting = interface_setting(family, arrives.name(), "mc_forwarding");
        let evidence = Evidence::new(EvidenceKind::Setting, setting, 0);
        return Some(finding(observation, flow, arrives, Severity::Fault, cause).with_evidence(evidence));
    }
    let routes = || observation.after.multicast_routes.iter().filter(|route| route.is_for(&flow.key));
    let table = table(family);
    // An entry without an incoming interface is unresolved: the kernel still waits for the routing daemon.
    if let Some(route) = routes().find(|route| route.from.is_some()) {
        if route.from.as_deref() != Some(arrives.name()) {
            return None;
        }
        let leads_nowhere = route.to.iter().all(|(name, _)| name == arrives.name());
        return match leads_nowhere {
            true => Some(to_nowhere(observation, flow, arrives, &elsewhere)),
            false => omits_member(observation, flow, arrives, route),
        };
    }
    let what =
        format!("{} from {}, which arrives on {}", flow.key.group, flow.key.source.ip(), arrives.name());
    let elsewhere = elsewhere.join(", ");
    let sentence = format!("This router does not forward {what}, to {elsewhere}");
    if let Some(finding) = policy_rules::of_router(observation, flow, arrives, &sentence) {
        return Some(finding.with_evidence(observation.packets_of(flow)));
    }
    let state = if routes().next().is_some() {
        "unresolved: its routing daemon has not answered"
    } else {
        "no entry"
    };
    let cause =
        format!("This router has no multicast route for {what}: it does not forward it to {elsewhere}.");
    let evidence = Evidence::new(EvidenceKind::Table, table, format!("{}: {state}", flow.key.group));
    Some(finding(observation, flow, arrives, Severity::Fault, cause).with_evidence(evidence))
}

/// Judges a route without outgoing interfaces. A router without members behind it has one, too.
fn to_nowhere(observation: &Observation, flow: &Flow, arrives: &Link, elsewhere: &[&str]) -> Finding {
    let member = member(observation, flow);
    let severity = if member.is_some() { Severity::Fault } else { Severity::Warning };
    let hosts = match &member {
        Some((host, interface)) => format!("although {host} on {interface} has joined the group"),
        None => format!("because it knows of no members on {}, and no routers", elsewhere.join(", ")),
    };
    let cause = format!(
        "This router's route for {} from {} leads from {} to no interface, {hosts}.",
        flow.key.group,
        flow.key.source.ip(),
        arrives.name()
    );
    let entry = format!("{} from {}, no outgoing interface", flow.key.group, arrives.name());
    finding(observation, flow, arrives, severity, cause).evidence(
        EvidenceKind::Table,
        table(Family::of(flow.key.group)),
        entry,
    )
}

/// Judges a route that leads to some interfaces, but not to one behind which a host has joined the group.
fn omits_member(
    observation: &Observation,
    flow: &Flow,
    arrives: &Link,
    route: &MulticastRoute,
) -> Option<Finding> {
    let to: Vec<_> = route.to.iter().map(|(name, _)| name.as_str()).collect();
    // Where several routers lead to a network, one of them forwards the group.
    let is_forwarded_by_another = |interface| {
        let mut flows = observation.wire.incoming(flow.key.group);
        flows.any(|other| other.key.source == flow.key.source && other.key.interface == interface)
    };
    let (host, name) = members(observation, flow).find_map(|packet| {
        let name = observation.link_name(packet.interface);
        let is_omitted = !to.contains(&name.as_str()) && !is_forwarded_by_another(packet.interface);
        is_omitted.then_some((packet.source, name))
    })?;
    let (group, source) = (flow.key.group, flow.key.source.ip());
    let cause = format!(
        "This router's route for {group} from {source} leads from {} to {}, and not to {name}, although {host} behind {name} has joined the group.",
        arrives.name(),
        to.join(", ")
    );
    let entry = format!("{group} from {} to {}", arrives.name(), to.join(", "));
    let report = Evidence::new(EvidenceKind::Packet, &name, format!("a report for {group} from {host}"));
    let finding = Finding::fault(Id::NoMulticastRoute, cause)
        .about_flow(arrives.name(), flow)
        .with_evidence(observation.packets_of(flow))
        .evidence(EvidenceKind::Table, table(Family::of(group)), entry)
        .with_evidence(report)
        .advise(Tool::Network, format!("Have the routing daemon route the group to {name}, too. smcroute: `smcroutectl add {} {source} {group} {} {name}`. pimd, FRR: enable IGMP (or MLD) on {name}, and check that the router has learnt the member (`show ip igmp groups`). igmpproxy: `phyint {name} downstream`.", arrives.name(), to.join(" ")));
    Some(finding)
}

/// Returns an open question for each route of an examined group that omits interfaces on which no host has reported it. Hosts
/// that joined earlier report it only when a querier asks. The doctor sends no query for that: it might replace the querier.
pub(crate) fn unseen_members(observation: &Observation) -> Vec<OpenQuestion> {
    let timeout = observation.options.querier_timeout();
    if observation.listened() >= timeout {
        return Vec::new();
    }
    let interests = observation.interests();
    let mut questions = Vec::new();
    for flow in interests.iter().flat_map(|interest| observation.arrivals(interest)) {
        let Some(names) = unseen_legs(observation, flow) else { continue };
        let (group, seconds) = (flow.key.group, observation.listened().as_secs());
        let interval = observation.options.query_interval.as_secs();
        let question = OpenQuestion::new(
            format!("whether hosts behind {names} have joined {group}, which is not routed there"),
            format!(
                "no report for it in {seconds} s; hosts send one when they join, and when a querier asks, every {interval} s"
            ),
        );
        let question = question.known_after(timeout);
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    questions
}

/// Returns the interfaces to which multicast is routed, but not this flow, and on which neither a report nor the flow itself
/// was seen.
fn unseen_legs(observation: &Observation, flow: &Flow) -> Option<String> {
    let arrives = observation.link_name(flow.key.interface);
    let mut routes = observation.after.multicast_routes.iter();
    let route = routes.find(|route| route.is_for(&flow.key) && route.from.as_ref() == Some(&arrives))?;
    let is_unseen = |link: &&Link| {
        let mut copies = observation.wire.incoming(flow.key.group);
        link.is_of_the_host()
            && link.name() != arrives
            && observation.routes_groups(link, Family::of(flow.key.group))
            && !route.to.iter().any(|(name, _)| name == link.name())
            && !members(observation, flow).any(|packet| packet.interface == link.index())
            && !copies.any(|copy| copy.key.interface == link.index())
    };
    let unseen = observation.after.links.iter().filter(is_unseen).map(Link::name);
    let names = unseen.collect::<Vec<_>>().join(", ");
    (!names.is_empty() && !route.to.is_empty()).then_some(names)
}

/// Returns the setting by which a machine forwards what is sent to hosts in its other networks.
const fn forwarding_setting(family: Family) -> &'static str {
    match family {
        Family::V4 => "net.ipv4.ip_forward",
        Family::V6 => "net.ipv6.conf.all.forwarding",
    }
}

/// Returns whether this machine forwards what is sent to hosts in its other networks.
pub(super) fn is_router(observation: &Observation, family: Family) -> bool {
    observation.after.number(forwarding_setting(family)).is_some_and(|value| value != 0)
}

/// Judges a machine that routes no groups, or has one interface that does, so that there is nowhere to forward to: whether it is a
/// router that should forward them.
fn without_routing(
    observation: &Observation,
    flow: &Flow,
    arrives: &Link,
    is_enabled: bool,
) -> Option<Finding> {
    let family = Family::of(flow.key.group);
    let others: Vec<_> = observation
        .after
        .links
        .iter()
        .filter(|link| {
            link.index() != arrives.index()
                && link.is_of_the_host()
                && link.has_address(family)
                && !link.is_tunnel()
        })
        .collect();
    // Hosts of containers forward as well, but they do not route between networks.
    let names: Vec<_> = others.iter().filter(|link| link.bridge.is_none()).map(|link| link.name()).collect();
    if !is_router(observation, family) || names.is_empty() {
        return None;
    }
    let member = member(observation, flow);
    let has_containers = others.iter().any(|link| link.bridge.is_some());
    let severity = match member {
        Some(_) => Severity::Fault,
        // A program on a host with two networks need not share the group with the other one.
        None if has_containers || observation.program().is_some() => Severity::Note,
        None => Severity::Warning,
    };
    let hosts = member
        .as_ref()
        .map(|(host, interface)| format!(", although {host} on {interface} has joined it"))
        .unwrap_or_default();
    let name = arrives.name();
    let why = match is_enabled {
        true => format!("multicast routing is enabled on {name} only"),
        false => "no multicast routing runs".to_owned(),
    };
    let cause = format!(
        "This machine forwards unicast but not groups: {why}, so {} from {} goes no further than {name}, and hosts behind {} do not receive it{hosts}.",
        flow.key.group,
        flow.key.source.ip(),
        names.join(", ")
    );
    let disabled = match (is_enabled, &member) {
        (true, Some((_, interface))) => interface.as_str(),
        (true, None) => names.first().copied().unwrap_or(name),
        (false, _) => "all",
    };
    let finding = finding(observation, flow, arrives, severity, cause)
        .evidence(EvidenceKind::Setting, forwarding_setting(family), 1)
        .evidence(EvidenceKind::Setting, interface_setting(family, disabled, "mc_forwarding"), 0);
    Some(finding)
}

fn finding(
    observation: &Observation,
    flow: &Flow,
    arrives: &Link,
    severity: Severity,
    cause: String,
) -> Finding {
    let (group, name) = (flow.key.group, arrives.name());
    let to = observation.after.links.iter().find(|link| {
        link.index() != arrives.index() && link.is_of_the_host() && link.has_address(Family::of(group))
    });
    let out = to.map_or("INTERFACE", Link::name);
    let source = flow.key.source.ip();
    Finding::new(Id::NoMulticastRoute, severity, cause)
        .about_flow(name, flow)
        .with_evidence(observation.packets_of(flow))
        .advise(Tool::Network, format!("Where a daemon runs (`ip mroute show` lists its routes), have it route the group. smcroute: `smcroutectl add {name} {source} {group} {out}`. pimd, FRR: enable PIM on {name} and IGMP on {out}, and check that the router has learnt the member (`show ip igmp groups`)." )).advise(Tool::Network, "Where none runs: between one network with senders and others with receivers only, an IGMP proxy is enough (igmpproxy, `upstream` towards the senders); otherwise run PIM.")
}

/// Returns a host behind an interface that reported the group of a flow, to which no route leads.
pub(super) fn unserved_member(observation: &Observation, flow: &Flow, link: &Link) -> Option<IpAddr> {
    let mut routes = observation.after.multicast_routes.iter().filter(|route| route.is_for(&flow.key));
    let is_served = routes.any(|route| route.to.iter().any(|(name, _)| name == link.name()));
    let member = members(observation, flow).find(|packet| packet.interface == link.index())?;
    (!is_served).then_some(member.source)
}

/// Returns a host on another interface of this machine that reported the group of a flow.
fn member(observation: &Observation, flow: &Flow) -> Option<(IpAddr, String)> {
    let report = members(observation, flow).next()?;
    Some((report.source, observation.link_name(report.interface)))
}

/// Returns reports for a flow from hosts on other interfaces of this machine that have not left its group later.
fn members<'a>(observation: &'a Observation, flow: &Flow) -> impl Iterator<Item = &'a ControlPacket> {
    let FlowKey { group, interface, source, .. } = flow.key;
    let reports = observation.wire.control.iter();
    let reports = reports.filter(move |packet| !packet.outgoing && packet.interface != interface);
    let joins = reports.filter(move |packet| packet.message.joins_from(group, source.ip()));
    joins.filter(move |join| {
        let mut later = observation.wire.control.iter().filter(|packet| packet.time > join.time);
        !later.any(|packet| {
            (packet.source, packet.interface) == (join.source, join.interface) && packet.message.leaves(group)
        })
    })
}

/// Returns routes that wait for a routing daemon.
fn unresolved(observation: &Observation) -> Vec<Finding> {
    let routes = observation.after.multicast_routes.iter().filter(|route| {
        let is_resolved = |other: &MulticastRoute| {
            (other.group, other.source) == (route.group, route.source) && other.from.is_some()
        };
        route.from.is_none() && !observation.after.multicast_routes.iter().any(is_resolved)
    });
    routes
        .map(|route| {
            let cause = format!(
                "This router receives {} from {} and has no multicast route for it: the routing daemon has not answered the kernel.",
                route.group, route.source
            );
            let entry = format!("{} from {}: unresolved", route.group, route.source);
            Finding::warning(Id::NoMulticastRoute, cause)
                .for_group(route.group)
                .from_source(route.source)
                .evidence(EvidenceKind::Table, table(Family::of(route.group)), entry)
                .advise(Tool::Network, format!("Have the daemon route the group, or find out why it does not (smcroute: `smcroutectl show`; pimd, FRR: `show ip mroute`). `mcast doctor {}:PORT -i INTERFACE` examines it on the interface on which it arrives.", route.group))
        })
        .collect()
}

const fn table(family: Family) -> &'static str {
    match family {
        Family::V4 => "/proc/net/ip_mr_cache",
        Family::V6 => "/proc/net/ip6_mr_cache",
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, ETH0, ETH1, control, flow, membership, report};
    use super::*;
    use crate::netfilter::{CountedTraffic, HookCount};
    use crate::wire::ControlMessage;

    const TO: &str = "239.1.2.3:5000";

    fn observation(settings: &[(&str, &str)], routes: Vec<MulticastRoute>) -> Observation {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 10);
        observation.after.settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        observation.after.multicast_routes = routes;
        observation
    }

    fn routing(routes: Vec<MulticastRoute>) -> Observation {
        observation(
            &[("net.ipv4.conf.eth0.mc_forwarding", "1"), ("net.ipv4.conf.eth1.mc_forwarding", "1")],
            routes,
        )
    }

    fn route(from: Option<&str>, to: &[&str]) -> MulticastRoute {
        MulticastRoute {
            group: [239, 1, 2, 3].into(),
            source: [10, 9, 0, 1].into(),
            from: from.map(str::to_owned),
            packets: 0,
            wrong_interface: 0,
            to: to.iter().map(|name| ((*name).to_owned(), 1)).collect(),
        }
    }

    fn severities(observation: &Observation) -> Vec<Severity> {
        fixtures::severities(&CAUSE, observation)
    }

    #[test]
    fn missing_and_unresolved_routes_are_faults() {
        assert_eq!(severities(&routing(vec![])), [Severity::Fault]);
        assert_eq!(severities(&routing(vec![route(None, &[])])), [Severity::Fault]);
        assert_eq!(severities(&routing(vec![route(Some("eth0"), &["eth1"])])), []);
    }

    #[test]
    fn route_to_nowhere_is_a_fault_only_if_a_host_wants_the_group() {
        let mut observation = routing(vec![route(Some("eth0"), &[])]);
        assert_eq!(severities(&observation), [Severity::Warning]);
        let (time, _) = observation.wire.span.unwrap();
        let report = control(time, "10.8.0.9", report("239.1.2.3"));
        observation.wire.control.push(ControlPacket { interface: ETH1, ..report });
        assert_eq!(severities(&observation), [Severity::Fault]);
    }

    #[test]
    fn route_that_omits_a_member_is_a_fault() {
        let outcome = |to: &[&str], change: &dyn Fn(&mut Observation)| {
            let mut observation = routing(vec![route(Some("eth0"), to)]);
            let (time, _) = observation.wire.span.unwrap();
            let report = control(time, "10.8.0.9", report("239.1.2.3"));
            observation.wire.control.push(ControlPacket { interface: ETH1, ..report });
            change(&mut observation);
            severities(&observation)
        };
        assert_eq!(outcome(&["eth2"], &|_| {}), [Severity::Fault]);
        assert_eq!(outcome(&["eth2", "eth1"], &|_| {}), []);
        let by_another_router = |observation: &mut Observation| {
            observation.wire.flows.push(flow(ETH1, "10.9.0.1:6000", TO));
        };
        assert_eq!(outcome(&["eth2"], &by_another_router), []);
        let left = |observation: &mut Observation| {
            let (_, time) = observation.wire.span.unwrap();
            let group = [239, 1, 2, 3].into();
            let leave = ControlMessage::Report {
                version: 3,
                joined: Vec::new(),
                left: vec![group],
                sources: Vec::new(),
            };
            observation
                .wire
                .control
                .push(ControlPacket { interface: ETH1, ..control(time, "10.8.0.9", leave) });
        };
        assert_eq!(outcome(&["eth2"], &left), []);
        let for_another_source = |observation: &mut Observation| {
            let ControlMessage::Report { sources, .. } = &mut observation.wire.control[0].message else {
                panic!()
            };
            sources.push(([239, 1, 2, 3].into(), [10, 9, 0, 7].into()));
        };
        assert_eq!(outcome(&["eth2"], &for_another_source), []);
    }

    #[test]
    fn members_behind_omitted_interfaces_are_an_open_question() {
        let questions = |to: &[&str]| unseen_members(&routing(vec![route(Some("eth0"), to)]));
        let [question] = &questions(&["eth2"])[..] else { panic!() };
        assert_eq!(
            question.question,
            "whether hosts behind eth1 have joined 239.1.2.3, which is not routed there"
        );
        assert_eq!((questions(&["eth1"]), questions(&[])), (vec![], vec![]));
    }

    #[test]
    fn datagrams_that_are_dropped_before_routing_need_no_route() {
        let mut observation = routing(vec![]);
        observation.trial_mut().received.clear();
        assert_eq!(severities(&observation), []);
        // The input chain drops them, which does not concern those that are forwarded.
        let key = observation.wire.flows[0].key;
        let (layer, hook, traffic) = (Layer::Ip, Hook::Input, CountedTraffic::Datagrams(TO.parse().unwrap()));
        observation.hooks.hooks = vec![(layer, hook, traffic)];
        assert_eq!(severities(&observation), []);
        let count = HookCount {
            layer,
            hook,
            traffic,
            interface: key.interface,
            peer: key.source,
            reached: 10,
            passed: 0,
        };
        observation.hooks.counts = vec![count];
        assert_eq!(severities(&observation), [Severity::Fault]);
    }

    #[test]
    fn router_of_one_interface_forwards_to_nowhere() {
        let settings = [("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.eth0.mc_forwarding", "1")];
        let mut observation = observation(&settings, vec![]);
        assert_eq!(severities(&observation), [Severity::Warning]);
        let (time, _) = observation.wire.span.unwrap();
        let report = control(time, "10.8.0.9", report("239.1.2.3"));
        observation.wire.control.push(ControlPacket { interface: ETH1, ..report });
        assert_eq!(severities(&observation), [Severity::Fault]);
    }

    #[test]
    fn machine_without_routing_is_warned_only_if_it_forwards_unicast() {
        assert_eq!(severities(&observation(&[("net.ipv4.ip_forward", "1")], vec![])), [Severity::Warning]);
        assert_eq!(severities(&observation(&[("net.ipv4.ip_forward", "0")], vec![])), []);
    }
}
