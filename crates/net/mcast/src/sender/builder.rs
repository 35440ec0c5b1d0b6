//! Settings of a sender.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_group::{Destination, Family, HostAddr, InterfaceSelector};

use super::Sender;
use super::egress::not_own;

use super::pace::Rate;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::timing::LaunchClock;
use mcast_sys::socket::Socket;

/// Settings for a [`Sender`], created by [`Sender::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SenderBuilder {
    destinations: Vec<Addressee>,
    settings: Settings,
}

/// The address of a group or host, and the outgoing interface.
pub(crate) type Addressee = (SocketAddr, Option<InterfaceSelector>);

/// The settings that apply to everything a sender sends.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) interfaces: Vec<InterfaceSelector>,
    pub(crate) follow: bool,
    pub(crate) source_address: Option<IpAddr>,
    hop_limit: Option<u8>,
    pub(crate) broadcast: bool,
    traffic_class: Option<u8>,
    loopback: bool,
    source_port: u16,
    send_buffer: Option<usize>,
    dont_fragment: bool,
    segmentation: bool,
    pub(crate) pace: Option<Rate>,
    launch_clock: Option<LaunchClock>,
    pub(crate) details: bool,
}

impl SenderBuilder {
    pub(crate) fn new() -> Self {
        Self {
            destinations: Vec::new(),
            settings: Settings {
                interfaces: Vec::new(),
                follow: false,
                source_address: None,
                hop_limit: None,
                broadcast: false,
                traffic_class: None,
                loopback: true,
                source_port: 0,
                send_buffer: None,
                dont_fragment: false,
                segmentation: true,
                pace: None,
                launch_clock: None,
                details: true,
            },
        }
    }

    /// Adds a destination. A sender without destinations sends to the group that each datagram
    /// names.
    pub fn to(mut self, destination: Destination) -> Self {
        self.destinations.push((destination.address.into(), destination.interface));
        self
    }

    /// Adds a host as a destination, for networks without multicast. Each datagram is sent to every destination.
    ///
    /// An IPv4 broadcast address also needs [`broadcast`](Self::broadcast).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use mcast::{HostAddr, Sender};
    ///
    /// let hosts = Sender::builder().to_host("10.0.0.5:7000".parse()?).to_host("10.0.0.6:7000".parse()?).build()?;
    /// hosts.send(b"hello")?;
    /// let subnet = HostAddr::broadcast(7000).on("eth0".parse()?);
    /// Sender::builder().broadcast(true).to_host(subnet).build()?.send(b"hello, all")?;
    /// # Ok(()) }
    /// ```
    pub fn to_host(mut self, host: HostAddr) -> Self {
        self.destinations.push(((&host).into(), host.interface));
        self
    }

    /// Sets whether datagrams may be sent to IPv4 broadcast addresses: 255.255.255.255 reaches all hosts on the link,
    /// and the last address of a subnet those of the subnet. Default: no; the system then refuses them.
    ///
    /// On macOS and FreeBSD, the routing table selects the interface of unicast and broadcast over IPv4 even if one is
    /// named: send to the last address of its subnet.
    pub fn broadcast(mut self, on: bool) -> Self {
        self.settings.broadcast = on;
        self
    }

    /// Adds an interface for destinations that name none. With several, a datagram is sent by each.
    /// Default: the route to the group.
    pub fn interface(mut self, interface: InterfaceSelector) -> Self {
        self.settings.interfaces.push(interface);
        self
    }

