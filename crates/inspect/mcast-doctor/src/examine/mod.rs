//! The four kinds of examination.

mod coverage;
mod drops;
mod file;
mod membership;
mod program;
mod summary;

pub use file::explain_capture;
pub use membership::examine_membership;
pub use program::examine_program;
pub(crate) use program::{examine_started, explain_failure};

use mcast::joined::Visibility;

use crate::gather::program::{add_socket_options, add_socket_owners, all_joined};
use crate::gather::{snapshot, source_routes};
use crate::observation::{ExaminationTarget, Observation};
use crate::{ArrivalStatus, Depth, ExaminedPart, Id, Report, Result, causes, depth, undo};

/// Examines this machine: its interfaces, routes, settings, bridges and sockets. Joins nothing, sends
/// nothing, and does not listen.
///
/// # Errors
/// Returns an error if the system does not list its interfaces.
pub fn examine_machine() -> Result<Report> {
    let mut now = snapshot()?;
    add_socket_owners(&mut now);
    add_socket_options(&mut now);
    let part = ExaminedPart::new("the sockets of all programs");
    let (programs, part) = match all_joined(&now) {
        Ok((programs, Visibility::Full)) => (programs, part),
        Ok((programs, Visibility::NoProcesses { why })) => (programs, part.without(why)),
        Ok((programs, Visibility::Partial { closed })) => (programs, part.without(hidden(&closed))),
        Ok((programs, _)) => (programs, part.without("the system does not show all of them")),
        Err(error) => (Vec::new(), part.without(error)),
    };
    now.parts.push(part);
    let observation = Observation {
        programs,
        before: now.clone(),
        after: now,
        target: ExaminationTarget::Machine,
        ..Observation::default()
    };
    Ok(report(observation))
}

/// Returns why some sockets are not visible.
fn hidden(processes: &[u32]) -> String {
    const MAX_LISTED: usize = 5;
    let ids: Vec<_> = processes.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    let more = if processes.len() > MAX_LISTED { ", …" } else { "" };
    format!(
        "those of {} processes are hidden ({}{more}): other users own them, or the system protects them",
        processes.len(),
        ids.join(", ")
    )
}

/// Returns the report on an observation.
fn report(mut observation: Observation) -> Report {
    let missing = observation.expected_flows().into_iter().map(|flow| flow.status);
    let missing = missing.filter(|flow| flow.depth != Depth::Arrives);
    let sources = missing.filter_map(|flow| Some(flow.source?.ip()));
    // Sources of flows that nothing expects yet, because of the first fault, come last.
    let others = observation.wire.flows.iter().filter(|flow| !flow.key.outgoing);
    let sources: Vec<_> = sources.chain(others.map(|flow| flow.key.source.ip())).collect();
    observation.source_routes = source_routes(sources);
    let observation = &observation;
    let expected = observation.expected_flows().into_iter().map(|flow| flow.status);
    let flows: Vec<_> = expected.chain(observation.sent_flows()).collect();
    let findings = causes::judge(observation);
    let has_stopped = findings.iter().any(|finding| finding.id == Id::StreamStopped);
    let arrival = match observation.trial() {
        // The join failed.
        Some(trial) if trial.joined.is_empty() => ArrivalStatus::Nothing,
        _ => match depth::arrival(&flows) {
            ArrivalStatus::Arrives if has_stopped => ArrivalStatus::Stopped,
            arrival => arrival,
        },
    };
    let mut report =
        Report { findings, flows, arrival, examined: coverage::parts(observation), ..Report::default() };
    summary::add_to(&mut report, observation);
    drops::add_to(&mut report, observation);
    if !matches!(observation.target, ExaminationTarget::File) {
        undo::add_to(&mut report);
    }
    report
}
