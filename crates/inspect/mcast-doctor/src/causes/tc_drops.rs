//! A traffic control filter drops the datagrams, before the IP layer receives them or after it has sent them.

use std::fmt;

use super::{Cause, Check, tc_filters};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{Interest, Observation, explains};
use crate::wire::Flow;
use crate::{Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["tc(8)", "tc-bpf(8)"])
    .offering(|on| vec![tc_filters::delete(on.name(), "ingress", "PREFERENCE")]);

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    let counted = tc_filters::check(observation);
    let is_counted = |finding: &Finding| {
        let group = &finding.subject.group;
        counted.iter().any(|counted| counted.subject.group.is_none() || counted.subject.group == *group)
    };
    let by_reason = interests.iter().filter_map(|interest| arriving(observation, interest));
    let by_reason = by_reason.chain(leaving(observation)).filter(|finding| !is_counted(finding));
    let mut findings: Vec<_> = counted.iter().cloned().chain(by_reason).collect();
    // The same filter drops the reports.
    if findings.is_empty() {
        findings.extend(interests.iter().filter_map(|interest| reports(observation, interest)));
    }
    findings
}

/// Returns the finding about a flow whose group is not joined where it arrives.
pub(super) fn ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let drops = observation.kernel_drops.drops.iter();
    let drops: Vec<_> = drops.filter(|drop| is_filter(drop) && drop.is_of(&flow.key)).collect();
    let dropped = drops.iter().map(|drop| drop.packets).sum();
    let by_reason = explains(dropped, flow.datagrams).then(|| {
        let (interface, to) = (observation.link_name(flow.key.interface), flow.destination());
        let what = format!("the datagrams to {to} when they arrive, before the IP layer sees them");
        finding(&interface, to, &what, "ingress").with_all_evidence(evidence(drops))
    });
    by_reason.or_else(|| tc_filters::ahead(observation, flow))
}

fn is_filter(drop: &KernelDrop) -> bool {
    drop.reason.starts_with("TC_")
}

fn arriving(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.dropped_flows(interest, is_filter);
    let to = interest.destination();
    let drops: Vec<_> = flows.iter().flat_map(|flow| flow.drops.iter().copied()).collect();
    let interface = observation.link_name(drops.first()?.arrived_on?);
    let what = format!("the datagrams to {to} when they arrive, before the IP layer sees them");
    Some(finding(&interface, to, &what, "ingress").with_all_evidence(evidence(drops)))
}

fn leaving(observation: &Observation) -> Option<Finding> {
    let drops = observation.dropped_sending(is_filter);
    let first = drops.first()?;
    let (interface, to) = (observation.link_name(first.interface?), first.destination);
    let what = format!("the datagrams to {to} that this machine sends, so they do not leave it");
    Some(finding(&interface, to, &what, "egress").with_all_evidence(evidence(drops)))
}

fn reports(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let mut drops = observation.dropped_reports(interest);
    drops.retain(|drop| is_filter(drop));
    let interface = observation.link_name(drops.first()?.interface?);
    let (protocol, group) = (interest.protocol(), interest.group);
    let what = format!(
        "the {protocol} reports of this machine, so switches and routers do not learn that it has joined {group}"
    );
    Some(finding(&interface, group, &what, "egress").with_all_evidence(evidence(drops)))
}

fn finding(interface: &str, to: impl fmt::Display, what: &str, direction: &str) -> Finding {
    let advice = format!(
        "List the filters: tc -s filter show dev {interface} {direction}, and those attached by BPF: bpftool net show dev {interface}. Delete the one that drops: tc filter del dev {interface} {direction} pref PREF. The network plugin of a container platform may have put it there, and other traffic may depend on it: change the plugin's policy instead."
    );
    let cause = format!("A traffic control filter (tc) of {interface} drops {what}.");
    Finding::fault(Id::TcDrops, cause).on_interface(interface).for_group(to).advise(Tool::Tc, advice)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    fn observation(received: u64, drop: KernelDrop) -> Observation {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        observation.kernel_drops.drops = vec![drop];
        observation
    }

    fn causes(observation: &Observation) -> Vec<String> {
        CAUSE.judge(observation).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn direction_follows_from_where_the_packet_came_from() {
        let arriving = kernel_drop("TC_INGRESS", "10.9.0.1:6000", TO, 10);
        let [cause] = &causes(&observation(0, arriving.clone()))[..] else { panic!("no finding") };
        assert!(cause.contains("of eth0 drops the datagrams to 239.1.2.3:5000 when they arrive"), "{cause}");
        let leaving = KernelDrop { reason: "TC_EGRESS".into(), arrived_on: None, ..arriving };
        let [cause] = &causes(&observation(10, leaving))[..] else { panic!("no finding") };
        assert!(cause.contains("that this machine sends"), "{cause}");
    }

    #[test]
    fn drops_of_other_datagrams_or_for_other_reasons_are_no_evidence() {
        let drop = |reason, from, to| observation(0, kernel_drop(reason, from, to, 10));
        assert_eq!(causes(&drop("NETFILTER_DROP", "10.9.0.1:6000", TO)), Vec::<String>::new());
        assert_eq!(causes(&drop("TC_INGRESS", "10.9.0.1:6000", "239.1.2.3:5001")), Vec::<String>::new());
        let received = observation(10, kernel_drop("TC_INGRESS", "10.9.0.1:6000", TO, 10));
        assert_eq!(causes(&received), Vec::<String>::new());
    }
}
