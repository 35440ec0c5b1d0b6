//! Datagrams arrive in fragments, and fragments are lost: in the network, or before the IP layer.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast::{Group, SourceFilter};

use super::{Cause, Check};
use crate::kernel_drops::{FILTERED, KernelDrop};
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::snapshot::Counter;
use crate::wire::FragmentedDatagram;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 8085 section 3.2", "RFC 8900"]);

/// The time after which a missing fragment is considered lost.
const FRAGMENT_TIMEOUT: Duration = Duration::from_millis(500);

fn check(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    if matches!(observation.target, ExaminationTarget::File) {
        interests = fragmented_groups(observation);
    }
    interests.iter().filter_map(|interest| judge(observation, interest)).collect()
}

/// Returns every group that arrives in fragments in a capture file.
fn fragmented_groups(observation: &Observation) -> Vec<Interest<'_>> {
    static ANY: SourceFilter = SourceFilter::ANY;
    let ports: BTreeSet<_> = observation
        .wire
        .fragmented
        .iter()
        .filter_map(|datagram| Some((datagram.interface, Group::new(datagram.group).ok()?, datagram.port?)))
        .collect();
    let interest =
        |(interface, group, port)| Interest { group, port, interface, sources: &ANY, socket: None };
    ports.into_iter().map(interest).collect()
}

/// Returns whether most of the datagrams that were complete on the wire are missing at the socket. Connection
/// tracking reassembles IPv6 without counting, so the counters prove nothing about another program's socket; what the kernel
/// states that its packet filter dropped does.
fn are_missing(
    observation: &Observation,
    interest: &Interest<'_>,
    all: &[&FragmentedDatagram],
    complete: u64,
) -> bool {
    let sources: BTreeSet<_> = all.iter().map(|datagram| datagram.source).collect();
    let Some(trial) = observation.trial() else {
        let is_dropped = |drop: &&KernelDrop| {
            drop.reason == FILTERED
                && drop.arrived_on == Some(interest.interface)
                && sources.contains(&drop.source.ip())
                && drop.is_to(interest.destination())
        };
        let dropped = observation.kernel_drops.drops.iter().filter(is_dropped).map(|drop| drop.packets);
        return interest.group.addr().is_ipv4() || dropped.sum::<u64>() * 2 >= complete;
    };
    let received = trial
        .received
        .iter()
        .filter(|count| count.interface == interest.interface && sources.contains(&count.source.ip()));
    received.map(|count| count.datagrams).sum::<u64>() * 2 < complete
}

