//! Pages, and one stream of events that all clients share.

use std::borrow::Cow;
use std::io::IoSlice;
use std::net::SocketAddr;

use mcast_pace::ClockTime;

use crate::{
    AccessRules, Arrived, Connections, Due, Feed, FeedChunk, FeedCursor, HttpAccess, HttpClientId,
    HttpLimits, HttpMethod, HttpRefusal, HttpRefused, HttpRequest, HttpService, Subscription, response,
};

/// The bytes of events that are kept for clients that come back.
const MAX_KEPT: usize = 2 << 20;
/// The time after which a browser connects again.
const RETRY: &str = "retry: 2000\n\n";
/// What shows a client without events, and boxes between, that the connection is in use: a comment.
const KEEP_ALIVE: &[u8] = b":\n\n";
/// Sent to a client that missed events: what it knows is no longer right.
const RESET: &str = "event: reset\ndata: {}\n\n";

/// What a [`SiteServer`] serves.
pub trait HttpSite {
    /// Responds to a request of a path. `last` identifies the latest event: a client that receives the events after it misses
    /// nothing that is not in this response.
    fn respond(&mut self, now: ClockTime, request: &HttpRequest, path: &str, last: &str) -> SiteReply;

    /// Does what is due, and returns the data of an event for all clients of the stream, of which there are `clients`. It is one
    /// line.
    fn handle_timeout(&mut self, _now: ClockTime, _clients: usize) -> Option<String> {
        None
    }

    /// Returns when to call [`Self::handle_timeout`] next, if ever.
    fn poll_timeout(&self) -> Option<ClockTime> {
        None
    }
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteReply {
    /// A page.
    Page {
        /// Its status, such as `200 OK`.
        status: &'static str,
        /// Its content type.
        content_type: &'static str,
        /// Further headers, each of which ends its line.
        headers: Cow<'static, str>,
        /// Its body.
        body: Cow<'static, str>,
    },
    /// The events.
    Events,
    /// There is nothing at this path, with what there is, in words.
    Nothing(&'static str),
}

impl SiteReply {
    /// Returns a page with status 200.
    #[must_use]
    pub const fn page(content_type: &'static str, body: String) -> Self {
        Self::Page { status: "200 OK", content_type, headers: Cow::Borrowed(""), body: Cow::Owned(body) }
    }
}

/// Serves a site to HTTP clients.
#[derive(Debug)]
pub struct SiteServer<S> {
    site: S,
    /// Who may read it; `None` if everybody may.
    access: Option<AccessRules>,
    connections: Connections<()>,
    events: Feed,
    /// Distinguishes events from those before a restart.
    epoch: u64,
}

impl<S: HttpSite> SiteServer<S> {
    /// Creates a server. `epoch` is another number at each start: identifiers of events contain it.
    #[must_use]
    pub const fn new(site: S, access: Option<AccessRules>, limits: HttpLimits, epoch: u64) -> Self {
        Self { site, access, connections: Connections::new(limits), events: Feed::after(0), epoch }
    }

    /// Returns the site.
    #[must_use]
    pub const fn site(&self) -> &S {
        &self.site
    }

    /// Returns the connections.
    #[must_use]
    pub const fn connections(&self) -> &Connections<()> {
        &self.connections
    }

    fn answer(&mut self, now: ClockTime, id: HttpClientId, request: &HttpRequest) -> Result<(), HttpRefused> {
        let Some(client) = self.connections.get(id) else { return Ok(()) };
        let (peer, listener) = (client.address.ip(), client.listener.to_string());
        let open = AccessRules::default();
        let rules = self.access.as_ref().unwrap_or(&open);
        let base = rules.base(request, peer, &listener);
        let access = match &self.access {
            Some(rules) => rules.check(request, peer, base)?,
            None => HttpAccess::open(base),
        };
        let path = access.base.within(&request.path);
        if request.method == HttpMethod::Options {
            let response = response::preflight(&request.preflight, access.origin.as_deref());
            self.connections.end(now, id, &response);
            return Ok(());
        }
        match self.site.respond(now, request, path, &event_id(self.epoch, self.events.last())) {
            SiteReply::Page { status, content_type, headers, body } => {
                let page = response::page_with(status, content_type, &headers, &body, &access, request);
                self.connections.end(now, id, &page);
            }
            SiteReply::Events => self.open_events(now, id, request, &access)?,
            SiteReply::Nothing(text) => return Err(HttpRefused::new(HttpRefusal::NotFound, text)),
        }
        Ok(())
    }

    fn open_events(
        &mut self,
        now: ClockTime,
        id: HttpClientId,
        request: &HttpRequest,
        access: &HttpAccess,
    ) -> Result<(), HttpRefused> {
        let Some(client) = self.connections.get(id) else { return Ok(()) };
        let mut head = response::stream_head("text/event-stream", access);
        if request.is_head() {
            self.connections.end(now, id, &head);
            return Ok(());
        }
        self.connections.admit(client.address.ip())?;
        head.extend(RETRY.bytes());
        // A browser that connects again sends the header; a page that has just loaded what there was has the parameter.
        let parameter = request.parameter("last-event-id");
        let (cursor, is_behind) = self.place(request.last_event_id.as_deref().or(parameter.as_deref()));
        if is_behind {
            head.extend(RESET.bytes());
        }
        self.connections.start(id, Subscription::new((), cursor), &head);
        Ok(())
    }

    /// Returns where a client starts that has received this event, and whether it has missed some.
    fn place(&self, last_event_id: Option<&str>) -> (FeedCursor, bool) {
        let Some(given) = last_event_id else { return (self.events.live(), false) };
        let Some(number) = number_of(self.epoch, given).filter(|number| *number <= self.events.last()) else {
            return (self.events.live(), true);
        };
        let mut cursor = self.events.after_number(number);
        match self.events.catch_up(&mut cursor) {
            0 => (cursor, false),
            _ => (self.events.live(), true),
        }
    }

    fn check_client(&mut self, now: ClockTime, id: HttpClientId) {
        let has_pending =
            self.connections.get(id).is_some_and(|client| client.has_pending(Some(&self.events)));
        match self.connections.check(now, id, has_pending) {
            Due::Nothing => {}
            Due::KeepAlive => {
                if let Some(client) = self.connections.get_mut(id) {
                    client.push(KEEP_ALIVE);
                }
            }
            Due::Drop => {
                let why = |own: &Subscription<()>| {
                    format!("disconnected, because it read too slowly: {} events behind", own.skipped)
                };
                self.connections.drop_stalled(now, id, why);
            }
        }
    }
}

impl<S: HttpSite> HttpService for SiteServer<S> {
    fn handle_connect(
        &mut self,
        now: ClockTime,
        listener: SocketAddr,
        client: SocketAddr,
    ) -> Option<HttpClientId> {
        self.connections.handle_connect(now, listener, client)
    }

    fn handle_bytes(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]) {
        if let Arrived::Request(request, _) = self.connections.handle_bytes(now, id, bytes)
            && let Err(refusal) = self.answer(now, id, &request)
        {
            self.connections.refuse(now, id, &refusal, request.is_head());
        }
    }

    fn handle_disconnected(&mut self, _now: ClockTime, id: HttpClientId) {
        self.connections.handle_disconnected(id);
    }

    fn poll_transmit(&mut self, now: ClockTime, id: HttpClientId) -> Vec<IoSlice<'_>> {
        let Some(client) = self.connections.get_mut(id) else { return Vec::new() };
        let missed = match client.subscription_mut() {
            Some(subscription) => self.events.catch_up(&mut subscription.cursor),
            None => 0,
        };
        if missed > 0 {
            client.push(RESET.as_bytes());
            client.fell_behind(now, missed);
        }
        let Some(client) = self.connections.get(id) else { return Vec::new() };
        client.slices(Some(&self.events))
    }

