//! Datagrams that are too large for a link, or whose fragments do not all arrive.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast::{Family, Group, InterfaceIndex, SourceFilter};

use super::{Cause, Check, Forecast, routes};
use crate::kernel_drops::KernelDrop;
use crate::observation::{ExaminationTarget, Interest, Observation};
use crate::outcome::PrintedErrorKind;
use crate::snapshot::Counter;
use crate::wire::{Flow, FragmentedDatagram};
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool, remedies};

/// The MTU of the interface is smaller than the packets that are sent: the device drops them before the IP
/// layer.
pub(super) const MTU_TOO_SMALL: Cause =
    Cause::new(Check::Observation(mtu_too_small), &["RFC 8085 section 3.2"])
        .offering(|on| vec![remedies::linux::set_mtu(&on.link, ETHERNET)]);

/// The MTU of Ethernet, which senders usually assume.
const ETHERNET: u32 = 1500;

/// The MTU that hosts with jumbo frames usually have.
const JUMBO: u32 = 9000;

/// Fewer drops may have other reasons.
const MIN_DROPS: u64 = 3;

fn mtu_too_small(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.interface);
    let judged = interests.iter().filter_map(|interest| judge_mtu_too_small(observation, interest));
    judged.chain(printed(observation)).collect()
}

/// Judges a program that printed the error of a datagram that is too long to be sent.
fn printed(observation: &Observation) -> Option<Finding> {
    let program = observation.program()?;
    let mut errors = program.printed.iter();
    let error = errors.find(|error| error.kind == PrintedErrorKind::MessageTooLong)?;
    let links = observation.after.links.iter().filter(|link| link.is_of_the_host());
    let mtus = links
        .map(|link| Evidence::new(EvidenceKind::Setting, format!("{} mtu", link.name()), link.interface.mtu));
    let cause = format!(
        "A send of {} failed: the datagram is longer than the MTU and must not be fragmented, or longer than UDP allows (65,507 bytes in IPv4).",
        program.name
    );
    let finding = Finding::new(Id::MtuTooSmall, Severity::Fault, cause)
        .in_program(&program.name)
        .evidence(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line)
        .with_all_evidence(mtus)
        .advise(
            Tool::Program,
            "Send at most the MTU without the headers, 28 bytes in IPv4 and 48 in IPv6: 1472 or 1452 bytes on Ethernet. If larger datagrams should be fragmented, do not set IP_MTU_DISCOVER to IP_PMTUDISC_DO or IP_PMTUDISC_PROBE, and do not set IPV6_DONTFRAG.",
        );
    Some(finding)
}

fn judge_mtu_too_small(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let after = observation.after.link(interest.interface)?;
    let (old, new) = observation.wire.refused.get(&interest.interface).copied()?;
    // An interface also refuses the frames of protocols that this machine does not handle: LLDP, say.
    let others = observation.wire.other_protocols.get(&interest.interface).copied()?;
    // So it does with the frames of a VLAN that it is not in. Of those, the capture shows only the ones to groups.
    let tagged = tagged_frames(observation, interest.interface);
    let drops = new.saturating_sub(old).saturating_sub(others).saturating_sub(tagged);
    if drops < MIN_DROPS.max(tagged)
        || after.interface.loopback
        || after.is_tunnel()
        // Without IPv6, its frames are among them, and were not counted.
        || observation.rise_of(Counter::InReceives.name(Family::V6)).is_none()
        || !observation.wire.is_tapped(after.index())
    {
        return None;
    }
    let backlog_drops = observation.after.backlog_dropped > observation.before.backlog_dropped;
    let is_silent = observation.arrivals(interest).is_empty();
    let mtu = after.interface.mtu;
    let (wanted, what) = match mtu {
        ..ETHERNET => (ETHERNET, "but other hosts on the network may send 1500 bytes"),
        // If the group arrives, drops at this MTU have other reasons.
        ETHERNET..JUMBO if is_silent && !backlog_drops => {
            (JUMBO, "so a sender on the network most likely uses jumbo frames")
        }
        _ => return None,
    };
    let severity = if is_silent { Severity::Fault } else { Severity::Warning };
    let name = after.name();
    let finding = Finding::new(
        Id::MtuTooSmall,
        severity,
        format!("{name} accepts packets of at most {mtu} bytes and dropped {drops}, {what}."),
    )
    .concerning(name, interest.destination())
    .evidence(EvidenceKind::Setting, format!("{name} mtu"), mtu)
    .change(EvidenceKind::Counter, format!("{name} rx_dropped + rx_length_errors"), old, new)
    .with_remedies(remedies::with_networkd(
        remedies::linux::set_mtu(after, wanted),
        after,
        "mtu",
        &format!("[Link]\nMTUBytes={wanted}\n"),
    ))
    .advise(
        Tool::Program,
        format!("Or have the sender send at most {} bytes per datagram.", mtu.saturating_sub(28)),
    );
    Some(finding)
}

