//! A stream that arrived at regular intervals stopped while the doctor listened.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Cause, Check};
use crate::observation::{ExaminationTarget, Interest, Observation, RejoinOutcome};
use crate::wire::Flow;
use crate::{EvidenceKind, Finding, Id, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["packet(7)"]).without_loss();

/// Fewer datagrams are not a stream.
const MIN_DATAGRAMS: u64 = 20;
/// A shorter transmission may be one of several, or complete.
const MIN_DURATION: Duration = Duration::from_secs(1);
/// A stream that arrives when the doctor begins to listen does so within this time, or two of its pauses.
const BEGIN: Duration = Duration::from_millis(500);
/// The shortest silence, and the number of the longest pauses before that it must last.
const MIN_SILENCE: Duration = Duration::from_millis(1500);
const MIN_PAUSES: u32 = 10;

fn check(observation: &Observation) -> Vec<Finding> {
    if matches!(observation.target, ExaminationTarget::File) {
        return Vec::new();
    }
    let mut reported = BTreeSet::new();
    let interests = observation.interests();
    let stopped = interests.iter().flat_map(|interest| stopped(observation, interest));
    stopped
        .filter(|(flow, _)| reported.insert(flow.key))
        .map(|(flow, silence)| finding(observation, flow, silence))
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

fn finding(observation: &Observation, flow: &Flow, silence: Duration) -> Finding {
    let interface = observation.link_name(flow.key.interface);
    let (to, source) = (flow.destination(), flow.key.source);
    let (silence, pause) = (silence.as_secs_f64(), flow.longest_pause.as_secs_f64() * 1000.0);
    let stayed_silent = observation.interests().iter().any(|interest| {
        interest.destination() == to && observation.rejoin(interest) == Some(RejoinOutcome::StayedSilent)
    });
    let why = match stayed_silent {
        true => "It did not come back when the group was reported again: its sender has stopped.",
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
            format!("See on {} whether the program still sends: `mcast doctor --port {}` there.", source.ip(), source.port()),
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
    use super::super::fixtures::{ETH0, begin, datagram, flow, membership, severities};
    use super::*;
    use crate::Severity;

    const TO: &str = "239.1.2.3:5000";

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

    fn outcome(times: impl IntoIterator<Item = u64>) -> Vec<Severity> {
        severities(&CAUSE, &observed(vec![sent("10.9.0.1:6000", times)]))
    }

    #[test]
    fn regular_stream_that_stops_is_a_warning_with_the_time() {
        assert_eq!(outcome((0..2000).step_by(10)), [Severity::Warning]);
        let observation = observed(vec![sent("10.9.0.1:6000", (0..2000).step_by(10))]);
        let [finding] = &check(&observation)[..] else { panic!() };
        assert!(
            finding.cause.contains("until 22:13:21 UTC, and nothing came in the 3.0 s"),
            "{}",
            finding.cause
        );
    }

    #[test]
    fn streams_that_go_on_or_end_by_themselves_are_fine() {
        assert_eq!(outcome((0..5000).step_by(10)), [], "continues");
        assert_eq!(outcome((0..4500).step_by(10)), [], "may be a pause");
        assert_eq!(outcome((0..300).step_by(10)), [], "a burst");
        assert_eq!(outcome((1500..3000).step_by(10)), [], "begins and ends");
        assert_eq!(
            outcome((0..2000).step_by(10).filter(|time| !(500..1000).contains(time))),
            [],
            "irregular"
        );
        assert_eq!(outcome((0..2000).step_by(500)), [], "slow");
    }

    #[test]
    fn another_source_may_take_over() {
        let flows = vec![
            sent("10.9.0.1:6000", (0..2000).step_by(10)),
            sent("10.9.0.7:6000", (2000..5000).step_by(10)),
        ];
        assert_eq!(severities(&CAUSE, &observed(flows)), []);
    }

    #[test]
    fn source_that_the_membership_does_not_admit_takes_nothing_over() {
        let flows =
            vec![sent("10.9.0.1:6000", (0..2000).step_by(10)), sent("10.9.0.7:6000", (0..5000).step_by(10))];
        let mut observation = observed(flows);
        observation.trial_mut().membership = format!("10.9.0.1@{TO}").parse().unwrap();
        assert_eq!(severities(&CAUSE, &observation), [Severity::Warning]);
    }

    #[test]
    fn stream_that_comes_back_after_rejoining_was_forgotten() {
        let outcome = |rejoin| {
            let mut observation = observed(vec![sent("10.9.0.1:6000", (0..2000).step_by(10))]);
            observation.trial_mut().rejoin = Some(rejoin);
            check(&observation).pop().map(|finding| (finding.severity, finding.cause))
        };
        assert_eq!(outcome(RejoinOutcome::CameBack), None);
        let (severity, cause) = outcome(RejoinOutcome::StayedSilent).unwrap();
        assert!(severity == Severity::Note && cause.ends_with("its sender has stopped."), "{cause}");
    }
}
