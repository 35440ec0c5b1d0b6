//! Settings of a receiver.

use std::time::Duration;

use mcast_group::{HostAddr, Membership};

use super::Receiver;
use super::control::Control;
use super::data_socket::SocketOptions;
use super::sockets::Sockets;
use super::wire::{Wire, Wires};
use crate::error::{ErrorKind, Result};
use mcast_sys::process::raise_descriptor_limit;
use mcast_sys::socket::Socket;
use mcast_sys::wire::WireSettings;

/// The default size of the receive buffer to request.
const RECEIVE_BUFFER: usize = 4 << 20;
/// A ring has one slot for this number of bytes of the receive buffer: about what a small datagram occupies in a socket's.
const BYTES_PER_SLOT: usize = 512;
const _: () = assert!(RECEIVE_BUFFER / BYTES_PER_SLOT == WireSettings::DEFAULT_SLOTS as usize);

/// Settings for a [`Receiver`], created by [`Receiver::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ReceiverBuilder {
    memberships: Vec<Membership>,
    hosts: Vec<HostAddr>,
    shares_ports: bool,
    receive_buffer: usize,
    loopback: Option<bool>,
    follow: bool,
    any_source_allowed: bool,
    gro: bool,
    spin: Duration,
    busy_poll: Option<Duration>,
    hardware_time: bool,
    details: bool,
    wire: Wire,
}

impl ReceiverBuilder {
    pub(crate) fn new() -> Self {
        Self {
            memberships: Vec::new(),
            hosts: Vec::new(),
            shares_ports: false,
            receive_buffer: RECEIVE_BUFFER,
            loopback: None,
            follow: false,
            any_source_allowed: false,
            gro: true,
            spin: Duration::ZERO,
            busy_poll: None,
            hardware_time: false,
            details: true,
            wire: Wire::Off,
        }
    }

    /// Adds a membership.
    ///
    /// Without an interface, the group is joined on all interfaces that are up, can multicast, and
    /// are neither loopback nor a port of a bridge or bond.
    pub fn join(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    /// Adds several memberships.
    pub fn join_all(mut self, memberships: impl IntoIterator<Item = Membership>) -> Self {
        self.memberships.extend(memberships);
        self
    }

    /// Also receives the datagrams that are sent to this address and port of this machine, for networks without
    /// multicast. At `0.0.0.0` or `[::]` these are the unicast datagrams to all its addresses, and over IPv4
    /// broadcasts. With an interface, only those that arrive there are delivered. The port is not shared with other
    /// programs, unless the receiver is built with a group on the same port.
    ///
    /// At 255.255.255.255 ([`HostAddr::broadcast`]) these are the IPv4 broadcasts alone: to that address, and to the last
    /// address of each subnet that an interface is in when the receiver is built. Several programs can receive the same
    /// broadcasts. On Linux, the unicast datagrams of other programs on the port still reach them. Elsewhere, the system
    /// may pass them to this receiver, which then discards them.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let receiver = mcast::Receiver::builder().listen("0.0.0.0:7000".parse()?).build()?;
    /// let mut buffer = [0; 65_536];
    /// let datagram = receiver.recv(&mut buffer)?;
    /// println!("for {} from {}", datagram.destination, datagram.source.ip());
    /// # Ok(()) }
    /// ```
    pub fn listen(mut self, host: HostAddr) -> Self {
        self.hosts.push(host);
        self
    }

    /// Sets whether other programs may [listen](Self::listen) at the same addresses and ports. Each unicast datagram
    /// then reaches one of them (Linux: the one that began last), and each broadcast all. Default: no.
    pub fn share_ports(mut self, on: bool) -> Self {
        self.shares_ports = on;
        self
    }

    /// Sets the receive buffer to request for each socket, in bytes. Default: 4 MiB.
    ///
    /// The system may grant less; see [`Receiver::receive_buffer`].
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Sets whether datagrams sent by this host are received. Default: yes.
    ///
    /// On Windows this is a receiver option, on Unix a sender option
    /// ([`SenderBuilder::loopback`](crate::SenderBuilder::loopback)); set it on both.
    pub fn loopback(mut self, on: bool) -> Self {
        self.loopback = Some(on);
        self
    }

    /// Sets whether memberships follow interfaces that appear, vanish, flap or change address.
    /// Default: no.
    ///
    /// If on, interfaces are looked up again by name (or address, or "all") after every change, and
    /// a missing interface is waited for instead of causing an error. The receive calls notice the
    /// changes.
    pub fn follow(mut self, on: bool) -> Self {
        self.follow = on;
        self
    }

    /// Sets whether groups in the source-specific ranges may be joined without a source. Default:
    /// no, as RFC 4604 requires of hosts.
    pub fn allow_any_source(mut self, on: bool) -> Self {
        self.any_source_allowed = on;
        self
    }

    /// Sets whether the system may deliver equally long datagrams as one coalesced buffer (GRO),
    /// which is many times faster. Default: yes, where the system supports it (Linux 5.0,
    /// `UDP_GRO`).
    ///
    /// Every call still delivers the datagrams as they were sent. Readers, and batches with buffers
    /// of 65,535 bytes or more, receive coalesced buffers without a copy; other calls are served
    /// from an internal buffer (1 MiB). Time and loss are reported per coalesced buffer: its
    /// datagrams share one time, and a count of lost datagrams is a lower bound. Turn GRO off for a
    /// time of each datagram and for exact counts.
    pub fn gro(mut self, on: bool) -> Self {
        self.gro = on;
        self
    }

    /// Sets how long a waiting call polls in a loop before it sleeps, which trades processor time
    /// for latency. Default: zero.
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = time;
        self
    }

