//! The gateway (RFC 7450 section 5.2): looks for a relay, and keeps the memberships that it has there alive.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use mcast_group::{Family, Group, SourceFilter};
use mcast_json::events;
use mcast_pace::ClockTime;
use mcast_packet::payload::{AmtMac, AmtMessage};

use super::inner::{
    InvalidPacket, ReportKind, TunnelledDatagram, bytes, general_query, is_host, report_packets,
};

/// The time until a discovery or request is sent again. It doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Attempts until a relay counts as failed: 7 s in all.
const ATTEMPTS: u32 = 3;
/// The longest time between two searches for relays when none answers (RFC 7450 section 5.2.3.4.3).
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The query interval of a relay that does not state it (RFC 3376 section 8.2), and the limits of one that does.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(125);
const INTERVALS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3_600));
/// Updates are not acknowledged, so each is repeated once after this time.
const REPEAT: Duration = Duration::from_secs(1);
/// When data stops for this long, the gateway asks the relay whether the tunnel still exists. A relay that was restarted
/// or to which the gateway has another address now is found again by that, and not only a query interval later.
const SILENCE: Duration = Duration::from_secs(3);

/// Receives groups from a relay. Its driver passes what arrives, and does what [`Self::poll_output`] returns.
pub struct AmtGateway {
    memberships: BTreeMap<Group, SourceFilter>,
    search: Search,
    /// The pause after a search in which no relay has answered.
    pause: Duration,
    tunnels: [Tunnel; 2],
    /// When the latest datagram arrived, if nothing has been done about a silence since.
    last_data: Option<ClockTime>,
    random: Box<dyn FnMut() -> u32 + Send>,
    outputs: VecDeque<GatewayOutput>,
    counts: GatewayCounts,
}

/// Where the gateway is in its search for a relay.
#[derive(Debug)]
enum Search {
    /// Nothing is joined.
    Idle,
    /// The driver looks for the addresses of relays.
    Finding,
    /// No relay has answered.
    Pausing { until: ClockTime },
    /// Waits for an advertisement.
    Discovering { relays: VecDeque<SocketAddr>, attempt: RelayRequest },
    /// A relay has advertised itself. The others are tried if it fails.
    Found {
        relay: SocketAddr,
        others: VecDeque<SocketAddr>,
        /// Whether it has answered a request since.
        is_connected: bool,
    },
}

/// A message that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct RelayRequest {
    nonce: u32,
    number: u32,
    next: ClockTime,
}

/// What the gateway has with a relay for one protocol.
#[derive(Debug)]
struct Tunnel {
    family: Family,
    request: Option<RelayRequest>,
    session: Option<Session>,
    /// Groups whose membership is reported again.
    repeated: Vec<Group>,
    repeat_at: ClockTime,
}

/// What an answered request allows.
#[derive(Clone, Copy, Debug)]
struct Session {
    relay: SocketAddr,
    mac: AmtMac,
    nonce: u32,
    /// The address of the gateway, as the relay sees it.
    endpoint: Option<SocketAddr>,
    /// When to send the next request.
    refresh_at: ClockTime,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayOutput {
    /// Find the addresses of relays, and pass them to [`AmtGateway::use_relays`].
    FindRelays,
    /// Send a datagram. All are sent from the same port.
    Send {
        /// The relay.
        to: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Report an event.
    Event(GatewayEvent),
}

events! {
    /// What happened.
    ///
    /// It is exhaustive: a program that shows events shows each.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum GatewayEvent for leg: &str {
        /// A relay of AMT accepts memberships.
        Connected {
            /// The relay.
            relay: SocketAddr,
        } is Note "amt-connected" { leg: leg, address: relay.ip() }:
            format!("{leg}: the relay {relay} accepts memberships"),
        /// A relay of AMT can no longer be used, and another one is looked for.
        Lost {
            /// The relay.
            relay: SocketAddr,
            /// Why.
            failure: RelayFailure,
        } is Problem "amt-lost" { leg: leg, address: relay.ip(), reason: failure.to_string() }:
            format!("{leg}: the relay {relay} {failure}, looking for another one"),
        /// No relay of AMT has answered. The search continues.
        NoRelay is Problem "amt-no-relay" { leg: leg }: format!("{leg}: no relay answers, trying again"),
    }
}

/// Why a relay cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayFailure {
    /// It does not answer.
    Silent,
    /// It accepts no further gateways.
    Full,
    /// Its machine reports that no relay runs there.
    Unreachable,
}

