//! A cable that loses, delays, doubles and reorders.
//!
//! Each end of it is an ordinary pair of virtual interfaces; their inner ends lie in a namespace of the lab's own,
//! and a thread carries the frames between them. Interfaces at the outer ends leave nothing to their device:
//! checksums are complete and large packets cut before they get there, so that a frame is a datagram.

use std::{
    fmt,
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    Direction, Host, Impairment, InterfaceAddress, LabError, LinkStatistics, Offload, Port, Switch,
    error::Doing,
    host::Node,
    netlink::{Netlink, VethEnd},
    pump::{Pump, Shared},
    switch::Socket,
    sys::ethernet::FrameSocket,
};

/// A bad link between two hosts, or a host and a switch. Clones are the same link; it lasts as long as the lab.
///
/// It carries frames up to the usual MTU of 1,500 bytes.
#[derive(Clone)]
pub struct BadLink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    shared: Arc<Shared>,
    /// The ends of the two cables, as they are named from one end of the link to the other: those at the hosts,
    /// and those that the pump is at.
    outer: [End; 2],
    inner: [End; 2],
    /// What the kernel had dropped in each direction before both ends were up, which is nobody's loss.
    dropped_before: [AtomicU64; 2],
    pump: Mutex<Option<Pump>>,
}

/// An end of a cable.
#[derive(Debug)]
struct End {
    node: Arc<Node>,
    index: u32,
}

/// An outer end: where frames of the bad link come from and go to.
struct Outer<'a> {
    node: &'a Arc<Node>,
    interface: &'a str,
    /// The bridge that the interface becomes a port of.
    bridge: Option<u32>,
}

impl BadLink {
    /// Makes a bad link between two hosts.
    pub(crate) fn between(
        backstage: Arc<Node>,
        a: (&Host, &str, &[&str]),
        b: (&Host, &str, &[&str]),
        impairment: Impairment,
    ) -> Result<(Self, Port, Port), LabError> {
        let (a_addresses, b_addresses) =
            (InterfaceAddress::parse_all(a.2)?, InterfaceAddress::parse_all(b.2)?);
        let a_end = Outer { node: &a.0.node, interface: a.1, bridge: None };
        let b_end = Outer { node: &b.0.node, interface: b.1, bridge: None };
        let link = Self::new(backstage, [&a_end, &b_end], impairment)?;
        let a_port = a.0.node.settle_port(a.1, a_addresses)?;
        let b_port = b.0.node.settle_port(b.1, b_addresses)?;
        link.count_from_now();
        Ok((link, a_port, b_port))
    }

    /// Makes a bad link from a host to a switch.
    pub(crate) fn to_switch(
        backstage: Arc<Node>,
        host: (&Host, &str, &[&str]),
        switch: &Switch,
        impairment: Impairment,
    ) -> Result<(Self, Port), LabError> {
        let addresses = InterfaceAddress::parse_all(host.2)?;
        let socket = switch.next_socket();
        let host_end = Outer { node: &host.0.node, interface: host.1, bridge: None };
        let switch_end = Outer { node: &switch.node, interface: &socket, bridge: Some(switch.bridge()) };
        let link = Self::new(backstage, [&host_end, &switch_end], impairment)?;
        let index = switch.node.interface_index(&socket)?;
        let socket = Socket { name: socket, index };
        switch.plugged(&socket, host.0, host.1)?;
        let port = host.0.node.settle_port(host.1, addresses)?;
        switch.wait_forwarding(&socket)?;
        link.count_from_now();
        Ok((link, port))
    }

    fn new(backstage: Arc<Node>, outer: [&Outer<'_>; 2], impairment: Impairment) -> Result<Self, LabError> {
        let impairment = impairment.checked()?;
        let name = format!("{} to {}", outer[0].describe(), outer[1].describe());
        let (first, second) = (outer[0].plug_into(&backstage)?, outer[1].plug_into(&backstage)?);
        let sockets = [first.listen(&name)?, second.listen(&name)?];
        let outer = [outer[0].end()?, outer[1].end()?];
        let shared = Arc::new(Shared::new(impairment));
        let operation = || format!("start the bad link from {name}");
        let pump = Mutex::new(Some(Pump::start(sockets, Arc::clone(&shared)).doing(operation)?));
        let (inner, dropped_before) = ([first, second], Default::default());
        Ok(Self(Arc::new(Inner { name, shared, outer, inner, dropped_before, pump })))
    }

    /// Forgets what was dropped while the ends came up, one after the other.
    fn count_from_now(&self) {
        for (way, before) in self.0.dropped_before.iter().enumerate() {
            before.store(self.0.dropped(way), Relaxed);
        }
    }

    /// Makes the link better or worse, in both directions. What is under way stays under way.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`](crate::LabErrorKind::Invalid) for a share that is not from 0 to 1, or a rate of 0.
    pub fn set(&self, impairment: Impairment) -> Result<(), LabError> {
        self.0.shared.set(&[Direction::Forth, Direction::Back], impairment.checked()?);
        Ok(())
    }

    /// Makes one direction better or worse.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub fn set_direction(&self, direction: Direction, impairment: Impairment) -> Result<(), LabError> {
        self.0.shared.set(&[direction], impairment.checked()?);
        Ok(())
    }

