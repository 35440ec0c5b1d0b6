//! The sockets, interfaces and namespaces of a relay: does what the state machine requests. Linux only.
//!
//! One thread waits for everything. Each leg has a [`mcast::Receiver`] and each path a socket, made in the network
//! namespace of the leg by a short-lived thread, and used from this one.

mod amt;
mod clock;
mod event;
mod gather;
mod http;
mod interfaces;
mod joins;
mod leg;
mod namespace;
mod neighbors;
mod outputs;
mod path;
mod receive;
mod reflectors;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use mcast::Wire;
use mcast_group::Family;
use mcast_json::EventSeverity;
use mcast_pace::ClockTime;
use mcast_sys::poller::Poller;
use mcast_sys::ready::{READY_AT_ONCE, Ready};
use mcast_sys::socket::Socket;
use mcast_sys::trace::{Described, Span};
use mcast_sys::{ClassifiedError, trace_event, trace_span};

pub use amt::AmtReceiver;
use event::KEEP_SOURCE;
pub use event::{AmtStatistics, CheckReport, DriverCounts, DriverError, DriverEvent, Unreceivable};
pub use namespace::ContainerLookup;
pub use tunnels::{TunnelDial, TunnelOptions};

use crate::http::{HttpConfig, HttpCounts, Playlist};
use crate::{Authenticator, LegId, PathId, PortBlock, Relay, RelayConfig, Rule};
use amt::{AddedListeners, AmtListener, GatewaySocket};
use clock::Clock;
use http::HttpSide;
use interfaces::PendingLoop;
use leg::DriverLeg;
use namespace::{Containers, LegNamespace};
use path::PathSocket;
use receive::{Batches, Registry};
use reflectors::ReflectorSearch;
use tunnels::Tunnels;

const DATAGRAM_BYTES: usize = 65_536;
/// The time that [`Driver::check`] listens: two announcements of every other relay, and shorter than the state machine
/// listens before it forwards.
const CHECK_TIME: Duration = Duration::from_millis(1_600);
/// The time after that until the state machine decides.
const DECISION_TIME: Duration = Duration::from_millis(150);

/// Settings of a [`Driver`].
pub struct DriverOptions {
    /// Those of the state machine.
    pub relay: RelayConfig,
    /// Finds containers.
    pub containers: ContainerLookup,
    /// Whether it sends IGMP and MLD queries where it waits for members, unless another querier does.
    pub sends_queries: bool,
    /// Whether groups that are forwarded one way only are taken off their interface, past the kernel's network stack. With
    /// [`Wire::Require`], opening fails if that is not possible, and a group that is joined later and cannot be taken is not
    /// forwarded, with [`DriverEvent::Problem`]. The group of announcements, and groups that several legs of a network namespace
    /// receive, stay with the sockets.
    pub wire: Wire,
    /// Its tunnels.
    pub tunnels: TunnelOptions,
    /// How HTTP clients are served. `None` to find out only what would be done: then nobody can connect.
    pub http: Option<HttpConfig>,
    /// Whether it is opened for [`Driver::check`] only. Then it serves no gateways of AMT, at addresses at which a running
    /// relay may serve them.
    pub only_checks: bool,
}

impl fmt::Debug for DriverOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverOptions").field("relay", &self.relay).finish_non_exhaustive()
    }
}

