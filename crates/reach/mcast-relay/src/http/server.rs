//! The server: connections, and the groups that they receive.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::{Membership, SourceFilter};
use mcast_pace::{ClockTime, ReportLimiter, ReportQuota, WithheldReport};

use super::access::{self, Access};
use super::channel::{Channel, ChannelKey, Feed, HttpDemand, Start};
use super::client::{Client, ClientState, Outbox, Subscription};
use super::encode::{self, ClientFrame, CloseCode, FrameReader, Opcode};
use super::listing::Listing;
use super::refusal::{HttpCounts, HttpRefusal, Refusal};
use super::request::{self, MAX_HEAD, Method, Request};
use super::resource::{self, Resource, StreamKind};
use super::silence::{HttpLapse, HttpRejoin};
use super::{HttpConfig, HttpDatagram, HttpEvent, HttpRule, Playlist, pages, response};

/// The time in which a request must be complete.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The time in which a client must take some of a response, or close the connection after it.
const ENDING_TIME: Duration = Duration::from_secs(2);
/// The time that a client has to take a response in any case.
const RESPONSE_TIME: Duration = Duration::from_secs(60);
/// The bytes of responses that wait for clients, of all of them together.
const MAX_WAITING: usize = 64 << 20;
/// The time without datagrams after which something else is sent to clients of events.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often clients are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Connections beside those that receive a stream.
const SPARE_CONNECTIONS: usize = 64;
/// The largest number of streams at the same time: of groups in one form.
const MAX_STREAMS: usize = 256;
/// The bytes that are kept for all streams together, and for each.
const MAX_KEPT: usize = 64 << 20;
const MAX_KEPT_EACH: usize = 4 << 20;
/// The time after which a browser connects again: before a stream without clients is forgotten.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// The number of a connection, given by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpClientId(pub u64);

/// Serves groups to HTTP clients. Its driver passes connections, what arrives on them, and datagrams; it writes what
/// [`Self::poll_transmit`] returns, and receives what [`Self::poll_demand`] returns.
#[derive(Debug)]
pub struct HttpServer {
    pub(super) config: HttpConfig,
    pub(super) clients: BTreeMap<HttpClientId, Client>,
    pub(super) channels: BTreeMap<ChannelKey, Channel>,
    pub(super) listing: Listing,
    pub(super) counts: HttpCounts,
    next_client: u64,
    epochs: u64,
    next_tick: ClockTime,
    is_demand_changed: bool,
    rejoins: VecDeque<HttpRejoin>,
    lapses: VecDeque<HttpLapse>,
    events: VecDeque<HttpEvent>,
    reports: ReportLimiter<HttpRefusal, HttpEvent>,
}

impl HttpServer {
    /// Creates a server without rules.
    #[must_use]
    pub fn new(mut config: HttpConfig) -> Self {
        let listing = Listing::new(std::mem::take(&mut config.playlist));
        Self {
            config,
            clients: BTreeMap::new(),
            channels: BTreeMap::new(),
            listing,
            counts: HttpCounts::default(),
            next_client: 0,
            epochs: 0,
            next_tick: ClockTime::START,
            is_demand_changed: false,
            rejoins: VecDeque::new(),
            lapses: VecDeque::new(),
            events: VecDeque::new(),
            reports: ReportLimiter::new(ReportQuota::LOG),
        }
    }

    /// Replaces what requests must have, and the playlist. Streams that are being sent continue, except for those of groups that
    /// only the former playlist named.
    pub fn set_access(&mut self, now: ClockTime, token: Option<String>, playlist: Playlist) {
        self.config.token = token;
        self.listing.set_playlist(playlist);
        self.end_unnamed(now);
    }

    /// Replaces the rules. The streams of groups that they no longer name end.
    pub fn set_rules(&mut self, now: ClockTime, rules: Vec<HttpRule>) {
        self.listing.set_rules(rules);
        self.end_unnamed(now);
    }

