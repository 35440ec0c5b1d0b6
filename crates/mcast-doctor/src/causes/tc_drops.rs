//! A traffic control filter drops the datagrams, before the IP layer gets them or after it has sent them.

use super::{Cause, Check};
use crate::kernel_drops::{DroppedFlow, KernelDrop, evidence};
use crate::observation::{Interest, Observation};
use crate::{Finding, Id, Remedy, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["tc(8)", "tc-bpf(8)"]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let is_filter = |drop: &KernelDrop| drop.reason.starts_with("TC_");
    let arriving = observation.dropped_flows(interest, is_filter);
    let packets: u64 = arriving.iter().map(|flow| flow.packets).sum();
    let to = interest.destination();
    if packets > 0 {
        let interface = observation.link_name(interest.interface);
        let cause = format!(
            "A traffic control filter (tc) of {interface} drops the datagrams to {to} when they arrive, before the IP layer sees them."
        );
        let drops = arriving.iter().flat_map(|flow: &DroppedFlow<'_>| flow.drops.iter().copied());
        return Some(finding(&interface, interest, cause, "ingress").with_all_evidence(evidence(drops)));
    }
    let mut leaving = observation.dropped_sending(interest, is_filter);
    let mut what = format!("the datagrams to {to} that this machine sends, so they do not leave it");
    if leaving.is_empty() {
        leaving = observation.dropped_reports(interest);
        leaving.retain(|drop| is_filter(drop));
        let protocol = interest.protocol();
        what = format!(
            "the {protocol} reports of this machine, so switches and routers do not learn that it has joined {}",
            interest.group
        );
    }
    let interface = observation.link_name(leaving.first()?.interface?);
    let cause = format!("A traffic control filter (tc) of {interface} drops {what}.");
    Some(finding(&interface, interest, cause, "egress").with_all_evidence(evidence(leaving)))
}

fn finding(interface: &str, interest: &Interest<'_>, cause: String, direction: &str) -> Finding {
    let advice = format!(
        "List the filters: tc -s filter show dev {interface} {direction}, and those attached by BPF: bpftool net show dev {interface}. Delete the one that drops: tc filter del dev {interface} {direction} pref PREF. The network plugin of a container platform may have put it there, and other traffic may depend on it: change the plugin's policy instead."
    );
    Finding::new(Id::TcDrops, Severity::Fault, cause)
        .on_interface(interface)
        .for_group(interest.destination())
        .with_remedies([Remedy::advice(Tool::Tc, advice)])
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
