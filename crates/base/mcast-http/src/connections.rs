//! The connections of a server: which clients are admitted, what a request must be, and which clients are dropped.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_pace::{ClockTime, ReportLimiter, ReportQuota, WithheldReport};

use crate::connection::{ConnectionState, HttpConnection, Outbox, Subscription};
use crate::request::MAX_HEAD;
use crate::{Feed, HttpEvent, HttpRefusal, HttpRefused, HttpRequest, RefusalCounts, response};

/// The time in which a request must be complete.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The time in which a client must take some of a response, or close the connection after it.
const ENDING_TIME: Duration = Duration::from_secs(2);
/// The time that a client has to take a response in any case.
const RESPONSE_TIME: Duration = Duration::from_secs(60);
/// The time without anything to send after which something is sent to clients of events.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often clients are looked at.
const TICK: Duration = Duration::from_millis(250);

/// The number of a connection, given by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpClientId(pub u64);

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// The largest number of clients that receive a stream at the same time.
    pub max_clients: usize,
    /// Connections beside those.
    pub spare: usize,
    /// A client of a stream is dropped if it takes nothing, or remains behind, for this time.
    pub stall: Duration,
    /// The bytes of responses that wait for clients, of all of them together.
    pub max_waiting: usize,
    /// The name of the server for clients that it asks for a token.
    pub realm: &'static str,
    /// What to do if there are too many clients, in words.
    pub busy_advice: &'static str,
}

/// What a client has sent.
#[derive(Debug)]
pub enum Arrived {
    /// Nothing to act on.
    Nothing,
    /// A request, and the bytes after it.
    Request(Box<HttpRequest>, Vec<u8>),
    /// Bytes on the connection of a stream.
    Bytes,
}

/// What is due for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// It does not take what is sent, so its stream must end.
    Drop,
    /// Nothing has been sent for a while, so something should be.
    KeepAlive,
}

/// The connections of a server. `T` names the stream that a client receives.
#[derive(Debug)]
pub struct Connections<T> {
    limits: HttpLimits,
    clients: BTreeMap<HttpClientId, HttpConnection<T>>,
    next_client: u64,
    next_tick: ClockTime,
    sent_bytes: u64,
    refused: RefusalCounts,
    events: VecDeque<HttpEvent>,
    reports: ReportLimiter<HttpRefusal, HttpEvent>,
}