    /// Pulls the plug: both ends lose their carrier, and notice.
    ///
    /// For a link that swallows everything unnoticed, set a loss of 1 for all frames.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`](crate::LabErrorKind::Gone) when the lab was dropped.
    pub fn cut(&self) -> Result<(), LabError> {
        self.plug(false)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`](crate::LabErrorKind::Gone) when the lab was dropped.
    pub fn mend(&self) -> Result<(), LabError> {
        self.plug(true)
    }

    /// What has crossed the link so far, in both directions together.
    #[must_use]
    pub fn statistics(&self) -> LinkStatistics {
        self.statistics_of(Direction::Forth).plus(self.statistics_of(Direction::Back))
    }

    /// What has crossed the link so far in one direction.
    #[must_use]
    pub fn statistics_of(&self, direction: Direction) -> LinkStatistics {
        let way = direction as usize;
        let mut statistics = LinkStatistics::read(&self.0.shared.counters[way]);
        let before = self.0.dropped_before[way].load(Relaxed);
        statistics.overruns += self.0.dropped(way).saturating_sub(before);
        statistics
    }

    fn plug(&self, plugged: bool) -> Result<(), LabError> {
        let verb = if plugged { "mend" } else { "cut" };
        let operation = || format!("{verb} the link from {}", self.0.name);
        self.0.inner.iter().try_for_each(|end| {
            let set = |netlink: &mut Netlink| netlink.set_link_up(end.index, plugged);
            end.node.namespace.netlink(set, operation)
        })
    }

    /// Carries nothing any more.
    pub(crate) fn end(&self) {
        self.0.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl fmt::Debug for BadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BadLink").field(&self.0.name).finish()
    }
}

impl Inner {
    /// How many frames the kernel has dropped in one direction: on their way into the link, and out of it.
    fn dropped(&self, way: usize) -> u64 {
        self.outer[way].dropped() + self.inner[1 - way].dropped()
    }
}

impl Outer<'_> {
    fn describe(&self) -> String {
        format!("{} of '{}'", self.interface, self.node.namespace.name())
    }

    /// Makes the cable from this end to the lab's namespace, and returns the end there.
    fn plug_into(&self, backstage: &Arc<Node>) -> Result<End, LabError> {
        let operation = || format!("make a bad link to {}", self.describe());
        let inner = backstage.next_name();
        let (here, there) = (self.node.namespace.alive()?, backstage.namespace.alive()?);
        let end = veth_end(self.node, self.interface, here.descriptor())?;
        let peer = veth_end(backstage, &inner, there.descriptor())?;
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, self.bridge), operation)?;
        // Before anything is sent: what leaves while the device is trusted with checksums arrives without.
        self.node.set_offload(self.interface, Offload::none())?;
        Ok(End { node: Arc::clone(backstage), index: backstage.interface_index(&inner)? })
    }

    fn end(&self) -> Result<End, LabError> {
        Ok(End { node: Arc::clone(self.node), index: self.node.interface_index(self.interface)? })
    }
}

impl End {
    /// Brings it up and takes all frames that come to it.
    fn listen(&self, link: &str) -> Result<FrameSocket, LabError> {
        let operation = || format!("listen on the bad link from {link}");
        self.node.namespace.netlink(|netlink| netlink.set_link_up(self.index, true), operation)?;
        self.node.namespace.call(|| FrameSocket::open(self.index))?.doing(operation)
    }

    /// How many frames were sent here that the kernel dropped before they came to the other end. None are told any
    /// more when the interface has gone.
    fn dropped(&self) -> u64 {
        let count = |netlink: &mut Netlink| netlink.dropped(self.index);
        self.node.namespace.netlink(count, || "count dropped frames").unwrap_or(0)
    }
}

fn veth_end<'a>(node: &Node, name: &'a str, namespace: BorrowedFd<'a>) -> Result<VethEnd<'a>, LabError> {
    Ok(VethEnd { name, hardware_address: node.new_interface(name)?, namespace })
}
