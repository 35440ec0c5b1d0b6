//! The device's ring or the kernel's queue behind it is full: datagrams are lost before the IP layer.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    if wanted.is_empty() {
        return Vec::new();
    }
    let queue = seen.after.backlog_dropped.saturating_sub(seen.before.backlog_dropped);
    let mut findings = Vec::new();
    // The count is the whole machine's: only together with a loss does it say something here.
    if queue > 0
        && wanted.iter().filter_map(|wanted| seen.lost(wanted)).any(crate::observation::Lost::is_serious)
    {
        findings.push(
            Finding::new(
                Id::BacklogDrops,
                Severity::Warning,
                "The kernel's queue between device and IP layer was full, and packets were dropped from it.",
            )
            .because(Evidence::change(
                Sort::Counter,
                "/proc/net/softnet_stat, second column",
                seen.before.backlog_dropped,
                seen.after.backlog_dropped,
            ))
            .remedied(remedies::sysctl("net.core.netdev_max_backlog", 10_000)),
        );
    }
    let mut interfaces: Vec<_> = wanted.iter().map(|wanted| wanted.interface).collect();
    interfaces.dedup();
    findings.extend(interfaces.into_iter().filter_map(|interface| ring(seen, interface)));
    findings
}

fn ring(seen: &Observation, interface: u32) -> Option<Finding> {
    let (before, after) = (seen.before.link(interface)?, seen.after.link(interface)?);
    let missed = (before.statistics.receive_missed, after.statistics.receive_missed);
    (missed.1 > missed.0).then(|| {
        Finding::new(
            Id::BacklogDrops,
            Severity::Warning,
            format!("The ring of {} was full: the device dropped packets that the kernel did not fetch in time.", after.name),
        )
        .on(&after.name)
        .because(Evidence::change(Sort::Counter, format!("{} rx_missed_errors", after.name), missed.0, missed.1))
        .remedied([
            Remedy::now(Tool::Ethtool, format!("ethtool -G {} rx 4096", after.name)),
            Remedy::advice(Tool::Program, "One group is one flow, and one flow is one queue of the device: spread a load over several groups or ports."),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, flow, membership};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn drops_of_the_machine_are_told_of_only_where_something_is_missing() {
        let with = |heard| {
            let mut seen = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], heard);
            seen.after.backlog_dropped = 5;
            check(&seen).len()
        };
        assert_eq!((with(10), with(5)), (0, 1));
    }

    #[test]
    fn a_ring_that_was_full_is_told_of() {
        let mut seen = membership(TO, Vec::new(), 0);
        seen.after.links[2].statistics.receive_missed = 3;
        assert_eq!(check(&seen), [], "another interface's");
        seen.after.links[1].statistics.receive_missed = 3;
        assert_eq!(check(&seen).len(), 1);
    }
}
