//! A captured packet: its bytes, how they were seen, and what they say.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use mcast::{Group, InterfaceIndex};
use mcast_capture::{Direction, Frame};
use mcast_packet::{ChecksumStatus, Checksums, LinkType, Network, Transport};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::control::ControlMessage;
use crate::datagram::{nanoseconds, seconds};
use crate::group::PyGroup;
use crate::pickle::{Pickled, nanoseconds_of, pickled, time_of, unpickled};

/// A captured packet, decoded as far as it can be; str() is a line about it.
///
/// What a packet doesn't have is None: a source of something else than IP, a port of something else
/// than UDP. What could not be decoded is told by `malformed`, and what came before it is there.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Packet {
    /// The frame as it was seen, from the first header on.
    #[pyo3(get)]
    bytes: Py<PyBytes>,
    seen: Seen,
}

/// How a frame was seen.
#[derive(Clone, Debug)]
struct Seen {
    original_length: usize,
    link_type: LinkType,
    index: InterfaceIndex,
    interface: Option<Arc<str>>,
    direction: Direction,
    time: SystemTime,
    checksums: Checksums,
    cut: bool,
}

/// A frame that was taken, before Python has it.
#[derive(Debug)]
pub(super) struct Taken {
    bytes: Vec<u8>,
    seen: Seen,
}

impl Taken {
    pub(super) fn new(frame: &Frame<'_>, interface: Option<Arc<str>>) -> Self {
        let seen = Seen {
            original_length: frame.original_length,
            link_type: frame.link_type,
            index: frame.interface,
            interface,
            direction: frame.direction,
            time: frame.time,
            checksums: frame.checksums,
            cut: frame.resegmented,
        };
        Self { bytes: frame.bytes.to_vec(), seen }
    }

    /// The same, on an interface of this name.
    pub(super) fn on(self, interface: Option<Arc<str>>) -> Self {
        Self { seen: Seen { interface, ..self.seen }, ..self }
    }

    pub(super) fn packet(self, py: Python<'_>) -> Packet {
        Packet { bytes: PyBytes::new(py, &self.bytes).unbind(), seen: self.seen }
    }
}

impl Packet {
    pub(super) fn frame<'p>(&'p self, py: Python<'p>) -> Frame<'p> {
        let Seen { original_length, link_type, index, direction, time, checksums, cut, .. } = self.seen;
        let bytes = self.bytes.as_bytes(py);
        Frame {
            bytes,
            original_length,
            link_type,
            interface: index,
            direction,
            time,
            checksums,
            resegmented: cut,
        }
    }

    /// What its interface is called, where anybody says it.
    pub(super) fn interface_name(&self) -> Option<&str> {
        self.seen.interface.as_deref()
    }

    fn decoded<'p>(&'p self, py: Python<'p>) -> mcast_packet::Packet<'p> {
        self.frame(py).packet()
    }
}

/// Makes a Packet that was pickled.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "it has so many fields")]
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
    let wrong = || unpickled("Packet");
    let named = |text: &str, names: &[&str]| names.iter().position(|name| *name == text).ok_or_else(wrong);
    let seen = Seen {
        original_length,
        link_type: LINK_TYPES[named(link_type, &LINK_TYPES.map(link_type_name))?],
        index: InterfaceIndex::new(index).ok_or_else(wrong)?,
        interface: interface.map(Into::into),
        direction: DIRECTIONS[named(direction, &DIRECTIONS.map(direction_name))?],
        time: time_of(time),
        checksums: if left_to_device { Checksums::LeftToDevice } else { Checksums::Computed },
        cut,
    };
    Ok(Packet { bytes, seen })
}

const LINK_TYPES: [LinkType; 5] =
    [LinkType::Ethernet, LinkType::Ip, LinkType::LinuxCooked, LinkType::LinuxCooked2, LinkType::Loopback];

const DIRECTIONS: [Direction; 6] = [
    Direction::ToUs,
    Direction::Broadcast,
    Direction::Multicast,
    Direction::ToOthers,
    Direction::Outgoing,
    Direction::Unknown,
];

fn link_type_name(link_type: LinkType) -> &'static str {
    match link_type {
        LinkType::Ip => "ip",
        LinkType::LinuxCooked => "linux-cooked",
        LinkType::LinuxCooked2 => "linux-cooked-2",
        LinkType::Loopback => "loopback",
        _ => "ethernet",
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::ToUs => "to-us",
        Direction::Broadcast => "broadcast",
        Direction::Multicast => "multicast",
        Direction::ToOthers => "to-others",
        Direction::Outgoing => "outgoing",
        _ => "unknown",
    }
}

