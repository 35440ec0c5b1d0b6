//! The route to the source does not use the interface on which its datagrams arrive, so the system drops them
//! as forged.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast::Family;

use super::{Cause, Check};
use crate::depth::{KernelVerdict, LostFlow};
use crate::finding::list;
use crate::observation::{Interest, Observation};
use crate::snapshot::{explains, interface_setting};
use crate::wire::Flow;
use crate::{Evidence, EvidenceKind, ExplainedFlow, Finding, Id, Remedy, RemedyScope, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Interest(check), &["RFC 3704 section 2", "ip-sysctl: rp_filter"])
        .offering(|on| loosen(on.name()).into_iter().chain(turn_off(on.name())).collect());

pub(super) const COUNTER: &str = "TcpExtIPReversePathFilter";

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    if !observation.wire.is_tapped(interest.interface) && !observation.received_anything() {
        return by_counter_alone(observation, interest);
    }
    let dropped = dropped(observation, interest);
    if dropped.is_empty() {
        return None;
    }
    let interface = observation.link_name(interest.interface);
    let sources: BTreeSet<_> = dropped.iter().map(|lost| lost.flow.key.source.ip()).collect();
    let sources = list(sources);
    let settings = settings(&interface);
    let mode = if is_strict(observation, &settings) { "strict" } else { "loose" };
    let (before, after) = observation.values(COUNTER)?;
    let evidence = settings.iter().filter_map(|name| {
        Some(Evidence::new(EvidenceKind::Setting, name, observation.after.setting(name)?))
    });
    let finding = Finding::fault(
        Id::ReversePathFilter,
        format!("The reverse path filter of {interface} ({mode}) drops the datagrams from {sources}, because the route to {sources} does not use {interface}."),
    )
    .on_interface(&interface)
    .for_group(interest.destination())
    .from_source(&sources)
    .explaining(dropped.iter().map(|lost| ExplainedFlow::from(&lost.status)))
    .change(EvidenceKind::Counter, format!("/proc/net/netstat {COUNTER}"), before, after)
    .with_all_evidence(evidence)
    .with_remedies(remedies(observation, &interface, dropped.iter().map(|lost| lost.flow.key.source.ip())));
    Some(finding)
}

/// Returns the finding about flows that do not reach the filter, because something drops them before, and that it would drop.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let source = flow.key.source.ip();
    let interface = observation.link_name(flow.key.interface);
    let settings = settings(&interface);
    let strictest = settings.iter().filter_map(|name| observation.after.number(name)).max()?;
    let route = *observation.source_routes.get(&source)?;
    let is_dropped = match strictest {
        0 => false,
        1 => route != Some(flow.key.interface),
        _ => route.is_none(),
    };
    if !is_dropped || !source.is_ipv4() {
        return None;
    }
    let mode = if strictest == 1 { "strict" } else { "loose" };
    let route = route.map_or_else(|| "no route".to_owned(), |route| observation.link_name(route));
    let evidence = settings.iter().filter_map(|name| {
        Some(Evidence::new(EvidenceKind::Setting, name, observation.after.setting(name)?))
    });
    let finding = Finding::fault(
        Id::ReversePathFilter,
        format!("The reverse path filter of {interface} ({mode}) drops the datagrams from {source} as soon as they get to it, because the route to {source} does not use {interface}."),
    )
    .about_flow(&interface, flow)
    .evidence(EvidenceKind::Route, format!("ip route get {source}"), route)
    .with_all_evidence(evidence)
    .with_remedies(remedies(observation, &interface, [source]));
    Some(finding)
}

/// Returns whether the filter drops a flow that arrives, as its counter shows.
pub(super) fn drops(observation: &Observation, flow: &Flow) -> bool {
    let rise = observation.rise_of(COUNTER).unwrap_or_default();
    let lost = || {
        let interests = observation.interests();
        let mut lost = interests.iter().flat_map(|interest| dropped(observation, interest));
        lost.any(|lost| lost.flow.key == flow.key)
    };
    lost() || (explains(rise, flow.datagrams) && ahead(observation, flow).is_some())
}

/// Returns the flows of an interest that the filter drops: those that are lost and whose route does not use their
/// interface. If the routing table explains none (policy routes), the counter decides. Where the kernel gives its
/// reasons, these decide.
pub(super) fn dropped<'a>(observation: &'a Observation, interest: &Interest<'a>) -> Vec<LostFlow<'a>> {
    let Some(rise) = observation.rise_of(COUNTER).filter(|rise| *rise > 0 && interest.family() == Family::V4)
    else {
        return Vec::new();
    };
    let mut lost = observation.lost_flows(interest);
    let verdict = |lost: &LostFlow<'_>| observation.kernel_verdict(lost, "IP_RPFILTER");
    let proven: Vec<_> = lost.iter().filter(|lost| verdict(lost) == KernelVerdict::Proven).cloned().collect();
    if !proven.is_empty() {
        return proven;
    }
    lost.retain(|lost| verdict(lost) == KernelVerdict::Unknown);
    let is_strict = is_strict(observation, &settings(&observation.link_name(interest.interface)));
    let is_routed_elsewhere = |lost: &&LostFlow<'_>| {
        let interface = lost.flow.key.interface;
        let route = observation.source_routes.get(&lost.flow.key.source.ip());
        route.is_some_and(|route| route.is_none() || (is_strict && *route != Some(interface)))
    };
    let is_explained = |lost: &&LostFlow<'_>| explains(rise, lost.lost);
    let certain: Vec<_> = lost.iter().filter(is_explained).filter(is_routed_elsewhere).cloned().collect();
    if !certain.is_empty() {
        return certain;
    }
    let total: u64 = lost.iter().map(|lost| lost.lost).sum();
    let is_outside = |lost: &&LostFlow<'_>| {
        let link = observation.link(lost.flow.key.interface);
        link.is_some_and(|link| !link.is_next_to(lost.flow.key.source.ip()))
    };
    match explains(rise, total) {
        true => lost,
        false => lost.iter().filter(is_explained).filter(is_outside).cloned().collect(),
    }
}

