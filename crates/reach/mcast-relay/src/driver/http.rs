//! HTTP clients: their rules, the groups that they request, and the datagrams for them. They are served by a thread of
//! their own, so that none of them delays a leg.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use mcast_group::GroupAddr;
use mcast_http::{HttpDriver, HttpEvent, HttpWaker};
use mcast_pace::ClockTime;
use mcast_sys::poller::Poller;

use super::clock::Clock;
use super::{Driver, DriverError, DriverEvent, describe, gather, remedy};
use crate::http::{
    HttpConfig, HttpCounts, HttpDatagram, HttpDemand, HttpLapse, HttpRejoin, HttpRule, HttpServer, Playlist,
};
use crate::{LegId, Relay, RuleTarget};

/// The most that waits for the thread.
const MAX_QUEUED: usize = 4_096;
const MAX_QUEUED_BYTES: usize = 16 << 20;

/// The driver's side of serving HTTP clients.
pub(super) struct HttpSide {
    /// `None` if nobody can connect.
    config: Option<HttpConfig>,
    exchange: Option<Arc<Exchange>>,
    /// The sockets, until the thread starts.
    sockets: Option<HttpDriver>,
    thread: Option<JoinHandle<()>>,
    clock: Clock,
    waker: Arc<Poller>,
    is_changed: bool,
    listening: BTreeSet<SocketAddr>,
    /// What has been reported about addresses.
    failed: BTreeMap<SocketAddr, String>,
    demand: HttpDemand,
    /// Datagrams of a batch that are passed together, and those that did not fit.
    batch: Vec<HttpDatagram>,
    lost: BTreeMap<(LegId, GroupAddr), u64>,
}

/// What is known about a datagram that clients may request: the fields of [`HttpDatagram`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ServedArrival {
    pub(super) leg: LegId,
    pub(super) address: GroupAddr,
    pub(super) source: SocketAddr,
    pub(super) time: Option<SystemTime>,
    pub(super) lost: u64,
}

/// What the driver and the thread pass to each other.
pub(super) struct Exchange {
    waker: HttpWaker,
    driver: Arc<Poller>,
    inbox: Mutex<Inbox>,
    outbox: Mutex<ServerReport>,
}

/// For the thread.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) datagrams: Vec<HttpDatagram>,
    bytes: usize,
    pub(super) listeners: Vec<(SocketAddr, TcpListener)>,
    pub(super) rules: Option<Vec<HttpRule>>,
    /// What requests must have, and the playlist.
    pub(super) access: Option<(Option<String>, Playlist)>,
    pub(super) is_stopping: bool,
    /// Whether the datagrams have gathered before.
    have_gathered: bool,
    /// Whether the thread looks for datagrams within [`PAUSE`] without being woken.
    is_pausing: bool,
}

impl Inbox {
    /// Whether more datagrams are to gather before the thread takes them.
    fn needs_pause(&self) -> bool {
        !self.datagrams.is_empty() && !self.have_gathered
    }
}

/// For the driver.
#[derive(Default)]
pub(super) struct ServerReport {
    pub(super) demand: Option<HttpDemand>,
    pub(super) rejoins: Vec<HttpRejoin>,
    pub(super) lapses: Vec<HttpLapse>,
    pub(super) events: Vec<HttpEvent>,
    pub(super) counts: HttpCounts,
}

impl Exchange {
    fn new(waker: HttpWaker, driver: &Arc<Poller>) -> Self {
        Self { waker, driver: Arc::clone(driver), inbox: Mutex::default(), outbox: Mutex::default() }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, ServerReport> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what there is for the thread, which pauses now if that is datagrams.
    fn take_inbox(&self) -> Inbox {
        let mut inbox = self.inbox();
        let taken = std::mem::take(&mut *inbox);
        inbox.is_pausing = taken.needs_pause();
        taken
    }

    /// Passes a report to the driver, which is woken if there is something to do.
    pub(super) fn report(&self, report: ServerReport) {
        let is_urgent = report.demand.is_some()
            || !(report.events.is_empty() && report.rejoins.is_empty() && report.lapses.is_empty());
        let mut outbox = self.outbox();
        outbox.counts = report.counts;
        outbox.events.extend(report.events);
        outbox.rejoins.extend(report.rejoins);
        outbox.lapses.extend(report.lapses);
        outbox.demand = report.demand.or_else(|| outbox.demand.take());
        drop(outbox);
        if is_urgent {
            // If this fails, the driver looks a little later.
            let _ = self.driver.wake();
        }
    }

    fn wake(&self) {
        self.waker.wake();
    }
}

impl HttpSide {
    pub(super) fn new(config: Option<HttpConfig>, clock: Clock, waker: &Arc<Poller>) -> Self {
        Self {
            config,
            exchange: None,
            sockets: None,
            thread: None,
            clock,
            waker: Arc::clone(waker),
            is_changed: true,
            listening: BTreeSet::new(),
            failed: BTreeMap::new(),
            demand: HttpDemand::default(),
            batch: Vec::new(),
            lost: BTreeMap::new(),
        }
    }

