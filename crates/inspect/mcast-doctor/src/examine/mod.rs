//! The four kinds of examination.

mod membership;
mod protocols;
mod services;
mod summary;

use std::path::Path;

use mcast::InterfaceIndex;
use mcast::interface::Interface;
use mcast::joined::Visibility;
use mcast_capture::{CaptureFile, FileError, FileErrorKind, UnwrappedPacket, Unwrapper};

use crate::causes::intervals::is_at_rest;
use crate::fate;
use crate::gather::program::{add_socket_options, add_socket_owners, all_joined};
use crate::gather::{snapshot, source_routes};
use crate::observation::{ExaminationTarget, Observation};
use crate::snapshot::{Link, Snapshot};
use crate::wire::{Recorder, Tap};
use crate::{
    ArrivalStatus, Depth, Effect, ExaminedPart, FlowStatus, Id, OpenQuestion, Report, Result, Severity,
    causes,
};
pub use membership::{examine_membership, examine_program, examine_programs};
pub(crate) use membership::{examine_started, explain_failure};
pub use protocols::{examine_protocol, explain_capture_of};
pub use services::examine_service;

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
        Ok((programs, _)) => (programs, part.without("the kernel does not show all of them")),
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
    let (number, ids) = (processes.len(), ids.join(", "));
    let noun = if number == 1 { "process" } else { "processes" };
    format!(
        "those of {number} {noun} are hidden ({ids}{more}): other users own them, or the kernel protects them"
    )
}

fn report(mut observation: Observation) -> Report {
    observation.keep_representatives();
    let missing = observation.expected_flows().into_iter().map(|flow| flow.status);
    let missing = missing.filter(|flow| flow.depth != Depth::Arrives);
    let sources = missing.filter_map(|flow| Some(flow.source?.ip()));
    // Sources of flows that nothing expects yet, because of the first fault, come last.
    let others = observation.wire.flows.iter().filter(|flow| !flow.key.outgoing);
    let sources: Vec<_> = sources.chain(others.map(|flow| flow.key.source.ip())).collect();
    observation.source_routes = source_routes(sources);
    let observation = &observation;
    let findings = causes::judge(observation);
    let expected = observation.expected_flows().into_iter();
    let expected = expected.filter(|flow| !is_at_rest(observation, flow)).map(|flow| flow.status);
    // A group that is only worth a note is not one that fails to arrive.
    let is_unused = |flow: &FlowStatus| {
        let mut silence = findings.iter().filter(|finding| finding.id == Id::NothingArrives);
        silence.any(|finding| {
            finding.severity == Severity::Note && finding.flows.iter().any(|silent| silent.covers(flow))
        })
    };
    let expected = expected.filter(|flow| !is_unused(flow));
    let flows: Vec<_> = expected.chain(observation.sent_flows()).collect();
    let has_stopped = findings.iter().any(|finding| finding.id == Id::StreamStopped);
    let arrival = match observation.trial() {
        // The join failed.
        Some(trial) if trial.joined.is_empty() => ArrivalStatus::Nothing,
        _ => match fate::depth::arrival(&flows) {
            ArrivalStatus::Arrives if has_stopped => ArrivalStatus::Stopped,
            arrival => arrival,
        },
    };
    let mut report =
        Report { findings, flows, arrival, examined: summary::parts(observation), ..Report::default() };
    summary::add_to(&mut report, observation);
    summary::add_drops(&mut report, observation);
    if !matches!(observation.target, ExaminationTarget::File) {
        let remedies = report.findings.iter_mut().flat_map(|finding| &mut finding.remedies);
        remedies.for_each(crate::Remedy::add_undo);
    }
    report
}

