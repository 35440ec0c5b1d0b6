//! Examination of a membership: join it, and listen at all layers.

use mcast::{ErrorKind, Family, InterfaceIndex, Membership, Receiver, SourceFilter};

use super::protocols::examine_raw_sockets;
use crate::gather::experiment::{ExaminedTraffic, HookExperiment};
use crate::gather::listen::{GroupFilter, Rejoin, RejoinMethod, Taps, listen};
use crate::gather::protocols::{of_all, of_process};
use crate::gather::{DropCounter, program, refresh_counters, snapshot};
use crate::observation::{
    ExaminationTarget, Failure, Observation, Program, ProgramSocket, TrialMembership, index_of,
};
use crate::protocol::{ProtocolTarget, RawProgram};
use crate::snapshot::{Link, Snapshot};
use crate::{Error, HostError, Options, ProgramSelector, ProgressCallback, Report, Result};

/// Joins the group, listens at three layers at once (the wire, the counters of the IP layer, the socket), and
/// reports the layer at which datagrams were lost.
///
/// Without the right to capture (`CAP_NET_RAW`) the wire is not observed, and the report says so.
///
/// # Errors
/// Returns an error if the system does not list its interfaces, if the interface does not exist, or if
/// receiving fails. A join that fails for a reason that can be fixed is a finding, not an error.
pub fn examine_membership(
    membership: &Membership,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Report> {
    let mut before = snapshot()?;
    program::add_socket_options(&mut before);
    let (group, port) = (membership.address.group, membership.address.port);
    // Taken before the doctor opens its own socket. That no other program has the port open is not an error.
    let other_sockets = program::find(ProgramSelector::Port(port), &before)
        .map(|program| program.sockets)
        .unwrap_or_default();
    let mut taps = Taps::of(&before, &named(membership, &before)).with_ports([port]);
    let experiment = HookExperiment::begin(&ExaminedTraffic::of_membership(membership), &before, options);
    let mut drop_counter = DropCounter::prepare();
    let mut trial = TrialMembership { other_sockets, ..TrialMembership::new(membership.clone()) };
    refresh_counters(&mut before);
    program::refresh_drops(&mut trial.other_sockets);
    let mut receiver = join(&mut taps, &mut trial, &before)?;
    if trial.failed_with(ErrorKind::SourceNeeded).is_some()
        && let Some(source) = taps.wait_for_source(group.addr(), port, options.listen.min(SHORT_LISTEN))
    {
        // The rest of the path is examined with the source that sends.
        trial.membership = membership.clone().from_sources(SourceFilter::Include([source].into()));
        refresh_counters(&mut before);
        program::refresh_drops(&mut trial.other_sockets);
        receiver = join(&mut taps, &mut trial, &before)?;
    }
    drop_counter.start();
    let membership = &trial.membership.clone();
    trial.joined =
        receiver.as_ref().map(|receiver| joined(receiver, &mut trial.failures)).unwrap_or_default();
    trial.already_joined =
        trial.joined.iter().copied().filter(|index| before.is_joined(group.addr(), *index)).collect();

    // If the join failed, a short capture may still show why.
    let options = if receiver.is_some() {
        options.clone()
    } else {
        options.clone().listening(options.listen.min(SHORT_LISTEN))
    };
    let filter = GroupFilter { group: Some(group.addr()), port: Some(port) };
    let rejoin = receiver.as_ref().and_then(|receiver| rejoin(membership, receiver, &before, &trial));
    let mut sampling = |progress| {
        program::sample_queues(&mut trial.other_sockets);
        report_progress(progress)
    };
    let (wire, probe) = listen(taps, receiver.as_ref(), rejoin.as_ref(), filter, &options, &mut sampling)?;
    let kernel_drops = drop_counter.finish();
    program::sample_queues(&mut trial.other_sockets);
    let (hooks, experiments) = experiment.finish();
    let experiments = experiments.into_iter().chain(probe.experiment.clone()).collect();
    trial.rejoin = probe.rejoin;
    trial.received = probe.counts();
    trial.dropped =
        receiver.as_ref().and_then(|receiver| receiver.statistics().dropped.count()).unwrap_or_default();
    let after = snapshot()?;
    let last = program::find(ProgramSelector::Port(port), &after).unwrap_or_default();
    program::add_later_state(&mut trial.other_sockets, &last.sockets);
    if trial.failed_with(ErrorKind::AddressInUse).is_some() {
        program::add_socket_owners(&mut before);
    }
    let target = ExaminationTarget::Membership(trial);
    let observation = Observation {
        before,
        after,
        wire,
        target,
        options,
        hooks,
        experiments,
        kernel_drops,
        ..Observation::default()
    };
    Ok(super::report(observation))
}

/// Joins the membership of the trial, and counts datagrams from now on. A failure that can be fixed is recorded.
fn join(taps: &mut Taps, trial: &mut TrialMembership, before: &Snapshot) -> Result<Option<Receiver>> {
    let built = Receiver::builder().join(trial.membership.clone()).build();
    // Switches forward the group only after the report.
    taps.begin_counting();
    match built {
        Ok(receiver) => Ok(Some(receiver)),
        Err(error) if has_finding(error.kind()) => {
            trial.failures.push(failure(&error));
            Ok(None)
        }
        // Linux has no error of its own for an interface without IPv6.
        Err(error) => match without_ipv6(&trial.membership, before) {
            Some(link) => {
                trial.failures.push(Failure { interface: Some(link.name().to_owned()), ..failure(&error) });
                Ok(None)
            }
            None => Err(error.into()),
        },
    }
}

const SHORT_LISTEN: std::time::Duration = std::time::Duration::from_secs(2);

/// Returns how to report the membership again. Switches do not forget link-local groups.
fn rejoin<'a>(
    membership: &'a Membership,
    receiver: &'a Receiver,
    before: &'a Snapshot,
    trial: &TrialMembership,
) -> Option<Rejoin<'a>> {
    if membership.address.group.scope().stays_on_link() {
        return None;
    }
    let links = || trial.already_joined.iter().filter_map(|index| before.link(*index));
    let with_version = |link: &'a Link| (link, before.igmp_versions.get(link.name()).copied());
    let method = match trial.already_joined.is_empty() {
        true => RejoinMethod::Join(receiver, membership),
        false => RejoinMethod::Report(links().map(with_version).collect(), &membership.sources),
    };
    Some(Rejoin { address: membership.address, method })
}