    fn end_unnamed(&mut self, now: ClockTime) {
        self.is_demand_changed = true;
        for (key, channel) in &mut self.channels {
            channel.rule = self.listing.rule_of(key).unwrap_or(channel.rule);
        }
        let is_gone = |client: &Client| {
            let is_named = |key: &ChannelKey| self.listing.names(client.listener, key);
            client.subscription().is_some_and(|subscription| !is_named(&subscription.channel))
        };
        let gone: Vec<_> =
            self.clients.iter().filter(|(_, client)| is_gone(client)).map(|(id, _)| *id).collect();
        for id in gone {
            self.end_stream(now, id, CloseCode::GoingAway);
        }
    }

    /// Handles a connection. Returns `None` if there are too many that receive a stream: it must be closed.
    pub fn handle_connect(
        &mut self,
        now: ClockTime,
        listener: SocketAddr,
        address: SocketAddr,
    ) -> Option<HttpClientId> {
        let limit = self.config.max_clients.saturating_add(SPARE_CONNECTIONS);
        if self.connections() >= limit {
            self.refused(now, listener, address, &busy("there are too many connections"));
            // Connections without a stream must not keep others out. The driver closes them after this.
            let has_room = self.clients.len() < limit.saturating_add(SPARE_CONNECTIONS);
            self.idlest().filter(|_| has_room)?.state = ClientState::Gone;
        }
        let id = HttpClientId(self.next_client);
        self.next_client += 1;
        self.clients.insert(id, Client::new(now, listener, address));
        Some(id)
    }

    /// Handles bytes of a client.
    pub fn handle_bytes(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        match &mut client.state {
            ClientState::Request(head) => {
                head.extend(bytes.iter().take(MAX_HEAD + 1 - head.len()));
                // Only the end of a line can complete it.
                if bytes.contains(&b'\n') || head.len() > MAX_HEAD {
                    let head = std::mem::take(head);
                    self.receive_head(now, id, head);
                }
            }
            ClientState::Stream(subscription) if subscription.kind.is_websocket() => {
                self.receive_frames(now, id, bytes);
            }
            ClientState::Stream(_) | ClientState::Ending(_) | ClientState::Gone => {}
        }
    }

    /// Handles that a client has closed its connection, or that it has failed.
    pub fn handle_disconnected(&mut self, now: ClockTime, id: HttpClientId) {
        if let Some(client) = self.clients.remove(&id)
            && let ClientState::Stream(subscription) = client.state
        {
            self.unsubscribe(now, &subscription);
        }
    }

    /// Handles a datagram.
    pub fn handle_datagram(&mut self, now: ClockTime, datagram: &HttpDatagram) {
        let capacity = self.capacity();
        let (leg, address) = (datagram.leg, datagram.address);
        let first = ChannelKey { leg, address, sources: SourceFilter::NONE };
        for (key, channel) in self.channels.range_mut(first..) {
            if (key.leg, key.address) != (leg, address) {
                break;
            }
            if key.sources.admits(datagram.source.ip()) {
                channel.receive(now, datagram, capacity);
                let found = channel.silence.receive(now);
                self.lapses.extend(found.map(|(after, every)| HttpLapse { leg, address, after, every }));
                self.counts.datagrams += 1;
            }
        }
    }

