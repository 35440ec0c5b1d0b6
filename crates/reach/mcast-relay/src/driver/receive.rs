//! From readable descriptors, and what each belongs to, to the state machine; the memory for datagrams that are received at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mcast::{Arrival, Batch, CoalescedBuffer};
use mcast_pace::ClockTime;
use mcast_sys::Received;
use mcast_sys::poller::{Interest, Poller};

use super::gather::{Gathered, Gathering};
use super::http::ServedArrival;
use super::joins::ReceivedBy;
use super::leg::is_on;
use super::path::{PendingCopies, ReceivedPayload};
use super::{Driver, DriverError};
use crate::{ANNOUNCEMENT_GROUPS, ANNOUNCEMENT_PORT, LegArrival, LegId, PathId, PathSide, RelayPath};

/// Datagrams that are taken from a path or a broadcast socket before others are served.
const AT_ONCE: usize = 64;

impl Driver {
    /// Serves a descriptor that is readable.
    pub(super) fn handle(&mut self, token: usize) -> Result<(), DriverError> {
        match self.registry.get(token) {
            Some(Readable::Groups(leg, by)) => self.receive_groups(leg, by),
            Some(Readable::Broadcast(leg)) => self.receive_broadcasts(leg),
            Some(Readable::Members(leg)) => self.receive_reports(leg),
            Some(Readable::Interfaces(namespace)) => self.interfaces_changed(namespace),
            Some(Readable::Path(path)) => self.receive_on_path(path),
            Some(Readable::Tunnel(position)) => self.receive_from_tunnel(position),
            Some(Readable::AmtGateway(leg)) => self.receive_from_amt(leg),
            Some(Readable::AmtListener(address)) => {
                self.receive_from_gateways(address);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Receives datagrams of groups. If only HTTP clients receive any, it takes all that there are in the sockets, and lets
    /// others gather there.
    pub(super) fn receive_groups(&mut self, leg: LegId, by: ReceivedBy) -> Result<(), DriverError> {
        let (only_serves, mut gathered) = (self.relay.pairs().next().is_none(), Gathered::default());
        loop {
            let batch = self.receive_batch(leg, by, !only_serves)?;
            gathered.add(&batch);
            if !only_serves || !batch.is_full || gathered.buffers >= MANY {
                break;
            }
        }
        if by == ReceivedBy::Wire {
            self.http.pass(false);
            return Ok(());
        }
        let open = self.legs.get(usize::from(leg.0)).and_then(|leg| leg.open.as_ref());
        let has_served = self.http.pass(open.is_some_and(|open| open.gathering.is_longest()));
        self.gather(leg, &gathered, only_serves && has_served)
    }

    /// Pauses the sockets of a leg after this was received, or waits for them again. `may_pause`: there was something, and
    /// only for HTTP clients.
    fn gather(&mut self, leg: LegId, gathered: &Gathered, may_pause: bool) -> Result<(), DriverError> {
        let now = self.now();
        let by = ReceivedBy::Sockets;
        let open = self.legs.get_mut(usize::from(leg.0)).and_then(|leg| leg.open.as_mut());
        let Some(open) = open else { return Ok(()) };
        let (joins, gathering) = (&open.joins, &mut open.gathering);
        let Some(receiver) = joins.receiver(by) else { return Ok(()) };
        let was_paused = gathering.until.take().is_some();
        if may_pause {
            gathering.pause(now, gathered, receiver.receive_buffer());
        }
        let is_paused = gathering.until.is_some();
        if was_paused == is_paused {
            return Ok(());
        }
        let interest = if is_paused { Interest::Nothing } else { Interest::Readable };
        let set = self.registry.set_interest(receiver.as_fd(), Readable::Groups(leg, by), interest);
        set.map_err(DriverError::system("wait for datagrams"))
    }

    /// Receives what has gathered.
    pub(super) fn receive_gathered(&mut self, now: ClockTime) -> Result<(), DriverError> {
        for position in 0..self.legs.len() {
            let gathering = self.legs[position].open.as_ref().map(|open| &open.gathering);
            if gathering.and_then(Gathering::deadline).is_some_and(|until| until <= now) {
                self.receive_groups(LegId(position as u8), ReceivedBy::Sockets)?;
            }
        }
        Ok(())
    }

    /// `sends_on`: some to other legs or targets, and not to HTTP clients only.
    fn receive_batch(&mut self, leg: LegId, by: ReceivedBy, sends_on: bool) -> Result<Gathered, DriverError> {
        let Some(mut batches) = self.batches.take() else { return Ok(Gathered::default()) };
        let batch = batches.current();
        let open = self.legs.get(usize::from(leg.0)).and_then(|leg| leg.open.as_ref());
        let receiver = open.and_then(|open| open.joins.receiver(by));
        let received = receiver.map_or(Ok(0), |receiver| receiver.recv_batch(batch, Some(Duration::ZERO)));
        let done = match received {
            Ok(_) => self.pass_batch(leg, batch),
            Err(error) => self.tolerate(usize::from(leg.0), error.into()),
        };
        let gathered = Gathered::of(batch);
        batches.finish(sends_on, &gathered);
        self.batches = Some(batches);
        done.map(|()| gathered)
    }

    pub(super) fn pass_batch(&mut self, leg: LegId, batch: &Batch) -> Result<(), DriverError> {
        let (now, mut copies) = (self.now(), PendingCopies::default());
        for CoalescedBuffer { arrival, payload, segment, .. } in batch.buffers() {
            let together = self.pass_together(now, leg, &arrival, payload, segment);
            let (passed, rest) = payload.split_at(payload.len().min(together * segment));
            self.take_outputs_for(ReceivedPayload { bytes: passed, segment }, &mut copies)?;
            if payload.is_empty() {
                self.pass_datagram(now, leg, &arrival, payload, &mut copies)?;
            }
            let mut arrival = arrival;
            for datagram in rest.chunks(segment.max(1)) {
                self.pass_datagram(now, leg, &arrival, datagram, &mut copies)?;
                // Losses happened before the first one.
                arrival.lost = arrival.lost.map(|_| 0);
            }
        }
        self.finish(copies)
    }

    /// Passes the datagrams of a buffer to the state machine, and returns how many it has handled. What clients request is
    /// counted one by one, and so are announcements.
    fn pass_together(
        &mut self,
        now: ClockTime,
        leg: LegId,
        arrival: &Arrival,
        payload: &[u8],
        segment: usize,
    ) -> usize {
        let rule_for = |group| self.http.demand().rule_for(leg, group, arrival.source.ip());
        let is_served = arrival.group().and_then(rule_for).is_some();
        match NonZeroUsize::new(segment) {
            Some(segment) if !is_served && !is_announcement(arrival) => {
                self.relay.handle_coalesced(now, &arrival_on(leg, arrival, payload), segment)
            }
            Some(_) | None => 0,
        }
    }

    fn pass_datagram<'a>(
        &mut self,
        now: ClockTime,
        leg: LegId,
        arrival: &Arrival,
        payload: &'a [u8],
        copies: &mut PendingCopies<'a>,
    ) -> Result<(), DriverError> {
        if is_announcement(arrival) {
            if self.relay.handle_announcement(now, leg, payload).is_err() {
                self.counts.invalid_announcements += 1;
            }
        } else {
            self.relay.handle_datagram(now, &arrival_on(leg, arrival, payload));
        }
        self.take_outputs_for(payload.into(), copies)?;
        if let Some(address) = arrival.group() {
            let (source, time) = (arrival.source, arrival.time);
            let served = ServedArrival { leg, address, source, time, lost: arrival.lost.unwrap_or(0) };
            self.serve(now, served, payload);
        }
        Ok(())
    }

    fn receive_broadcasts(&mut self, leg: LegId) -> Result<(), DriverError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let position = usize::from(leg.0);
        let sockets = self.legs[position].open.as_ref().map_or(0, |open| open.broadcasts.len());
        for number in 0..sockets {
            for _ in 0..AT_ONCE {
                let Some(open) = &self.legs[position].open else { break };
                let Some(socket) = open.broadcasts.get(number) else { break };
                let (Ok(received), Ok(local)) = (socket.receive(&mut buffer), socket.local_address()) else {
                    break;
                };
                let Received { source, interface, hop_limit, length, .. } = received;
                if !is_on(open, interface) {
                    continue;
                }
                let (payload, hop_limit) = (&buffer[..length], hop_limit.unwrap_or(1));
                let (mac, trail) = (None, RelayPath::default());
                let arrival = LegArrival { leg, source, destination: local, hop_limit, mac, trail, payload };
                self.relay.handle_datagram(self.clock.now(), &arrival);
                let mut copies = PendingCopies::default();
                self.take_outputs_for(payload.into(), &mut copies)?;
                self.finish(copies)?;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    pub(super) fn receive_reports(&mut self, leg: LegId) -> Result<(), DriverError> {
        let (now, position) = (self.now(), usize::from(leg.0));
        let members = self.legs[position].open.as_mut().and_then(|open| open.members.as_mut());
        if let Some(Err(error)) = members.map(|members| members.receive(now, leg, &mut self.relay)) {
            self.tolerate(position, error)?;
        }
        self.take_outputs()
    }

    /// Receives replies, and the answers of senders to these.
    fn receive_on_path(&mut self, id: PathId) -> Result<(), DriverError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..AT_ONCE {
            let Some(path) = self.paths.get(&id) else { break };
            match path.socket.receive(&mut buffer) {
                Ok(received) if self.is_unicast_for(path.side, &received) => {
                    let payload = &buffer[..received.length];
                    self.relay.handle_reply(self.clock.now(), id, received.source);
                    let mut copies = PendingCopies::default();
                    self.take_outputs_for(payload.into(), &mut copies)?;
                    self.finish(copies)?;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    if let (true, PathSide::Route(target)) = (path.has_failed(&error), path.side) {
                        self.relay.handle_target_failure(self.clock.now(), target);
                    }
                    break;
                }
            }
        }
        self.buffer = buffer;
        self.take_outputs()
    }

    /// Returns whether the datagram was sent to this machine alone, on the side of the path.
    fn is_unicast_for(&self, side: PathSide, received: &Received) -> bool {
        let Some(destination) = received.destination else { return false };
        match side {
            PathSide::AmtGateways(_) => false,
            PathSide::Route(_) => {
                let is_broadcast = matches!(destination, IpAddr::V4(address) if address.is_broadcast());
                !destination.is_multicast() && !is_broadcast
            }
            // From a program on the same host, it arrives on the loopback interface.
            PathSide::Leg(leg) => {
                let open = self.legs[usize::from(leg.0)].open.as_ref();
                open.is_some_and(|open| open.addresses().contains(&destination))
            }
        }
    }
}

fn arrival_on<'a>(leg: LegId, arrival: &Arrival, payload: &'a [u8]) -> LegArrival<'a> {
    let Arrival { source, destination, hop_limit, .. } = *arrival;
    let (hop_limit, trail) = (hop_limit.unwrap_or(1), RelayPath::default());
    LegArrival { leg, source, destination, hop_limit, mac: None, trail, payload }
}

fn is_announcement(arrival: &Arrival) -> bool {
    let destination = arrival.destination;
    destination.port() == ANNOUNCEMENT_PORT && ANNOUNCEMENT_GROUPS.contains(&destination.ip())
}

/// The largest coalesced buffer.
const BUFFER_BYTES: usize = 65_536;
/// Few coalesced buffers fill a processor's cache, from which they are hashed and sent: these are half a megabyte.
const FEW: usize = 8;
/// Of single datagrams, many at once have several to each group, which are sent on together.
const MANY: usize = 512;
/// Buffers with more bytes than this on average are coalesced ones.
const SINGLE: usize = 4_096;

/// Two batches, of which the next receive uses the one that suits what was received before.
pub(super) struct Batches {
    few: Batch,
    /// Tens of megabytes: created when it is used for the first time.
    many: Option<Batch>,
    uses_many: bool,
}

impl Batches {
    pub(super) fn new() -> Self {
        Self { few: Batch::new(FEW, BUFFER_BYTES), many: None, uses_many: false }
    }

