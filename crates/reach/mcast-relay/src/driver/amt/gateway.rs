//! A gateway on sockets, also with a receiver that returns its datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, SystemTime};

use mcast::{Arrival, Batch, Drops, Membership, Statistics};
use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use mcast_pace::ClockTime;
use mcast_sys::SendRequest;
use mcast_sys::poller::Poller;
use mcast_sys::ready::{READY_AT_ONCE, Ready};
use mcast_sys::socket::Socket;

use super::{AT_ONCE, RECEIVE_BUFFER, plain};
use crate::amt::{AmtGateway, AmtRelayName, GatewayCounts, GatewayEvent, GatewayOutput, TunnelledDatagram};
use crate::driver::clock::Clock;
use crate::driver::path::unspecified;
use crate::driver::{DriverError, DriverWaker};

/// A gateway and its sockets: one for each family, because the family of the relay is not known in advance.
#[derive(Debug)]
pub(in crate::driver) struct GatewaySocket {
    gateway: AmtGateway,
    name: AmtRelayName,
    /// The source whose operator names the relay.
    source: Option<IpAddr>,
    sockets: Vec<(Family, Socket)>,
    poller: Arc<Poller>,
    search: Option<Receiver<Vec<SocketAddr>>>,
}

impl GatewaySocket {
    /// Opens the sockets.
    pub(in crate::driver) fn open(
        name: AmtRelayName,
        source: Option<IpAddr>,
        poller: Arc<Poller>,
    ) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for family in [Family::V4, Family::V6] {
            match open(family) {
                Ok(socket) => sockets.push((family, socket)),
                // A kernel may lack one family.
                Err(error) if family == Family::V6 && sockets.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        // Random: the hash has a key of its own in every gateway.
        let (key, mut count) = (RandomState::new(), 0_u64);
        let random = move || {
            count += 1;
            key.hash_one(count) as u32
        };
        Ok(Self { gateway: AmtGateway::new(random), name, source, sockets, poller, search: None })
    }

    pub(in crate::driver) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    pub(in crate::driver) const fn counts(&self) -> GatewayCounts {
        self.gateway.counts()
    }

    pub(in crate::driver) fn deadline(&self) -> Option<ClockTime> {
        self.gateway.poll_timeout()
    }

    /// Receives a group from these sources; from none: leaves it. Call [`Self::do_due`] after this.
    pub(in crate::driver) fn set_membership(&mut self, now: ClockTime, group: Group, sources: SourceFilter) {
        self.gateway.set_membership(now, group, sources);
    }

    /// Receives these groups, and leaves all others. Call [`Self::do_due`] after this.
    pub(in crate::driver) fn set_memberships(
        &mut self,
        now: ClockTime,
        wanted: BTreeMap<Group, SourceFilter>,
    ) {
        let gone: Vec<Group> = self.gateway.groups().filter(|group| !wanted.contains_key(group)).collect();
        // The tunnel ends with the last group, so those that are added come first.
        wanted.into_iter().for_each(|(group, sources)| self.gateway.set_membership(now, group, sources));
        gone.into_iter().for_each(|group| self.gateway.set_membership(now, group, SourceFilter::NONE));
    }

    /// Leaves all groups, and ends the tunnel.
    pub(in crate::driver) fn stop(&mut self, now: ClockTime) {
        self.gateway.stop(now);
        self.do_due(now);
    }

    /// Does what is due. Returns what happened.
    pub(in crate::driver) fn do_due(&mut self, now: ClockTime) -> Vec<GatewayEvent> {
        match self.search.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => {}
            // Without its thread, the search finds nothing.
            Some(found) => {
                self.search = None;
                self.gateway.use_relays(now, found.unwrap_or_default());
            }
        }
        if self.gateway.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.gateway.handle_timeout(now);
        }
        let mut events = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                GatewayOutput::FindRelays => self.find(now),
                GatewayOutput::Send { to, bytes } => {
                    // An ICMP message about an earlier datagram ends the first call. What is lost is sent again later.
                    let _ = self.send(to, &bytes).or_else(|_| self.send(to, &bytes));
                }
                GatewayOutput::Event(event) => events.push(event),
            }
        }
        events
    }

    /// Passes the datagrams that have arrived to `deliver`, each with the number of those that its socket has dropped,
    /// until it returns `false`. Call [`Self::do_due`] after this.
    pub(in crate::driver) fn receive(
        &mut self,
        now: ClockTime,
        buffer: &mut [u8],
        mut deliver: impl FnMut(&TunnelledDatagram<'_>, Option<u32>) -> bool,
    ) {
        let mut unreachable = Vec::new();
        for (_, socket) in &self.sockets {
            for _ in 0..AT_ONCE {
                match socket.receive(buffer) {
                    Ok(received) => {
                        let bytes = buffer.get(..received.length).unwrap_or_default();
                        let datagram = self.gateway.handle_datagram(now, plain(received.source), bytes);
                        if datagram.is_some_and(|datagram| !deliver(&datagram, received.overflow)) {
                            return;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // One of the errors that are taken below.
                    Err(_) => {}
                }
            }
            unreachable.extend(socket.take_unreachable());
        }
        for relay in unreachable {
            self.gateway.handle_unreachable(now, plain(relay));
        }
    }

    fn find(&mut self, now: ClockTime) {
        match super::find(&self.name, self.source, Arc::clone(&self.poller)) {
            Ok(search) => self.search = Some(search),
            // The gateway tries again later.
            Err(_) => self.gateway.use_relays(now, Vec::new()),
        }
    }

    fn send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let family = Family::of(to.ip());
        let socket = self.sockets.iter().find(|(known, _)| *known == family);
        let (_, socket) = socket.ok_or(io::ErrorKind::Unsupported)?;
        socket.send(&SendRequest {
            payload,
            to,
            interface: None,
            source: None,
            hop_limit: None,
            traffic_class: None,
            launch: None,
        })
    }
}

/// Opens a socket that also reports ICMP messages.
fn open(family: Family) -> io::Result<Socket> {
    let socket = Socket::open(family)?;
    socket.only_own_memberships(true)?;
    socket.receive_details()?;
    socket.report_queue_drops()?;
    socket.set_receive_buffer(RECEIVE_BUFFER)?;
    socket.bind(SocketAddr::new(unspecified(family), 0))?;
    Ok(socket)
}

/// Receives groups from a relay of AMT.
#[derive(Debug)]
pub struct AmtReceiver {
    socket: GatewaySocket,
    poller: Arc<Poller>,
    memberships: Vec<Membership>,
    clock: Clock,
    buffer: Vec<u8>,
    events: VecDeque<GatewayEvent>,
    /// The drops of the socket, as its latest datagram reports them.
    overflow: u32,
    received: u64,
    calls: u64,
    /// Datagrams to ports that are not joined.
    refused: u64,
}

impl AmtReceiver {
    /// The interface of datagrams that arrive through a tunnel. No interface has this index.
    pub const INTERFACE: InterfaceIndex = match InterfaceIndex::new(u32::MAX) {
        Some(index) => index,
        None => unreachable!(),
    };

    /// Opens the sockets, and starts to look for the relay. The interfaces of the memberships are ignored.
    ///
    /// # Errors
    /// Returns an error if no socket can be opened.
    pub fn open(name: AmtRelayName, memberships: Vec<Membership>) -> Result<Self, DriverError> {
        let failed = DriverError::system("open sockets for AMT");
        let poller = Arc::new(Poller::new().map_err(&failed)?);
        let source = memberships.iter().find_map(|membership| source_of(&membership.sources));
        let socket = GatewaySocket::open(name, source, Arc::clone(&poller)).map_err(&failed)?;
        for socket in socket.sockets() {
            poller.add(socket, 0).map_err(&failed)?;
        }
        let mut groups: BTreeMap<Group, SourceFilter> = BTreeMap::new();
        for membership in &memberships {
            let sources = groups.entry(membership.address.group).or_insert(SourceFilter::NONE);
            *sources = sources.union(&membership.sources);
        }
        let mut receiver = Self {
            socket,
            poller,
            memberships,
            clock: Clock::new(),
            buffer: vec![0; 65_536],
            events: VecDeque::new(),
            overflow: 0,
            received: 0,
            calls: 0,
            refused: 0,
        };
        for (group, sources) in groups {
            receiver.socket.set_membership(ClockTime::START, group, sources);
        }
        receiver.do_due();
        Ok(receiver)
    }

    /// Returns the memberships.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        &self.memberships
    }

    /// Returns what happened next.
    pub fn next_event(&mut self) -> Option<GatewayEvent> {
        self.events.pop_front()
    }

    /// Returns a handle that ends the wait of [`Self::receive`].
    #[must_use]
    pub fn waker(&self) -> DriverWaker {
        DriverWaker(Arc::clone(&self.poller))
    }

    /// Waits for datagrams for at most this time, and takes those that have arrived. Returns their number: 0 after the time,
    /// when an event happened, or when it was woken.
    ///
    /// # Errors
    /// Returns an error if the system cannot wait.
    pub fn receive(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> Result<usize, DriverError> {
        let failed = DriverError::system("wait for datagrams");
        batch.clear();
        let due = self.socket.deadline().map(|deadline| deadline - self.clock.now());
        let wait = match (due, timeout) {
            (Some(due), Some(timeout)) => Some(due.min(timeout)),
            (due, timeout) => due.or(timeout),
        };
        match self.poller.wait(wait) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(0),
            result => result.map_err(&failed)?,
        };
        self.poller.ready(READY_AT_ONCE, &mut Ready::empty()).map_err(&failed)?;
        self.take(batch);
        self.do_due();
        Ok(batch.len())
    }

    /// Leaves all groups, and ends the tunnel.
    pub fn stop(&mut self) {
        self.socket.stop(self.clock.now());
    }

    /// Returns the counters: what was refused was not requested, or was not a whole, intact datagram of the relay.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let GatewayCounts { from_others, fragments, invalid_data, not_joined, .. } = self.socket.counts();
        let dropped = self.socket.sockets().map(|socket| socket.drops().ok().flatten().map(u64::from));
        let dropped: Option<u64> = dropped.sum();
        let mut statistics = Statistics::default();
        (statistics.received, statistics.calls) = (self.received, self.calls);
        statistics.refused = self.refused + from_others + fragments + invalid_data + not_joined;
        statistics.dropped = dropped.map_or(Drops::Unknown, Drops::Exactly);
        statistics
    }

    /// Returns what has arrived and was dropped, by reason.
    #[must_use]
    pub const fn counts(&self) -> GatewayCounts {
        self.socket.counts()
    }

    fn do_due(&mut self) {
        self.events.extend(self.socket.do_due(self.clock.now()));
    }

    fn take(&mut self, batch: &mut Batch) {
        let Self { socket, memberships, buffer, overflow, refused, .. } = self;
        socket.receive(self.clock.now(), buffer, |datagram, drops| {
            if !memberships.iter().any(|membership| admits(membership, datagram)) {
                *refused += 1;
                return true;
            }
            // The counter of the system may wrap.
            let lost = drops.map(|drops| u64::from(drops.wrapping_sub(std::mem::replace(overflow, drops))));
            let mut arrival = Arrival::new(datagram.group, Self::INTERFACE, datagram.source);
            (arrival.hop_limit, arrival.traffic_class) =
                (Some(datagram.hop_limit), Some(datagram.traffic_class));
            (arrival.time, arrival.lost) = (Some(SystemTime::now()), lost);
            batch.push(datagram.payload, arrival) && batch.len() < batch.capacity()
        });
        self.received += batch.len() as u64;
        self.calls += u64::from(!batch.is_empty());
    }
}

fn admits(membership: &Membership, datagram: &TunnelledDatagram<'_>) -> bool {
    membership.address == datagram.group && membership.sources.admits(datagram.source.ip())
}

fn source_of(sources: &SourceFilter) -> Option<IpAddr> {
    match sources {
        SourceFilter::Include(sources) => sources.first().copied(),
        SourceFilter::Exclude(_) => None,
    }
}