    /// Returns what to write to a client. The driver reports what it has written by [`Self::handle_written`] before any other
    /// call.
    pub fn poll_transmit(&mut self, now: ClockTime, id: HttpClientId) -> Vec<IoSlice<'_>> {
        let Some(client) = self.clients.get_mut(&id) else { return Vec::new() };
        let channel = client.subscription().and_then(|subscription| self.channels.get(&subscription.channel));
        if let Some(channel) = channel {
            self.counts.skipped += client.catch_up(now, channel);
        }
        let Some(client) = self.clients.get(&id) else { return Vec::new() };
        client.slices(feed_of(&self.channels, client))
    }

    /// Returns whether there is something to write to a client.
    #[must_use]
    pub fn has_pending(&self, id: HttpClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| client.has_pending(feed_of(&self.channels, client)))
    }

    /// Handles that this many bytes of [`Self::poll_transmit`] have been written.
    pub fn handle_written(&mut self, now: ClockTime, id: HttpClientId, count: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        self.counts.sent_bytes += count as u64;
        let feed = feed_of(&self.channels, client);
        client.wrote(now, count, feed);
    }

    /// Returns whether nothing more is written to a client, so that its connection must be shut down for writing.
    #[must_use]
    pub fn is_ending(&self, id: HttpClientId) -> bool {
        self.clients.get(&id).is_none_or(|client| match client.state {
            ClientState::Ending(_) => client.outbox.is_empty(),
            ClientState::Gone => true,
            ClientState::Request(_) | ClientState::Stream(_) => false,
        })
    }

    /// Returns whether the connection of a client must be closed. The driver then calls [`Self::handle_disconnected`].
    #[must_use]
    pub fn is_gone(&self, id: HttpClientId) -> bool {
        self.clients.get(&id).is_none_or(|client| matches!(client.state, ClientState::Gone))
    }

    /// Does what is due at this time.
    pub fn handle_timeout(&mut self, now: ClockTime) {
        let capacity = self.capacity();
        let before = self.channels.len();
        self.channels.retain(|_, channel| channel.expire(now, capacity));
        self.is_demand_changed |= self.channels.len() < before;
        self.forget_sent();
        self.rejoin_silent(now);
        while let Some(WithheldReport { latest, more, .. }) = self.reports.poll_report(now) {
            self.events.push_back(HttpEvent { count: more + 1, ..latest });
        }
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            self.check_client(now, id);
        }
    }

    /// Requests that groups that have fallen silent are joined again.
    fn rejoin_silent(&mut self, now: ClockTime) {
        let due = self.channels.iter_mut().filter(|(_, channel)| channel.clients() > 0);
        let due = due.filter_map(|(key, channel)| channel.silence.is_due(now).then_some((key, channel)));
        let due: Vec<_> = due.map(|(key, channel)| (key.clone(), channel.silence.is_silent(now))).collect();
        for (key, is_silent) in due {
            // The membership is in order if another source of the group arrives.
            let arrives = |(other, channel): (&ChannelKey, &Channel)| {
                (other.leg, other.address.group) == (key.leg, key.address.group)
                    && !channel.silence.is_silent(now)
            };
            if !is_silent || !self.channels.iter().any(arrives) {
                self.rejoins.push_back(HttpRejoin { leg: key.leg, address: key.address });
            }
        }
    }

    /// Keeps only what a client lacks or may request again.
    fn forget_sent(&mut self) {
        self.channels.values_mut().for_each(Channel::need_nothing);
        for subscription in self.clients.values().filter_map(Client::subscription) {
            if let Some(channel) = self.channels.get_mut(&subscription.channel) {
                channel.need(subscription.kind, subscription.cursor.position);
            }
        }
        self.channels.values_mut().for_each(Channel::forget_sent);
    }

    /// Returns when to call [`Self::handle_timeout`] next, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let channels = self.channels.values().filter_map(Channel::deadline).min();
        let tick = (!self.clients.is_empty()).then_some(self.next_tick);
        let reports = self.reports.poll_timeout();
        channels.into_iter().chain(tick).chain(reports).min()
    }

    /// Returns the groups to receive, if they have changed.
    pub fn poll_demand(&mut self) -> Option<HttpDemand> {
        std::mem::take(&mut self.is_demand_changed).then(|| {
            let mut demand = HttpDemand::default();
            for (key, channel) in &self.channels {
                demand.add(key.leg, key.address, &key.sources, channel.rule);
            }
            demand
        })
    }

    /// Returns the next group to leave and to join again.
    pub fn poll_rejoin(&mut self) -> Option<HttpRejoin> {
        self.rejoins.pop_front()
    }

    /// Returns the next group of which it is known that the network forgets its members.
    pub fn poll_lapse(&mut self) -> Option<HttpLapse> {
        self.lapses.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<HttpEvent> {
        self.events.pop_front()
    }

    /// Returns the counters.
    #[must_use]
    pub fn counts(&self) -> HttpCounts {
        let (clients, groups) = (self.streaming(), self.channels.len());
        let mut counts = self.counts.clone();
        (counts.clients, counts.groups) = (clients, groups);
        counts
    }

    /// Returns the number of connections that are not about to be closed.
    fn connections(&self) -> usize {
        self.clients.values().filter(|client| !matches!(client.state, ClientState::Gone)).count()
    }

    /// Returns the oldest connection without a stream, of the address that has most of these.
    fn idlest(&mut self) -> Option<&mut Client> {
        let is_idle =
            |client: &Client| matches!(client.state, ClientState::Request(_) | ClientState::Ending(_));
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for client in self.clients.values().filter(|client| is_idle(client)) {
            *counts.entry(client.address.ip()).or_default() += 1;
        }
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        self.clients.values_mut().find(|client| is_idle(client) && client.address.ip() == most)
    }

    /// Returns the number of streams that clients at this address receive.
    fn streams_of(&self, address: IpAddr) -> usize {
        let is_stream = |client: &&Client| client.subscription().is_some() && client.address.ip() == address;
        self.clients.values().filter(is_stream).count()
    }

    fn streaming(&self) -> usize {
        self.channels.values().map(Channel::clients).sum()
    }

    /// Returns the bytes that are kept for each stream.
    fn capacity(&self) -> usize {
        (MAX_KEPT / self.streams().max(1)).min(MAX_KEPT_EACH)
    }

    fn streams(&self) -> usize {
        self.channels.values().map(Channel::streams).sum()
    }

    fn receive_head(&mut self, now: ClockTime, id: HttpClientId, head: Vec<u8>) {
        let parsed = match request::parse(&head) {
            Ok(None) if head.len() > MAX_HEAD => {
                let text = format!("the request is longer than {MAX_HEAD} bytes");
                Err(Refusal::new(HttpRefusal::TooLarge, text))
            }
            parsed => parsed,
        };
        let request = match parsed {
            Ok(Some(request)) => request,
            Ok(None) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.state = ClientState::Request(head);
                }
                return;
            }
            Err(refusal) => return self.refuse(now, id, &refusal, false),
        };
        if let Err(refusal) = self.answer(now, id, &request) {
            self.refuse(now, id, &refusal, request.is_head());
        }
        // A client may have sent frames together with its request.
        self.handle_bytes(now, id, head.get(request.length..).unwrap_or_default());
    }

    fn answer(&mut self, now: ClockTime, id: HttpClientId, request: &Request) -> Result<(), Refusal> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        let (peer, listener) = (client.address.ip(), client.listener);
        // Limits and reports are for the client, not for the proxy. Its port is not known.
        if let Some(address) = access::client(request, &self.config, peer) {
            client.address = SocketAddr::new(address, 0);
        }
        let base = access::base(request, &self.config, peer, &listener.to_string());
        // Browsers request it beside whatever they show: nothing is refused that somebody asked for.
        if base.within(&request.path) == "/favicon.ico" {
            self.end(now, id, &response::no_icon());
            return Ok(());
        }
        let access = access::check(request, &self.config, peer, base)?;
        if request.method == Method::Options {
            self.end(now, id, &response::preflight(&request.preflight, access.origin.as_deref()));
            return Ok(());
        }
        let page = match resource::find(request, access.base.within(&request.path))? {
            Resource::Stream { kind, membership } => {
                return self.open_stream(now, id, request, kind, &membership, &access);
            }
            Resource::Channel(name) => {
                let (kind, membership) =
                    self.listing.stream_of(listener, &name).ok_or_else(resource::nothing)?;
                return self.open_stream(now, id, request, kind, &membership, &access);
            }
            Resource::Status { json } => {
                let (content_type, body) = self.status(now, listener, json, access.base.prefix());
                response::page(content_type, &body, &access, request)
            }
            Resource::Index => {
                let page = pages::index(access.base.prefix());
                response::page(pages::HTML, &page, &access, request)
            }
            Resource::Playlist => {
                let token = self.config.token.as_deref().map(access::escaped);
                let (base, requested) = (access.base.to_string(), self.channels.keys());
                let body = self.listing.write(listener, requested, &base, token.as_deref());
                response::kept_page("audio/x-mpegurl; charset=utf-8", &body, &access, request)
            }
        };
        self.end(now, id, &page);
        Ok(())
    }

    fn open_stream(
        &mut self,
        now: ClockTime,
        id: HttpClientId,
        request: &Request,
        kind: StreamKind,
        membership: &Membership,
        access: &Access,
    ) -> Result<(), Refusal> {
        let Some(client) = self.clients.get(&id) else { return Ok(()) };
        let (rule, key) = self.listing.find(client.listener, membership)?;
        let mut head = match (kind.is_websocket(), &request.websocket_key) {
            (false, _) => response::stream_head(kind, access),
            (true, Some(key)) if !request.is_head() => {
                let accept = encode::accept_key(key).ok_or_else(not_a_websocket)?;
                response::upgrade(&accept)
            }
            (true, _) => return Err(not_a_websocket()),
        };
        if request.is_head() {
            self.end(now, id, &head);
            return Ok(());
        }
        // Nothing is created before all that can refuse the client has been checked.
        let is_new = self.channels.get(&key).is_none_or(|channel| channel.feed(kind).is_none());
        if self.streaming() >= self.config.max_clients || is_new && self.streams() >= MAX_STREAMS {
            return Err(busy("there are too many clients"));
        }
        let address = client.address.ip();
        if !address.is_loopback() && self.streams_of(address) >= self.config.max_clients.div_ceil(2) {
            return Err(busy(&format!("{address} has half of all clients")));
        }
        self.is_demand_changed |= !self.channels.contains_key(&key);
        let epoch = self.next_epoch();
        let channel = self.channels.entry(key.clone()).or_insert_with(|| Channel::new(now, rule, epoch));
        let parameter = request.parameter("last-event-id");
        let last_event_id = request.last_event_id.as_deref().or(parameter.as_deref());
        let Start { cursor, gap } = channel.subscribe(kind, last_event_id);
        if kind == StreamKind::Sse {
            head.extend(RETRY);
        }
        head.extend(gap);
        // The head states what the client missed, so the gap is known before the first item.
        self.counts.served += 1;
        let (behind_since, skipped, frames) = (None, 0, FrameReader::default());
        if let Some(client) = self.clients.get_mut(&id) {
            client.state = ClientState::Stream(Subscription {
                channel: key,
                kind,
                cursor,
                behind_since,
                skipped,
                frames,
            });
            client.outbox.push(&head);
        }
        Ok(())
    }

    fn receive_frames(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(client) = self.clients.get_mut(&id)
            && let ClientState::Stream(subscription) = &mut client.state
            && let Some((frame, after)) = subscription.frames.read(rest)
        {
            rest = after;
            match frame {
                // A client that does not read the replies receives no more of them.
                ClientFrame::Ping(payload) if !client.outbox.is_full() => {
                    client.outbox.push(&encode::frame(Opcode::Pong, &payload));
                }
                ClientFrame::Ping(_) | ClientFrame::Pong => {}
                ClientFrame::Close => self.end_stream(now, id, CloseCode::GoingAway),
                ClientFrame::Refused(code) => self.end_stream(now, id, code),
            }
        }
    }

    /// Ends what is due to end, and keeps the rest alive.
    fn check_client(&mut self, now: ClockTime, id: HttpClientId) {
        let has_pending = self.has_pending(id);
        let Some(client) = self.clients.get_mut(&id) else { return };
        // Writing anything resets this, so a client that takes some bytes in this time is not blocked, but it may fall behind.
        if has_pending {
            client.blocked_since.get_or_insert(now);
        } else {
            client.blocked_since = None;
        }
        let is_over = |since: Option<ClockTime>| since.is_some_and(|since| now >= since + self.config.stall);
        match &client.state {
            ClientState::Request(_) if now >= client.since + REQUEST_TIME => {
                let text = format!("the request was not complete within {} s", REQUEST_TIME.as_secs());
                self.refuse(now, id, &Refusal::new(HttpRefusal::Timeout, text), false);
            }
            ClientState::Ending(since)
                if now >= *since + RESPONSE_TIME || now >= client.last_sent.max(*since) + ENDING_TIME =>
            {
                client.state = ClientState::Gone;
            }
            // It takes nothing, or less than arrives. The second kind would miss parts as long as it stays.
            ClientState::Stream(own) if is_over(client.blocked_since) || is_over(own.behind_since) => {
                self.drop_stalled(now, id);
            }
            ClientState::Stream(own) if !has_pending && now >= client.last_sent + KEEP_ALIVE => {
                let bytes = encode::keep_alive(own.kind);
                client.outbox.push(&bytes);
            }
            _ => {}
        }
    }

    fn drop_stalled(&mut self, now: ClockTime, id: HttpClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let (listener, address) = (client.listener, client.address);
        // Gone, not ending: a client that takes nothing does not take a last response either.
        if let ClientState::Stream(subscription) = std::mem::replace(&mut client.state, ClientState::Gone) {
            let text = format!(
                "dropped from {}, because it took less than was sent: {} datagrams behind",
                subscription.channel.address, subscription.skipped
            );
            self.unsubscribe(now, &subscription);
            self.refused(now, listener, address, &Refusal::new(HttpRefusal::Stalled, text));
        }
    }

    /// Ends a stream: what is being sent is completed.
    fn end_stream(&mut self, now: ClockTime, id: HttpClientId, code: CloseCode) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let ending = ClientState::Ending(now);
        if let ClientState::Stream(subscription) = std::mem::replace(&mut client.state, ending) {
            if subscription.kind.is_websocket() {
                client.outbox.push(&encode::close(code));
            }
            self.unsubscribe(now, &subscription);
        }
    }

    fn unsubscribe(&mut self, now: ClockTime, subscription: &Subscription) {
        if let Some(channel) = self.channels.get_mut(&subscription.channel) {
            channel.unsubscribe(now, subscription.kind);
        }
    }

    fn refuse(&mut self, now: ClockTime, id: HttpClientId, refusal: &Refusal, is_head: bool) {
        let Some(client) = self.clients.get(&id) else { return };
        self.refused(now, client.listener, client.address, refusal);
        self.end(now, id, &response::refusal(refusal, is_head));
    }

    /// Sends a last response.
    fn end(&mut self, now: ClockTime, id: HttpClientId, response: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.state = ClientState::Ending(now);
            client.outbox = Outbox::default();
            client.outbox.push(response);
        }
        self.bound_waiting(id);
    }

    /// Drops clients that do not take their responses until those that wait have a bounded length together.
    fn bound_waiting(&mut self, latest: HttpClientId) {
        let waiting = |clients: &BTreeMap<HttpClientId, Client>| -> usize {
            clients.values().map(|client| client.outbox.own_len()).sum()
        };
        while waiting(&self.clients) > MAX_WAITING {
            let others = self.clients.iter_mut().filter(|(id, _)| **id != latest);
            let Some((_, longest)) = others.max_by_key(|(_, client)| client.outbox.own_len()) else { return };
            (longest.state, longest.outbox) = (ClientState::Gone, Outbox::default());
        }
    }

    /// Counts a refusal, and reports it if that is due.
    fn refused(&mut self, now: ClockTime, listener: SocketAddr, client: SocketAddr, refusal: &Refusal) {
        let Refusal { reason, ref text } = *refusal;
        self.counts.refuse(reason);
        let event = HttpEvent { listener, client, reason, count: 1, text: text.clone() };
        self.events.extend(self.reports.handle_report(now, reason, Some(client.ip()), event));
    }

    /// Returns a number that no other channel has had, here or after a restart.
    const fn next_epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.config.seed.wrapping_add(self.epochs)
    }
}

/// Returns the feed of a client.
fn feed_of<'a>(channels: &'a BTreeMap<ChannelKey, Channel>, client: &Client) -> Option<&'a Feed> {
    let subscription = client.subscription()?;
    channels.get(&subscription.channel)?.feed(subscription.kind)
}

fn not_a_websocket() -> Refusal {
    let text = "this is a WebSocket: open it with a program for those, or request /sse/ instead of /ws/";
    Refusal::new(HttpRefusal::Upgrade, text)
}

fn busy(problem: &str) -> Refusal {
    Refusal::new(HttpRefusal::Busy, format!("{problem}: try again later, or raise --http-clients"))
}