    fn handle_written(&mut self, now: ClockTime, id: HttpClientId, count: usize) {
        self.connections.handle_written(now, id, count, Some(&self.events));
    }

    fn is_ending(&self, id: HttpClientId) -> bool {
        self.connections.is_ending(id)
    }

    fn is_gone(&self, id: HttpClientId) -> bool {
        self.connections.is_gone(id)
    }

    fn handle_timeout(&mut self, now: ClockTime) {
        if self.site.poll_timeout().is_some_and(|due| now >= due) {
            let clients =
                self.connections.iter().filter(|(_, client)| client.subscription().is_some()).count();
            if let Some(data) = self.site.handle_timeout(now, clients) {
                let number = self.events.last() + 1;
                let event = format!("id: {}\ndata: {data}\n\n", event_id(self.epoch, number));
                self.events.push(FeedChunk::whole(event.into_bytes()), number, MAX_KEPT);
            }
        }
        if self.connections.handle_timeout(now) {
            for id in self.connections.ids() {
                self.check_client(now, id);
            }
        }
        // Nobody reads them here; their numbers remain.
        while self.connections.poll_event().is_some() {}
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        [self.site.poll_timeout(), self.connections.poll_timeout()].into_iter().flatten().min()
    }
}

/// Returns the identifier of an event.
#[must_use]
pub fn event_id(epoch: u64, number: u64) -> String {
    format!("{epoch:016x}-{number}")
}