    /// Starts the thread, if clients can connect. Until then, connections wait: rights are dropped in between, and
    /// each thread has its own.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let (Some(exchange), Some(config)) = (&self.exchange, &self.config) else { return Ok(()) };
        let Some(sockets) = self.sockets.take() else { return Ok(()) };
        let thread = HttpThread::new(config.clone(), Arc::clone(exchange), sockets, self.clock);
        self.thread = Some(std::thread::Builder::new().name("http".into()).spawn(move || thread.run())?);
        Ok(())
    }

    /// Replaces what requests must have, and the playlist.
    pub(super) fn set_access(&mut self, token: Option<String>, playlist: Playlist) {
        let Some(config) = &mut self.config else { return };
        (config.access.token, config.playlist) = (token.clone(), playlist.clone());
        if let Some(exchange) = &self.exchange {
            exchange.inbox().access = Some((token, playlist));
            exchange.wake();
        }
    }

    /// Ends all connections.
    pub(super) fn stop(&mut self) {
        self.config = None;
        if let (Some(exchange), Some(thread)) = (self.exchange.take(), self.thread.take()) {
            exchange.inbox().is_stopping = true;
            exchange.wake();
            // It does not panic, and if it did, nothing would be left to do.
            let _ = thread.join();
            self.failed.clear();
        }
    }

    pub(super) const fn rules_changed(&mut self) {
        self.is_changed = true;
    }

    /// Returns the groups that clients request.
    pub(super) const fn demand(&self) -> &HttpDemand {
        &self.demand
    }

    pub(super) fn counts(&self) -> HttpCounts {
        self.exchange.as_ref().map(|exchange| exchange.outbox().counts.clone()).unwrap_or_default()
    }

    /// Passes the datagrams of a batch to the thread. Returns whether there were any. `have_gathered`: before, so that the
    /// thread need not wait for more of them.
    pub(super) fn pass(&mut self, have_gathered: bool) -> bool {
        let Some(exchange) = self.exchange.as_ref().filter(|_| !self.batch.is_empty()) else { return false };
        let mut inbox = exchange.inbox();
        inbox.have_gathered = have_gathered;
        for mut datagram in self.batch.drain(..) {
            let key = (datagram.leg, datagram.address);
            datagram.lost += self.lost.remove(&key).unwrap_or(0);
            if inbox.datagrams.len() < MAX_QUEUED && inbox.bytes < MAX_QUEUED_BYTES {
                inbox.bytes += datagram.payload.len();
                inbox.datagrams.push(datagram);
            } else {
                self.lost.insert(key, datagram.lost + 1);
            }
        }
        let is_pausing = inbox.is_pausing;
        drop(inbox);
        if !is_pausing {
            exchange.wake();
        }
        true
    }

    fn exchange(&mut self) -> Result<&Arc<Exchange>, DriverError> {
        match &mut self.exchange {
            Some(exchange) => Ok(exchange),
            none => {
                let sockets =
                    HttpDriver::new(self.clock.http()).map_err(DriverError::system("create a poller"))?;
                let exchange = Exchange::new(sockets.waker(), &self.waker);
                self.sockets = Some(sockets);
                Ok(none.insert(Arc::new(exchange)))
            }
        }
    }

    /// Listens at an address.
    fn listen(&mut self, address: SocketAddr) -> Result<(), DriverError> {
        let failed = |source| DriverError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        self.exchange()?.inbox().listeners.push((address, listener));
        self.listening.insert(address);
        Ok(())
    }
}

