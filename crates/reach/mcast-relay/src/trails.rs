//! Datagrams that come through tunnels: whether they have passed here.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use lru::LruCache;
use mcast_tunnel::{RelayPath, SequenceWindow};

use crate::event::RefusalReason;

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

    /// Records an arrival. Returns an error if it has been here.
    pub(crate) fn arrive(&mut self, trail: &RelayPath) -> Result<(), RefusalReason> {
        if trail.relays().is_empty() {
            return Ok(());
        }
        if trail.relays().contains(&self.relay) {
            return Err(RefusalReason::Returned);
        }
        let window = self.origins.get_or_insert_mut(trail.origin, || SequenceWindow::new(WINDOW));
        if !window.is_new(trail.number) {
            return Err(RefusalReason::Duplicate);
        }
        window.record(trail.number);
        Ok(())
    }

    /// Returns the trail of a copy. Copies with the same destination have the same one, whatever tunnel they are sent into.
    pub(crate) fn of_copy(
        &mut self,
        trail: &RelayPath,
        arrived_for: SocketAddr,
        destination: SocketAddr,
        copies: &mut CopyTrails,
    ) -> Result<RelayPath, RefusalReason> {
        if let Some((_, known)) = copies.iter().find(|(known, _)| *known == destination) {
            return Ok(*known);
        }
        let mut next = trail.after(self.relay).ok_or(RefusalReason::TooManyHops)?;
        if trail.relays().is_empty() || destination != arrived_for {
            self.last += 1;
            (next.origin, next.number) = (self.relay, self.last);
        }
        copies.push((destination, next));
        Ok(next)
    }
}
