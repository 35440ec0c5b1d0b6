//! What announces itself on the networks of this machine.
//!
//! Entries are passed to Python as the records of `mcast discover --json`; `pymcast/_discovered.py` reads them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mcast_capture::CaptureFile;
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveredKind, DiscoveryEvent, DiscoveryProtocol};
use mcast_watch::live::{
    DiscoveredRecord, DiscoveryEventRecord, DiscoveryOptions, DiscoverySources, LiveError,
};
use pyo3::prelude::*;

use crate::capture;
use crate::error::{Failure, closed_error, raise, timeout_error, value_error};
use crate::lifetime::OwnerProcess;
use crate::membership::Selector;
use crate::receiver::Timeout;

/// How often a wait checks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// For pymcast.Discovery: the list, and its changes as JSON.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct DiscoveryHandle {
    open: Mutex<Option<Arc<Discovery>>>,
    /// What is reported; none means all.
    kinds: Vec<DiscoveredKind>,
    protocols: Vec<DiscoveryProtocol>,
    owner: OwnerProcess,
}

#[pymethods]
impl DiscoveryHandle {
    #[new]
    #[pyo3(signature = (interfaces, name, file, selected, added, switches))]
    fn new(
        py: Python<'_>,
        interfaces: Vec<Selector>,
        name: Option<String>,
        file: Option<PathBuf>,
        selected: (Vec<String>, Vec<String>),
        added: (Vec<u8>, Vec<u16>),
        switches: (bool, bool),
    ) -> PyResult<Self> {
        let interfaces = interfaces.into_iter().map(|interface| interface.0).collect();
        let kinds = named(&selected.0, &DiscoveredKind::ALL)?;
        let protocols = named(&selected.1, &DiscoveryProtocol::ALL)?;
        let (more_domains, universes) = added;
        let (ask, join) = switches;
        let mut options = DiscoveryOptions { interfaces, ask, name, join, universes, ..Default::default() };
        options.protocols.clone_from(&protocols);
        options.domains.extend(more_domains);
        let opened = match file {
            Some(path) => {
                let file = py.detach(|| CaptureFile::open(&path));
                let file = file.map_err(|error| capture::raise_file(py, &error))?;
                Discovery::start(DiscoverySources::from(file))
            }
            None => py.detach(|| Discovery::open(&options)),
        };
        let discovery = opened.map_err(|error| exception(py, &error))?;
        let open = Mutex::new(Some(Arc::new(discovery)));
        Ok(Self { open, kinds, protocols, owner: OwnerProcess::current() })
    }

    /// Returns the next change as its name and JSON, or None at the end of a file.
    #[pyo3(signature = (timeout))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<(&'static str, String)>> {
        let deadline = Timeout::new(timeout)?.deadline();
        loop {
            let discovery = self.discovery(py)?;
            let left = deadline
                .map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            if let Some(event) = py.detach(|| discovery.next_event(Some(left))) {
                if event.entry().is_some_and(|entry| self.admits(entry))
                    && let Some(record) = record(&discovery, &event)
                {
                    return Ok(Some((record.0, as_json(&record.1)?)));
                }
                continue;
            }
            if let Some(error) = discovery.failure() {
                return Err(exception(py, &error));
            }
            if discovery.is_over() {
                return Ok(None);
            }
            if left.is_zero() {
                return Err(timeout_error());
            }
            py.check_signals()?;
        }
    }

    /// Returns all entries as JSON.
    fn entries(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let discovery = self.discovery(py)?;
        let entries = py.detach(|| discovery.entries());
        let json = |entry: &Discovered| {
            let interface = discovery.interface(entry.key.place.interface);
            as_json(&DiscoveredRecord::new(entry, &interface))
        };
        entries.iter().filter(|entry| self.admits(entry)).map(json).collect()
    }

    /// Asks again.
    fn ask(&self, py: Python<'_>) -> PyResult<()> {
        self.discovery(py)?.ask();
        Ok(())
    }

    /// Returns the protocols of which nothing can be seen.
    fn unseen(&self, py: Python<'_>) -> PyResult<Vec<&'static str>> {
        let unseen = self.discovery(py)?.coverage().unseen();
        Ok(unseen.into_iter().map(DiscoveryProtocol::name).collect())
    }

    /// Stops.
    fn close(&self) {
        if !self.owner.is_another_process() {
            drop(self.open.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl Drop for DiscoveryHandle {
    fn drop(&mut self) {
        self.owner.release(self.open.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl DiscoveryHandle {
    fn admits(&self, entry: &Discovered) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && (self.protocols.is_empty() || self.protocols.contains(&entry.key.protocol))
    }

    fn discovery(&self, py: Python<'_>) -> PyResult<Arc<Discovery>> {
        if self.owner.is_another_process() {
            return Err(self.owner.error(py, "discovery"));
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| closed_error(py, "discovery"))
    }
}

fn record(discovery: &Discovery, event: &DiscoveryEvent) -> Option<(&'static str, DiscoveryEventRecord)> {
    let interface = discovery.interface(event.entry()?.key.place.interface);
    DiscoveryEventRecord::of(SystemTime::now(), event, &interface)
}

/// Returns the values with these names.
fn named<T: Copy + ToString>(names: &[String], all: &[T]) -> PyResult<Vec<T>> {
    let find = |name: &String| {
        let known = || all.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
        let found = all.iter().copied().find(|each| each.to_string() == *name);
        found.ok_or_else(|| value_error(format_args!("\"{name}\" is none of {}", known())))
    };
    names.iter().map(find).collect()
}

fn as_json(record: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(record).map_err(value_error)
}

fn exception(py: Python<'_>, error: &LiveError) -> PyErr {
    let kind = match error {
        LiveError::Multicast(error) => return raise(py, error),
        LiveError::Capture(error) => return capture::raise(py, error),
        LiveError::NoInterface | LiveError::NoDefaultInterface => "NoUsableInterface",
        _ => "Other",
    };
    let reason = error.to_string();
    let failure = Failure {
        kind,
        operation: "discover",
        reason,
        remedy: None,
        group: None,
        interface: None,
        errno: None,
    };
    failure.raise(py)
}
