//! The doctor: finds out why multicast does not arrive.
//!
//! A report is passed to Python in the command's JSON format; `pymcast/_doctor.py` parses it.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mcast_doctor::{Error, HostError, Options, ProgramSelector, Progress, Report};
use pyo3::prelude::*;

use crate::capture;
use crate::error::{Failure, raise, value_error};
use crate::membership::Membership;
use crate::receiver::Timeout;

/// For pymcast.doctor: returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (membership, pid, port, file, listen))]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone has one lifetime only")]
pub(crate) fn examine(
    py: Python<'_>,
    membership: Option<Membership>,
    pid: Option<u32>,
    port: Option<u16>,
    file: Option<PathBuf>,
    listen: f64,
) -> PyResult<String> {
    let listen = Timeout::new(Some(listen))?.duration();
    let options = listen.map_or_else(Options::default, |listen| Options::default().listening(listen));
    let mut interrupted = None;
    let mut check_signals = |_: Progress| match Python::attach(|py| py.check_signals()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(signal) => {
            interrupted = Some(signal);
            ControlFlow::Break(())
        }
    };
    let report = py.detach(|| match (membership, pid, port, file) {
        (None, None, None, None) => Some(mcast_doctor::examine_programs(&options, &mut check_signals)),
        (Some(Membership(membership)), None, None, None) => {
            Some(mcast_doctor::examine_membership(&membership, &options, &mut check_signals))
        }
        (None, Some(pid), None, None) => {
            Some(mcast_doctor::examine_program(ProgramSelector::Process(pid), &options, &mut check_signals))
        }
        (None, None, Some(port), None) => {
            Some(mcast_doctor::examine_program(ProgramSelector::Port(port), &options, &mut check_signals))
        }
        (None, None, None, Some(file)) => Some(mcast_doctor::explain_capture(file)),
        _ => None,
    });
    if let Some(signal) = interrupted {
        return Err(signal);
    }
    let report = report.ok_or_else(|| value_error("give at most one of membership, pid, port and file"))?;
    as_json(&report.map_err(|error| exception(py, &error))?)
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
