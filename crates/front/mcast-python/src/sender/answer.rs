//! The settings of a sender, the replies that it receives, and its statistics.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use mcast::{Destination, HostAddr, InterfaceSelector, Rate, SenderBuilder};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::datagram::{InterfaceNames, nanoseconds, seconds, socket_address, source_address};

/// A unicast datagram received on a sender's port, in reply to what it sent.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Answer {
    /// The payload.
    #[pyo3(get)]
    payload: Py<PyBytes>,
    source: SocketAddr,
    /// The index of the receiving interface; None where the system does not report it.
    #[pyo3(get)]
    interface_index: Option<u32>,
    /// The remaining hop limit; None where the system does not report it.
    #[pyo3(get)]
    hop_limit: Option<u8>,
    time: Option<SystemTime>,
    /// Whether the payload was cut off because it was longer than the buffer.
    #[pyo3(get)]
    truncated: bool,
}

impl Answer {
    pub(super) fn new(py: Python<'_>, answer: &mcast::Reply<'_>) -> Self {
        Self {
            payload: PyBytes::new(py, answer.payload).unbind(),
            source: answer.source,
            interface_index: answer.interface.map(mcast::InterfaceIndex::number),
            hop_limit: answer.hop_limit,
            time: answer.time,
            truncated: answer.truncated,
        }
    }
}

#[pymethods]
impl Answer {
    /// The source address: an ipaddress.IPv4Address or IPv6Address, with its scope if it is link-local. It is not
    /// authenticated: a sender can forge it.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        source_address(py, self.source, || {
            let index = self.interface_index.and_then(mcast::InterfaceIndex::new);
            index.map_or_else(String::new, |index| InterfaceNames::default().of(index))
        })
    }

    /// The source UDP port.
    #[getter]
    fn source_port(&self) -> u16 {
        self.source.port()
    }

    /// The source in the format of the socket module.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        socket_address(py, self.source)
    }

    /// When the kernel received it, in nanoseconds since 1970; None where it does not report that.
    #[getter]
    fn time_ns(&self) -> Option<u128> {
        self.time.map(nanoseconds)
    }

    /// The same in seconds, as time.time().
    #[getter]
    fn time(&self) -> Option<f64> {
        self.time.map(seconds)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Answer of {} bytes from {}>", self.payload.as_bytes(py).len(), self.source)
    }
}

/// Statistics of a sender.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendStatistics {
    /// Datagrams sent.
    datagrams: u64,
    /// System calls that sent them.
    calls: u64,
    /// Buffers of several datagrams that the system split into segments (GSO, Linux).
    trains: u64,
    /// Times at which hosts or routers had reported that datagrams sent earlier did not arrive (Linux).
    unreachable: u64,
}

#[pymethods]
impl SendStatistics {
    fn __repr__(&self) -> String {
        let Self { datagrams, calls, trains, unreachable } = self;
        format!(
            "<SendStatistics datagrams={datagrams} calls={calls} trains={trains} unreachable={unreachable}>"
        )
    }
}

impl From<mcast::SendStatistics> for SendStatistics {
    fn from(sent: mcast::SendStatistics) -> Self {
        let mcast::SendStatistics { datagrams, calls, trains, unreachable, .. } = sent;
        Self { datagrams, calls, trains, unreachable }
    }
}

/// The settings of a sender, kept so that it can be reopened.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) destinations: Vec<Destination>,
    pub(super) hosts: Vec<HostAddr>,
    pub(super) broadcast: bool,
    pub(super) interfaces: Vec<InterfaceSelector>,
    pub(super) hop_limit: Option<u8>,
    pub(super) loopback: bool,
    pub(super) traffic_class: Option<u8>,
    pub(super) source_port: u16,
    pub(super) source_address: Option<IpAddr>,
    pub(super) send_buffer: Option<usize>,
    pub(super) dont_fragment: bool,
    pub(super) segmentation: bool,
    pub(super) pace: Option<Rate>,
    pub(super) follow: bool,
}

impl Settings {
    pub(super) fn open(&self) -> mcast::Result<mcast::Sender> {
        let mut builder = mcast::Sender::builder()
            .broadcast(self.broadcast)
            .loopback(self.loopback)
            .source_port(self.source_port)
            .dont_fragment(self.dont_fragment)
            .segmentation(self.segmentation)
            .follow(self.follow);
        for destination in &self.destinations {
            builder = builder.to(destination.clone());
        }
        builder = self.hop_limit.into_iter().fold(builder, SenderBuilder::hop_limit);
        builder = self.hosts.iter().cloned().fold(builder, SenderBuilder::to_host);
        for interface in &self.interfaces {
            builder = builder.interface(interface.clone());
        }
        if let Some(class) = self.traffic_class {
            builder = builder.traffic_class(class);
        }
        if let Some(address) = self.source_address {
            builder = builder.source_address(address);
        }
        if let Some(bytes) = self.send_buffer {
            builder = builder.send_buffer(bytes);
        }
        if let Some(pace) = self.pace {
            builder = builder.pace(pace);
        }
        builder.build()
    }
}
