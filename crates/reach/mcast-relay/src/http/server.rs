//! The server: connections, and the groups that they receive.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::SocketAddr;

use mcast_group::{Membership, SourceFilter};
use mcast_http::{
    Arrived, Connections, Due, Feed, HttpAccess, HttpClientId, HttpConnection, HttpEvent, HttpLimits,
    HttpMethod, HttpRefusal, HttpRefused, HttpRequest, HttpService, Subscription, escaped_token, response,
};
use mcast_pace::ClockTime;

use super::channel::{Channel, ChannelKey, HttpDemand, Start};
use super::encode::{self, ClientFrame, CloseCode, FrameReader, Opcode};
use super::listing::Listing;
use super::resource::{self, Resource, StreamKind};
use super::silence::{HttpLapse, HttpRejoin};
use super::{HttpConfig, HttpCounts, HttpDatagram, HttpRule, Playlist, pages};

/// The bytes of responses that wait for clients, of all of them together.
const MAX_WAITING: usize = 64 << 20;
/// Connections beside those that receive a stream.
const SPARE_CONNECTIONS: usize = 64;
/// The largest number of streams at the same time: of groups in one form.
const MAX_STREAMS: usize = 256;
/// The bytes that are kept for all streams together, and for each.
const MAX_KEPT: usize = 64 << 20;
const MAX_KEPT_EACH: usize = 4 << 20;
/// The time after which a browser connects again: before a stream without clients is forgotten.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// The stream that a client receives.
#[derive(Debug)]
pub(super) struct StreamOf {
    pub(super) channel: ChannelKey,
    pub(super) kind: StreamKind,
    frames: FrameReader,
}

/// Serves groups to HTTP clients. Its driver passes connections, what arrives on them, and datagrams; it writes what
/// [`Self::poll_transmit`] returns, and receives what [`Self::poll_demand`] returns.
#[derive(Debug)]
pub struct HttpServer {
    pub(super) config: HttpConfig,
    pub(super) connections: Connections<StreamOf>,
    pub(super) channels: BTreeMap<ChannelKey, Channel>,
    pub(super) listing: Listing,
    counts: HttpCounts,
    epochs: u64,
    is_demand_changed: bool,
    rejoins: VecDeque<HttpRejoin>,
    lapses: VecDeque<HttpLapse>,
}

impl HttpServer {
    /// Creates a server without rules.
    #[must_use]
    pub fn new(mut config: HttpConfig) -> Self {
        let listing = Listing::new(std::mem::take(&mut config.playlist));
        let limits = HttpLimits {
            max_clients: config.max_clients,
            spare: SPARE_CONNECTIONS,
            stall: config.stall,
            max_waiting: MAX_WAITING,
            realm: "mcast relay",
            busy_advice: "try again later, or raise --http-clients",
        };
        Self {
            config,
            connections: Connections::new(limits),
            channels: BTreeMap::new(),
            listing,
            counts: HttpCounts::default(),
            epochs: 0,
            is_demand_changed: false,
            rejoins: VecDeque::new(),
            lapses: VecDeque::new(),
        }
    }

