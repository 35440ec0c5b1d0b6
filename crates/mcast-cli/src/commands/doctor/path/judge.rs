//! Derives findings about a path from the replies to probes.

use mcast::{Destination, ErrorKind};
use mcast_doctor::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};
use mcast_measure::{Responder, SizeLimit};

use super::family_of;
use super::probe::ProbeResult;
use crate::output::count_of;

/// Returns the findings of one group. If the group is a default one and the other family has answered, silence is
/// not a fault.
pub(super) fn findings(probed: &ProbeResult, is_optional: bool) -> Vec<Finding> {
    let listeners = probed.path.responders();
    if listeners.is_empty() {
        return silence(probed, is_optional).into_iter().collect();
    }
    let each = listeners.iter().flat_map(|listener| {
        [size(probed, listener), hop_limit(probed, listener), duplicates(probed, listener)]
    });
    each.flatten().collect()
}

/// Returns the finding of a missing route, if that is why no probes were sent to this group.
pub(super) fn no_route(destination: &Destination, failure: &anyhow::Error) -> Option<Finding> {
    let error = failure.downcast_ref::<mcast::Error>().filter(|error| error.kind() == ErrorKind::NoRoute)?;
    let family = family_of(destination);
    let cause = format!("There is no {family} route for groups, so {family} was not probed.");
    let finding = Finding::new(Id::NoRoute, Severity::Fault, cause)
        .with_evidence(Evidence::new(EvidenceKind::Answer, "send", error))
        .with_remedies(error.remedy().map(|remedy| Remedy::advice(Tool::Network, remedy)));
    Some(finding.for_group(destination.address))
}

fn silence(probed: &ProbeResult, is_optional: bool) -> Option<Finding> {
    let sent: u64 = (0..probed.path.cases().len()).map(|case| probed.path.sent(case)).sum();
    if sent == 0 {
        return None;
    }
    let severity = if is_optional { Severity::Warning } else { Severity::Fault };
    let advice = match probed.destination.address.group.scope().stays_on_link() {
        true => {
            "check that `mcast doctor --listen` runs on the other machine, in the same network, with the same group: no router forwards a link-local group"
        }
        false => {
            "check that `mcast doctor --listen` runs on the other machine, with the same group; if there are \
             routers in between, add -t 16"
        }
    };
    let cause = format!("Nobody answered probes to {}.", probed.destination.address);
    let finding = Finding::new(Id::NothingArrives, severity, cause)
        .with_evidence(Evidence::new(
            EvidenceKind::Packet,
            "probes sent, answers received",
            format!("{sent}, 0"),
        ))
        .with_remedies([Remedy::advice(Tool::Network, advice)]);
    Some(about(finding, probed))
}

fn size(probed: &ProbeResult, listener: &Responder) -> Option<Finding> {
    let SizeLimit::Between { passes, lost } = probed.path.size_limit(listener, probed.highest) else {
        return None;
    };
    let is_fragmented = lost > probed.frame;
    let (id, severity, cause) = match is_fragmented {
        true => (
            Id::FragmentsLost,
            Severity::Warning,
            format!(
                "Datagrams that need more than one frame do not reach {}: their fragments are lost.",
                listener.address
            ),
        ),
        false => (
            Id::MtuTooSmall,
            Severity::Fault,
            format!(
                "Datagrams of {lost} bytes do not reach {}, although they fit into one frame here.",
                listener.address
            ),
        ),
    };
    let advice = format!("send datagrams of at most {passes} bytes of payload");
    let finding = Finding::new(id, severity, cause)
        .with_evidence(of_size(probed, listener, passes))
        .with_evidence(of_size(probed, listener, lost))
        .with_remedies([Remedy::advice(Tool::Program, advice)]);
    Some(about(finding, probed))
}

fn of_size(probed: &ProbeResult, listener: &Responder, size: usize) -> Evidence {
    let cases = probed.path.cases();
    let case = cases.iter().position(|case| case.size == size && case.hop_limit == probed.highest);
    let (received, sent) =
        case.map_or((0, 0), |case| (listener.multicast(case).received(), probed.path.sent(case)));
    Evidence::new(
        EvidenceKind::Packet,
        format!("probes of {size} bytes that arrived"),
        format!("{received} of {sent}"),
    )
}

fn hop_limit(probed: &ProbeResult, listener: &Responder) -> Option<Finding> {
    let least = probed.path.min_hop_limit(listener).filter(|least| *least > 1)?;
    let hops = listener.hops.map_or(0, |(fewest, _)| fewest);
    // Hop limits are doubled: a value between the last one that failed and this one may suffice.
    let needed = hops.saturating_add(1);
    if least / 2 >= needed {
        let cause = format!(
            "{} is {} away, but datagrams with a hop limit of {} do not reach it: a router requires a higher \
             one.",
            listener.address,
            count_of(hops.into(), "router"),
            least / 2
        );
        let finding = Finding::new(Id::TtlThreshold, Severity::Warning, cause)
            .with_evidence(Evidence::new(EvidenceKind::Packet, "the lowest hop limit that arrived", least))
            .with_remedies([Remedy::advice(
                Tool::Program,
                format!("send with a hop limit of at least {least}"),
            )]);
        return Some(about(finding, probed));
    }
    let cause = format!(
        "{} is {} away: only datagrams with a hop limit of at least {needed} reach it.",
        listener.address,
        count_of(hops.into(), "router"),
    );
    let finding = Finding::new(Id::TtlTooSmall, Severity::Note, cause)
        .with_evidence(Evidence::new(EvidenceKind::Packet, "the lowest hop limit that arrived", least))
        .with_remedies([Remedy::advice(
            Tool::Program,
            format!("send with a hop limit of at least {needed}"),
        )]);
    Some(about(finding, probed))
}

