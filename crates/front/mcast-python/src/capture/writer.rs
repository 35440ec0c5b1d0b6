//! Writing capture files.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcast_capture::{FileError, WriteFormat};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::error::raise_file;
use super::packet::Packet;
use crate::error::{closed_error, value_error};

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
