//! The frames of joined groups: from the wire, or from sockets without the permission to capture.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use mcast::interface::Interface;
use mcast::{
    Arrival, Batch, Cursor, Drops, Family, Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership,
    MembershipStatus, Receiver, Wire, WireStatus,
};
use mcast_capture::{
    Capture, CaptureOptions, CaptureStatistics, Direction, ErrorKind, Filter, Frame, PacketFilter, Recorder,
};
use mcast_packet::{Checksums, LinkType, Udp, UdpPacket};

use super::{HeldMemberships, LiveError};

/// What to join, and how to receive it.
#[derive(Clone, Debug, Default)]
pub struct GroupFramesOptions {
    /// The memberships.
    pub memberships: Vec<Membership>,
    /// Whether a source-specific group may be joined without a source.
    pub any_source: bool,
    /// Whether to follow interfaces that appear or vanish ([`GroupFrames::refresh`]).
    pub follow: bool,
    /// The buffer size to request, in bytes; `None` for the default.
    pub buffer_size: Option<usize>,
    /// Whether [`SocketFrames`] are taken off the interface before the kernel's network stack.
    pub wire: Wire,
}

/// The frames of joined groups, as [`WireFrames`] or [`SocketFrames`].
pub trait GroupFrames {
    /// Returns the next frame. Waits at most for `timeout`.
    ///
    /// # Errors
    /// [`LiveError`].
    fn next(&mut self, timeout: Duration) -> Result<NextGroupFrame<'_>, LiveError>;

    /// Returns the state of the memberships.
    fn memberships(&self) -> Vec<MembershipStatus>;

    /// Returns how the datagrams of each group are received; empty unless they may be taken off the interface.
    fn wire_status(&self) -> Vec<WireStatus> {
        Vec::new()
    }

    /// Returns the size of the receive buffer in bytes.
    ///
    /// # Errors
    /// If the system does not report it.
    fn buffer_size(&self) -> Result<usize, LiveError>;

    /// Returns the number of missing datagrams.
    ///
    /// # Errors
    /// If the system does not report it.
    fn losses(&mut self) -> Result<FrameLosses, LiveError>;

    /// Adapts to interfaces that have appeared or vanished, if they are followed. Returns whether the captured interfaces
    /// have changed.
    ///
    /// # Errors
    /// [`LiveError`].
    fn refresh(&mut self) -> Result<bool, LiveError> {
        Ok(false)
    }

    /// Describes the captured interfaces, as far as they are known in advance.
    fn describe(&self, _recorder: &mut Recorder) {}

    /// Adds the statistics of each interface since the last call.
    ///
    /// # Errors
    /// If the system does not report them.
    fn add_statistics(&mut self, _recorder: &mut Recorder) -> Result<(), LiveError> {
        Ok(())
    }
}

/// Datagrams that are missing.
#[derive(Clone, Copy, Debug)]
pub struct FrameLosses {
    /// What this machine has dropped for lack of buffer space.
    pub dropped: Drops,
    /// Datagrams that arrived but could not be returned.
    pub unreadable: u64,
}

