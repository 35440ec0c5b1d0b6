//! Queriers on several interfaces that come and go.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mcast::{Family, Interface};
use mcast_capture::{Capture, ErrorKind, InterfaceQuerier, QuerierEvent, QuerierState};
use mcast_packet::gmp::querier::{ClockTime, QuerierSettings};

use super::LiveError;
use super::querier_listener::{CapturedQuery, QuerierInterface, capture_control, own_address};
use crate::ObservedQuery;

/// The interval of checks for changed interfaces.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Sends queries on interfaces unless a querier with a lower address does. It follows interfaces that go down, change
/// their address, or are replaced. Linux only; it needs `CAP_NET_RAW`.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast::Family;
/// use mcast_packet::gmp::querier::QuerierSettings;
/// use mcast_watch::live::{ActiveQueriers, QuerierInterface};
///
/// let targets = QuerierInterface::select(&["eth0".parse()?], &[Family::V4, Family::V6])?;
/// let mut queriers = ActiveQueriers::open(targets, QuerierSettings::default())?;
/// loop {
///     if let Some(query) = queriers.receive(Duration::from_millis(100))? {
///         println!("{} on {}: {}", query.query.source, query.target.name, query.text);
///     }
///     while let Some((target, event)) = queriers.next_event() {
///         println!("{}: {event:?}", target.name);
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ActiveQueriers {
    queriers: Vec<ActiveQuerier>,
    capture: Capture,
    settings: QuerierSettings,
    start: Instant,
    last_check: Instant,
    events: VecDeque<(usize, ActiveQuerierEvent)>,
}

/// A querier on one interface, for one family. It runs while the interface has an address for queries.
#[derive(Debug)]
struct ActiveQuerier {
    target: QuerierInterface,
    running: Option<InterfaceQuerier>,
    queries: u64,
    /// The last trouble, so that it is reported once.
    trouble: Option<QuerierTrouble>,
}

/// What happened to the querier of an interface and family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActiveQuerierEvent {
    /// It has started.
    Started {
        /// The source address of its queries.
        address: IpAddr,
        /// The protocol version of its queries.
        version: u8,
    },
    /// It sent a query.
    Sent {
        /// The source address of the query.
        address: IpAddr,
        /// Its protocol version.
        version: u8,
        /// The queried group; `None` for a general query.
        group: Option<IpAddr>,
        /// The query as text.
        text: String,
    },
    /// It stopped sending queries, because this querier has a lower address.
    YieldedTo(IpAddr),
    /// It sends queries again, because this other querier has gone silent.
    TookOverFrom(IpAddr),
    /// Something is wrong; reported once while it lasts.
    Trouble(QuerierTrouble),
}

/// Why a querier does not work as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuerierTrouble {
    /// The interface is down or gone.
    Down,
    /// The interface has no address that queries can be sent from.
    NoAddress,
    /// A query could not be sent; the text says why. The next one is sent when it is due.
    Unsent(String),
    /// Another querier sends queries of an older version.
    OlderVersion {
        /// The address of the other querier.
        querier: IpAddr,
        /// The version of its query.
        version: u8,
    },
}

impl ActiveQueriers {
    /// Starts queriers on these interfaces, as far as these have addresses.
    ///
    /// # Errors
    /// If the system cannot capture or send there.
    pub fn open(mut targets: Vec<QuerierInterface>, settings: QuerierSettings) -> Result<Self, LiveError> {
        targets.sort_by_key(|target| target.family);
        let capture = capture_control(targets.iter())?;
        let querier = |target| ActiveQuerier { target, running: None, queries: 0, trouble: None };
        let now = Instant::now();
        Ok(Self {
            queriers: targets.into_iter().map(querier).collect(),
            capture,
            settings,
            start: now,
            last_check: now,
            events: VecDeque::new(),
        })
    }

    /// Stops all queriers; they start again with the next [`Self::follow`], and then send startup queries.
    pub fn stop(&mut self) {
        self.queriers.iter_mut().for_each(|querier| querier.running = None);
    }

    /// Adapts to the current interfaces: starts, restarts or stops queriers. [`Self::receive`] does so every second.
    ///
    /// # Errors
    /// If interfaces cannot be listed, or the system cannot capture or send there.
    pub fn follow(&mut self) -> Result<(), LiveError> {
        self.last_check = Instant::now();
        let interfaces = mcast::interfaces()?;
        let mut is_stale = false;
        for QuerierInterface { interface, name, .. } in
            self.queriers.iter_mut().map(|querier| &mut querier.target)
        {
            let Some(found) = interfaces.iter().find(|other| other.name == *name) else { continue };
            is_stale |= found.index != std::mem::replace(interface, found.index);
        }
        if is_stale {
            self.capture = capture_control(self.queriers.iter().map(|querier| &querier.target))?;
        }
        let now = self.now();
        for (number, querier) in self.queriers.iter_mut().enumerate() {
            if let Some(event) = querier.follow(&interfaces, self.settings, now)? {
                self.events.push_back((number, event));
            }
        }
        Ok(())
    }