fn judge(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let (_, until) = observation.wire.span?;
    let here = |datagram: &&FragmentedDatagram| {
        !datagram.outgoing
            && datagram.interface == interest.interface
            && datagram.group == interest.group.addr()
            && datagram.port.is_none_or(|port| port == interest.port)
    };
    let all: Vec<_> = observation.wire.fragmented.iter().filter(here).collect();
    let complete = all.iter().filter(|datagram| datagram.is_complete()).count() as u64;
    let broken = all
        .iter()
        .filter(|datagram| {
            !datagram.is_complete()
                && until.duration_since(datagram.last).is_ok_and(|ago| ago >= FRAGMENT_TIMEOUT)
        })
        .count() as u64;
    let assembled = observation.rise(Counter::Reassembled, interest.family());
    let unassembled = complete.saturating_sub(assembled.unwrap_or(complete));
    let in_network =
        broken > 0 && broken * 20 >= complete + broken && observation.wire.is_complete(interest.interface);
    let before_ip_layer =
        complete > 0 && unassembled * 2 >= complete && are_missing(observation, interest, &all, complete);
    if !in_network && !before_ip_layer {
        return None;
    }
    let interface = observation.link_name(interest.interface);
    let location = if in_network {
        "in the network"
    } else {
        "between the wire and the IP layer, where a filter drops them"
    };
    let source = all.first().map(|datagram| datagram.source)?;
    let counters = [Counter::ReassemblyRequests, Counter::Reassembled].into_iter();
    let counters = counters.filter_map(|counter| observation.counter_change(counter, interest.family()));
    let largest = if interest.group.addr().is_ipv4() { 1472 } else { 1452 };
    let finding = Finding::fault(
        Id::FragmentsLost,
        format!("Datagrams to {} are larger than a packet and arrive in fragments, some of which are lost {location}.", interest.destination()),
    )
    .on_interface(&interface)
    .for_group(interest.destination())
    .from_source(source)
    .evidence(EvidenceKind::Packet, &interface, format!("{complete} datagrams with all fragments, {broken} incomplete"))
    .with_all_evidence(counters)
    .advise(Tool::Program, format!("On Ethernet, send at most {largest} bytes per datagram to avoid fragmentation.")).advise(Tool::Network, "Let fragments pass the packet filters on the path: only the first fragment carries a port.");
    Some(finding)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use mcast_packet::Fragment;

    use super::super::fixtures::{ETH0, begin, flow, membership, severities, with_counters};
    use super::*;
    use crate::Severity;

    const TO: &str = "239.1.2.3:5000";

    /// Returns a datagram of 2000 bytes whose fragments arrived at a time, all of them or only the first.
    fn datagram(identification: u32, is_whole: bool, time: SystemTime) -> FragmentedDatagram {
        let addresses = ("10.9.0.1".parse().unwrap(), "239.1.2.3".parse().unwrap());
        let mut datagram = FragmentedDatagram::new(ETH0, false, addresses, identification, time);
        datagram.port = Some(5000);
        datagram.add(Fragment { identification, offset: 0, more: true }, 1480, time);
        if is_whole {
            datagram.add(Fragment { identification, offset: 1480, more: false }, 528, time);
        }
        datagram
    }

    /// Returns an observation of 20 datagrams in fragments, of which the first are incomplete.
    fn observed(incomplete: u32, received: u64) -> Observation {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        observation.wire.fragmented =
            (0..20).map(|number| datagram(number, number >= incomplete, begin())).collect();
        observation
    }

    fn in_file(mut observation: Observation) -> Observation {
        observation.target = ExaminationTarget::File;
        observation
    }

    #[test]
    fn capture_shows_fragments_that_the_network_lost() {
        assert_eq!(severities(&CAUSE, &in_file(observed(1, 0))), [Severity::Fault]);
        assert_eq!(severities(&CAUSE, &in_file(observed(0, 0))), []);
        let [finding] = &check(&in_file(observed(5, 0)))[..] else { panic!() };
        assert!(finding.cause.contains("some of which are lost in the network"), "{}", finding.cause);
        assert_eq!(finding.subject.group.as_deref(), Some(TO));
    }

    #[test]
    fn last_fragments_of_a_capture_may_be_missing_in_it_alone() {
        let mut observation = in_file(observed(0, 0));
        let (_, until) = observation.wire.span.unwrap();
        observation.wire.fragmented = (0..2).map(|number| datagram(number, false, until)).collect();
        assert_eq!(severities(&CAUSE, &observation), []);
    }

    #[test]
    fn capture_that_dropped_frames_proves_nothing() {
        let mut observation = in_file(observed(5, 0));
        observation.wire.taps[0].dropped = 1;
        assert_eq!(severities(&CAUSE, &observation), []);
    }

    #[test]
    fn datagrams_that_are_not_reassembled_are_lost_before_the_ip_layer() {
        let outcome = |received, assembled| {
            let observation = with_counters(observed(0, received), &[("IpReasmOKs", assembled)]);
            check(&observation).pop().map(|finding| finding.cause)
        };
        assert!(outcome(0, 0).unwrap().contains("between the wire and the IP layer"));
        assert_eq!((outcome(0, 20), outcome(20, 0)), (None, None));
    }
}
