//! Reading capture files.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcast_capture::{FileFormat, FileStatistics, FrameSource};
use pyo3::prelude::*;

use super::error::raise_file;
use super::packet::{OwnedFrame, Packet};

/// Reads a capture file, pcap or pcapng, in any byte order and time resolution:
/// `for packet in pymcast.CaptureFile("a.pcapng")`.
///
/// `path` is text or a path. Raises pymcast.CaptureFileError, an OSError, if the file cannot be
/// opened or is not a capture file; and while reading, if it ends within a packet or is inconsistent, after all
/// packets before that point.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct CaptureFile {
    /// The path of the file.
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

    /// The file format: "pcapng", "pcap" (microsecond timestamps) or "pcap-nanoseconds".
    #[getter]
    fn format(&self, py: Python<'_>) -> &'static str {
        match py.detach(|| self.lock().format()) {
            FileFormat::PcapMicroseconds => "pcap",
            FileFormat::PcapNanoseconds => "pcap-nanoseconds",
            _ => "pcapng",
        }
    }

    /// The interfaces described in the part of the file read so far; a packet's `interface_index` counts them from 1.
    #[getter]
    fn interfaces(&self, py: Python<'_>) -> Vec<FileInterface> {
        py.detach(|| self.lock().interfaces().iter().map(FileInterface::from).collect())
    }

    /// Packets skipped so far, because their link type is not supported.
    #[getter]
    fn passed_over(&self, py: Python<'_>) -> u64 {
        let FileStatistics { skipped, .. } = py.detach(|| self.lock().statistics());
        skipped
    }

    /// How many packets the capture lost, which is recorded after the packets; None if it is not recorded.
    #[getter]
    fn lost(&self, py: Python<'_>) -> Option<u64> {
        py.detach(|| self.lock().lost().ok().flatten())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Packet>> {
        let frame = py.detach(|| {
            let mut file = self.lock();
            Ok(file.next()?.map(|frame| OwnedFrame::new(&frame)))
        });
        let frame = frame.map_err(|error| raise_file(py, &error))?;
        Ok(frame.map(|frame| frame.into_packet(py)))
    }

    fn __repr__(&self) -> String {
        format!("<CaptureFile {}>", self.path.display())
    }
}

impl CaptureFile {
    /// Lock it without the GIL only: reading from a pipe may take long.
    fn lock(&self) -> MutexGuard<'_, mcast_capture::CaptureFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interface described in a capture file.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileInterface {
    /// Its name on the capturing system; None if the file does not record it.
    name: Option<String>,
    /// The number of its link type (tcpdump.org/linktypes.html).
    link: u32,
    /// The capture filter, as the capturing program wrote it.
    filter: Option<String>,
    /// How many packets the capture lost; None if the file does not record it.
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
    fn from(interface: &mcast_capture::FileInterface) -> Self {
        Self {
            name: interface.name.clone(),
            link: interface.link.0,
            filter: interface.filter.clone(),
            dropped: interface.dropped,
        }
    }
}
