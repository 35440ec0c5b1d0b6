//! Captured packets: bytes, metadata, and decoded fields, those of IGMP and MLD messages included.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use mcast::{Group, InterfaceIndex};
use mcast_capture::{Direction, Frame};
use mcast_packet::gmp::{Address, GmpMessage, Query, Record};
use mcast_packet::{ChecksumStatus, Checksums, LinkType, Network, Transport};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::datagram::{nanoseconds, seconds};
use crate::group::PyGroup;
use crate::values::{Pickled, nanoseconds_of, pickled, time_of, unpickle_error};

/// A captured packet, decoded as far as possible; str() summarizes it in one line.
///
/// Fields that a packet does not have are None, such as the source of a packet other than IP, or the port of one other
/// than UDP. If decoding fails, `malformed` says where and why; the fields before that point are available.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Packet {
    /// The captured frame, starting with its first header.
    #[pyo3(get)]
    bytes: Py<PyBytes>,
    metadata: FrameMetadata,
}

/// The metadata of a captured frame.
#[derive(Clone, Debug)]
struct FrameMetadata {
    original_length: usize,
    link_type: LinkType,
    index: InterfaceIndex,
    interface: Option<Arc<str>>,
    direction: Direction,
    time: SystemTime,
    checksums: Checksums,
    cut: bool,
}

/// An owned copy of a captured frame, made without the GIL.
#[derive(Debug)]
pub(super) struct OwnedFrame {
    bytes: Vec<u8>,
    metadata: FrameMetadata,
}

impl OwnedFrame {
    pub(super) fn new(frame: &Frame<'_>) -> Self {
        let metadata = FrameMetadata {
            original_length: frame.original_length,
            link_type: frame.link_type,
            index: frame.interface,
            interface: frame.interface_name.map(Arc::from),
            direction: frame.direction,
            time: frame.time,
            checksums: frame.checksums,
            cut: frame.resegmented,
        };
        Self { bytes: frame.bytes.to_vec(), metadata }
    }

    pub(super) fn into_packet(self, py: Python<'_>) -> Packet {
        Packet { bytes: PyBytes::new(py, &self.bytes).unbind(), metadata: self.metadata }
    }
}

impl Packet {
    pub(super) fn frame<'p>(&'p self, py: Python<'p>) -> Frame<'p> {
        let FrameMetadata { original_length, link_type, index, direction, time, checksums, cut, .. } =
            self.metadata;
        let bytes = self.bytes.as_bytes(py);
        Frame {
            bytes,
            original_length,
            link_type,
            interface: index,
            interface_name: self.interface_name(),
            direction,
            time,
            checksums,
            resegmented: cut,
        }
    }

    /// Returns the name of its interface, if known.
    pub(super) fn interface_name(&self) -> Option<&str> {
        self.metadata.interface.as_deref()
    }

    fn decoded<'p>(&'p self, py: Python<'p>) -> mcast_packet::Packet<'p> {
        self.frame(py).packet()
    }
}

/// Restores a pickled Packet.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "one for each field")]
pub(crate) fn _packet(
    bytes: Py<PyBytes>,
    original_length: usize,
    link_type: &str,
    index: u32,
    interface: Option<String>,
    direction: &str,
    time: u64,
    left_to_device: bool,
    cut: bool,
) -> PyResult<Packet> {
    let invalid = || unpickle_error("Packet");
    let named = |text: &str, names: &[&str]| names.iter().position(|name| *name == text).ok_or_else(invalid);
    let metadata = FrameMetadata {
        original_length,
        link_type: LinkType::ALL[named(link_type, &LinkType::ALL.map(LinkType::name))?],
        index: InterfaceIndex::new(index).ok_or_else(invalid)?,
        interface: interface.map(Into::into),
        direction: Direction::ALL[named(direction, &Direction::ALL.map(|(_, name)| name))?].0,
        time: time_of(time),
        checksums: if left_to_device { Checksums::LeftToDevice } else { Checksums::Computed },
        cut,
    };
    Ok(Packet { bytes, metadata })
}

