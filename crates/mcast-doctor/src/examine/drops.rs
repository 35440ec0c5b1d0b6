//! What the kernel dropped, in the observations and open questions of a report.

use std::collections::BTreeSet;

use crate::observation::{Interest, Observation};
use crate::{LayerObservation, OpenQuestion, Report};

/// Adds the drops of packets to the interests, with the kernel's names for the reasons.
pub(super) fn add_to(report: &mut Report, observation: &Observation) {
    let interests = observation.interests();
    let lines = interests.iter().flat_map(|interest| lines(observation, interest));
    report.observations.extend(
        lines.collect::<BTreeSet<_>>().into_iter().map(|(depth, what)| LayerObservation::new(depth, what)),
    );
    let drops = &observation.kernel_drops;
    if drops.uncounted > 0 {
        let what =
            format!("{} further packets to groups dropped, of too many kinds to tell apart", drops.uncounted);
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

fn lines(observation: &Observation, interest: &Interest<'_>) -> Vec<(String, String)> {
    let name =
        |interface: Option<_>| interface.map_or_else(String::new, |index| observation.link_name(index));
    let to = interest.destination();
    let incoming = observation.dropped_flows(interest, |_| true);
    let incoming =
        incoming.iter().flat_map(|flow| flow.drops.iter().map(|drop| (*drop, drop.arrived_on, "arrived on")));
    let outgoing = observation.dropped_sending(interest, |_| true).into_iter();
    let outgoing = outgoing.map(|drop| (drop, drop.interface, "leaving by"));
    let line = |(drop, interface, how): (&crate::kernel_drops::KernelDrop, _, _)| {
        let what = format!(
            "{} packets from {} to {to} dropped, {how} {}: {}",
            drop.packets,
            drop.source,
            name(interface),
            drop.describe()
        );
        ("kernel".to_owned(), what)
    };
    incoming.chain(outgoing).map(line).collect()
}