/// Examines a capture file and reports the causes that it shows. The capture may come from any machine.
///
/// If the file is truncated or damaged, the part before the damage is examined, and the report says so.
///
/// # Errors
/// Returns an error if the file is not a capture file or cannot be read.
pub fn explain_capture(path: impl AsRef<Path>) -> Result<Report> {
    let mut recorder = Recorder::default();
    let read = ReadFile::read(path.as_ref(), &mut |packet| recorder.record_unwrapped(packet))?;
    let mut wire = recorder.finish(read.taps.clone(), None);
    wire.undecodable = read.undecodable;
    wire.unexamined = read.unwrapper.unexamined().clone();
    let flows_in_file = wire.flows.len();
    let report = report(Observation { wire, ..read.observation() });
    Ok(read.with_damage(Report { flows_in_file, ..report }))
}

/// What was read of a capture file.
pub(super) struct ReadFile {
    links: Vec<Link>,
    pub(super) taps: Vec<Tap>,
    undecodable: u64,
    unwrapper: Unwrapper,
    damage: Option<FileError>,
}

impl ReadFile {
    /// Reads a file, and passes each packet on.
    pub(super) fn read(path: &Path, record: &mut dyn FnMut(&UnwrappedPacket<'_>)) -> Result<Self> {
        let mut file = CaptureFile::open(path)?;
        let mut unwrapper = Unwrapper::new();
        let damage = visit(&mut file, &mut unwrapper, record)?;
        let (links, taps): (Vec<_>, Vec<_>) = file
            .all_interfaces()
            .map(|(number, name, interface)| {
                let link = link(number, name);
                let tap = Tap { dropped: interface.dropped.unwrap_or_default(), ..Tap::on(&link) };
                (link, tap)
            })
            .unzip();
        Ok(Self { links, taps, undecodable: file.statistics().skipped, unwrapper, damage })
    }

    /// Returns the observation of a file, without its packets.
    pub(super) fn observation(&self) -> Observation {
        let machine = Snapshot { links: self.links.clone(), ..Snapshot::default() };
        let target = ExaminationTarget::File;
        Observation { before: machine.clone(), after: machine, target, ..Observation::default() }
    }

    /// Adds the question what the rest of a damaged file contains.
    pub(super) fn with_damage(self, mut report: Report) -> Report {
        report.open_questions.extend(self.damage.map(|error| {
            OpenQuestion::new("what the rest of the file contains", error.to_string())
                .with_effect(Effect::NoAnswer)
        }));
        report
    }
}

/// Returns the interface with this number in the file. One without a usable name is called by its number.
fn link(number: InterfaceIndex, name: Option<&str>) -> Link {
    let name = name.filter(|name| is_plain(name)).map_or_else(|| format!("#{number}"), str::to_owned);
    let mut interface = Interface::new(number, name);
    (interface.up, interface.running, interface.multicast) = (true, true, true);
    interface.into()
}

/// Visits all readable frames; returns the damage that ended reading, if any.
fn visit(
    file: &mut CaptureFile,
    unwrapper: &mut Unwrapper,
    record: &mut dyn FnMut(&UnwrappedPacket<'_>),
) -> Result<Option<FileError>> {
    let damage = loop {
        match file.next() {
            Ok(Some(frame)) => unwrapper.visit(&frame, &mut *record),
            Ok(None) => break None,
            Err(error) if is_damage(error.kind()) => break Some(error),
            Err(error) => return Err(error.into()),
        }
    };
    unwrapper.finish(record);
    Ok(damage)
}

/// Returns whether a name is safe in a command that is pasted into a shell. The names come from the file,
/// which is untrusted.
fn is_plain(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._:@-".contains(character);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

fn is_damage(kind: FileErrorKind) -> bool {
    matches!(kind, FileErrorKind::Truncated { .. } | FileErrorKind::Malformed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_name_with_shell_syntax_is_rejected() {
        for name in ["eth0", "en0.5", "eth0:1", "veth1@if2", "br-lan", "wlp2s0_x"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "-rf", "eth0;reboot", "$(reboot)", "`x`", "a b", "\u{1b}[31m", "a'b", "ü"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
