//! Live capture of frames, and capture files, with the packets that both return.

mod packet;

pub(crate) use packet::{_packet, ControlMessage, ControlRecord, Packet};

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast::InterfaceSelector;
use mcast_capture::{
    CaptureOptions, Error, ErrorKind, FileError, FileErrorKind, FileFormat, FileStatistics, Filter,
    FrameSource, WriteFormat,
};
use packet::OwnedFrame;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::{Failure, OrRaise, closed_error, timeout_error, value_error};
use crate::group::Group;
use crate::membership::Selector;
use crate::receiver::Timeout;
use crate::sys;
use crate::values::Bytes;

pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let kind = match error.kind() {
        ErrorKind::Permission => "Permission",
        ErrorKind::NoSuchInterface => "NoSuchInterface",
        ErrorKind::InterfaceDown => "InterfaceDown",
        ErrorKind::LinkType(_) | ErrorKind::Unsupported(_) => "Unsupported",
        _ => "Other",
    };
    let failure = Failure {
        kind,
        operation: "capture",
        reason: error.to_string(),
        remedy: error.remedy().map(str::to_owned),
        group: None,
        interface: Some(error.interface()),
        errno: error.source().and_then(os_error_number),
    };
    failure.raise(py)
}

pub(crate) fn raise_file(py: Python<'_>, error: &FileError) -> PyErr {
    let kind = match error.kind() {
        FileErrorKind::NotACapture => "NotACapture",
        FileErrorKind::Truncated { .. } => "CutOff",
        FileErrorKind::Malformed { .. } => "Malformed",
        FileErrorKind::LinkTypeMismatch => "OtherLinkType",
        _ => "File",
    };
    let failure = Failure {
        kind,
        operation: "file",
        reason: error.to_string(),
        remedy: error.remedy().map(str::to_owned),
        group: None,
        interface: None,
        errno: error.source().and_then(os_error_number),
    };
    failure.raise(py)
}

fn os_error_number(source: &(dyn std::error::Error + 'static)) -> Option<i32> {
    source.downcast_ref::<io::Error>()?.raw_os_error()
}

/// How often a wait checks whether it was closed. Signals interrupt a wait immediately.
const SLICE: Duration = Duration::from_millis(100);

/// Captures what interfaces receive and send: `for packet in pymcast.Capture("eth0")`.
///
/// It buffers packets from the moment it is created; use it in a `with` statement, or close it. It does not join
/// groups, so a snooping switch may not forward them to this host. Linux only; requires the right to capture
/// (CAP_NET_RAW).
///
/// interfaces: names, indexes, addresses or Interface objects, one or more.
/// filter: "all", "multicast" (IP packets to groups), "group-addressed" (all frames to group addresses, including
///     broadcasts such as ARP), "control" (IGMP, MLD, PIM, router discovery), or a UDP port.
/// outgoing: also capture packets that this machine sends.
/// promiscuous: also receive frames addressed to other machines.
/// all_multicast: receive the frames of all groups, joined or not.
/// groups: groups whose frames to receive, without joining them by IGMP or MLD.
/// buffer_size: the size of each interface's buffer to request, in bytes. Default: 8 MiB.
///
/// Raises pymcast.PermissionDeniedError without the right, NoSuchInterfaceError, UnsupportedError.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Capture {
    open: Mutex<Option<mcast_capture::Capture>>,
    names: Vec<String>,
}