/// Returns the number in an identifier of this epoch; `None` if it is of another one.
#[must_use]
pub fn number_of(epoch: u64, id: &str) -> Option<u64> {
    let (given, number) = id.split_once('-')?;
    (u64::from_str_radix(given, 16).ok()? == epoch).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Counts its seconds.
    struct Counter {
        seconds: u64,
        due: ClockTime,
    }

    impl HttpSite for Counter {
        fn respond(&mut self, _: ClockTime, _: &HttpRequest, path: &str, last: &str) -> SiteReply {
            match path {
                "/state" => SiteReply::page("text/plain", format!("{} {last}", self.seconds)),
                "/events" => SiteReply::Events,
                _ => SiteReply::Nothing("only /state and /events are here"),
            }
        }

        fn handle_timeout(&mut self, now: ClockTime, _: usize) -> Option<String> {
            self.seconds += 1;
            self.due = now + Duration::from_secs(1);
            Some(format!("{:>1$}", self.seconds, 40_000))
        }

        fn poll_timeout(&self) -> Option<ClockTime> {
            Some(self.due)
        }
    }

    struct World {
        server: SiteServer<Counter>,
        now: ClockTime,
    }

    impl World {
        fn new(rules: AccessRules) -> Self {
            let limits = HttpLimits {
                max_clients: 4,
                spare: 4,
                stall: Duration::from_secs(5),
                max_waiting: 1 << 20,
                realm: "test",
                busy_advice: "try again later",
            };
            let site = Counter { seconds: 0, due: ClockTime::START + Duration::from_secs(1) };
            Self { server: SiteServer::new(site, Some(rules), limits, 7), now: ClockTime::START }
        }

        fn get(&mut self, path: &str, headers: &str) -> HttpClientId {
            let address = "10.0.0.9:80".parse().unwrap();
            let id = self.server.handle_connect(self.now, address, "10.0.0.1:9".parse().unwrap()).unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.9\r\n{headers}\r\n");
            self.server.handle_bytes(self.now, id, head.as_bytes());
            id
        }

        fn take(&mut self, id: HttpClientId) -> String {
            let slices = self.server.poll_transmit(self.now, id);
            let taken: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.server.handle_written(self.now, id, taken.len());
            String::from_utf8(taken).unwrap()
        }

        fn pass(&mut self, seconds: u64) {
            for _ in 0..seconds * 10 {
                self.now = self.now + Duration::from_millis(100);
                self.server.handle_timeout(self.now);
            }
        }
    }

    fn numbers(events: &str) -> Vec<u64> {
        events.lines().filter_map(|line| line.strip_prefix("data: ")?.trim().parse().ok()).collect()
    }

    #[test]
    fn a_client_continues_after_its_last_event() {
        let mut world = World::new(AccessRules::default());
        world.pass(2);
        let state = world.get("/state", "");
        let state = world.take(state);
        let last = state.split_once("\r\n\r\n").unwrap().1.split_once(' ').unwrap().1.to_owned();
        world.pass(3);
        let first = world.get(&format!("/events?last-event-id={last}"), "");
        assert_eq!(numbers(&world.take(first)), [3, 4, 5]);
        world.pass(1);
        assert_eq!(numbers(&world.take(first)), [6]);
        let again =
            world.get(&format!("/events?last-event-id={last}"), "Last-Event-ID: 0000000000000007-5\r\n");
        assert_eq!(numbers(&world.take(again)), [6], "the header counts");
    }

    #[test]
    fn a_client_that_missed_events_is_reset() {
        let mut world = World::new(AccessRules::default());
        world.pass(80);
        for id in ["0000000000000007-3", "0000000000000008-79", "x", "0000000000000007-99"] {
            let client = world.get("/events", &format!("Last-Event-ID: {id}\r\n"));
            let taken = world.take(client);
            assert!(taken.contains(RESET) && numbers(&taken).is_empty(), "{id}");
            world.server.handle_disconnected(world.now, client);
        }
        let client = world.get("/events", "Last-Event-ID: 0000000000000007-78\r\n");
        assert_eq!(numbers(&world.take(client)), [79, 80]);
    }

    #[test]
    fn a_client_that_takes_nothing_is_dropped_and_others_are_not() {
        let mut world = World::new(AccessRules::default());
        let (slow, quick) = (world.get("/events", ""), world.get("/events", ""));
        for _ in 0..8 {
            world.pass(1);
            world.take(quick);
        }
        assert!(world.server.is_gone(slow) && !world.server.is_gone(quick));
        assert_eq!(world.server.connections().refusals().of(HttpRefusal::Stalled), 1);
    }

    #[test]
    fn half_of_the_streams_are_left_to_other_addresses() {
        let mut world = World::new(AccessRules::default());
        for _ in 0..2 {
            let client = world.get("/events", "");
            assert!(world.take(client).starts_with("HTTP/1.1 200 "));
        }
        let third = world.get("/events", "");
        assert!(world.take(third).starts_with("HTTP/1.1 503 "));
    }

    #[test]
    fn nothing_is_served_without_the_token_or_to_another_host() {
        let mut world = World::new(AccessRules { token: Some("s3cret".into()), ..AccessRules::default() });
        for (path, headers, status) in [
            ("/state", "", "401"),
            ("/events", "", "401"),
            ("/state?token=wrong", "", "401"),
            ("/state?token=s3cret", "", "200"),
            ("/state", "Cookie: token=s3cret\r\n", "200"),
            ("/state?token=s3cret", "Origin: http://evil.example\r\n", "403"),
            ("http://evil.example/state?token=s3cret", "", "403"),
        ] {
            let client = world.get(path, headers);
            let taken = world.take(client);
            assert!(taken.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {headers}: {taken}");
        }
    }
}
