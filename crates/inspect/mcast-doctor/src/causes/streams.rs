//! Streams that disturb each other, or that end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast_watch::Format;

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::{ExaminationTarget, Interest, Observation, RejoinOutcome};
use crate::wire::{Flow, Role};
use crate::{EvidenceKind, Finding, Id, Tool, remedies};

/// Several senders send different streams to one group and port, and a program that has joined it gets a mixture.
pub(super) const CONFLICTING_STREAMS: Cause = Cause::new(
    Check::Observation(conflicting_streams),
    &["RFC 3550 section 8.2", "ISO/IEC 13818-1 section 2.4.4", "ANSI E1.31-2018 section 6.2.3"],
)
.without_loss();

/// Fewer datagrams are not a stream.
const MIN_DATAGRAMS: u64 = 20;
/// A device that takes over from another changes the Ethernet address less often.
const MIN_CHANGES: u64 = 10;
/// For how long two streams must be there at the same time. One may replace the other.
const MIN_OVERLAP: Duration = Duration::from_millis(500);

fn conflicting_streams(observation: &Observation) -> Vec<Finding> {
    let mut groups: Vec<Vec<&Flow>> = Vec::new();
    for interest in observation.interests() {
        groups.push(observation.expected(&interest));
    }
    if matches!(observation.target, ExaminationTarget::File) {
        let arrivals = observation.all_arrivals();
        for flow in &arrivals {
            let key = |flow: &Flow| (flow.key.interface, flow.destination(), flow.key.vlan);
            groups.push(arrivals.iter().copied().filter(|other| key(other) == key(flow)).collect());
        }
    }
    let mut findings: Vec<Finding> = Vec::new();
    let flows = groups.iter().flatten();
    let shared = flows.filter_map(|flow| shared_address(observation, flow));
    let domains = groups.iter().filter_map(|flows| several_domains(observation, flows));
    let rivals = groups.iter().flat_map(|flows| rivals(observation, flows));
    for finding in groups
        .iter()
        .filter_map(|flows| judge_conflicting_streams(observation, flows))
        .chain(shared)
        .chain(domains)
        .chain(rivals)
    {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// Returns the note that the PTP messages to one group and port are of several domains, of which a clock follows one.
fn several_domains(observation: &Observation, flows: &[&Flow]) -> Option<Finding> {
    let mut sources: BTreeMap<u8, Vec<IpAddr>> = BTreeMap::new();
    for flow in flows {
        flow.domains.iter().for_each(|domain| sources.entry(*domain).or_default().push(flow.key.source.ip()));
    }
    let first = flows.first().filter(|_| sources.len() > 1)?;
    let (to, interface) = (first.destination(), observation.link_name(first.key.interface));
    let domains = sources.iter().map(|(domain, sources)| format!("domain {domain} from {}", list(sources)));
    let domains: Vec<_> = domains.collect();
    let cause = format!(
        "PTP messages of several domains are sent to {to} on {interface}: {}. A clock follows one domain and ignores the others.",
        domains.join("; ")
    );
    let finding = Finding::note(Id::ConflictingStreams, cause)
        .concerning(&interface, to)
        .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
        .advise(
            Tool::Program,
            "Compare the domain in the configuration of the clock, such as `domainNumber` of ptp4l.",
        );
    Some(finding)
}

/// Returns the notes that several senders are at once what one of them should be.
fn rivals(observation: &Observation, flows: &[&Flow]) -> Vec<Finding> {
    /// A master that yields to a better one may have announced itself before that.
    const MIN_MESSAGES: u64 = 2;
    let mut roles: BTreeMap<Role, BTreeMap<u128, &Flow>> = BTreeMap::new();
    for flow in flows {
        for ((role, sender), _) in flow.roles.iter().filter(|(_, messages)| **messages >= MIN_MESSAGES) {
            roles.entry(*role).or_default().insert(*sender, flow);
        }
    }
    let is_outranked = |role: &Role| match role {
        Role::Master(_) => false,
        Role::Lights(universe, priority) => roles
            .keys()
            .any(|other| matches!(other, Role::Lights(of, higher) if of == universe && higher > priority)),
    };
    let note = |(role, senders): (&Role, &BTreeMap<u128, &Flow>)| {
        let (from, until) =
            (senders.values().map(|flow| flow.first).max()?, senders.values().map(|flow| flow.last).min()?);
        if senders.len() < 2 || from >= until || is_outranked(role) {
            return None;
        }
        let first = senders.values().next()?;
        let (to, interface) = (first.destination(), observation.link_name(first.key.interface));
        let sources: BTreeSet<_> = senders.values().map(|flow| flow.key.source.ip()).collect();
        let all = list(&sources);
        let (cause, advice) = match role {
            Role::Master(domain) => (
                format!(
                    "{} clocks announce themselves as masters of PTP domain {domain} on {interface} at the same time, {all}: the other clocks follow one of them.",
                    senders.len()
                ),
                "Run `mcast doctor ptp` on each of them: it shows whether the announcements of the others arrive there, so that the worse clock yields.",
            ),
            Role::Lights(universe, priority) => (
                format!(
                    "{} sources send levels of universe {universe} on {interface} with the same priority, {priority}, {all}: some receivers merge them, and others ignore one.",
                    senders.len()
                ),
                "Give the source that should win a higher priority, or stop the other one.",
            ),
        };
        let finding =
            Finding::note(Id::ConflictingStreams, cause).concerning(&interface, to).from_sources(sources);
        Some(
            finding
                .with_all_evidence(senders.values().map(|flow| observation.packets_of(flow)))
                .advise(Tool::Program, advice),
        )
    };
    roles.iter().filter_map(note).collect()
}

/// Judges a flow whose frames come from several devices in turn: whether several hosts have its address. From another network, or
/// in a capture, the devices may be routers that share the load, unless the numbers of the payloads contradict each other.
fn shared_address(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let source = flow.key.source.ip();
    let contradicts = || {
        let numbers = flow.numbering.statistics();
        numbers.is_some_and(|numbers| numbers.duplicates + numbers.restarts >= MIN_CHANGES)
    };
    let link =
        observation.link(flow.key.interface).filter(|link| link.is_next_to(source) || contradicts())?;
    // A router or bond that takes over changes it once, and the copies of a redundant path repeat the payloads.
    if flow.mac_changes < MIN_CHANGES || flow.repeats_by_other_path.saturating_mul(10) >= flow.datagrams {
        return None;
    }
    let to = flow.destination();
    let cause = format!(
        "{} hosts send to {to} as {}, in turn and with different payloads: they have the same IP address {source}, and a receiver takes both for one stream.",
        flow.macs.len(),
        flow.key.source
    );
    let finding = Finding::warning(Id::ConflictingStreams, cause)
        .about_flow(link.name(), flow)
        .with_evidence(observation.packets_of(flow))
        .evidence(EvidenceKind::Packet, link.name(), format!("Ethernet addresses {}, {} changes", flow.mac_list(), flow.mac_changes))
        .advise(Tool::Network, format!("Give one of them another address. `arping -D -I {} {source}` and the switch's table of Ethernet addresses show where they are.", link.name()));
    Some(finding)
}

/// Judges the flows to one group and port.
fn judge_conflicting_streams(observation: &Observation, flows: &[&Flow]) -> Option<Finding> {
    let conflict = flows.iter().enumerate().find_map(|(index, one)| {
        let others: Vec<_> =
            flows[index + 1..].iter().filter_map(|other| Some((*other, mixture(one, other)?))).collect();
        let (_, mixture) = *others.first()?;
        let all: Vec<&Flow> =
            std::iter::once(*one).chain(others.into_iter().map(|(other, _)| other)).collect();
        Some((all, mixture))
    });
    let (flows, mixture) = conflict?;
    let first = flows.first()?;
    let (to, interface) = (first.destination(), observation.link_name(first.key.interface));
    let sources = list(flows.iter().map(|flow| flow.key.source));
    let mut addresses: Vec<_> = flows.iter().map(|flow| flow.key.source.ip()).collect();
    addresses.dedup();
    let cause = format!(
        "{} senders send different streams to {to} on {interface} at the same time, {sources}: {mixture}.",
        flows.len()
    );
    let finding = Finding::warning(Id::ConflictingStreams, cause)
        .concerning(&interface, to)
        .from_sources(flows.iter().map(|flow| flow.key.source))
        .with_all_evidence(flows.iter().map(|flow| observation.packets_of(flow)))
        .evidence(EvidenceKind::Packet, &interface, "payloads of one sender are not among those of the other")
        .with_remedies(addresses.first().filter(|_| addresses.len() > 1).map(|source| {
            remedies::mcast::recv_from(&[*source], to)
        }))
        .advise(Tool::Program, "Give each stream a group or a port of its own, or stop the sender that should not be there. Receivers can also join with the source that they want (source-specific).");
    Some(finding)
}

/// Returns what a receiver of two flows gets, if it cannot distinguish them.
fn mixture(one: &Flow, other: &Flow) -> Option<&'static str> {
    let is_stream = |flow: &Flow| flow.datagrams >= MIN_DATAGRAMS;
    let overlap = one.last.min(other.last).duration_since(one.first.max(other.first)).unwrap_or_default();
    if !is_stream(one) || !is_stream(other) || overlap < MIN_OVERLAP || one.has_payloads_of(other) {
        return None;
    }
    match (one.numbering.format()?, other.numbering.format()?) {
        (Format::MpegTs, Format::MpegTs) => Some(
            "a receiver gets one transport stream whose continuity counters and tables contradict each other",
        ),
        (Format::RtpMpegTs, Format::RtpMpegTs) => {
            Some("a receiver gets one transport stream with two sequences of RTP")
        }
        (Format::Rtp, Format::Rtp) if one.numbering.ssrc()? == other.numbering.ssrc()? => {
            Some("both have the same SSRC, so a receiver takes them for one stream of RTP with two sequences")
        }
        // Otherwise, receivers distinguish sources by what the payloads state, or by their addresses.
        _ => None,
    }
}

/// A stream that arrived at regular intervals stopped while the doctor listened.
pub(super) const STREAM_STOPPED: Cause =
    Cause::new(Check::Observation(stream_stopped), &["packet(7)"]).without_loss();
/// A shorter transmission may be one of several, or complete.
const MIN_DURATION: Duration = Duration::from_secs(1);
/// A stream that arrives when the doctor begins to listen does so within this time, or two of its pauses.
const BEGIN: Duration = Duration::from_millis(500);
/// The shortest silence, and the number of the longest pauses before that it must last.
const MIN_SILENCE: Duration = Duration::from_millis(1500);
const MIN_PAUSES: u32 = 10;

fn stream_stopped(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        return Vec::new();
    }
    let mut reported = BTreeSet::new();
    let interests = observation.interests();
    let stopped = interests.iter().flat_map(|interest| stopped(observation, interest));
    stopped
        .filter(|(flow, _)| reported.insert(flow.key))
        .map(|(flow, silence)| stream_stopped_finding(observation, flow, silence))
        .collect()
}