    /// Sets the hop limit (IPv4: TTL): the number of networks a datagram may cross, since each
    /// router decrements it. Default: 1, the local network, and for hosts the system's, usually 64. 0: this host only.
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.settings.hop_limit = Some(hops);
        self
    }

    /// Sets the traffic class: DSCP in the upper six bits, ECN in the lower two. Default: the
    /// system's, 0.
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.settings.traffic_class = Some(class);
        self
    }

    /// Sets whether receivers on this host receive the datagrams. Default: yes.
    ///
    /// On Windows this is a receiver option
    /// ([`ReceiverBuilder::loopback`](crate::ReceiverBuilder::loopback)); set it on both.
    pub fn loopback(mut self, on: bool) -> Self {
        self.settings.loopback = on;
        self
    }

    /// Sets the source port, which other sockets may share. Default: chosen by the system.
    pub fn source_port(mut self, port: u16) -> Self {
        self.settings.source_port = port;
        self
    }

    /// Sets the source address, which must belong to this machine. Default: the address of the
    /// outgoing interface.
    pub fn source_address(mut self, address: IpAddr) -> Self {
        self.settings.source_address = Some(address);
        self
    }

    /// Sets the send buffer to request, in bytes. Default: the system's.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.settings.send_buffer = Some(bytes);
        self
    }

    /// Sets whether datagrams larger than the interface's MTU are refused rather than fragmented.
    /// Default: no.
    pub fn dont_fragment(mut self, on: bool) -> Self {
        self.settings.dont_fragment = on;
        self
    }

    /// Sets whether [`Sender::send_batch`] passes consecutive datagrams of equal length to the same
    /// destination to the system as one buffer, which the system or the device segments (GSO).
    /// Default: yes, where the system supports it (Linux 4.18, `UDP_SEGMENT`; Windows 10 version
    /// 2004, `UDP_SEND_MSG_SIZE`). If a device refuses such a buffer, the datagrams are sent one by
    /// one.
    pub fn segmentation(mut self, on: bool) -> Self {
        self.settings.segmentation = on;
        self
    }

    /// Limits the rate by waiting evenly in the calls that send. A datagram counts once, even if it
    /// is sent to several groups or by several interfaces. Default: no limit. See
    /// [`Pacer`](crate::Pacer).
    pub fn pace(mut self, rate: Rate) -> Self {
        self.settings.pace = Some(rate);
        self
    }

    /// Allows datagrams to carry a launch time on this clock
    /// ([`Outgoing::launch_at`](crate::Outgoing::launch_at)), if the queue discipline of the
    /// interface supports it (Linux: `SO_TXTIME` with `fq` or `etf`). Default: no launch times.
    pub fn launch_clock(mut self, clock: LaunchClock) -> Self {
        self.settings.launch_clock = Some(clock);
        self
    }

    /// Sets whether interfaces that vanished or do not exist yet are looked up again when sending.
    /// Default: no.
    pub fn follow(mut self, on: bool) -> Self {
        self.settings.follow = on;
        self
    }

    /// Sets whether interface, hop limit and time are reported with each
    /// [reply](Sender::recv_answer). Default: yes.
    ///
    /// Reporting them costs time. Linux only; no effect elsewhere.
    pub fn details(mut self, on: bool) -> Self {
        self.settings.details = on;
        self
    }

    /// Opens the sockets.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`](crate::ErrorKind::NoSuchInterface),
    /// [`ErrorKind::AddressNotAvailable`](crate::ErrorKind::AddressNotAvailable) for a source
    /// address that does not belong to this machine, and other errors of the system.
    pub fn build(self) -> Result<Sender> {
        Sender::new(self.settings, self.destinations)
    }
}

impl Settings {
    pub(crate) fn has_launch_clock(&self) -> bool {
        self.launch_clock.is_some()
    }

    /// Opens a socket of this family with these settings.
    pub(crate) fn open(&self, family: Family) -> Result<Socket> {
        self.try_open(family).map_err(|error| {
            let error = Error::os(Operation::Open, error);
            let source = self.source_address.filter(|source| Family::of(*source) == family);
            match (source, self.source_port) {
                (Some(address), _) if error.kind() == ErrorKind::AddressNotAvailable => {
                    not_own(error, address)
                }
                (Some(address), port) => {
                    error.detail(format!("to send from {}", SocketAddr::new(address, port)))
                }
                (None, 0) => error,
                (None, port) => error.detail(format!("to send from port {port}")),
            }
        })
    }

    fn try_open(&self, family: Family) -> std::io::Result<Socket> {
        let socket = Socket::open(family)?;
        socket.receive_details()?;
        if !self.details {
            socket.disable_details()?;
            socket.set_pktinfo(false)?;
        }
        socket.only_own_memberships(true)?;
        socket.set_hop_limit(self.hop_limit.unwrap_or(1))?;
        // No system sends unicast with a hop limit of 0.
        if let Some(hops) = self.hop_limit.filter(|hops| *hops > 0) {
            socket.set_unicast_hop_limit(hops)?;
        }
        if self.broadcast && family == Family::V4 {
            socket.allow_broadcast()?;
        }
        socket.set_send_loopback(self.loopback)?;
        if let Some(class) = self.traffic_class {
            socket.set_traffic_class(class)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer(bytes)?;
        }
        socket.set_dont_fragment(self.dont_fragment)?;
        socket.set_segmentation(self.segmentation);
        if let Some(clock) = self.launch_clock {
            socket.set_launch_clock(clock.of_kernel())?;
        }
        socket.report_queue_drops()?;
        if self.source_port != 0 {
            socket.share_port()?;
        }
        socket.bind(SocketAddr::new(self.local_ip(family), self.source_port))?;
        Ok(socket)
    }

    fn local_ip(&self, family: Family) -> IpAddr {
        match self.source_address.filter(|address| Family::of(*address) == family) {
            Some(address) => address,
            None if family == Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            None => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}