    /// Returns the batch for the next receive.
    pub(super) fn current(&mut self) -> &mut Batch {
        if !self.uses_many {
            return &mut self.few;
        }
        self.many.get_or_insert_with(|| Batch::new(MANY, BUFFER_BYTES))
    }

    /// Empties the batch, after its datagrams were forwarded. `sends_on`: some to other legs or targets, and not to HTTP
    /// clients only, for which datagrams gather elsewhere.
    pub(super) fn finish(&mut self, sends_on: bool, received: &Gathered) {
        let Gathered { bytes, is_full, .. } = *received;
        self.current().clear();
        self.uses_many = sends_on
            && match self.uses_many {
                true => bytes <= MANY * SINGLE,
                false => is_full && bytes <= FEW * SINGLE,
            };
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("uses_many", &self.uses_many).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod batches_tests {
    use std::net::SocketAddr;

    use super::*;

    fn receive(batches: &mut Batches, datagrams: usize, bytes: usize) -> bool {
        receive_for(batches, datagrams, bytes, true)
    }

    fn receive_for(batches: &mut Batches, datagrams: usize, bytes: usize, sends_on: bool) -> bool {
        let destination: SocketAddr = "239.1.2.3:7000".parse().unwrap();
        let interface = mcast::InterfaceIndex::new(1).unwrap();
        let arrival = mcast::Arrival::new(destination, interface, "10.0.0.1:7000".parse().unwrap());
        for _ in 0..datagrams {
            batches.current().push(&vec![0; bytes], arrival);
        }
        let received = Gathered::of(batches.current());
        batches.finish(sends_on, &received);
        assert!(batches.current().is_empty());
        batches.uses_many
    }

    #[test]
    fn many_buffers_are_used_for_many_single_datagrams_only() {
        let mut batches = Batches::new();
        assert!(!receive(&mut batches, 3, 1_316), "few datagrams");
        assert!(receive(&mut batches, FEW, 1_316));
        assert!(receive(&mut batches, 3, 1_316), "the next flood finds room at once");
        assert!(!receive(&mut batches, MANY, 60_000), "coalesced buffers");
        assert!(!receive(&mut batches, FEW, 60_000));
    }

    #[test]
    fn a_relay_for_http_clients_only_needs_no_memory_for_many_buffers() {
        let mut batches = Batches::new();
        assert!(!receive_for(&mut batches, FEW, 1_316, false));
        assert!(batches.many.is_none());
    }
}

/// What a descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    /// The groups of a leg that are received in this way.
    Groups(LegId, ReceivedBy),
    /// The broadcast sockets of a leg.
    Broadcast(LegId),
    /// The reports of memberships on a leg.
    Members(LegId),
    /// The interfaces of a namespace, by its position.
    Interfaces(usize),
    /// A path.
    Path(PathId),
    /// A socket of tunnels, by its position.
    Tunnel(usize),
    /// A leg that is a relay of AMT.
    AmtGateway(LegId),
    /// The address at which gateways of AMT send requests.
    AmtListener(SocketAddr),
}

/// The poller, and what its tokens stand for. Descriptors leave it when they are closed.
#[derive(Debug)]
pub(super) struct Registry {
    poller: Arc<Poller>,
    readable: HashMap<usize, Readable>,
    next: usize,
}

impl Registry {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { poller: Arc::new(Poller::new()?), readable: HashMap::new(), next: 0 })
    }

    pub(super) const fn poller(&self) -> &Arc<Poller> {
        &self.poller
    }

    pub(super) fn add(&mut self, descriptor: BorrowedFd<'_>, readable: Readable) -> io::Result<()> {
        self.poller.add_descriptor(descriptor, self.next)?;
        self.readable.insert(self.next, readable);
        self.next += 1;
        Ok(())
    }

    /// Changes what a descriptor is waited for.
    pub(super) fn set_interest(
        &self,
        descriptor: BorrowedFd<'_>,
        readable: Readable,
        interest: Interest,
    ) -> io::Result<()> {
        let token = self.readable.iter().find(|(_, known)| **known == readable).map(|(token, _)| *token);
        token.map_or(Ok(()), |token| self.poller.set_interest(descriptor, token, interest))
    }

    /// Forgets what a closed descriptor stood for.
    pub(super) fn forget(&mut self, readable: Readable) {
        self.readable.retain(|_, known| *known != readable);
    }

    pub(super) fn get(&self, token: usize) -> Option<Readable> {
        self.readable.get(&token).copied()
    }
}