/// The result of a request for a frame.
#[derive(Debug)]
pub enum NextGroupFrame<'a> {
    /// A frame of a joined group.
    Frame(Frame<'a>, GroupFrameKind),
    /// A frame that does not belong to a membership; more may be waiting.
    Other,
    /// No frame within the timeout.
    Nothing,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFrameKind {
    /// A datagram, or the first fragment of one, which has the header.
    Datagram(Arrival),
    /// A later fragment, whose datagram may belong to a membership.
    Fragment,
}

/// Frames as they are on the wire: memberships, and a capture on the interfaces where they are joined. It needs the right
/// to capture.
#[derive(Debug)]
pub struct WireFrames {
    held: HeldMemberships,
    follow: bool,
    buffer_size: Option<usize>,
    filter: PacketFilter,
    capture: Capture,
    /// The statistics of earlier captures.
    earlier: CaptureStatistics,
    /// The statistics that are counted already.
    reported: BTreeMap<InterfaceIndex, CaptureStatistics>,
}

impl WireFrames {
    /// Joins the groups and starts to capture.
    ///
    /// # Errors
    /// [`LiveError::Capture`] without the right to capture, [`LiveError::Multicast`] if a group cannot be joined.
    pub fn open(options: &GroupFramesOptions) -> Result<Self, LiveError> {
        let GroupFramesOptions { memberships, any_source, follow, buffer_size, .. } = options;
        let held = HeldMemberships::join(memberships, *any_source, *follow)?;
        let statuses = held.statuses();
        Ok(Self {
            held,
            follow: *follow,
            buffer_size: *buffer_size,
            filter: joined_filter(&statuses),
            capture: tap(&statuses, *buffer_size)?,
            earlier: CaptureStatistics::default(),
            reported: BTreeMap::new(),
        })
    }

    fn statistics(&mut self) -> mcast_capture::Result<CaptureStatistics> {
        let mut sum = self.earlier;
        sum += self.capture.statistics()?;
        Ok(sum)
    }
}

/// Opens a capture on the interfaces where the groups are joined now.
fn tap(statuses: &[MembershipStatus], buffer: Option<usize>) -> mcast_capture::Result<Capture> {
    let options = CaptureOptions::on_names(joined(statuses).into_values())
        .filter(Filter::Multicast)
        .loopback_once(true)
        .buffer_size(buffer.unwrap_or(CaptureOptions::DEFAULT_BUFFER_SIZE));
    Capture::open(options)
}

/// Returns the interfaces on which groups are joined, without duplicates.
fn joined(statuses: &[MembershipStatus]) -> BTreeMap<InterfaceIndex, &str> {
    let interfaces = statuses.iter().flat_map(|status| &status.interfaces);
    let joined = interfaces.filter(|interface| interface.failure.is_none());
    joined.map(|interface| (interface.index, interface.name.as_str())).collect()
}

/// Returns a filter of the joined memberships, on the interfaces where they are joined.
fn joined_filter(statuses: &[MembershipStatus]) -> PacketFilter {
    statuses.iter().fold(PacketFilter::default(), |filter, status| {
        let joined = status.interfaces.iter().filter(|interface| interface.failure.is_none());
        let joined: Vec<_> = joined.map(|interface| InterfaceSelector::Index(interface.index)).collect();
        // No interface would mean every interface.
        if joined.is_empty() { filter } else { filter.membership(&status.membership, &joined) }
    })
}

/// Returns the kind of a frame, if the filter selects it.
fn kind_of(frame: &Frame<'_>, filter: &PacketFilter) -> Option<GroupFrameKind> {
    let packet = frame.packet();
    let ip = packet.ip_layer()?;
    let Some(udp) = packet.udp() else {
        return filter.admits_fragment(&packet, &frame.context(None)).then_some(GroupFrameKind::Fragment);
    };
    let port = udp.destination_port;
    if !filter.admits(&packet, &frame.context(Some(port))) {
        return None;
    }
    let address = GroupAddr::new(Group::new(ip.destination).ok()?, port);
    let mut arrival = Arrival::new(address, frame.interface, SocketAddr::new(ip.source, udp.source_port));
    // Of a fragmented datagram, as long as it states: its other fragments follow.
    arrival.length = match ip.fragment {
        Some(_) => usize::from(udp.length).saturating_sub(Udp::HEADER_LENGTH).max(udp.payload.len()),
        None => udp.payload.len(),
    };
    arrival.hop_limit = Some(ip.hop_limit);
    Some(GroupFrameKind::Datagram(arrival))
}

impl GroupFrames for WireFrames {
    fn next(&mut self, timeout: Duration) -> Result<NextGroupFrame<'_>, LiveError> {
        let frame = match self.capture.next(Some(timeout)) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(NextGroupFrame::Nothing),
            // Continues when the interface is up again or was replaced.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(NextGroupFrame::Nothing),
            Err(error) => return Err(error.into()),
        };
        let kind = kind_of(&frame, &self.filter);
        Ok(kind.map_or(NextGroupFrame::Other, |kind| NextGroupFrame::Frame(frame, kind)))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        self.held.statuses()
    }

    fn buffer_size(&self) -> Result<usize, LiveError> {
        Ok(self.capture.buffer_size()?)
    }

    fn losses(&mut self) -> Result<FrameLosses, LiveError> {
        let CaptureStatistics { dropped, unreadable, .. } = self.statistics()?;
        Ok(FrameLosses { dropped: Drops::AtLeast(dropped), unreadable })
    }

    fn refresh(&mut self) -> Result<bool, LiveError> {
        if !self.follow {
            return Ok(false);
        }
        self.held.refresh()?;
        let statuses = self.held.statuses();
        if self.capture.interfaces().map(|interface| interface.index).eq(joined(&statuses).into_keys()) {
            return Ok(false);
        }
        self.earlier = self.statistics()?;
        self.reported.clear();
        self.filter = joined_filter(&statuses);
        self.capture = tap(&statuses, self.buffer_size)?;
        Ok(true)
    }

    fn describe(&self, recorder: &mut Recorder) {
        recorder.describe(self.capture.interfaces());
    }

    fn add_statistics(&mut self, recorder: &mut Recorder) -> Result<(), LiveError> {
        for (interface, now) in self.capture.interface_statistics()? {
            let earlier = self.reported.insert(interface, now).unwrap_or_default();
            recorder.add_statistics(interface, now - earlier);
        }
        Ok(())
    }
}