    /// Sets how long the kernel polls the device before a call sleeps (Linux: `SO_BUSY_POLL`, in
    /// microseconds; values above `net.core.busy_read` need `CAP_NET_ADMIN`). It only affects
    /// devices that support polling. Default: the system's setting.
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = Some(time);
        self
    }

    /// Sets whether the timestamps of the device are reported, too
    /// ([`Arrival::hardware_time`](crate::Arrival::hardware_time)), for devices that take them
    /// (Linux: `SO_TIMESTAMPING`; see `ethtool -T`). Default: no.
    pub fn hardware_time(mut self, on: bool) -> Self {
        self.hardware_time = on;
        self
    }

    /// Sets whether hop limit, traffic class, time and loss are reported with each datagram.
    /// Default: yes.
    ///
    /// Reporting them takes a third of the time of a [`recv`](Receiver::recv). If off, they are
    /// `None`; group, interface and source are still reported, and [`Receiver::statistics`] still
    /// counts dropped datagrams. Linux only; no effect elsewhere.
    pub fn details(mut self, on: bool) -> Self {
        self.details = on;
        self
    }

    /// Sets whether the datagrams of joined groups are taken off the interface before the kernel's network stack
    /// (Linux 5.9, `AF_XDP`), which takes a fraction of the processor time. Default: [`Wire::Off`].
    ///
    /// The sockets stay joined, and the kernel sends and answers IGMP and MLD. Fragments, tagged frames, IPv4 options,
    /// IPv6 extension headers, and what this host sends itself continue to the sockets, so each datagram arrives once.
    /// Taken datagrams reach nobody else and pass no firewall, reverse path filter or traffic control of this host.
    /// Therefore a group is left to the sockets while another socket of this network namespace is bound to its port,
    /// captures packets on the interface, or the kernel routes multicast from there. This is checked when the group is
    /// joined and every 100 ms: a program that begins to receive later misses what arrives until then. A group
    /// that was left to the sockets stays there. So does one on an interface that something of another network namespace shares,
    /// such as a macvlan of a container, or that has rules of traffic control or nftables for frames that arrive.
    ///
    /// Needed are `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_NET_RAW`, and an Ethernet interface whose driver has XDP. The
    /// program ends with the receiver, or with the process however that ends. On physical interfaces, attaching it may
    /// interrupt the link for a moment. Receivers on the same interface do not share it: the first one has it.
    /// A ring per queue of the interface replaces the receive buffer of the socket, and holds a frame for each 512
    /// bytes of [`receive_buffer`](Self::receive_buffer), in 4 times that memory. Hardware times are not reported.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Opens the sockets and joins the groups.
    ///
    /// # Errors
    /// - [`ErrorKind::NoSuchInterface`](crate::ErrorKind::NoSuchInterface) and similar kinds if a
    ///   membership cannot be joined on its interface; a membership on all interfaces fails only if
    ///   it cannot be joined on any;
    /// - [`ErrorKind::SourceNeeded`](crate::ErrorKind::SourceNeeded) for a source-specific group
    ///   without a source;
    /// - [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) if another program uses the
    ///   port without sharing it;
    /// - [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for anything that this system
    ///   cannot do.
    pub fn build(self) -> Result<Receiver> {
        let control = Control::new(self.follow, self.any_source_allowed)?;
        let options = SocketOptions {
            shares_ports: self.shares_ports,
            receive_buffer: self.receive_buffer,
            loopback: self.loopback,
            gro: self.gro && Socket::COALESCES,
            busy_poll: self.busy_poll,
            hardware_time: self.hardware_time,
            details: self.details,
        };
        let gro = options.gro;
        let wires = (self.wire != Wire::Off).then(|| {
            let slots = u32::try_from(self.receive_buffer / BYTES_PER_SLOT).unwrap_or(u32::MAX);
            Wires::new(self.wire, WireSettings { slots, times: self.details })
        });
        let sockets = Sockets::new(options);
        Receiver::new(self.memberships, &self.hosts, control, sockets, gro, self.spin, wires.transpose()?)
    }

    /// Like [`Self::build`]. If a limit of this process is reached, raises its soft limit of descriptors and tries
    /// again, which is safe in programs that do not use `select(2)`.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_raising_limit(self) -> Result<Receiver> {
        match self.clone().build() {
            Err(error) if error.kind() == ErrorKind::LimitReached && raise_descriptor_limit() => self.build(),
            result => result,
        }
    }
}
