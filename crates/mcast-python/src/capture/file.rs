//! Capture files, read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcast_capture::{FileFormat, FileStatistics, FrameSource};
use pyo3::prelude::*;

use super::error::raise_file;
use super::packet::{Packet, Taken};

/// Reads a capture file, pcap or pcapng, of any byte order and resolution of time:
/// `for packet in pymcast.CaptureFile("a.pcapng")`.
///
/// `path` is text or a path. Raises pymcast.CaptureFileError, an OSError: when the file cannot be
/// opened or is none; and while reading, where it ends within a packet or contradicts itself, once
/// all packets before that place have been read.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct CaptureFile {
    /// Where the file is.
    #[pyo3(get)]
    path: PathBuf,
    file: Mutex<mcast_capture::CaptureFile>,
}

#[pymethods]
impl CaptureFile {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let file = py.detach(|| mcast_capture::CaptureFile::open(&path));
        let file = file.map_err(|error| raise_file(py, &error))?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// How it is written: "pcapng", "pcap" (times to the microsecond) or "pcap-nanoseconds".
    #[getter]
    fn format(&self, py: Python<'_>) -> &'static str {
        match py.detach(|| self.lock().format()) {
            FileFormat::PcapMicroseconds => "pcap",
            FileFormat::PcapNanoseconds => "pcap-nanoseconds",
            _ => "pcapng",
        }
    }

    /// The interfaces that the file told of so far, in its order; a packet's `interface_index` counts
    /// them from 1.
    #[getter]
    fn interfaces(&self, py: Python<'_>) -> Vec<FileInterface> {
        py.detach(|| self.lock().interfaces().iter().map(FileInterface::from).collect())
    }

    /// Packets that were passed over so far, because nothing here decodes their link type.
    #[getter]
    fn passed_over(&self, py: Python<'_>) -> u64 {
        let FileStatistics { skipped, .. } = py.detach(|| self.lock().statistics());
        skipped
    }

    /// How many packets the capture lost, as the file says it behind the packets; None if it doesn't.
    #[getter]
    fn lost(&self, py: Python<'_>) -> Option<u64> {
        py.detach(|| self.lock().lost().ok().flatten())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Packet>> {
        let taken = py.detach(|| {
            let mut file = self.lock();
            let Some(frame) = file.next()? else { return Ok(None) };
            let (taken, index) = (Taken::new(&frame, None), frame.interface);
            let name = file.interface(index).and_then(|interface| interface.name.as_deref()).map(Arc::from);
            Ok(Some(taken.on(name)))
        });
        let taken = taken.map_err(|error| raise_file(py, &error))?;
        Ok(taken.map(|taken| taken.packet(py)))
    }

    fn __repr__(&self) -> String {
        format!("<CaptureFile {}>", self.path.display())
    }
}

impl CaptureFile {
    /// Taken without Python's lock only: to read from a pipe may take long.
    fn lock(&self) -> MutexGuard<'_, mcast_capture::CaptureFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interface whose packets are in a file.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileInterface {
    /// What the system that captured called it; None where the file doesn't say.
    name: Option<String>,
    /// The number of its link type (tcpdump.org/linktypes.html).
    link: u32,
    /// With what filter was captured, in the words of whoever did.
    filter: Option<String>,
    /// How many packets the capture lost, if the file says so.
    dropped: Option<u64>,
}

#[pymethods]
impl FileInterface {
    fn __repr__(&self) -> String {
        let name = self.name.as_deref().unwrap_or("without a name");
        format!("<FileInterface {name}, link type {}>", self.link)
    }
}

impl From<&mcast_capture::FileInterface> for FileInterface {
    fn from(told: &mcast_capture::FileInterface) -> Self {
        Self {
            name: told.name.clone(),
            link: told.link.0,
            filter: told.filter.clone(),
            dropped: told.dropped,
        }
    }
}
