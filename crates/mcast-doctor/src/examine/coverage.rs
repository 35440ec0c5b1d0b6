//! What was examined, and what could not be.

use mcast::Family;

use crate::ExaminedPart;
use crate::observation::{ExaminationTarget, Observation};
use crate::snapshot::Counter;
use crate::wire::Tap;

/// Returns the parts of this machine and its network that an examination looked at, or could not look at.
pub(super) fn parts(observation: &Observation) -> Vec<ExaminedPart> {
    if matches!(observation.target, ExaminationTarget::File) {
        return vec![ExaminedPart::new("the frames in the file")];
    }
    let mut parts: Vec<_> = observation.wire.taps.iter().map(tapped).collect();
    parts.extend(match &observation.target {
        ExaminationTarget::Membership(trial) if trial.joined.is_empty() => {
            Some(ExaminedPart::new("a socket").without("the join failed"))
        }
        ExaminationTarget::Membership(_) => Some(ExaminedPart::new("a socket")),
        ExaminationTarget::Program(program) => {
            let part = ExaminedPart::new(format!("the sockets of {}", program.name));
            Some(if program.visible { part } else { part.without("some belong to other users") })
        }
        ExaminationTarget::Machine | ExaminationTarget::File => None,
    });
    parts.push(ExaminedPart::new("interfaces, routes and settings"));
    if !observation.is_about_machine() {
        let has_counters = observation.after.counters.value(Counter::InReceives.name(Family::V4)).is_some();
        let part = ExaminedPart::new("counters of IP and UDP");
        parts.push(if has_counters { part } else { part.without("the system has none") });
    }
    parts.extend(observation.after.parts.iter().cloned());
    parts
}

fn tapped(tap: &Tap) -> ExaminedPart {
    let part = ExaminedPart::new(format!("wire of {}", tap.name));
    match &tap.refused {
        Some(refusal) => part.without(&refusal.why),
        None if tap.dropped > 0 => part.without(format!("the capture dropped {} frames", tap.dropped)),
        None => part,
    }
}