    /// Replaces what requests must have, and the playlist. Streams that are being sent continue, except for those of groups that
    /// only the former playlist named.
    pub fn set_access(&mut self, now: ClockTime, token: Option<String>, playlist: Playlist) {
        self.config.access.token = token;
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
        let is_gone = |client: &HttpConnection<StreamOf>| {
            let is_named = |key: &ChannelKey| self.listing.names(client.listener, key);
            client.subscription().is_some_and(|subscription| !is_named(&subscription.of.channel))
        };
        let gone: Vec<_> =
            self.connections.iter().filter(|(_, client)| is_gone(client)).map(|(id, _)| id).collect();
        for id in gone {
            self.end_stream(now, id, CloseCode::GoingAway);
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
        for (_, client) in self.connections.iter() {
            let Some(subscription) = client.subscription() else { continue };
            if let Some(channel) = self.channels.get_mut(&subscription.of.channel) {
                channel.need(subscription.of.kind, subscription.cursor.position);
            }
        }
        self.channels.values_mut().for_each(Channel::forget_sent);
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
        self.connections.poll_event()
    }

    /// Returns the counters.
    #[must_use]
    pub fn counts(&self) -> HttpCounts {
        let mut counts = self.counts.clone();
        (counts.clients, counts.groups) =
            (self.channels.values().map(Channel::clients).sum(), self.channels.len());
        (counts.sent_bytes, counts.refused) = (self.connections.sent_bytes(), *self.connections.refusals());
        counts
    }

    /// Returns the bytes that are kept for each stream.
    fn capacity(&self) -> usize {
        (MAX_KEPT / self.streams().max(1)).min(MAX_KEPT_EACH)
    }

    fn streams(&self) -> usize {
        self.channels.values().map(Channel::streams).sum()
    }

    fn answer(&mut self, now: ClockTime, id: HttpClientId, request: &HttpRequest) -> Result<(), HttpRefused> {
        let Some(client) = self.connections.get_mut(id) else { return Ok(()) };
        let (peer, listener) = (client.address.ip(), client.listener);
        let rules = &self.config.access;
        // Limits and reports are for the client, not for the proxy. Its port is not known.
        if let Some(address) = rules.client(request, peer) {
            client.address = SocketAddr::new(address, 0);
        }
        let base = rules.base(request, peer, &listener.to_string());
        // Browsers request it beside whatever they show: nothing is refused that somebody asked for.
        if base.within(&request.path) == "/favicon.ico" {
            self.connections.end(now, id, &response::no_icon());
            return Ok(());
        }
        let access = rules.check(request, peer, base)?;
        if request.method == HttpMethod::Options {
            let response = response::preflight(&request.preflight, access.origin.as_deref());
            self.connections.end(now, id, &response);
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
                let token = self.config.access.token.as_deref().map(escaped_token);
                let (base, requested) = (access.base.to_string(), self.channels.keys());
                let body = self.listing.write(listener, requested, &base, token.as_deref());
                response::kept_page("audio/x-mpegurl; charset=utf-8", &body, &access, request)
            }
        };
        self.connections.end(now, id, &page);
        Ok(())
    }