impl fmt::Display for RelayFailure {
    /// Writes it as the predicate of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "does not answer",
            Self::Full => "accepts no further gateways",
            Self::Unreachable => "is not running",
        })
    }
}

/// What has arrived and was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayCounts {
    /// Datagrams that are not valid messages, that no gateway receives, or that answer nothing.
    pub invalid_messages: u64,
    /// Data from others than the relay.
    pub from_others: u64,
    /// Data that is a fragment.
    pub fragments: u64,
    /// Data that is not a whole, intact UDP datagram from a host to a group.
    pub invalid_data: u64,
    /// Data of groups and sources that are not joined.
    pub not_joined: u64,
}

impl AmtGateway {
    /// Creates a gateway without memberships. `random` returns numbers that nobody else can predict.
    pub fn new(random: impl FnMut() -> u32 + Send + 'static) -> Self {
        let tunnel = |family| Tunnel {
            family,
            request: None,
            session: None,
            repeated: Vec::new(),
            repeat_at: ClockTime::START,
        };
        Self {
            memberships: BTreeMap::new(),
            search: Search::Idle,
            pause: FIRST_WAIT,
            tunnels: [Family::V4, Family::V6].map(tunnel),
            last_data: None,
            random: Box::new(random),
            outputs: VecDeque::new(),
            counts: GatewayCounts::default(),
        }
    }

    /// Returns what has arrived and was dropped.
    #[must_use]
    pub const fn counts(&self) -> GatewayCounts {
        self.counts
    }

    /// Returns the next thing to do. The driver calls this after each other call until it returns `None`.
    pub fn poll_output(&mut self) -> Option<GatewayOutput> {
        self.outputs.pop_front()
    }

