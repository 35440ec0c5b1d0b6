//! What was examined, and what could not be.

use mcast::Family;

use crate::ExaminedPart;
use crate::observation::{ExaminationTarget, Observation};
use crate::snapshot::Counter;
use crate::wire::Tap;

/// Returns the parts of this machine and its network that an examination looked at, or could not look at.
pub(super) fn parts(observation: &Observation) -> Vec<ExaminedPart> {
    if matches!(observation.target, ExaminationTarget::File) {
        let frames = ExaminedPart::new("the frames in the file");
        let incomplete = observation.wire.taps.iter().filter(|tap| tap.dropped > 0).map(tapped);
        let parts = std::iter::once(frames).chain(incomplete).chain(unrecorded(observation));
        return parts.chain(unnumbered_stream(observation)).collect();
    }
    let mut parts: Vec<_> = observation.wire.taps.iter().map(tapped).collect();
    parts.extend(unrecorded(observation));
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
    if !observation.is_about_machine() && cfg!(any(target_os = "linux", target_os = "android")) {
        let part = ExaminedPart::new("drops of the kernel");
        parts.push(match &observation.kernel_drops.refused {
            Some(refusal) => part.without(&refusal.why),
            None => part,
        });
    }
    parts.extend(observation.after.parts.iter().cloned());
    parts.extend(unnumbered_stream(observation));
    parts
}

/// Returns the captured frames that were not recorded, if there are any.
fn unrecorded(observation: &Observation) -> Option<ExaminedPart> {
    let frames = observation.wire.unrecorded;
    let part = || ExaminedPart::new(format!("{frames} captured frames"));
    (frames > 0).then(|| part().without("they are of more flows, fragments or messages than are recorded"))
}

/// Returns the gap that a stream leaves whose payloads have no sequence numbers.
fn unnumbered_stream(observation: &Observation) -> Option<ExaminedPart> {
    /// A shorter stream is not judged.
    const ESTABLISHED: u64 = 32;
    let flows = observation.all_arrivals();
    let unnumbered =
        flows.iter().find(|flow| flow.datagrams >= ESTABLISHED && flow.numbering.statistics().is_none())?;
    let what =
        format!("loss before this machine from {} to {}", unnumbered.key.source, unnumbered.destination());
    Some(ExaminedPart::new(what).without("payloads without sequence numbers that mcast recognizes"))
}

fn tapped(tap: &Tap) -> ExaminedPart {
    let part = ExaminedPart::new(format!("wire of {}", tap.name));
    match &tap.refused {
        Some(refusal) => part.without(&refusal.why),
        None if tap.dropped > 0 => part.without(format!("the capture dropped {} frames", tap.dropped)),
        None => part,
    }
}