/// Runs a relay.
pub struct Driver {
    relay: Relay,
    ports: PortBlock,
    clock: Clock,
    registry: Registry,
    /// The first one is that of the relay itself.
    namespaces: Vec<LegNamespace>,
    next_namespace_check: ClockTime,
    next_member_check: ClockTime,
    legs: Vec<DriverLeg>,
    /// Legs whose groups have to be joined or left.
    changed: BTreeSet<LegId>,
    paths: HashMap<PathId, PathSocket>,
    /// Legs that are relays of AMT.
    gateways: BTreeMap<LegId, GatewaySocket>,
    /// Addresses at which gateways of AMT send requests.
    listeners: BTreeMap<SocketAddr, AmtListener>,
    /// Those of which gateways have joined or left groups.
    changed_listeners: BTreeSet<SocketAddr>,
    loops: Vec<PendingLoop>,
    tunnels: Tunnels,
    http: HttpSide,
    reflectors: ReflectorSearch,
    containers: Containers,
    sends_queries: bool,
    wire: Wire,
    /// While it starts, a missing permission is an error, later an event.
    is_starting: bool,
    /// Whether it only finds out what it would do: then it sends no copies.
    is_checking: bool,
    /// Whether it has reported that it does not announce addresses to neighbors.
    has_reported_unannounced: bool,
    /// Whether the rules have been replaced, and nothing else has been done about that.
    has_new_rules: bool,
    batches: Option<Batches>,
    buffer: Vec<u8>,
    events: VecDeque<DriverEvent>,
    counts: DriverCounts,
    span: Span,
}

/// Ends the wait of a [`Driver`] from another thread.
#[derive(Clone, Debug)]
pub struct DriverWaker(Arc<Poller>);

impl DriverWaker {
    /// Ends the current wait, or the next one.
    ///
    /// # Errors
    /// The system's error.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

impl Driver {
    /// Opens the legs whose interfaces are there. The others are opened when they appear.
    ///
    /// # Errors
    /// Returns an error if a permission is missing, or the rules name too many legs.
    pub fn open(options: DriverOptions) -> Result<Self, DriverError> {
        let (ports, rules) = (options.relay.ports, options.relay.rules.clone());
        let (clock, registry) =
            (Clock::new(), Registry::new().map_err(DriverError::system("create a poller"))?);
        let mut driver = Self {
            relay: Relay::new(options.relay)?,
            ports,
            clock,
            http: HttpSide::new(options.http, clock, registry.poller()),
            registry,
            namespaces: Vec::new(),
            next_namespace_check: ClockTime::START,
            next_member_check: ClockTime::START,
            legs: Vec::new(),
            changed: BTreeSet::new(),
            paths: HashMap::new(),
            gateways: BTreeMap::new(),
            listeners: BTreeMap::new(),
            changed_listeners: BTreeSet::new(),
            loops: Vec::new(),
            tunnels: Tunnels::new(),
            reflectors: ReflectorSearch::new(),
            containers: Containers::new(options.containers),
            sends_queries: options.sends_queries,
            wire: options.wire,
            is_starting: true,
            is_checking: options.only_checks,
            has_reported_unannounced: false,
            has_new_rules: false,
            batches: Some(Batches::new()),
            buffer: vec![0; DATAGRAM_BYTES],
            events: VecDeque::new(),
            counts: DriverCounts::default(),
            span: trace_span!("relay", rules = rules.len()),
        };
        driver.add_own_namespace()?;
        check_right_to_keep_sources(&rules)?;
        if !driver.is_checking {
            driver.open_listeners(&rules)?;
        }
        driver.add_legs()?;
        driver.check_namespaces()?;
        driver.open_tunnels(options.tunnels)?;
        driver.listen_for_clients()?;
        driver.report_reflectors();
        driver.is_starting = false;
        Ok(driver)
    }

