//! One socket of tunnels: handshakes, and which tunnel a datagram belongs to.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_stream_proto::seal::Keys;

use crate::event::{DownReason, LinkCounts, LinkId, RefusedBy, TunnelEvent, TunnelTransmit};
use crate::link::{Link, SILENCE};
use crate::session::{DropReason, Session, TunnelDatagram, TunnelWant};
use crate::wire::{self, Hello, Packet, Verdict, Welcome};

/// The time between attempts of a dialer.
const DIAL_INTERVAL: Duration = Duration::from_secs(1);
/// The same while the listener refuses.
const REFUSED_INTERVAL: Duration = Duration::from_secs(3);
/// Attempts after which the address is resolved again.
const ATTEMPTS: u32 = 5;
/// The age at which keys are replaced.
const REKEY: Duration = Duration::from_secs(900);
/// A relay that was received less than this time ago keeps its tunnel.
const IN_USE: Duration = Duration::from_millis(2_500);
/// Cookies of this period and the one before are valid.
const COOKIE_PERIOD: Duration = Duration::from_secs(60);
/// Handshakes of a tunnel of which the first datagram of data is awaited.
const MAX_PENDING: usize = 4;
const PENDING_LIFETIME: Duration = Duration::from_secs(10);

/// What an endpoint is made of.
pub struct EndpointConfig {
    /// The secrets that both ends share.
    pub keys: Keys,
    /// The identifier of this relay, another one after each start.
    pub relay: u64,
    /// Returns numbers that nobody can predict, and none of them twice.
    pub random: Box<dyn FnMut() -> u64 + Send>,
    /// Whether it dials or listens.
    pub role: EndpointRole,
}

/// Whether an endpoint dials or listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointRole {
    /// It dials the tunnel with this name, once [`TunnelEndpoint::set_address`] has been called.
    Dialer(String),
    /// It listens for the tunnels that [`TunnelEndpoint::set_names`] names.
    Listener,
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A tunnel of an endpoint, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// The relay at the other end and its address, while the tunnel is up.
    pub peer: Option<(u64, SocketAddr)>,
    /// The round trip, once it has been measured.
    pub round_trip: Option<Duration>,
    /// What it has carried.
    pub counts: LinkCounts,
}

/// One end of tunnels that share a socket.
///
/// ```
/// use mcast_pace::ClockTime;
/// use mcast_tunnel::{EndpointConfig, EndpointRole, Keys, TunnelEndpoint};
///
/// let role = EndpointRole::Dialer("paris".into());
/// let mut random = 1..;
/// let random = Box::new(move || random.next().unwrap_or_default());
/// let mut site = TunnelEndpoint::new(EndpointConfig { keys: Keys::none(), relay: 7, random, role });
/// site.set_address(ClockTime::START, "203.0.113.1:5700".parse()?);
/// site.handle_timeout(ClockTime::START);
/// assert!(site.poll_transmit().is_none(), "nothing is sent without a key");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub struct TunnelEndpoint {
    keys: Keys,
    relay: u64,
    random: Box<dyn FnMut() -> u64 + Send>,
    role: Role,
    links: Vec<Link>,
    transmits: VecDeque<TunnelTransmit>,
    events: VecDeque<TunnelEvent>,
    dropped: [u64; DropReason::ALL.len()],
}

#[derive(Debug)]
enum Role {
    Dialer(Dialer),
    Listener { cookies: RandomState, pending: Vec<Pending> },
}

#[derive(Debug, Default)]
struct Dialer {
    address: Option<SocketAddr>,
    /// The nonce, count and cookie of the present handshake.
    handshake: Option<(u64, u64, u64)>,
    next: ClockTime,
    attempts: u32,
    /// What the listener has said, until the tunnel is up.
    refused: Option<RefusedBy>,
}

/// A handshake that the listener has accepted, and the dialer has not confirmed.
#[derive(Debug)]
struct Pending {
    link: LinkId,
    session: Session,
    relay: u64,
    address: SocketAddr,
    until: ClockTime,
}

impl TunnelEndpoint {
    /// Creates an endpoint whose tunnels are down.
    #[must_use]
    pub fn new(config: EndpointConfig) -> Self {
        let (role, links) = match config.role {
            EndpointRole::Dialer(name) => (Role::Dialer(Dialer::default()), vec![Link::new(LinkId(0), name)]),
            EndpointRole::Listener => {
                (Role::Listener { cookies: RandomState::new(), pending: Vec::new() }, Vec::new())
            }
        };
        let EndpointConfig { keys, relay, random, .. } = config;
        let (transmits, events) = (VecDeque::new(), VecDeque::new());
        Self { keys, relay, random, role, links, transmits, events, dropped: Default::default() }
    }

