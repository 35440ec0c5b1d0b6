//! Settings of a receiver.

use std::time::Duration;

use mcast_group::Membership;

use super::Receiver;
use super::control::Control;
use super::data_socket::SocketOptions;
use super::sockets::Sockets;
use crate::error::Result;

/// The receive buffer that is asked for unless another is.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Settings for a [`Receiver`], begun with [`Receiver::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ReceiverBuilder {
    memberships: Vec<Membership>,
    receive_buffer: usize,
    loopback: Option<bool>,
    follow: bool,
    any_source_allowed: bool,
    merging: bool,
    spin: Duration,
    busy_poll: Option<Duration>,
    hardware_time: bool,
    details: bool,
}

impl ReceiverBuilder {
    pub(crate) fn new() -> Self {
        Self {
            memberships: Vec::new(),
            receive_buffer: RECEIVE_BUFFER,
            loopback: None,
            follow: false,
            any_source_allowed: false,
            merging: true,
            spin: Duration::ZERO,
            busy_poll: None,
            hardware_time: false,
            details: true,
        }
    }

    /// Joins this, too.
    ///
    /// Without an interface it is joined on all that are up, can multicast, are not loopback and
    /// are no port of a bridge or bond.
    pub fn join(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    /// Joins these, too.
    pub fn join_all(mut self, memberships: impl IntoIterator<Item = Membership>) -> Self {
        self.memberships.extend(memberships);
        self
    }

    /// Bytes of receive buffer to ask for, for each socket. Default: 4 MiB.
    ///
    /// The system may grant less: [`Receiver::receive_buffer`] says how much.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Whether datagrams sent by this host are received. Default: yes.
    ///
    /// On Windows this is the receiver's choice, on Unix the sender's
    /// ([`SenderBuilder::loopback`](crate::SenderBuilder::loopback)): set it on both.
    pub fn loopback(mut self, on: bool) -> Self {
        self.loopback = Some(on);
        self
    }

    /// Whether memberships outlive interfaces that appear, vanish, flap or change address.
    /// Default: no.
    ///
    /// Interfaces are then looked up again by name (or address, or "all") whenever something
    /// changes, and one that doesn't exist yet is waited for instead of being an error. The
    /// changes are seen by the calls that receive.
    pub fn follow(mut self, on: bool) -> Self {
        self.follow = on;
        self
    }

    /// Whether groups of the source-specific ranges may be joined without a source. Default: no,
    /// as RFC 4604 asks of hosts.
    pub fn allow_any_source(mut self, on: bool) -> Self {
        self.any_source_allowed = on;
        self
    }

    /// Whether runs of equal datagrams may come from the system as one buffer, which is many
    /// times faster. Default: yes, where the system can (Linux 5.0, `UDP_GRO`).
    ///
    /// Readers, and batches whose buffers have 65,535 bytes or more, then make use of it; they
    /// hand out the datagrams as they were sent. Time and loss are told for the buffer, so that
    /// a count of lost datagrams is the least that it can have been.
    pub fn merging(mut self, on: bool) -> Self {
        self.merging = on;
        self
    }

    /// How long a call that waits looks again and again before it sleeps: less delay, for a
    /// processor's time. Default: zero.
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = time;
        self
    }

    /// How long the kernel looks at the device before a call sleeps (Linux: `SO_BUSY_POLL`, to
    /// the microsecond; more than `net.core.busy_read` needs `CAP_NET_ADMIN`). It does something
    /// only for devices that can be polled. Default: what the system is set to.
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = Some(time);
        self
    }

    /// Whether the time of the device's own clock is told, too
    /// ([`Arrival::hardware_time`](crate::Arrival::hardware_time)), where a device keeps it
    /// (Linux: `SO_TIMESTAMPING`; `ethtool -T` tells which do). Default: no.
    pub fn hardware_time(mut self, on: bool) -> Self {
        self.hardware_time = on;
        self
    }

    /// Whether hop limit, traffic class, time and loss are told with each datagram. Default: yes.
    ///
    /// To have the kernel tell them takes a third of the time of a [`recv`](Receiver::recv), which
    /// whoever reads none of them may save. They are `None` then; group, interface and source are
    /// told nevertheless, and [`Receiver::statistics`] counts what was dropped. Linux only:
    /// elsewhere it changes nothing.
    pub fn details(mut self, on: bool) -> Self {
        self.details = on;
        self
    }

    /// Opens the sockets and joins.
    ///
    /// # Errors
    /// - [`ErrorKind::NoSuchInterface`](crate::ErrorKind::NoSuchInterface) and the like when a
    ///   membership's interface cannot be joined on; one on all interfaces fails only if it can
    ///   be joined on none;
    /// - [`ErrorKind::SourceNeeded`](crate::ErrorKind::SourceNeeded) for a source-specific group
    ///   without a source;
    /// - [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) when another program holds
    ///   the port and does not share it;
    /// - [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for what this system cannot do.
    pub fn build(self) -> Result<Receiver> {
        let control = Control::new(self.follow, self.any_source_allowed)?;
        let options = SocketOptions {
            receive_buffer: self.receive_buffer,
            loopback: self.loopback,
            merging: false,
            busy_poll: self.busy_poll,
            hardware_time: self.hardware_time,
            details: self.details,
        };
        Receiver::new(self.memberships, control, Sockets::new(options), self.merging, self.spin)
    }
}