    /// Returns the groups that it receives.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.memberships.keys().copied()
    }

    /// Receives a group from these sources, instead of those before; from none: leaves it.
    pub fn set_membership(&mut self, now: ClockTime, group: Group, sources: SourceFilter) {
        let is_left = sources.is_none();
        let before = match is_left {
            true => self.memberships.remove(&group),
            false => self.memberships.insert(group, sources.clone()),
        };
        if before.unwrap_or(SourceFilter::NONE) == sources {
            return;
        }
        self.report(now, group.family(), ReportKind::Change, &[group]);
        if self.memberships.is_empty() {
            self.tear_down();
            self.search = Search::Idle;
            return;
        }
        match self.search {
            Search::Idle => self.find(),
            Search::Found { relay, .. } => self.request_where(now, |tunnel| {
                tunnel.request.is_none() && tunnel.session.is_none_or(|session| session.relay != relay)
            }),
            Search::Finding | Search::Pausing { .. } | Search::Discovering { .. } => {}
        }
    }

    /// Handles the addresses that the driver has found, the best ones first. They may be those of relays, or addresses
    /// that several relays share.
    pub fn use_relays(&mut self, now: ClockTime, relays: Vec<SocketAddr>) {
        if matches!(self.search, Search::Finding) {
            self.discover(now, relays.into());
        }
    }

    /// Handles a datagram. Returns the datagram inside it, if it is data that was requested.
    pub fn handle_datagram<'a>(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &'a [u8],
    ) -> Option<TunnelledDatagram<'a>> {
        let is_used = match AmtMessage::parse(datagram) {
            Some(AmtMessage::MulticastData { packet }) => return self.receive_data(now, from, packet),
            Some(AmtMessage::RelayAdvertisement { nonce, relay }) => {
                let relay = SocketAddr::new(relay, from.port());
                self.receive_advertisement(now, from, nonce, relay)
            }
            Some(query @ AmtMessage::MembershipQuery { .. }) => self.receive_query(now, from, query),
            Some(_) | None => false,
        };
        self.counts.invalid_messages += u64::from(!is_used);
        None
    }

    /// Handles that no relay runs at an address, as an ICMP message reports.
    pub fn handle_unreachable(&mut self, now: ClockTime, address: SocketAddr) {
        match &mut self.search {
            Search::Found { relay, .. } if *relay == address => self.fail(now, RelayFailure::Unreachable),
            Search::Discovering { relays, attempt } if relays.front() == Some(&address) => {
                // The next one is tried at once.
                (attempt.number, attempt.next) = (ATTEMPTS, now);
                self.continue_search(now);
            }
            _ => {}
        }
    }

    /// Does what is due at this time.
    pub fn handle_timeout(&mut self, now: ClockTime) {
        self.continue_search(now);
        if self.last_data.is_some_and(|last| now >= last + SILENCE) {
            self.last_data = None;
            self.tunnels.iter_mut().filter_map(|tunnel| tunnel.session.as_mut()).for_each(|session| {
                session.refresh_at = now;
            });
        }
        self.continue_requests(now);
        for family in [Family::V4, Family::V6] {
            let tunnel = self.tunnel(family);
            if tunnel.is_repeat_due(now) {
                let groups = std::mem::take(&mut tunnel.repeated);
                self.send_reports(family, ReportKind::Change, &groups);
            }
        }
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        let search = match &self.search {
            Search::Idle | Search::Finding => return None,
            Search::Pausing { until } => Some(*until),
            Search::Discovering { attempt, .. } => Some(attempt.next),
            Search::Found { .. } => None,
        };
        let tunnels = self.tunnels.iter().filter(|_| matches!(self.search, Search::Found { .. }));
        let silence = self.last_data.map(|last| last + SILENCE);
        search.into_iter().chain(tunnels.filter_map(Tunnel::deadline)).chain(silence).min()
    }

    /// Leaves all groups, and ends the tunnel.
    pub fn stop(&mut self, now: ClockTime) {
        let groups: Vec<Group> = self.memberships.keys().copied().collect();
        for group in groups {
            self.set_membership(now, group, SourceFilter::NONE);
        }
    }

    fn tunnel(&mut self, family: Family) -> &mut Tunnel {
        &mut self.tunnels[usize::from(family == Family::V6)]
    }

    fn send(&mut self, to: SocketAddr, message: &AmtMessage<'_>) {
        self.outputs.push_back(GatewayOutput::Send { to, bytes: bytes(message) });
    }

    fn find(&mut self) {
        self.search = Search::Finding;
        self.outputs.push_back(GatewayOutput::FindRelays);
    }

    /// Looks for the first of these relays that answers.
    fn discover(&mut self, now: ClockTime, relays: VecDeque<SocketAddr>) {
        let Some(relay) = relays.front().copied() else {
            self.outputs.push_back(GatewayOutput::Event(GatewayEvent::NoRelay));
            self.search = Search::Pausing { until: now + self.pause };
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return;
        };
        let attempt = RelayRequest::new(now, (self.random)());
        self.send(relay, &AmtMessage::RelayDiscovery { nonce: attempt.nonce });
        self.search = Search::Discovering { relays, attempt };
    }

    fn continue_search(&mut self, now: ClockTime) {
        match &mut self.search {
            Search::Pausing { until } if now >= *until => self.find(),
            Search::Discovering { relays, attempt } if now >= attempt.next => {
                let next = attempt.next(now);
                if next.is_none() {
                    relays.pop_front();
                }
                match (next, relays.front().copied()) {
                    (Some(nonce), Some(relay)) => self.send(relay, &AmtMessage::RelayDiscovery { nonce }),
                    _ => {
                        let relays = std::mem::take(relays);
                        self.discover(now, relays);
                    }
                }
            }
            _ => {}
        }
    }

    fn receive_advertisement(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        nonce: u32,
        relay: SocketAddr,
    ) -> bool {
        let Search::Discovering { relays, attempt } = &mut self.search else { return false };
        let is_answer = relays.front() == Some(&from) && attempt.nonce == nonce;
        if !is_answer || !is_host(relay.ip()) || relay.is_ipv4() != from.is_ipv4() {
            return false;
        }
        relays.pop_front();
        let others = std::mem::take(relays);
        self.search = Search::Found { relay, others, is_connected: false };
        // What the gateway had with this relay before, the relay may have forgotten.
        self.request_where(now, |_| true);
        true
    }

    /// Sends a request for each protocol of which groups are joined, if this holds for its tunnel.
    fn request_where(&mut self, now: ClockTime, is_missing: impl Fn(&Tunnel) -> bool) {
        let Search::Found { relay, .. } = self.search else { return };
        for family in [Family::V4, Family::V6] {
            let is_needed = self.memberships.keys().any(|group| group.family() == family);
            if is_needed && is_missing(self.tunnel(family)) {
                self.request(now, family, relay);
            }
        }
    }

    fn request(&mut self, now: ClockTime, family: Family, relay: SocketAddr) {
        let attempt = RelayRequest::new(now, (self.random)());
        self.tunnel(family).request = Some(attempt);
        let wants_mld = family == Family::V6;
        self.send(relay, &AmtMessage::Request { nonce: attempt.nonce, wants_mld });
    }

    /// Sends the requests that are due: those that were not answered, and those that refresh the memberships.
    fn continue_requests(&mut self, now: ClockTime) {
        let Search::Found { relay, .. } = self.search else { return };
        for family in [Family::V4, Family::V6] {
            let is_needed = self.memberships.keys().any(|group| group.family() == family);
            let tunnel = self.tunnel(family);
            match &mut tunnel.request {
                Some(attempt) if now >= attempt.next => match attempt.next(now) {
                    Some(nonce) => {
                        let wants_mld = family == Family::V6;
                        self.send(relay, &AmtMessage::Request { nonce, wants_mld });
                    }
                    None => return self.fail(now, RelayFailure::Silent),
                },
                Some(_) => {}
                None => match tunnel.session {
                    Some(session) if now >= session.refresh_at && is_needed => {
                        self.request(now, family, relay);
                    }
                    // Nothing of this family is joined any more: the relay forgets it as well.
                    Some(session) if now >= session.refresh_at => tunnel.session = None,
                    _ => {}
                },
            }
        }
    }

    /// Gives up the relay, and looks for another one.
    fn fail(&mut self, now: ClockTime, failure: RelayFailure) {
        let Search::Found { relay, others, .. } = std::mem::replace(&mut self.search, Search::Idle) else {
            return;
        };
        self.outputs.push_back(GatewayOutput::Event(GatewayEvent::Lost { relay, failure }));
        self.last_data = None;
        self.tunnels.iter_mut().for_each(|tunnel| tunnel.request = None);
        match others.is_empty() {
            // A relay that has just failed is not asked again at once.
            true => {
                self.search = Search::Pausing { until: now + self.pause };
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            false => self.discover(now, others),
        }
    }

    fn receive_query(&mut self, now: ClockTime, from: SocketAddr, query: AmtMessage<'_>) -> bool {
        let AmtMessage::MembershipQuery { is_full, mac, nonce, packet, gateway } = query else {
            return false;
        };
        // Anybody can forge the address of the relay, but only who receives the request knows its nonce.
        let is_relay = matches!(self.search, Search::Found { relay, .. } if relay == from);
        let answered = |tunnel: &&mut Tunnel| tunnel.request.is_some_and(|attempt| attempt.nonce == nonce);
        let Some(tunnel) = self.tunnels.iter_mut().find(answered).filter(|_| is_relay) else { return false };
        let family = tunnel.family;
        let Some(interval) = general_query(packet, family) else { return false };
        let before = tunnel.session;
        let Search::Found { is_connected, .. } = &mut self.search else { return false };
        // A relay that is full keeps the gateways that it has.
        if is_full && !*is_connected {
            self.fail(now, RelayFailure::Full);
            return true;
        }
        let is_new = !std::mem::replace(is_connected, true);
        let interval = interval.unwrap_or(DEFAULT_INTERVAL).clamp(INTERVALS.0, INTERVALS.1);
        let session = Session { relay: from, mac, nonce, endpoint: gateway, refresh_at: now + interval };
        (tunnel.request, tunnel.session) = (None, Some(session));
        // This relay works, so that its next failure is followed by short pauses again.
        self.pause = FIRST_WAIT;
        // The relay would keep sending to an address that the gateway no longer has.
        if let Some(before) = before
            && (before.relay, before.endpoint) != (session.relay, session.endpoint)
        {
            self.tear_down_session(&before);
        }
        if is_new {
            self.outputs.push_back(GatewayOutput::Event(GatewayEvent::Connected { relay: from }));
        }
        let groups: Vec<Group> =
            self.memberships.keys().copied().filter(|group| group.family() == family).collect();
        self.report(now, family, ReportKind::CurrentState, &groups);
        true
    }

    fn receive_data<'a>(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        packet: &'a [u8],
    ) -> Option<TunnelledDatagram<'a>> {
        let has_session = |tunnel: &Tunnel| tunnel.session.is_some_and(|session| session.relay == from);
        let is_relay = matches!(self.search, Search::Found { relay, .. } if relay == from);
        if !is_relay || !self.tunnels.iter().any(has_session) {
            self.counts.from_others += 1;
            return None;
        }
        let datagram = match TunnelledDatagram::parse(packet) {
            Ok(datagram) => datagram,
            Err(InvalidPacket::Fragment) => {
                self.counts.fragments += 1;
                return None;
            }
            Err(_) => {
                self.counts.invalid_data += 1;
                return None;
            }
        };
        let joined = self.memberships.get(&datagram.group.group);
        if !joined.is_some_and(|sources| sources.admits(datagram.source.ip())) {
            self.counts.not_joined += 1;
            return None;
        }
        self.last_data = Some(now);
        Some(datagram)
    }

    /// Reports these groups now, and again later.
    fn report(&mut self, now: ClockTime, family: Family, kind: ReportKind, groups: &[Group]) {
        self.send_reports(family, kind, groups);
        let Search::Found { relay, .. } = self.search else { return };
        let tunnel = self.tunnel(family);
        if tunnel.session.is_some_and(|session| session.relay == relay) {
            tunnel.repeat_at = now + REPEAT;
            let added: Vec<Group> =
                groups.iter().copied().filter(|group| !tunnel.repeated.contains(group)).collect();
            tunnel.repeated.extend(added);
        }
    }

    fn send_reports(&mut self, family: Family, kind: ReportKind, groups: &[Group]) {
        let Search::Found { relay: found, .. } = self.search else { return };
        let Some(Session { relay, mac, nonce, .. }) = self.tunnel(family).session else { return };
        // Another relay would not accept the code, and gets all memberships once it has sent one of its own.
        if relay != found {
            return;
        }
        let filter = |group: &Group| self.memberships.get(group).cloned().unwrap_or(SourceFilter::NONE);
        let memberships: Vec<_> = groups.iter().map(|group| (*group, filter(group))).collect();
        for packet in report_packets(family, kind, &memberships) {
            self.send(relay, &AmtMessage::MembershipUpdate { mac, nonce, packet: &packet });
        }
    }

    /// Ends all tunnels.
    fn tear_down(&mut self) {
        self.last_data = None;
        for family in [Family::V4, Family::V6] {
            let tunnel = self.tunnel(family);
            tunnel.request = None;
            tunnel.repeated.clear();
            if let Some(session) = tunnel.session.take() {
                self.tear_down_session(&session);
            }
        }
    }

    fn tear_down_session(&mut self, session: &Session) {
        let Session { relay, mac, nonce, endpoint, .. } = *session;
        if let Some(gateway) = endpoint {
            self.send(relay, &AmtMessage::Teardown { mac, nonce, gateway });
        }
    }
}

impl RelayRequest {
    fn new(now: ClockTime, nonce: u32) -> Self {
        Self { nonce, number: 1, next: now + FIRST_WAIT }
    }

    /// Returns the number to send again, or `None` after the last attempt.
    fn next(&mut self, now: ClockTime) -> Option<u32> {
        if self.number >= ATTEMPTS {
            return None;
        }
        self.next = now + FIRST_WAIT * (1 << self.number);
        self.number += 1;
        Some(self.nonce)
    }
}

impl Tunnel {
    fn is_repeat_due(&self, now: ClockTime) -> bool {
        !self.repeated.is_empty() && self.repeat_at <= now
    }

    fn deadline(&self) -> Option<ClockTime> {
        let repeat = (!self.repeated.is_empty()).then_some(self.repeat_at);
        let request = match (&self.request, &self.session) {
            (Some(attempt), _) => Some(attempt.next),
            (None, session) => session.map(|session| session.refresh_at),
        };
        repeat.into_iter().chain(request).min()
    }
}

impl fmt::Debug for AmtGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmtGateway")
            .field("search", &self.search)
            .field("tunnels", &self.tunnels)
            .finish_non_exhaustive()
    }
}