impl<T> Connections<T> {
    /// Creates a server without connections.
    #[must_use]
    pub const fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            clients: BTreeMap::new(),
            next_client: 0,
            next_tick: ClockTime::START,
            sent_bytes: 0,
            refused: RefusalCounts::NONE,
            events: VecDeque::new(),
            reports: ReportLimiter::new(ReportQuota::LOG),
        }
    }

    /// Handles a connection. Returns `None` if there are too many that receive a stream: it must be closed.
    pub fn handle_connect(
        &mut self,
        now: ClockTime,
        listener: SocketAddr,
        address: SocketAddr,
    ) -> Option<HttpClientId> {
        let limit = self.limits.max_clients.saturating_add(self.limits.spare);
        if self.open() >= limit {
            self.refused(now, listener, address, &self.busy("there are too many connections"));
            // Connections without a stream must not keep others out. The driver closes them after this.
            let has_room = self.clients.len() < limit.saturating_add(self.limits.spare);
            self.idlest().filter(|_| has_room)?.state = ConnectionState::Gone;
        }
        let id = HttpClientId(self.next_client);
        self.next_client += 1;
        self.clients.insert(id, HttpConnection::new(now, listener, address));
        Some(id)
    }

    /// Handles bytes of a client, and refuses what is not a request.
    pub fn handle_bytes(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]) -> Arrived {
        let Some(client) = self.clients.get_mut(&id) else { return Arrived::Nothing };
        match &mut client.state {
            ConnectionState::Request(head) => {
                head.extend(bytes.iter().take(MAX_HEAD + 1 - head.len()));
                // Only the end of a line can complete it.
                match bytes.contains(&b'\n') || head.len() > MAX_HEAD {
                    true => {
                        let head = std::mem::take(head);
                        self.receive_head(now, id, head)
                    }
                    false => Arrived::Nothing,
                }
            }
            ConnectionState::Stream(_) => Arrived::Bytes,
            ConnectionState::Ending(_) | ConnectionState::Gone => Arrived::Nothing,
        }
    }

    fn receive_head(&mut self, now: ClockTime, id: HttpClientId, head: Vec<u8>) -> Arrived {
        let parsed = match HttpRequest::parse(&head) {
            Ok(None) if head.len() > MAX_HEAD => {
                let text = format!("the request is longer than {MAX_HEAD} bytes");
                Err(HttpRefused::new(HttpRefusal::TooLarge, text))
            }
            parsed => parsed,
        };
        match parsed {
            Ok(Some(request)) => {
                let rest = head.get(request.length..).unwrap_or_default().to_vec();
                return Arrived::Request(Box::new(request), rest);
            }
            Ok(None) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.state = ConnectionState::Request(head);
                }
            }
            Err(refusal) => self.refuse(now, id, &refusal, false),
        }
        Arrived::Nothing
    }

    /// Handles that a client has closed its connection, or that it has failed. Returns the stream that it received.
    pub fn handle_disconnected(&mut self, id: HttpClientId) -> Option<Subscription<T>> {
        match self.clients.remove(&id)?.state {
            ConnectionState::Stream(subscription) => Some(subscription),
            ConnectionState::Request(_) | ConnectionState::Ending(_) | ConnectionState::Gone => None,
        }
    }

    /// Handles that this many bytes have been written to a client, with the feed of its stream.
    pub fn handle_written(&mut self, now: ClockTime, id: HttpClientId, count: usize, feed: Option<&Feed>) {
        if let Some(client) = self.clients.get_mut(&id) {
            self.sent_bytes += count as u64;
            client.wrote(now, count, feed);
        }
    }

    /// Reports refusals that were withheld. Returns whether the clients must be looked at, each by [`Self::check`].
    pub fn handle_timeout(&mut self, now: ClockTime) -> bool {
        while let Some(WithheldReport { latest, more, .. }) = self.reports.poll_report(now) {
            self.events.push_back(HttpEvent { count: more + 1, ..latest });
        }
        let is_due = now >= self.next_tick;
        if is_due {
            self.next_tick = now + TICK;
        }
        is_due
    }

    /// Returns when to call [`Self::handle_timeout`] next, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let tick = (!self.clients.is_empty()).then_some(self.next_tick);
        tick.into_iter().chain(self.reports.poll_timeout()).min()
    }

    /// Ends what is due to end for a client, and returns what is due for its stream. `has_pending`: whether there is something
    /// to write to it.
    pub fn check(&mut self, now: ClockTime, id: HttpClientId, has_pending: bool) -> Due {
        let stall = self.limits.stall;
        let Some(client) = self.clients.get_mut(&id) else { return Due::Nothing };
        // Writing anything resets this, so a client that takes some bytes in this time is not blocked, but it may fall behind.
        if has_pending {
            client.blocked_since.get_or_insert(now);
        } else {
            client.blocked_since = None;
        }
        let is_over = |since: Option<ClockTime>| since.is_some_and(|since| now >= since + stall);
        match &client.state {
            ConnectionState::Request(_) if now >= client.since + REQUEST_TIME => {
                let text = format!("the request was not complete within {} s", REQUEST_TIME.as_secs());
                self.refuse(now, id, &HttpRefused::new(HttpRefusal::Timeout, text), false);
            }
            ConnectionState::Ending(since)
                if now >= *since + RESPONSE_TIME || now >= client.last_sent.max(*since) + ENDING_TIME =>
            {
                client.state = ConnectionState::Gone;
            }
            // It takes nothing, or less than arrives. The second kind would miss parts as long as it stays.
            ConnectionState::Stream(own) if is_over(client.blocked_since) || is_over(own.behind_since) => {
                return Due::Drop;
            }
            ConnectionState::Stream(_) if !has_pending && now >= client.last_sent + KEEP_ALIVE => {
                return Due::KeepAlive;
            }
            _ => {}
        }
        Due::Nothing
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<HttpEvent> {
        self.events.pop_front()
    }

    /// Starts a stream for a client: the response begins with `head`.
    pub fn start(&mut self, id: HttpClientId, subscription: Subscription<T>, head: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.state = ConnectionState::Stream(subscription);
            client.outbox.push(head);
        }
    }

    /// Ends a stream after `last` and what is being sent. Returns it.
    pub fn end_stream(&mut self, now: ClockTime, id: HttpClientId, last: &[u8]) -> Option<Subscription<T>> {
        let client = self.clients.get_mut(&id)?;
        if !matches!(client.state, ConnectionState::Stream(_)) {
            return None;
        }
        client.outbox.push(last);
        match std::mem::replace(&mut client.state, ConnectionState::Ending(now)) {
            ConnectionState::Stream(subscription) => Some(subscription),
            ConnectionState::Request(_) | ConnectionState::Ending(_) | ConnectionState::Gone => None,
        }
    }

    /// Ends the connection of a client that does not take its stream, which is returned: it does not take a last response
    /// either. `why` states what it received.
    pub fn drop_stalled(
        &mut self,
        now: ClockTime,
        id: HttpClientId,
        why: impl FnOnce(&Subscription<T>) -> String,
    ) -> Option<Subscription<T>> {
        let client = self.clients.get_mut(&id)?;
        let text = why(client.subscription()?);
        let (listener, address) = (client.listener, client.address);
        let state = std::mem::replace(&mut client.state, ConnectionState::Gone);
        self.refused(now, listener, address, &HttpRefused::new(HttpRefusal::Stalled, text));
        match state {
            ConnectionState::Stream(subscription) => Some(subscription),
            ConnectionState::Request(_) | ConnectionState::Ending(_) | ConnectionState::Gone => None,
        }
    }

    /// Refuses a request.
    pub fn refuse(&mut self, now: ClockTime, id: HttpClientId, refusal: &HttpRefused, is_head: bool) {
        let Some(client) = self.clients.get(&id) else { return };
        self.refused(now, client.listener, client.address, refusal);
        self.end(now, id, &response::refusal(refusal, self.limits.realm, is_head));
    }

    /// Sends a last response.
    pub fn end(&mut self, now: ClockTime, id: HttpClientId, response: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.state = ConnectionState::Ending(now);
            client.outbox = Outbox::default();
            client.outbox.push(response);
        }
        self.bound_waiting(id);
    }

    /// Drops clients that do not take their responses until those that wait have a bounded length together.
    fn bound_waiting(&mut self, latest: HttpClientId) {
        while self.waiting() > self.limits.max_waiting {
            let others = self.clients.iter_mut().filter(|(id, _)| **id != latest);
            let Some((_, longest)) = others.max_by_key(|(_, client)| client.outbox.own_len()) else { return };
            (longest.state, longest.outbox) = (ConnectionState::Gone, Outbox::default());
        }
    }

    /// Returns whether another client at this address may receive a stream.
    ///
    /// # Errors
    /// If there are too many, or this address has half of them.
    pub fn admit(&self, address: IpAddr) -> Result<(), HttpRefused> {
        let streams = self.clients.values().filter(|client| client.subscription().is_some());
        let (mut all, mut own) = (0, 0);
        for client in streams {
            all += 1;
            own += usize::from(client.address.ip() == address);
        }
        if all >= self.limits.max_clients {
            return Err(self.busy("there are too many clients"));
        }
        if !address.is_loopback() && own >= self.limits.max_clients.div_ceil(2) {
            return Err(self.busy(&format!("{address} has half of all clients")));
        }
        Ok(())
    }

    /// Returns the refusal of what would be too much.
    #[must_use]
    pub fn busy(&self, problem: &str) -> HttpRefused {
        HttpRefused::new(HttpRefusal::Busy, format!("{problem}: {}", self.limits.busy_advice))
    }

    /// Returns whether nothing more is written to a client, so that its connection must be shut down for writing.
    #[must_use]
    pub fn is_ending(&self, id: HttpClientId) -> bool {
        self.clients.get(&id).is_none_or(|client| match client.state {
            ConnectionState::Ending(_) => client.outbox.is_empty(),
            ConnectionState::Gone => true,
            ConnectionState::Request(_) | ConnectionState::Stream(_) => false,
        })
    }

    /// Returns whether the connection of a client must be closed. The driver then reports that it has been.
    #[must_use]
    pub fn is_gone(&self, id: HttpClientId) -> bool {
        self.clients.get(&id).is_none_or(|client| matches!(client.state, ConnectionState::Gone))
    }

    /// Returns a connection.
    #[must_use]
    pub fn get(&self, id: HttpClientId) -> Option<&HttpConnection<T>> {
        self.clients.get(&id)
    }

    /// Returns a connection, to change it.
    pub fn get_mut(&mut self, id: HttpClientId) -> Option<&mut HttpConnection<T>> {
        self.clients.get_mut(&id)
    }

    /// Returns all connections.
    pub fn iter(&self) -> impl Iterator<Item = (HttpClientId, &HttpConnection<T>)> {
        self.clients.iter().map(|(id, client)| (*id, client))
    }

    /// Returns the numbers of all connections.
    #[must_use]
    pub fn ids(&self) -> Vec<HttpClientId> {
        self.clients.keys().copied().collect()
    }

    /// Returns the bounds.
    #[must_use]
    pub const fn limits(&self) -> &HttpLimits {
        &self.limits
    }

    /// Returns the bytes sent to all clients.
    #[must_use]
    pub const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Returns the bytes that wait for all clients, beside the streams that they share.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.clients.values().map(|client| client.outbox.own_len()).sum()
    }

    /// Returns how often something was refused, by reason.
    #[must_use]
    pub const fn refusals(&self) -> &RefusalCounts {
        &self.refused
    }

    /// Returns the number of connections that are not about to be closed.
    fn open(&self) -> usize {
        self.clients.values().filter(|client| !matches!(client.state, ConnectionState::Gone)).count()
    }

    /// Returns the oldest connection without a stream, of the address that has most of these.
    fn idlest(&mut self) -> Option<&mut HttpConnection<T>> {
        let is_idle = |client: &HttpConnection<T>| {
            matches!(client.state, ConnectionState::Request(_) | ConnectionState::Ending(_))
        };
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for client in self.clients.values().filter(|client| is_idle(client)) {
            *counts.entry(client.address.ip()).or_default() += 1;
        }
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        self.clients.values_mut().find(|client| is_idle(client) && client.address.ip() == most)
    }

    /// Counts a refusal, and reports it if that is due.
    fn refused(&mut self, now: ClockTime, listener: SocketAddr, client: SocketAddr, refusal: &HttpRefused) {
        let HttpRefused { reason, ref text } = *refusal;
        self.refused.add(reason);
        let event = HttpEvent { listener, client, reason, count: 1, text: text.clone() };
        self.events.extend(self.reports.handle_report(now, reason, Some(client.ip()), event));
    }
}