impl Driver {
    /// Listens at the addresses of the rules. One that the host does not have yet is tried again later; so is any other,
    /// once the relay has started.
    pub(super) fn listen_for_clients(&mut self) -> Result<(), DriverError> {
        if self.http.config.is_none() {
            return Ok(());
        }
        let wanted: BTreeSet<_> = http_rules(&self.relay, |_| true).map(|rule| rule.listener).collect();
        self.http.listening.retain(|address| wanted.contains(address));
        self.http.failed.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if self.http.listening.contains(&address) {
                continue;
            }
            match self.http.listen(address) {
                Ok(()) => {
                    self.http.failed.remove(&address);
                    self.events.push_back(DriverEvent::HttpListening(address));
                }
                Err(DriverError::Listen { source, address })
                    if self.is_starting && source.kind() != io::ErrorKind::AddrNotAvailable =>
                {
                    return Err(DriverError::Listen { address, source });
                }
                Err(error) => {
                    let (problem, remedy) = (describe(&error), remedy(&error));
                    if self.http.failed.insert(address, problem.clone()).as_ref() != Some(&problem) {
                        self.events.push_back(DriverEvent::HttpFailed { address, problem, remedy });
                    }
                }
            }
        }
        Ok(())
    }

    /// Passes rules that have changed to the thread, and does what it requests.
    pub(super) fn follow_clients(&mut self) -> Result<(), DriverError> {
        let Some(exchange) = self.http.exchange.clone() else { return Ok(()) };
        if std::mem::take(&mut self.http.is_changed) {
            let rules = http_rules(&self.relay, |leg| self.is_up(leg)).collect();
            exchange.inbox().rules = Some(rules);
            exchange.wake();
        }
        let ServerReport { demand, rejoins, lapses, events, .. } = {
            let mut outbox = exchange.outbox();
            let counts = outbox.counts.clone();
            std::mem::replace(&mut *outbox, ServerReport { counts, ..ServerReport::default() })
        };
        self.events.extend(events.into_iter().map(DriverEvent::Http));
        self.events.extend(lapses.into_iter().map(forgotten));
        for HttpRejoin { leg, address } in rejoins {
            self.rejoin(leg, address)?;
        }
        let Some(demand) = demand else { return Ok(()) };
        self.changed.extend(self.http.demand.legs().chain(demand.legs()));
        self.http.demand = demand;
        self.take_outputs()
    }

    /// Passes a datagram to the thread if a client requests it. The relay has received it before.
    pub(super) fn serve(&mut self, now: ClockTime, arrival: ServedArrival, payload: &[u8]) {
        let ServedArrival { leg, address, source, time, lost } = arrival;
        let Some(rule) = self.http.demand.rule_for(leg, address, source.ip()) else { return };
        if self.relay.serve(now, rule, source.ip(), payload.len()) {
            self.http.batch.push(HttpDatagram { leg, address, source, time, lost, payload: payload.into() });
        }
    }
}

/// Returns the report about a network that forgets who receives a group.
fn forgotten(HttpLapse { leg, address, after, every }: HttpLapse) -> DriverEvent {
    let (after, every) = (after.as_secs(), every.as_secs());
    let problem = format!(
        "{address} fell silent {after} s after it was joined, and came back when it was joined again: a switch of this \
         network forgets members, because there is no querier; from now on, the relay joins again every {every} s"
    );
    let remedy = "enable a querier in this network, on a switch or with `mcast querier --become`; \
                  `mcast doctor` finds out whether there is one";
    DriverEvent::Problem { leg, problem, remedy: Some(remedy.into()) }
}

/// Returns what the rules serve to HTTP clients.
pub(super) fn http_rules(relay: &Relay, is_up: impl Fn(LegId) -> bool) -> impl Iterator<Item = HttpRule> {
    let legs: Vec<_> = relay.legs().map(|(id, leg)| (id, leg.clone())).collect();
    let served = relay.rules().zip(0..).flat_map(|((rule, _), number)| {
        let pairs = rule.pairs().into_iter();
        pairs.filter_map(move |(from, target)| match target {
            RuleTarget::Http(listener) => Some((number, rule.traffic.clone(), from, listener)),
            RuleTarget::Leg(_) | RuleTarget::Unicast(_) | RuleTarget::AmtGateways(_) => None,
        })
    });
    served.filter_map(move |(rule, traffic, from, listener)| {
        let leg = legs.iter().find(|(_, known)| *known == from)?.0;
        Some(HttpRule { listener, rule, traffic, leg, leg_name: from.to_string(), is_up: is_up(leg) })
    })
}

