//! A link that loses, delays, duplicates and reorders datagrams, and the thread that forwards frames between its ends.
//!
//! Each end of it is an ordinary pair of virtual interfaces. The inner ends are in a separate namespace of the lab,
//! and a thread forwards the frames between them. The offloads of the outer ends are off, so that checksums are
//! complete, large packets are segmented, and each frame is one datagram.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mcast_sys::lab::ethernet::{FrameBatch, FrameSocket};
use mcast_sys::readable::{is_readable, wait_for_any};

use crate::error::ErrorContext;
use crate::host::Node;
use crate::lane::{Lane, LaneContext, LinkStatistics};
use crate::netlink::{Netlink, VethEnd};
use crate::switch::SwitchPort;
use crate::{CidrAddress, Host, HostInterface, Impairment, LabError, LinkDirection, Offload, Switch};

/// A bad link between two hosts, or between a host and a switch. Clones are the same link. It lasts as long as the
/// lab.
///
/// It carries frames up to the usual MTU of 1,500 bytes.
#[derive(Clone)]
pub struct BadLink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    shared: Arc<SharedState>,
    /// The ends at the hosts or the switch.
    outer: [CableEnd; 2],
    /// The ends at the forwarder.
    inner: [CableEnd; 2],
    /// How many frames the kernel had dropped in each direction before both ends were up. They do not count as
    /// overruns.
    dropped_before: [AtomicU64; 2],
    forwarder: Mutex<Option<Forwarder>>,
}

/// An end of one of the two cables that a bad link consists of.
#[derive(Debug)]
struct CableEnd {
    node: Arc<Node>,
    index: u32,
}

/// An outer end that must be created.
struct OuterEnd<'a> {
    node: &'a Arc<Node>,
    interface: &'a str,
    /// The bridge that the interface becomes a port of.
    bridge: Option<u32>,
}

impl BadLink {
    /// Creates a bad link between two hosts.
    pub(crate) fn between(
        link_namespace: Arc<Node>,
        a: (&Host, &str, &[&str]),
        b: (&Host, &str, &[&str]),
        impairment: Impairment,
    ) -> Result<(Self, HostInterface, HostInterface), LabError> {
        let (a_addresses, b_addresses) = (CidrAddress::parse_all(a.2)?, CidrAddress::parse_all(b.2)?);
        let a_end = OuterEnd { node: &a.0.node, interface: a.1, bridge: None };
        let b_end = OuterEnd { node: &b.0.node, interface: b.1, bridge: None };
        let link = Self::new(link_namespace, [&a_end, &b_end], impairment)?;
        let a_interface = a.0.node.bring_up(a.1, a_addresses)?;
        let b_interface = b.0.node.bring_up(b.1, b_addresses)?;
        link.count_from_now();
        Ok((link, a_interface, b_interface))
    }

    /// Creates a bad link from a host to a switch.
    pub(crate) fn to_switch(
        link_namespace: Arc<Node>,
        host: (&Host, &str, &[&str]),
        switch: &Switch,
        impairment: Impairment,
    ) -> Result<(Self, HostInterface), LabError> {
        let addresses = CidrAddress::parse_all(host.2)?;
        let port_name = switch.next_port_name();
        let host_end = OuterEnd { node: &host.0.node, interface: host.1, bridge: None };
        let switch_end =
            OuterEnd { node: &switch.node, interface: &port_name, bridge: Some(switch.bridge()) };
        let link = Self::new(link_namespace, [&host_end, &switch_end], impairment)?;
        let index = switch.node.interface_index(&port_name)?;
        let port = SwitchPort { name: port_name, index };
        switch.record_connection(&port, host.0, host.1)?;
        let interface = host.0.node.bring_up(host.1, addresses)?;
        switch.wait_forwarding(&port)?;
        link.count_from_now();
        Ok((link, interface))
    }