/// Returns how many captured frames arrived on an interface with a VLAN tag.
fn tagged_frames(observation: &Observation, interface: mcast::InterfaceIndex) -> u64 {
    let wire = &observation.wire;
    let is_tagged =
        |key: &crate::wire::FlowKey| key.interface == interface && !key.outgoing && key.vlan.is_some();
    let datagrams: u64 =
        wire.flows.iter().filter(|flow| is_tagged(&flow.key)).map(|flow| flow.datagrams).sum();
    let control = wire
        .control
        .iter()
        .filter(|packet| packet.interface == interface && !packet.outgoing && packet.vlan.is_some());
    datagrams + control.count() as u64
}

/// Datagrams arrive in fragments, and fragments are lost: in the network, or before the IP layer.
pub(super) const FRAGMENTS_LOST: Cause =
    Cause::new(Check::Observation(fragments_lost), &["RFC 8085 section 3.2", "RFC 8900"])
        .predicted_by(Forecast::Flow(fragments_lost_ahead));

/// The time after which a missing fragment is considered lost.
const FRAGMENT_TIMEOUT: Duration = Duration::from_millis(500);

fn fragments_lost(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    if matches!(observation.target, ExaminationTarget::File) {
        interests = fragmented_groups(observation);
    }
    interests.iter().filter_map(|interest| judge_fragments_lost(observation, interest)).collect()
}

/// Returns the finding about a flow whose pieces are lost on the way, and which does not arrive for another reason as well.
fn fragments_lost_ahead(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let group = Group::new(flow.key.group).ok().filter(|_| flow.fragmented > 0)?;
    let (port, interface) = (flow.key.port, flow.key.interface);
    let interest = Interest { group, port, interface, sources: &SourceFilter::ANY, socket: None };
    let lost = Fragments::of(observation, &interest)?;
    lost.are_lost_in_network(observation, interface)
        .then(|| lost.finding(observation, &interest, "in the network"))
        .flatten()
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
            drop.is_filtered()
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

fn judge_fragments_lost(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let fragments = Fragments::of(observation, interest)?;
    // The kernel counts for all groups of the family together: more than these may have been assembled, but not fewer.
    let assembled = observation.rise(Counter::Reassembled, interest.family());
    let complete = fragments.complete;
    let unassembled = complete.saturating_sub(assembled.unwrap_or(complete));
    let is_reverse_path = || {
        let dropped = routes::dropped(observation, interest);
        dropped.iter().any(|lost| fragments.all.iter().any(|one| one.source == lost.flow.key.source.ip()))
    };
    let before_ip_layer = complete > 0
        && unassembled * 2 >= complete
        && are_missing(observation, interest, &fragments.all, complete)
        && !is_reverse_path();
    let location = match fragments.are_lost_in_network(observation, interest.interface) {
        true => "in the network",
        false if before_ip_layer => "between the wire and the IP layer, where a filter drops them",
        false => return None,
    };
    fragments.finding(observation, interest, location)
}

/// The datagrams in pieces of an interest.
struct Fragments<'a> {
    all: Vec<&'a FragmentedDatagram>,
    complete: u64,
    /// Those that lack a piece for longer than one is on its way.
    broken: u64,
}

impl<'a> Fragments<'a> {
    fn of(observation: &'a Observation, interest: &Interest<'_>) -> Option<Self> {
        let (_, until) = observation.wire.span?;
        let here = |datagram: &&FragmentedDatagram| {
            !datagram.outgoing
                && datagram.interface == interest.interface
                && datagram.group == interest.group.addr()
                && datagram.port.is_none_or(|port| port == interest.port)
        };
        let all: Vec<_> = observation.wire.fragmented.iter().filter(here).collect();
        let is_broken = |datagram: &&&FragmentedDatagram| {
            !datagram.is_complete()
                && until.duration_since(datagram.last).is_ok_and(|ago| ago >= FRAGMENT_TIMEOUT)
        };
        let complete = all.iter().filter(|datagram| datagram.is_complete()).count() as u64;
        let broken = all.iter().filter(is_broken).count() as u64;
        Some(Self { all, complete, broken })
    }

    /// Returns whether the network loses pieces. A few incomplete datagrams are ordinary loss, and a capture that missed frames
    /// proves nothing.
    fn are_lost_in_network(&self, observation: &Observation, interface: InterfaceIndex) -> bool {
        let Self { complete, broken, .. } = *self;
        broken > 0 && broken * 20 >= complete + broken && observation.wire.is_complete(interface)
    }