/// Returns the flows of an interest that have stopped, and for how long they have been silent, unless another admitted source
/// sends to the group instead, or the network has forgotten the membership (`no-querier`).
fn stopped<'a>(observation: &'a Observation, interest: &Interest<'_>) -> Vec<(&'a Flow, Duration)> {
    let Some((from, until)) = observation.wire.span else { return Vec::new() };
    let is_forgotten = observation.rejoin(interest) == Some(RejoinOutcome::CameBack);
    let link = observation.after.link(interest.interface);
    let is_working = link.is_some_and(|link| link.interface.up && link.interface.running);
    if is_forgotten || !is_working || !observation.wire.is_complete(interest.interface) {
        return Vec::new();
    }
    let is_same = |flow: &&Flow| {
        flow.destination() == interest.destination() && interest.sources.admits(flow.key.source.ip())
    };
    let mut same = observation.wire.flows.iter().filter(is_same);
    if same.any(|flow| silence(flow, until) < MIN_SILENCE) {
        return Vec::new();
    }
    let flows = observation.expected(interest).into_iter();
    flows.filter(|flow| has_stopped(flow, from, until)).map(|flow| (flow, silence(flow, until))).collect()
}

/// Returns whether a flow arrived from the beginning and then stopped.
fn has_stopped(flow: &Flow, from: SystemTime, until: SystemTime) -> bool {
    let since = |earlier, later: SystemTime| later.duration_since(earlier).unwrap_or_default();
    flow.datagrams >= MIN_DATAGRAMS
        && since(flow.first, flow.last) >= MIN_DURATION
        && since(from, flow.first) <= BEGIN.max(flow.longest_pause * 2)
        && silence(flow, until) >= MIN_SILENCE.max(flow.longest_pause.saturating_mul(MIN_PAUSES))
}