    fn new(
        link_namespace: Arc<Node>,
        outer: [&OuterEnd<'_>; 2],
        impairment: Impairment,
    ) -> Result<Self, LabError> {
        let impairment = impairment.validated()?;
        let name = format!("{} to {}", outer[0].describe(), outer[1].describe());
        let inner = [outer[0].create(&link_namespace)?, outer[1].create(&link_namespace)?];
        let sockets = [inner[0].open_socket(&name)?, inner[1].open_socket(&name)?];
        let outer = [outer[0].cable_end()?, outer[1].cable_end()?];
        let shared = Arc::new(SharedState::new(impairment));
        let operation = || format!("start the bad link from {name}");
        let forwarder = Mutex::new(Some(Forwarder::start(sockets, Arc::clone(&shared)).context(operation)?));
        Ok(Self(Arc::new(Inner {
            name,
            shared,
            outer,
            inner,
            dropped_before: Default::default(),
            forwarder,
        })))
    }

    /// Excludes the frames that were dropped while the ends came up, one after the other.
    fn count_from_now(&self) {
        for direction in [LinkDirection::Forward, LinkDirection::Reverse] {
            self.0.dropped_before[direction as usize].store(self.0.dropped(direction), Relaxed);
        }
    }

    /// Changes the impairment of both directions for all frames that are sent after this call. Frames that are in flight
    /// are not affected.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`](crate::LabErrorKind::Invalid) for a fraction that is not from 0 to 1, or a rate of 0.
    pub fn set(&self, impairment: Impairment) -> Result<(), LabError> {
        self.0.shared.set(&[LinkDirection::Forward, LinkDirection::Reverse], impairment.validated()?);
        Ok(())
    }

    /// Changes the impairment of one direction.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub fn set_direction(&self, direction: LinkDirection, impairment: Impairment) -> Result<(), LabError> {
        self.0.shared.set(&[direction], impairment.validated()?);
        Ok(())
    }

    /// Cuts the link, so that the interfaces at both ends lose their carrier.
    ///
    /// For a link that drops everything while the carrier stays, set a loss of 1 for all frames.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`](crate::LabErrorKind::Gone) when the lab was dropped.
    pub fn cut(&self) -> Result<(), LabError> {
        self.set_connected(false)
    }

    /// Restores the link after a cut.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`](crate::LabErrorKind::Gone) when the lab was dropped.
    pub fn restore(&self) -> Result<(), LabError> {
        self.set_connected(true)
    }

    /// Returns the statistics of both directions together.
    #[must_use]
    pub fn statistics(&self) -> LinkStatistics {
        self.statistics_of(LinkDirection::Forward).plus(self.statistics_of(LinkDirection::Reverse))
    }

    /// Returns the statistics of one direction.
    #[must_use]
    pub fn statistics_of(&self, direction: LinkDirection) -> LinkStatistics {
        let mut statistics = *self.0.shared.counters(direction);
        let before = self.0.dropped_before[direction as usize].load(Relaxed);
        statistics.overruns += self.0.dropped(direction).saturating_sub(before);
        statistics
    }

    fn set_connected(&self, connected: bool) -> Result<(), LabError> {
        let verb = if connected { "restore" } else { "cut" };
        let operation = || format!("{verb} the link from {}", self.0.name);
        self.0.inner.iter().try_for_each(|end| {
            let set = |netlink: &mut Netlink| netlink.set_link_up(end.index, connected);
            end.node.namespace.netlink(set, operation)
        })
    }

    /// Stops forwarding.
    pub(crate) fn stop(&self) {
        self.0.forwarder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl fmt::Debug for BadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BadLink").field(&self.0.name).finish()
    }
}

impl Inner {
    /// Returns how many frames the kernel has dropped in one direction, on their way into the link and out of it.
    fn dropped(&self, direction: LinkDirection) -> u64 {
        let (from, to) = match direction {
            LinkDirection::Forward => (0, 1),
            LinkDirection::Reverse => (1, 0),
        };
        self.outer[from].dropped() + self.inner[to].dropped()
    }
}