#[pymethods]
impl Capture {
    #[new]
    #[pyo3(
        signature = (
            *interfaces, filter=None, outgoing=true, promiscuous=false, all_multicast=false,
            groups=Vec::new(), buffer_size=None
        ),
        text_signature = "(*interfaces, filter='all', outgoing=True, promiscuous=False, \
                          all_multicast=False, groups=(), buffer_size=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        interfaces: &Bound<'_, PyTuple>,
        filter: Option<FilterArgument>,
        outgoing: bool,
        promiscuous: bool,
        all_multicast: bool,
        groups: Vec<Group>,
        buffer_size: Option<Bytes>,
    ) -> PyResult<Self> {
        let mut options = options_for(py, interfaces)?
            .filter(filter.map_or(Filter::All, |filter| filter.0))
            .outgoing(outgoing)
            .promiscuous(promiscuous)
            .all_multicast(all_multicast);
        for group in groups {
            options = options.group(group.0);
        }
        if let Some(bytes) = buffer_size {
            options = options.buffer_size(bytes.0);
        }
        let opened = py.detach(|| mcast_capture::Capture::open(options));
        let opened = opened.map_err(|error| raise(py, &error))?;
        let names = opened.interfaces().map(|each| each.name.to_owned()).collect();
        Ok(Self { open: Mutex::new(Some(opened)), names })
    }

    /// Waits for the next packet. Raises TimeoutError if there is none within `timeout` seconds, and
    /// pymcast.InterfaceDownError once if an interface goes down; later calls continue.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Packet> {
        let deadline = Timeout::new(timeout)?.deadline();
        loop {
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            if let Some(frame) = self.next_frame(py, left.min(SLICE))? {
                return Ok(frame.into_packet(py));
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(timeout_error());
            }
        }
    }

    /// Its statistics.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<CaptureStatistics> {
        let counted = py.detach(|| self.lock().as_mut().map(mcast_capture::Capture::statistics));
        let counted = counted.ok_or_else(|| closed_error(py, "capture"))?;
        counted.map(CaptureStatistics::from).map_err(|error| raise(py, &error))
    }

    /// The names of its interfaces.
    #[getter]
    fn interfaces(&self) -> Vec<String> {
        self.names.clone()
    }

    /// For pymcast.aio: the descriptor that becomes readable when there is a packet.
    fn _descriptor(&self, py: Python<'_>) -> PyResult<i64> {
        let descriptor = py.detach(|| self.lock().as_ref().map(sys::capture_descriptor));
        descriptor.ok_or_else(|| closed_error(py, "capture"))?
    }

    /// Ends the capture; loops over it end. Closing twice has no effect.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.lock().take()));
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        py.detach(|| self.lock().is_none())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Packet>> {
        match self.next(py, None) {
            Err(_) if self.closed(py) => Ok(None),
            result => result.map(Some),
        }
    }

    fn __repr__(&self) -> String {
        format!("<Capture on {}>", self.interfaces().join(", "))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.open.get_mut().unwrap_or_else(PoisonError::into_inner).is_some() {
            crate::lifetime::warn(&self.__repr__());
        }
    }
}

impl Capture {
    /// Lock it without the GIL only: a thread that waits for a packet holds the lock.
    fn lock(&self) -> MutexGuard<'_, Option<mcast_capture::Capture>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_frame(&self, py: Python<'_>, timeout: Duration) -> PyResult<Option<OwnedFrame>> {
        let frame = py.detach(|| {
            let mut open = self.lock();
            let next = open.as_mut()?.next(Some(timeout));
            Some(next.map(|frame| frame.map(|frame| OwnedFrame::new(&frame))))
        });
        let frame = frame.ok_or_else(|| closed_error(py, "capture"))?;
        frame.map_err(|error| raise(py, &error))
    }
}

/// Returns the options for a capture on these interfaces.
fn options_for(py: Python<'_>, interfaces: &Bound<'_, PyTuple>) -> PyResult<CaptureOptions> {
    let mut options: Option<CaptureOptions> = None;
    for each in interfaces {
        options = Some(match (options, each.extract::<Selector>()?.0) {
            (None, InterfaceSelector::Name(name)) => CaptureOptions::on_name(name),
            (Some(options), InterfaceSelector::Name(name)) => options.and_on_name(name),
            (options, other) => {
                let index = py.detach(|| mcast::interface::find(&other)).or_raise(py)?.index;
                match options {
                    None => CaptureOptions::on(index),
                    Some(options) => options.and_on(index),
                }
            }
        });
    }
    options.ok_or_else(|| PyTypeError::new_err("give one or more interfaces to capture on"))
}

/// A filter argument: a name or a UDP port.
struct FilterArgument(Filter);

impl<'py> FromPyObject<'_, 'py> for FilterArgument {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        const WORDS: [(&str, Filter); 4] = [
            ("all", Filter::All),
            ("multicast", Filter::Multicast),
            ("group-addressed", Filter::GroupAddressed),
            ("control", Filter::Control),
        ];
        if let Ok(port) = object.extract::<u16>() {
            return Ok(Self(Filter::UdpPort(port)));
        }
        let word = object.extract::<String>()?;
        let filter = WORDS.iter().find(|(name, _)| *name == word).map(|(_, filter)| Self(*filter));
        filter.ok_or_else(|| {
            let names = WORDS.map(|(name, _)| name).join(", ");
            value_error(format_args!("{word:?} is not a filter: use one of {names}, or a UDP port"))
        })
    }
}

/// Statistics of a capture.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureStatistics {
    /// Packets delivered.
    packets: u64,
    /// Packets that the kernel dropped because the buffer was full. One packet can hold several datagrams (GSO).
    dropped: u64,
    /// Packets that the kernel could not deliver: UDP with GSO on Linux before 6.2.
    unreadable: u64,
}

#[pymethods]
impl CaptureStatistics {
    fn __repr__(&self) -> String {
        let Self { packets, dropped, unreadable } = self;
        format!("<CaptureStatistics packets={packets} dropped={dropped} unreadable={unreadable}>")
    }
}

impl From<mcast_capture::CaptureStatistics> for CaptureStatistics {
    fn from(counted: mcast_capture::CaptureStatistics) -> Self {
        Self { packets: counted.frames, dropped: counted.dropped, unreadable: counted.unreadable }
    }
}

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
