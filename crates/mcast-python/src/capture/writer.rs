//! Capture files, written.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcast_capture::{FileError, WriteFormat};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::error::raise_file;
use super::packet::Packet;
use crate::error::{closed, refused};

/// Writes packets into a capture file, which is created, or emptied if it is there.
///
/// `format` is "pcapng", or "pcap" (times to the nanosecond) for one link type and the older of
/// programs. Use it in a `with` statement, or close it: packets are written together, those of the
/// last 100 ms at its end. A checksum that was left to the device is filled in.
///
/// Raises pymcast.CaptureFileError, an OSError.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct CaptureWriter {
    /// Where the file is.
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
            other => return Err(refused(format_args!("{other:?} is no format: write pcapng or pcap"))),
        };
        let writer = py.detach(|| mcast_capture::CaptureWriter::create(&path, format));
        let writer = writer.map_err(|error| raise_file(py, &error))?;
        Ok(Self { path, open: Mutex::new(Some(writer)) })
    }

    /// Writes a packet. When the disk is full, it and those behind it wait in memory, and a later call
    /// tries again.
    fn write(&self, py: Python<'_>, packet: &Packet) -> PyResult<()> {
        let (frame, name) = (packet.frame(py), packet.interface_name());
        self.with(py, |writer| {
            if let Some(name) = name {
                writer.describe(frame.interface, name, frame.link_type)?;
            }
            writer.write(&frame)
        })
    }

    /// Hands what waits to the system.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, mcast_capture::CaptureWriter::flush)
    }

    /// Writes what waits, and closes the file. Closing twice does nothing.
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
    /// Taken without Python's lock only: to write to a disk may take long.
    fn lock(&self) -> MutexGuard<'_, Option<mcast_capture::CaptureWriter>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut mcast_capture::CaptureWriter) -> Result<(), FileError> + Send,
    ) -> PyResult<()> {
        let done = py.detach(|| self.lock().as_mut().map(work));
        done.ok_or_else(|| closed(py, "capture file"))?.map_err(|error| raise_file(py, &error))
    }
}
