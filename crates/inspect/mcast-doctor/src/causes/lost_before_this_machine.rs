//! Sequence numbers are missing when the datagrams reach this machine: they were lost on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast_watch::{Format, SequenceStatistics, Unit};

use super::{Cause, Check, Forecast};
use crate::observation::{ExaminationTarget, Observation, TrialMembership};
use crate::wire::{Flow, FlowKey, Gap, LossPattern};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool, remedies};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["RFC 3550 section 5.1", "RFC 8085 section 3.1"])
        .predicted_by(Forecast::Flow(judge))
        .without_loss();

fn check(observation: &Observation) -> Vec<Finding> {
    let mut flows = observation.all_arrivals();
    flows.sort_by_key(|flow| flow.key);
    flows.dedup_by_key(|flow| flow.key);
    flows.into_iter().filter_map(|flow| judge(observation, flow)).collect()
}

/// Losses of a flow before this machine.
struct LostNumbers {
    /// What is missing and what was received, in the unit of the numbers.
    missing: u64,
    numbers: SequenceStatistics,
    gaps: Vec<Gap>,
    pattern: LossPattern,
}

/// Returns the finding about the numbers that a flow lacks, if it lacks some.
pub(super) fn judge(observation: &Observation, flow: &Flow) -> Option<Finding> {
    let is_file = matches!(observation.target, ExaminationTarget::File);
    if !observation.wire.is_complete(flow.key.interface) {
        return None;
    }
    let losses = LostNumbers::of(observation, flow)?;
    let missed = dropped_by_device(observation, flow).saturating_add(missed_by_tap(observation, flow));
    let missed = missed.saturating_add(in_other_vlans(observation, flow));
    if losses.datagrams(flow) <= missed.saturating_mul(2) {
        return None;
    }
    let LostNumbers { missing, numbers, gaps, pattern } = &losses;
    let (interface, source) = (observation.link_name(flow.key.interface), flow.key.source);
    let sent = missing + numbers.received.saturating_sub(numbers.duplicates);
    let percent = losses.share() * 100.0;
    let place = if is_file {
        "are not in the capture".to_owned()
    } else {
        format!("had been lost before they reached {interface}")
    };
    let finding = Finding::new(
        Id::LostBeforeThisMachine,
        losses.severity(flow),
        format!(
            "{missing} of {sent} {} ({}) from {source} to {} {place}.",
            numbers.unit,
            rounded(percent),
            flow.destination()
        ),
    )
    .about_flow(&interface, flow)
    .evidence(
        EvidenceKind::Packet,
        format!("{interface}: {source} > {}", flow.destination()),
        format!("{}: {missing} missing in {} places, {pattern}", described_numbers(flow)?, gaps.len()),
    )
    .with_all_evidence(queue_of_macvlan(observation, flow).map(|(_, evidence)| evidence))
    .with_remedies(queue_of_macvlan(observation, flow).map(|(advice, _)| advice))
    .with_remedies(next_steps(*pattern, flow, is_file));
    Some(finding)
}

/// Returns what to do about the queue in which frames to groups wait for a macvlan, on the host whose device is below it, and its
/// length. Whether it was full is not known where that device is in another network namespace.
fn queue_of_macvlan(observation: &Observation, flow: &Flow) -> Option<(Remedy, Evidence)> {
    let link = observation.link(flow.key.interface)?;
    let (length, name) = (link.group_queue?, link.name());
    let refused =
        link.lower.and_then(|lower| observation.wire.refused.get(&lower).map(|counts| (lower, *counts)));
    let counted = refused.map(|(lower, (before, after))| {
        let dropped = after.saturating_sub(before);
        format!("; {} dropped {dropped} frames meanwhile", observation.link_name(lower))
    });
    let advice = format!(
        "{name} is a macvlan, and this host itself drops multicast frames when the queue of the device below is full: it holds {length} (bcqueuelen). If `ip -s link show` on the host counts dropped frames at that device, lengthen the queue there: `ip link set dev {name} type macvlan bcqueuelen 10000`."
    );
    let text = format!("bcqueuelen {length}{}", counted.unwrap_or_default());
    let evidence = Evidence::new(EvidenceKind::Setting, format!("ip -details link show dev {name}"), text);
    Some((Remedy::advice(Tool::Ip, advice), evidence))
}

