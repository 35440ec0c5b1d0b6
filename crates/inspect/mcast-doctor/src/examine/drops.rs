//! What the kernel dropped, in the observations and open questions of a report.

use std::collections::BTreeSet;

use super::summary;
use crate::kernel_drops::{DropDirection, KernelDrop};
use crate::observation::{Interest, Observation};
use crate::{LayerObservation, OpenQuestion, Report};

/// Adds the drops of packets to the interests, with the kernel's names for the reasons.
pub(super) fn add_to(report: &mut Report, observation: &Observation) {
    let interests = observation.interests();
    let flows: Vec<_> =
        interests.iter().flat_map(|interest| observation.dropped_flows(interest, |_| true)).collect();
    let arriving = flows.iter().flat_map(|flow| flow.drops.iter().copied());
    let leaving = observation.dropped_sending(|_| true);
    let lines: BTreeSet<_> = arriving.chain(leaving).map(|drop| line(observation, drop)).collect();
    let lines = lines.into_iter().map(|line| LayerObservation::new("kernel", line));
    summary::extend_limited(&mut report.observations, "kernel", "kinds of drops", lines);
    let drops = &observation.kernel_drops;
    if drops.uncounted > 0 {
        let what = format!(
            "{} further packets to groups dropped, of too many kinds to distinguish",
            drops.uncounted
        );
        report.observations.push(LayerObservation::new("kernel", what));
    }
    // The question matters only after a loss.
    let has_loss = |interest: &Interest<'_>| {
        observation.lost_flows(interest).iter().any(|lost| lost.status.depth.is_lost_here())
    };
    if let Some(refused) = drops.refused.as_ref().filter(|_| interests.iter().any(has_loss)) {
        report.open_questions.push(OpenQuestion::new("why the kernel drops datagrams", &refused.why));
    }
}

fn line(observation: &Observation, drop: &KernelDrop) -> String {
    let interface = drop.interface.map(|index| observation.link_name(index)).unwrap_or_default();
    let how = match drop.direction() {
        DropDirection::Incoming => "arrived on",
        DropDirection::Outgoing => "leaving by",
    };
    let KernelDrop { packets, source, destination, .. } = drop;
    format!(
        "{packets} packets from {source} to {destination} dropped, {how} {interface}: {}",
        drop.describe()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership};
    use crate::kernel_drops::KernelDrops;
    use crate::wire::Refusal;

    const TO: &str = "239.1.2.3:5000";

    fn report(received: u64, drops: KernelDrops) -> Report {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        observation.kernel_drops = drops;
        let mut report = Report::default();
        add_to(&mut report, &observation);
        report
    }

    #[test]
    fn missing_right_is_reported_only_after_a_loss() {
        let questions = |received| {
            let refused = Some(Refusal::from("it needs the right to trace"));
            report(received, KernelDrops { refused, ..KernelDrops::default() }).open_questions.len()
        };
        assert_eq!((questions(0), questions(10)), (1, 0));
    }

    #[test]
    fn drops_are_listed_with_the_reason_and_those_not_recorded_with_their_number() {
        let drops = vec![kernel_drop("XFRM_POLICY", "10.9.0.1:6000", TO, 10)];
        let report = report(0, KernelDrops { drops, uncounted: 7, refused: None });
        let [drop, uncounted] = &report.observations[..] else { panic!("{report:#?}") };
        let expected = "10 packets from 10.9.0.1:6000 to 239.1.2.3:5000 dropped, arrived on eth0: XFRM_POLICY (an IPsec policy)";
        assert_eq!(drop.message, expected);
        assert!(uncounted.message.starts_with("7 further packets"), "{}", uncounted.message);
    }

    #[test]
    fn only_some_of_many_forged_sources_are_listed() {
        let drops = (0..100).map(|last| kernel_drop("NEW", &format!("10.9.1.{last}:6000"), TO, 10)).collect();
        let report = report(0, KernelDrops { drops, ..KernelDrops::default() });
        assert_eq!(report.observations.last().unwrap().message, "and 80 more kinds of drops");
    }
}
