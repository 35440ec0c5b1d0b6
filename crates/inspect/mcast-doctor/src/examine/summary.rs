//! The observations and open questions of a report: how far the datagrams came.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};

use crate::causes::answers::unknown_answers;
use crate::causes::no_multicast_route::unseen_members;
use crate::causes::{carriers, silence};
use crate::fate::depth::{Depth, FlowStatus};
use crate::finding::list;
use crate::kernel_drops::{DropDirection, KernelDrop};
use crate::observation::{ExaminationTarget, Interest, Observation, RejoinOutcome};
use crate::singular::agreeing;
use crate::snapshot::{Counter, FrameMembership};
use crate::wire::{ControlMessage, Flow, Tap};
use crate::{Effect, ExaminedPart, Finding, LayerObservation, OpenQuestion, Report, Severity};

/// The maximum number of flows, queriers and sources listed one by one; the others are only counted.
const MAX_LISTED: usize = 20;

/// Adds the observations and open questions to a report that has its findings.
pub(super) fn add_to(report: &mut Report, observation: &Observation) {
    report_wire(observation, report);
    report_ports(observation, report);
    report_queriers(observation, report);
    report_counters(observation, report);
    report_socket(observation, report);
    let experiments = observation.experiments.iter();
    report.observations.extend(experiments.map(|what| LayerObservation::new("experiment", what.as_str())));
    record_refused_taps(observation, report);
    record_unexamined_frames(observation, report);
    record_unknown_depths(observation, report);
    record_idle_program(observation, report);
    report.open_questions.extend(unseen_frames(observation));
    report.open_questions.extend(unseen_members(observation));
    report.open_questions.extend(carriers::port_of_kernel(observation));
    report.open_questions.extend(unknown_answers(observation));
    // What a fault explains is not open.
    if report.findings.iter().all(|finding| finding.severity != Severity::Fault) {
        report.open_questions.extend(silence::unheard(observation));
    }
}

/// Returns the open questions about frames without IP that programs of the examined machine take with packet sockets.
fn unseen_frames(observation: &Observation) -> Vec<OpenQuestion> {
    let machine = &observation.after;
    let question = |membership: &FrameMembership| {
        let (address, name) = (membership.address, observation.link_name(membership.interface));
        let label = |inode: &u64| machine.socket_processes.get(inode).map(|(_, label)| label.as_str());
        let programs: BTreeSet<_> = membership.sockets.iter().filter_map(label).collect();
        let programs = if programs.is_empty() { "a program".to_owned() } else { list(programs) };
        let is_link_local = address.0.starts_with(&[0x01, 0x80, 0xc2, 0, 0]) && address.0[5] < 0x10;
        let bridges = match is_link_local {
            true => "; bridges and switches do not forward them (`group_fwd_mask` of a Linux bridge)",
            false => "",
        };
        OpenQuestion::new(
            format!("whether frames to {address} arrive on {name}, where {programs} has a packet socket"),
            format!("they do not carry IP, and only IP groups are examined{bridges}"),
        )
    };
    let memberships = machine.frame_memberships.iter().filter(|_| observation.is_about_machine());
    memberships.map(question).collect()
}

fn report_wire(observation: &Observation, report: &mut Report) {
    let groups: Vec<IpAddr> = observation.interests().iter().map(|interest| interest.group.addr()).collect();
    let of_interest = |flow: &&Flow| observation.trial().is_none() || groups.contains(&flow.key.group);
    let mut flows: Vec<_> = observation.wire.flows.iter().filter(of_interest).collect();
    flows.sort_by_key(|flow| (!groups.contains(&flow.key.group), std::cmp::Reverse(flow.datagrams)));
    let lines = flows.iter().map(|flow| {
        let LayerObservation { layer, message } = flow_line(observation, "wire", flow);
        let order = out_of_order(flow);
        let message = format!("{message}, hop limit {}{order}{}", flow.hop_limits.1, domains(flow));
        LayerObservation { layer, message }
    });
    extend_limited(&mut report.observations, "wire", "flows", lines);
    for (to, rest) in observation
        .wire
        .together
        .iter()
        .filter(|(to, _)| observation.trial().is_none() || groups.contains(&to.group))
    {
        let layer = format!("wire {}", observation.link_name(to.interface));
        let (direction, sources) = (if to.outgoing { "out" } else { "in" }, rest.sources.len());
        let alike = format!(
            "{} datagrams {direction} from {sources} more sources to {}, like those above",
            rest.datagrams,
            to.address()
        );
        let further =
            format!("{} datagrams {direction} from further sources to {}", rest.unrecorded, to.address());
        let lines = [(rest.datagrams, alike), (rest.unrecorded, further)];
        let lines = lines.into_iter().filter(|(datagrams, _)| *datagrams > 0);
        report.observations.extend(lines.map(|(_, line)| LayerObservation::new(layer.as_str(), line)));
    }
    for tap in observation.wire.taps.iter().filter(|tap| tap.dropped > 0) {
        report.observations.push(LayerObservation::new(
            format!("wire {}", tap.name),
            format!("{} frames dropped by the capture", tap.dropped),
        ));
    }
}

