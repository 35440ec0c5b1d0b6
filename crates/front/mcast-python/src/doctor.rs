//! The doctor: finds out why multicast does not arrive.
//!
//! A report is passed to Python in the command's JSON format; `pymcast/_doctor.py` parses it.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mcast::InterfaceSelector;
use mcast_doctor::{
    Error, HostError, IpProtocol, Options, ProgramSelector, Progress, ProgressCallback, ProtocolTarget,
    Report, Result as Examined, ServiceTarget, examine_membership, examine_program, examine_programs,
    examine_protocol, examine_service, explain_capture,
};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::capture;
use crate::error::{Failure, raise, value_error};
use crate::membership::{Membership, Selector};
use crate::receiver::Timeout;

/// For pymcast.doctor: returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (memberships, subject, interfaces, protocol, listen, soak, experiments))]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone has one lifetime only")]
#[expect(clippy::too_many_arguments, reason = "they are the keywords of the function in Python")]
pub(crate) fn examine(
    py: Python<'_>,
    memberships: Vec<Bound<'_, PyAny>>,
    subject: Subject,
    interfaces: Vec<Selector>,
    protocol: Option<String>,
    listen: f64,
    soak: bool,
    experiments: bool,
) -> PyResult<String> {
    let protocol = protocol.map(|protocol| protocol.parse().map_err(value_error)).transpose()?;
    let interfaces: Vec<_> = interfaces.into_iter().map(|interface| interface.0).collect();
    let mut expected = Vec::new();
    for membership in &memberships {
        expected.extend(Expected::of(membership, protocol, &interfaces)?);
    }
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
    let report = py.detach(|| examined(&expected, subject, interfaces, &options, &mut check_signals));
    if let Some(signal) = interrupted {
        return Err(signal);
    }
    let report =
        report.ok_or_else(|| value_error("give at most one of memberships, name, pid, port and file"))?;
    as_json(&report.map_err(|error| exception(py, &error))?)
}

/// A name, a process, a port, or a capture file.
type Subject = (Option<String>, Option<u32>, Option<u16>, Option<PathBuf>);

/// What should arrive on an interface.
enum Expected {
    Udp(mcast::Membership),
    Protocol(ProtocolTarget),
}

impl Expected {
    /// Returns what a membership stands for, or a group without a port, on each interface.
    fn of(
        given: &Bound<'_, PyAny>,
        protocol: Option<IpProtocol>,
        interfaces: &[InterfaceSelector],
    ) -> PyResult<Vec<Self>> {
        let text = if given.is_instance_of::<PyTuple>() { None } else { Some(given.str()?.to_string()) };
        let named = text.map(|text| ProtocolTarget::named(&text, protocol).map_err(value_error));
        let named = named.transpose()?.unwrap_or_default();
        if !named.is_empty() {
            return Ok(on_each(named, interfaces, ProtocolTarget::on).map(Self::Protocol).collect());
        }
        if protocol.is_some() {
            return Err(value_error(
                "with protocol, give groups without a port: `GROUP` or `GROUP%INTERFACE`",
            ));
        }
        let membership = given.extract::<Membership>()?.0;
        Ok(on_each(vec![membership], interfaces, mcast::Membership::on).map(Self::Udp).collect())
    }
}

/// Returns each on each of these interfaces; as it was, if there are none.
fn on_each<T: Clone>(
    all: Vec<T>,
    interfaces: &[InterfaceSelector],
    on: fn(T, InterfaceSelector) -> T,
) -> impl Iterator<Item = T> {
    all.into_iter().flat_map(move |one| match interfaces {
        [] => vec![one],
        interfaces => interfaces.iter().map(|interface| on(one.clone(), interface.clone())).collect(),
    })
}

/// Examines a subject; returns `None` if more than one is given.
fn examined(
    expected: &[Expected],
    subject: Subject,
    interfaces: Vec<InterfaceSelector>,
    options: &Options,
    check_signals: ProgressCallback<'_>,
) -> Option<Examined<Report>> {
    Some(match (expected, subject) {
        ([], (None, None, None, None)) => examine_programs(options, check_signals),
        (expected, (None, None, None, None)) => {
            // One after the other, because all read the same counters.
            let each = expected.iter().map(|expected| match expected {
                Expected::Udp(membership) => {
                    Ok((None, examine_membership(membership, options, check_signals)?))
                }
                Expected::Protocol(target) => {
                    let name = target.name.as_deref().map(|name| (name, target.interface.as_ref()));
                    Ok((name, examine_protocol(target, options, check_signals)?))
                }
            });
            each.collect::<Examined<Vec<_>>>().map(Report::together)
        }
        ([], (Some(name), None, None, None)) => {
            examine_service(&ServiceTarget::new(name).on(interfaces), options, check_signals)
        }
        ([], (None, Some(pid), None, None)) => {
            examine_program(ProgramSelector::Process(pid), options, check_signals)
        }
        ([], (None, None, Some(port), None)) => {
            examine_program(ProgramSelector::Port(port), options, check_signals)
        }
        ([], (None, None, None, Some(file))) => explain_capture(file),
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
