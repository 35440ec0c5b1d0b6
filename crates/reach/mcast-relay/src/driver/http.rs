//! HTTP clients: their rules, the groups that they request, and the datagrams for them. They are served by a thread of
//! their own, so that none of them delays a leg.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use mcast_group::GroupAddr;
use mcast_pace::ClockTime;
use mcast_sys::poller::{Interest, Poller};
use mcast_sys::ready::{READY_AT_ONCE, Ready};
use socket2::{SockRef, TcpKeepalive};

use super::clock::Clock;
use super::{Driver, DriverError, DriverEvent, describe, gather};
use crate::http::{
    HttpClientId, HttpConfig, HttpCounts, HttpDatagram, HttpDemand, HttpEvent, HttpLapse, HttpRejoin,
    HttpRule, HttpServer, Playlist,
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
    pub(super) poller: Poller,
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
    fn new(driver: &Arc<Poller>) -> io::Result<Self> {
        let (inbox, outbox) = (Mutex::default(), Mutex::default());
        Ok(Self { poller: Poller::new()?, driver: Arc::clone(driver), inbox, outbox })
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
        // If this fails, the thread looks at its next deadline.
        let _ = self.poller.wake();
    }
}

impl HttpSide {
    pub(super) fn new(config: Option<HttpConfig>, clock: Clock, waker: &Arc<Poller>) -> Self {
        Self {
            config,
            exchange: None,
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
        let (None, Some(exchange), Some(config)) = (&self.thread, &self.exchange, &self.config) else {
            return Ok(());
        };
        let thread = HttpThread::new(config.clone(), Arc::clone(exchange), self.clock);
        self.thread = Some(std::thread::Builder::new().name("http".into()).spawn(move || thread.run())?);
        Ok(())
    }

    /// Replaces what requests must have, and the playlist.
    pub(super) fn set_access(&mut self, token: Option<String>, playlist: Playlist) {
        let Some(config) = &mut self.config else { return };
        (config.token, config.playlist) = (token.clone(), playlist.clone());
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
                let exchange = Exchange::new(&self.waker).map_err(DriverError::system("create a poller"))?;
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
                    let problem = describe(&error);
                    if self.http.failed.insert(address, problem.clone()).as_ref() != Some(&problem) {
                        self.events.push_back(DriverEvent::HttpFailed { address, problem });
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
        "{address} fell silent {after} s after it was joined, and came back when it was joined again: this network forgets \
         who receives a group, because no querier asks; from now on, the relay joins it again every {every} s"
    );
    let remedy = "turn on a querier in this network, as in a switch or by `mcast querier --become`; \
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

/// Tokens of listeners start here, those of clients at 0.
const LISTENERS: usize = usize::MAX / 2;
/// Connections that are accepted, and writes to one client, before others are served.
const AT_ONCE: usize = 16;
const READ_BYTES: usize = 4_096;
/// What the system keeps for a client; without this it would be several megabytes for one that takes nothing.
const SEND_BUFFER: usize = 512 << 10;
/// The time after which a connection without traffic is tested, and one that answers nothing is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The time in which datagrams gather after others, so that those of fast streams are written together. The first one after
/// a pause does not wait.
const PAUSE: Duration = gather::LONGEST;
/// The time without accepting connections after that failed, for example without free descriptors.
const RECOVERY: Duration = Duration::from_millis(100);
/// The time that clients have to take the end when the relay stops.
const STOPPING: Duration = Duration::from_millis(300);

pub(super) struct HttpThread {
    server: HttpServer,
    exchange: Arc<Exchange>,
    clock: Clock,
    listeners: BTreeMap<usize, (SocketAddr, TcpListener)>,
    next_listener: usize,
    /// Until when no connection is accepted.
    resting: Option<ClockTime>,
    /// When it looks for datagrams.
    pausing: Option<ClockTime>,
    connections: HashMap<HttpClientId, Connection>,
    stop_at: Option<ClockTime>,
}

struct Connection {
    stream: TcpStream,
    /// Whether it takes nothing at present.
    is_full: bool,
    is_shut_down: bool,
}

impl HttpThread {
    pub(super) fn new(config: HttpConfig, exchange: Arc<Exchange>, clock: Clock) -> Self {
        Self {
            server: HttpServer::new(config),
            exchange,
            clock,
            listeners: BTreeMap::new(),
            next_listener: LISTENERS,
            resting: None,
            pausing: None,
            connections: HashMap::new(),
            stop_at: None,
        }
    }

    pub(super) fn run(mut self) {
        while self.stop_at.is_none_or(|stop| self.now() < stop && !self.connections.is_empty()) {
            self.take_inbox();
            let now = self.now();
            if self.resting.is_some_and(|until| now >= until) {
                self.resting = None;
                self.accept_from(Interest::Readable);
            }
            self.server.handle_timeout(now);
            let ids: Vec<_> = self.connections.keys().copied().collect();
            ids.into_iter().for_each(|id| self.flush(id));
            self.report();
            self.wait();
        }
    }

    fn now(&self) -> ClockTime {
        self.clock.now()
    }

    fn take_inbox(&mut self) {
        let inbox = self.exchange.take_inbox();
        let now = self.now();
        self.pausing = inbox.needs_pause().then(|| now + PAUSE);
        for (address, listener) in inbox.listeners {
            let added = self.exchange.poller.add_descriptor(listener.as_fd(), self.next_listener);
            if added.is_ok() {
                self.listeners.insert(self.next_listener, (address, listener));
                self.next_listener += 1;
            }
        }
        if let Some(rules) = inbox.rules {
            self.listeners.retain(|_, (address, _)| rules.iter().any(|rule| rule.listener == *address));
            self.server.set_rules(now, rules);
        }
        if let Some((token, playlist)) = inbox.access {
            self.server.set_access(now, token, playlist);
        }
        inbox.datagrams.iter().for_each(|datagram| self.server.handle_datagram(now, datagram));
        if inbox.is_stopping {
            self.listeners.clear();
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

    fn wait(&mut self) {
        let deadline = [self.server.poll_timeout(), self.resting, self.pausing, self.stop_at]
            .into_iter()
            .flatten()
            .min();
        let timeout = deadline.map(|deadline| deadline - self.now());
        let mut ready = Ready::empty();
        // A signal ends the wait early. What else could fail would fail again: the loop continues with its deadlines.
        if self.exchange.poller.wait(timeout).is_err()
            || self.exchange.poller.ready(READY_AT_ONCE, &mut ready).is_err()
        {
            return;
        }
        for token in ready.sockets() {
            match token.checked_sub(LISTENERS) {
                Some(_) => self.accept(*token),
                None => self.serve(HttpClientId(*token as u64)),
            }
        }
    }

    fn accept(&mut self, token: usize) {
        for _ in 0..AT_ONCE {
            let Some((address, listener)) = self.listeners.get(&token) else { return };
            let address = *address;
            match listener.accept() {
                Ok((stream, client)) => self.connect(address, stream, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.resting = Some(self.now() + RECOVERY);
                    self.accept_from(Interest::Nothing);
                    return;
                }
            }
        }
    }

    fn accept_from(&self, interest: Interest) {
        for (token, (_, listener)) in &self.listeners {
            // This only fails for a descriptor that is not registered.
            let _ = self.exchange.poller.set_interest(listener.as_fd(), *token, interest);
        }
    }

    fn connect(&mut self, listener: SocketAddr, stream: TcpStream, client: SocketAddr) {
        let now = self.now();
        if set_up(&stream).is_err() {
            return;
        }
        let Some(id) = self.server.handle_connect(now, listener, client) else { return };
        let token = usize::try_from(id.0).ok().filter(|token| *token < LISTENERS);
        let added = token.map(|token| self.exchange.poller.add_descriptor(stream.as_fd(), token));
        match added {
            Some(Ok(())) => {
                self.connections.insert(id, Connection { stream, is_full: false, is_shut_down: false });
            }
            Some(Err(_)) | None => self.server.handle_disconnected(now, id),
        }
    }

    /// Reads from a client that is readable, or has become writable.
    fn serve(&mut self, id: HttpClientId) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::take(&mut connection.is_full) {
            self.wait_for(id, Interest::Readable);
        }
        let mut buffer = [0; READ_BYTES];
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.stream.read(&mut buffer) {
            Ok(0) => self.close(id),
            Ok(count) => self.server.handle_bytes(now, id, &buffer[..count]),
            Err(error) if is_transient(&error) => {}
            Err(_) => self.close(id),
        }
    }

    /// Writes what there is for a client.
    fn flush(&mut self, id: HttpClientId) {
        for _ in 0..AT_ONCE {
            let now = self.now();
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_full)
            else {
                break;
            };
            let slices = self.server.poll_transmit(now, id);
            let length: usize = slices.iter().map(|slice| slice.len()).sum();
            if length == 0 {
                break;
            }
            match connection.stream.write_vectored(&slices) {
                Ok(count) => {
                    self.server.handle_written(now, id, count);
                    if count < length {
                        self.wait_for(id, Interest::ReadableOrWritable);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) => self.wait_for(id, Interest::ReadableOrWritable),
                Err(_) => self.close(id),
            }
        }
        self.end_if_due(id);
    }

    /// Ends a connection whose response is complete, or that must be dropped. The client sees an ordinary end after what
    /// the system has taken.
    fn end_if_due(&mut self, id: HttpClientId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if self.server.is_ending(id) && !std::mem::replace(&mut connection.is_shut_down, true) {
            // It fails if the client is gone, which is noticed when it is read from.
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
        if self.server.is_gone(id) {
            self.close(id);
        }
    }

    fn wait_for(&mut self, id: HttpClientId, interest: Interest) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_full = interest == Interest::ReadableOrWritable;
        let (stream, token) = (connection.stream.as_fd(), id.0 as usize);
        if self.exchange.poller.set_interest(stream, token, interest).is_err() {
            self.close(id);
        }
    }

    fn close(&mut self, id: HttpClientId) {
        self.connections.remove(&id);
        self.server.handle_disconnected(self.now(), id);
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_user_timeout(Some(KEEP_ALIVE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
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
        let mut pass = || {
            let (address, source) = ("239.1.2.3:5000".parse().unwrap(), "10.0.0.1:4000".parse().unwrap());
            let payload = Arc::from([0x47; 188]);
            side.batch.push(HttpDatagram { leg: LegId(0), address, source, time: None, lost: 0, payload });
            side.pass(false);
        };
        let is_woken = || {
            let is_ready = exchange.poller.wait(Some(Duration::ZERO)).unwrap();
            exchange.poller.ready(READY_AT_ONCE, &mut Ready::empty()).unwrap();
            is_ready
        };

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