/// Datagrams in a batch, each in a buffer for the largest datagram.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;
/// The size of the largest datagram with its headers.
const LONGEST_PACKET: usize = BUFFER + 48;

/// How densely datagrams arrive. Waking for each of them costs several microseconds: while they arrive densely, many are let
/// arrive before they are received together.
#[derive(Debug)]
struct Load {
    /// When all that had arrived was received, and the number of datagrams since.
    since: Instant,
    datagrams: u32,
    /// Whether the latest batch had room left.
    is_drained: bool,
}

impl Load {
    /// Datagrams are dense if their mean distance is less than this.
    const DENSE: Duration = Duration::from_micros(20);
    /// Much shorter than the time in which a receive buffer fills up.
    const REST: Duration = Duration::from_micros(50);

    fn new() -> Self {
        Self { since: Instant::now(), datagrams: 0, is_drained: true }
    }

    /// Pauses if all was received and datagrams arrive densely.
    fn rest(&mut self) {
        if !self.is_drained {
            return;
        }
        let now = Instant::now();
        let is_dense = now.duration_since(self.since) < Self::DENSE * self.datagrams;
        (self.since, self.datagrams) = (now, 0);
        if is_dense {
            std::thread::sleep(Self::REST);
        }
    }

    /// Counts the datagrams of a batch.
    fn add(&mut self, datagrams: usize) {
        self.datagrams += datagrams as u32;
        self.is_drained = datagrams < BUFFERS;
    }
}

/// Datagrams as sockets receive them, with reconstructed headers: payload, addresses, ports, hop limit, DSCP and times
/// are those that the kernel reported, and fragmented datagrams are whole.
#[derive(Debug)]
pub struct SocketFrames {
    receiver: Receiver,
    batch: Batch,
    /// The next datagram of the batch, and the number of those left.
    next: Cursor,
    left: usize,
    load: Load,
    packet: Vec<u8>,
    /// The interface of the latest datagram, and its name.
    interface: Option<(InterfaceIndex, String)>,
    unreadable: u64,
}

