//! The four kinds of examination.

mod file;
mod membership;
mod program;
mod summary;

pub use file::explain_capture;
pub use membership::examine_membership;
pub use program::{ProgramSelector, examine_program};

use crate::gather::program::{add_socket_options, add_socket_owners, all_joined};
use crate::gather::snapshot;
use crate::observation::{ExaminationTarget, Observation};
use crate::{ArrivalStatus, Report, Result, causes};

/// Examines this machine: its interfaces, routes, settings, bridges and sockets. Joins nothing, sends
/// nothing, and does not listen.
///
/// # Errors
/// Returns an error if the system does not list its interfaces.
pub fn examine_machine() -> Result<Report> {
    let mut now = snapshot()?;
    add_socket_owners(&mut now);
    add_socket_options(&mut now);
    // Without the right to inspect programs, their sockets stay unknown.
    let programs = all_joined(&now).unwrap_or_default();
    let observation = Observation {
        programs,
        before: now.clone(),
        after: now,
        target: ExaminationTarget::Machine,
        ..Observation::default()
    };
    Ok(report(&observation))
}

/// Returns the report on an observation.
fn report(observation: &Observation) -> Report {
    let arrival = match observation.trial() {
        Some(_) if observation.received_anything() => ArrivalStatus::Arrives,
        Some(_) => ArrivalStatus::Nothing,
        None => ArrivalStatus::NotObserved,
    };
    let mut report = Report { findings: causes::judge(observation), arrival, ..Report::default() };
    summary::add_to(&mut report, observation);
    report
}
