//! Listens for queries.

use std::time::{Duration, Instant};

use mcast::{Bridge, Family, Group, GroupAddr, InterfaceSelector, Membership, Receiver};
use mcast_capture::Capture;

use super::LiveError;
use super::querier_interface::{CapturedQuery, QuerierInterface, capture_control};
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