/// Returns the interface that the membership names, which may be one that is not tapped otherwise.
fn named(membership: &Membership, machine: &Snapshot) -> Vec<InterfaceIndex> {
    let found = membership.interface.as_ref().and_then(|selector| mcast::interface::find(selector).ok());
    let index = found.map(|interface| interface.index);
    index.into_iter().filter(|index| machine.link(*index).is_some_and(|link| link.interface.up)).collect()
}

/// Returns the interface that an IPv6 membership names, if its MTU is too small for IPv6.
fn without_ipv6<'a>(membership: &Membership, machine: &'a Snapshot) -> Option<&'a Link> {
    let is_v6 = membership.address.group.family() == Family::V6;
    let links = named(membership, machine).into_iter().filter_map(|index| machine.link(index));
    links.into_iter().find(|link| is_v6 && link.is_too_small_for_ipv6())
}

/// Returns whether a finding explains a failed join; other failures are errors for the caller.
fn has_finding(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AddressInUse
            | ErrorKind::FamilyUnavailable
            | ErrorKind::InterfaceDown
            | ErrorKind::LimitReached
            | ErrorKind::NoRoute
            | ErrorKind::NoUsableInterface
            | ErrorKind::SourceNeeded
    )
}

/// Returns the interfaces on which the receiver joined, and appends the failures.
fn joined(receiver: &Receiver, failures: &mut Vec<Failure>) -> Vec<InterfaceIndex> {
    let mut indices = Vec::new();
    for status in receiver.memberships() {
        for interface in status.interfaces {
            match &interface.failure {
                None => indices.push(interface.index),
                Some(error) => failures.push(Failure { interface: Some(interface.name), ..failure(error) }),
            }
        }
    }
    indices
}

fn failure(error: &mcast::Error) -> Failure {
    Failure { interface: error.interface().map(str::to_owned), kind: error.kind(), text: error.to_string() }
}