    /// Sets the address that a dialer dials. A tunnel that is up moves there with the next handshake only.
    pub fn set_address(&mut self, now: ClockTime, address: SocketAddr) {
        if let Role::Dialer(dialer) = &mut self.role
            && dialer.address != Some(address)
        {
            (dialer.address, dialer.handshake, dialer.next) = (Some(address), None, now);
        }
    }

    /// Sets the names of the tunnels that a listener accepts.
    pub fn set_names(&mut self, names: &BTreeSet<String>) {
        if matches!(self.role, Role::Dialer(_)) {
            return;
        }
        for link in &mut self.links {
            link.is_open = names.contains(&link.name);
            if !link.is_open {
                link.close(DownReason::Removed);
            }
        }
        for name in names {
            if self.link(name).is_none() {
                self.links.push(Link::new(LinkId(self.links.len()), name.clone()));
            }
        }
    }

    /// Replaces the secrets. Tunnels that are sealed with one that is no longer known are down at once, and dialers
    /// begin a handshake with the latest one.
    pub fn set_keys(&mut self, now: ClockTime, keys: Keys) {
        for link in &mut self.links {
            if link.session().is_some_and(|(session, _)| !keys.has(session.epoch())) {
                link.close(DownReason::KeyRemoved);
            }
        }
        match &mut self.role {
            Role::Dialer(dialer) => (dialer.handshake, dialer.next) = (None, now),
            Role::Listener { pending, .. } => pending.clear(),
        }
        self.keys = keys;
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
            let status = link.status();
            LinkStatus {
                name: link.name.clone(),
                peer: status.map(|(relay, address, _)| (relay, address)),
                round_trip: status.and_then(|(.., round_trip)| round_trip),
                counts: link.counts,
            }
        };
        let open = self.links.iter().enumerate().filter(|(_, link)| link.is_open);
        open.map(move |(number, link)| (LinkId(number), status(link)))
    }

    /// Returns the reasons for which datagrams were dropped, with their numbers.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0)
    }

    /// Sets what this end wants to receive from a tunnel.
    pub fn set_wants(&mut self, now: ClockTime, link: LinkId, wants: Vec<TunnelWant>) {
        if let Some(link) = self.links.get_mut(link.0) {
            link.set_wants(now, wants);
        }
    }

    /// Sends a datagram into a tunnel. With a bound, it is repaired in that time if it is lost. Returns whether the
    /// tunnel is up.
    pub fn send(
        &mut self,
        now: ClockTime,
        link: LinkId,
        datagram: &TunnelDatagram,
        bound: Option<Duration>,
    ) -> bool {
        self.links.get_mut(link.0).is_some_and(|link| link.send(now, datagram, bound))
    }

    /// Handles a datagram, which is decrypted in place.
    pub fn handle_datagram(&mut self, now: ClockTime, from: SocketAddr, bytes: &mut [u8]) {
        let result = match wire::parse(bytes) {
            None => Err(DropReason::Malformed),
            Some(Packet::Data { session, counter }) => {
                self.receive_data(now, from, (session, counter), bytes)
            }
            Some(Packet::Hello) => self.receive_hello(now, from, bytes),
            Some(Packet::Cookie { nonce, count, cookie }) => {
                self.receive_cookie(now, from, (nonce, count), cookie)
            }
            Some(Packet::Welcome { dialer_nonce }) => self.receive_welcome(now, from, dialer_nonce, bytes),
        };
        if let Err(reason) = result {
            self.dropped[reason as usize] += 1;
        }
    }

    /// Handles that the system has refused a datagram to this address because of its length.
    pub fn handle_too_large(&mut self, now: ClockTime, to: SocketAddr) {
        let is_meant = |link: &&mut Link| link.status().is_some_and(|(_, address, _)| address == to);
        self.links.iter_mut().filter(is_meant).for_each(|link| link.shrink(now));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: ClockTime) {
        self.links.iter_mut().for_each(|link| link.handle_timeout(now));
        if let Role::Listener { pending, .. } = &mut self.role {
            pending.retain(|pending| pending.until > now);
        }
        if self.dial_at().is_some_and(|at| at <= now) {
            self.dial(now);
        }
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        self.links.iter().filter_map(Link::deadline).chain(self.dial_at()).min()
    }

    /// Returns the next datagram to send. Frames that are waiting are packed into as few as possible, so call this after
    /// everything that has happened at the same time.
    pub fn poll_transmit(&mut self) -> Option<TunnelTransmit> {
        if let Some(transmit) = self.transmits.pop_front() {
            return Some(transmit);
        }
        self.links.iter_mut().find_map(|link| {
            link.flush();
            link.transmits.pop_front()
        })
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        let of_link = self.links.iter_mut().find_map(|link| link.events.pop_front());
        of_link.or_else(|| self.events.pop_front())
    }

    /// Stops: says goodbye to the other ends.
    pub fn stop(&mut self) {
        self.links.iter_mut().for_each(|link| link.close(DownReason::Removed));
    }

    fn receive_data(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        (session, counter): (u64, u64),
        bytes: &mut [u8],
    ) -> Result<(), DropReason> {
        let Self { links, role, random, .. } = self;
        if let Role::Listener { pending, .. } = role
            && let Some(position) = pending.iter().position(|pending| pending.session.id() == session)
        {
            // The first datagram of data confirms the handshake. It is read below, with its number as new.
            let mut copy = bytes.to_vec();
            pending[position].session.open(counter, &mut copy)?;
            let Pending { link, session: confirmed, relay, address, .. } = pending.swap_remove(position);
            pending.retain(|pending| pending.link != link);
            let link = links.get_mut(link.0).ok_or(DropReason::UnknownSession)?;
            let nonces = confirmed.nonces();
            link.adopt(now, Session::new(&self.keys, confirmed.epoch(), nonces, false), relay, address);
        }
        for link in links {
            match link.receive(now, from, (session, counter), bytes, &mut *random) {
                Err(DropReason::UnknownSession) => {}
                result => return result,
            }
        }
        Err(DropReason::UnknownSession)
    }

    fn receive_hello(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Result<(), DropReason> {
        let Role::Listener { cookies, pending } = &mut self.role else { return Err(DropReason::Malformed) };
        let Some(hello) = Hello::open(&self.keys, bytes) else {
            self.events.push_back(TunnelEvent::WrongKey { address: from });
            return Err(DropReason::Unsealed);
        };
        // The cookie proves that the dialer receives at its address. It is computed from the address, so that nothing is kept
        // of those who never return it, and the answer is smaller than the question, so that it does not help an attacker.
        let period = (now - ClockTime::START).as_secs() / COOKIE_PERIOD.as_secs();
        let cookie = |period: u64| cookies.hash_one((from, period));
        if hello.cookie != cookie(period) && (period == 0 || hello.cookie != cookie(period - 1)) {
            let bytes = wire::emit_cookie(&hello, cookie(period));
            self.transmits.push_back(TunnelTransmit { to: from, bytes });
            return Ok(());
        }
        let link = self.links.iter_mut().find(|link| link.is_open && link.name == hello.name);
        let verdict = match link {
            None => Verdict::UnknownName,
            Some(link) if link.is_of_another(hello.relay) && link.was_heard_within(now, IN_USE) => {
                // The other relay may be gone without a word: once it has not answered for a while, a hello is accepted.
                link.ping_now(now);
                Verdict::InUse
            }
            Some(_) => Verdict::Accepted,
        };
        // A hello that is repeated, since the welcome was lost, gets the same one: both ends compute one session.
        let is_known = |known: &&Pending| known.session.nonces().0 == hello.nonce && known.address == from;
        let known = pending.iter().find(is_known).map(|known| known.session.nonces().1);
        let listener_nonce = known.unwrap_or_else(|| (self.random)());
        let welcome = Welcome {
            dialer_nonce: hello.nonce,
            count: hello.count,
            epoch: hello.epoch,
            listener_nonce,
            relay: self.relay,
            verdict,
        };
        let Some(bytes) = welcome.emit(&self.keys) else { return Err(DropReason::Unsealed) };
        self.transmits.push_back(TunnelTransmit { to: from, bytes });
        match verdict {
            Verdict::Accepted if known.is_some() => {}
            Verdict::Accepted => self.await_confirmation(now, from, &hello, listener_nonce),
            Verdict::InUse => return Err(DropReason::InUse),
            Verdict::UnknownName => {
                self.events.push_back(TunnelEvent::UnknownName { name: hello.name, address: from });
                return Err(DropReason::UnknownName);
            }
        }
        Ok(())
    }

    fn await_confirmation(&mut self, now: ClockTime, from: SocketAddr, hello: &Hello, listener_nonce: u64) {
        let (Some(link), Role::Listener { pending, .. }) = (self.link(&hello.name), &mut self.role) else {
            return;
        };
        // Each attempt of a dialer is one of these, so the oldest is the one that it has most likely given up.
        let of_link = pending.iter().filter(|pending| pending.link == link).count();
        if of_link >= MAX_PENDING
            && let Some(oldest) = pending.iter().position(|pending| pending.link == link)
        {
            pending.remove(oldest);
        }
        let session = Session::new(&self.keys, hello.epoch, (hello.nonce, listener_nonce), false);
        let (relay, until) = (hello.relay, now + PENDING_LIFETIME);
        pending.push(Pending { link, session, relay, address: from, until });
    }

    fn receive_cookie(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        (nonce, count): (u64, u64),
        cookie: u64,
    ) -> Result<(), DropReason> {
        let Role::Dialer(dialer) = &mut self.role else { return Err(DropReason::Malformed) };
        match &mut dialer.handshake {
            Some((known, last, value))
                if (*known, *last) == (nonce, count) && dialer.address == Some(from) =>
            {
                // A second one is for the next attempt: otherwise both ends could exchange these without a pause.
                if std::mem::replace(value, cookie) == 0 {
                    self.hello(now);
                }
                Ok(())
            }
            _ => Err(DropReason::Replayed),
        }
    }

    fn receive_welcome(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        nonce: u64,
        bytes: &mut [u8],
    ) -> Result<(), DropReason> {
        let Role::Dialer(dialer) = &mut self.role else { return Err(DropReason::Malformed) };
        if dialer.handshake.is_none_or(|(known, ..)| known != nonce) || dialer.address != Some(from) {
            return Err(DropReason::Replayed);
        }
        let Some(welcome) = Welcome::open(&self.keys, bytes) else { return Err(DropReason::Unsealed) };
        let Some(link) = self.links.first_mut() else { return Ok(()) };
        (dialer.handshake, dialer.attempts) = (None, 0);
        let refused = match welcome.verdict {
            Verdict::Accepted => None,
            Verdict::UnknownName => Some(RefusedBy::UnknownName),
            Verdict::InUse => Some(RefusedBy::InUse),
        };
        let before = std::mem::replace(&mut dialer.refused, refused);
        if let Some(reason) = refused {
            dialer.next = now + REFUSED_INTERVAL;
            if before != refused {
                self.events.push_back(TunnelEvent::Refused { link: LinkId(0), reason });
            }
            return Ok(());
        }
        let nonces = (welcome.dialer_nonce, welcome.listener_nonce);
        link.adopt(now, Session::new(&self.keys, welcome.epoch, nonces, true), welcome.relay, from);
        // The first ping confirms the handshake.
        link.handle_timeout(now);
        Ok(())
    }

    /// Returns when a dialer has to begin or repeat a handshake.
    fn dial_at(&self) -> Option<ClockTime> {
        let Role::Dialer(dialer) = &self.role else { return None };
        if dialer.address.is_none() || self.keys.is_empty() {
            return None;
        }
        let link = self.links.first()?;
        let due = match link.session() {
            None => ClockTime::START,
            Some((session, _)) if session.epoch() != self.keys.latest() => ClockTime::START,
            // After a short silence, while the tunnel still counts as up: a listener that has restarted knows no session, and
            // answers nothing but a handshake.
            Some((_, since)) => (since + REKEY).min(link.silent_at(SILENCE)),
        };
        Some(due.max(dialer.next))
    }

    fn dial(&mut self, now: ClockTime) {
        let Role::Dialer(dialer) = &mut self.role else { return };
        if dialer.handshake.is_none() {
            dialer.handshake = Some(((self.random)(), 0, 0));
        }
        dialer.next = now + DIAL_INTERVAL;
        dialer.attempts += 1;
        if dialer.attempts.is_multiple_of(ATTEMPTS) {
            // Each nonce is used for a few attempts only.
            dialer.handshake = Some(((self.random)(), 0, 0));
            self.events.push_back(TunnelEvent::Unanswered { link: LinkId(0) });
        }
        self.hello(now);
    }

    fn hello(&mut self, now: ClockTime) {
        let Role::Dialer(dialer) = &mut self.role else { return };
        let (Some((nonce, count, cookie)), Some(to)) = (&mut dialer.handshake, dialer.address) else {
            return;
        };
        *count += 1;
        dialer.next = now + DIAL_INTERVAL;
        let Some(link) = self.links.first() else { return };
        let hello = Hello {
            nonce: *nonce,
            count: *count,
            epoch: self.keys.latest(),
            cookie: *cookie,
            relay: self.relay,
            name: link.name.clone(),
        };
        let bytes = hello.emit(&self.keys);
        self.transmits.extend(bytes.map(|bytes| TunnelTransmit { to, bytes }));
    }
}

impl fmt::Debug for TunnelEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelEndpoint").field("links", &self.links).finish_non_exhaustive()
    }
}
