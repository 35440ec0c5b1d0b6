//! One socket of tunnels: the connections of QUIC, and which tunnel each belongs to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mcast_pace::ClockTime;
use quinn_proto::{
    ClientConfig, ConnectionError, ConnectionHandle, DatagramEvent, Endpoint, EndpointEvent, Event,
    HashedConnectionIdGenerator, Incoming, NoneTokenStore, ServerConfig, StreamEvent, Transmit,
    TransportConfig, TransportError, ValidationTokenConfig,
};
use ring::hmac;

use crate::control::Message;
use crate::event::{
    DownReason, DropReason, EndpointConfig, EndpointRole, LinkId, LinkStatus, RefusedBy, TunnelEvent,
    TunnelTransmit,
};
use crate::key::{PeerKey, TunnelKeys};
use crate::link::Link;
use crate::record::{TunnelDatagram, TunnelWant};
use crate::session::{CloseCode, Session, Stage, host_of};
use crate::settings::{IDLE_TIMEOUT, QuicClock, transport};
use crate::tls;

/// The time between attempts of a dialer.
const DIAL_INTERVAL: Duration = Duration::from_secs(1);
/// The same while the listener refuses.
const REFUSED_INTERVAL: Duration = Duration::from_secs(3);
/// A relay that was received less than this time ago keeps its tunnel: two of its packets may be lost.
const IN_USE: Duration = Duration::from_millis(2_500);
/// Connections of a listener that are not tunnels, or no longer: handshakes that are not finished, and what was refused.
const MAX_UNFINISHED: usize = 64;
/// The same from one host.
const MAX_OF_HOST: usize = 4;
/// Answers that wait until they can be sent.
const MAX_ANSWERS: usize = 256;
/// Datagrams that are passed to the system at once: of the greatest length, a packet of IP.
const MAX_SEGMENTS: usize = 44;
/// The codes of QUIC for alerts of TLS (RFC 9001, section 4.8).
const ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
/// What QUIC wants as the name of a server. It is not sent, and not verified: the key is.
const SERVER_NAME: &str = "mcast";

/// One end of tunnels that share a socket.
///
/// ```
/// use mcast_pace::ClockTime;
/// use mcast_tunnel::{EndpointConfig, EndpointRole, TunnelEndpoint, TunnelKeys};
///
/// let role = EndpointRole::Dialer("paris".into());
/// let mut random = 1..;
/// let random = Box::new(move || random.next().unwrap_or_default());
/// let mut site = TunnelEndpoint::new(EndpointConfig { keys: TunnelKeys::none(), relay: 7, random, role });
/// site.set_address(ClockTime::START, "203.0.113.1:5700".parse()?);
/// site.handle_timeout(ClockTime::START);
/// let nothing = site.poll_transmit(ClockTime::START, &mut Vec::new());
/// assert!(nothing.is_none(), "nothing is sent without a key");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub struct TunnelEndpoint {
    quic: Endpoint,
    clock: QuicClock,
    transport: Arc<TransportConfig>,
    keys: TunnelKeys,
    relay: u64,
    role: Role,
    links: Vec<Link>,
    sessions: BTreeMap<ConnectionHandle, Session>,
    /// What belongs to no connection.
    answers: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<TunnelEvent>,
    dropped: [u64; DropReason::ALL.len()],
}

#[derive(Debug)]
enum Role {
    Dialer(Dialer),
    Listener,
}

#[derive(Debug, Default)]
struct Dialer {
    address: Option<SocketAddr>,
    /// The connection, from the first packet on.
    handle: Option<ConnectionHandle>,
    next: ClockTime,
    /// Why the listener has refused it, until the tunnel is up.
    refused: Option<RefusedBy>,
}

