//! Datagrams that arrive on a leg, and whether one that comes through tunnels has passed here.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use lru::LruCache;
use mcast_packet::MacAddress;
use mcast_tunnel::RelayPath;

use crate::event::RefusalReason;
use crate::rule::LegId;
use crate::window::SequenceWindow;

/// A datagram that arrived on a leg, for a group or for all hosts.
#[derive(Clone, Copy, Debug)]
pub struct LegArrival<'a> {
    /// The leg.
    pub leg: LegId,
    /// The source.
    pub source: SocketAddr,
    /// The group or broadcast address, and the port.
    pub destination: SocketAddr,
    /// The hop limit on arrival.
    pub hop_limit: u8,
    /// The Ethernet address it came from, if known. It names the culprit of a loop.
    pub mac: Option<MacAddress>,
    /// The way that it has come through tunnels; empty for one that arrived on an interface. Of datagrams that arrived
    /// together, that of the first one: each other one has the number after the one before it.
    pub trail: RelayPath,
    /// The payload.
    pub payload: &'a [u8],
}

/// An arrival that is kept.
#[derive(Clone, Debug)]
pub(crate) struct OwnedArrival {
    pub(crate) leg: LegId,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) hop_limit: u8,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) trail: RelayPath,
    pub(crate) payload: Box<[u8]>,
}

impl OwnedArrival {
    pub(crate) fn as_arrival(&self) -> LegArrival<'_> {
        let Self { leg, source, destination, hop_limit, mac, trail, ref payload } = *self;
        LegArrival { leg, source, destination, hop_limit, mac, trail, payload }
    }
}

impl From<&LegArrival<'_>> for OwnedArrival {
    fn from(arrival: &LegArrival<'_>) -> Self {
        let LegArrival { leg, source, destination, hop_limit, mac, trail, payload } = *arrival;
        Self { leg, source, destination, hop_limit, mac, trail, payload: payload.into() }
    }
}

/// Relays at which datagrams enter the tunnels. Beyond that, the one that has been silent for the longest time is
/// forgotten.
const MAX_ORIGINS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// Datagrams of one of these that may be under way at once, some of them being repaired.
const WINDOW: usize = 1 << 19;

/// The trails that have come, and the numbers of the datagrams that enter the tunnels here.
#[derive(Debug)]
pub(crate) struct Trails {
    relay: u64,
    last: u64,
    origins: LruCache<u64, SequenceWindow>,
}

/// The trails of the copies of one datagram, by their destination.
pub(crate) type CopyTrails = Vec<(SocketAddr, RelayPath)>;

impl Trails {
    pub(crate) fn new(relay: u64) -> Self {
        Self { relay, last: 0, origins: LruCache::new(MAX_ORIGINS) }
    }

    /// Returns whether a datagram with this trail has been sent by this relay.
    fn has_sent(&self, trail: &RelayPath) -> bool {
        trail.relays().contains(&self.relay)
    }

    /// Returns how many datagrams with consecutive numbers have not been here, up to the first one that has. Nothing is
    /// recorded.
    pub(crate) fn count_new(&self, trail: &RelayPath, datagrams: u64) -> u64 {
        if trail.relays().is_empty() {
            return datagrams;
        }
        if self.has_sent(trail) {
            return 0;
        }
        let window = self.origins.peek(&trail.origin);
        let is_new = |number: u64| window.map_or(number > 0, |window| window.is_new(number));
        let numbers = (0..datagrams).map_while(|index| trail.number.checked_add(index));
        numbers.take_while(|number| is_new(*number)).count() as u64
    }

    /// Records datagrams that [`Self::count_new`] has counted.
    pub(crate) fn arrive_together(&mut self, trail: &RelayPath, datagrams: u64) {
        if !trail.relays().is_empty() {
            let window = self.origins.get_or_insert_mut(trail.origin, || SequenceWindow::new(WINDOW));
            (0..datagrams).for_each(|index| {
                window.record(trail.number + index);
            });
        }
    }

    /// Records an arrival. Returns an error if it has been here.
    pub(crate) fn arrive(&mut self, trail: &RelayPath) -> Result<(), RefusalReason> {
        if trail.relays().is_empty() {
            return Ok(());
        }
        if self.has_sent(trail) {
            return Err(RefusalReason::Returned);
        }
        let window = self.origins.get_or_insert_mut(trail.origin, || SequenceWindow::new(WINDOW));
        if !window.is_new(trail.number) {
            return Err(RefusalReason::Duplicate);
        }
        window.record(trail.number);
        Ok(())
    }

    /// Returns the trail of a copy, or of the first of the copies of datagrams that arrived together. Copies with the same
    /// destination have the same one, whatever tunnel they are sent into.
    pub(crate) fn of_copy(
        &mut self,
        trail: &RelayPath,
        datagrams: u64,
        arrived_for: SocketAddr,
        destination: SocketAddr,
        copies: &mut CopyTrails,
    ) -> Result<RelayPath, RefusalReason> {
        if let Some((_, known)) = copies.iter().find(|(known, _)| *known == destination) {
            return Ok(*known);
        }
        let mut next = trail.after(self.relay).ok_or(RefusalReason::TooManyHops)?;
        if trail.relays().is_empty() || destination != arrived_for {
            (next.origin, next.number) = (self.relay, self.last + 1);
            self.last += datagrams;
        }
        copies.push((destination, next));
        Ok(next)
    }
}
