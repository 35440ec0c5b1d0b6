//! Paths: the sockets that copies are sent from, and by which replies come back.
//!
//! Each upstream sender has a socket of its own on each leg that its datagrams are sent on, so that a reply to that
//! socket belongs to that sender. Each host that replies has a socket of its own on the leg of the sender, so that the
//! sender can distinguish and answer them. This also works through a stateful firewall.
//!
//! A unicast target that cannot be reached is left alone for a while, so that it delays no other.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foldhash::fast::RandomState;
use lru::LruCache;
use mcast_group::Family;
use mcast_pace::ClockTime;

use crate::peers::PortBlock;
use crate::rule::LegId;

/// The number of a path, given by the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

/// The side of a path: a leg, or the route to a unicast target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathSide {
    /// A leg.
    Leg(LegId),
    /// The route to this address, in the namespace of the relay.
    Route(SocketAddr),
    /// The gateways of AMT that request it at this address. They need no path.
    AmtGateways(SocketAddr),
}

/// The local port of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathPort {
    /// This port, for this path alone.
    Own(u16),
    /// This port, which other programs and paths use too (`SO_REUSEPORT`). It only sends.
    Shared(u16),
    /// This port if it is available, otherwise any.
    Preferred(u16),
    /// The address and port of the sender, which are not the relay's (`IP_TRANSPARENT`). It only sends: replies go to the
    /// sender without the relay.
    Sender(SocketAddr),
}

/// What identifies a pair, also after the rules have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PairKey {
    pub(crate) digest: u64,
    pub(crate) from: LegId,
    pub(crate) to: PathSide,
}

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PathKey {
    /// From a sender to a side. `sender` is `None` for a path that all senders share. With `keeps_source`, copies are sent
    /// from its address.
    Forward { pair: PairKey, family: Family, sender: Option<SocketAddr>, keeps_source: bool },
    /// From a host that replied on a forward path to the sender.
    Return { forward: PathId, responder: SocketAddr },
}