    fn finding(&self, observation: &Observation, interest: &Interest<'_>, location: &str) -> Option<Finding> {
        let Self { all, complete, broken } = self;
        let interface = observation.link_name(interest.interface);
        let source = all.first().map(|datagram| datagram.source)?;
        let counters = [Counter::ReassemblyRequests, Counter::Reassembled].into_iter();
        let counters = counters.filter_map(|counter| observation.counter_change(counter, interest.family()));
        let largest = if interest.group.addr().is_ipv4() { 1472 } else { 1452 };
        let finding = Finding::fault(
            Id::FragmentsLost,
            format!("Datagrams to {} are larger than a packet and arrive in fragments, some of which are lost {location}.", interest.destination()),
        )
        .about(&interface, interest.destination(), source)
        .evidence(EvidenceKind::Packet, &interface, format!("{complete} datagrams with all fragments, {broken} incomplete"))
        .with_all_evidence(counters)
        .advise(Tool::Program, format!("On Ethernet, send at most {largest} bytes per datagram to avoid fragmentation.")).advise(Tool::Network, "Let fragments pass the packet filters on the path: only the first fragment carries a port.");
        Some(finding)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use mcast_packet::Fragment;

    use super::*;
    use crate::causes::fixtures::{ETH0, begin, flow, membership, severities, with_counters};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn frames_that_nothing_else_explains_are_too_long() {
        const TO: &str = "239.1.2.3:5000";
        let outcome = |refused: u64, others: Option<u64>, arrives: bool| {
            let flows = if arrives { vec![flow(ETH0, "10.9.0.1:6000", TO)] } else { Vec::new() };
            let mut observation = with_counters(membership(TO, flows, 10), &[("Ip6InReceives", 0)]);
            observation.wire.refused = [(ETH0, (100, 100 + refused))].into();
            observation.wire.other_protocols = others.map(|others| (ETH0, others)).into_iter().collect();
            severities(&MTU_TOO_SMALL, &observation)
        };
        assert_eq!(outcome(50, Some(0), false), [Severity::Fault]);
        assert_eq!(outcome(50, Some(49), false), [], "LLDP");
        assert_eq!(outcome(50, None, false), [], "not counted");
        assert_eq!(outcome(50, Some(0), true), []);
    }

    #[test]
    fn frames_of_another_vlan_are_not_too_long() {
        const TO: &str = "239.1.2.3:5000";
        let outcome = |refused: u64| {
            let mut tagged = flow(ETH0, "10.9.0.1:6000", TO);
            tagged.key.vlan = Some(crate::wire::Tagging { id: 7, protocol: 0x88a8, inner: Some(8) });
            let mut observation = with_counters(membership(TO, vec![tagged], 0), &[("Ip6InReceives", 0)]);
            observation.wire.refused = [(ETH0, (100, 100 + refused))].into();
            observation.wire.other_protocols = [(ETH0, 0)].into();
            severities(&MTU_TOO_SMALL, &observation)
        };
        assert_eq!((outcome(10), outcome(15)), (Vec::new(), Vec::new()));
        assert_eq!(outcome(80), [Severity::Fault]);
    }

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
        assert_eq!(severities(&FRAGMENTS_LOST, &in_file(observed(1, 0))), [Severity::Fault]);
        assert_eq!(severities(&FRAGMENTS_LOST, &in_file(observed(0, 0))), []);
        let [finding] = &fragments_lost(&in_file(observed(5, 0)))[..] else { panic!() };
        assert!(finding.cause.contains("some of which are lost in the network"), "{}", finding.cause);
        assert_eq!(finding.subject.group().as_deref(), Some(TO));
    }

    #[test]
    fn last_fragments_of_a_capture_may_be_missing_in_it_alone() {
        let mut observation = in_file(observed(0, 0));
        let (_, until) = observation.wire.span.unwrap();
        observation.wire.fragmented = (0..2).map(|number| datagram(number, false, until)).collect();
        assert_eq!(severities(&FRAGMENTS_LOST, &observation), []);
    }

    #[test]
    fn capture_that_dropped_frames_proves_nothing() {
        let mut observation = in_file(observed(5, 0));
        observation.wire.taps[0].dropped = 1;
        assert_eq!(severities(&FRAGMENTS_LOST, &observation), []);
    }

    #[test]
    fn datagrams_that_are_not_reassembled_are_lost_before_the_ip_layer() {
        let outcome = |received, assembled| {
            let observation = with_counters(observed(0, received), &[("IpReasmOKs", assembled)]);
            fragments_lost(&observation).pop().map(|finding| finding.cause)
        };
        assert!(outcome(0, 0).unwrap().contains("between the wire and the IP layer"));
        assert_eq!((outcome(0, 20), outcome(20, 0)), (None, None));
    }
}
