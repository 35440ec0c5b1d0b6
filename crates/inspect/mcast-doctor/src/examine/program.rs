//! Examination of another program.

use mcast::Membership;

use crate::gather::experiment::{ExaminedTraffic, HookExperiment};
use crate::gather::listen::{GroupFilter, Rejoin, RejoinMethod, Taps, listen};
use crate::gather::{DropCounter, program, refresh_counters, snapshot};
use crate::observation::{ExaminationTarget, Observation, Program, index_of};
use crate::snapshot::Snapshot;
use crate::{Error, Options, ProgramSelector, ProgressCallback, Report, Result};

/// Examines the sockets of another program, and the traffic on the wire for them. Joins nothing. If nothing for its
/// first membership arrives, sends another report for it, which shows whether a switch has forgotten it.
///
/// On Linux, the owners of sockets are visible only to the same user and to root.
///
/// # Errors
/// [`Error::NoProgram`](crate::Error::NoProgram) if the program does not exist or has no UDP socket;
/// [`Error::Hidden`](crate::Error::Hidden) if it belongs to another user;
/// [`Error::OtherNamespace`](crate::Error::OtherNamespace) if it is in another network namespace.
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
    let (mut before, mut found) = match find(target) {
        // Between the look at the sockets and that at the processes, a program may have replaced its socket.
        Err(Error::NoProgram(_)) => find(target)?,
        found => found?,
    };
    let memberships = || found.sockets.iter().flat_map(|socket| &socket.memberships);
    let ports = found.sockets.iter().filter_map(|socket| Some(socket.local?.port()));
    let mut taps =
        Taps::of(&before, &memberships().filter_map(index_of).collect::<Vec<_>>()).with_ports(ports);
    let experiment = HookExperiment::begin(&ExaminedTraffic::of_program(&found), &before, options);
    let mut drop_counter = DropCounter::prepare();
    // The observation starts now, whether or not anything arrives. The counters may start earlier, but not later.
    refresh_counters(&mut before);
    taps.begin_counting();
    drop_counter.start();
    let group = memberships().next().map(|membership| membership.address.group.addr());
    let filter = GroupFilter { group, port: None };
    let joined: Vec<_> = memberships().cloned().collect();
    let rejoin = joined.iter().find_map(|membership| rejoin(membership, &before));
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
    let last = program::find(target, &after).unwrap_or_default();
    program::add_later_state(&mut found.sockets, &last.sockets);
    complete(&mut found)?;
    if !found.printed.is_empty() {
        program::add_socket_owners(&mut before);
    }
    let observation = Observation {
        before,
        after,
        wire,
        target: ExaminationTarget::Program(found),
        options: options.clone(),
        program_rejoin,
        hooks,
        experiments,
        kernel_drops,
        ..Observation::default()
    };
    Ok(super::report(observation))
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
fn rejoin<'a>(membership: &'a Membership, machine: &'a Snapshot) -> Option<Rejoin<'a>> {
    let link = machine.link(index_of(membership)?).filter(|link| !link.interface.loopback)?;
    let is_snooped = !membership.address.group.scope().stays_on_link() && membership.address.port != 0;
    let version = machine.igmp_versions.get(link.name()).copied();
    let method = RejoinMethod::Report(vec![(link, version)], &membership.sources);
    is_snooped.then_some(Rejoin { address: membership.address, method })
}
