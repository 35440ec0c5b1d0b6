//! The doctor: finds out why multicast does not arrive.
//!
//! A report is passed to Python in the command's JSON format; `pymcast/_doctor.py` parses it.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mcast_doctor::{
    Error, HostError, Options, ProgramSelector, Progress, ProgressCallback, Report, Result as Examined,
    ServiceTarget, examine_membership, examine_program, examine_programs, examine_service, explain_capture,
};
use pyo3::prelude::*;

use crate::capture;
use crate::error::{Failure, raise, value_error};
use crate::membership::{Membership, Selector};
use crate::receiver::Timeout;

/// For pymcast.doctor: returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (subject, interfaces, listen, soak, experiments))]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone has one lifetime only")]
pub(crate) fn examine(
    py: Python<'_>,
    subject: Subject,
    interfaces: Vec<Selector>,
    listen: f64,
    soak: bool,
    experiments: bool,
) -> PyResult<String> {
    let listen = Timeout::new(Some(listen))?.duration();
    let options = listen.map_or_else(Options::default, |listen| Options::default().listening(listen));
    let options = if soak { options.soaking() } else { options };
    let options = options.with(|options| options.experiments = experiments);
    let mut interrupted = None;
    let mut check_signals = |_: Progress| match Python::attach(|py| py.check_signals()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(signal) => {
            interrupted = Some(signal);
            ControlFlow::Break(())
        }
    };
    let report = py.detach(|| examined(subject, interfaces, &options, &mut check_signals));
    if let Some(signal) = interrupted {
        return Err(signal);
    }
    let report =
        report.ok_or_else(|| value_error("give at most one of membership, name, pid, port and file"))?;
    as_json(&report.map_err(|error| exception(py, &error))?)
}

/// A membership, a name, a process, a port, or a capture file.
type Subject = (Option<Membership>, Option<String>, Option<u32>, Option<u16>, Option<PathBuf>);

/// Examines a subject; returns `None` if more than one is given.
fn examined(
    subject: Subject,
    interfaces: Vec<Selector>,
    options: &Options,
    check_signals: ProgressCallback<'_>,
) -> Option<Examined<Report>> {
    let interfaces: Vec<_> = interfaces.into_iter().map(|interface| interface.0).collect();
    Some(match subject {
        (None, None, None, None, None) => examine_programs(options, check_signals),
        (Some(Membership(membership)), None, None, None, None) => {
            let on: Vec<_> = match interfaces.as_slice() {
                [] => vec![membership],
                on => on.iter().map(|interface| membership.clone().on(interface.clone())).collect(),
            };
            // One after the other, because all read the same counters.
            let each = on.iter().map(|membership| examine_membership(membership, options, check_signals));
            each.collect::<Examined<Vec<_>>>()
                .map(|reports| reports.into_iter().reduce(Report::and).unwrap_or_default())
        }
        (None, Some(name), None, None, None) => {
            examine_service(&ServiceTarget::new(name).on(interfaces), options, check_signals)
        }
        (None, None, Some(pid), None, None) => {
            examine_program(ProgramSelector::Process(pid), options, check_signals)
        }
        (None, None, None, Some(port), None) => {
            examine_program(ProgramSelector::Port(port), options, check_signals)
        }
        (None, None, None, None, Some(file)) => explain_capture(file),
        _ => return None,
    })
}

fn as_json(report: &Report) -> PyResult<String> {
    serde_json::to_string(report).map_err(value_error)
}

fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let (kind, errno) = match error {
        Error::Multicast(error) => return raise(py, error),
        Error::Capture(error) => return capture::raise(py, error),
        Error::File(error) => return capture::raise_file(py, error),
        Error::Host(HostError::Unsupported(_)) => ("Unsupported", None),
        Error::Host(HostError::Hidden(_)) => ("Permission", None),
        Error::Host(HostError::NoProgram(_) | HostError::OtherNamespace { .. }) => ("NoProgram", None),
        Error::System { source, .. } => ("Other", source.raw_os_error()),
        _ => ("Other", None),
    };
    let (reason, remedy) = (error.to_string(), error.remedy());
    let failure = Failure { kind, operation: "examine", reason, remedy, group: None, interface: None, errno };
    failure.raise(py)
}
