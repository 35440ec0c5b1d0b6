//! An XDP program drops or diverts frames before packet taps see them: the device counts them, and no tap does.

use crate::observation::{Interest, Observation};
use crate::snapshot::XdpProgram;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool};

/// Fewer frames may have arrived before the tap was open.
const MIN_FRAMES: u64 = 10;

/// Returns the finding that the counters of the device and a tap without a filter prove.
pub(super) fn check(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let link = observation.link(interest.interface)?;
    let XdpProgram { id: program, mode } = link.xdp_program?;
    let (before, after) = (observation.before.link(link.index())?.statistics, link.statistics);
    let (seen, seen_bytes) = *observation.wire.unfiltered.get(&link.index())?;
    let received = after.received.saturating_sub(before.received);
    let bytes = after.received_bytes.saturating_sub(before.received_bytes);
    // Coalesced packets are fewer frames than the device received, but not fewer bytes.
    let missing = received.saturating_sub(seen);
    let is_dropping = missing >= MIN_FRAMES
        && bytes.saturating_sub(seen_bytes).saturating_mul(10) >= bytes.saturating_mul(3);
    if !is_dropping || !observation.arrivals(interest).is_empty() {
        return None;
    }
    let (name, to) = (link.name(), interest.destination());
    // Without any frame behind the program, nothing else can be what it lets through.
    let severity = if seen.saturating_mul(10) < received { Severity::Fault } else { Severity::Warning };
    let certainly = if severity == Severity::Fault { "drops or diverts" } else { "may drop or divert" };
    let finding = Finding::new(
        Id::XdpDrops,
        severity,
        format!("The XDP program {program} of {name} {certainly} the datagrams to {to}: {name} received {received} frames, and {missing} of them came no further than the program."),
    )
    .on_interface(name)
    .for_group(to)
    .change(EvidenceKind::Counter, format!("{name} rx_packets"), before.received, after.received)
    .evidence(EvidenceKind::Packet, name, format!("{seen} frames behind the program"))
    .evidence(EvidenceKind::Interface, format!("ip link show dev {name}"), format!("XDP program {program}"))
    .with_remedies([detach(name, mode)]).advise(Tool::Ip, format!("Detaching the program also ends what it does to other traffic. `bpftool prog show id {program}` names it: if it is needed, let it pass the group instead."));
    Some(finding)
}

/// Detaches the program of an interface.
pub(super) fn detach(interface: &str, mode: &str) -> Remedy {
    let scope = RemedyScope::new(format!("everything that arrives on {interface}"))
        .warning("what the program does to other traffic ends, too, such as protection or load balancing");
    Remedy::now(Tool::Ip, ["link", "set", "dev", interface, mode, "off"]).with_scope(scope)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, membership};
    use super::*;
    use crate::Severity::{Fault, Warning};

    /// Returns the severities of the findings if the device received 100 frames and a tap saw `seen` of them.
    fn severities(program: Option<u32>, seen: u64) -> Vec<Severity> {
        let mut observation = membership("239.1.2.3:5000", Vec::new(), 0);
        let link = &mut observation.after.links[1];
        link.xdp_program = program.map(|id| XdpProgram { id, mode: "xdpdrv" });
        (link.statistics.received, link.statistics.received_bytes) = (100, 10_000);
        observation.wire.unfiltered.insert(ETH0, (seen, seen * 100));
        observation
            .interests()
            .iter()
            .filter_map(|interest| check(&observation, interest))
            .map(|finding| finding.severity)
            .collect()
    }

    #[test]
    fn program_is_reported_if_frames_do_not_get_behind_it() {
        assert_eq!(severities(Some(5), 0), [Fault]);
        assert_eq!(severities(Some(5), 50), [Warning]);
        assert_eq!(severities(Some(5), 95), []);
        assert_eq!(severities(None, 0), []);
    }
}
