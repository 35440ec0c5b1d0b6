//! Reading and writing capture files.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcast_capture::{FileError, FileFormat, FileStatistics, FrameSource, WriteFormat};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::packet::{OwnedFrame, Packet};
use super::raise_file;
use crate::error::{closed_error, value_error};

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

/// Writes packets to a capture file, which is created or overwritten.
///
/// `format` is "pcapng", or "pcap" (with nanosecond timestamps), which older programs read, but which allows only one
/// link type. Use it in a `with` statement, or close it: packets are buffered for up to 100 ms. Checksums that were
/// left to the device are filled in.
///
/// Raises pymcast.CaptureFileError, an OSError.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct CaptureWriter {
    /// The path of the file.
    #[pyo3(get)]
    path: PathBuf,
    open: Mutex<Option<mcast_capture::CaptureWriter>>,
}

#[pymethods]
impl CaptureWriter {
    #[new]
    #[pyo3(signature = (path, format="pcapng"))]
    fn new(py: Python<'_>, path: PathBuf, format: &str) -> PyResult<Self> {
        let format = match format {
            "pcapng" => WriteFormat::PcapNg,
            "pcap" => WriteFormat::Pcap,
            other => return Err(value_error(format_args!("{other:?} is not a format: use pcapng or pcap"))),
        };
        let writer = py.detach(|| mcast_capture::CaptureWriter::create(&path, format));
        let writer = writer.map_err(|error| raise_file(py, &error))?;
        Ok(Self { path, open: Mutex::new(Some(writer)) })
    }

    /// Writes a packet. If the disk is full, packets are kept in memory, and a later call tries again.
    fn write(&self, py: Python<'_>, packet: &Packet) -> PyResult<()> {
        let frame = packet.frame(py);
        self.with(py, |writer| writer.write(&frame))
    }

    /// Passes buffered packets to the system.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, mcast_capture::CaptureWriter::flush)
    }

    /// Writes buffered packets and closes the file. Closing twice has no effect.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let ended = py.detach(|| self.lock().take().map_or(Ok(()), |mut writer| writer.flush()));
        ended.map_err(|error| raise_file(py, &error))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        format!("<CaptureWriter {}>", self.path.display())
    }
}

impl CaptureWriter {
    /// Lock it without the GIL only: writing to a disk may take long.
    fn lock(&self) -> MutexGuard<'_, Option<mcast_capture::CaptureWriter>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut mcast_capture::CaptureWriter) -> Result<(), FileError> + Send,
    ) -> PyResult<()> {
        let done = py.detach(|| self.lock().as_mut().map(work));
        done.ok_or_else(|| closed_error(py, "capture file"))?.map_err(|error| raise_file(py, &error))
    }
}
