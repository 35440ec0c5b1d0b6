//! HTTP clients: their rules, the groups that they request, and the datagrams for them. They are served by a thread of
//! their own, so that none of them delays a leg.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mcast_group::GroupAddr;
use mcast_sys::poller::Poller;

use super::http_thread::HttpThread;
use super::{Driver, DriverError, DriverEvent, describe};
use crate::http::{HttpChannel, HttpConfig, HttpCounts, HttpDatagram, HttpDemand, HttpEvent, HttpRule};
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
    start: Instant,
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
    /// What requests must have, and the channels with names.
    pub(super) access: Option<(Option<String>, Vec<HttpChannel>)>,
    pub(super) is_stopping: bool,
}

/// For the driver.
#[derive(Default)]
pub(super) struct ServerReport {
    pub(super) demand: Option<HttpDemand>,
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

    pub(super) fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut self.inbox())
    }

    /// Passes a report to the driver, which is woken if there is something to do.
    pub(super) fn report(&self, report: ServerReport) {
        let is_urgent = report.demand.is_some() || !report.events.is_empty();
        let mut outbox = self.outbox();
        outbox.counts = report.counts;
        outbox.events.extend(report.events);
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
    pub(super) fn new(config: Option<HttpConfig>, start: Instant, waker: &Arc<Poller>) -> Self {
        Self {
            config,
            exchange: None,
            thread: None,
            start,
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
        let thread = HttpThread::new(config.clone(), Arc::clone(exchange), self.start);
        self.thread = Some(std::thread::Builder::new().name("http".into()).spawn(move || thread.run())?);
        Ok(())
    }

    /// Replaces what requests must have, and the channels with names.
    pub(super) fn set_access(&mut self, token: Option<String>, channels: Vec<HttpChannel>) {
        let Some(config) = &mut self.config else { return };
        (config.token, config.channels) = (token.clone(), channels.clone());
        if let Some(exchange) = &self.exchange {
            exchange.inbox().access = Some((token, channels));
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

    /// Passes the datagrams of a batch to the thread.
    pub(super) fn pass(&mut self) {
        let Some(exchange) = self.exchange.as_ref().filter(|_| !self.batch.is_empty()) else { return };
        let mut inbox = exchange.inbox();
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
        drop(inbox);
        exchange.wake();
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
        let (demand, events) = {
            let mut outbox = exchange.outbox();
            (outbox.demand.take(), std::mem::take(&mut outbox.events))
        };
        self.events.extend(events.into_iter().map(DriverEvent::Http));
        let Some(demand) = demand else { return Ok(()) };
        self.changed.extend(self.http.demand.legs().chain(demand.legs()));
        self.http.demand = demand;
        self.take_outputs()
    }

    /// Passes a datagram to the thread if a client requests it. The relay has received it before.
    pub(super) fn serve(&mut self, now: Duration, arrival: ServedArrival, payload: &[u8]) {
        let ServedArrival { leg, address, source, time, lost } = arrival;
        let Some(rule) = self.http.demand.rule_for(leg, address, source.ip()) else { return };
        if self.relay.serve(now, rule, source.ip(), payload.len()) {
            self.http.batch.push(HttpDatagram { leg, address, source, time, lost, payload: payload.into() });
        }
    }
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