    /// Waits for at most this time, and does what has to be done.
    ///
    /// # Errors
    /// Returns an error if the relay cannot continue.
    pub fn poll(&mut self, longest: Duration) -> Result<(), DriverError> {
        self.http.start().map_err(DriverError::system("start a thread for HTTP clients"))?;
        self.do_due()?;
        let wait = (self.deadline() - self.now()).min(longest);
        let failed = DriverError::system("wait for datagrams");
        match self.registry.poller().wait(Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        let mut ready = Ready::empty();
        self.registry.poller().ready(READY_AT_ONCE, &mut ready).map_err(failed)?;
        for token in ready.sockets() {
            self.handle(*token)?;
        }
        self.do_due()
    }

    /// Returns the next event.
    pub fn next_event(&mut self) -> Option<DriverEvent> {
        let event = self.events.pop_front()?;
        let text = Described(&event);
        match event.severity() {
            EventSeverity::Problem => trace_event!(self.span, WARN, text),
            EventSeverity::Note | EventSeverity::Detail => trace_event!(self.span, INFO, text),
        }
        Some(event)
    }

    /// Replaces the rules. What both have in common continues without interruption.
    ///
    /// # Errors
    /// Returns an error if they name too many legs, or gateways of AMT cannot be served at an address; the old rules then
    /// remain. The sockets for the new ones are opened by the next [`Self::poll`].
    pub fn replace_rules(&mut self, rules: Vec<Rule>) -> Result<(), DriverError> {
        let AddedListeners { added, unused } = self.open_listeners(&rules)?;
        if let Err(error) = self.relay.replace_rules(self.now(), rules) {
            self.close_listeners(&added);
            return Err(error.into());
        }
        self.close_listeners(&unused);
        self.has_new_rules = true;
        Ok(())
    }

    /// Replaces what authenticates announcements.
    pub fn set_authenticators(&mut self, authenticators: Vec<Arc<dyn Authenticator>>) {
        self.relay.set_authenticators(self.now(), authenticators);
    }

    /// Replaces what requests of HTTP clients must have, and the playlist. Streams that are being sent continue, except for
    /// those of groups that only the former playlist named.
    pub fn set_http_access(&mut self, token: Option<String>, playlist: Playlist) {
        self.http.set_access(token, playlist);
    }

    /// Listens for other relays, without forwarding anything, and returns what the relay would do.
    ///
    /// # Errors
    /// As for [`Self::poll`].
    pub fn check(mut self) -> Result<CheckReport, DriverError> {
        self.is_checking = true;
        let end = self.now() + CHECK_TIME;
        while self.now() < end {
            self.poll(end - self.now())?;
        }
        let (peers, tunnels) = (self.relay.peers(self.now()), self.tunnels().collect());
        // The state machine decides what it would do, and what it requests for that is not done.
        let after = self.now() + DECISION_TIME;
        self.relay.handle_timeout(after);
        let pairs = self.relay.pairs().collect();
        let http = http::http_rules(&self.relay, |leg| self.is_up(leg)).collect();
        let unreceivable = self.unreceivable()?;
        while self.relay.poll_output().is_some() {}
        self.stop()?;
        Ok(CheckReport { pairs, peers, tunnels, http, unreceivable })
    }

    /// Stops: says goodbye, so that another relay takes over at once.
    ///
    /// # Errors
    /// As for [`Self::poll`].
    pub fn stop(&mut self) -> Result<(), DriverError> {
        self.relay.stop(self.now());
        self.http.stop();
        self.take_outputs()?;
        self.stop_amt();
        self.stop_tunnels();
        Ok(())
    }

    /// Returns the state machine, for its rules, legs and counters.
    #[must_use]
    pub const fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Returns the counters beside those of the rules.
    #[must_use]
    pub const fn counts(&self) -> DriverCounts {
        self.counts
    }

    /// Counts what the system has dropped by now.
    pub fn count_losses(&mut self) {
        let now = self.now();
        for (leg, number) in self.legs.iter_mut().zip(0..) {
            let Some(open) = &leg.open else { continue };
            self.counts.lost += leg.losses.update(open.joins.dropped());
            if let Some(count) = leg.losses.report(now) {
                self.events.push_back(DriverEvent::ReceiveLost { leg: LegId(number), count });
            }
        }
    }

    /// Returns what HTTP clients have been served.
    #[must_use]
    pub fn http_counts(&self) -> HttpCounts {
        self.http.counts()
    }

    /// Returns the relays whose announcements arrive.
    #[must_use]
    pub fn peers(&self) -> Vec<crate::PeerStatus> {
        self.relay.peers(self.now())
    }

    /// Returns whether the interface of a leg is up.
    #[must_use]
    pub fn is_up(&self, leg: LegId) -> bool {
        let is_open = self.legs.get(usize::from(leg.0)).is_some_and(|leg| leg.open.is_some());
        is_open || self.gateways.contains_key(&leg) || self.tunnels.is_up(leg)
    }

    /// Returns a handle that ends the wait of [`Self::poll`].
    #[must_use]
    pub fn waker(&self) -> DriverWaker {
        DriverWaker(Arc::clone(self.registry.poller()))
    }

    fn now(&self) -> ClockTime {
        self.clock.now()
    }

    /// Does what is due.
    fn do_due(&mut self) -> Result<(), DriverError> {
        let now = self.now();
        if std::mem::take(&mut self.has_new_rules) {
            // Legs exist before the outputs that name them are carried out.
            self.reflectors.restart();
            self.add_legs()?;
            self.take_outputs()?;
            self.check_namespaces()?;
            self.follow_rules()?;
            self.listen_for_clients()?;
        }
        if self.relay.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.relay.handle_timeout(now);
            self.take_outputs()?;
        }
        // What the relay decided above may end in tunnels, at clients and at gateways, so these follow.
        self.report_loops(now);
        self.do_due_in_tunnels()?;
        self.follow_clients()?;
        self.do_due_for_amt()?;
        for position in 0..self.legs.len() {
            let Some(members) = self.legs[position].open.as_mut().and_then(|open| open.members.as_mut())
            else {
                continue;
            };
            let (sent, has_more) = (members.send_due(now), members.has_more);
            if let Err(error) = sent {
                self.tolerate(position, error)?;
            }
            if has_more {
                self.receive_reports(LegId(position as u8))?;
            }
        }
        self.receive_gathered(now)?;
        self.announce_addresses();
        if now >= self.next_namespace_check {
            self.check_namespaces()?;
            self.listen_for_clients()?;
        }
        if now >= self.next_member_check {
            self.count_losses();
            self.check_local_members()?;
            self.report_reflectors();
        }
        Ok(())
    }

