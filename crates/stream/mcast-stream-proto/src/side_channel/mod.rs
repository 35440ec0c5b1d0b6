//! Which clients of a TCP server beside a stream are served, when the others may come back, and at which rate bytes are
//! sent, without sockets or clocks.
//!
//! `docs/protocol.md` specifies what clients see of it, under *History servers*.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::num::NonZeroU64;
use core::time::Duration;

use crate::ClockTime;
use crate::span::time_for;

/// Bytes that were not sent for this time may be sent later.
const BURST: Duration = Duration::from_millis(10);

/// Limits what a server sends to all of its clients. Those that always have something to receive get equal shares,
/// because each waits for its last frame.
#[derive(Clone, Copy, Debug)]
pub struct SharedPace {
    /// When everything that was sent may have been sent.
    due: ClockTime,
    /// Bytes per second.
    rate: NonZeroU64,
}

impl SharedPace {
    /// Bytes per second to all clients together by default: half of a link of 1 Gbit/s, so that the live stream has room
    /// beside them.
    pub const RATE: NonZeroU64 = NonZeroU64::new(64_000_000).unwrap();

    /// Returns the pace of a server that starts now, in bytes per second.
    #[must_use]
    pub const fn new(now: ClockTime, rate: NonZeroU64) -> Self {
        Self { due: now, rate }
    }

    /// Returns its rate, in bytes per second.
    #[must_use]
    pub const fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// Counts bytes that were sent to a client; returns how long to wait before more is sent to it.
    pub fn spend(&mut self, now: ClockTime, bytes: usize) -> Duration {
        self.due = self.due.max(now - BURST) + time_for(bytes as u64, self.rate.get());
        self.due.since(now)
    }
}

/// A client that has made no request, or is between two of them, may be replaced by a new one after this time, and a turn
/// without a request ends after it if others wait. A request arrives one or two round trips after the connection was
/// accepted, or the last answer sent.
const REQUEST_TIME: Duration = Duration::from_secs(1);
/// A client whose turn is over may be replaced after this silence.
const SILENCE: Duration = Duration::from_millis(250);
/// The same for a client with a turn: a slow connection takes time for a frame.
const STALL: Duration = Duration::from_secs(2);
/// While others wait, the turn of a client ends after this time.
const TURN: Duration = Duration::from_secs(10);
/// Clients that are sent away come back one after the other, this far apart: each costs a connection.
const RETURN_INTERVAL: Duration = Duration::from_millis(2);
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// Also the most that several addresses which ask again and again in turn make others wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The wait of a client whose address has as many turns as it may, which keeps nobody else waiting.
const ADDRESS_WAIT: Duration = Duration::from_millis(500);
/// How much later than asked a client may come back and is still expected. A lost SYN is repeated after a second.
const LATENESS: Duration = Duration::from_secs(2);
/// How long the caller waits before it passes a connection again for which there is no room.
const NO_ROOM: Duration = Duration::from_millis(20);

/// The most clients of a server, in all and of one address.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections.
    pub connections: usize,
    /// Connections of an address. The addresses of an IPv6 network of 64 bits count as one.
    pub connections_per_address: usize,
    /// Turns at a time.
    pub turns: usize,
    /// Turns of an address.
    pub turns_per_address: usize,
}