/// Returns the domains of the PTP messages of a flow.
fn domains(flow: &Flow) -> String {
    if flow.domains.is_empty() { String::new() } else { format!(", PTP domain {}", list(&flow.domains)) }
}

/// Returns how many datagrams of a flow arrived out of order, which are not lost.
fn out_of_order(flow: &Flow) -> String {
    let numbers = flow.numbering.statistics();
    match numbers.and_then(|numbers| Some((numbers.reordered?, numbers.unit))) {
        Some((late, unit)) if late > 0 => format!(", {late} {unit} out of order (not lost)"),
        _ => String::new(),
    }
}

/// Reports the examined groups on the ports of bridges: where they come in, and where they leave.
fn report_ports(observation: &Observation, report: &mut Report) {
    let destinations: Vec<_> = observation.interests().iter().map(Interest::destination).collect();
    let flows = observation.wire.ports.flows.iter().filter(|flow| destinations.contains(&flow.destination()));
    let lines: Vec<_> = flows.map(|flow| flow_line(observation, "port", flow)).collect();
    extend_limited(&mut report.observations, "port", "flows", lines.into_iter());
}

fn flow_line(observation: &Observation, layer: &str, flow: &Flow) -> LayerObservation {
    let direction = if flow.key.outgoing { "out" } else { "in" };
    let (datagrams, source, to) = (flow.datagrams, flow.key.source, flow.destination());
    LayerObservation::new(
        format!("{layer} {}", observation.link_name(flow.key.interface)),
        format!("{datagrams} datagrams {direction} from {source} to {to}"),
    )
}

fn report_queriers(observation: &Observation, report: &mut Report) {
    let mut queriers = BTreeMap::new();
    for control in &observation.wire.control {
        if let ControlMessage::Query { version, group: None, .. } = control.message {
            queriers.entry((control.interface, control.source)).or_insert(version);
        }
    }
    let lines = queriers.iter().map(|((interface, source), version)| {
        let protocol = if source.is_ipv4() { "IGMP" } else { "MLD" };
        let layer = format!("wire {}", observation.link_name(*interface));
        LayerObservation::new(layer, format!("{protocol}v{version} querier {source}"))
    });
    extend_limited(&mut report.observations, "wire", "queriers", lines);
    record_unknown_querier(observation, report, &queriers);
}

/// Adds observations, and only the number of those beyond a limit: forged sources can cause any number.
fn extend_limited(
    observations: &mut Vec<LayerObservation>,
    layer: &str,
    what: &str,
    mut lines: impl ExactSizeIterator<Item = LayerObservation>,
) {
    observations.extend(lines.by_ref().take(MAX_LISTED));
    if lines.len() > 0 {
        observations.push(LayerObservation::new(layer, format!("and {} more {what}", lines.len())));
    }
}

