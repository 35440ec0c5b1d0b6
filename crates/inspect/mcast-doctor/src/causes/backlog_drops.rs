//! The device's ring or the kernel's backlog queue is full: datagrams are lost before the IP layer.

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::kernel_drops::evidence;
use crate::observation::{Interest, Observation};
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["sysctl/net: netdev_max_backlog"])
    .offering(|on| [&enlarge_backlog()[..], &[enlarge_ring(on.name())]].concat());

fn check(observation: &Observation) -> Vec<Finding> {
    let interests = observation.interests();
    if interests.is_empty() {
        return Vec::new();
    }
    let queue = observation.after.backlog_dropped.saturating_sub(observation.before.backlog_dropped);
    let mut findings: Vec<_> =
        interests.iter().filter_map(|interest| of_interest(observation, interest)).collect();
    // The counter covers the whole machine, so it is evidence only together with a loss.
    if findings.is_empty()
        && queue > 0
        && observation.expected_flows().iter().any(|flow| flow.status.depth.is_lost_here())
    {
        findings.push(
            Finding::warning(
                Id::BacklogDrops,
                "The kernel's queue between the device and the IP layer overflowed and dropped packets.",
            )
            .change(
                EvidenceKind::Counter,
                "/proc/net/softnet_stat, second column",
                observation.before.backlog_dropped,
                observation.after.backlog_dropped,
            )
            .with_remedies(enlarge_backlog()),
        );
    }
    let mut interfaces: Vec<_> = interests.iter().map(|interest| interest.interface).collect();
    interfaces.dedup();
    findings.extend(interfaces.into_iter().filter_map(|interface| ring(observation, interface)));
    findings
}

/// Returns the finding about datagrams of an interest for which the kernel gives the queue as the reason.
fn of_interest(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let flows = observation.dropped_flows(interest, |drop| drop.reason == "CPU_BACKLOG");
    let drops: Vec<_> = flows.iter().flat_map(|flow| flow.drops.iter().copied()).collect();
    let (interface, to) = (observation.link_name(drops.first()?.arrived_on?), interest.destination());
    let cause = format!(
        "The kernel's queue between the device {interface} and the IP layer overflowed and dropped datagrams to {to}."
    );
    let finding = Finding::fault(Id::BacklogDrops, cause)
        .on_interface(interface)
        .for_group(to)
        .with_all_evidence(evidence(drops))
        .with_remedies(enlarge_backlog());
    Some(finding)
}

fn enlarge_backlog() -> [Remedy; 2] {
    let scope = RemedyScope::new("everything that arrives on this machine, on any interface");
    remedies::sysctl("net.core.netdev_max_backlog", 10_000, scope)
}

fn enlarge_ring(interface: &str) -> Remedy {
    Remedy::now(Tool::Ethtool, ["-G", interface, "rx", "4096"]).with_scope(
        RemedyScope::new(format!("everything that arrives on {interface}"))
            .warning("many devices lose their link for some seconds, and with it a remote session"),
    )
}

fn ring(observation: &Observation, interface: InterfaceIndex) -> Option<Finding> {
    let (before, after) = (observation.before.link(interface)?, observation.after.link(interface)?);
    let missed = (before.statistics.receive_missed, after.statistics.receive_missed);
    (missed.1 > missed.0).then(|| {
        Finding::warning(
            Id::BacklogDrops,
            format!("The receive ring of {} overflowed: the device dropped packets that the kernel did not fetch in time.", after.name()),
        )
        .on_interface(after.name())
        .change(EvidenceKind::Counter, format!("{} rx_missed_errors", after.name()), missed.0, missed.1)
        .with_remedies([enlarge_ring(after.name())]).advise(Tool::Program, "The device puts all datagrams of one flow into one queue: spread the load over several groups or ports.")
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, kernel_drop, membership, severities};
    use super::*;
    use crate::Severity;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn machine_wide_drops_are_reported_only_with_a_loss() {
        let with = |received| {
            let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
            observation.after.backlog_dropped = 5;
            check(&observation).len()
        };
        assert_eq!((with(10), with(5)), (0, 1));
    }

    #[test]
    fn reason_of_the_kernel_is_proof() {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], 5);
        observation.kernel_drops.drops = vec![kernel_drop("CPU_BACKLOG", "10.9.0.1:6000", TO, 5)];
        observation.after.backlog_dropped = 5;
        assert_eq!(severities(&CAUSE, &observation), [Severity::Fault]);
    }

    #[test]
    fn full_ring_is_reported() {
        let mut observation = membership(TO, Vec::new(), 0);
        observation.after.links[2].statistics.receive_missed = 3;
        assert_eq!(check(&observation), [], "the ring of another interface");
        observation.after.links[1].statistics.receive_missed = 3;
        assert_eq!(check(&observation).len(), 1);
    }
}