fn silence(flow: &Flow, until: SystemTime) -> Duration {
    until.duration_since(flow.last).unwrap_or_default()
}

fn stream_stopped_finding(observation: &Observation, flow: &Flow, silence: Duration) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let (to, source) = (flow.destination(), flow.key.source);
    let (silence, pause) = (silence.as_secs_f64(), flow.longest_pause.as_secs_f64() * 1000.0);
    let stayed_silent = observation.interests().iter().any(|interest| {
        interest.destination() == to && observation.rejoin(interest) == Some(RejoinOutcome::StayedSilent)
    });
    let why = match stayed_silent {
        true => {
            "It did not come back when the group was reported again: its sender has stopped, or a device on the path no longer forwards it."
        }
        false => "Its sender has stopped, or the network no longer forwards it.",
    };
    let cause = format!(
        "{to} from {source} arrived on {interface} until {}, and nothing came in the {silence:.1} s after that, although no pause before was longer than {pause:.0} ms. {why}",
        time_of_day(flow.last)
    );
    let seen = format!("{} datagrams from {source} to {to}, then none for {silence:.1} s", flow.datagrams);
    // A sender may end, and nothing is wrong then.
    let finding = if stayed_silent { Finding::note } else { Finding::warning };
    finding(Id::StreamStopped, cause)
        .about_flow(&interface, flow)
        .evidence(EvidenceKind::Packet, &interface, seen)
        .advise(
            Tool::Program,
            format!("On {}, run `mcast doctor --port {}` to see whether the program still sends.", source.ip(), source.port()),
        )
        .advise(
            Tool::Network,
            format!("If it does, `mcast doctor {to} --soak` shows whether a switch forgets this member, and `mcast doctor {to} --watch` when the stream comes back."),
        )
}