/// Adds the open question whether there is a querier, if a group is silent: without one, a switch may have forgotten
/// the membership. Queries are so rare that a short silence proves nothing.
fn record_unknown_querier(
    observation: &Observation,
    report: &mut Report,
    queriers: &BTreeMap<(InterfaceIndex, IpAddr), u8>,
) {
    let timeout = observation.options.querier_timeout();
    let has_querier = |interest: &Interest<'_>| {
        let is_same = |(interface, source): &(InterfaceIndex, IpAddr)| {
            *interface == interest.interface && Family::of(*source) == interest.family()
        };
        queriers.keys().any(is_same)
    };
    let is_loopback = |index| observation.link(index).is_none_or(|link| link.interface.loopback);
    let flows = observation.expected_flows();
    let silent = flows.iter().filter(|flow| flow.status.depth.is_silent()).map(|flow| &flow.interest);
    let unknown: Vec<_> = silent
        .filter(|interest| {
            !has_querier(interest)
                && !is_loopback(interest.interface)
                && !interest.group.scope().stays_on_link()
                && observation.wire.is_tapped(interest.interface)
        })
        .collect();
    let Some(first) = unknown.first().filter(|_| observation.listened() < timeout) else { return };
    let mut names: Vec<_> =
        unknown.iter().map(|interest| observation.link_name(interest.interface)).collect();
    names.dedup();
    let (protocol, known) = match first.family() {
        Family::V4 => ("IGMP", String::new()),
        Family::V6 => {
            let queries = observation.after.counters.value("Icmp6InGroupMembQueries").unwrap_or_default();
            ("MLD", format!(", {queries} since boot"))
        }
    };
    let why = format!(
        "no {protocol} query in {} s{known}; queriers send one every {} s",
        observation.listened().as_secs(),
        observation.options.query_interval.as_secs()
    );
    let what = format!("whether the network of {} has a querier", names.join(", "));
    report.open_questions.push(OpenQuestion::new(what, why).known_after(timeout));
}

fn report_counters(observation: &Observation, report: &mut Report) {
    let Some(interest) = observation.interests().first().copied() else { return };
    let family = interest.family();
    let counters = [
        Counter::InReceives,
        Counter::InMulticast,
        Counter::InDelivers,
        Counter::IgnoredMulticast,
        Counter::ReceiveBufferErrors,
        Counter::ChecksumErrors,
    ];
    for counter in counters {
        if let Some((before, after)) =
            observation.values(counter.name(family)).filter(|(before, after)| after > before)
        {
            report.observations.push(LayerObservation::new(
                "IP layer",
                format!("{} +{}", counter.name(family), after - before),
            ));
        }
    }
}

fn report_socket(observation: &Observation, report: &mut Report) {
    let Some(trial) = observation.trial() else { return };
    if trial.joined.is_empty() {
        return;
    }
    let lines = trial.received.iter().map(|count| {
        let name = observation.link_name(count.interface);
        let what = format!("{} datagrams from {} on {name}", count.datagrams, count.source);
        LayerObservation::new("socket", what)
    });
    extend_limited(&mut report.observations, "socket", "sources", lines);
    if trial.rejoin == Some(RejoinOutcome::StayedSilent) {
        let what = format!(
            "{} stopped and stayed silent after rejoining: its sender has stopped, or a device on the path no longer forwards it",
            trial.destination()
        );
        report.observations.push(LayerObservation::new("socket", what));
    }
    if trial.received.is_empty() {
        report.observations.push(LayerObservation::new("socket", "nothing"));
    }
}

fn record_refused_taps(observation: &Observation, report: &mut Report) {
    for tap in &observation.wire.taps {
        if let Some(why) = &tap.refused {
            report
                .open_questions
                .push(OpenQuestion::new(format!("which datagrams arrive on {}", tap.name), &why.why));
        }
    }
}

/// Adds an open question for frames that were captured, or should have been, and were not examined: anything may be wrong with
/// them.
fn record_unexamined_frames(observation: &Observation, report: &mut Report) {
    let wire = &observation.wire;
    let dropped: u64 = wire.taps.iter().map(|tap| tap.dropped).sum();
    let unexamined = [
        (wire.undecodable, "their link layer cannot be decoded, or is encrypted"),
        (unrecorded_frames(observation), "they are of more flows, fragments or messages than are recorded"),
        (dropped, "the capture dropped them"),
    ];
    for (frames, why) in unexamined.into_iter().filter(|(frames, _)| *frames > 0) {
        let what = format!("what {frames} frames contain");
        report.open_questions.push(OpenQuestion::new(what, why).with_effect(Effect::NoAnswer));
    }
    for (protocol, reason, frames) in wire.unexamined.iter() {
        let what = format!("what {frames} frames of {protocol} contain");
        let why = format!("the packets inside were not examined: {reason}");
        report.open_questions.push(OpenQuestion::new(what, why).with_effect(Effect::NoAnswer));
    }
    let is_file = matches!(observation.target, ExaminationTarget::File);
    if is_file && wire.flows.is_empty() && wire.control.is_empty() && wire.fragmented.is_empty() {
        let why = "the file contains no datagram to a group, and no message of IGMP, MLD or PIM";
        let question = OpenQuestion::new("whether multicast arrives where the file was captured", why);
        report.open_questions.push(question.with_effect(Effect::NoAnswer));
    }
}

