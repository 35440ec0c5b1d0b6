//! The observations and open questions of a report: how far the datagrams came.

use std::net::IpAddr;

use mcast::{Family, InterfaceIndex};

use crate::depth::{Depth, FlowStatus};
use crate::observation::{Interest, Observation, RejoinOutcome};
use crate::snapshot::Counter;
use crate::wire::{ControlMessage, Flow};
use crate::{Effect, LayerObservation, OpenQuestion, Report};

/// The maximum number of flows listed one by one; the others are only counted.
const MAX_LISTED_FLOWS: usize = 20;

/// Adds the observations and open questions to a report that has its findings.
pub(super) fn add_to(report: &mut Report, observation: &Observation) {
    report_wire(observation, report);
    report_queriers(observation, report);
    report_counters(observation, report);
    report_socket(observation, report);
    let experiments = observation.experiments.iter();
    report.observations.extend(experiments.map(|what| LayerObservation::new("experiment", what.as_str())));
    note_refused_taps(observation, report);
    note_unknown_depths(observation, report);
    note_idle_program(observation, report);
    note_unnumbered_stream(observation, report);
}

fn report_wire(observation: &Observation, report: &mut Report) {
    let groups: Vec<IpAddr> = observation.interests().iter().map(|interest| interest.group.addr()).collect();
    let of_interest = |flow: &&Flow| observation.trial().is_none() || groups.contains(&flow.key.group);
    let mut flows: Vec<_> = observation.wire.flows.iter().filter(of_interest).collect();
    flows.sort_by_key(|flow| (!groups.contains(&flow.key.group), std::cmp::Reverse(flow.datagrams)));
    report.observations.extend(flows.iter().take(MAX_LISTED_FLOWS).map(|flow| {
        let direction = if flow.key.outgoing { "out" } else { "in" };
        LayerObservation::new(
            format!("wire {}", observation.link_name(flow.key.interface)),
            format!(
                "{} datagrams {direction} from {} to {}, hop limit {}",
                flow.datagrams,
                flow.key.source,
                flow.destination(),
                flow.hop_limits.1
            ),
        )
    }));
    if flows.len() > MAX_LISTED_FLOWS {
        report.observations.push(LayerObservation::new(
            "wire",
            format!("and {} more flows", flows.len() - MAX_LISTED_FLOWS),
        ));
    }
    for tap in observation.wire.taps.iter().filter(|tap| tap.dropped > 0) {
        report.observations.push(LayerObservation::new(
            format!("wire {}", tap.name),
            format!("{} frames dropped by the capture", tap.dropped),
        ));
    }
}

fn report_queriers(observation: &Observation, report: &mut Report) {
    let mut reported = Vec::new();
    for control in &observation.wire.control {
        let ControlMessage::Query { version, group: None, .. } = control.message else { continue };
        let querier = (control.interface, control.source);
        if !reported.contains(&querier) {
            reported.push(querier);
            let protocol = if control.source.is_ipv4() { "IGMP" } else { "MLD" };
            report.observations.push(LayerObservation::new(
                format!("wire {}", observation.link_name(control.interface)),
                format!("{protocol}v{version} querier {}", control.source),
            ));
        }
    }
    note_unknown_querier(observation, report, &reported);
}

/// Adds the open question whether there is a querier, if a group is silent: without one, a switch may have forgotten
/// the membership. Queries are so rare that a short silence proves nothing.
fn note_unknown_querier(
    observation: &Observation,
    report: &mut Report,
    queriers: &[(InterfaceIndex, IpAddr)],
) {
    let timeout = observation.options.querier_timeout();
    let has_querier = |interest: &Interest<'_>| {
        let is_same = |(interface, source): &(InterfaceIndex, IpAddr)| {
            *interface == interest.interface && Family::of(*source) == interest.family()
        };
        queriers.iter().any(is_same)
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
            ("MLD", format!(", {queries} since the system started"))
        }
    };
    let why = format!(
        "no {protocol} query in {} s{known}; queriers send one every {} s",
        observation.listened().as_secs(),
        observation.options.query_interval.as_secs()
    );
    let what = format!("whether the network of {} has a querier", names.join(", "));
    report.unknown.push(OpenQuestion::new(what, why).known_after(timeout));
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
    for count in &trial.received {
        report.observations.push(LayerObservation::new(
            "socket",
            format!(
                "{} datagrams from {} on {}",
                count.datagrams,
                count.source,
                observation.link_name(count.interface)
            ),
        ));
    }
    if trial.rejoin == Some(RejoinOutcome::StayedSilent) {
        let what = format!(
            "{} stopped and stayed silent after rejoining: its sender has stopped",
            trial.destination()
        );
        report.observations.push(LayerObservation::new("socket", what));
    }
    if trial.received.is_empty() {
        report.observations.push(LayerObservation::new("socket", "nothing"));
    }
}

fn note_refused_taps(observation: &Observation, report: &mut Report) {
    for tap in &observation.wire.taps {
        if let Some(why) = &tap.refused {
            report
                .unknown
                .push(OpenQuestion::new(format!("which datagrams arrive on {}", tap.name), &why.why));
        }
    }
}

/// Adds an open question for each group of which it is unknown whether it arrives: the examination is then undecided.
fn note_unknown_depths(observation: &Observation, report: &mut Report) {
    let mut known = Vec::new();
    for flow in observation.expected_flows() {
        let key = (flow.status.destination, flow.status.source);
        if flow.status.depth != Depth::Unknown || known.contains(&key) {
            continue;
        }
        known.push(key);
        report.unknown.push(match flow.flow {
            Some(_) => unknown_reading(observation, &flow.status),
            None => unseen_silence(observation, &flow.interest),
        });
    }
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
        _ => "the system does not count the datagrams that programs read".to_owned(),
    };
    OpenQuestion::new(what, why).with_effect(Effect::NoAnswer)
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
fn note_idle_program(observation: &Observation, report: &mut Report) {
    if let Some(program) = observation.program().filter(|_| report.flows.is_empty()) {
        let what = format!("whether {} receives or sends multicast", program.name);
        let why = "its sockets have joined no group, and none of their datagrams to groups was seen";
        report.unknown.push(OpenQuestion::new(what, why).with_effect(Effect::NoAnswer));
    }
}

/// Adds an open question if a stream arrives whose payloads have no sequence numbers.
fn note_unnumbered_stream(observation: &Observation, report: &mut Report) {
    /// A shorter stream is not judged.
    const ESTABLISHED: u64 = 32;
    let flows = observation.all_arrivals();
    let unnumbered =
        flows.iter().find(|flow| flow.datagrams >= ESTABLISHED && flow.numbering.statistics().is_none());
    report.unknown.extend(unnumbered.map(|flow| {
        OpenQuestion::new(
            format!(
                "whether datagrams from {} to {} are lost before this machine",
                flow.key.source,
                flow.destination()
            ),
            "their payloads have no sequence numbers that mcast recognizes",
        )
    }));
}
