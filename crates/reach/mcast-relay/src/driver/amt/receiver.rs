//! Receives groups from a relay of AMT, as [`mcast::Receiver`] receives them from interfaces.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Arrival, Batch, Drops, Membership, Statistics};
use mcast_group::{Group, InterfaceIndex, SourceFilter};
use mcast_sys::poller::Poller;
use mcast_sys::ready::{READY_AT_ONCE, Ready};

use super::gateway::GatewaySocket;
use crate::amt::{AmtRelayName, GatewayCounts, GatewayEvent, TunnelledDatagram};
use crate::driver::{DriverError, DriverWaker};

/// Receives groups from a relay of AMT.
#[derive(Debug)]
pub struct AmtReceiver {
    socket: GatewaySocket,
    poller: Arc<Poller>,
    memberships: Vec<Membership>,
    start: Instant,
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
            start: Instant::now(),
            buffer: vec![0; 65_536],
            events: VecDeque::new(),
            overflow: 0,
            received: 0,
            calls: 0,
            refused: 0,
        };
        for (group, sources) in groups {
            receiver.socket.set_membership(Duration::ZERO, group, sources);
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
        let due = self.socket.deadline().map(|deadline| deadline.saturating_sub(self.start.elapsed()));
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
        self.socket.stop(self.start.elapsed());
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
        self.events.extend(self.socket.do_due(self.start.elapsed()));
    }

    fn take(&mut self, batch: &mut Batch) {
        let Self { socket, memberships, buffer, overflow, refused, .. } = self;
        socket.receive(self.start.elapsed(), buffer, |datagram, drops| {
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
