//! Listens for queries on the interfaces and families where a querier may be, and runs queriers there itself.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mcast::interface::Interface;
use mcast::{Family, Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, Receiver};
use mcast_capture::{
    Capture, CaptureOptions, ErrorKind, Filter, Frame, InterfaceQuerier, QuerierEvent, QuerierState,
};
use mcast_packet::Transport;
use mcast_packet::gmp::querier::{ClockTime, QuerierSettings};
use mcast_sys::{Bridge, BridgeQuerier};

use super::LiveError;
use crate::{ObservedQuerier, ObservedQuery, QuerierTable, Time};

/// The maximum number of queriers, because addresses can be forged.
const MAX_QUERIERS: usize = 256;
/// Unused groups: they are reserved for documentation (RFC 6676).
const UNUSED_GROUPS: [&str; 2] = ["233.252.0.251", "ff05::db8:0:fb"];
/// A port to which nothing is sent.
const UNUSED_PORT: u16 = 9_009;
/// How long the memberships are held, so that all routers and switches learn of them.
const HOLD_TIME: Duration = Duration::from_millis(300);

/// Listens for IGMP and MLD queries on interfaces, and remembers who sends them: at most 256 queriers. It needs the
/// permission to capture.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast::Family;
/// use mcast_watch::live::{QuerierInterface, QuerierListener};
///
/// let targets = QuerierInterface::select(&["eth0".parse()?], &[Family::V4])?;
/// let mut listener = QuerierListener::open(&targets)?;
/// listener.provoke()?;
/// while !listener.is_known(&[]) {
///     if let Some(query) = listener.next(Duration::from_millis(100))? {
///         println!("{} on {}: {}", query.query.source, query.target.name, query.text);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct QuerierListener<'a> {
    targets: &'a [QuerierInterface],
    capture: Capture,
    queriers: QuerierTable,
    start: Instant,
    /// Memberships that provoke a query when they are dropped, and since when they are held.
    provocation: Option<(Receiver, Instant)>,
}

impl<'a> QuerierListener<'a> {
    /// Starts to listen.
    ///
    /// # Errors
    /// If the system cannot capture.
    pub fn open(targets: &'a [QuerierInterface]) -> mcast_capture::Result<Self> {
        Ok(Self {
            targets,
            capture: capture_control(targets.iter())?,
            queriers: QuerierTable::new(MAX_QUERIERS),
            start: Instant::now(),
            provocation: None,
        })
    }

    /// Provokes a query on each used interface: joins an unused group, and leaves it after 300 ms. A querier sends a
    /// group-specific query when a host leaves a group.
    ///
    /// # Errors
    /// If the groups cannot be joined.
    pub fn provoke(&mut self) -> Result<(), LiveError> {
        let mut builder = Receiver::builder();
        for target in self.targets.iter().filter(|target| target.is_used) {
            let group = UNUSED_GROUPS[usize::from(target.family == Family::V6)];
            let Ok(group) = group.parse::<Group>() else { continue };
            let membership = Membership::new(GroupAddr::new(group, UNUSED_PORT));
            builder = builder.join(membership.on(InterfaceSelector::Index(target.interface)));
        }
        self.provocation = Some((builder.build()?, Instant::now()));
        Ok(())
    }

    /// Returns the next query, if one arrives within `wait`. `None` does not mean that the time is over.
    ///
    /// # Errors
    /// If the system cannot capture. After [`InterfaceDown`](mcast_capture::ErrorKind::InterfaceDown), the listener can
    /// be used on.
    pub fn next(&mut self, wait: Duration) -> mcast_capture::Result<Option<CapturedQuery<'a>>> {
        self.provocation.take_if(|(_, since)| since.elapsed() >= HOLD_TIME);
        let now = self.now();
        let Some(frame) = self.capture.next(Some(wait))?.filter(|frame| !frame.direction.is_outgoing())
        else {
            return Ok(None);
        };
        let Some(query) = ObservedQuery::in_packet(&frame.packet()) else { return Ok(None) };
        self.queriers.add(frame.interface, query.clone(), now);
        Ok(CapturedQuery::in_frame(&frame, query, self.targets.iter()))
    }

    /// Returns the queriers observed so far.
    #[must_use]
    pub fn observed(&self) -> Vec<ObservedQuerier> {
        self.queriers.report(self.now())
    }

    /// Returns for how long it has listened.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns whether a querier was observed, or is known to one of the bridges, wherever one is needed.
    #[must_use]
    pub fn is_known(&self, bridges: &[Bridge]) -> bool {
        let observed = self.observed();
        self.targets.iter().filter(|target| target.is_used).all(|target| {
            !target.queriers(&observed).is_empty() || target.bridge_with_querier(bridges).is_some()
        })
    }

    fn now(&self) -> Time {
        Time::default().after(self.elapsed())
    }
}

/// An interface and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuerierInterface {
    /// The interface.
    pub interface: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// The family.
    pub family: Family,
    /// The bridge or bond that the interface is a port of.
    pub port_of: Option<InterfaceIndex>,
    /// Whether this host has an address of this family, so that there are hosts that need a querier.
    pub is_used: bool,
}

