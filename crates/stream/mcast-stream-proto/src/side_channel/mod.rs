//! Which clients of a TCP server beside a stream are served, when the others may come back, and at which rate bytes are
//! sent, without sockets or clocks.
//!
//! `docs/protocol.md` specifies what clients see of it, under *Snapshot servers* and *History servers*.

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::num::NonZeroU64;
use core::time::Duration;

use crate::ClockTime;
use crate::span::{share, time_for};

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
/// A client whose turn is over may be replaced after this silence. A turn is held for one that is late by this time.
const SILENCE: Duration = Duration::from_millis(250);
/// The same for a client with a turn: a slow connection takes time for a frame.
const STALL: Duration = Duration::from_secs(2);
/// While others wait, a client goes to the end of the queue after this time.
const TURN: Duration = Duration::from_secs(10);
/// How long a turn is expected to take at least before any has ended.
const FIRST_ESTIMATE: Duration = Duration::from_millis(50);
/// The average is over about this many turns.
const AVERAGE: u32 = 32;
/// The most places of an address in the queue, for each turn that it can have. Clients behind a NAT have the same address.
const PLACES_PER_TURN: usize = 16;
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The wait of a client that still has as many before it as the last time doubles up to this.
const LONGEST_DOUBLED_WAIT: Duration = Duration::from_secs(1);
/// How much later than asked a client may come back and keep its place. A lost SYN is repeated after a second.
const LATENESS: Duration = Duration::from_secs(2);
/// How often a queue is searched for clients that did not come back.
const CLEANING: Duration = Duration::from_secs(1);
/// The longest queue. A client that does not fit in comes back without a ticket.
const MOST_WAITING: usize = 16_384;
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
    /// What happens to another connection of an address that has as many as it may.
    pub excess: Excess,
}

/// What happens to another connection of an address that has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It is refused until the others have had time for their requests: for clients that try again.
    Refused,
    /// It replaces one without a turn at once: for clients that do not, which idle connections must not keep away.
    Replaces,
}

impl AdmissionLimits {
    /// The limits of history servers. Clients without a turn need a connection only until they are sent away.
    pub const HISTORY: Self = Self {
        connections: 128,
        connections_per_address: 8,
        turns: 16,
        turns_per_address: 4,
        excess: Excess::Refused,
    };
    /// The limits of snapshot servers, which send no client away.
    pub const SNAPSHOT: Self = Self {
        connections: 16,
        connections_per_address: 4,
        turns: 16,
        turns_per_address: 4,
        excess: Excess::Replaces,
    };
}

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A place in the queue of a server, or none. It has 24 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueToken(u32);

impl QueueToken {
    /// No place.
    pub const NONE: Self = Self(0);
    const BITS: u32 = 24;