/// Adds an open question for each group of which it is unknown whether it arrives: the examination is then undecided.
fn record_unknown_depths(observation: &Observation, report: &mut Report) {
    let mut known = Vec::new();
    for flow in observation.expected_flows() {
        let key = (flow.status.destination, flow.status.source);
        if flow.status.depth != Depth::Unknown || known.contains(&key) {
            continue;
        }
        known.push(key);
        report.open_questions.push(match flow.flow {
            None if flow.status.on_wire > Some(0) => unknown_together(observation, &flow.status),
            Some(_) => unknown_reading(observation, &flow.status),
            None => unseen_silence(observation, &flow.interest),
        });
    }
}

/// Returns the open question what became of the datagrams of more sources than are recorded.
fn unknown_together(observation: &Observation, flow: &FlowStatus) -> OpenQuestion {
    let datagrams = flow.on_wire.unwrap_or_default();
    let what = format!("whether {datagrams} datagrams to {} from further sources arrive", flow.destination);
    let received = match flow.received {
        Some(received) => format!(", and the socket received {received} of them"),
        None => String::new(),
    };
    let limit = observation.wire.flows.len();
    let why = format!("they are from more sources than are recorded; {limit} flows were examined{received}");
    OpenQuestion::new(what, why).with_effect(Effect::NoAnswer)
}

/// Returns the open question whether a program reads a flow that reaches this machine.
fn unknown_reading(observation: &Observation, flow: &FlowStatus) -> OpenQuestion {
    let source = flow.source.map(|source| source.to_string()).unwrap_or_default();
    let program = flow.program.as_deref().unwrap_or("the program");
    let what = format!("whether {program} reads {} from {source}", flow.destination);
    let read = observation.rise(Counter::DatagramsRead, Family::of(flow.destination.ip()));
    let why = match (flow.on_wire, read) {
        (Some(seen), Some(read)) => format!(
            "{seen} datagrams were on the wire of {}, and programs of this machine read {read} datagrams of any kind",
            flow.interface
        ),
        _ => "the kernel does not count the datagrams that programs read".to_owned(),
    };
    OpenQuestion::new(what, why).with_effect(observation.effect_of_doubt())
}

/// Returns the open question whether anything reaches this machine, if the wire was not observed.
fn unseen_silence(observation: &Observation, unseen: &Interest<'_>) -> OpenQuestion {
    let (to, interface) = (unseen.destination(), observation.link_name(unseen.interface));
    let refusal = observation.wire.refusal(unseen.interface);
    let effect = match refusal {
        Some(refusal) if refusal.needs_rights => Effect::NeedsRights,
        _ => Effect::NoAnswer,
    };
    let nothing = match observation.trial() {
        Some(_) => {
            format!("the socket received nothing in {:.1} s, and ", observation.listened().as_secs_f64())
        }
        None => String::new(),
    };
    let why = match refusal {
        Some(refusal) => format!("{nothing}traffic on {interface} could not be captured: {}", refusal.why),
        None if observation.wire.is_complete(unseen.interface) => {
            format!("{nothing}the group is also joined on an interface that was not captured")
        }
        None if observation.wire.is_tapped(unseen.interface) => {
            format!("{nothing}the capture on {interface} dropped frames")
        }
        None => format!("{nothing}traffic on {interface} was not captured"),
    };
    OpenQuestion::new(format!("whether anything for {to} reaches this machine"), why).with_effect(effect)
}

/// Adds an open question if an examined program has neither joined a group nor sent to one.
fn record_idle_program(observation: &Observation, report: &mut Report) {
    // What keeps it from sending answers the question.
    let is_faulty = |finding: &Finding| finding.severity == Severity::Fault && finding.id.loses_datagrams();
    if report.findings.iter().any(is_faulty) {
        return;
    }
    // In a survey, nobody has asked about the program.
    let is_idle = !observation.is_survey && report.flows.is_empty() && observation.interests().is_empty();
    if let Some(program) = observation.program().filter(|_| is_idle) {
        let what = format!("whether {} receives or sends multicast", program.name);
        // Routing daemons join in this way.
        let joined = if program.has_joined() { "joined groups without a port" } else { "joined no group" };
        let why = format!("its sockets have {joined}, and none of their datagrams to groups was seen");
        report.open_questions.push(OpenQuestion::new(what, why).with_effect(Effect::NoAnswer));
    }
}

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