    fn deadline(&self) -> ClockTime {
        let members = self.legs.iter().filter_map(|leg| leg.open.as_ref()?.members.as_ref());
        let queries = members.filter_map(leg::MemberListener::deadline);
        let gathered = self.legs.iter().filter_map(|leg| leg.open.as_ref()?.gathering.deadline());
        let notices = self.legs.iter().filter_map(|leg| leg.open.as_ref()?.notices.poll_timeout());
        let loops = self.loops.iter().map(|_| self.now() + interfaces::POLL_INTERVAL);
        let machines = [self.relay.poll_timeout(), self.amt_deadline(), self.tunnels.deadline()];
        let deadlines =
            queries.chain(gathered).chain(notices).chain(loops).chain(machines.into_iter().flatten());
        deadlines.fold(self.next_namespace_check.min(self.next_member_check), ClockTime::min)
    }

    /// Reports what does not work on a leg, once. While the relay starts, a missing permission is an error.
    fn tolerate(&mut self, position: usize, error: DriverError) -> Result<(), DriverError> {
        if self.is_starting && error.is_permission() {
            return Err(error);
        }
        let Some(leg) = self.legs.get_mut(position) else { return Ok(()) };
        let problem = describe(&error);
        if leg.reported.insert(problem.clone()) {
            let remedy = remedy(&error);
            self.events.push_back(DriverEvent::Problem { leg: LegId(position as u8), problem, remedy });
        }
        Ok(())
    }
}

/// Returns an error if a rule keeps sources and the right for that is missing.
fn check_right_to_keep_sources(rules: &[Rule]) -> Result<(), DriverError> {
    if !rules.iter().any(|rule| rule.keep_source) {
        return Ok(());
    }
    let checked = Socket::open(Family::V4).and_then(|socket| socket.send_as_others());
    checked.map_err(DriverError::system(KEEP_SOURCE))
}

/// Returns an error with its causes in one line. Some errors contain the system's already.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    causes.fold(error.to_string(), |text, cause| match text.contains(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

fn remedy(error: &DriverError) -> Option<String> {
    match error {
        DriverError::Multicast(error) => error.remedy(),
        _ => error.remedy(),
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("relay", &self.relay).field("legs", &self.legs).finish_non_exhaustive()
    }
}
