//! Settings of a sender.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcast_group::{Destination, Family, InterfaceSelector};

use super::Sender;
use super::egress::Addressed;
use super::pace::Rate;
use crate::error::{Error, Operation, Result};
use crate::sys::socket::Socket;
use crate::timing::LaunchClock;

/// Settings for a [`Sender`], begun with [`Sender::builder`].
#[derive(Debug)]
#[must_use]
pub struct SenderBuilder {
    destinations: Vec<Destination>,
    settings: Settings,
}

/// What holds for all that a sender sends.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) interfaces: Vec<InterfaceSelector>,
    pub(crate) follow: bool,
    pub(crate) source_address: Option<IpAddr>,
    pub(crate) addressed: Addressed,
    hop_limit: u8,
    traffic_class: Option<u8>,
    loopback: bool,
    source_port: u16,
    send_buffer: Option<usize>,
    dont_fragment: bool,
    segmentation: bool,
    pub(crate) pace: Option<Rate>,
    launch_clock: Option<LaunchClock>,
    details: bool,
}

impl SenderBuilder {
    pub(crate) fn new() -> Self {
        Self {
            destinations: Vec::new(),
            settings: Settings {
                interfaces: Vec::new(),
                follow: false,
                source_address: None,
                addressed: Addressed::default(),
                hop_limit: 1,
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

    /// Sends to this, too. A sender without destinations sends to what each datagram names.
    pub fn to(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// Sends by this interface, too, where a destination names none; by several, a datagram goes
    /// out by each. Default: by the route to the group.
    pub fn interface(mut self, interface: InterfaceSelector) -> Self {
        self.settings.interfaces.push(interface);
        self
    }

    /// How many networks a datagram may cross, each router taking one off (IPv4: TTL).
    /// Default: 1, the local network. 0: this host.
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.settings.hop_limit = hops;
        self
    }

    /// The traffic class: DSCP in the upper six bits, ECN in the lower two. Default: the
    /// system's, 0.
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.settings.traffic_class = Some(class);
        self
    }

    /// Whether receivers on this host get what is sent. Default: yes.
    ///
    /// On Windows this is the receiver's choice
    /// ([`ReceiverBuilder::loopback`](crate::ReceiverBuilder::loopback)): set it on both.
    pub fn loopback(mut self, on: bool) -> Self {
        self.settings.loopback = on;
        self
    }

    /// The port to send from, shared with others. Default: one that the system chooses.
    pub fn source_port(mut self, port: u16) -> Self {
        self.settings.source_port = port;
        self
    }

    /// The address to send from, which must be this machine's. Default: that of the interface
    /// which a datagram leaves by.
    pub fn source_address(mut self, address: IpAddr) -> Self {
        self.settings.source_address = Some(address);
        self
    }

    /// Bytes of send buffer to ask for. Default: the system's.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.settings.send_buffer = Some(bytes);
        self
    }

    /// Whether datagrams larger than the interface's MTU are refused instead of being sent in
    /// fragments. Default: no.
    pub fn dont_fragment(mut self, on: bool) -> Self {
        self.settings.dont_fragment = on;
        self
    }

    /// Whether [`Sender::send_batch`] sends runs of equal datagrams to one place as one, to be
    /// cut apart by the system or the device. Default: yes, where the system can (Linux 4.18,
    /// `UDP_SEGMENT`; Windows 10 version 2004, `UDP_SEND_MSG_SIZE`); what a device refuses is sent
    /// singly.
    pub fn segmentation(mut self, on: bool) -> Self {
        self.settings.segmentation = on;
        self
    }

    /// Sends no faster than this, evenly spread, by waiting in the calls that send. A datagram
    /// counts once, also where it goes to several groups or by several interfaces. Default: as
    /// fast as it goes. See [`Pacer`](crate::Pacer).
    pub fn pace(mut self, rate: Rate) -> Self {
        self.settings.pace = Some(rate);
        self
    }

    /// Lets datagrams name the time at which they leave, by this clock
    /// ([`Outgoing::launch_at`](crate::Outgoing::launch_at)), where the interface's queue
    /// discipline keeps such times (Linux: `SO_TXTIME` with `fq` or `etf`). Default: none do.
    pub fn launch_clock(mut self, clock: LaunchClock) -> Self {
        self.settings.launch_clock = Some(clock);
        self
    }

    /// Whether an interface that vanished, and one that isn't there yet, is looked up again when
    /// something is sent. Default: no.
    pub fn follow(mut self, on: bool) -> Self {
        self.settings.follow = on;
        self
    }

    /// Whether interface, hop limit and time are told with each
    /// [answer](Sender::recv_answer). Default: yes.
    ///
    /// To have the kernel tell them takes its time; whoever reads none of them may save it. Linux
    /// only: elsewhere it changes nothing.
    pub fn details(mut self, on: bool) -> Self {
        self.settings.details = on;
        self
    }

    /// Opens the sockets.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`](crate::ErrorKind::NoSuchInterface),
    /// [`ErrorKind::AddressNotAvailable`](crate::ErrorKind::AddressNotAvailable) for a source
    /// address that is not this machine's, and what else the system refuses.
    pub fn build(self) -> Result<Sender> {
        Sender::new(self.settings, self.destinations)
    }
}

impl Settings {
    pub(crate) fn has_launch_clock(&self) -> bool {
        self.launch_clock.is_some()
    }

    /// A socket of this family with these settings.
    pub(crate) fn open(&self, family: Family) -> Result<Socket> {
        self.try_open(family).map_err(|error| {
            let error = Error::os(Operation::Open, error);
            match (self.source_address, self.source_port) {
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
            socket.tell_no_details()?;
            socket.tell_interface(false)?;
        }
        socket.only_own_memberships(true)?;
        socket.set_hop_limit(self.hop_limit)?;
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
            socket.set_launch_clock(clock)?;
        }
        socket.tell_queue_drops()?;
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