#[pymethods]
impl Packet {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        let arguments = (
            self.bytes.clone_ref(py),
            self.metadata.original_length,
            self.link_type(),
            self.interface_index(),
            self.interface(),
            self.direction(),
            nanoseconds_of(self.metadata.time),
            self.metadata.checksums == Checksums::LeftToDevice,
            self.metadata.cut,
        );
        pickled(py, "_packet", arguments)
    }

    /// The length of the frame on the wire, in bytes; greater than that of `bytes` if it was truncated.
    #[getter]
    fn original_length(&self) -> usize {
        self.metadata.original_length
    }

    /// The link type, such as "ethernet"; it determines the first header.
    #[getter]
    fn link_type(&self) -> &'static str {
        self.metadata.link_type.name()
    }

    /// The name of the capturing interface; None if a file does not record it.
    #[getter]
    fn interface(&self) -> Option<&str> {
        self.interface_name()
    }

    /// The index of the interface; for a packet from a file, its number in the file, counted from 1.
    #[getter]
    fn interface_index(&self) -> u32 {
        self.metadata.index.number()
    }

    /// Its direction and kind of link-layer destination: "to-us", "broadcast", "multicast", "to-others",
    /// "outgoing", or "unknown" if a file does not record it.
    #[getter]
    fn direction(&self) -> &'static str {
        self.metadata.direction.name()
    }

    /// When it was captured, in nanoseconds since 1970, as time.time_ns().
    #[getter]
    fn time_ns(&self) -> u128 {
        nanoseconds(self.metadata.time)
    }

    /// The same in seconds, as time.time().
    #[getter]
    fn time(&self) -> f64 {
        seconds(self.metadata.time)
    }

    /// Whether the kernel carried this datagram as a segment of a larger packet (GSO, GRO).
    #[getter]
    fn cut(&self) -> bool {
        self.metadata.cut
    }

    /// The source Ethernet address: "02:00:00:00:00:01".
    #[getter]
    fn ethernet_source(&self, py: Python<'_>) -> Option<String> {
        Some(self.decoded(py).ethernet?.source.to_string())
    }

    /// The destination Ethernet address.
    #[getter]
    fn ethernet_destination(&self, py: Python<'_>) -> Option<String> {
        Some(self.decoded(py).ethernet?.destination.to_string())
    }

    /// Its VLAN ids, the outermost first.
    #[getter]
    fn vlans(&self, py: Python<'_>) -> Vec<u16> {
        self.decoded(py).vlans().map(|vlan| vlan.id).collect()
    }

    /// The source address of its IP header: an ipaddress.IPv4Address or IPv6Address.
    #[getter]
    fn source(&self, py: Python<'_>) -> Option<IpAddr> {
        self.decoded(py).ip_layer().map(|ip| ip.source)
    }

    /// The destination address of its IP header.
    #[getter]
    fn destination(&self, py: Python<'_>) -> Option<IpAddr> {
        self.decoded(py).ip_layer().map(|ip| ip.destination)
    }

    /// The destination group, if the destination is one.
    #[getter]
    fn group(&self, py: Python<'_>) -> Option<PyGroup> {
        Group::new(self.destination(py)?).ok().map(PyGroup)
    }

    /// The hop limit (IPv4: TTL).
    #[getter]
    fn hop_limit(&self, py: Python<'_>) -> Option<u8> {
        self.decoded(py).ip_layer().map(|ip| ip.hop_limit)
    }

    /// The differentiated services code point (RFC 2474).
    #[getter]
    fn dscp(&self, py: Python<'_>) -> Option<u8> {
        self.decoded(py).ip_layer().map(|ip| ip.dscp)
    }

    /// The IP protocol number: 17 for UDP, 2 for IGMP.
    #[getter]
    fn protocol(&self, py: Python<'_>) -> Option<u8> {
        self.decoded(py).ip_layer().map(|ip| ip.protocol)
    }

    /// Of a fragment: its identification, its offset in bytes, and whether more fragments follow.
    #[getter]
    fn fragment(&self, py: Python<'_>) -> Option<(u32, usize, bool)> {
        let fragment = self.decoded(py).ip_layer()?.fragment?;
        Some((fragment.identification, fragment.offset, fragment.more))
    }

    /// Its kind: "udp", "igmp", "mld", "pim", "arp", "fragment" (other than the first) or "other".
    #[getter]
    fn kind(&self, py: Python<'_>) -> &'static str {
        let packet = self.decoded(py);
        match (&packet.network, &packet.transport) {
            (Some(Network::Arp(_)), _) => "arp",
            (_, Some(Transport::Udp(_))) => "udp",
            (_, Some(Transport::Igmp(_))) => "igmp",
            (_, Some(Transport::Mld(_))) => "mld",
            (_, Some(Transport::Pim(_))) => "pim",
            (_, Some(Transport::Fragment(_))) => "fragment",
            _ => "other",
        }
    }

    /// The source UDP port.
    #[getter]
    fn source_port(&self, py: Python<'_>) -> Option<u16> {
        self.decoded(py).udp().map(|udp| udp.source_port)
    }

    /// The destination UDP port.
    #[getter]
    fn port(&self, py: Python<'_>) -> Option<u16> {
        self.decoded(py).udp().map(|udp| udp.destination_port)
    }

    /// The UDP payload, as far as it was captured.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.decoded(py).udp().map(|udp| PyBytes::new(py, udp.payload))
    }

    /// The IGMP or MLD message, if it is one.
    #[getter]
    fn control(&self, py: Python<'_>) -> Option<ControlMessage> {
        match self.decoded(py).transport? {
            Transport::Igmp(control) => Some(ControlMessage::of("igmp", &control.message)),
            Transport::Mld(control) => Some(ControlMessage::of("mld", &control.message)),
            _ => None,
        }
    }

    /// The checksum of UDP, IGMP, MLD or PIM: "valid", "invalid", "absent", "not-computed" (left to the
    /// device) or "not-computable" (truncated).
    #[getter]
    fn checksum(&self, py: Python<'_>) -> Option<&'static str> {
        self.decoded(py).checksum().map(ChecksumStatus::name)
    }

    /// Where decoding stopped, and why.
    #[getter]
    fn malformed(&self, py: Python<'_>) -> Option<String> {
        Some(self.decoded(py).malformed?.to_string())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.bytes.as_bytes(py).len()
    }

    fn __bytes__(&self, py: Python<'_>) -> Py<PyBytes> {
        self.bytes.clone_ref(py)
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __str__(&self, py: Python<'_>) -> String {
        self.decoded(py).to_string()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Packet {}>", self.decoded(py))
    }
}

/// An IGMP or MLD message; str() describes it.
#[pyclass(frozen, eq, module = "pymcast")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ControlMessage {
    /// "igmp" or "mld".
    #[pyo3(get)]
    protocol: &'static str,
    /// The protocol version that defines this message: 1 to 3 for IGMP, 1 or 2 for MLD; 0 for router discovery.
    #[pyo3(get)]
    version: u8,
    /// "query", "report", "leave" or "router-discovery".
    #[pyo3(get)]
    kind: &'static str,
    /// Its group; None for a general query, and for a report with records.
    #[pyo3(get)]
    group: Option<IpAddr>,
    /// The sources of a group-and-source-specific query.
    #[pyo3(get)]
    sources: Vec<IpAddr>,
    /// The group records of an IGMPv3 or MLDv2 report.
    #[pyo3(get)]
    records: Vec<ControlRecord>,
    /// Of a query: the maximum response time in seconds.
    #[pyo3(get)]
    max_response_time: Option<f64>,
    text: String,
}