/// Examines the sockets of another program, and the traffic on the wire for them. Of UDP, joins nothing; the groups of raw sockets of
/// a process, the doctor joins with its own. If nothing for its first membership arrives, sends another report for it, which shows whether a switch has forgotten it.
///
/// On Linux, the owners of sockets are visible only to the same user and to root.
///
/// # Errors
/// [`HostError::NoProgram`](crate::HostError::NoProgram) if the program does not exist, or has no UDP socket and no raw socket for groups;
/// [`HostError::Hidden`](crate::HostError::Hidden) if it belongs to another user;
/// [`HostError::OtherNamespace`](crate::HostError::OtherNamespace) if it is in another network namespace.
pub fn examine_program(
    target: ProgramSelector,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Report> {
    examine_started(target, options, report_progress, |_| Ok(()))
}

/// Like [`examine_program`]; after listening, `complete` adds what else is known about the program.
pub(crate) fn examine_started(
    target: ProgramSelector,
    options: &Options,
    report_progress: ProgressCallback<'_>,
    complete: impl FnOnce(&mut Program) -> Result<()>,
) -> Result<Report> {
    let raw = match target {
        ProgramSelector::Process(pid) => of_process(pid)?,
        ProgramSelector::Port(_) => Vec::new(),
    };
    let found = match find(target) {
        // Between the look at the sockets and that at the processes, a program may have replaced its socket.
        Err(Error::Host(HostError::NoProgram(_))) => find(target),
        found => found,
    };
    let (before, found) = match found {
        // A program of a routing protocol may have raw sockets only.
        Err(Error::Host(HostError::NoProgram(_))) if !raw.is_empty() => {
            return examine_raw_only(raw, options, report_progress, complete);
        }
        found => found?,
    };
    let again = |machine: &Snapshot| program::find(target, machine).unwrap_or_default().sockets;
    let (mut observation, mut found) = observe((before, found), again, options, report_progress)?;
    complete(&mut found)?;
    if !found.printed.is_empty() {
        program::add_socket_owners(&mut observation.before);
    }
    let report = super::report(Observation { target: ExaminationTarget::Program(found), ..observation });
    let packets = examine_raw_sockets(raw, false, options, report_progress)?;
    Ok(packets.into_iter().fold(report, Report::and))
}

/// Examines a program that has no UDP sockets.
fn examine_raw_only(
    raw: Vec<(ProtocolTarget, RawProgram)>,
    options: &Options,
    report_progress: ProgressCallback<'_>,
    complete: impl FnOnce(&mut Program) -> Result<()>,
) -> Result<Report> {
    let name = raw.first().map(|(_, program)| program.name.clone()).unwrap_or_default();
    let report = examine_raw_sockets(raw, false, options, report_progress)?.unwrap_or_default();
    let mut program = Program { name, ..Program::default() };
    complete(&mut program)?;
    if program.printed.is_empty() && program.ended.is_none() {
        return Ok(report);
    }
    let Report { findings, .. } = explain_failure(program)?;
    let arrival = report.arrival;
    Ok(report.and(Report { findings, arrival, ..Report::default() }))
}

/// Examines this machine like [`examine_machine`](crate::examine_machine), and each program that has joined groups like
/// [`examine_program`]. Programs of others, which are hidden, are listed as not examined. That a protocol is silent for less than
/// its interval leaves nothing undecided: nobody has asked about it.
///
/// ```no_run
/// use mcast_doctor::{Options, examine_programs};
/// use std::ops::ControlFlow;
///
/// let report = examine_programs(&Options::default(), &mut |_| ControlFlow::Continue(()))?;
/// println!("{}", report.summary());
/// # Ok::<(), mcast_doctor::Error>(())
/// ```
///
/// # Errors
/// Returns an error if the system does not list its interfaces.
pub fn examine_programs(options: &Options, report_progress: ProgressCallback<'_>) -> Result<Report> {
    let machine = super::examine_machine()?;
    let mut before = snapshot()?;
    program::add_socket_options(&mut before);
    // Why they are not visible is in the report on the machine.
    let mut programs = program::all_joined(&before).map(|(programs, _)| programs).unwrap_or_default();
    for program in &mut programs {
        program.sockets.retain(|socket| !socket.only_keeps_memberships(&before));
    }
    programs.retain(Program::has_joined);
    let raw = of_all().unwrap_or_default();
    let datagrams = match programs.is_empty() {
        true => None,
        false => Some(examine_all(before, programs, options, report_progress)?),
    };
    let packets = examine_raw_sockets(raw, true, options, report_progress)?;
    let judged = datagrams.into_iter().chain(packets).reduce(Report::and);
    Ok(match judged {
        Some(judged) => judged.and_of_machine(machine),
        None => machine,
    })
}

/// Examines the UDP sockets of programs about which nobody has asked.
fn examine_all(
    before: Snapshot,
    programs: Vec<Program>,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<Report> {
    let sockets = programs.iter().flat_map(|program| program.sockets.clone()).collect();
    let all = Program { sockets, ..Program::default() };
    let again = |machine: &Snapshot| program::all_owned(machine).unwrap_or_default();
    let (observation, all) = observe((before, all), again, options, report_progress)?;
    let observation = Observation { is_survey: true, ..observation };
    let reports = programs.into_iter().map(|program| {
        let sockets = all.sockets.iter().filter(|socket| socket.owner == program.name).cloned().collect();
        let target = ExaminationTarget::Program(Program { sockets, ..program });
        super::report(Observation { target, ..observation.clone() })
    });
    Ok(reports.reduce(Report::and).unwrap_or_default())
}

/// Listens to what arrives for sockets of programs, and what they send. Returns what was observed, and the program with the
/// later state of its sockets, which `again` finds.
fn observe(
    (mut before, mut found): (Snapshot, Program),
    again: impl FnOnce(&Snapshot) -> Vec<ProgramSocket>,
    options: &Options,
    report_progress: ProgressCallback<'_>,
) -> Result<(Observation, Program)> {
    program::add_send_answers(&mut found.sockets);
    let memberships = || found.sockets.iter().flat_map(|socket| &socket.memberships);
    let ports = found.sockets.iter().filter_map(|socket| Some(socket.local?.port()));
    let mut taps =
        Taps::of(&before, &memberships().filter_map(index_of).collect::<Vec<_>>()).with_ports(ports);
    let experiment = HookExperiment::begin(&ExaminedTraffic::of_program(&found), &before, options);
    let mut drop_counter = DropCounter::prepare();
    // The observation starts now, whether or not anything arrives. The counters may start earlier, but not later.
    refresh_counters(&mut before);
    program::refresh_drops(&mut found.sockets);
    let memberships = || found.sockets.iter().flat_map(|socket| &socket.memberships);
    taps.begin_counting();
    drop_counter.start();
    let group = memberships().next().map(|membership| membership.address.group.addr());
    let filter = GroupFilter { group, port: None };
    let joined: Vec<_> = memberships().cloned().collect();
    let rejoin = joined.iter().find_map(|membership| rejoin_of_program(membership, &before));
    let mut sampling = |progress| {
        program::sample_queues(&mut found.sockets);
        report_progress(progress)
    };
    let (wire, probe) = listen(taps, None, rejoin.as_ref(), filter, options, &mut sampling)?;
    let program_rejoin = rejoin.map(|rejoin| rejoin.address).zip(probe.rejoin);
    let kernel_drops = drop_counter.finish();
    program::sample_queues(&mut found.sockets);
    let (hooks, experiments) = experiment.finish();
    let experiments = experiments.into_iter().chain(probe.experiment).collect();
    let after = snapshot()?;
    // The program may have exited meanwhile, which closes its sockets.
    let mut last = again(&after);
    program::add_send_answers(&mut last);
    program::add_later_state(&mut found.sockets, &last);
    let observation = Observation {
        before,
        after,
        wire,
        options: options.clone(),
        program_rejoin,
        hooks,
        experiments,
        kernel_drops,
        ..Observation::default()
    };
    Ok((observation, found))
}

/// Returns the machine and the program as they are now.
fn find(target: ProgramSelector) -> Result<(Snapshot, Program)> {
    let mut machine = snapshot()?;
    program::add_socket_options(&mut machine);
    let found = program::find(target, &machine)?;
    Ok((machine, found))
}

/// Judges a program that has opened no socket, by what it has printed.
pub(crate) fn explain_failure(program: Program) -> Result<Report> {
    let mut now = snapshot()?;
    program::add_socket_owners(&mut now);
    let observation = Observation {
        before: now.clone(),
        after: now,
        target: ExaminationTarget::Program(program),
        ..Observation::default()
    };
    Ok(super::report(observation))
}

/// Returns how to report a membership of the program again.
fn rejoin_of_program<'a>(membership: &'a Membership, machine: &'a Snapshot) -> Option<Rejoin<'a>> {
    let link = machine.link(index_of(membership)?).filter(|link| !link.interface.loopback)?;
    let is_snooped = !membership.address.group.scope().stays_on_link() && membership.address.port != 0;
    let version = machine.igmp_versions.get(link.name()).copied();
    let method = RejoinMethod::Report(vec![(link, version)], &membership.sources);
    is_snooped.then_some(Rejoin { address: membership.address, method })
}