impl LostNumbers {
    /// Returns the losses that the numbers of a flow show, if there are any.
    fn of(observation: &Observation, flow: &Flow) -> Option<Self> {
        /// Longer than a number may be late.
        const BEHIND_THE_END: Duration = Duration::from_secs(1);
        let (_, until) = observation.wire.span?;
        // Nothing more arrives in a file.
        let is_file = matches!(observation.target, ExaminationTarget::File);
        let until = if is_file { until + BEHIND_THE_END } else { until };
        let numbers = flow.numbering.statistics()?;
        let per_datagram = per_datagram(&numbers, flow);
        let gaps: Vec<Gap> =
            flow.numbering.gaps(until).filter(|gap| is_plausible(gap, per_datagram, flow)).copied().collect();
        // RTP, transport streams and the other known formats number every datagram; a counter of an unknown format may
        // count something else. The first gap adds up until the format is certain.
        let is_numbered_in_steps = flow.numbering.format() == Some(Format::Field)
            && gaps.len() as u64 * 10 >= flow.datagrams.saturating_mul(9)
            && gaps.iter().skip(1).map(|gap| gap.missing).collect::<BTreeSet<_>>().len() <= 1;
        // At a cut or at the end of a loop, the counters of a transport stream jump once.
        let is_cut = numbers.unit == Unit::Cells && gaps.len() < 2;
        if gaps.is_empty() || is_numbered_in_steps || is_cut {
            return None;
        }
        let missing = gaps.iter().map(|gap| gap.missing).sum();
        // A clock that ticks at about the rate of the stream repeats about as many numbers as it omits.
        let is_clock = flow.numbering.format() == Some(Format::Field)
            && numbers.duplicates.saturating_sub(flow.repeats).saturating_mul(4) >= missing;
        if is_clock {
            return None;
        }
        let pattern = LossPattern::of(&flow.numbering, &gaps, per_datagram);
        Some(Self { missing, numbers, gaps, pattern })
    }

    fn share(&self) -> f64 {
        SequenceStatistics { missing: self.missing, ..self.numbers }.loss()
    }

    /// Returns about how many datagrams are missing.
    fn datagrams(&self, flow: &Flow) -> u64 {
        (self.missing as f64 / per_datagram(&self.numbers, flow)).ceil() as u64
    }

    /// Video and audio suffer visibly from a loss of 0.1 %. A counter that only looks like a sequence number, and a
    /// stream that repairs losses, are judged more leniently.
    fn severity(&self, flow: &Flow) -> Severity {
        const SEVERAL: u64 = 3;
        let limit = match flow.numbering.format() {
            Some(Format::Field | Format::Stream) => 0.01,
            _ => 0.001,
        };
        if self.share() >= limit && self.datagrams(flow) >= SEVERAL {
            Severity::Fault
        } else {
            Severity::Warning
        }
    }
}

/// Returns how many numbers a datagram carries on average.
fn per_datagram(numbers: &SequenceStatistics, flow: &Flow) -> f64 {
    (numbers.received as f64 / flow.datagrams.max(1) as f64).max(1.0)
}

/// Returns whether the missing datagrams can have been sent in the pause. Otherwise the sender has started to
/// number again, or the first datagrams are older than the rest.
fn is_plausible(gap: &Gap, per_datagram: f64, flow: &Flow) -> bool {
    /// Senders send as many at once.
    const BURST: f64 = 500.0;
    /// How much faster than on average they may have been sent.
    const PEAK: f64 = 8.0;
    /// A router that looks up the first route of a group keeps as many datagrams, and sends them as soon as it has a route,
    /// however old they are.
    const WAITING_FOR_ROUTE: u64 = 4;
    let duration = flow.last.duration_since(flow.first).unwrap_or_default();
    let interval = duration.as_secs_f64() / flow.datagrams.max(1) as f64;
    let datagrams = gap.missing as f64 / per_datagram;
    let may_be_burst = datagrams <= BURST && gap.position > WAITING_FOR_ROUTE;
    may_be_burst || gap.pause.as_secs_f64() * PEAK >= interval * datagrams
}

/// Returns how many packets the device or the backlog dropped, which the tap does not see either.
fn dropped_by_device(observation: &Observation, flow: &Flow) -> u64 {
    let missed = |snapshot: &crate::snapshot::Snapshot| {
        snapshot.link(flow.key.interface).map_or(0, |link| link.statistics.receive_missed)
    };
    let (before, after) = (&observation.before, &observation.after);
    let missed = missed(after).saturating_sub(missed(before));
    missed.saturating_add(after.backlog_dropped.saturating_sub(before.backlog_dropped))
}

/// Returns how many datagrams of a flow the doctor's own socket received beyond those that the tap captured.
fn missed_by_tap(observation: &Observation, flow: &Flow) -> u64 {
    let received = |trial: &TrialMembership| trial.received_from(flow.key.interface, flow.key.source);
    observation.trial().map_or(0, received).saturating_sub(flow.datagrams)
}