/// A query that has arrived on a selected interface.
#[derive(Debug)]
#[non_exhaustive]
pub struct CapturedQuery<'a> {
    /// Where.
    pub target: &'a QuerierInterface,
    /// The query.
    pub query: ObservedQuery,
    /// When it was captured.
    pub time: std::time::SystemTime,
    /// Its message as text.
    pub text: String,
}

impl QuerierInterface {
    /// Returns the selected interfaces, each with each of the families; without selectors, those on which groups are
    /// joined by default, of which there may be none.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn select(selectors: &[InterfaceSelector], families: &[Family]) -> mcast::Result<Vec<Self>> {
        let interfaces: Vec<_> = match selectors {
            [] => mcast::interface::list()?.into_iter().filter(Interface::is_joined_by_default).collect(),
            named => named.iter().map(mcast::interface::find).collect::<mcast::Result<_>>()?,
        };
        let with = |interface: &Interface, family: Family| Self {
            interface: interface.index,
            name: interface.name.clone(),
            family,
            port_of: interface.port_of,
            is_used: own_address(interface, family).is_some(),
        };
        Ok(interfaces
            .iter()
            .flat_map(|each| families.iter().map(move |family| with(each, *family)))
            .collect())
    }

    /// Returns the name of the protocol: IGMP or MLD.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self.family {
            Family::V4 => "IGMP",
            Family::V6 => "MLD",
        }
    }

    /// Returns the bridge that the interface is, or is a port of, if the bridge knows a querier of this family.
    #[must_use]
    pub fn bridge_with_querier<'a>(&self, bridges: &'a [Bridge]) -> Option<(&'a Bridge, &'a BridgeQuerier)> {
        let is_its = |bridge: &&Bridge| bridge.index == self.interface || Some(bridge.index) == self.port_of;
        let bridge = bridges.iter().find(is_its)?;
        let querier = bridge.queriers.iter().find(|querier| Family::of(querier.address) == self.family)?;
        Some((bridge, querier))
    }

    /// Returns the observed queriers on the interface. The elected one is first.
    #[must_use]
    pub fn queriers<'a>(&self, observed: &'a [ObservedQuerier]) -> Vec<&'a ObservedQuerier> {
        let is_here = |querier: &&ObservedQuerier| {
            querier.interface == self.interface && Family::of(querier.address) == self.family
        };
        let mut queriers: Vec<_> = observed.iter().filter(is_here).collect();
        queriers.sort_by_key(|querier| querier.election_rank());
        queriers
    }
}

impl<'a> CapturedQuery<'a> {
    /// Returns the query in a frame, if its interface and family are among the targets.
    fn in_frame(
        frame: &Frame<'_>,
        query: ObservedQuery,
        mut targets: impl Iterator<Item = &'a QuerierInterface>,
    ) -> Option<Self> {
        let family = Family::of(query.source);
        let target = targets.find(|target| target.interface == frame.interface && target.family == family)?;
        let text = match frame.packet().transport {
            Some(Transport::Igmp(control)) => control.message.to_string(),
            Some(Transport::Mld(control)) => control.message.to_string(),
            _ => String::new(),
        };
        Some(Self { target, query, time: frame.time, text })
    }
}

/// Captures control traffic on these interfaces.
fn capture_control<'a>(
    targets: impl Iterator<Item = &'a QuerierInterface>,
) -> mcast_capture::Result<Capture> {
    let mut names: Vec<&str> = Vec::new();
    for target in targets {
        if !names.contains(&target.name.as_str()) {
            names.push(&target.name);
        }
    }
    // Reports are sent to groups of routers, which this host need not have joined.
    Capture::open(CaptureOptions::on_names(names).filter(Filter::Control).all_multicast(true))
}

/// Returns the source address of queries; for MLD it must be link-local (RFC 3810 section 5.1.14).
fn own_address(interface: &Interface, family: Family) -> Option<IpAddr> {
    let mut addresses = interface.usable_addresses().map(|entry| entry.address);
    addresses.find(|address| match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(address) => family == Family::V6 && address.is_unicast_link_local(),
    })
}

/// Returns the interfaces that a selector means, for a group if there is one: `all` are those on which groups are joined
/// by default, `default` is the one that the routing table selects.
///
/// # Errors
/// [`LiveError::NoInterface`], [`LiveError::NoDefaultInterface`], and [`LiveError::Multicast`] if there is no such
/// interface.
pub fn selected_interfaces(
    selector: &InterfaceSelector,
    group: Option<Group>,
) -> Result<Vec<Interface>, LiveError> {
    match selector {
        InterfaceSelector::All => {
            let mut all = mcast::interface::list()?;
            all.retain(Interface::is_joined_by_default);
            if all.is_empty() { Err(LiveError::NoInterface) } else { Ok(all) }
        }
        InterfaceSelector::Default => {
            let default = match group {
                Some(group) => mcast::interface::towards(group.addr())?,
                None => mcast::interface::default_of(Family::V4)?
                    .map_or_else(|| mcast::interface::default_of(Family::V6), |found| Ok(Some(found)))?,
            };
            Ok(vec![default.ok_or(LiveError::NoDefaultInterface)?])
        }
        named => Ok(vec![mcast::interface::find(named)?]),
    }
}

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
        let interfaces = mcast::interface::list()?;
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
        let wait = due.map_or(wait, |due| due.since(self.now()).min(wait));
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