fn duplicates(probed: &ProbeResult, listener: &Responder) -> Option<Finding> {
    let cases = 0..probed.path.cases().len();
    let (received, again) = cases.fold((0, 0), |(received, again), case| {
        (received + listener.multicast(case).received(), again + listener.multicast(case).duplicated())
    });
    // A few duplicates by chance prove nothing.
    if again * 2 < received {
        return None;
    }
    let evidence = Evidence::new(
        EvidenceKind::Packet,
        "probes that arrived, and duplicates",
        format!("{received}, {again}"),
    );
    let (id, cause) = match listener.interfaces.len() {
        1 => (
            Id::DuplicatePath,
            format!("Datagrams reach {} more than once on one interface.", listener.address),
        ),
        many => (
            Id::DuplicateInterfaces,
            format!(
                "{} has joined on {many} interfaces, and receives the same datagrams on each.",
                listener.address
            ),
        ),
    };
    let advice = match id {
        Id::DuplicateInterfaces => "join on one of the interfaces there",
        _ => "look for what duplicates them: a loop, a mirrored port, a relay beside a router",
    };
    let finding = Finding::new(id, Severity::Warning, cause)
        .with_evidence(evidence)
        .with_remedies([Remedy::advice(Tool::Network, advice)]);
    Some(about(finding, probed))
}

fn about(finding: Finding, probed: &ProbeResult) -> Finding {
    let finding = finding.for_group(probed.destination.address);
    match &probed.interface {
        Some(interface) => finding.on_interface(interface),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcast_measure::ProbeSession;
    use mcast_measure::wire::{Message, ProbeReply, SessionId};

    use super::super::plan;
    use super::*;

    const FRAME: usize = 1_472;

    /// Returns the findings if these sizes and hop limits arrive, over `hops` routers, `times` times each.
    fn findings_of(
        highest: u8,
        arrives: impl Fn(usize, u8) -> bool,
        hops: u8,
        times: u64,
        interfaces: u32,
    ) -> Vec<Id> {
        let mut path = ProbeSession::path_test(SessionId(1), plan::cases(FRAME, highest));
        for (number, case) in path.cases().to_vec().into_iter().enumerate() {
            let probe = path.probe(number, Duration::ZERO).unwrap();
            let (header, _) = Message::decode(&probe).unwrap();
            path.record_probe(number, Duration::ZERO);
            for time in 0..times * u64::from(arrives(case.size, case.hop_limit)) {
                let reply = ProbeReply {
                    responder: 1,
                    interface: 1 + time as u32 % interfaces,
                    length: case.size as u32,
                    hop_limit: case.hop_limit,
                    arrival_hop_limit: Some(case.hop_limit.saturating_sub(hops)),
                    by_unicast: false,
                    unicast_port: 0,
                    joined: Duration::ZERO,
                };
                path.record(&reply.encode(header, 0), [10, 0, 0, 2].into(), false, Duration::ZERO).unwrap();
            }
        }
        let destination = "239.1.2.3:5000".parse().unwrap();
        let probed = ProbeResult { destination, interface: None, frame: FRAME, highest, path };
        findings(&probed, false).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn a_good_path_has_no_findings() {
        assert_eq!(findings_of(1, |_, _| true, 0, 1, 1), []);
        assert_eq!(findings_of(64, |_, _| true, 0, 1, 1), []);
    }

    #[test]
    fn sizes_within_and_beyond_a_frame_have_different_causes() {
        assert_eq!(findings_of(1, |size, _| size <= FRAME, 0, 1, 1), [Id::FragmentsLost]);
        assert_eq!(findings_of(1, |size, _| size < FRAME, 0, 1, 1), [Id::MtuTooSmall]);
        assert_eq!(findings_of(1, |size, _| size != 1_200, 0, 1, 1), []);
    }

    #[test]
    fn a_router_needs_one_hop_and_a_threshold_more() {
        assert_eq!(findings_of(16, |_, hops| hops > 1, 1, 1, 1), [Id::TtlTooSmall]);
        assert_eq!(findings_of(16, |_, hops| hops > 2, 2, 1, 1), [Id::TtlTooSmall]);
        assert_eq!(findings_of(64, |_, hops| hops > 16, 1, 1, 1), [Id::TtlThreshold]);
    }

    #[test]
    fn the_cause_of_duplicates_depends_on_the_number_of_interfaces() {
        assert_eq!(findings_of(1, |_, _| true, 0, 2, 1), [Id::DuplicatePath]);
        assert_eq!(findings_of(1, |_, _| true, 0, 2, 2), [Id::DuplicateInterfaces]);
    }

    #[test]
    fn silence_is_a_fault() {
        assert_eq!(findings_of(1, |_, _| false, 0, 1, 1), [Id::NothingArrives]);
    }
}