impl AdmissionLimits {
    /// The limits of a server. Clients without a turn need a connection only until they are sent away.
    pub const HISTORY: Self =
        Self { connections: 128, connections_per_address: 8, turns: 16, turns_per_address: 4 };
}

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What to do with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectDecision {
    /// It is admitted. The connection of the client that it replaces, if any, must be closed.
    Admitted(ClientId, Option<ClientId>),
    /// Its address has too many connections: it must be closed.
    Refused,
    /// There is no room: pass it again after this time, and accept no other meanwhile.
    Full(Duration),
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is answered now.
    Now,
    /// The client may come back after this time. Its connection must be closed.
    Retry(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has made no request.
    New,
    /// It has a turn since this time.
    Answering(ClockTime),
    /// It has a turn since this time, and no request is under way.
    BetweenRequests(ClockTime),
    /// Its turn is over.
    Done,
}

#[derive(Debug)]
struct Client {
    id: ClientId,
    address: IpAddr,
    phase: Phase,
    /// When it last sent or received something.
    progress_at: ClockTime,
}

impl Client {
    const fn turn_since(&self) -> Option<ClockTime> {
        match self.phase {
            Phase::Answering(since) | Phase::BetweenRequests(since) => Some(since),
            Phase::New | Phase::Done => None,
        }
    }

    /// Returns when it may be replaced.
    fn replaceable_at(&self) -> ClockTime {
        let silence = match self.phase {
            Phase::New | Phase::BetweenRequests(_) => REQUEST_TIME,
            Phase::Answering(_) => STALL,
            Phase::Done => SILENCE,
        };
        self.progress_at + silence
    }
}

/// The clients of a server.
///
/// A client gets a turn if one is free when it asks, and is otherwise sent away for some time. No queue is kept: the times are
/// such that clients come back one after the other, so that a turn that becomes free is taken soon, and a crowd costs a bounded
/// number of connections per second, however long it waits.
#[derive(Debug)]
pub struct AdmissionControl {
    limits: AdmissionLimits,
    clients: Vec<Client>,
    last_client: u64,
    /// When the client comes back that was sent away last, and its address.
    last_return: ClockTime,
    last_away: Option<IpAddr>,
    /// Until when a client that was sent away may come back: others wait.
    awaited_until: ClockTime,
}

impl AdmissionControl {
    /// Returns a server without clients.
    #[must_use]
    pub const fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            clients: Vec::new(),
            last_client: 0,
            last_return: ClockTime(0),
            last_away: None,
            awaited_until: ClockTime(0),
        }
    }

    /// Decides about a new connection. If there is no room, it replaces a client that has been silent for some time, of the
    /// same address if that has too many: the one that is silent for longest, one without a request first. Subscribers
    /// behind a NAT have the same address, so that one that would be replaced at once would never get to its request.
    pub fn connect(&mut self, now: ClockTime, address: IpAddr) -> ConnectDecision {
        let address = host(address);
        let of_address = self.clients.iter().filter(|client| client.address == address).count();
        let replaced = if of_address >= self.limits.connections_per_address {
            match self.most_silent(|client| client.address == address && now >= client.replaceable_at()) {
                None => return ConnectDecision::Refused,
                replaced => replaced,
            }
        } else if self.clients.len() >= self.limits.connections {
            match self.most_silent(|client| now >= client.replaceable_at()) {
                None => return ConnectDecision::Full(NO_ROOM),
                replaced => replaced,
            }
        } else {
            None
        };
        if let Some(replaced) = replaced {
            self.disconnected(replaced);
        }
        self.last_client += 1;
        let id = ClientId(self.last_client);
        self.clients.push(Client { id, address, phase: Phase::New, progress_at: now });
        ConnectDecision::Admitted(id, replaced)
    }

    /// Notes that the connection of a client has ended.
    pub fn disconnected(&mut self, id: ClientId) {
        self.clients.retain(|client| client.id != id);
    }

    /// Notes that a client sent or received something.
    pub fn record_progress(&mut self, now: ClockTime, id: ClientId) {
        if let Some(client) = self.client(id) {
            client.progress_at = now;
        }
    }

    /// Decides about a valid request of a client.
    pub fn request(&mut self, now: ClockTime, id: ClientId) -> Admission {
        self.end_unused_turns(now);
        if self.is_over(now, id) {
            self.end_turn(id);
        }
        let (turns, limits) = (self.turns(), self.limits);
        let Some(client) = self.client(id) else { return Admission::Retry(LONGEST_WAIT) };
        client.progress_at = now;
        if let Some(since) = client.turn_since() {
            client.phase = Phase::Answering(since);
            return Admission::Now;
        }
        // One whose turn has ended for others does not take it again before they come.
        let (address, has_had_its_turn) = (client.address, client.phase == Phase::Done);
        let is_address_full = self.turns_of(address) >= limits.turns_per_address;
        if turns >= limits.turns || is_address_full || has_had_its_turn {
            return Admission::Retry(self.postpone(now, address, is_address_full));
        }
        if let Some(client) = self.client(id) {
            client.phase = Phase::Answering(now);
        }
        Admission::Now
    }

    /// Whether the turn of a client is over because it has lasted for long and others wait.
    #[must_use]
    pub fn is_over(&self, now: ClockTime, id: ClientId) -> bool {
        let client = self.clients.iter().find(|client| client.id == id);
        match client.map(|client| client.phase) {
            Some(Phase::Answering(since) | Phase::BetweenRequests(since)) => {
                self.do_others_wait(now) && now >= since + TURN
            }
            Some(Phase::New) => false,
            Some(Phase::Done) | None => true,
        }
    }

    /// Notes that a request is answered: whether up to the end of what there is at present. Then the turn is over if
    /// others wait.
    pub fn answered(&mut self, now: ClockTime, id: ClientId, is_at_end: bool) {
        if is_at_end && self.do_others_wait(now) {
            self.end_turn(id);
        }
        if let Some(client) = self.client(id) {
            client.progress_at = now;
            if let Phase::Answering(since) = client.phase {
                client.phase = Phase::BetweenRequests(since);
            }
        }
    }

    /// Returns the number of connected clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.clients.len()
    }

    /// Returns the number of clients that have a turn.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.clients.iter().filter(|client| client.turn_since().is_some()).count()
    }

    /// Whether a client is connected, or was sent away and is expected back.
    #[must_use]
    pub fn is_in_use(&self, now: ClockTime) -> bool {
        !self.clients.is_empty() || self.do_others_wait(now)
    }

    /// Whether a client that was sent away is expected back.
    fn do_others_wait(&self, now: ClockTime) -> bool {
        now < self.awaited_until
    }

    /// Returns when a client is to come back: after those that were sent away before, in turn.
    fn postpone(&mut self, now: ClockTime, address: IpAddr, is_address_full: bool) -> Duration {
        let wait = if is_address_full {
            ADDRESS_WAIT
        } else {
            // Turns that have lasted for some time will probably last for as long again.
            let begun = self.clients.iter().filter_map(Client::turn_since).max().unwrap_or(now);
            let least = (now.since(begun).min(TURN) / 8).max(SHORTEST_WAIT);
            // An address that asks again and again keeps its place, and delays no other.
            let interval = if self.last_away == Some(address) { Duration::ZERO } else { RETURN_INTERVAL };
            let at = (self.last_return + interval).max(now + least).min(now + LONGEST_WAIT);
            (self.last_return, self.last_away) = (at, Some(address));
            at.since(now)
        };
        // Clients add a random time to it.
        self.awaited_until = self.awaited_until.max(now + wait + wait / 4 + LATENESS);
        wait
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id == id)
    }

    /// Returns which of these clients is silent for longest, one without a request first.
    fn most_silent(&self, counts: impl Fn(&Client) -> bool) -> Option<ClientId> {
        let counted = self.clients.iter().filter(|client| counts(client));
        counted.min_by_key(|client| (client.phase != Phase::New, client.progress_at)).map(|client| client.id)
    }

    fn end_turn(&mut self, id: ClientId) {
        if let Some(client) = self.client(id).filter(|client| client.turn_since().is_some()) {
            client.phase = Phase::Done;
        }
    }

    /// Ends turns in which nothing happens while others wait.
    fn end_unused_turns(&mut self, now: ClockTime) {
        if !self.do_others_wait(now) {
            return;
        }
        for client in &mut self.clients {
            let is_unused = match client.phase {
                Phase::BetweenRequests(_) => now >= client.replaceable_at(),
                // A connection on which nothing moves does not notice that its turn is over.
                Phase::Answering(since) => now >= since + TURN + STALL,
                Phase::New | Phase::Done => false,
            };
            if is_unused {
                client.phase = Phase::Done;
            }
        }
    }

    fn turns_of(&self, address: IpAddr) -> usize {
        let of_address = self.clients.iter().filter(|client| client.address == address);
        of_address.filter(|client| client.turn_since().is_some()).count()
    }
}

/// Returns the address that limits count: of IPv6, the network, from which a host can choose any address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}