/// Returns a time as `02:14:07 UTC`.
fn time_of_day(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;
    use crate::causes::fixtures::{self, ETH0, begin, datagram, flow, membership, severities};

    const TO: &str = "239.1.2.3:5000";

    /// Returns a flow of RTP with these payload hashes, 100 per second.
    fn rtp(source: &str, ssrc: u32, hashes: std::ops::Range<u64>) -> Flow {
        let at = |number: u64| begin() + Duration::from_millis(number * 10);
        let key = flow(ETH0, source, TO).key;
        let mut flow = Flow::new(key, &datagram(begin(), 0));
        for (number, hash) in (0..).zip(hashes) {
            // As evenly distributed as hashes are.
            flow.add(datagram(at(number), hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            flow.numbering.observe(&key, &fixtures::rtp(number as u16, ssrc), at(number));
        }
        flow
    }

    fn conflicts(other: Flow) -> Vec<Severity> {
        let flows = vec![rtp("10.9.0.1:6000", 7, 0..100), other];
        severities(&CONFLICTING_STREAMS, &membership(TO, flows, 100))
    }

    #[test]
    fn two_streams_with_the_same_ssrc_conflict() {
        assert_eq!(conflicts(rtp("10.9.0.7:6000", 7, 1000..1100)), [Severity::Warning]);
        assert_eq!(conflicts(rtp("10.9.0.1:6001", 7, 1000..1100)), [Severity::Warning], "of one host");
    }

    #[test]
    fn two_hosts_with_one_address_that_send_in_turn_conflict() {
        let outcome = |turns: u64, source: &str, copies: bool| {
            let mut one = flow(ETH0, source, TO);
            for number in 0..100 {
                let mac = mcast_packet::MacAddress([2, 0, 0, 0, 0, (number * turns / 100 % 2) as u8]);
                let hash = if copies { number / 2 } else { number };
                let time = begin() + Duration::from_millis(number * 10);
                let summary = fixtures::datagram(time, 1000 + hash);
                one.add(crate::wire::DatagramSummary { mac: Some(mac), identification: 7, ..summary });
            }
            severities(&CONFLICTING_STREAMS, &membership(TO, vec![one], 100))
        };
        assert_eq!(outcome(100, "10.9.0.1:6000", false), [Severity::Warning]);
        assert_eq!(outcome(2, "10.9.0.1:6000", false), [], "a device takes over");
        assert_eq!(outcome(100, "10.9.0.1:6000", true), [], "copies of a redundant path");
        assert_eq!(outcome(100, "192.0.2.1:6000", false), [], "routers that share the load");
    }

    /// Returns a flow for 5 s whose sender shows this role by that many datagrams.
    fn in_role(source: &str, role: Role, sender: u128, messages: u64) -> Flow {
        let mut flow = flow(ETH0, source, TO);
        flow.last = flow.first + Duration::from_secs(5);
        (0..messages).for_each(|_| flow.add_role((role, sender)));
        flow
    }

    #[test]
    fn two_masters_and_two_sources_with_the_same_priority_are_a_note() {
        let outcome = |one: Role, other: (Role, u128, u64)| {
            let flows = vec![
                in_role("10.9.0.1:6000", one, 1, 3),
                in_role("10.9.0.7:6000", other.0, other.1, other.2),
            ];
            severities(&CONFLICTING_STREAMS, &membership(TO, flows, 100))
        };
        let (master, lights) = (Role::Master(0), Role::Lights(1, 100));
        for role in [master, lights] {
            assert_eq!(outcome(role, (role, 2, 3)), [Severity::Note], "{role:?}");
            assert_eq!(outcome(role, (role, 1, 3)), [], "one with two addresses");
            assert_eq!(outcome(role, (role, 2, 1)), [], "one yields to the other");
        }
        assert_eq!(outcome(master, (Role::Master(1), 2, 3)), [], "another domain");
        assert_eq!(outcome(lights, (Role::Lights(2, 100), 2, 3)), [], "another universe");
        assert_eq!(outcome(lights, (Role::Lights(1, 101), 2, 3)), [], "a standby with a lower priority");
        let backups = [(1, 90), (2, 90), (3, 100)];
        let flows = backups.map(|(sender, priority)| {
            in_role(&format!("10.9.0.{sender}:6000"), Role::Lights(1, priority), sender, 3)
        });
        assert_eq!(severities(&CONFLICTING_STREAMS, &membership(TO, flows.into(), 100)), [], "outranked");
        let mut later = in_role("10.9.0.7:6000", lights, 2, 3);
        (later.first, later.last) = (later.last, later.last + Duration::from_secs(5));
        let flows = vec![in_role("10.9.0.1:6000", lights, 1, 3), later];
        assert_eq!(severities(&CONFLICTING_STREAMS, &membership(TO, flows, 100)), [], "one after the other");
    }

    #[test]
    fn several_sources_and_copies_of_one_stream_are_fine() {
        assert_eq!(conflicts(rtp("10.9.0.7:6000", 8, 1000..1100)), [], "another participant");
        assert_eq!(conflicts(rtp("10.9.0.7:6000", 7, 2..102)), [], "a redundant path");
        assert_eq!(conflicts(rtp("10.9.0.7:6000", 7, 1000..1010)), [], "too few");
        let mut later = rtp("10.9.0.7:6000", 7, 1000..1100);
        (later.first, later.last) =
            (later.first + Duration::from_secs(1), later.last + Duration::from_secs(1));
        assert_eq!(conflicts(later), [], "a restarted sender");
        assert_eq!(conflicts(flow(ETH0, "10.9.0.7:6000", TO)), [], "an announcement");
    }

    #[test]
    fn copies_are_recognised_in_long_streams_with_an_offset() {
        let copy = rtp("10.9.0.7:6000", 7, 300..3300);
        let flows = vec![rtp("10.9.0.1:6000", 7, 0..3000), copy];
        assert_eq!(severities(&CONFLICTING_STREAMS, &membership(TO, flows, 100)), []);
    }

    fn at(milliseconds: u64) -> SystemTime {
        begin() + Duration::from_millis(milliseconds)
    }

    /// Returns a flow with datagrams at these milliseconds.
    fn sent(source: &str, times: impl IntoIterator<Item = u64>) -> Flow {
        let times: Vec<_> = times.into_iter().collect();
        let key = flow(ETH0, source, TO).key;
        let mut flow = Flow::new(key, &datagram(at(times[0]), 0));
        times.into_iter().for_each(|time| flow.add(datagram(at(time), time)));
        flow
    }

    /// Returns the examination of these flows in 5 s.
    fn observed(flows: Vec<Flow>) -> Observation {
        let mut observation = membership(TO, flows, 10);
        observation.wire.span = Some((begin(), at(5000)));
        observation
    }

    fn silences(times: impl IntoIterator<Item = u64>) -> Vec<Severity> {
        severities(&STREAM_STOPPED, &observed(vec![sent("10.9.0.1:6000", times)]))
    }

    #[test]
    fn regular_stream_that_stops_is_a_warning_with_the_time() {
        assert_eq!(silences((0..2000).step_by(10)), [Severity::Warning]);
        let observation = observed(vec![sent("10.9.0.1:6000", (0..2000).step_by(10))]);
        let [stream_stopped_finding] = &stream_stopped(&observation)[..] else { panic!() };
        assert!(
            stream_stopped_finding.cause.contains("until 22:13:21 UTC, and nothing came in the 3.0 s"),
            "{}",
            stream_stopped_finding.cause
        );
    }

    #[test]
    fn streams_that_go_on_or_end_by_themselves_are_fine() {
        assert_eq!(silences((0..5000).step_by(10)), [], "continues");
        assert_eq!(silences((0..4500).step_by(10)), [], "may be a pause");
        assert_eq!(silences((0..300).step_by(10)), [], "a burst");
        assert_eq!(silences((1500..3000).step_by(10)), [], "begins and ends");
        assert_eq!(
            silences((0..2000).step_by(10).filter(|time| !(500..1000).contains(time))),
            [],
            "irregular"
        );
        assert_eq!(silences((0..2000).step_by(500)), [], "slow");
    }

    #[test]
    fn another_source_may_take_over() {
        let flows = vec![
            sent("10.9.0.1:6000", (0..2000).step_by(10)),
            sent("10.9.0.7:6000", (2000..5000).step_by(10)),
        ];
        assert_eq!(severities(&STREAM_STOPPED, &observed(flows)), []);
    }

    #[test]
    fn source_that_the_membership_does_not_admit_takes_nothing_over() {
        let flows =
            vec![sent("10.9.0.1:6000", (0..2000).step_by(10)), sent("10.9.0.7:6000", (0..5000).step_by(10))];
        let mut observation = observed(flows);
        observation.trial_mut().membership = format!("10.9.0.1@{TO}").parse().unwrap();
        assert_eq!(severities(&STREAM_STOPPED, &observation), [Severity::Warning]);
    }

    #[test]
    fn stream_that_comes_back_after_rejoining_was_forgotten() {
        let outcome = |rejoin| {
            let mut observation = observed(vec![sent("10.9.0.1:6000", (0..2000).step_by(10))]);
            observation.trial_mut().rejoin = Some(rejoin);
            stream_stopped(&observation).pop().map(|finding| (finding.severity, finding.cause))
        };
        assert_eq!(outcome(RejoinOutcome::CameBack), None);
        let (severity, cause) = outcome(RejoinOutcome::StayedSilent).unwrap();
        assert!(severity == Severity::Note && cause.contains("its sender has stopped, or"), "{cause}");
    }
}
