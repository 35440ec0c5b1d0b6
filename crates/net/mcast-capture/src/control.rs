//! The querier of one interface: the state machine of `mcast-packet`, and the socket that sends its messages.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::InterfaceIndex;
use mcast_packet::gmp::querier::{ClockTime, Querier, QuerierSettings, Role, RoleChange};
use mcast_packet::gmp::{Address, GmpMessage};
use mcast_packet::{Packet, Transport};
use mcast_sys::capture::MembershipSocket;
use mcast_sys::interface;

use crate::{Error, Frame, Result};

/// Sends queries on one interface unless a querier with a lower address does: the [`Querier`] of IGMP or MLD with its
/// socket. Linux only, because it sends with a [`ControlSender`].
///
/// ```no_run
/// use std::net::Ipv4Addr;
/// use std::time::Instant;
///
/// use mcast_capture::{Capture, CaptureOptions, Filter, InterfaceQuerier};
/// use mcast_group::InterfaceIndex;
/// use mcast_packet::gmp::querier::{ClockTime, QuerierSettings};
///
/// let interface = InterfaceIndex::new(2).ok_or("no index")?;
/// // Reports are sent to groups that this host need not have joined.
/// let options = CaptureOptions::on(interface).filter(Filter::Control).all_multicast(true);
/// let mut capture = Capture::open(options)?;
/// let start = Instant::now();
/// let now = || ClockTime::START + start.elapsed();
/// let own = Ipv4Addr::new(10, 0, 0, 7).into();
/// let mut querier = InterfaceQuerier::open(interface, own, QuerierSettings::default(), now())?;
/// loop {
///     while let Some(event) = querier.next_event(now()) {
///         println!("{:?}", event?);
///     }
///     let wait = querier.state().deadline.map(|deadline| deadline.since(now()));
///     if let Some(frame) = capture.next(wait)? {
///         querier.handle(&frame, now());
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InterfaceQuerier {
    interface: InterfaceIndex,
    machine: Machine,
}

/// What an [`InterfaceQuerier`] did, or noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuerierEvent {
    /// It sent a query.
    Sent {
        /// The protocol version of the query.
        version: u8,
        /// The queried group; `None` for a general query.
        group: Option<IpAddr>,
        /// The query as text.
        text: String,
    },
    /// It stopped sending queries, because this querier has a lower address.
    YieldedTo(IpAddr),
    /// It sends queries again, because this other querier has gone silent.
    TookOverFrom(IpAddr),
    /// Another querier sends queries of an older version. All queriers of a network should use the same version
    /// (RFC 3376 section 7.3.1).
    OlderVersion {
        /// The address of the other querier.
        querier: IpAddr,
        /// The version of its query.
        version: u8,
    },
}

/// The state of an [`InterfaceQuerier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuerierState {
    /// The source address of its queries.
    pub address: IpAddr,
    /// Its role in the querier election.
    pub role: Role<IpAddr>,
    /// When to call [`InterfaceQuerier::next_event`] next.
    pub deadline: Option<ClockTime>,
    /// The number of groups that were not queried after a leave, because too many were being queried.
    pub unqueried_groups: u64,
}

#[derive(Debug)]
enum Machine {
    Igmp(FamilyQuerier<Ipv4Addr>),
    Mld(FamilyQuerier<Ipv6Addr>),
}

#[derive(Debug)]
struct FamilyQuerier<A: Address> {
    own: A,
    sender: ControlSender<A>,
    querier: Box<Querier<A>>,
    events: VecDeque<QuerierEvent>,
}

impl InterfaceQuerier {
    /// Opens a querier on this interface. `source` is the source address of its queries and selects the protocol; for
    /// MLD it must be a link-local address.
    ///
    /// # Errors
    /// As for [`ControlSender::open`].
    pub fn open(
        interface: InterfaceIndex,
        source: IpAddr,
        settings: QuerierSettings,
        now: ClockTime,
    ) -> Result<Self> {
        let machine = match source {
            IpAddr::V4(own) => Machine::Igmp(FamilyQuerier::open(interface, own, settings, now)?),
            IpAddr::V6(own) => Machine::Mld(FamilyQuerier::open(interface, own, settings, now)?),
        };
        Ok(Self { interface, machine })
    }

    /// Handles a captured frame. Ignores frames of other interfaces, and messages that a router would not accept: those
    /// with a wrong checksum, and MLD messages without hop limit 1 or a link-local source (RFC 3810 section 5).
    pub fn handle(&mut self, frame: &Frame<'_>, now: ClockTime) {
        if frame.interface == self.interface {
            self.machine.handle(&frame.packet(), now);
        }
    }

    /// Returns what happened next: first what [`Self::handle`] noticed, then queries that are due and that it sends.
    ///
    /// # Errors
    /// As for [`ControlSender::send`]. The query is lost; later ones are sent when they are due.
    pub fn next_event(&mut self, now: ClockTime) -> Option<Result<QuerierEvent>> {
        match &mut self.machine {
            Machine::Igmp(querier) => querier.next_event(now),
            Machine::Mld(querier) => querier.next_event(now),
        }
    }

    /// Returns the interface.
    #[must_use]
    pub const fn interface(&self) -> InterfaceIndex {
        self.interface
    }

