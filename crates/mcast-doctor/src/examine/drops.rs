//! What the kernel dropped, in the observations and open questions of a report.

use std::collections::BTreeSet;

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
    report.observations.extend(lines.into_iter().map(|line| LayerObservation::new("kernel", line)));
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
        report.unknown.push(OpenQuestion::new("why the kernel drops datagrams", &refused.why));
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