    /// Waits until a query is due or a frame arrives, for at most `wait`, and sends the queries that are due. Returns
    /// another host's query, if that arrived.
    ///
    /// # Errors
    /// As for [`Self::follow`].
    pub fn receive(&mut self, wait: Duration) -> Result<Option<CapturedQuery<'_>>, LiveError> {
        if self.last_check.elapsed() >= CHECK_INTERVAL {
            self.follow()?;
        }
        self.take_events();
        let running = || self.queriers.iter().filter_map(|querier| querier.running.as_ref());
        let due = running().filter_map(|querier| querier.state().deadline).min();
        let wait = due.map_or(wait, |due| Duration::from(due.since(self.now())).min(wait));
        let frame = match self.capture.next(Some(wait)) {
            Ok(Some(frame)) if !frame.direction.is_outgoing() => frame,
            Ok(_) => return Ok(None),
            // The interfaces are checked soon.
            Err(error) if error.kind() == ErrorKind::InterfaceDown => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let query = ObservedQuery::in_packet(&frame.packet())
            .filter(|query| !running().any(|querier| querier.state().address == query.source));
        let now = ClockTime::START + self.start.elapsed();
        let running = self.queriers.iter_mut().filter_map(|querier| querier.running.as_mut());
        running.for_each(|querier| querier.handle(&frame, now));
        let targets = self.queriers.iter().map(|querier| &querier.target);
        Ok(query.and_then(|query| CapturedQuery::in_frame(&frame, query, targets)))
    }

    /// Returns what happened next; queries that are due are sent.
    pub fn next_event(&mut self) -> Option<(&QuerierInterface, ActiveQuerierEvent)> {
        if self.events.is_empty() {
            self.take_events();
        }
        let (number, event) = self.events.pop_front()?;
        Some((&self.queriers[number].target, event))
    }

    fn now(&self) -> ClockTime {
        ClockTime::START + self.start.elapsed()
    }

    fn take_events(&mut self) {
        let now = self.now();
        for (number, querier) in self.queriers.iter_mut().enumerate() {
            while let Some(event) = querier.running.as_mut().and_then(|running| running.next_event(now)) {
                self.events.extend(querier.event_of(event).map(|event| (number, event)));
            }
        }
    }

    /// Returns each interface and family with the state of its querier, if one is running, and the number of queries
    /// sent.
    pub fn states(&self) -> impl Iterator<Item = (&QuerierInterface, Option<QuerierState>, u64)> {
        self.queriers
            .iter()
            .map(|each| (&each.target, each.running.as_ref().map(InterfaceQuerier::state), each.queries))
    }
}

impl ActiveQuerier {
    /// Adapts to the current state of the interface: starts, restarts or stops the querier.
    fn follow(
        &mut self,
        interfaces: &[Interface],
        settings: QuerierSettings,
        now: ClockTime,
    ) -> Result<Option<ActiveQuerierEvent>, LiveError> {
        let found = interfaces.iter().find(|interface| interface.name == self.target.name && interface.up);
        let own = found.and_then(|found| Some((found.index, own_address(found, self.target.family)?)));
        let Some((interface, own)) = own else {
            self.running = None;
            let trouble = if found.is_none() { QuerierTrouble::Down } else { QuerierTrouble::NoAddress };
            return Ok(self.trouble(trouble));
        };
        let running = self.running.as_ref().map(|querier| (querier.interface(), querier.state().address));
        if running == Some((interface, own)) {
            return Ok(None);
        }
        self.running = Some(InterfaceQuerier::open(interface, own, settings, now)?);
        self.trouble = None;
        let version = match self.target.family {
            Family::V4 => settings.version::<Ipv4Addr>(),
            Family::V6 => settings.version::<Ipv6Addr>(),
        };
        Ok(Some(ActiveQuerierEvent::Started { address: own, version }))
    }

    fn event_of(&mut self, event: mcast_capture::Result<QuerierEvent>) -> Option<ActiveQuerierEvent> {
        match event {
            Ok(QuerierEvent::OlderVersion { querier, version }) => {
                self.trouble(QuerierTrouble::OlderVersion { querier, version })
            }
            Ok(QuerierEvent::Sent { version, group, text }) => {
                self.queries += 1;
                let address = self.running.as_ref()?.state().address;
                Some(ActiveQuerierEvent::Sent { address, version, group, text })
            }
            Ok(QuerierEvent::YieldedTo(other)) => Some(ActiveQuerierEvent::YieldedTo(other)),
            Ok(QuerierEvent::TookOverFrom(other)) => Some(ActiveQuerierEvent::TookOverFrom(other)),
            Ok(_) => None,
            // The interface is checked soon; until then the next query is sent when it is due.
            Err(error) => self.trouble(QuerierTrouble::Unsent(error.to_string())),
        }
    }

    /// Returns the event of a trouble, unless it is the same as the last one.
    fn trouble(&mut self, trouble: QuerierTrouble) -> Option<ActiveQuerierEvent> {
        let is_new = self.trouble.as_ref() != Some(&trouble);
        self.trouble = Some(trouble.clone());
        is_new.then_some(ActiveQuerierEvent::Trouble(trouble))
    }
}