    /// Returns the ticket with this number, of which the lower 24 bits count.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number & ((1 << Self::BITS) - 1))
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What to do with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectDecision {
    /// It is admitted. The connection of the client that it replaces, if any, is to be closed.
    Admitted(ClientId, Option<ClientId>),
    /// Its address has too many connections: it is to be closed.
    Refused,
    /// There is no room: pass it again after this time, and accept no other meanwhile.
    Full(Duration),
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is answered now.
    Now,
    /// The client may come back after this time, with this ticket. Its connection is to be closed.
    Retry(Duration, QueueToken),
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

#[derive(Debug)]
struct Waiting {
    /// The lower bits are the ticket. They increase from the first to the last of the queue.
    number: u64,
    address: IpAddr,
    expires_at: ClockTime,
    /// The turns that have to end before its own, and the time to come back, as of its last request.
    rank: usize,
    wait: Duration,
}

impl Waiting {
    /// Whether it is expected back soon, so that a turn is held for it. A turn is not held for a client that is away for
    /// longer, or does not come.
    fn is_near(&self, now: ClockTime) -> bool {
        let latest = self.expires_at - LATENESS - self.wait / 8 + SILENCE;
        self.wait <= LONGEST_DOUBLED_WAIT && now < latest
    }
}

/// The clients before a place in the queue.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    /// Those that can get a turn.
    all: usize,
    /// Those of them for which a turn is held.
    near: usize,
    /// Those that cannot, of the same address.
    of_address: usize,
}

/// The clients of a server.
#[derive(Debug)]
pub struct AdmissionQueue {
    limits: AdmissionLimits,
    clients: Vec<Client>,
    waiting: VecDeque<Waiting>,
    /// Since when clients wait; if none do, the time of the last request.
    waiting_since: ClockTime,
    last_client: u64,
    last_ticket: u64,
    /// How long turns take while others wait, on average, and how many such turns have ended, up to as many as the
    /// average is over.
    turn_time: Duration,
    ended_turns: u32,
    cleaned_at: ClockTime,
}

impl AdmissionQueue {
    /// Returns a server without clients.
    #[must_use]
    pub const fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            clients: Vec::new(),
            waiting: VecDeque::new(),
            waiting_since: ClockTime(0),
            last_client: 0,
            last_ticket: 0,
            turn_time: FIRST_ESTIMATE,
            ended_turns: 0,
            cleaned_at: ClockTime(0),
        }
    }

    /// Decides about a new connection. If there is no room, it replaces a client that has been silent for some time, of the
    /// same address if that has too many: the one that is silent for longest, one without a request first. Subscribers
    /// behind a NAT have the same address, so that one that would be replaced at once would never get to its request.
    pub fn connect(&mut self, now: ClockTime, address: IpAddr) -> ConnectDecision {
        let address = host(address);
        let of_address = self.clients.iter().filter(|client| client.address == address).count();
        let replaced = if of_address >= self.limits.connections_per_address {
            let has_no_turn =
                |client: &Client| self.limits.excess == Excess::Replaces && client.turn_since().is_none();
            let is_replaceable = |client: &Client| now >= client.replaceable_at() || has_no_turn(client);
            match self.most_silent(|client| client.address == address && is_replaceable(client)) {
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
            self.disconnected(now, replaced);
        }
        self.last_client += 1;
        let id = ClientId(self.last_client);
        self.clients.push(Client { id, address, phase: Phase::New, progress_at: now });
        ConnectDecision::Admitted(id, replaced)
    }

    /// Notes that the connection of a client has ended.
    pub fn disconnected(&mut self, now: ClockTime, id: ClientId) {
        self.end_turn(now, id);
        self.clients.retain(|client| client.id != id);
    }

    /// Notes that a client sent or received something.
    pub fn record_progress(&mut self, now: ClockTime, id: ClientId) {
        if let Some(client) = self.client(id) {
            client.progress_at = now;
        }
    }

    /// Decides about a valid request of a client, which has the ticket that it was last given here.
    pub fn request(&mut self, now: ClockTime, id: ClientId, ticket: QueueToken) -> Admission {
        self.clean(now);
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        if self.is_over(now, id) {
            self.end_turn(now, id);
        }
        let Some(client) = self.client(id) else { return Admission::Retry(LONGEST_WAIT, QueueToken::NONE) };
        client.progress_at = now;
        if let Some(since) = client.turn_since() {
            client.phase = Phase::Answering(since);
            return Admission::Now;
        }
        let address = client.address;
        let place = self.place(ticket, address);
        let ahead = self.ahead(now, place, address);
        let free = self.limits.turns.saturating_sub(self.turns());
        let is_address_free = self.turns_of(address) < self.limits.turns_per_address;
        if is_address_free && ahead.near < free {
            if let Some(place) = place {
                self.waiting.remove(place);
            }
            if let Some(client) = self.client(id) {
                client.phase = Phase::Answering(now);
            }
            return Admission::Now;
        }
        let (rank, expected) = match is_address_free {
            true => {
                let rank = (ahead.all + 1).saturating_sub(free);
                (rank, self.expected(now, rank, self.limits.turns, |_| true))
            }
            false => {
                let (rank, turns) = (ahead.of_address + 1, self.limits.turns_per_address);
                (rank, self.expected(now, rank, turns, |client| client.address == address))
            }
        };
        let wait = (expected / 2).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        self.queue(now, place, Waiting { number: 0, address, expires_at: now, rank, wait })
    }

    /// Whether the turn of a client is over because it has lasted for long and others wait.
    #[must_use]
    pub fn is_over(&self, now: ClockTime, id: ClientId) -> bool {
        let client = self.clients.iter().find(|client| client.id == id);
        match client.map(|client| client.phase) {
            Some(Phase::Answering(since) | Phase::BetweenRequests(since)) => {
                !self.waiting.is_empty() && now >= since + TURN
            }
            Some(Phase::New) => false,
            Some(Phase::Done) | None => true,
        }
    }

    /// Notes that a request is answered: whether up to the end of what there is at present. Then the turn is over if
    /// others wait.
    pub fn answered(&mut self, now: ClockTime, id: ClientId, is_at_end: bool) {
        if is_at_end && !self.waiting.is_empty() {
            self.end_turn(now, id);
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

    /// Returns the number of clients in the queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a client is connected, or was sent away and is expected back.
    #[must_use]
    pub fn is_in_use(&self, now: ClockTime) -> bool {
        !self.clients.is_empty() || self.waiting.iter().any(|waiting| now < waiting.expires_at)
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id == id)
    }

    /// Returns which of these clients is silent for longest, one without a request first.
    fn most_silent(&self, counts: impl Fn(&Client) -> bool) -> Option<ClientId> {
        let counted = self.clients.iter().filter(|client| counts(client));
        counted.min_by_key(|client| (client.phase != Phase::New, client.progress_at)).map(|client| client.id)
    }

    fn end_turn(&mut self, now: ClockTime, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        let Some(since) = client.turn_since() else { return };
        client.phase = Phase::Done;
        // A turn that nobody waits for can last for any time, which shows nothing about turns that others wait for.
        let was_over = since + TURN <= self.waiting_since;
        if self.waiting.is_empty() || was_over {
            return;
        }
        let time = now.since(since.max(self.waiting_since)).min(TURN);
        self.ended_turns = (self.ended_turns + 1).min(AVERAGE);
        self.turn_time = ((self.ended_turns - 1) * self.turn_time + time) / self.ended_turns.max(1);
    }

    /// Ends turns in which nothing happens, and forgets clients that did not come back.
    fn clean(&mut self, now: ClockTime) {
        let is_first_gone = self.waiting.front().is_some_and(|first| now >= first.expires_at);
        if is_first_gone || now >= self.cleaned_at + CLEANING {
            self.waiting.retain(|waiting| now < waiting.expires_at);
            self.cleaned_at = now;
        }
        if self.waiting.is_empty() {
            return;
        }
        let is_unused = |client: &&Client| match client.phase {
            Phase::BetweenRequests(_) => now >= client.replaceable_at(),
            // A connection on which nothing moves does not notice that its turn is over.
            Phase::Answering(since) => now >= since + TURN + STALL,
            Phase::New | Phase::Done => false,
        };
        while let Some(id) = self.clients.iter().find(is_unused).map(|client| client.id) {
            self.end_turn(now, id);
        }
    }

    fn turns_of(&self, address: IpAddr) -> usize {
        let of_address = self.clients.iter().filter(|client| client.address == address);
        of_address.filter(|client| client.turn_since().is_some()).count()
    }

    /// Returns where in the queue this ticket is.
    fn place(&self, ticket: QueueToken, address: IpAddr) -> Option<usize> {
        if ticket == QueueToken::NONE {
            return None;
        }
        let age = QueueToken::new((self.last_ticket as u32).wrapping_sub(ticket.number())).number();
        let number = self.last_ticket.checked_sub(u64::from(age))?;
        let place = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        // Of another server, or of this one before it was restarted, it may have the number of another client.
        self.waiting.get(place).is_some_and(|waiting| waiting.address == address).then_some(place)
    }

    /// Returns which clients are before this place in the queue, or at its end before a new client of this address.
    fn ahead(&self, now: ClockTime, place: Option<usize>, address: IpAddr) -> Ahead {
        let mut full: Vec<(IpAddr, usize)> = Vec::new();
        for client in self.clients.iter().filter(|client| client.turn_since().is_some()) {
            match full.iter_mut().find(|(address, _)| *address == client.address) {
                Some((_, turns)) => *turns += 1,
                None => full.push((client.address, 1)),
            }
        }
        full.retain(|(_, turns)| *turns >= self.limits.turns_per_address);
        let mut ahead = Ahead::default();
        for waiting in self.waiting.iter().take(place.unwrap_or(self.waiting.len())) {
            match full.iter().any(|(address, _)| *address == waiting.address) {
                false => {
                    ahead.all += 1;
                    ahead.near += usize::from(waiting.is_near(now));
                }
                true => ahead.of_address += usize::from(waiting.address == address),
            }
        }
        ahead
    }

    /// Returns the time in which this many turns are expected to end, of those that these clients have at a time.
    fn expected(
        &self,
        now: ClockTime,
        rank: usize,
        turns: usize,
        counts: impl Fn(&Client) -> bool,
    ) -> Duration {
        let counted = self.clients.iter().filter(|client| counts(client));
        let mut begun: Vec<ClockTime> = counted.filter_map(Client::turn_since).collect();
        begun.sort_unstable();
        let turn_time = match (self.ended_turns, begun.first()) {
            // They may last as long again as they have lasted while others waited.
            (0, Some(oldest)) => self.turn_time.max(2 * now.since(self.waiting_since.max(*oldest))),
            _ => self.turn_time,
        };
        let turn_time = turn_time.min(TURN);
        // Turns that began together end together.
        let last = begun.get(rank.saturating_sub(1)).or_else(|| begun.last());
        let left = last.map_or(Duration::ZERO, |since| turn_time.saturating_sub(now.since(*since)));
        left.max(share(turn_time, rank as u64, turns as u64))
    }

    /// Keeps the place of a client in the queue, or gives it one at the end; returns when it is to come back.
    fn queue(&mut self, now: ClockTime, place: Option<usize>, mut client: Waiting) -> Admission {
        let known = place.and_then(|place| self.waiting.get_mut(place));
        if let Some(known) = known.as_deref().filter(|known| known.rank <= client.rank) {
            // Turns take longer than expected.
            client.wait = client.wait.max((2 * known.wait).min(LONGEST_DOUBLED_WAIT));
        }
        let wait = client.wait;
        // Clients add a random time to it.
        client.expires_at = now + wait + wait / 4 + LATENESS;
        if let Some(known) = known {
            let ticket = QueueToken::new(known.number as u32);
            *known = Waiting { number: known.number, ..client };
            return Admission::Retry(wait, ticket);
        }
        let of_address = self.waiting.iter().filter(|waiting| waiting.address == client.address).count();
        let most_of_address = PLACES_PER_TURN * self.limits.turns_per_address;
        if self.waiting.len() >= MOST_WAITING || of_address >= most_of_address {
            return Admission::Retry(wait, QueueToken::NONE);
        }
        self.last_ticket += 1;
        if QueueToken::new(self.last_ticket as u32) == QueueToken::NONE {
            self.last_ticket += 1;
        }
        self.waiting.push_back(Waiting { number: self.last_ticket, ..client });
        Admission::Retry(wait, QueueToken::new(self.last_ticket as u32))
    }
}

/// Returns the address that limits count: of IPv6, the network, from which a host can choose any address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}
