//! Examination of the packets of an IP protocol other than UDP.

use std::path::Path;
use std::time::SystemTime;

use mcast::{InterfaceIndex, InterfaceSelector};
use mcast_capture::UnwrappedPacket;

use super::ReadFile;
use crate::gather::protocols::{ProtocolListener, record, routes_of};
use crate::gather::{DropCounter, snapshot};
use crate::observation::Observation;
use crate::protocol::{ProtocolTarget, ProtocolTraffic, RawProgram};
use crate::snapshot::{Link, Snapshot};
use crate::{Options, ProgressCallback, Report, Result, causes};

/// Joins a group of a protocol that runs directly over IP with a raw socket, and reports whether the packets that arrive on the wire
/// reach it.
///
/// Without the right to open raw sockets and to capture (`CAP_NET_RAW`) nothing is observed, and the report says so. Linux only.
///
/// # Errors
/// Returns an error if the system does not list its interfaces, if the interface does not exist, or if receiving fails.
pub fn examine_protocol(
    target: &ProtocolTarget,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Report> {
    let report = examine(&[(target.clone(), None)], false, options, report_progress)?;
    Ok(report.unwrap_or_default())
}

/// Examines the packets that the raw sockets of programs are for; `None` if there are none. In a survey, nobody has asked about one of
/// the programs.
pub(super) fn examine_raw_sockets(
    expected: Vec<(ProtocolTarget, RawProgram)>,
    is_survey: bool,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Option<Report>> {
    let subjects: Vec<_> = expected.into_iter().map(|(target, program)| (target, Some(program))).collect();
    if subjects.is_empty() {
        return Ok(None);
    }
    examine(&subjects, is_survey, options, report_progress)
}

fn examine(
    subjects: &[(ProtocolTarget, Option<RawProgram>)],
    is_survey: bool,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Option<Report>> {
    let before = snapshot()?;
    let mut drop_counter = DropCounter::prepare();
    drop_counter.start();
    let links: Vec<_> = before.links.iter().filter(|link| link.is_of_the_host()).collect();
    let mut listener = ProtocolListener::default();
    for (target, program) in subjects {
        let joined = match program {
            Some(program) => {
                links.iter().copied().filter(|link| program.joined.contains(&link.index())).collect()
            }
            None => chosen(target, &before)?,
        };
        listener.add(target, program.clone(), &joined);
    }
    links.iter().for_each(|link| listener.tap(link));
    let traffic = listener.listen(options, report_progress)?;
    let kernel_drops = drop_counter.finish();
    let after = snapshot()?;
    let observation = Observation {
        before,
        after,
        options: options.clone(),
        kernel_drops,
        is_survey,
        source_routes: routes_of(&traffic),
        ..Observation::default()
    };
    let reports = traffic.iter().map(|traffic| causes::protocols::report(&observation, traffic));
    Ok(reports.reduce(Report::and))
}

/// Examines the packets of a protocol without ports in a capture file, which may come from any machine: whether they are there, and
/// whether their senders get along.
///
/// # Errors
/// Returns an error if the file is not a capture file or cannot be read.
pub fn explain_capture_of(path: impl AsRef<Path>, target: &ProtocolTarget) -> Result<Report> {
    let mut traffic = ProtocolTraffic::new(target, None);
    let mut ends: Option<(SystemTime, SystemTime)> = None;
    let mut file = ReadFile::read(path.as_ref(), &mut |packet| {
        let UnwrappedPacket { interface, direction, time, .. } = *packet;
        ends = Some(ends.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        if is_on(target, interface, packet.interface_name) {
            record(&mut traffic, packet.packet, (interface, direction), time);
        }
    })?;
    traffic.until = ends.map(|(_, last)| last);
    let span = ends.and_then(|(first, last)| last.duration_since(first).ok());
    traffic.listened = span.unwrap_or_default();
    traffic.taps = std::mem::take(&mut file.taps);
    let report = causes::protocols::report(&file.observation(), &traffic);
    Ok(file.with_damage(report))
}

/// Returns whether an interface of a file is the one that is examined.
fn is_on(target: &ProtocolTarget, interface: InterfaceIndex, name: Option<&str>) -> bool {
    match &target.interface {
        Some(InterfaceSelector::Name(chosen)) => name == Some(chosen),
        Some(InterfaceSelector::Index(chosen)) => *chosen == interface,
        _ => true,
    }
}

/// Returns the interfaces on which the packets should arrive.
fn chosen<'a>(target: &ProtocolTarget, machine: &'a Snapshot) -> Result<Vec<&'a Link>> {
    let suitable = machine.links.iter().filter(|link| link.is_of_the_host() && link.interface.multicast);
    Ok(match &target.interface {
        None | Some(InterfaceSelector::All) => suitable.collect(),
        Some(InterfaceSelector::Default) => {
            let default = mcast::interface::towards(target.group.addr())?;
            let index = default.map(|interface| interface.index);
            suitable.filter(|link| Some(link.index()) == index).collect()
        }
        Some(selector) => {
            let index = mcast::interface::find(selector)?.index;
            machine.links.iter().filter(|link| link.index() == index).collect()
        }
    })
}
