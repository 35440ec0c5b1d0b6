//! A cable that loses, delays, doubles and reorders.
//!
//! Each end of it is an ordinary pair of virtual interfaces; their inner ends lie in a namespace of the lab's own,
//! and a thread carries the frames between them. Interfaces at the outer ends leave nothing to their device:
//! checksums are complete and large packets cut before they get there, so that a frame is a datagram.

use std::{
    fmt,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use crate::{
    Direction, Host, Impairment, InterfaceAddress, LabError, Offload, Port, Switch,
    error::Doing,
    host::Node,
    lane::Counters,
    netlink::VethEnd,
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
    /// The namespace with the inner ends, and their names.
    backstage: Arc<Node>,
    inner_ends: [String; 2],
    pump: Mutex<Option<Pump>>,
}

/// What has crossed a bad link, in one direction or in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatistics {
    /// Datagrams that came in. Each is counted again below: forwarded, lost, or dropped from a full queue;
    /// unless it is still waiting to be overtaken.
    pub datagrams: u64,
    /// Datagrams that went on, at once or later.
    pub forwarded: u64,
    /// Datagrams that were lost, as the seed would have it.
    pub lost: u64,
    /// Of those that went on, how many did not go at once.
    pub delayed: u64,
    /// Of those that went on, how many went twice.
    pub duplicated: u64,
    /// Of those that went on, how many were overtaken.
    pub reordered: u64,
    /// Datagrams that found the queue before a rate-limited wire full.
    pub queue_full: u64,
    /// Frames that passed untouched because they are none of the impairment's business.
    pub untouched: u64,
    /// Frames that the link could not take in time. They were lost by no seed: an experiment with overruns has
    /// failed, and needs less traffic or a faster machine.
    pub overruns: u64,
    /// Frames that could not be handed on: an interface was down, or they were too long or had no checksum, as
    /// when an interface was given its offloads back.
    pub unsent: u64,
}

/// An outer end: where frames of the bad link come from and go to.
struct Outer<'a> {
    node: &'a Node,
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
        Ok((link, port))
    }

    fn new(backstage: Arc<Node>, outer: [&Outer<'_>; 2], impairment: Impairment) -> Result<Self, LabError> {
        let impairment = impairment.checked()?;
        let name = format!("{} to {}", outer[0].describe(), outer[1].describe());
        let inner_ends = [backstage.next_name(), backstage.next_name()];
        let cable = |way: usize| outer[way].plug_into(&backstage, &inner_ends[way]);
        let sockets = [cable(0)?, cable(1)?];
        let shared = Arc::new(Shared::new(impairment));
        let operation = || format!("start the bad link from {name}");
        let pump = Mutex::new(Some(Pump::start(sockets, Arc::clone(&shared)).doing(operation)?));
        Ok(Self(Arc::new(Inner { name, shared, backstage, inner_ends, pump })))
    }

    /// Makes the link better or worse, in both directions. What is under way stays under way.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Invalid`] for a share that is not from 0 to 1, or a rate of 0.
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
    /// [`LabErrorKind::Gone`] when the lab was dropped.
    pub fn cut(&self) -> Result<(), LabError> {
        self.plug(false)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped.
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
        LinkStatistics::read(&self.0.shared.counters[direction as usize])
    }

    fn plug(&self, plugged: bool) -> Result<(), LabError> {
        let verb = if plugged { "mend" } else { "cut" };
        self.0.inner_ends.iter().try_for_each(|end| {
            self.0.backstage.change(
                end,
                |netlink, index| netlink.set_link_up(index, plugged),
                || format!("{verb} the link from {}", self.0.name),
            )
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

impl LinkStatistics {
    fn read(counters: &Counters) -> Self {
        Self {
            datagrams: counters.datagrams.load(Relaxed),
            forwarded: counters.forwarded.load(Relaxed),
            lost: counters.lost.load(Relaxed),
            delayed: counters.delayed.load(Relaxed),
            duplicated: counters.duplicated.load(Relaxed),
            reordered: counters.reordered.load(Relaxed),
            queue_full: counters.queue_full.load(Relaxed),
            untouched: counters.untouched.load(Relaxed),
            overruns: counters.overruns.load(Relaxed),
            unsent: counters.unsent.load(Relaxed),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            forwarded: self.forwarded + other.forwarded,
            lost: self.lost + other.lost,
            delayed: self.delayed + other.delayed,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            queue_full: self.queue_full + other.queue_full,
            untouched: self.untouched + other.untouched,
            overruns: self.overruns + other.overruns,
            unsent: self.unsent + other.unsent,
        }
    }
}

impl Outer<'_> {
    fn describe(&self) -> String {
        format!("{} of '{}'", self.interface, self.node.namespace.name())
    }

    /// Makes the cable from this end to the lab's namespace, and listens there.
    fn plug_into(&self, backstage: &Node, inner: &str) -> Result<FrameSocket, LabError> {
        let operation = || format!("make a bad link to {}", self.describe());
        let (here, there) = (self.node.namespace.alive()?, backstage.namespace.alive()?);
        let end = veth_end(self.node, self.interface, here.descriptor())?;
        let peer = veth_end(backstage, inner, there.descriptor())?;
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, self.bridge), operation)?;
        // Before anything is sent: what leaves while the device is trusted with checksums arrives without.
        self.node.set_offload(self.interface, Offload::none())?;
        let index = backstage.interface_index(inner)?;
        backstage.namespace.netlink(|netlink| netlink.set_link_up(index, true), operation)?;
        backstage.namespace.call(|| FrameSocket::open(index))?.doing(operation)
    }
}

fn veth_end<'a>(node: &Node, name: &'a str, namespace: BorrowedFd<'a>) -> Result<VethEnd<'a>, LabError> {
    Ok(VethEnd { name, hardware_address: node.new_interface(name)?, namespace })
}