#[pymethods]
impl Packet {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        let arguments = (
            self.bytes.clone_ref(py),
            self.seen.original_length,
            self.link_type(),
            self.interface_index(),
            self.interface(),
            self.direction(),
            nanoseconds_of(self.seen.time),
            self.seen.checksums == Checksums::LeftToDevice,
            self.seen.cut,
        );
        pickled(py, "_packet", arguments)
    }

    /// How long the frame was in bytes; more than `bytes` has when it was cut off.
    #[getter]
    fn original_length(&self) -> usize {
        self.seen.original_length
    }

    /// What `bytes` starts with: "ethernet", "ip", "linux-cooked", "linux-cooked-2" or "loopback".
    #[getter]
    fn link_type(&self) -> &'static str {
        link_type_name(self.seen.link_type)
    }

    /// The name of the interface where it was seen; None where a file doesn't say it.
    #[getter]
    fn interface(&self) -> Option<&str> {
        self.interface_name()
    }

    /// The index of the interface; in a file its number in the file, from 1.
    #[getter]
    fn interface_index(&self) -> u32 {
        self.seen.index.number()
    }

    /// Which way it went, and whom its link-layer address means: "to-us", "broadcast", "multicast",
    /// "to-others", "outgoing", or "unknown" where a file doesn't say it.
    #[getter]
    fn direction(&self) -> &'static str {
        direction_name(self.seen.direction)
    }

    /// When it was seen, in nanoseconds since 1970 as time.time_ns().
    #[getter]
    fn time_ns(&self) -> u128 {
        nanoseconds(self.seen.time)
    }

    /// The same in seconds, as time.time().
    #[getter]
    fn time(&self) -> f64 {
        seconds(self.seen.time)
    }

    /// Whether the kernel carried this datagram as part of a larger packet (GSO, GRO), from which it
    /// was cut.
    #[getter]
    fn cut(&self) -> bool {
        self.seen.cut
    }

    /// The Ethernet address it came from: "02:00:00:00:00:01".
    #[getter]
    fn ethernet_source(&self, py: Python<'_>) -> Option<String> {
        Some(self.decoded(py).ethernet?.source.to_string())
    }

    /// The Ethernet address it was sent to.
    #[getter]
    fn ethernet_destination(&self, py: Python<'_>) -> Option<String> {
        Some(self.decoded(py).ethernet?.destination.to_string())
    }

    /// The numbers of its VLANs, the outermost first.
    #[getter]
    fn vlans(&self, py: Python<'_>) -> Vec<u16> {
        self.decoded(py).vlans().map(|vlan| vlan.id).collect()
    }

    /// Who sent it by its IP header: an ipaddress.IPv4Address or IPv6Address.
    #[getter]
    fn source(&self, py: Python<'_>) -> Option<IpAddr> {
        self.decoded(py).ip_layer().map(|ip| ip.source)
    }

    /// Whom it is for by its IP header.
    #[getter]
    fn destination(&self, py: Python<'_>) -> Option<IpAddr> {
        self.decoded(py).ip_layer().map(|ip| ip.destination)
    }

    /// The group it is for, if it is for one.
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

    /// The number of the protocol that IP carries: 17 for UDP, 2 for IGMP.
    #[getter]
    fn protocol(&self, py: Python<'_>) -> Option<u8> {
        self.decoded(py).ip_layer().map(|ip| ip.protocol)
    }

    /// Of a fragment: the number that all pieces of its datagram have, where it belongs in it in
    /// bytes, and whether more follow.
    #[getter]
    fn fragment(&self, py: Python<'_>) -> Option<(u32, usize, bool)> {
        let fragment = self.decoded(py).ip_layer()?.fragment?;
        Some((fragment.identification, fragment.offset, fragment.more))
    }

    /// What it carries: "udp", "igmp", "mld", "pim", "arp", "fragment" (a later piece of a datagram)
    /// or "other".
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

    /// The UDP port it was sent from.
    #[getter]
    fn source_port(&self, py: Python<'_>) -> Option<u16> {
        self.decoded(py).udp().map(|udp| udp.source_port)
    }

    /// The UDP port it was sent to.
    #[getter]
    fn port(&self, py: Python<'_>) -> Option<u16> {
        self.decoded(py).udp().map(|udp| udp.destination_port)
    }

    /// What UDP carries, as much of it as is here.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.decoded(py).udp().map(|udp| PyBytes::new(py, udp.payload))
    }

    /// What IGMP or MLD says, if it is a message of theirs.
    #[getter]
    fn control(&self, py: Python<'_>) -> Option<ControlMessage> {
        match self.decoded(py).transport? {
            Transport::Igmp(control) => Some(ControlMessage::of("igmp", &control.message)),
            Transport::Mld(control) => Some(ControlMessage::of("mld", &control.message)),
            _ => None,
        }
    }

    /// The checksum of UDP, IGMP, MLD or PIM: "valid", "invalid", "absent", "not-computed" (left to the
    /// device) or "not-computable" (not all is here).
    #[getter]
    fn checksum(&self, py: Python<'_>) -> Option<&'static str> {
        let status = match self.decoded(py).transport? {
            Transport::Udp(udp) => udp.checksum,
            Transport::Igmp(control) => control.checksum,
            Transport::Mld(control) => control.checksum,
            Transport::Pim(pim) => pim.checksum,
            _ => return None,
        };
        Some(match status {
            ChecksumStatus::Valid => "valid",
            ChecksumStatus::Invalid { .. } => "invalid",
            ChecksumStatus::Absent => "absent",
            ChecksumStatus::NotComputed => "not-computed",
            ChecksumStatus::NotComputable => "not-computable",
        })
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