fn is_strict(observation: &Observation, settings: &[String; 2]) -> bool {
    settings.iter().filter_map(|name| observation.after.number(name)).max() == Some(1)
}

/// Judges by the counter alone, without a capture: packets were dropped, and nothing was received.
fn by_counter_alone(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (before, after) = observation
        .values(COUNTER)
        .filter(|(before, after)| after > before && interest.family() == Family::V4)?;
    let interface = observation.link_name(interest.interface);
    let finding = Finding::warning(Id::ReversePathFilter, format!(
            "The reverse path filter dropped {} packets while nothing for {} was received. Only a capture can show their sources.",
            after - before,
            interest.destination()
        ))
    .for_group(interest.destination())
    .change(EvidenceKind::Counter, format!("/proc/net/netstat {COUNTER}"), before, after)
    .with_remedies(turn_off(&interface));
    Some(finding)
}

/// Returns the narrowest remedies: a loose filter on the one interface, if there is a route to every source.
fn remedies(
    observation: &Observation,
    interface: &str,
    sources: impl IntoIterator<Item = IpAddr>,
) -> [Remedy; 2] {
    let has_route = |source| matches!(observation.source_routes.get(&source), Some(Some(_)));
    let is_strict = is_strict(observation, &settings(interface));
    match is_strict && sources.into_iter().all(has_route) {
        true => loosen(interface),
        false => turn_off(interface),
    }
}

/// Returns the remedy that accepts every source to which there is a route. The larger of the two settings is in effect.
fn loosen(interface: &str) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!("every IPv4 packet that arrives on {interface}"));
    let warning = "packets with forged source addresses are no longer dropped there, unless there is no route to the address";
    let [_, own] = settings(interface);
    remedies::sysctl(&own, 2, scope.warning(warning))
}

fn turn_off(interface: &str) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!(
        "every IPv4 packet that arrives on {interface}, and on interfaces without a setting of their own"
    ));
    let warning =
        "packets with forged source addresses are no longer dropped there, unless a firewall does that";
    let [all, own] = settings(interface);
    remedies::sysctls(&[&all, &own], 0, scope.warning(warning))
}

/// Returns the two settings that apply. The larger value is in effect, so both must be changed.
fn settings(interface: &str) -> [String; 2] {
    ["all", interface].map(|name| interface_setting(Family::V4, name, "rp_filter"))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, ETH1, flow, kernel_drop, membership, with_counters};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn outcome(received: u64, rise: u64) -> usize {
        let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], received);
        CAUSE.judge(&with_counters(observation, &[(COUNTER, rise)])).len()
    }

    #[test]
    fn filter_is_reported_only_if_its_drops_explain_the_loss() {
        assert_eq!((outcome(0, 10), outcome(10, 10), outcome(0, 0), outcome(0, 3)), (1, 0, 0, 0));
    }

    #[test]
    fn reason_of_the_kernel_outweighs_the_counter() {
        let outcome = |reason| {
            let mut observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
            observation.kernel_drops.drops = vec![kernel_drop(reason, "192.0.2.1:6000", TO, 10)];
            CAUSE.judge(&with_counters(observation, &[(COUNTER, 10)])).len()
        };
        assert_eq!((outcome("IP_RPFILTER"), outcome("NETFILTER_DROP")), (1, 0));
    }

    #[test]
    fn missing_source_is_reported_and_not_the_received_one() {
        let flows = || ["10.9.0.1:6000", "192.0.2.1:6000"].map(|source| flow(ETH0, source, TO)).to_vec();
        let mut observation = membership(TO, flows(), 10);
        observation.trial_mut().received.pop();
        let findings = CAUSE.judge(&with_counters(observation, &[(COUNTER, 10)]));
        assert_eq!(findings[0].subject.source.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn remedies_do_not_change_unicast_routes() {
        let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
        let findings = CAUSE.judge(&with_counters(observation, &[(COUNTER, 10)]));
        let tools: Vec<_> = findings[0].remedies.iter().map(|remedy| remedy.tool).collect();
        assert_eq!(tools, [crate::Tool::Sysctl; 2]);
    }

    #[test]
    fn strict_filter_is_loosened_on_the_one_interface_if_there_is_a_route_to_the_source() {
        let commands = |route: Option<mcast::InterfaceIndex>| {
            let observation = membership(TO, vec![flow(ETH0, "192.0.2.1:6000", TO)], 0);
            let mut observation = with_counters(observation, &[(COUNTER, 10)]);
            observation.after.settings.insert("net.ipv4.conf.all.rp_filter".into(), "1".into());
            observation.source_routes = [("192.0.2.1".parse().unwrap(), route)].into();
            let findings = CAUSE.judge(&observation);
            findings[0].remedies.iter().filter_map(crate::Remedy::command).collect::<Vec<_>>()
        };
        assert_eq!(commands(Some(ETH1))[0], "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
        assert!(commands(None)[0].starts_with("sysctl -w net.ipv4.conf.all.rp_filter=0"));
    }

    #[test]
    fn one_command_changes_both_settings_without_a_capture() {
        let mut observation = with_counters(membership(TO, vec![], 0), &[(COUNTER, 10)]);
        observation.wire.taps.clear();
        let findings = CAUSE.judge(&observation);
        let commands: Vec<_> = findings[0].remedies.iter().filter_map(crate::Remedy::command).collect();
        assert_eq!(commands[0], "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
        assert_eq!(commands.len(), 2, "{commands:?}");
    }
}
