//! An XDP program drops the datagrams, before a capture or the IP layer sees them.

use super::{Cause, Check, xdp_programs};
use crate::kernel_drops::{KernelDrop, evidence};
use crate::observation::{Interest, Observation};
use crate::{Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Interest(check), &["ip-link(8): xdp"])
    .offering(|on| vec![xdp_programs::detach(on.name(), "xdp")]);

fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let counted = xdp_programs::check(observation, interest);
    if counted.as_ref().is_some_and(|finding| finding.severity == Severity::Fault) {
        return counted;
    }
    by_reason(observation, interest).or(counted)
}

/// Judges by the packets whose drop the kernel reports.
fn by_reason(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let dropped = observation.dropped_flows(interest, KernelDrop::is_by_xdp);
    if dropped.is_empty() {
        return None;
    }
    let (interface, to) = (observation.link_name(interest.interface), interest.destination());
    let cause = format!(
        "An XDP program of {interface} drops the datagrams to {to}, so that neither a capture nor the IP layer sees them."
    );
    let advice = format!(
        "See which program it is: ip -details link show dev {interface}. Remove it with ip link set dev {interface} xdp off, or correct it. It may protect this machine from floods or balance load, and other traffic may depend on it."
    );
    let finding = Finding::fault(Id::XdpDrops, cause)
        .on_interface(&interface)
        .for_group(to)
        .with_all_evidence(evidence(dropped.iter().flat_map(|flow| flow.drops.iter().copied())))
        .advise(Tool::Ip, advice);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{kernel_drop, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn function_of_the_driver_shows_what_the_reason_does_not() {
        let findings = |function: Option<&str>, reason| {
            let mut observation = membership(TO, Vec::new(), 0);
            let drop = kernel_drop(reason, "10.9.0.1:6000", TO, 10);
            observation.kernel_drops.drops =
                vec![KernelDrop { function: function.map(str::to_owned), ..drop }];
            CAUSE.judge(&observation).len()
        };
        assert_eq!(findings(Some("veth_xdp_rcv_skb"), "NOT_SPECIFIED"), 1);
        assert_eq!((findings(None, "XDP"), findings(Some("ip_rcv"), "NOT_SPECIFIED")), (1, 0));
    }
}