impl TunnelEndpoint {
    /// Creates an endpoint whose tunnels are down.
    #[must_use]
    pub fn new(config: EndpointConfig) -> Self {
        let EndpointConfig { keys, relay, mut random, role } = config;
        // A relay that has started again resets the connections that it had, so that the other ends need not wait. For that,
        // it must recognize their identifiers: those are derived from its private key.
        let secret = keys.own().map_or([0; 32], |own| *own.seed());
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let mut quic = quinn_proto::EndpointConfig::new(Arc::new(derive(&secret, b"stateless reset")));
        let identifiers = hmac::sign(&secret, b"connection identifiers");
        let identifiers = identifiers.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let seeds = std::array::from_fn::<[u8; 8], 4, _>(|_| random().to_be_bytes());
        quic.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(identifiers)))
            .rng_seed(Some(std::array::from_fn(|at| seeds[at / 8][at % 8])));
        let (role, links) = match role {
            EndpointRole::Dialer(name) => (Role::Dialer(Dialer::default()), vec![Link::new(LinkId(0), name)]),
            EndpointRole::Listener => (Role::Listener, Vec::new()),
        };
        let mut endpoint = Self {
            quic: Endpoint::new(Arc::new(quic), None, true, None),
            clock: QuicClock::new(),
            transport: Arc::new(transport()),
            keys,
            relay,
            role,
            links,
            sessions: BTreeMap::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            dropped: Default::default(),
        };
        endpoint.admit_peers();
        endpoint
    }

    /// Sets the address that a dialer dials. A tunnel that is up moves there with the next handshake only.
    pub fn set_address(&mut self, now: ClockTime, address: SocketAddr) {
        if let Role::Dialer(dialer) = &mut self.role
            && dialer.address != Some(address)
        {
            dialer.address = Some(address);
            self.dial_again(now);
        }
    }

    /// Sets the names of the tunnels that a listener accepts.
    pub fn set_names(&mut self, now: ClockTime, names: &BTreeSet<String>) {
        if matches!(self.role, Role::Dialer(_)) {
            return;
        }
        for position in 0..self.links.len() {
            let link = &mut self.links[position];
            link.is_open = names.contains(&link.name);
            if !link.is_open {
                self.close(now, position, DownReason::Removed);
            }
        }
        for name in names {
            if self.link(name).is_none() {
                self.links.push(Link::new(LinkId(self.links.len()), name.clone()));
            }
        }
    }

    /// Replaces the keys. Tunnels whose other end is no longer a peer are down at once. A new key of this relay is used from
    /// the next handshake on.
    pub fn set_keys(&mut self, now: ClockTime, keys: TunnelKeys) {
        self.keys = keys;
        self.admit_peers();
        for position in 0..self.links.len() {
            let link = &self.links[position];
            let session = link.current.and_then(|handle| self.sessions.get(&handle));
            let is_removed = session
                .is_some_and(|session| !session.key.is_some_and(|key| self.keys.admits(&link.name, &key)));
            if is_removed {
                self.close(now, position, DownReason::KeyRemoved);
            }
        }
        self.dial_again(now);
    }

    /// Returns the tunnel with this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<LinkId> {
        self.links.iter().position(|link| link.name == name).map(LinkId)
    }

    /// Returns the name of a tunnel.
    #[must_use]
    pub fn name(&self, link: LinkId) -> Option<&str> {
        self.links.get(link.0).map(|link| link.name.as_str())
    }

    /// Returns the tunnels that rules name.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, LinkStatus)> {
        let status = |link: &Link| {
            let session = link.current.and_then(|handle| self.sessions.get(&handle));
            LinkStatus {
                name: link.name.clone(),
                peer: session.and_then(|session| Some((link.peer?, session.address))),
                round_trip: session.map(|session| session.connection.rtt()),
                counts: link.counts,
            }
        };
        self.links.iter().filter(|link| link.is_open).map(move |link| (link.id, status(link)))
    }

    /// Returns the reasons for which datagrams were dropped, with their numbers.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0)
    }

    /// Sets what this end wants to receive from a tunnel.
    pub fn set_wants(&mut self, link: LinkId, wants: Vec<TunnelWant>) {
        let Some(link) = self.links.get_mut(link.0) else { return };
        link.set_wants(wants);
        if let Some(session) = link.current.and_then(|handle| self.sessions.get_mut(&handle)) {
            link.write_wants(session);
        }
    }

    /// Sends a datagram into a tunnel. With a bound, it is repaired in that time if it is lost. Returns whether the
    /// tunnel is up.
    pub fn send<P: AsRef<[u8]>>(
        &mut self,
        now: ClockTime,
        link: LinkId,
        datagram: &TunnelDatagram<P>,
        bound: Option<Duration>,
    ) -> bool {
        self.send_together(now, link, datagram, datagram.payload.as_ref().len(), bound)
    }

    /// Sends several datagrams into a tunnel, whose payloads follow each other: each of this length, apart from the last
    /// one, which may be shorter. Each has the number after the one before it.
    pub fn send_together<P: AsRef<[u8]>>(
        &mut self,
        now: ClockTime,
        link: LinkId,
        datagrams: &TunnelDatagram<P>,
        segment: usize,
        bound: Option<Duration>,
    ) -> bool {
        let Some(link) = self.links.get_mut(link.0) else { return false };
        let session = link.current.and_then(|handle| self.sessions.get_mut(&handle));
        let Some(session) = session else { return false };
        link.send(now, &mut session.connection, datagrams, segment, bound);
        session.may_transmit = true;
        true
    }

    /// Handles a datagram that has arrived.
    pub fn handle_datagram(&mut self, now: ClockTime, from: SocketAddr, bytes: &[u8]) {
        self.handle_coalesced(now, from, bytes, bytes.len());
    }

    /// Handles datagrams that have arrived from one address: all of this length, apart from the last one, which may be
    /// shorter.
    pub fn handle_coalesced(&mut self, now: ClockTime, from: SocketAddr, bytes: &[u8], segment: usize) {
        // They are decrypted where they are, and what they carry is passed on as parts of this copy.
        let mut rest = BytesMut::from(bytes);
        let mut unsettled = None;
        while !rest.is_empty() {
            let datagram = rest.split_to(segment.clamp(1, rest.len()));
            let handle = self.handle_packets(now, from, datagram);
            if let Some(before) = unsettled.filter(|_| unsettled != handle) {
                self.settle(now, before);
            }
            unsettled = handle;
        }
        if let Some(handle) = unsettled {
            self.settle(now, handle);
        }
    }

    /// Handles one datagram. Returns the connection that it is of, which has to be settled after it.
    fn handle_packets(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: BytesMut,
    ) -> Option<ConnectionHandle> {
        let instant = self.clock.instant(now);
        let (length, first) = (datagram.len(), datagram.first().copied().unwrap_or_default());
        let mut answer = Vec::new();
        match self.quic.handle(instant, from, None, None, datagram, &mut answer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let session = self.sessions.get_mut(&handle)?;
                session.connection.handle_event(event);
                session.may_transmit = true;
                let is_new = session.record_arrival(now);
                if is_new
                    && let Stage::Up(link) = session.stage
                    && let Some(link) = self.links.get_mut(link.0)
                {
                    link.counts.received_bytes += length as u64;
                } else if !is_new && !session.connection.is_closed() {
                    self.dropped[DropReason::Unsealed as usize] += 1;
                }
                Some(handle)
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.answer_dialer(now, incoming, &mut answer);
                None
            }
            unknown => {
                // A packet of a connection has a short header (RFC 9000, section 17.3).
                let is_of_connection = first & 0x80 == 0;
                let reason =
                    if is_of_connection { DropReason::UnknownSession } else { DropReason::Malformed };
                self.dropped[reason as usize] += 1;
                if let Some(DatagramEvent::Response(transmit)) = unknown {
                    self.answer(&transmit, answer);
                }
                None
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: ClockTime) {
        let instant = self.clock.instant(now);
        let is_due = |session: &Session| session.timeout.is_some_and(|timeout| timeout <= now);
        let due: Vec<_> =
            self.sessions.iter().filter(|(_, session)| is_due(session)).map(|(id, _)| *id).collect();
        for handle in due {
            if let Some(session) = self.sessions.get_mut(&handle) {
                session.connection.handle_timeout(instant);
                session.fill_unanswered(now);
                session.may_transmit = true;
                session.refresh_timeout(&self.clock);
            }
            self.settle(now, handle);
        }
        for link in &mut self.links {
            if let Some(session) = link.current.and_then(|handle| self.sessions.get_mut(&handle)) {
                link.handle_timeout(now, session, &mut self.events);
            }
        }
        if self.unanswered_at().is_some_and(|at| at <= now) {
            self.events.push_back(TunnelEvent::Unanswered { link: LinkId(0) });
            self.dial_again(now);
        }
        if self.dial_at().is_some_and(|at| at <= now) {
            self.dial(now);
        }
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let of_sessions = self.sessions.values().filter_map(|session| session.timeout);
        let of_links = self.links.iter().filter_map(Link::deadline);
        of_sessions.chain(of_links).chain(self.dial_at()).chain(self.unanswered_at()).min()
    }

    /// Writes the next datagrams to send into a buffer, after it has been cleared: several of one length for one destination.
    /// Small datagrams of groups that are waiting share one, so call this after everything that has happened at the same
    /// time.
    pub fn poll_transmit(&mut self, now: ClockTime, buffer: &mut Vec<u8>) -> Option<TunnelTransmit> {
        buffer.clear();
        if let Some((to, bytes)) = self.answers.pop_front() {
            buffer.extend(bytes);
            return Some(TunnelTransmit { to, segment: buffer.len() });
        }
        let instant = self.clock.instant(now);
        for session in self.sessions.values_mut().filter(|session| session.may_transmit) {
            if let Some(transmit) = session.connection.poll_transmit(instant, MAX_SEGMENTS, buffer) {
                if let Stage::Up(link) = session.stage
                    && let Some(link) = self.links.get_mut(link.0)
                {
                    link.counts.sent_bytes += buffer.len() as u64;
                }
                let segment = transmit.segment_size.unwrap_or(buffer.len());
                return Some(TunnelTransmit { to: transmit.destination, segment });
            }
            session.may_transmit = false;
            session.refresh_timeout(&self.clock);
        }
        None
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        self.events.pop_front()
    }

    /// Stops: closes the connections to the other ends.
    pub fn stop(&mut self, now: ClockTime) {
        for position in 0..self.links.len() {
            self.close(now, position, DownReason::Removed);
        }
    }

    /// Admits the peers of the keys to handshakes from now on.
    fn admit_peers(&mut self) {
        if matches!(self.role, Role::Dialer(_)) {
            return;
        }
        let peers = self.keys.peers().map(|(_, key)| *key).collect();
        let crypto = self.keys.own().and_then(|own| tls::listener(own, peers));
        let config = crypto.map(|crypto| {
            let mut config = ServerConfig::with_crypto(Arc::new(crypto));
            let mut tokens = ValidationTokenConfig::default();
            // A dialer proves its address in each handshake. Nothing that it keeps makes it known later.
            tokens.sent(0);
            config
                .transport_config(Arc::clone(&self.transport))
                .validation_token_config(tokens)
                .time_source(self.clock.source());
            Arc::new(config)
        });
        self.quic.set_server_config(config);
    }

    /// Answers the first packet of a dialer.
    fn answer_dialer(&mut self, now: ClockTime, incoming: Incoming, answer: &mut Vec<u8>) {
        // Nothing is kept, and nothing is computed with keys, for an address that has not proven that it receives: the answer
        // is a token, which is shorter than the question.
        if !incoming.remote_address_validated() {
            if let Ok(transmit) = self.quic.retry(incoming, answer) {
                self.answer(&transmit, std::mem::take(answer));
            }
            return;
        }
        let host = host_of(incoming.remote_address());
        let unfinished = || self.sessions.iter().filter(|(_, session)| session.is_unfinished());
        let of_host = unfinished().filter(|(_, session)| host_of(session.address) == host).count();
        if of_host >= MAX_OF_HOST {
            self.dropped[DropReason::Busy as usize] += 1;
            return self.quic.ignore(incoming);
        }
        // An honest handshake takes a round trip, so the oldest ones are the least likely to be finished.
        if unfinished().count() >= MAX_UNFINISHED
            && let Some(oldest) =
                unfinished().min_by_key(|(_, session)| session.since).map(|(handle, _)| *handle)
        {
            self.dropped[DropReason::Busy as usize] += 1;
            self.quic.handle_event(oldest, EndpointEvent::drained());
            self.sessions.remove(&oldest);
        }
        let instant = self.clock.instant(now);
        match self.quic.accept(incoming, instant, answer, None) {
            Ok((handle, connection)) => {
                self.sessions.insert(handle, Session::new(now, connection, false));
                self.settle(now, handle);
            }
            Err(error) => {
                self.dropped[DropReason::Malformed as usize] += 1;
                if let Some(transmit) = error.response {
                    self.answer(&transmit, std::mem::take(answer));
                }
            }
        }
    }

    fn answer(&mut self, transmit: &Transmit, mut bytes: Vec<u8>) {
        if self.answers.len() < MAX_ANSWERS {
            bytes.truncate(transmit.size);
            self.answers.push_back((transmit.destination, bytes));
        } else {
            self.dropped[DropReason::Busy as usize] += 1;
        }
    }

    /// Does what has followed from an input of a connection.
    fn settle(&mut self, now: ClockTime, handle: ConnectionHandle) {
        while let Some(session) = self.sessions.get_mut(&handle) {
            // Its last event for this end comes before the one by which the library forgets it.
            let Some(event) = session.connection.poll() else {
                let Some(event) = session.connection.poll_endpoint_events() else { break };
                let is_drained = event.is_drained();
                if let Some(event) = self.quic.handle_event(handle, event) {
                    session.connection.handle_event(event);
                }
                if is_drained {
                    self.sessions.remove(&handle);
                }
                continue;
            };
            match event {
                Event::Connected => self.connected(handle),
                Event::ConnectionLost { reason } => self.lost(now, handle, &reason),
                Event::Stream(StreamEvent::Opened { .. } | StreamEvent::Readable { .. }) => {
                    self.read_control(now, handle);
                }
                Event::Stream(StreamEvent::Writable { .. } | StreamEvent::Available { .. }) => {
                    session.control.flush(&mut session.connection);
                    self.write_wants(handle);
                }
                _ => {}
            }
        }
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        let link = match session.stage {
            Stage::Up(link) => link,
            Stage::Naming => return session.keep_early(),
            Stage::Handshake | Stage::Over => return,
        };
        let Some(link) = self.links.get_mut(link.0) else { return };
        link.receive(now, session, &mut self.events);
        if let Some(address) = session.poll_moved() {
            self.events.push_back(TunnelEvent::Moved { link: link.id, address });
        }
    }

    /// Handles that the other end has proven its key, as seen from here.
    fn connected(&mut self, handle: ConnectionHandle) {
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        (session.stage, session.key) = (Stage::Naming, tls::peer_key(&session.connection));
        if let Some(link) = self.links.first().filter(|_| session.is_dialer) {
            let message = Message::Hello { relay: self.relay, name: link.name.clone() };
            session.control.send(&mut session.connection, &message);
        }
    }

    fn read_control(&mut self, now: ClockTime, handle: ConnectionHandle) {
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        let Ok(messages) = session.control.receive(&mut session.connection) else {
            return self.fail(now, handle);
        };
        for message in messages {
            let Some(session) = self.sessions.get(&handle) else { return };
            match (message, session.stage) {
                (Message::Hello { relay, name }, Stage::Naming) if !session.is_dialer => {
                    self.decide(now, handle, relay, name);
                }
                (Message::Welcome { relay }, Stage::Naming) if session.is_dialer => {
                    if let Role::Dialer(dialer) = &mut self.role {
                        dialer.refused = None;
                    }
                    self.adopt(now, handle, 0, relay);
                }
                (Message::Wants(wants), Stage::Up(link)) => {
                    self.events.push_back(TunnelEvent::Wants { link, wants });
                }
                (Message::Unknown, _) | (_, Stage::Over) => {}
                _ => return self.fail(now, handle),
            }
        }
    }

    /// Decides whether a peer gets the tunnel that it asks for.
    fn decide(&mut self, now: ClockTime, handle: ConnectionHandle, relay: u64, name: String) {
        let instant = self.clock.instant(now);
        let key = self.sessions.get(&handle).and_then(|session| session.key);
        let is_peer = key.is_some_and(|key| self.keys.admits(&name, &key));
        let link = self.links.iter().position(|link| is_peer && link.is_open && link.name == name);
        let (reason, code) = match link {
            None => (DropReason::UnknownName, CloseCode::UnknownName),
            Some(position) => {
                let link = &self.links[position];
                let other = link.current.filter(|_| link.is_of_another(relay));
                match other.and_then(|handle| self.sessions.get_mut(&handle)) {
                    Some(other) if now < other.heard + IN_USE => {
                        // It may be gone without a word: once it has not answered for a while, another one is accepted.
                        other.connection.ping();
                        other.may_transmit = true;
                        (DropReason::InUse, CloseCode::InUse)
                    }
                    _ => {
                        let message = Message::Welcome { relay: self.relay };
                        if let Some(session) = self.sessions.get_mut(&handle) {
                            session.control.send(&mut session.connection, &message);
                        }
                        return self.adopt(now, handle, position, relay);
                    }
                }
            }
        };
        self.dropped[reason as usize] += 1;
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        session.close(instant, code);
        if code == CloseCode::UnknownName {
            self.events.push_back(TunnelEvent::UnknownName { name, address: session.address });
        }
    }

    /// Uses a connection for a tunnel from now on.
    fn adopt(&mut self, now: ClockTime, handle: ConnectionHandle, position: usize, relay: u64) {
        let instant = self.clock.instant(now);
        let Some(link) = self.links.get_mut(position) else { return };
        let (id, is_same) = (link.id, link.current.is_some() && link.peer == Some(relay));
        let before = link.adopt(handle, relay).and_then(|before| self.sessions.get_mut(&before));
        let old_address = before.map(|before| {
            before.close(instant, CloseCode::Replaced);
            before.address
        });
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        (session.stage, session.may_transmit) = (Stage::Up(id), true);
        let address = session.address;
        if !is_same {
            self.events.push_back(TunnelEvent::Up { link: id, relay, address });
        } else if old_address != Some(address) {
            self.events.push_back(TunnelEvent::Moved { link: id, address });
        }
        self.write_wants(handle);
    }

    fn write_wants(&mut self, handle: ConnectionHandle) {
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        if let Stage::Up(link) = session.stage
            && let Some(link) = self.links.get_mut(link.0)
        {
            link.write_wants(session);
        }
    }

    /// Ends a connection whose other end has broken the protocol.
    fn fail(&mut self, now: ClockTime, handle: ConnectionHandle) {
        self.dropped[DropReason::Malformed as usize] += 1;
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        if let Stage::Up(link) = session.stage {
            return self.close(now, link.0, DownReason::Failed);
        }
        session.close(self.clock.instant(now), CloseCode::Invalid);
        self.dial_after(handle, now + DIAL_INTERVAL);
    }

    /// Closes a tunnel until the next handshake.
    fn close(&mut self, now: ClockTime, position: usize, reason: DownReason) {
        let instant = self.clock.instant(now);
        let Some(link) = self.links.get_mut(position) else { return };
        let Some(handle) = link.current.take() else { return };
        self.events.push_back(TunnelEvent::Down { link: link.id, reason });
        if let Some(session) = self.sessions.get_mut(&handle) {
            let code = if reason == DownReason::Failed { CloseCode::Invalid } else { CloseCode::Goodbye };
            session.close(instant, code);
        }
        self.dial_after(handle, now + DIAL_INTERVAL);
    }

    /// Handles that a connection has ended, other than by this end.
    fn lost(&mut self, now: ClockTime, handle: ConnectionHandle, reason: &ConnectionError) {
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        let address = session.address;
        let (stage, is_dialer) = (std::mem::replace(&mut session.stage, Stage::Over), session.is_dialer);
        if let Stage::Up(link) = stage {
            let reason = match reason {
                ConnectionError::TimedOut => DownReason::Silence,
                ConnectionError::Reset => DownReason::Restarted,
                ConnectionError::ApplicationClosed(close)
                    if CloseCode::read(close.error_code) == Some(CloseCode::Goodbye) =>
                {
                    DownReason::Goodbye
                }
                _ => DownReason::Failed,
            };
            if let Some(link) = self.links.get_mut(link.0).filter(|link| link.current == Some(handle)) {
                link.current = None;
                self.events.push_back(TunnelEvent::Down { link: link.id, reason });
            }
            let is_at_once = matches!(reason, DownReason::Silence | DownReason::Restarted);
            return self.dial_after(handle, if is_at_once { now } else { now + DIAL_INTERVAL });
        }
        if stage == Stage::Over {
            return;
        }
        let is_alert = |error: &TransportError| ALERTS.contains(&u64::from(error.code));
        if matches!(reason, ConnectionError::TransportError(error) if is_alert(error)) {
            self.dropped[DropReason::WrongKey as usize] += 1;
            self.events.push_back(TunnelEvent::WrongKey { address });
        }
        if is_dialer {
            self.not_accepted(now, handle, reason);
        }
    }

    /// Handles that the listener has not accepted the tunnel.
    fn not_accepted(&mut self, now: ClockTime, handle: ConnectionHandle, reason: &ConnectionError) {
        let refused = match reason {
            ConnectionError::ApplicationClosed(close) => match CloseCode::read(close.error_code) {
                Some(CloseCode::UnknownName) => Some(RefusedBy::UnknownName),
                Some(CloseCode::InUse) => Some(RefusedBy::InUse),
                _ => None,
            },
            ConnectionError::ConnectionClosed(close) if ALERTS.contains(&u64::from(close.error_code)) => {
                Some(RefusedBy::UnknownKey)
            }
            _ => None,
        };
        let Role::Dialer(dialer) = &mut self.role else { return };
        let link = LinkId(0);
        if let Some(reason) = refused {
            if dialer.refused.replace(reason) != Some(reason) {
                self.events.push_back(TunnelEvent::Refused { link, reason });
            }
            self.dial_after(handle, now + REFUSED_INTERVAL);
        } else if *reason == ConnectionError::TimedOut {
            self.events.push_back(TunnelEvent::Unanswered { link });
            self.dial_after(handle, now);
        } else {
            self.dial_after(handle, now + REFUSED_INTERVAL);
        }
    }

    /// Lets a dialer whose connection this was dial at that time.
    fn dial_after(&mut self, handle: ConnectionHandle, at: ClockTime) {
        if let Role::Dialer(dialer) = &mut self.role
            && dialer.handle == Some(handle)
        {
            (dialer.handle, dialer.next) = (None, at);
        }
    }

    /// Begins with another handshake, unless the tunnel is up.
    fn dial_again(&mut self, now: ClockTime) {
        let instant = self.clock.instant(now);
        let Role::Dialer(dialer) = &mut self.role else { return };
        if self.links.iter().any(|link| link.current.is_some()) {
            return;
        }
        dialer.next = now;
        if let Some(session) = dialer.handle.take().and_then(|handle| self.sessions.get_mut(&handle)) {
            session.close(instant, CloseCode::Replaced);
        }
    }

    /// Returns when a dialer gives up a handshake. QUIC has such a limit, but a forged answer, such as a changed Retry, can
    /// begin its time again.
    fn unanswered_at(&self) -> Option<ClockTime> {
        let Role::Dialer(Dialer { handle: Some(handle), .. }) = &self.role else { return None };
        let session = self.sessions.get(handle)?;
        matches!(session.stage, Stage::Handshake | Stage::Naming).then(|| session.since + IDLE_TIMEOUT)
    }

    /// Returns when a dialer has to dial.
    fn dial_at(&self) -> Option<ClockTime> {
        let Role::Dialer(Dialer { address: Some(_), handle: None, next, .. }) = &self.role else {
            return None;
        };
        let name = &self.links.first()?.name;
        let has_peer = self.keys.peers().any(|(known, _)| known == name);
        (has_peer && self.keys.own().is_some()).then_some(*next)
    }

    fn dial(&mut self, now: ClockTime) {
        let instant = self.clock.instant(now);
        let (Role::Dialer(dialer), Some(link)) = (&mut self.role, self.links.first()) else { return };
        dialer.next = now + DIAL_INTERVAL;
        let peers: Vec<PeerKey> =
            self.keys.peers().filter(|(name, _)| *name == link.name).map(|(_, key)| *key).collect();
        let crypto = self.keys.own().and_then(|own| tls::dialer(own, peers));
        let (Some(crypto), Some(address)) = (crypto, dialer.address) else { return };
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport)).token_store(Arc::new(NoneTokenStore));
        // An address that cannot be dialed, such as port 0, is tried again: a later one may be set.
        if let Ok((handle, connection)) = self.quic.connect(instant, config, address, SERVER_NAME) {
            dialer.handle = Some(handle);
            self.sessions.insert(handle, Session::new(now, connection, true));
        }
    }
}

impl fmt::Debug for TunnelEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelEndpoint").field("links", &self.links).finish_non_exhaustive()
    }
}

fn derive(secret: &hmac::Key, purpose: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(secret, purpose).as_ref())
}
