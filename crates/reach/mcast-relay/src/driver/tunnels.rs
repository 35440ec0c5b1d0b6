//! The sockets of tunnels: one for all that listen, and one for each that connects.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{fmt, io};

use lru::LruCache;
use mcast_group::{Family, GroupAddr, SourceFilter};
use mcast_pace::{ClockTime, ReportLimiter, ReportQuota, WithheldReport};
use mcast_sys::poller::wait_writable;
use mcast_sys::socket::{ReceiveSlots, Socket};
use mcast_sys::{ReceiveBuffer, SendRequest};
use mcast_tunnel::{
    DropReason, EndpointConfig, EndpointRole, LinkId, LinkStatus, MAX_DATAGRAM, RelayPath, TunnelDatagram,
    TunnelEndpoint, TunnelEvent, TunnelKeys, TunnelWant,
};

use super::http::ServedArrival;
use super::path::{OutgoingCopy, PendingCopies, ReceivedPayload, request, unspecified};
use super::receive::Readable;
use super::{Driver, DriverError, DriverEvent, describe};
use crate::{LegArrival, LegId, PathId, RelayId};

/// Receives at once, each of a datagram or of several that the system has coalesced, and how often before others are served.
const AT_ONCE: usize = 16;
const ROUNDS: usize = 4;
/// The most that one receive returns: an IP packet without its header.
const RECEIVED: usize = 65_535;
/// Buffers of the kernel: bursts of many groups arrive in one socket.
const SOCKET_BUFFER: usize = 4 << 20;
/// Other ends' paths by which replies go back.
const MAX_LEARNED: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// The time between attempts to resolve a name.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of payloads that wait in the queues of tunnels before they are sent: as many as stay in a processor's cache, and
/// enough for calls that each send many datagrams.
const SENT_TOGETHER: usize = 256 << 10;
/// Bytes of datagrams from a tunnel that are passed on together: a coalesced buffer.
const PASSED_TOGETHER: usize = 60_000;
/// How long a full queue of the system is waited for.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(2);

/// The tunnels of a relay.
#[derive(Clone, Debug, Default)]
pub struct TunnelOptions {
    /// The key of this relay, and those of its peers.
    pub keys: TunnelKeys,
    /// The tunnels that it connects.
    pub dial: Vec<TunnelDial>,
    /// Where it listens for all others that its rules name.
    pub listen: Option<SocketAddr>,
}

/// A tunnel that is dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelDial {
    /// Its name.
    pub name: String,
    /// The other end: `hub.example:5700`.
    pub host: String,
}

/// Copies to send into a tunnel.
pub(super) struct TunnelCopy<'a> {
    pub(super) path: PathId,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) hop_limit: u8,
    pub(super) trail: RelayPath,
    /// Their payloads, one after the other.
    pub(super) payload: Cow<'a, [u8]>,
    /// The length of each datagram but the last.
    pub(super) segment: usize,
}

/// A resolved name, or why not, and the position of its tunnel.
type Resolved = (usize, io::Result<Vec<SocketAddr>>);

/// The tunnels, and what their paths are.
pub(super) struct Tunnels {
    sockets: Vec<TunnelSocket>,
    /// Paths on tunnels, which need no sockets.
    paths: HashMap<PathId, LegId>,
    /// The other end's path by which a host is reached: the last one that it has sent by.
    learned: LruCache<(LegId, SocketAddr), u32>,
    up: BTreeSet<LegId>,
    resolved: (Sender<Resolved>, Receiver<Resolved>),
    strangers: ReportLimiter<&'static str, DriverEvent>,
    /// Bytes of payloads since tunnels were flushed.
    unflushed: usize,
    /// Memory for payloads that arrived together.
    gathered: Vec<u8>,
}

struct TunnelSocket {
    endpoint: TunnelEndpoint,
    socket: Option<(Family, Socket)>,
    dial: Option<TunnelDial>,
    /// How often the name was resolved, and when it is resolved again after a failure.
    resolutions: usize,
    resolve_at: Option<ClockTime>,
    is_resolving: bool,
    slots: ReceiveSlots,
    buffers: Vec<ReceiveBuffer>,
    /// What is being sent.
    outgoing: Vec<u8>,
    /// The own address that each other end sends to. A host with several must answer from the same one, or a NAT drops it.
    local: LruCache<SocketAddr, IpAddr>,
}