impl OuterEnd<'_> {
    fn describe(&self) -> String {
        format!("{} of '{}'", self.interface, self.node.namespace.name())
    }

    /// Creates the cable from this end to the namespace of the bad links, and returns its inner end.
    fn create(&self, link_namespace: &Arc<Node>) -> Result<CableEnd, LabError> {
        let operation = || format!("create a bad link to {}", self.describe());
        let inner = link_namespace.next_interface_name();
        let (outer_namespace, inner_namespace) =
            (self.node.namespace.live()?, link_namespace.namespace.live()?);
        let end = veth_end(self.node, self.interface, outer_namespace.as_fd())?;
        let peer = veth_end(link_namespace, &inner, inner_namespace.as_fd())?;
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, self.bridge), operation)?;
        // Before anything is sent: frames that are sent while checksums are offloaded arrive without a checksum.
        self.node.set_offload(self.interface, Offload::none())?;
        Ok(CableEnd { node: Arc::clone(link_namespace), index: link_namespace.interface_index(&inner)? })
    }

    fn cable_end(&self) -> Result<CableEnd, LabError> {
        Ok(CableEnd { node: Arc::clone(self.node), index: self.node.interface_index(self.interface)? })
    }
}

impl CableEnd {
    /// Brings the interface up and opens a socket that receives all its frames.
    fn open_socket(&self, link: &str) -> Result<FrameSocket, LabError> {
        let operation = || format!("open a socket on the bad link from {link}");
        self.node.namespace.netlink(|netlink| netlink.set_link_up(self.index, true), operation)?;
        self.node.namespace.call(|| FrameSocket::open(self.index))?.context(operation)
    }

    /// Returns how many frames the kernel dropped between this end and the other end of the cable: 0 when the
    /// interface has gone.
    fn dropped(&self) -> u64 {
        let count = |netlink: &mut Netlink| netlink.dropped(self.index);
        self.node.namespace.netlink(count, || "count dropped frames").unwrap_or(0)
    }
}

fn veth_end<'a>(node: &Node, name: &'a str, namespace: BorrowedFd<'a>) -> Result<VethEnd<'a>, LabError> {
    Ok(VethEnd { name, hardware_address: node.new_hardware_address(name)?, namespace })
}

/// How many frames are received from one end before it is the other end's turn.
const MAX_BURST: usize = 64;

/// The state that the forwarder shares with the handles of its link.
#[derive(Debug)]
pub(crate) struct SharedState {
    /// One for each direction.
    impairments: Mutex<[Impairment; 2]>,
    /// How often `impairments` has changed. The forwarder takes the lock only when this differs.
    changes: AtomicU64,
    /// Of each direction. A datagram is counted when its fate is decided.
    counters: [Mutex<LinkStatistics>; 2],
}

/// A running forwarder. Dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct Forwarder {
    thread: Option<JoinHandle<()>>,
    stop: Option<PipeWriter>,
}

/// The state of the thread.
struct ForwardingLoop {
    sockets: [FrameSocket; 2],
    lanes: [Lane; 2],
    impairments: CurrentImpairments,
    shared: Arc<SharedState>,
    /// The frames that are sent now; empty between bursts.
    batch: FrameBatch,
}

/// The forwarder's copy of the impairments.
struct CurrentImpairments {
    of_directions: [Impairment; 2],
    changes: u64,
}

impl SharedState {
    pub(crate) fn new(impairment: Impairment) -> Self {
        Self {
            impairments: Mutex::new([impairment; 2]),
            changes: AtomicU64::new(0),
            counters: Default::default(),
        }
    }

