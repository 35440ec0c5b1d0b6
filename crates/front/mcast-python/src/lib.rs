//! The native module of the Python package `pymcast`: bindings for the library mcast and its command. Whatever does
//! not need native code is written in Python, in `python/pymcast/`.
//!
//! Each file holds one Python class or function and the conversions between Python's values and the library's. The
//! GIL is released while a call waits, and once per batch.

mod capture;
mod datagram;
mod discovery;
mod doctor;
mod error;
mod group;
mod lifetime;
mod membership;
mod receiver;
mod sender;
mod statistics;
mod stream;
#[allow(unsafe_code)]
mod sys;
mod values;

use std::ffi::OsString;
use std::io::Write;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use receiver::Statistics;
use sender::SendStatistics;
use statistics::restored;
use stream::{PublisherStatistics, SubscriberStatistics};
use values::unpickle_error;

/// The native module of pymcast. Import pymcast instead.
#[pymodule(gil_used = false)]
mod _pymcast {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::capture::{
        _packet, Capture, CaptureFile, CaptureStatistics, CaptureWriter, ControlMessage, ControlRecord,
        FileInterface, Packet,
    };
    #[pymodule_export]
    use super::datagram::PyOutgoing;
    #[pymodule_export]
    use super::datagram::{_datagram, Datagram};
    #[pymodule_export]
    use super::discovery::DiscoveryHandle;
    #[pymodule_export]
    use super::doctor::examine;
    #[pymodule_export]
    use super::group::PyGroup;
    #[pymodule_export]
    use super::group::{Advice, Assignment, Explanation, ShortName, Statement, explain, pick};
    #[pymodule_export]
    use super::membership::PyMembership;
    #[pymodule_export]
    use super::membership::{
        _interface, Interface, default_interface, find_interface, interface_towards, interfaces,
    };
    #[pymodule_export]
    use super::receiver::{MembershipStatus, Reader, Receiver, Statistics};
    #[pymodule_export]
    use super::sender::{Answer, SendStatistics, Sender};
    #[pymodule_export]
    use super::stream::{
        Announcements, Closing, FoundStream, Message, Publisher, PublisherEvent, PublisherStatistics, PyKeys,
        Snapshot, StreamEvent, Subscriber, SubscriberStatistics, Watermark,
    };
    #[pymodule_export]
    use super::{_statistics, run_command};

    use super::statistics::add_attributes;
    use super::stream::document_kinds;
    use mcast_stream::subscriber::SubscriberEvent;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        add_attributes::<Statistics>(py)?;
        add_attributes::<SendStatistics>(py)?;
        add_attributes::<PublisherStatistics>(py)?;
        add_attributes::<SubscriberStatistics>(py)?;
        document_kinds::<StreamEvent>(py, &SubscriberEvent::declared())?;
        document_kinds::<PublisherEvent>(py, &mcast_stream::publisher::PublisherEvent::declared())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Restores pickled statistics of this class.
#[pyfunction]
fn _statistics(py: Python<'_>, class_name: &str, values: &Bound<'_, PyDict>) -> PyResult<Py<PyAny>> {
    let restored = match class_name {
        "Statistics" => restored::<Statistics>(py, values)?,
        "SendStatistics" => restored::<SendStatistics>(py, values)?,
        "PublisherStatistics" => restored::<PublisherStatistics>(py, values)?,
        "SubscriberStatistics" => restored::<SubscriberStatistics>(py, values)?,
        _ => None,
    };
    restored.ok_or_else(|| unpickle_error(class_name))
}

/// Runs the command `mcast` with these arguments, of which the first is the name of the program, and returns its
/// exit status. It writes to the process's standard output and error, not to sys.stdout.
///
/// Call it before any thread is started: a lab may have to enter a user namespace, which only a single-threaded
/// process can do.
#[pyfunction]
fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| {
        let status = mcast_cli::run(arguments);
        // The command relies on the flush at exit, and this process does not exit here.
        let _ = std::io::stdout().flush();
        status
    })
}