impl Tunnels {
    pub(super) fn new() -> Self {
        Self {
            sockets: Vec::new(),
            paths: HashMap::new(),
            learned: LruCache::new(MAX_LEARNED),
            up: BTreeSet::new(),
            resolved: channel(),
            strangers: ReportLimiter::new(ReportQuota::LOG),
            unflushed: 0,
            gathered: Vec::new(),
        }
    }

    /// Returns the tunnel that a path is on.
    pub(super) fn leg_of(&self, path: PathId) -> Option<LegId> {
        self.paths.get(&path).copied()
    }

    pub(super) fn open_path(&mut self, path: PathId, leg: LegId) {
        self.paths.insert(path, leg);
    }

    pub(super) fn close_path(&mut self, path: PathId) {
        self.paths.remove(&path);
    }

    pub(super) fn is_up(&self, leg: LegId) -> bool {
        self.up.contains(&leg)
    }

    pub(super) fn deadline(&self) -> Option<ClockTime> {
        let of_socket =
            |socket: &TunnelSocket| socket.endpoint.poll_timeout().into_iter().chain(socket.resolve_at).min();
        let reports = self.strangers.poll_timeout();
        self.sockets.iter().filter_map(of_socket).chain(reports).min()
    }
}

impl TunnelSocket {
    fn new(role: EndpointRole, keys: &TunnelKeys, relay: RelayId) -> Self {
        // The hash has a key of its own in every process and for every state.
        let mut count = 0_u64;
        let random = Box::new(move || {
            count += 1;
            RandomState::new().hash_one(count)
        });
        let config = EndpointConfig { keys: keys.clone(), relay: relay.0, random, role };
        Self {
            endpoint: TunnelEndpoint::new(config),
            socket: None,
            dial: None,
            resolutions: 0,
            resolve_at: None,
            is_resolving: false,
            slots: ReceiveSlots::new(AT_ONCE),
            buffers: (0..AT_ONCE).map(|_| ReceiveBuffer::new(RECEIVED)).collect(),
            outgoing: Vec::new(),
            local: LruCache::new(MAX_LEARNED),
        }
    }

    /// Receives what has arrived. Returns whether there may be more.
    fn receive(&mut self, now: ClockTime) -> bool {
        let Self { endpoint, socket, slots, buffers, dial, local, .. } = self;
        let Some((_, socket)) = socket else { return false };
        let Ok(count) = socket.receive_many(slots, buffers) else { return false };
        for (number, buffer) in buffers.iter().enumerate().take(count) {
            let Ok(received) = slots.received(number) else { continue };
            let segment = received.segment.unwrap_or(received.length);
            if let Some(bytes) = buffer.memory().get(..received.length)
                && segment <= usize::from(MAX_DATAGRAM)
            {
                if let (Some(own), None) = (received.destination, &dial) {
                    local.put(received.source, own);
                }
                endpoint.handle_coalesced(now, received.source, bytes, segment);
            }
        }
        count == AT_ONCE
    }

    /// Sends what the endpoint wants to send. Returns how much of it the system did not take.
    fn flush(&mut self, now: ClockTime) -> u64 {
        let Self { endpoint, socket, outgoing, local, .. } = self;
        let (mut unsent, mut may_wait) = (0, true);
        while let Some(transmit) = endpoint.poll_transmit(now, outgoing) {
            let copies: Vec<_> = outgoing
                .chunks(transmit.segment.max(1))
                .map(|bytes| OutgoingCopy {
                    destination: transmit.to,
                    hop_limit: None,
                    payload: Cow::Borrowed(bytes),
                })
                .collect();
            unsent += match socket {
                Some((_, socket)) => send(socket, &copies, local, &mut may_wait),
                None => copies.len() as u64,
            };
        }
        unsent
    }
}