/// Returns how many datagrams of the same stream arrived on the same interface in another VLAN, or without a tag.
fn in_other_vlans(observation: &Observation, flow: &Flow) -> u64 {
    let key = |vlan| FlowKey { vlan, ..flow.key };
    let others = observation.wire.incoming(flow.key.group).filter(|other| other.key == key(other.key.vlan));
    let others = others.filter(|other| other.key.vlan != flow.key.vlan && !other.is_copy_of(flow));
    others.map(|other| other.datagrams).sum()
}

/// Returns what is numbered: `RTP sequence numbers`.
fn described_numbers(flow: &Flow) -> Option<String> {
    Some(match (flow.numbering.format()?, flow.numbering.field()) {
        (Format::Field, Some(field)) => format!("counter in the payload ({field})"),
        (Format::MpegTs, _) => "MPEG-TS continuity counters".to_owned(),
        (Format::RtpMpegTs, _) => "RTP sequence numbers".to_owned(),
        (format, _) => format!("{format} sequence numbers"),
    })
}

/// Returns a percentage with one or two significant digits.
fn rounded(percent: f64) -> String {
    match percent {
        10.0.. => format!("{percent:.0} %"),
        1.0.. => format!("{percent:.1} %"),
        _ => format!("{percent:.2} %"),
    }
}