impl PathKey {
    /// Returns the address whose datagrams made the relay open it.
    fn owner(&self) -> Option<IpAddr> {
        match self {
            Self::Forward { sender, .. } => sender.map(|sender| sender.ip()),
            Self::Return { responder, .. } => Some(responder.ip()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PathEntry {
    pub(crate) id: PathId,
    last: ClockTime,
    uses: u32,
    /// The port of the relay's block that it has.
    port: Option<u16>,
}

/// Why there is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPaths;

#[derive(Debug)]
pub(crate) struct Paths {
    table: LruCache<PathKey, PathEntry, RandomState>,
    by_id: HashMap<PathId, PathKey>,
    /// The number of paths of each sender and of each host that replied.
    owned: HashMap<IpAddr, usize>,
    block: PortBlock,
    used: HashSet<u16>,
    next_port: u16,
    next_id: u32,
    capacity: usize,
    idle: Duration,
}

/// A path that is used for longer than this is not closed in favour of another one.
const BUSY: Duration = Duration::from_secs(10);
/// One address has at most this share of the paths, so that it does not keep others out alone.
const SHARE: usize = 4;
/// It always has these.
const LEAST_SHARE: usize = 16;
/// A path that was used less often is new. Where all paths are taken, the oldest of the new ones make room, so that senders whose
/// addresses are forged, one for each datagram, do not keep out a sender that continues.
const PROVEN: u32 = 4;
/// The time that they have at least. It limits how many sockets are opened in vain.
const TRIAL: Duration = Duration::from_secs(1);
/// How many paths are examined for each one to open, whatever `--max-paths` is.
const EXAMINED: usize = 4_096;

impl Paths {
    pub(crate) fn new(block: PortBlock, capacity: usize, idle: Duration) -> Self {
        Self {
            table: LruCache::unbounded_with_hasher(RandomState::default()),
            by_id: HashMap::new(),
            owned: HashMap::new(),
            block,
            used: HashSet::new(),
            next_port: 0,
            next_id: 0,
            capacity,
            idle,
        }
    }

    /// Returns the path if it is open, and marks it as used.
    pub(crate) fn touch(&mut self, now: ClockTime, key: PathKey) -> Option<PathId> {
        let entry = self.table.get_mut(&key)?;
        entry.last = now;
        entry.uses = entry.uses.saturating_add(1);
        Some(entry.id)
    }

    /// Returns what a path is for.
    pub(crate) fn key(&self, id: PathId) -> Option<PathKey> {
        self.by_id.get(&id).copied()
    }

    /// Returns what a path is for, and marks it as used.
    pub(crate) fn touch_id(&mut self, now: ClockTime, id: PathId) -> Option<PathKey> {
        let key = *self.by_id.get(&id)?;
        self.touch(now, key)?;
        Some(key)
    }

    /// Opens a path. `port` is `None` for one of the relay's block. If there are too many paths, the one that has been
    /// idle for the longest time is closed: its id is returned as well.
    pub(crate) fn open(
        &mut self,
        now: ClockTime,
        key: PathKey,
        port: Option<PathPort>,
    ) -> Result<(PathId, PathPort, Option<PathId>), TooManyPaths> {
        let owner = key.owner();
        let owned = owner.and_then(|owner| self.owned.get(&owner)).copied().unwrap_or_default();
        let closed = if owned >= (self.capacity / SHARE).max(LEAST_SHARE) {
            Some(self.evict(now, owner)?)
        } else if self.table.len() >= self.capacity {
            Some(self.evict(now, None)?)
        } else {
            None
        };
        let (port, own) = match port {
            Some(port) => (port, None),
            None => {
                let port = self.free_port().ok_or(TooManyPaths)?;
                self.used.insert(port);
                (PathPort::Own(port), Some(port))
            }
        };
        let id = PathId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.table.put(key, PathEntry { id, last: now, uses: 1, port: own });
        self.by_id.insert(id, key);
        owner.into_iter().for_each(|owner| *self.owned.entry(owner).or_default() += 1);
        Ok((id, port, closed))
    }

    /// Closes a path, if it is open. With `busy_port`, its port stays taken, because another program has it.
    pub(crate) fn close(&mut self, id: PathId, busy_port: bool) -> Option<PathKey> {
        let key = self.by_id.remove(&id)?;
        let entry = self.table.pop(&key)?;
        if let Some(port) = entry.port.filter(|_| !busy_port) {
            self.used.remove(&port);
        }
        if let Some(owner) = key.owner()
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            *owned -= 1;
            if *owned == 0 {
                self.owned.remove(&owner);
            }
        }
        Some(key)
    }

    /// Closes a path that has been idle for too long. Call again until it returns `None`.
    pub(crate) fn close_idle(&mut self, now: ClockTime) -> Option<PathId> {
        let id = self.table.peek_lru().filter(|(_, entry)| now >= entry.last + self.idle)?.1.id;
        self.close(id, false).map(|_| id)
    }

    /// Returns the ids of the paths for which this holds.
    pub(crate) fn matching(&self, mut is_match: impl FnMut(&PathKey) -> bool) -> Vec<PathId> {
        self.table.iter().filter(|(key, _)| is_match(key)).map(|(_, entry)| entry.id).collect()
    }

    /// Returns the address that has most paths.
    pub(crate) fn busiest(&self) -> Option<IpAddr> {
        self.owned.iter().max_by_key(|(_, owned)| **owned).map(|(address, _)| *address)
    }

    /// Returns when to call [`Self::close_idle`].
    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        self.table.peek_lru().map(|(_, entry)| entry.last + self.idle)
    }

    /// Closes the path, of this address if one is given, that has been idle for the longest time, or is new.
    fn evict(&mut self, now: ClockTime, owner: Option<IpAddr>) -> Result<PathId, TooManyPaths> {
        let is_meant = |(key, _): &(&PathKey, &PathEntry)| owner.is_none() || key.owner() == owner;
        let mut oldest = self.table.iter().rev().take(EXAMINED);
        let is_free = |entry: &PathEntry| match now - entry.last {
            idle if idle >= BUSY => true,
            // One address does not get more by sending from other ports.
            idle => idle >= TRIAL && entry.uses < PROVEN && owner.is_none(),
        };
        let (_, entry) = oldest.find(|item| is_meant(item) && is_free(item.1)).ok_or(TooManyPaths)?;
        let id = entry.id;
        self.close(id, false).map(|_| id).ok_or(TooManyPaths)
    }

    fn free_port(&mut self) -> Option<u16> {
        for _ in 0..self.block.count {
            let port = self.block.first.checked_add(self.next_port)?;
            self.next_port = (self.next_port + 1) % self.block.count;
            if !self.used.contains(&port) {
                return Some(port);
            }
        }
        None
    }
}

/// Returns the destination of a reply: the sender, if the address may be one.
pub(crate) fn can_reply_to(address: SocketAddr) -> bool {
    let ip = address.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_multicast() && !ip.is_unspecified() && !is_broadcast
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether a unicast target can be reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reachability {
    pause: Option<(ClockTime, Duration)>,
}

impl Reachability {
    /// Returns whether to send to the target now.
    pub(crate) fn is_open(&self, now: ClockTime) -> bool {
        self.pause.is_none_or(|(until, _)| now >= until)
    }

    /// Records an error, such as that of an ICMP message. Several during a pause count once.
    pub(crate) fn fail(&mut self, now: ClockTime) {
        let length = match self.pause {
            Some((until, _)) if now < until => return,
            // It worked for as long as the longest pause, so start again.
            Some((until, _)) if now >= until + LONGEST_PAUSE => FIRST_PAUSE,
            Some((_, length)) => (length * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        self.pause = Some((now + length, length));
    }
}

#[cfg(test)]
mod target_tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_start_again_after_a_minute_without_errors() {
        let (mut target, mut now) = (Reachability::default(), ClockTime::START);
        let mut lengths = Vec::new();
        for _ in 0..8 {
            assert!(target.is_open(now));
            target.fail(now);
            target.fail(now);
            let start = now;
            while !target.is_open(now) {
                now = now + Duration::from_millis(500);
            }
            lengths.push((now - start).as_secs());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
        now = now + LONGEST_PAUSE;
        target.fail(now);
        assert!(target.is_open(now + FIRST_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(sender: SocketAddr) -> PathKey {
        let pair = PairKey { digest: 1, from: LegId(0), to: PathSide::Leg(LegId(1)) };
        PathKey::Forward { pair, family: Family::V4, sender: Some(sender), keeps_source: false }
    }

    fn send(paths: &mut Paths, now: ClockTime, sender: SocketAddr) -> bool {
        let key = forward(sender);
        paths.touch(now, key).is_some() || paths.open(now, key, None).is_ok()
    }

    /// 3,000 datagrams per second, each from another address.
    #[test]
    fn forged_senders_keep_out_no_sender_that_continues() {
        let block = PortBlock { first: 61_440, count: 1_024 };
        let mut paths = Paths::new(block, 1_024, Duration::from_secs(120));
        let (old, new) = (SocketAddr::from(([10, 0, 0, 1], 5000)), SocketAddr::from(([10, 0, 0, 2], 5000)));
        let (mut of_old, mut of_new) = (0, 0);
        for number in 0..60_000_u32 {
            let now = ClockTime::START + Duration::from_micros(u64::from(number) * 333);
            let [_, a, b, c] = number.to_be_bytes();
            // 50 per second.
            of_old += u32::from(number % 60 == 0 && send(&mut paths, now, old));
            of_new += u32::from(number % 60 == 31 && number >= 30_000 && send(&mut paths, now, new));
            send(&mut paths, now, SocketAddr::from(([11, a, b, c], 9)));
        }
        assert_eq!(of_old, 1_000, "who was there first is not disturbed");
        assert!(of_new >= 475, "{of_new} of 500");
        assert!(paths.table.len() <= 1_024 && paths.used.len() <= 1_024);
    }
}
