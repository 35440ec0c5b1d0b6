//! Examination of another program.

use std::fmt;
use std::time::SystemTime;

use crate::gather::listen::{GroupFilter, Taps, listen};
use crate::gather::{DropCounter, program, snapshot};
use crate::observation::{ExaminationTarget, Observation, index_of};
use crate::{Options, ProgressCallback, Report, Result};

/// How to select the program to examine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgramSelector {
    /// The process with this id, and its descendants.
    Process(u32),
    /// Every program that has this UDP port open.
    Port(u16),
}

/// Examines the sockets of another program, and the traffic on the wire for them. Joins nothing, so that the
/// examination changes nothing.
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
    let mut before = snapshot()?;
    program::add_socket_options(&mut before);
    let mut found = program::find(target, &before)?;
    let memberships = || found.sockets.iter().flat_map(|socket| &socket.memberships);
    let mut taps = Taps::of(&before, &memberships().filter_map(index_of).collect::<Vec<_>>());
    let mut drop_counter = DropCounter::prepare();
    // The observation starts now, whether or not anything arrives.
    taps.count_data_from(SystemTime::now());
    drop_counter.start();
    let group = memberships().next().map(|membership| membership.address.group.addr());
    let filter = GroupFilter { group, port: None };
    let mut sampling = |progress| {
        program::sample_queues(&mut found.sockets);
        report_progress(progress)
    };
    let (wire, _) = listen(taps, None, None, filter, options, &mut sampling)?;
    let kernel_drops = drop_counter.finish();
    program::sample_queues(&mut found.sockets);
    let after = snapshot()?;
    // The program may have exited meanwhile, which closes its sockets.
    let last = program::find(target, &after).unwrap_or_default();
    program::add_later_state(&mut found.sockets, &last.sockets);
    let observation = Observation {
        before,
        after,
        wire,
        target: ExaminationTarget::Program(found),
        options: options.clone(),
        kernel_drops,
        ..Observation::default()
    };
    Ok(super::report(observation))
}

/// Writes `process ID` or `port PORT`.
impl fmt::Display for ProgramSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(id) => write!(f, "process {id}"),
            Self::Port(port) => write!(f, "port {port}"),
        }
    }
}
