//! Datagrams arrive in fragments, and fragments are lost: in the network, or before the IP layer.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast::{Group, SourceFilter};

use super::{Cause, Check};
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
/// tracking reassembles IPv6 without counting, so the counters prove nothing about another program's socket.
fn are_missing(
    observation: &Observation,
    interest: &Interest<'_>,
    all: &[&FragmentedDatagram],
    complete: u64,
) -> bool {
    let Some(trial) = observation.trial() else { return interest.group.addr().is_ipv4() };
    let sources: BTreeSet<_> = all.iter().map(|datagram| datagram.source).collect();
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