/// The time in which datagrams gather after others, so that those of fast streams are written together. The first one after
/// a pause does not wait.
const PAUSE: Duration = gather::LONGEST;
/// The time that clients have to take the end when the relay stops.
const STOPPING: Duration = Duration::from_millis(300);

pub(super) struct HttpThread {
    server: HttpServer,
    exchange: Arc<Exchange>,
    sockets: HttpDriver,
    clock: Clock,
    /// When it looks for datagrams.
    pausing: Option<ClockTime>,
    stop_at: Option<ClockTime>,
}

impl HttpThread {
    pub(super) fn new(
        config: HttpConfig,
        exchange: Arc<Exchange>,
        sockets: HttpDriver,
        clock: Clock,
    ) -> Self {
        Self { server: HttpServer::new(config), exchange, sockets, clock, pausing: None, stop_at: None }
    }

    pub(super) fn run(mut self) {
        while self.stop_at.is_none_or(|stop| self.clock.now() < stop && self.sockets.has_connections()) {
            self.take_inbox();
            self.sockets.flush(&mut self.server);
            self.report();
            let deadline = self.pausing.into_iter().chain(self.stop_at).min();
            self.sockets.wait(&mut self.server, deadline);
        }
    }

    fn take_inbox(&mut self) {
        let inbox = self.exchange.take_inbox();
        let now = self.clock.now();
        self.pausing = inbox.needs_pause().then(|| now + PAUSE);
        for (address, listener) in inbox.listeners {
            // One that cannot be waited for is closed.
            let _ = self.sockets.add_listener(address, listener);
        }
        if let Some(rules) = inbox.rules {
            self.sockets.retain_listeners(|address| rules.iter().any(|rule| rule.listener == address));
            self.server.set_rules(now, rules);
        }
        if let Some((token, playlist)) = inbox.access {
            self.server.set_access(now, token, playlist);
        }
        inbox.datagrams.iter().for_each(|datagram| self.server.handle_datagram(now, datagram));
        if inbox.is_stopping {
            self.sockets.retain_listeners(|_| false);
            self.server.set_rules(now, Vec::new());
            self.stop_at = Some(now + STOPPING);
        }
    }

    fn report(&mut self) {
        let events = std::iter::from_fn(|| self.server.poll_event()).collect();
        let rejoins = std::iter::from_fn(|| self.server.poll_rejoin()).collect();
        let lapses = std::iter::from_fn(|| self.server.poll_lapse()).collect();
        let (demand, counts) = (self.server.poll_demand(), self.server.counts());
        self.exchange.report(ServerReport { demand, rejoins, lapses, events, counts });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_not_woken_while_it_pauses() {
        let driver = Arc::new(Poller::new().unwrap());
        let mut side = HttpSide::new(Some(HttpConfig::new(7)), Clock::new(), &driver);
        let exchange = Arc::clone(side.exchange().unwrap());
        let (mut sockets, mut server) = (side.sockets.take().unwrap(), HttpServer::new(HttpConfig::new(7)));
        let mut pass = || {
            let (address, source) = ("239.1.2.3:5000".parse().unwrap(), "10.0.0.1:4000".parse().unwrap());
            let payload = Arc::from([0x47; 188]);
            side.batch.push(HttpDatagram { leg: LegId(0), address, source, time: None, lost: 0, payload });
            side.pass(false);
        };
        let mut is_woken = || sockets.wait(&mut server, Some(ClockTime::START));

        pass();
        assert!(is_woken(), "the first one is sent at once");
        assert_eq!(exchange.take_inbox().datagrams.len(), 1);
        pass();
        pass();
        assert!(!is_woken(), "it looks for those without being woken");
        assert_eq!(exchange.take_inbox().datagrams.len(), 2);
        assert_eq!(exchange.take_inbox().datagrams.len(), 0);
        pass();
        assert!(is_woken(), "it has paused");
    }
}