fn next_steps(pattern: LossPattern, flow: &Flow, is_file: bool) -> Vec<Remedy> {
    let source = flow.key.source.ip();
    let by_pattern = match pattern {
        LossPattern::AboveRate(rate) => format!(
            "Losses set in above about {rate} datagrams per second: look for a rate limit on the path, such as multicast storm control on a switch port, a policer on a router or the multicast rate of an access point, and raise it. Or let the sender send at a steadier rate."
        ),
        LossPattern::Periodic(_) => "Regular losses come from a rate limit: look for multicast storm control on the switch ports, a policer on a router, or a link that is slower than the stream, and raise the limit.".to_owned(),
        LossPattern::Bursts(longest) if longest >= Duration::from_millis(500) => format!(
            "Nothing arrived for up to {:.1} s: look in the logs of the switches for link flaps, spanning tree changes and routing changes at that time.",
            longest.as_secs_f64()
        ),
        LossPattern::Bursts(_) => "Bursts are lost where a queue is full: look for output drops on the switch ports on the path (a fast port that feeds a slow one), and for bursts of the sender.".to_owned(),
        LossPattern::Random | LossPattern::Few => "Single random losses come from a bad cable, connector or transceiver, a duplex mismatch, or wireless: look at the error counters (CRC, FCS) of every port on the path.".to_owned(),
    };
    let bisect = format!(
        "Find the place: run `mcast doctor` for this group on the sender ({source}) and on hosts in between. Where the numbers are still complete, the loss is closer to the receiver."
    );
    let recapture = is_file.then(|| {
        Remedy::advice(Tool::Network, "Check first that the capture itself dropped no packets (tcpdump and dumpcap print their count at the end).")
    });
    let mut steps: Vec<_> = recapture.into_iter().collect();
    steps.push(Remedy::advice(Tool::Network, by_pattern));
    steps.push(Remedy::advice(Tool::Network, bisect));
    steps.push(remedies::mcast::listen(flow.destination()));
    steps
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, rtp};
    use super::*;

    const TO: &str = "239.1.2.3:5000";

    /// Returns an observation of these payloads, one every 10 ms.
    fn observed(payloads: impl Iterator<Item = Vec<u8>>) -> Observation {
        let mut flow = flow(ETH0, "10.9.0.1:6000", TO);
        let start = flow.first;
        for (number, payload) in (0_u32..).zip(payloads) {
            let time = start + Duration::from_millis(10) * number;
            flow.numbering.observe(&flow.key, &payload, time);
            (flow.datagrams, flow.last) = (u64::from(number) + 1, time);
        }
        let mut observation = membership(TO, vec![flow], 10);
        observation.wire.span = Some((start, start + Duration::from_secs(1000)));
        observation
    }

    fn severities(payloads: impl Iterator<Item = Vec<u8>>) -> Vec<Severity> {
        check(&observed(payloads)).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn loss_is_a_fault_and_a_single_loss_a_warning() {
        let with_loss = |lost: fn(u16) -> bool| {
            severities((0..1000).filter(move |number| !lost(*number)).map(|number| rtp(number, 7)))
        };
        assert_eq!(with_loss(|number| number % 20 == 3), [Severity::Fault]);
        assert_eq!(with_loss(|number| number == 500), [Severity::Warning]);
        assert_eq!(with_loss(|_| false), []);
    }

    #[test]
    fn queue_of_a_macvlan_is_named_beside_the_switches() {
        let advice = |queue: Option<u32>| {
            let mut observation =
                observed((0..500).filter(|number| number % 20 != 3).map(|number| rtp(number, 7)));
            observation.after.links[1].group_queue = queue;
            format!("{:?}", check(&observation)[0])
        };
        assert!(advice(Some(1)).contains("eth0 is a macvlan") && advice(Some(1)).contains("bcqueuelen 1"));
        assert!(!advice(None).contains("macvlan"));
    }

    #[test]
    fn restarted_sender_has_lost_nothing() {
        let restart = |ssrc: u32| {
            (0..300).map(|number| rtp(number, 7)).chain((20_000..20_300).map(move |number| rtp(number, ssrc)))
        };
        assert_eq!(severities(restart(8)), [], "another session");
        assert_eq!(severities(restart(7)), [], "the same session with other numbers");
    }

    #[test]
    fn datagrams_that_waited_in_a_router_for_a_route_have_lost_nothing() {
        let behind = |waited: u16| (0..waited).chain(200..500).map(|number| rtp(number, 7));
        assert_eq!((severities(behind(1)), severities(behind(4))), (Vec::new(), Vec::new()));
        assert_eq!(severities(behind(40)), [Severity::Fault], "a burst that was lost later");
    }

    #[test]
    fn regular_loss_of_rtp_and_of_a_transport_stream_is_loss() {
        for step in [2, 5] {
            assert_eq!(severities((0..300).map(|number| rtp(number * step, 7))), [Severity::Fault], "{step}");
        }
        let cell = |counter: u16| {
            let mut cell = vec![0xff; 188];
            cell[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | (counter % 16) as u8]);
            cell
        };
        let datagrams = |step: u16| {
            (0..300)
                .map(move |number: u16| (0..7).flat_map(|index| cell(number * step * 7 + index)).collect())
        };
        assert_eq!(severities(datagrams(1)), []);
        assert_eq!(severities(datagrams(2)), [Severity::Fault]);
    }

    #[test]
    fn loss_of_an_unknown_format_is_found_although_every_datagram_arrives_twice() {
        let counts = (0..300_u64).filter(|number| number % 10 != 3).flat_map(|number| [number, number]);
        let mut observation = observed(counts.map(|count| (1 << 40 | count).to_be_bytes().to_vec()));
        observation.wire.flows[0].repeats = 270;
        let [finding] = &check(&observation)[..] else { panic!() };
        assert_eq!((finding.severity, finding.cause.starts_with("30 of 300 ")), (Severity::Fault, true));
    }

    #[test]
    fn counter_of_an_unknown_format_that_goes_over_to_steps_has_lost_nothing() {
        let counts = (0..40_u64).chain((0..600).map(|number| 42 + number * 2));
        assert_eq!(severities(counts.map(|count| (1 << 40 | count).to_be_bytes().to_vec())), []);
    }

    #[test]
    fn clock_at_the_rate_of_the_stream_has_lost_nothing() {
        let is_late = |number: u64| number > 50 && number.is_multiple_of(20);
        let ticks = (0..300_u64).map(|number| 1_700_000_000 + number - u64::from(is_late(number)));
        assert_eq!(severities(ticks.map(|ticks| ticks.to_be_bytes().to_vec())), []);
    }

    #[test]
    fn losses_of_the_device_and_of_the_capture_are_not_on_the_way() {
        let lossy = || observed((0..300).filter(|number| number % 20 != 3).map(|number| rtp(number, 7)));
        assert_eq!(check(&lossy()).len(), 1);
        let mut missed = lossy();
        missed.after.links[1].statistics.receive_missed = 15;
        assert_eq!(check(&missed), []);
        let mut overrun = lossy();
        overrun.wire.taps[0].dropped = 1;
        assert_eq!(check(&overrun), []);
        overrun.target = ExaminationTarget::File;
        assert_eq!(check(&overrun), [], "a file that states how many frames the capture dropped");
    }

    #[test]
    fn datagrams_that_the_socket_received_were_not_lost_on_the_way() {
        let mut received = observed((0..300).filter(|number| number % 20 != 3).map(|number| rtp(number, 7)));
        received.trial_mut().received[0].datagrams = 300;
        assert_eq!(check(&received), []);
    }
}