impl SocketFrames {
    /// Joins the groups and starts to receive.
    ///
    /// # Errors
    /// [`LiveError::Multicast`] if a group cannot be joined.
    pub fn open(options: &GroupFramesOptions) -> Result<Self, LiveError> {
        // Without GRO, because coalesced datagrams would share one timestamp.
        let builder = Receiver::builder()
            .join_all(options.memberships.clone())
            .follow(options.follow)
            .gro(false)
            .wire(options.wire)
            .allow_any_source(options.any_source);
        let builder = match options.buffer_size {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        Ok(Self {
            receiver: builder.build_raising_limit()?,
            batch: Batch::new(BUFFERS, BUFFER),
            next: Cursor::default(),
            left: 0,
            load: Load::new(),
            packet: vec![0; LONGEST_PACKET],
            interface: None,
            unreadable: 0,
        })
    }
}

impl GroupFrames for SocketFrames {
    fn next(&mut self, timeout: Duration) -> Result<NextGroupFrame<'_>, LiveError> {
        if self.left == 0 {
            self.batch.clear();
            self.next = Cursor::default();
            self.load.rest();
            self.left = self.receiver.recv_batch(&mut self.batch, Some(timeout))?;
            self.load.add(self.left);
        }
        self.left = self.left.saturating_sub(1);
        let Some(datagram) = self.batch.next_at(&mut self.next) else { return Ok(NextGroupFrame::Nothing) };
        let arrival = *datagram.arrival();
        let Ok(length) = packet(&arrival, datagram.payload()).emit(&mut self.packet) else {
            // An IPv6 datagram that is longer than its header can express.
            self.unreadable += 1;
            return Ok(NextGroupFrame::Other);
        };
        if self.interface.as_ref().is_none_or(|(index, _)| *index != arrival.interface) {
            self.interface = Some((arrival.interface, name_of(arrival.interface)));
        }
        let bytes = self.packet.get(..length).unwrap_or_default();
        let frame = Frame {
            bytes,
            original_length: length + arrival.length.saturating_sub(datagram.payload().len()),
            link_type: LinkType::Ip,
            interface: arrival.interface,
            interface_name: self.interface.as_ref().map(|(_, name)| name.as_str()),
            direction: Direction::Multicast,
            time: arrival.time.unwrap_or_else(SystemTime::now),
            checksums: Checksums::Computed,
            resegmented: false,
        };
        Ok(NextGroupFrame::Frame(frame, GroupFrameKind::Datagram(arrival)))
    }

    fn memberships(&self) -> Vec<MembershipStatus> {
        self.receiver.memberships()
    }

    fn wire_status(&self) -> Vec<WireStatus> {
        self.receiver.wire_status()
    }

    fn buffer_size(&self) -> Result<usize, LiveError> {
        Ok(self.receiver.receive_buffer())
    }

    fn losses(&mut self) -> Result<FrameLosses, LiveError> {
        Ok(FrameLosses { dropped: self.receiver.statistics().dropped, unreadable: self.unreadable })
    }
}

/// Returns the name of an interface, or its index if it has vanished.
fn name_of(index: InterfaceIndex) -> String {
    let families = [Family::V4, Family::V6];
    let is_it = |interface: &Interface| families.iter().any(|family| interface.index_for(*family) == index);
    let found = mcast::interface::list().ok().and_then(|interfaces| interfaces.into_iter().find(is_it));
    found.map_or_else(|| index.to_string(), |interface| interface.name)
}

/// Reconstructs the headers of a datagram. An unknown hop limit becomes zero.
fn packet<'a>(arrival: &Arrival, payload: &'a [u8]) -> UdpPacket<'a> {
    UdpPacket {
        source: SocketAddr::new(arrival.source.ip(), arrival.source.port()),
        destination: arrival.destination,
        hop_limit: arrival.hop_limit.unwrap_or(0),
        traffic_class: arrival.traffic_class.unwrap_or(0),
        payload,
    }
}