    fn counters(&self, direction: LinkDirection) -> MutexGuard<'_, LinkStatistics> {
        self.counters[direction as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, directions: &[LinkDirection], impairment: Impairment) {
        let mut impairments = self.impairments.lock().unwrap_or_else(PoisonError::into_inner);
        directions.iter().for_each(|direction| impairments[*direction as usize] = impairment);
        self.changes.fetch_add(1, Release);
    }

    fn impairments(&self) -> CurrentImpairments {
        let of_directions = self.impairments.lock().unwrap_or_else(PoisonError::into_inner);
        CurrentImpairments { of_directions: *of_directions, changes: self.changes.load(Acquire) }
    }
}

impl CurrentImpairments {
    fn update(&mut self, shared: &SharedState) {
        if self.changes != shared.changes.load(Acquire) {
            *self = shared.impairments();
        }
    }
}

impl Forwarder {
    /// Starts to forward frames between the sockets. The first socket is that of the end that was named first.
    pub(crate) fn start(sockets: [FrameSocket; 2], shared: Arc<SharedState>) -> io::Result<Self> {
        let (stop_signal, stop) = io::pipe()?;
        let lanes = [Lane::new(LinkDirection::Forward), Lane::new(LinkDirection::Reverse)];
        let impairments = shared.impairments();
        let mut forwarding =
            ForwardingLoop { sockets, lanes, impairments, shared, batch: FrameBatch::default() };
        let thread =
            thread::Builder::new().name("bad link".to_owned()).spawn(move || forwarding.run(&stop_signal))?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl ForwardingLoop {
    fn run(&mut self, stop_signal: &PipeReader) {
        while !is_readable(stop_signal).unwrap_or(true) {
            let mut busy = false;
            for direction in [LinkDirection::Forward, LinkDirection::Reverse] {
                busy |= self.forward(direction);
            }
            if !busy {
                self.count_overruns();
                self.wait(stop_signal);
            }
        }
    }

    /// Receives a burst of frames at one end, and sends at the other end the frames that are due. Returns false if
    /// there was nothing to receive.
    fn forward(&mut self, direction: LinkDirection) -> bool {
        let Self { sockets: [first, second], lanes, impairments, shared, batch, .. } = self;
        let (from, to) = match direction {
            LinkDirection::Forward => (first, &*second),
            LinkDirection::Reverse => (second, &*first),
        };
        let index = direction as usize;
        // Held until the frames are sent, so that a datagram that is counted has been sent.
        let (lane, counters) = (&mut lanes[index], &mut *shared.counters(direction));
        let mut send = |frame: &[u8]| batch.push(frame);
        let now = Instant::now();
        let mut received = 0;
        while received < MAX_BURST
            && let Some(frame) = from.take_next()
        {
            received += 1;
            // A change applies to every frame that is sent after it, also in the middle of a burst.
            impairments.update(shared);
            if frame.is_complete {
                let impairment = &impairments.of_directions[index];
                lane.receive(&frame, &mut LaneContext { now, impairment, counters, send: &mut send });
            } else {
                counters.unsent += 1;
            }
        }
        impairments.update(shared);
        lane.send_due(&mut LaneContext {
            now,
            impairment: &impairments.of_directions[index],
            counters,
            send,
        });
        let failed = to.send(batch);
        counters.unsent += failed as u64;
        batch.clear();
        received > 0
    }

    fn count_overruns(&self) {
        for (socket, direction) in self.sockets.iter().zip([LinkDirection::Forward, LinkDirection::Reverse]) {
            if let Ok(overruns) = socket.overruns() {
                self.shared.counters(direction).overruns += overruns;
            }
        }
    }

    fn wait(&self, stop_signal: &PipeReader) {
        let deadline = self.lanes.iter().filter_map(Lane::next_deadline).min();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let watched = [self.sockets[0].as_fd(), self.sockets[1].as_fd(), stop_signal.as_fd()];
        if wait_for_any(&watched, left).unwrap_or(true) {
            self.sockets.iter().for_each(FrameSocket::clear_error);
        }
    }
}