    fn open_stream(
        &mut self,
        now: ClockTime,
        id: HttpClientId,
        request: &HttpRequest,
        kind: StreamKind,
        membership: &Membership,
        access: &HttpAccess,
    ) -> Result<(), HttpRefused> {
        let Some(client) = self.connections.get(id) else { return Ok(()) };
        let (rule, key) = self.listing.find(client.listener, membership)?;
        let mut head = match (kind.is_websocket(), &request.websocket_key) {
            (false, _) => response::stream_head(kind.content_type(), access),
            (true, Some(key)) if !request.is_head() => {
                let accept = encode::accept_key(key).ok_or_else(not_a_websocket)?;
                response::upgrade(&accept)
            }
            (true, _) => return Err(not_a_websocket()),
        };
        if request.is_head() {
            self.connections.end(now, id, &head);
            return Ok(());
        }
        // Nothing is created before all that can refuse the client has been checked.
        let is_new = self.channels.get(&key).is_none_or(|channel| channel.feed(kind).is_none());
        self.connections.admit(client.address.ip())?;
        if is_new && self.streams() >= MAX_STREAMS {
            return Err(self.connections.busy("there are too many clients"));
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
        let of = StreamOf { channel: key, kind, frames: FrameReader::default() };
        self.connections.start(id, Subscription::new(of, cursor), &head);
        Ok(())
    }

    fn receive_frames(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(client) = self.connections.get_mut(id)
            && let Some(subscription) = client.subscription_mut().filter(|own| own.of.kind.is_websocket())
            && let Some((frame, after)) = subscription.of.frames.read(rest)
        {
            rest = after;
            match frame {
                // A client that does not read the replies receives no more of them.
                ClientFrame::Ping(payload) if !client.is_full() => {
                    client.push(&encode::frame(Opcode::Pong, &payload));
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
        match self.connections.check(now, id, has_pending) {
            Due::Nothing => {}
            Due::Drop => {
                let why = |own: &Subscription<StreamOf>| {
                    format!(
                        "disconnected from {}, because it read too slowly: {} datagrams behind",
                        own.of.channel.address, own.skipped
                    )
                };
                if let Some(subscription) = self.connections.drop_stalled(now, id, why) {
                    self.unsubscribe(now, &subscription.of);
                }
            }
            Due::KeepAlive => {
                if let Some(client) = self.connections.get_mut(id)
                    && let Some(subscription) = client.subscription()
                {
                    let bytes = encode::keep_alive(subscription.of.kind);
                    client.push(&bytes);
                }
            }
        }
    }

    /// Returns whether there is something to write to a client.
    #[must_use]
    pub fn has_pending(&self, id: HttpClientId) -> bool {
        let client = self.connections.get(id);
        client.is_some_and(|client| client.has_pending(feed_of(&self.channels, client)))
    }

    /// Ends a stream: what is being sent is completed.
    fn end_stream(&mut self, now: ClockTime, id: HttpClientId, code: CloseCode) {
        let subscription = self.connections.get(id).and_then(HttpConnection::subscription);
        let is_websocket = subscription.is_some_and(|subscription| subscription.of.kind.is_websocket());
        let last = if is_websocket { encode::close(code) } else { Vec::new() };
        if let Some(subscription) = self.connections.end_stream(now, id, &last) {
            self.unsubscribe(now, &subscription.of);
        }
    }

    fn unsubscribe(&mut self, now: ClockTime, of: &StreamOf) {
        if let Some(channel) = self.channels.get_mut(&of.channel) {
            channel.unsubscribe(now, of.kind);
        }
    }

    /// Returns a number that no other channel has had, here or after a restart.
    const fn next_epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.config.seed.wrapping_add(self.epochs)
    }
}

impl HttpService for HttpServer {
    fn handle_connect(
        &mut self,
        now: ClockTime,
        listener: SocketAddr,
        client: SocketAddr,
    ) -> Option<HttpClientId> {
        self.connections.handle_connect(now, listener, client)
    }

    fn handle_bytes(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]) {
        match self.connections.handle_bytes(now, id, bytes) {
            Arrived::Nothing => {}
            Arrived::Request(request, rest) => {
                if let Err(refusal) = self.answer(now, id, &request) {
                    self.connections.refuse(now, id, &refusal, request.is_head());
                }
                // A client may have sent frames together with its request.
                self.receive_frames(now, id, &rest);
            }
            Arrived::Bytes => self.receive_frames(now, id, bytes),
        }
    }

    fn handle_disconnected(&mut self, now: ClockTime, id: HttpClientId) {
        if let Some(subscription) = self.connections.handle_disconnected(id) {
            self.unsubscribe(now, &subscription.of);
        }
    }

    fn poll_transmit(&mut self, now: ClockTime, id: HttpClientId) -> Vec<IoSlice<'_>> {
        let Some(client) = self.connections.get_mut(id) else { return Vec::new() };
        if let Some(own) = client.subscription_mut()
            && let Some(channel) = self.channels.get(&own.of.channel)
            && let Some((missed, gap)) = channel.catch_up(own.of.kind, &mut own.cursor)
        {
            client.fell_behind(now, missed);
            client.push(&gap);
            self.counts.skipped += missed;
        }
        let Some(client) = self.connections.get(id) else { return Vec::new() };
        client.slices(feed_of(&self.channels, client))
    }

    fn handle_written(&mut self, now: ClockTime, id: HttpClientId, count: usize) {
        let feed = self.connections.get(id).and_then(|client| feed_of(&self.channels, client));
        self.connections.handle_written(now, id, count, feed);
    }

    fn is_ending(&self, id: HttpClientId) -> bool {
        self.connections.is_ending(id)
    }

    fn is_gone(&self, id: HttpClientId) -> bool {
        self.connections.is_gone(id)
    }

    fn handle_timeout(&mut self, now: ClockTime) {
        let capacity = self.capacity();
        let before = self.channels.len();
        self.channels.retain(|_, channel| channel.expire(now, capacity));
        self.is_demand_changed |= self.channels.len() < before;
        self.forget_sent();
        self.rejoin_silent(now);
        if self.connections.handle_timeout(now) {
            for id in self.connections.ids() {
                self.check_client(now, id);
            }
        }
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        let channels = self.channels.values().filter_map(Channel::deadline).min();
        channels.into_iter().chain(self.connections.poll_timeout()).min()
    }
}

/// Returns the feed of a client.
fn feed_of<'a>(
    channels: &'a BTreeMap<ChannelKey, Channel>,
    client: &HttpConnection<StreamOf>,
) -> Option<&'a Feed> {
    let of = &client.subscription()?.of;
    channels.get(&of.channel)?.feed(of.kind)
}

fn not_a_websocket() -> HttpRefused {
    let text = "this is a WebSocket: open it with a program for those, or request /sse/ instead of /ws/";
    HttpRefused::new(HttpRefusal::Upgrade, text)
}