/// Returns how many captured frames were not examined because of their number. Of a file, everything is.
fn unrecorded_frames(observation: &Observation) -> u64 {
    let wire = &observation.wire;
    let further: u64 = wire.together.values().map(|rest| rest.unrecorded).sum();
    match observation.target {
        ExaminationTarget::File => wire.unrecorded.saturating_add(further),
        _ => wire.unrecorded.saturating_add(wire.ports.unexamined),
    }
}

/// Returns the captured frames that were not recorded, if there are any.
fn unrecorded(observation: &Observation) -> Option<ExaminedPart> {
    let frames = unrecorded_frames(observation);
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
        None if tap.dropped > 0 => {
            part.without(agreeing(format!("the capture dropped {} frames", tap.dropped)))
        }
        None => part,
    }
}

/// Adds the drops of packets to the interests, with the kernel's names for the reasons.
pub(super) fn add_drops(report: &mut Report, observation: &Observation) {
    let interests = observation.interests();
    let flows: Vec<_> =
        interests.iter().flat_map(|interest| observation.dropped_flows(interest, |_| true)).collect();
    let arriving = flows.iter().flat_map(|flow| flow.drops.iter().copied());
    let leaving = observation.dropped_sending(|_| true);
    let lines: BTreeSet<_> = arriving.chain(leaving).map(|drop| line(observation, drop)).collect();
    let lines = lines.into_iter().map(|line| LayerObservation::new("kernel", line));
    extend_limited(&mut report.observations, "kernel", "kinds of drops", lines);
    let drops = &observation.kernel_drops;
    if drops.uncounted > 0 {
        let what = format!(
            "{} further packets to groups dropped, of too many kinds to distinguish",
            drops.uncounted
        );
        report.observations.push(LayerObservation::new("kernel", what));
    }
    // The question matters only after a loss.
    let has_loss = |interest: &Interest<'_>| {
        observation.lost_flows(interest).iter().any(|lost| lost.status.depth.is_lost_here())
    };
    if let Some(refused) = drops.refused.as_ref().filter(|_| interests.iter().any(has_loss)) {
        report.open_questions.push(OpenQuestion::new("why the kernel drops datagrams", &refused.why));
    }
}

fn line(observation: &Observation, drop: &KernelDrop) -> String {
    let interface = drop.interface.map(|index| observation.link_name(index)).unwrap_or_default();
    let how = match drop.direction() {
        DropDirection::Incoming => "arrived on",
        DropDirection::Outgoing => "leaving by",
    };
    let KernelDrop { packets, source, destination, .. } = drop;
    format!(
        "{packets} packets from {source} to {destination} dropped, {how} {interface}: {}",
        drop.describe()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::fixtures::{ETH0, flow, kernel_drop, membership};
    use crate::kernel_drops::KernelDrops;
    use crate::wire::Refusal;

    const TO: &str = "239.1.2.3:5000";

    fn report(received: u64, drops: KernelDrops) -> Report {
        let mut observation = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", TO)], received);
        observation.kernel_drops = drops;
        let mut report = Report::default();
        add_drops(&mut report, &observation);
        report
    }

    #[test]
    fn missing_right_is_reported_only_after_a_loss() {
        let questions = |received| {
            let refused = Some(Refusal::from("it needs the right to trace"));
            report(received, KernelDrops { refused, ..KernelDrops::default() }).open_questions.len()
        };
        assert_eq!((questions(0), questions(10)), (1, 0));
    }

    #[test]
    fn drops_are_listed_with_the_reason_and_those_not_recorded_with_their_number() {
        let drops = vec![kernel_drop("XFRM_POLICY", "10.9.0.1:6000", TO, 10)];
        let report = report(0, KernelDrops { drops, uncounted: 7, refused: None });
        let [drop, uncounted] = &report.observations[..] else { panic!("{report:#?}") };
        let expected = "10 packets from 10.9.0.1:6000 to 239.1.2.3:5000 dropped, arrived on eth0: XFRM_POLICY (an IPsec policy)";
        assert_eq!(drop.message, expected);
        assert!(uncounted.message.starts_with("7 further packets"), "{}", uncounted.message);
    }

    #[test]
    fn only_some_of_many_forged_sources_are_listed() {
        let drops = (0..100).map(|last| kernel_drop("NEW", &format!("10.9.1.{last}:6000"), TO, 10)).collect();
        let report = report(0, KernelDrops { drops, ..KernelDrops::default() });
        assert_eq!(report.observations.last().unwrap().message, "and 80 more kinds of drops");
    }
}