    /// Returns the current state.
    #[must_use]
    pub fn state(&self) -> QuerierState {
        match &self.machine {
            Machine::Igmp(querier) => querier.state(),
            Machine::Mld(querier) => querier.state(),
        }
    }
}

impl Machine {
    fn handle(&mut self, packet: &Packet<'_>, now: ClockTime) {
        let (Some(ip), Some(transport)) = (packet.ip_layer(), packet.transport) else { return };
        match (self, transport, ip.source) {
            (Self::Igmp(querier), Transport::Igmp(control), IpAddr::V4(source))
                if !control.checksum.is_invalid() =>
            {
                querier.handle(source, &control.message, now);
            }
            (Self::Mld(querier), Transport::Mld(control), IpAddr::V6(source))
                if !control.checksum.is_invalid()
                    && ip.hop_limit == 1
                    && (source.is_unicast_link_local() || source.is_unspecified()) =>
            {
                querier.handle(source, &control.message, now);
            }
            _ => {}
        }
    }
}

impl<A: Address> FamilyQuerier<A> {
    fn open(interface: InterfaceIndex, own: A, settings: QuerierSettings, now: ClockTime) -> Result<Self> {
        let sender = ControlSender::open(interface, own)?;
        Ok(Self { own, sender, querier: Box::new(Querier::new(settings, own, now)), events: VecDeque::new() })
    }

    fn handle(&mut self, source: A, message: &GmpMessage<'_, A>, now: ClockTime) {
        let change = self.querier.handle_message(now, source, message);
        let version = message.version();
        let is_other = source.can_be_querier() && source != self.own;
        if matches!(message, GmpMessage::Query(_))
            && is_other
            && version < self.querier.settings().version::<A>()
        {
            self.events.push_back(QuerierEvent::OlderVersion { querier: source.into(), version });
        }
        self.events.extend(change.map(QuerierEvent::from));
    }

    fn next_event(&mut self, now: ClockTime) -> Option<Result<QuerierEvent>> {
        let change = self.querier.check(now);
        self.events.extend(change.map(QuerierEvent::from));
        if let Some(event) = self.events.pop_front() {
            return Some(Ok(event));
        }
        let query = self.querier.poll_transmit(now)?;
        let message = query.message();
        let (version, group) = (message.version(), query.group().map(Into::into));
        let sent = self.sender.send(&message);
        Some(sent.map(|()| QuerierEvent::Sent { version, group, text: message.to_string() }))
    }

    fn state(&self) -> QuerierState {
        QuerierState {
            address: self.own.into(),
            role: match self.querier.role() {
                Role::Querier => Role::Querier,
                Role::Listener { querier } => Role::Listener { querier: querier.into() },
            },
            deadline: self.querier.poll_timeout(),
            unqueried_groups: self.querier.unqueried_groups(),
        }
    }
}

impl<A: Address> From<RoleChange<A>> for QuerierEvent {
    fn from(change: RoleChange<A>) -> Self {
        match change {
            RoleChange::YieldedTo(other) => Self::YieldedTo(other.into()),
            RoleChange::TookOverFrom(other) => Self::TookOverFrom(other.into()),
        }
    }
}

/// Sends IGMP (`A` is `Ipv4Addr`) or MLD (`A` is `Ipv6Addr`) messages on one interface, as the RFCs require:
/// with hop limit 1, router alert, and for IGMP the DSCP CS6. Messages are looped back to this host, so that
/// it reports its own memberships like any other host.
///
/// Linux only. Opening it needs `CAP_NET_RAW` in the network namespace; sending does not.
#[derive(Debug)]
pub struct ControlSender<A> {
    socket: MembershipSocket,
    interface: InterfaceIndex,
    source: A,
}

impl<A: Address> ControlSender<A> {
    /// Maximum length of a querier's message, in bytes.
    const MAX_LENGTH: usize = 1500;

    /// Opens a sender on this interface, with `source` as one of its addresses. For MLD it must be the
    /// link-local address, otherwise hosts ignore the messages.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`](crate::ErrorKind::Permission) without `CAP_NET_RAW`,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, and errors of the system,
    /// for example if the address does not belong to the interface.
    pub fn open(interface: InterfaceIndex, source: A) -> Result<Self> {
        let socket = MembershipSocket::open(interface, source.into()).map_err(|os| failed(interface, os))?;
        Ok(Self { socket, interface, source })
    }

    /// Sends a message to the destination that its RFC defines.
    ///
    /// # Errors
    /// [`ErrorKind::InterfaceDown`](crate::ErrorKind::InterfaceDown), and other errors of the system.
    pub fn send(&self, message: &GmpMessage<'_, A>) -> Result<()> {
        let to = message.destination();
        let mut buffer = vec![0; Self::MAX_LENGTH];
        let emitted = message.emit(&mut buffer, self.source, to).map_err(io::Error::other);
        let sent = emitted.and_then(|length| {
            let message = buffer.get(..length).unwrap_or_default();
            self.socket.send(message, to.into(), self.interface)
        });
        sent.map_err(|os| failed(self.interface, os))
    }

    /// Returns the source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source.into()
    }
}

fn failed(interface: InterfaceIndex, os: io::Error) -> Error {
    let name = interface::name_of(interface).unwrap_or_else(|_| format!("interface {interface}"));
    Error::from_os("send IGMP or MLD", name, os)
}
