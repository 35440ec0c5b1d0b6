//! Examination of a name that is looked for: whether it is announced, whether announcements get to sockets, and whether what it
//! announces can be reached.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast::{InterfaceSelector, Membership};
use mcast_watch::discovery::{Discovered, DiscoveredKind};

use crate::gather::{program, services, snapshot, source_routes};
use crate::observation::{Observation, Program};
use crate::service::{ServiceSearch, ServiceTarget};
use crate::snapshot::Snapshot;
use crate::{
    ArrivalStatus, Finding, Id, LayerObservation, Options, ProgramSelector, ProgressCallback, Report, Result,
    causes, examine_membership,
};

/// How long to examine whether announcements get to sockets.
const AT_SOCKETS: Duration = Duration::from_secs(3);

/// Looks for a service, a device or a host by its name, and reports why it is not found or cannot be reached.
///
/// It asks by the protocols of [`mcast_watch::Discovery`] and listens on all interfaces, examines whether the announcements get
/// to sockets, and connects to the announced addresses.
///
/// Without the right to capture (`CAP_NET_RAW`), protocols without UDP are not seen, and the report says so.
///
/// # Errors
/// Returns an error if the system does not list its interfaces, if an interface does not exist, or if listening fails.
pub fn examine_service(
    target: &ServiceTarget,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Report> {
    let before = snapshot()?;
    let search = services::search(target, &before, options, report_progress)?;
    let mut at_sockets = at_sockets(&search, &before, options, report_progress)?;
    let after = snapshot()?;
    // What is reached of a topic are the addresses of its participant.
    let participants = search.others.iter().filter(|entry| entry.kind == DiscoveredKind::Participant);
    let addresses = search.found.iter().chain(participants).flat_map(|entry| entry.addresses.iter().copied());
    let programs =
        search.group().and_then(|group| program::find(ProgramSelector::Port(group.port), &after).ok());
    let observation = Observation {
        programs: programs.and_then(relay_of).into_iter().collect(),
        source_routes: source_routes(addresses.collect::<BTreeSet<_>>()),
        before,
        after,
        options: options.clone(),
        ..Observation::default()
    };
    let mut report = causes::services::report(&observation, &search);
    // Counted or predicted, it is the same rule.
    if report.findings.iter().any(|finding| finding.id == Id::FirewallDropsOutput) {
        at_sockets.findings.retain(|finding| finding.id != Id::FirewallDropsOutput);
    }
    let is_counted = |finding: &Finding| {
        let is_same = |other: &Finding| {
            (other.id, &other.subject.interfaces) == (Id::FirewallDropsData, &finding.subject.interfaces)
        };
        finding.id == Id::FirewallDropsData && at_sockets.findings.iter().any(is_same)
    };
    report.findings.retain(|finding| !is_counted(finding));
    Ok(report.and(at_sockets))
}

/// Returns the sockets of the relays among the programs on a port.
fn relay_of(mut program: Program) -> Option<Program> {
    program.sockets.retain(|socket| socket.owner.starts_with("mcast"));
    program.name = program.sockets.first()?.owner.clone();
    Some(program)
}

/// Examines the group of the announcements on the interfaces of the programs, while sockets ask.
fn at_sockets(
    search: &ServiceSearch,
    machine: &Snapshot,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Report> {
    let Some(group) = search.group() else { return Ok(Report::default()) };
    let asking = services::open(&search.target, &services::own_domains(machine)?, false)?;
    let options = options.clone().listening(AT_SOCKETS.min(options.listen));
    let mut reports = Vec::new();
    let found = search.found.iter().map(|entry| entry.key.place.interface);
    let found: BTreeSet<_> = found.filter(|interface| search.wanted.contains(interface)).collect();
    // One after the other, because all read the same counters.
    for interface in if found.is_empty() { &search.wanted } else { &found } {
        asking.ask();
        let membership = Membership::new(group).on(InterfaceSelector::Index(*interface));
        reports.push(examine_membership(&membership, &options, report_progress)?);
    }
    let mut report = reports.into_iter().reduce(Report::and).unwrap_or_default();
    let asks = format!("({})", std::process::id());
    let is_of_dds = group.group.addr() == ServiceTarget::DDS_GROUP;
    report.findings.retain(|finding| match finding.id {
        // A network in which nothing is announced for some seconds is not at fault, nor if something is after a report. How far
        // announcements reach, `not-announced` states.
        Id::NothingArrives | Id::StreamStopped | Id::MembershipForgotten | Id::ScopeNeverLeaves => false,
        // Domains have their own ports, and participants are judged by what they announce.
        Id::WrongPort if is_of_dds => false,
        // Programs that look on all networks have joined there, too, and of the doctor, `announced-elsewhere` states it.
        Id::JoinedOtherInterface | Id::SentByOtherInterface
            if is_of_dds || search.target.interfaces.is_empty() || finding.subject.program.is_none() =>
        {
            false
        }
        // The sockets that ask are not those of a program.
        _ => !finding.subject.program.as_ref().is_some_and(|program| program.ends_with(&asks)),
    });
    report.arrival = ArrivalStatus::NotObserved;
    report.flows.retain(|flow| !flow.depth.is_silent());
    let is_found = |entry: &Discovered| {
        let same =
            |other: &Discovered| (entry.key.protocol, &entry.key.id) == (other.key.protocol, &other.key.id);
        search.found.iter().any(same)
    };
    let is_received = asking.entries().iter().any(is_found);
    asking.close();
    if !search.found.is_empty() {
        let (name, what) = (&search.target, if is_received { "received" } else { "did not receive" });
        report.observations.push(LayerObservation::new(
            "socket",
            format!("a socket that asks {what} announcements of {name}"),
        ));
    }
    Ok(report)
}