/// Sends datagrams for one destination. Returns how many the system did not take.
fn send(
    socket: &Socket,
    copies: &[OutgoingCopy<'_>],
    local: &LruCache<SocketAddr, IpAddr>,
    may_wait: &mut bool,
) -> u64 {
    let with_source = |copy| {
        let request: SendRequest<'_> = request(copy, None);
        Some(SendRequest { source: local.peek(&request.to).copied(), ..request })
    };
    let (mut rest, mut unsent) = (copies, 0);
    while !rest.is_empty() {
        match socket.send_run(rest, with_source) {
            Ok(sent) => rest = &rest[sent.datagrams.clamp(1, rest.len())..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Once: while this thread waits, nothing else is forwarded.
                if !std::mem::take(may_wait) || !wait_writable(socket, Some(QUEUE_TIMEOUT)).unwrap_or(false) {
                    return unsent + rest.len() as u64;
                }
            }
            // The others may be shorter, or go elsewhere. QUIC finds out how much the path carries.
            Err(_) => {
                unsent += 1;
                rest = &rest[1..];
            }
        }
    }
    unsent
}

impl Driver {
    /// Returns the tunnels that the rules name, each with its state and its counters.
    pub fn tunnels(&self) -> impl Iterator<Item = LinkStatus> {
        self.tunnels.sockets.iter().flat_map(|socket| socket.endpoint.links().map(|(_, status)| status))
    }

    /// Returns the reasons for which datagrams at the sockets of tunnels were dropped, with their numbers.
    #[must_use]
    pub fn dropped_by_tunnels(&self) -> Vec<(DropReason, u64)> {
        let of_reason = |reason: DropReason| {
            let dropped = self.tunnels.sockets.iter().flat_map(|socket| socket.endpoint.dropped());
            dropped.filter(|(known, _)| *known == reason).map(|(_, count)| count).sum()
        };
        let counts = DropReason::ALL.into_iter().map(|reason| (reason, of_reason(reason)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Replaces the keys of the tunnels, from the next [`Self::poll`] on.
    pub fn set_tunnel_keys(&mut self, keys: &TunnelKeys) {
        let now = self.now();
        for socket in &mut self.tunnels.sockets {
            socket.endpoint.set_keys(now, keys.clone());
        }
    }

    pub(super) fn open_tunnels(&mut self, options: TunnelOptions) -> Result<(), DriverError> {
        let relay = self.relay.id();
        if let Some(address) = options.listen {
            let socket = TunnelSocket::new(EndpointRole::Listener, &options.keys, relay);
            self.tunnels.sockets.push(socket);
            self.bind_tunnel(0, address).map_err(|source| DriverError::TunnelListener { address, source })?;
        }
        for dial in options.dial {
            let role = EndpointRole::Dialer(dial.name.clone());
            let socket = TunnelSocket { dial: Some(dial), ..TunnelSocket::new(role, &options.keys, relay) };
            self.tunnels.sockets.push(socket);
            self.resolve_tunnel(self.tunnels.sockets.len() - 1);
        }
        self.name_tunnels();
        Ok(())
    }

    /// Passes the names of the tunnels in the rules to the listener.
    pub(super) fn name_tunnels(&mut self) {
        let now = self.now();
        let of_rules = self.relay.rules().flat_map(|(rule, _)| rule.legs()).filter_map(|leg| leg.tunnel());
        let dialed: Vec<_> =
            self.tunnels.sockets.iter().filter_map(|socket| Some(&socket.dial.as_ref()?.name)).collect();
        let names = of_rules.map(str::to_owned).filter(|name| !dialed.contains(&name));
        let names: BTreeSet<String> = names.collect();
        self.tunnels.sockets.iter_mut().for_each(|socket| socket.endpoint.set_names(now, &names));
    }

    pub(super) fn is_tunnel(&self, leg: LegId) -> bool {
        self.legs.get(usize::from(leg.0)).is_some_and(|leg| leg.leg.tunnel().is_some())
    }

    /// Sends copies, a reply, or an answer to one.
    pub(super) fn send_into_tunnel(&mut self, leg: LegId, copy: TunnelCopy<'_>, repair: Option<Duration>) {
        let now = self.now();
        let TunnelCopy { path, source, destination, hop_limit, trail, payload, segment } = copy;
        let count = payload.len().div_ceil(segment.max(1)).max(1) as u64;
        // A copy is for many hosts, and has a trail.
        let to_path = match trail.relays().is_empty() {
            false => None,
            true => match self.tunnels.learned.get(&(leg, destination)) {
                Some(path) => Some(*path),
                None => {
                    self.counts.unsent += count;
                    return;
                }
            },
        };
        let (path, length) = (path.0, payload.len());
        let datagrams = TunnelDatagram { trail, path, to_path, hop_limit, source, destination, payload };
        let is_sent = self.socket_of(leg).is_some_and(|(position, link)| {
            let endpoint = &mut self.tunnels.sockets[position].endpoint;
            endpoint.send_together(now, link, &datagrams, segment, repair)
        });
        self.counts.unsent += if is_sent { 0 } else { count };
        self.tunnels.unflushed += length;
        if self.tunnels.unflushed >= SENT_TOGETHER {
            self.flush_tunnels();
        }
    }

    /// Sends what this end wants to receive to the other end of a tunnel.
    pub(super) fn want_from_tunnel(&mut self, leg: LegId) {
        if self.is_checking {
            return;
        }
        let wants = self.wants(leg);
        if let Some((position, link)) = self.socket_of(leg) {
            self.tunnels.sockets[position].endpoint.set_wants(link, wants);
        }
    }

    /// Returns what the rules and HTTP clients want to receive from a tunnel.
    fn wants(&self, leg: LegId) -> Vec<TunnelWant> {
        let of_rules = self.relay.wants(leg).into_iter().map(|want| (want.destination, want.sources));
        let of_clients = self.http.demand().on(leg);
        let of_clients = of_clients.map(|(address, sources)| (SocketAddr::from(address), sources.clone()));
        let mut wants: BTreeMap<SocketAddr, SourceFilter> = BTreeMap::new();
        for (destination, sources) in of_rules.chain(of_clients) {
            let wanted = wants.entry(destination).or_insert(SourceFilter::NONE);
            *wanted = wanted.union(&sources);
        }
        wants.into_iter().map(|(destination, sources)| TunnelWant { destination, sources }).collect()
    }

    pub(super) fn flush_tunnels(&mut self) {
        let now = self.now();
        self.tunnels.unflushed = 0;
        for socket in &mut self.tunnels.sockets {
            self.counts.unsent += socket.flush(now);
        }
    }

    pub(super) fn do_due_in_tunnels(&mut self) -> Result<(), DriverError> {
        while let Ok((position, result)) = self.tunnels.resolved.1.try_recv() {
            self.tunnel_resolved(position, result)?;
        }
        let now = self.now();
        self.report_withheld_strangers(now);
        for position in 0..self.tunnels.sockets.len() {
            let socket = &mut self.tunnels.sockets[position];
            if socket.resolve_at.take_if(|at| *at <= now).is_some() {
                self.resolve_tunnel(position);
            }
            let endpoint = &mut self.tunnels.sockets[position].endpoint;
            if endpoint.poll_timeout().is_some_and(|deadline| deadline <= now) {
                endpoint.handle_timeout(now);
            }
            self.take_tunnel_events(position)?;
        }
        self.flush_tunnels();
        Ok(())
    }

    pub(super) fn receive_from_tunnel(&mut self, position: usize) -> Result<(), DriverError> {
        for _ in 0..ROUNDS {
            let now = self.now();
            let has_more = self.tunnels.sockets.get_mut(position).is_some_and(|socket| socket.receive(now));
            self.take_tunnel_events(position)?;
            if !has_more {
                break;
            }
        }
        self.flush_tunnels();
        Ok(())
    }

    /// Says goodbye to the other ends.
    pub(super) fn stop_tunnels(&mut self) {
        let now = self.now();
        self.tunnels.sockets.iter_mut().for_each(|socket| socket.endpoint.stop(now));
        self.flush_tunnels();
    }

    /// Returns the socket of a tunnel, and the tunnel's number there.
    fn socket_of(&self, leg: LegId) -> Option<(usize, LinkId)> {
        let name = self.legs.get(usize::from(leg.0))?.leg.tunnel()?;
        let mut sockets = self.tunnels.sockets.iter().enumerate();
        sockets.find_map(|(position, socket)| Some((position, socket.endpoint.link(name)?)))
    }

    fn leg_of_link(&self, position: usize, link: LinkId) -> Option<LegId> {
        let name = self.tunnels.sockets.get(position)?.endpoint.name(link)?;
        self.relay.legs().find(|(_, leg)| leg.tunnel() == Some(name)).map(|(id, _)| id)
    }

    fn take_tunnel_events(&mut self, position: usize) -> Result<(), DriverError> {
        let endpoint = &mut self.tunnels.sockets[position].endpoint;
        let events: Vec<TunnelEvent> = std::iter::from_fn(|| endpoint.poll_event()).collect();
        let mut gathered = std::mem::take(&mut self.tunnels.gathered);
        let runs = TunnelRun::gather(&events, &mut gathered);
        let mut copies = PendingCopies::default();
        // Most datagrams are of the same tunnel as the ones before.
        let mut latest = None;
        for TunnelRun { events, bytes, segment } in &runs {
            match &events[0] {
                TunnelEvent::Datagram { link, datagram } => {
                    if latest.is_none_or(|(known, _)| known != *link) {
                        latest = self.leg_of_link(position, *link).map(|leg| (*link, leg));
                    }
                    let Some((_, leg)) = latest else { continue };
                    let payload = &gathered[bytes.clone()];
                    let together = self.receive_together(leg, datagram, payload, *segment);
                    let bytes = &payload[..payload.len().min(together * segment)];
                    self.take_outputs_for(ReceivedPayload { bytes, segment: *segment }, &mut copies)?;
                    for event in &events[together..] {
                        let TunnelEvent::Datagram { datagram, .. } = event else { continue };
                        self.receive_datagram(leg, datagram);
                        self.take_outputs_for(datagram.payload[..].into(), &mut copies)?;
                        self.serve_from_tunnel(leg, datagram);
                    }
                }
                event @ (TunnelEvent::Up { link, .. }
                | TunnelEvent::Down { link, .. }
                | TunnelEvent::Moved { link, .. }
                | TunnelEvent::Refused { link, .. }
                | TunnelEvent::Unanswered { link }
                | TunnelEvent::Overflow { link, .. }
                | TunnelEvent::Wants { link, .. }) => {
                    if let Some(leg) = self.leg_of_link(position, *link) {
                        self.tunnel_changed(position, leg, event);
                        self.take_outputs_for(ReceivedPayload::default(), &mut copies)?;
                    }
                }
                event => self.report_stranger(event),
            }
        }
        self.http.pass(false);
        let finished = self.finish(copies);
        self.tunnels.gathered = gathered;
        finished
    }

    /// Passes datagrams that arrived together to the state machine, and returns how many it has handled. What clients request
    /// is counted one by one.
    fn receive_together(
        &mut self,
        leg: LegId,
        first: &TunnelDatagram,
        payload: &[u8],
        segment: usize,
    ) -> usize {
        let Some(segment) = NonZeroUsize::new(segment) else { return 0 };
        let group = GroupAddr::try_from(first.destination);
        let rule_for = |group| self.http.demand().rule_for(leg, group, first.source.ip());
        if group.ok().and_then(rule_for).is_some() {
            return 0;
        }
        let count = self.relay.handle_coalesced(self.now(), &arrival_from(leg, first, payload), segment);
        if count > 0 {
            self.tunnels.learned.put((leg, first.source), first.path);
        }
        count
    }

    /// Passes a datagram for a group to HTTP clients that request it. A reply is for one host.
    fn serve_from_tunnel(&mut self, leg: LegId, datagram: &TunnelDatagram) {
        let Ok(address) = GroupAddr::try_from(datagram.destination) else { return };
        if is_copy(datagram) {
            let source = datagram.source;
            let arrival = ServedArrival { leg, address, source, time: None, lost: 0 };
            self.serve(self.now(), arrival, &datagram.payload);
        }
    }

    fn receive_datagram(&mut self, leg: LegId, datagram: &TunnelDatagram) {
        let now = self.now();
        match datagram.to_path.map(PathId) {
            None if !is_copy(datagram) => return,
            None => self.relay.handle_datagram(now, &arrival_from(leg, datagram, &datagram.payload)),
            Some(own) if self.tunnels.leg_of(own) == Some(leg) => {
                self.relay.handle_reply(now, own, datagram.source);
            }
            Some(_) => return,
        }
        self.tunnels.learned.put((leg, datagram.source), datagram.path);
    }

    fn tunnel_changed(&mut self, position: usize, leg: LegId, event: &TunnelEvent) {
        let now = self.now();
        let report = match event {
            TunnelEvent::Up { relay, address, .. } => {
                self.tunnels.up.insert(leg);
                self.relay.set_site_wants(now, leg, Vec::new());
                self.relay.handle_leg_up(now, leg, &[]);
                self.changed.insert(leg);
                self.http.rules_changed();
                self.forget_reports(leg);
                DriverEvent::TunnelUp { leg, relay: RelayId(*relay), address: *address }
            }
            TunnelEvent::Down { reason, .. } => {
                self.tunnels.up.remove(&leg);
                self.relay.handle_leg_down(now, leg);
                self.http.rules_changed();
                DriverEvent::TunnelDown { leg, reason: *reason }
            }
            TunnelEvent::Moved { address, .. } => DriverEvent::TunnelMoved { leg, address: *address },
            TunnelEvent::Refused { reason, .. } => DriverEvent::TunnelRefused { leg, refusal: *reason },
            TunnelEvent::Unanswered { .. } => {
                self.resolve_tunnel(position);
                let dial = self.tunnels.sockets[position].dial.as_ref();
                let host = dial.map(|dial| dial.host.clone()).unwrap_or_default();
                if !self.legs[usize::from(leg.0)].reported.insert(host.clone()) {
                    return;
                }
                DriverEvent::TunnelUnanswered { leg, host }
            }
            TunnelEvent::Overflow { count, .. } => DriverEvent::TunnelOverflow { leg, count: *count },
            TunnelEvent::Wants { wants, .. } => {
                self.relay.set_site_wants(now, leg, wants.clone());
                return;
            }
            _ => return,
        };
        self.events.push_back(report);
    }

    fn forget_reports(&mut self, leg: LegId) {
        if let Some(leg) = self.legs.get_mut(usize::from(leg.0)) {
            leg.reported.clear();
        }
    }

    fn report_stranger(&mut self, event: &TunnelEvent) {
        let (kind, address, report) = match event {
            TunnelEvent::WrongKey { address } => {
                ("key", *address, DriverEvent::WrongTunnelKey { address: *address, count: 1 })
            }
            TunnelEvent::UnknownName { name, address } => {
                let (name, address) = (name.clone(), *address);
                ("name", address, DriverEvent::UnknownTunnel { name, address, count: 1 })
            }
            _ => return,
        };
        let now = self.now();
        let report = self.tunnels.strangers.handle_report(now, kind, Some(address.ip()), report);
        self.events.extend(report);
    }

    /// Reports how many strangers there were beside those that were reported.
    fn report_withheld_strangers(&mut self, now: ClockTime) {
        while let Some(WithheldReport { mut latest, more, .. }) = self.tunnels.strangers.poll_report(now) {
            if let DriverEvent::WrongTunnelKey { count, .. } | DriverEvent::UnknownTunnel { count, .. } =
                &mut latest
            {
                *count += more;
            }
            self.events.push_back(latest);
        }
    }

    /// Resolves the name of a tunnel's other end, in a thread of its own: that may take seconds.
    fn resolve_tunnel(&mut self, position: usize) {
        let Some(dial) = &self.tunnels.sockets[position].dial else { return };
        let (host, sender) = (dial.host.clone(), self.tunnels.resolved.0.clone());
        let waker = self.waker();
        let socket = &mut self.tunnels.sockets[position];
        // One that hangs is not joined by others.
        if std::mem::replace(&mut socket.is_resolving, true) {
            return;
        }
        let started = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            let addresses = host.to_socket_addrs().map(Iterator::collect);
            // If the relay has ended, nobody waits for it.
            let _ = sender.send((position, addresses));
            let _ = waker.wake();
        });
        if let Err(error) = started {
            // As a thread would report it.
            let _ = self.tunnels.resolved.0.send((position, Err(error)));
        }
    }

    fn tunnel_resolved(
        &mut self,
        position: usize,
        result: io::Result<Vec<SocketAddr>>,
    ) -> Result<(), DriverError> {
        let now = self.now();
        self.tunnels.sockets[position].is_resolving = false;
        match result.and_then(|addresses| self.choose_address(position, &addresses)) {
            Ok(address) => self.tunnels.sockets[position].endpoint.set_address(now, address),
            Err(source) => {
                self.tunnels.sockets[position].resolve_at = Some(now + RESOLVE_INTERVAL);
                let error = DriverError::System { operation: "resolve the address of the other end", source };
                if let Some(leg) = self.leg_of_link(position, LinkId(0)) {
                    let problem = describe(&error);
                    if self.legs[usize::from(leg.0)].reported.insert(problem.clone()) {
                        self.events.push_back(DriverEvent::Problem { leg, problem, remedy: None });
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns an address to dial, with a socket of its family. If one address does not answer, another one may.
    fn choose_address(&mut self, position: usize, addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
        let socket = &mut self.tunnels.sockets[position];
        let count = addresses.len().max(1);
        let address = *addresses.get(socket.resolutions % count).ok_or(io::ErrorKind::NotFound)?;
        socket.resolutions += 1;
        let family = Family::of(address.ip());
        if socket.socket.as_ref().is_none_or(|(known, _)| *known != family) {
            self.bind_tunnel(position, SocketAddr::new(unspecified(family), 0))?;
        }
        Ok(address)
    }

    fn bind_tunnel(&mut self, position: usize, address: SocketAddr) -> io::Result<()> {
        use std::os::fd::AsFd;

        let family = Family::of(address.ip());
        let socket = Socket::open(family)?;
        socket.only_own_memberships(true)?;
        socket.set_pktinfo(true)?;
        socket.probe_path_mtu()?;
        socket.enable_gro()?;
        socket.set_send_buffer(SOCKET_BUFFER)?;
        socket.set_receive_buffer(SOCKET_BUFFER)?;
        socket.bind(address)?;
        self.registry.forget(Readable::Tunnel(position));
        self.registry.add(socket.as_fd(), Readable::Tunnel(position))?;
        self.tunnels.sockets[position].socket = Some((family, socket));
        Ok(())
    }
}

/// One event of a tunnel, or several datagrams that differ in their payloads and consecutive numbers only.
struct TunnelRun<'a> {
    events: &'a [TunnelEvent],
    /// Where the payloads are, if there are several.
    bytes: Range<usize>,
    /// The length of each of these; 0 for one event.
    segment: usize,
}

impl<'a> TunnelRun<'a> {
    /// Finds the datagrams that can be passed on together, and writes the payloads of each run one after the other.
    fn gather(events: &'a [TunnelEvent], payloads: &mut Vec<u8>) -> Vec<Self> {
        payloads.clear();
        let (mut runs, mut rest) = (Vec::new(), events);
        while !rest.is_empty() {
            let (start, count) = (payloads.len(), count_together(rest));
            let (events, others) = rest.split_at(count);
            if count > 1 {
                events.iter().for_each(|event| payloads.extend_from_slice(payload_of(event)));
            }
            let segment = if count > 1 { payload_of(&events[0]).len() } else { 0 };
            runs.push(Self { events, bytes: start..payloads.len(), segment });
            rest = others;
        }
        runs
    }
}

fn payload_of(event: &TunnelEvent) -> &[u8] {
    match event {
        TunnelEvent::Datagram { datagram, .. } => &datagram.payload,
        _ => &[],
    }
}

/// Returns how many of the first events are datagrams that can be passed on together. At least one.
fn count_together(events: &[TunnelEvent]) -> usize {
    let Some(TunnelEvent::Datagram { link, datagram: first }) = events.first() else { return 1 };
    let length = first.payload.len();
    if !is_copy(first) || length == 0 {
        return 1;
    }
    let most = (PASSED_TOGETHER / length).max(1);
    let of = |datagram: &TunnelDatagram| {
        let TunnelDatagram { path, to_path, hop_limit, source, destination, .. } = *datagram;
        (path, to_path, hop_limit, source, destination, datagram.payload.len())
    };
    let follows = |(later, event): (usize, &TunnelEvent)| match event {
        TunnelEvent::Datagram { link: on, datagram } => {
            on == link && of(datagram) == of(first) && datagram.trail == first.trail.of_later(later as u64)
        }
        _ => false,
    };
    1 + events.iter().enumerate().take(most).skip(1).take_while(|event| follows(*event)).count()
}

/// Returns whether a datagram is for many hosts. Others are replies.
fn is_copy(datagram: &TunnelDatagram) -> bool {
    datagram.to_path.is_none() && !datagram.trail.relays().is_empty()
}

fn arrival_from<'a>(leg: LegId, datagram: &TunnelDatagram, payload: &'a [u8]) -> LegArrival<'a> {
    let TunnelDatagram { trail, hop_limit, source, destination, .. } = *datagram;
    LegArrival { leg, source, destination, hop_limit, mac: None, trail, payload }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels").field("up", &self.up).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A datagram of one of two flows, by its number in the tunnel; a reply has none.
    fn datagram(source: u16, number: Option<u64>, length: usize) -> TunnelEvent {
        let relays: &[u64] = if number.is_some() { &[7] } else { &[] };
        let trail = RelayPath::new(7, number.unwrap_or_default(), relays).unwrap_or_default();
        let source = SocketAddr::from(([10, 0, 0, 1], source));
        let destination = SocketAddr::from(([239, 1, 2, 3], 5000));
        let payload = vec![number.unwrap_or_default() as u8; length].into();
        let datagram =
            TunnelDatagram { trail, path: 1, to_path: None, hop_limit: 8, source, destination, payload };
        TunnelEvent::Datagram { link: LinkId(0), datagram }
    }

    #[test]
    fn a_run_has_one_flow_one_length_and_consecutive_numbers() {
        let unanswered = || TunnelEvent::Unanswered { link: LinkId(0) };
        let other_link = || match datagram(1, Some(3), 4) {
            TunnelEvent::Datagram { datagram, .. } => TunnelEvent::Datagram { link: LinkId(1), datagram },
            event => event,
        };
        for (next, expected) in [
            (datagram(1, Some(3), 4), 3),
            (datagram(1, Some(4), 4), 2),
            (datagram(1, Some(2), 4), 2),
            (datagram(1, Some(3), 3), 2),
            (datagram(2, Some(3), 4), 2),
            (datagram(1, None, 4), 2),
            (other_link(), 2),
            (unanswered(), 2),
        ] {
            assert_eq!(count_together(&[datagram(1, Some(1), 4), datagram(1, Some(2), 4), next]), expected);
        }
        // Replies, and datagrams without content, are passed on one by one.
        assert_eq!(count_together(&[datagram(1, None, 4), datagram(1, None, 4)]), 1);
        assert_eq!(count_together(&[datagram(1, Some(1), 0), datagram(1, Some(2), 0)]), 1);
        let many: Vec<_> = (1..100).map(|number| datagram(1, Some(number), 1_000)).collect();
        assert_eq!(count_together(&many), PASSED_TOGETHER / 1_000);
    }

    proptest! {
        #[test]
        fn runs_contain_each_event_once_in_order_with_its_payload(
            drawn in prop::collection::vec((1_u16..3, prop::option::of(1_u64..6), 0_usize..3), 0..40),
        ) {
            let event = |(source, number, length): (u16, Option<u64>, usize)| datagram(source, number, length);
            let events: Vec<_> = drawn.into_iter().map(event).collect();
            let mut payloads = vec![9; 3];
            let runs = TunnelRun::gather(&events, &mut payloads);
            let in_runs: Vec<_> = runs.iter().flat_map(|run| run.events).collect();
            prop_assert_eq!(in_runs, events.iter().collect::<Vec<_>>());
            for TunnelRun { events, bytes, segment } in runs.iter().filter(|run| run.events.len() > 1) {
                let expected: Vec<_> = events.iter().map(payload_of).collect();
                prop_assert_eq!(payloads[bytes.clone()].chunks(*segment).collect::<Vec<_>>(), expected);
            }
        }
    }
}