/// A group record of an IGMPv3 or MLDv2 report.
#[pyclass(frozen, eq, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlRecord {
    /// "mode-is-include", "mode-is-exclude", "change-to-include" (without sources: a leave),
    /// "change-to-exclude" (without sources: a join), "allow-new-sources", "block-old-sources", or
    /// "unknown".
    #[pyo3(get)]
    kind: &'static str,
    /// The group.
    #[pyo3(get)]
    group: IpAddr,
    /// The sources.
    #[pyo3(get)]
    sources: Vec<IpAddr>,
    text: String,
}

impl ControlMessage {
    pub(super) fn of<A: Address>(protocol: &'static str, message: &GmpMessage<'_, A>) -> Self {
        let empty = Self {
            protocol,
            version: message.version(),
            kind: "report",
            group: None,
            sources: Vec::new(),
            records: Vec::new(),
            max_response_time: None,
            text: message.to_string(),
        };
        match message {
            GmpMessage::Query(query) => Self {
                kind: "query",
                group: query.group.map(Into::into),
                sources: sources_of(query),
                max_response_time: Some(query.max_response_time.as_secs_f64()),
                ..empty
            },
            GmpMessage::V1Report { group } | GmpMessage::Report { group } => {
                Self { group: Some((*group).into()), ..empty }
            }
            GmpMessage::Leave { group } => Self { kind: "leave", group: Some((*group).into()), ..empty },
            GmpMessage::V3Report(records) => {
                Self { records: records.iter().map(|record| ControlRecord::of(&record)).collect(), ..empty }
            }
            GmpMessage::RouterDiscovery(_) => Self { kind: "router-discovery", ..empty },
        }
    }
}

fn sources_of<A: Address>(query: &Query<'_, A>) -> Vec<IpAddr> {
    let sources = query.source_query.map(|query| query.sources.iter().map(Into::into).collect());
    sources.unwrap_or_default()
}

impl ControlRecord {
    fn of<A: Address>(record: &Record<'_, A>) -> Self {
        Self {
            kind: record.kind.name(),
            group: record.group.into(),
            sources: record.sources.iter().map(Into::into).collect(),
            text: record.to_string(),
        }
    }
}

#[pymethods]
impl ControlMessage {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<ControlMessage {}>", self.text)
    }
}

#[pymethods]
impl ControlRecord {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<ControlRecord {}>", self.text)
    }
}
