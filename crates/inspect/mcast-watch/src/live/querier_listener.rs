//! Listens for queries on the interfaces and families where a querier may be.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{
    Bridge, BridgeQuerier, Family, Group, GroupAddr, Interface, InterfaceIndex, InterfaceSelector,
    Membership, Receiver,
};
use mcast_capture::{Capture, CaptureOptions, Filter, Frame};
use mcast_packet::Transport;

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
            [] => mcast::interfaces()?.into_iter().filter(Interface::is_joined_by_default).collect(),
            named => named.iter().map(mcast::find).collect::<mcast::Result<_>>()?,
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
    pub(super) fn in_frame(
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
pub(super) fn capture_control<'a>(
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
pub(super) fn own_address(interface: &Interface, family: Family) -> Option<IpAddr> {
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
            let mut all = mcast::interfaces()?;
            all.retain(Interface::is_joined_by_default);
            if all.is_empty() { Err(LiveError::NoInterface) } else { Ok(all) }
        }
        InterfaceSelector::Default => {
            let default = match group {
                Some(group) => mcast::default_interface(group)?,
                None => mcast::default_interface_of(Family::V4)?
                    .map_or_else(|| mcast::default_interface_of(Family::V6), |found| Ok(Some(found)))?,
            };
            Ok(vec![default.ok_or(LiveError::NoDefaultInterface)?])
        }
        named => Ok(vec![mcast::find(named)?]),
    }
}
