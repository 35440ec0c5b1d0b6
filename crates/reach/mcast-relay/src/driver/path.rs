//! The sockets of paths, and the copies that they send.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::{Family, Group, InterfaceIndex};
use mcast_sys::poller::wait_writable;
use mcast_sys::socket::Socket;
use mcast_sys::{OutgoingDatagram, SendRequest};

use crate::{ANNOUNCEMENT_GROUPS, PathId, PathPort, PathSide, PortBlock};

const SEND_BUFFER: usize = 4 << 20;
/// Copies of a batch that are sent together, so that those of one path become segmented buffers.
#[derive(Debug, Default)]
pub(super) struct PendingCopies<'a>(pub(super) Vec<(PathId, CopyRun<'a>)>);

/// Copies of datagrams that arrived together.
#[derive(Debug)]
pub(super) struct CopyRun<'a> {
    pub(super) destination: SocketAddr,
    pub(super) hop_limit: Option<u8>,
    /// Their payloads, one after the other.
    pub(super) payload: Cow<'a, [u8]>,
    /// The length of each datagram but the last. One datagram has at most this length.
    pub(super) segment: usize,
}

impl CopyRun<'_> {
    /// Returns the datagrams. An empty one is one, too.
    pub(super) fn copies(&self) -> impl Iterator<Item = OutgoingCopy<'_>> {
        let count = self.payload.len().div_ceil(self.segment.max(1)).max(1);
        (0..count).map(|number| {
            let start = number * self.segment;
            let end = self.payload.len().min(start + self.segment);
            let payload = Cow::Borrowed(&self.payload[start..end]);
            OutgoingCopy { destination: self.destination, hop_limit: self.hop_limit, payload }
        })
    }
}

/// What was passed to the state machine: a datagram, or several that arrived together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReceivedPayload<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) segment: usize,
}

impl<'a> From<&'a [u8]> for ReceivedPayload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, segment: bytes.len() }
    }
}

/// How long a full queue of an interface is waited for. Queues of unicast targets are not: one must not delay others.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(2);

/// The socket of a path.
#[derive(Debug)]
pub(super) struct PathSocket {
    pub(super) socket: Socket,
    pub(super) side: PathSide,
    /// The interface of a leg.
    pub(super) interface: Option<InterfaceIndex>,
    /// The address of the sender, if copies have that. It goes with each of them: the interface of a datagram would
    /// choose another one (`ip_cmsg_send`).
    source: Option<IpAddr>,
}

/// A datagram to send.
#[derive(Clone, Debug)]
pub(super) struct OutgoingCopy<'a> {
    pub(super) destination: SocketAddr,
    pub(super) hop_limit: Option<u8>,
    pub(super) payload: Cow<'a, [u8]>,
}

impl OutgoingDatagram for OutgoingCopy<'_> {
    fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn shares_settings(&self, other: &Self) -> bool {
        (self.destination, self.hop_limit) == (other.destination, other.hop_limit)
    }
}

/// What became of copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SendOutcome {
    /// Copies that the system did not take.
    pub(super) unsent: u64,
    /// Whether the target cannot be reached.
    pub(super) is_unreachable: bool,
}

impl PathSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open(
        side: PathSide,
        family: Family,
        port: PathPort,
        block: PortBlock,
        interface: Option<InterfaceIndex>,
    ) -> io::Result<Self> {
        let socket = match port {
            PathPort::Shared(port) => open_shared(family, port, interface)?,
            PathPort::Own(port) => {
                let socket = open_unicast(family)?;
                bind_in_block(&socket, family, port, block)?;
                socket
            }
            PathPort::Sender(sender) => {
                let socket = Socket::open(family)?;
                // Other legs have a path of the same sender.
                socket.share_port()?;
                socket.only_own_memberships(true)?;
                socket.send_as_others()?;
                socket.bind(sender)?;
                socket
            }
            PathPort::Preferred(port) => {
                let socket = open_unicast(family)?;
                let bind = |port| socket.bind(SocketAddr::new(unspecified(family), port));
                bind(port).or_else(|_| bind(0))?;
                socket
            }
        };
        if family == Family::V4 {
            socket.allow_broadcast()?;
        }
        if matches!(side, PathSide::Route(_)) {
            socket.report_queue_drops()?;
        }
        socket.set_send_buffer(SEND_BUFFER)?;
        let source = match port {
            PathPort::Sender(sender) => Some(sender.ip()),
            PathPort::Own(_) | PathPort::Shared(_) | PathPort::Preferred(_) => None,
        };
        Ok(Self { socket, side, interface, source })
    }

    /// Sends these datagrams, as segmented buffers where possible.
    pub(super) fn send(&self, copies: &[OutgoingCopy<'_>]) -> SendOutcome {
        let (mut rest, mut outcome, mut may_wait) = (copies, SendOutcome::default(), true);
        let (interface, source) = (self.interface, self.source);
        while !rest.is_empty() {
            match self.socket.send_run(rest, |copy| Some(SendRequest { source, ..request(copy, interface) }))
            {
                Ok(sent) => rest = &rest[sent.datagrams.clamp(1, rest.len())..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let waits = std::mem::take(&mut may_wait) && interface.is_some();
                    if !waits || !wait_writable(&self.socket, Some(QUEUE_TIMEOUT)).unwrap_or(false) {
                        outcome.unsent += rest.len() as u64;
                        break;
                    }
                }
                Err(error) => {
                    outcome.unsent += 1;
                    rest = &rest[1..];
                    if self.has_failed(&error) {
                        outcome.is_unreachable = true;
                        outcome.unsent += rest.len() as u64;
                        break;
                    }
                }
            }
        }
        outcome
    }

    /// Returns whether the error means that the unicast target cannot be reached.
    pub(super) fn has_failed(&self, error: &io::Error) -> bool {
        if !matches!(self.side, PathSide::Route(_)) {
            return false;
        }
        let is_from_network = self.socket.forget_errors();
        is_from_network
            || matches!(
                error.kind(),
                io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NetworkDown
            )
    }
}

pub(super) fn request<'a>(copy: &'a OutgoingCopy<'_>, interface: Option<InterfaceIndex>) -> SendRequest<'a> {
    SendRequest {
        payload: &copy.payload,
        to: copy.destination,
        interface,
        source: None,
        hop_limit: copy.hop_limit,
        traffic_class: None,
        launch: None,
    }
}

/// Opens a socket that receives unicast with packet info, and no multicast.
fn open_unicast(family: Family) -> io::Result<Socket> {
    let socket = Socket::open(family)?;
    socket.set_pktinfo(true)?;
    socket.only_own_memberships(true)?;
    Ok(socket)
}

/// Opens a socket that sends from a port which other programs receive on. Bound to a group that it does not join, it
/// takes nothing from them.
fn open_shared(family: Family, port: u16, interface: Option<InterfaceIndex>) -> io::Result<Socket> {
    let group = ANNOUNCEMENT_GROUPS[usize::from(family == Family::V6)];
    let group = Group::new(group).map_err(|_| io::ErrorKind::InvalidInput)?;
    Socket::bound_to_group(group, port, interface)
}

/// Binds to the port, or if another program has it, to another one of the block, from its end.
fn bind_in_block(socket: &Socket, family: Family, port: u16, block: PortBlock) -> io::Result<()> {
    let bind = |port| socket.bind(SocketAddr::new(unspecified(family), port));
    let mut result = bind(port);
    for offset in (0..block.count).rev() {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            _ => break,
        }
        result = block.first.checked_add(offset).map_or_else(|| Err(io::ErrorKind::AddrInUse.into()), bind);
    }
    result
}

pub(super) const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
