//! The memory of recent contents: which source sent each, and how often the relay has sent it on.

use std::collections::VecDeque;
use std::collections::hash_map::{self, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use foldhash::quality::RandomState;
use indexmap::IndexMap;
use indexmap::map::Entry;
use mcast_pace::ClockTime;

use crate::arrival::OwnedArrival;
use crate::rule::LegId;

/// A leg and the address of a source on it: the same box has another address on each of its legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LegSource {
    pub(crate) leg: LegId,
    pub(crate) address: IpAddr,
}

/// The identity of a content: destination, payload and, for requests, the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContentKey(u64);

/// A copy comes back within this time. Loops that take longer are not recognized.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(700);
/// Copies of one datagram that may come back: through several boxes, or several times.
pub(super) const MAX_GAIN: u64 = 4;
/// A content that is not seen for this long is forgotten.
const MEMORY: Duration = Duration::from_secs(2);
/// Contents of a table that may still grow little by little.
const SMALL: usize = 1_024;
/// Sources of one content that are counted singly.
const MAX_SOURCES: usize = 16;

/// What is known of a content.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    last: ClockTime,
    /// When it last passed the set of a discovery protocol.
    pub(crate) passed: Option<ClockTime>,
    /// Most contents have one source, which needs no memory of its own.
    first: ContentSource,
    others: Vec<ContentSource>,
    emitted: RecentCount,
    last_emitted: Option<ClockTime>,
    /// The copies sent since the content became known.
    total: u64,
}

/// A source of a content.
#[derive(Clone, Copy, Debug)]
struct ContentSource {
    source: LegSource,
    last: ClockTime,
    count: RecentCount,
}

/// A count of the current second and the one before.
#[derive(Clone, Copy, Debug, Default)]
struct RecentCount {
    second: u64,
    current: u32,
    previous: u32,
}

impl RecentCount {
    fn add(&mut self, now: ClockTime, count: u32) {
        self.advance(now);
        self.current = self.current.saturating_add(count);
    }

    fn count(mut self, now: ClockTime) -> u32 {
        self.advance(now);
        self.current.saturating_add(self.previous)
    }

    fn advance(&mut self, now: ClockTime) {
        let second = (now - ClockTime::START).as_secs();
        if second > self.second {
            self.previous = if second == self.second + 1 { self.current } else { 0 };
            (self.second, self.current) = (second, 0);
        }
    }
}

impl ContentSource {
    fn new(now: ClockTime, source: LegSource) -> Self {
        let mut count = RecentCount::default();
        count.add(now, 1);
        Self { source, last: now, count }
    }
}

impl Content {
    fn new(now: ClockTime, source: LegSource) -> Self {
        Self {
            last: now,
            passed: None,
            first: ContentSource::new(now, source),
            others: Vec::new(),
            emitted: RecentCount::default(),
            last_emitted: None,
            total: 0,
        }
    }

    /// Counts an arrival from the source. Returns the time since the one before, and the recent ones.
    fn count_source(&mut self, now: ClockTime, source: LegSource) -> (Option<Duration>, u32) {
        let mut sources = iter::once(&mut self.first).chain(&mut self.others);
        if let Some(known) = sources.find(|known| known.source == source) {
            let interval = now - std::mem::replace(&mut known.last, now);
            known.count.add(now, 1);
            return (Some(interval), known.count.count(now));
        }
        if self.others.len() + 1 == MAX_SOURCES {
            // Too many to count each: all further ones repeat.
            return (Some(now - self.last), 1);
        }
        self.others.push(ContentSource::new(now, source));
        (None, 1)
    }

    /// Handles an arrival from the source.
    fn arrive(&mut self, now: ClockTime, source: LegSource) -> ContentArrival {
        if now - self.first.last > MEMORY && !self.has_another(now, source) {
            // It no longer sends it.
            self.others.retain(|other| other.source != source);
            self.first = ContentSource::new(now, source);
        }
        let (interval, from_source) = self.count_source(now, source);
        self.last = now;
        self.seen(now, interval, source, from_source)
    }

    /// Counts copies that the relay has sent.
    fn emit(&mut self, now: ClockTime, copies: u32) {
        if copies > 0 {
            self.emitted.add(now, copies);
            self.last_emitted = Some(now);
            self.total = self.total.saturating_add(copies.into());
        }
    }

    /// Returns whether yet another source sends it: then it may circulate without the one that sent it first.
    fn has_another(&self, now: ClockTime, source: LegSource) -> bool {
        let is_recent = |other: &ContentSource| now - other.last <= MEMORY;
        self.others.iter().any(|other| other.source != source && is_recent(other))
    }

    fn seen(
        &self,
        now: ClockTime,
        interval: Option<Duration>,
        source: LegSource,
        from_source: u32,
    ) -> ContentArrival {
        let is_rival = |other: &&ContentSource| {
            other.source != source && other.count.count(now) >= from_source.div_ceil(2)
        };
        let mut rivals = self.others.iter().filter(is_rival).map(|other| other.source.leg).peekable();
        let has_rival = rivals.peek().is_some();
        ContentArrival {
            interval,
            since_emitted: self.last_emitted.map(|last| now - last),
            from_source,
            emitted: self.emitted.count(now),
            total: self.total,
            is_first: self.first.source == source,
            from_first: self.first.count.count(now),
            has_rival,
            has_rival_on_leg: rivals.any(|leg| leg == source.leg),
        }
    }
}

/// An arrival as the guard sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentArrival {
    /// The time since the same source last sent the same content, if it did.
    interval: Option<Duration>,
    /// The time since the relay last sent it, if it did.
    since_emitted: Option<Duration>,
    /// How often the same source has sent it within the last one to two seconds.
    from_source: u32,
    /// How often the relay has sent it within the last one to two seconds.
    pub(crate) emitted: u32,
    /// How often the relay has sent it in all.
    pub(crate) total: u64,
    /// Whether the source was the first to send it.
    pub(crate) is_first: bool,
    /// How often the first source has sent it within the last one to two seconds.
    from_first: u32,
    /// Whether a later source has sent it at least half as often as this one, and whether one on the same leg has.
    has_rival: bool,
    has_rival_on_leg: bool,
}

impl ContentArrival {
    /// Returns the time since the same source last sent the same content, if it may be a copy for that.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval.filter(|interval| *interval <= ROUND_TRIP)
    }

    /// Returns the time since the relay last sent it, if it did.
    pub(crate) const fn since_emitted(&self) -> Option<Duration> {
        self.since_emitted
    }

    /// Returns whether it may be a copy of what the relay has sent, or of an earlier copy.
    pub(crate) fn may_be_echo(&self) -> bool {
        [self.interval, self.since_emitted].into_iter().flatten().any(|time| time <= ROUND_TRIP)
    }

    /// Returns whether others may send the content to each other: two of them far more often than the first source, or two
    /// on the leg of the first source. One alone may be a host that sends what another one sent first.
    pub(crate) const fn circulates(&self) -> bool {
        match self.is_first {
            true => self.has_rival_on_leg,
            false => self.has_rival && self.from_source >= 4 * (self.from_first + 4),
        }
    }
}

/// The hash of a key that is a hash.
#[derive(Clone, Copy, Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// New contents are next to each other in memory, in the order in which they came. Scattered over a large table, each would
/// wait for memory twice: when it is recorded, and when its copies are.
type ContentTable = IndexMap<ContentKey, Content, BuildHasherDefault<KeyHasher>>;

/// Contents that arrived together, and once so far.
#[derive(Clone, Copy, Debug)]
struct ContentRun {
    arrived: ClockTime,
    source: LegSource,
    /// The copies that the relay has sent of each.
    emitted: u32,
}

impl ContentRun {
    /// Returns what is known of each of these contents.
    fn content(self) -> Content {
        let mut content = Content::new(self.arrived, self.source);
        content.emit(self.arrived, self.emitted);
        content
    }
}

/// Contents that have arrived once. All that is known of one is known of the others that arrived together with it, so that
/// each takes a few bytes. One that arrives again moves to a [`ContentTable`].
#[derive(Debug, Default)]
struct SingleContents {
    runs: Vec<ContentRun>,
    /// The position of the run of each.
    by_key: HashMap<ContentKey, u32, BuildHasherDefault<KeyHasher>>,
}

impl SingleContents {
    fn remove(&mut self, key: ContentKey) -> Option<Content> {
        let run = self.by_key.remove(&key)?;
        self.runs.get(run as usize).map(|run| run.content())
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.by_key.clear();
    }
}

/// All recent contents: the latest, and at most as many before these. Each is in one of the tables.
///
/// A table that is emptied as a whole costs fewer accesses to memory for each datagram than a list in order of use.
#[derive(Debug)]
pub(crate) struct Contents {
    latest: ContentTable,
    earlier: ContentTable,
    latest_single: SingleContents,
    earlier_single: SingleContents,
    /// When the latest tables were empty.
    since: ClockTime,
    capacity: usize,
    hasher: RandomState,
}

impl Contents {
    /// Creates a table that remembers at least this many contents.
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            latest: ContentTable::default(),
            earlier: ContentTable::default(),
            latest_single: SingleContents::default(),
            earlier_single: SingleContents::default(),
            since: ClockTime::START,
            capacity: capacity.get(),
            // The hash has a random key: otherwise, a sender could make contents collide. That suffices as long as nobody sees
            // hashes, and here nobody does. SipHash, the standard one, takes longer.
            hasher: RandomState::default(),
        }
    }

    /// Returns the identity of a content; with a source, only of that source's.
    pub(crate) fn key(&self, destination: SocketAddr, payload: &[u8], source: Option<IpAddr>) -> ContentKey {
        self.key_after(self.hasher.hash_one((destination, source)), payload)
    }

    /// Returns the identity of a content. `prefix` is the hash of the destination and the source.
    fn key_after(&self, prefix: u64, payload: &[u8]) -> ContentKey {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(prefix);
        payload.hash(&mut hasher);
        ContentKey(hasher.finish())
    }

    /// Records the contents of datagrams that arrived together, up to the first one that is known, and returns their number.
    /// `segment` is the length of each but the last.
    pub(crate) fn arrive_together(
        &mut self,
        now: ClockTime,
        source: LegSource,
        destination: SocketAddr,
        payload: &[u8],
        segment: NonZeroUsize,
    ) -> usize {
        self.make_room(now);
        let prefix = self.hasher.hash_one((destination, None::<IpAddr>));
        let run = self.latest_single.runs.len() as u32;
        let mut count = 0;
        for datagram in payload.chunks(segment.get()) {
            let key = self.key_after(prefix, datagram);
            let is_known = self.latest.contains_key(&key)
                || self.earlier.contains_key(&key)
                || self.earlier_single.by_key.contains_key(&key);
            match self.latest_single.by_key.entry(key) {
                hash_map::Entry::Vacant(place) if !is_known => place.insert(run),
                _ => break,
            };
            count += 1;
        }
        if count > 0 {
            self.latest_single.runs.push(ContentRun { arrived: now, source, emitted: 0 });
        }
        count
    }

    /// Records that the relay has sent copies of each of the contents that have just arrived together.
    pub(crate) fn emit_together(&mut self, copies: u32) {
        if let Some(run) = self.latest_single.runs.last_mut() {
            run.emitted = copies;
        }
    }

    /// Forgets the earlier contents if the tables of the latest ones are full. A table that has grown to [`SMALL`] gets the
    /// room for all at once: to grow it later, with tens of thousands of contents, would delay datagrams by milliseconds.
    fn make_room(&mut self, now: ClockTime) {
        let latest = self.latest.len() + self.latest_single.by_key.len();
        if latest >= self.capacity || now - self.since >= MEMORY {
            std::mem::swap(&mut self.latest, &mut self.earlier);
            std::mem::swap(&mut self.latest_single, &mut self.earlier_single);
            self.latest.clear();
            self.latest_single.clear();
            self.since = now;
        }
        let room = |length: usize, capacity: usize| {
            (length >= SMALL && capacity < self.capacity).then(|| self.capacity - length)
        };
        if let Some(more) = room(self.latest.len(), self.latest.capacity()) {
            self.latest.reserve(more);
        }
        let single = &mut self.latest_single.by_key;
        if let Some(more) = room(single.len(), single.capacity()) {
            single.reserve(more);
        }
    }

    /// Removes a content that has arrived once.
    fn remove_single(&mut self, key: ContentKey) -> Option<Content> {
        self.latest_single.remove(key).or_else(|| self.earlier_single.remove(key))
    }

    /// Records that a content has arrived.
    pub(crate) fn arrive(&mut self, now: ClockTime, key: ContentKey, source: LegSource) -> ContentArrival {
        self.make_room(now);
        if let Some(single) = self.remove_single(key) {
            self.latest.insert(key, single);
        }
        let is_recent = |content: &Content| now - content.last <= MEMORY;
        match self.latest.entry(key) {
            Entry::Occupied(mut known) if is_recent(known.get()) => known.get_mut().arrive(now, source),
            Entry::Occupied(mut old) => {
                old.insert(Content::new(now, source));
                old.get().seen(now, None, source, 1)
            }
            Entry::Vacant(place) => match self.earlier.swap_remove(&key).filter(is_recent) {
                Some(known) => place.insert(known).arrive(now, source),
                None => place.insert(Content::new(now, source)).seen(now, None, source, 1),
            },
        }
    }

    /// Records that the relay has sent copies of a content.
    pub(crate) fn emit(&mut self, now: ClockTime, key: ContentKey, copies: u32) {
        if let Some(content) = self.get_mut(key) {
            content.emit(now, copies);
        }
    }

    /// Returns whether the content has passed within the window; if not, it passes now.
    pub(crate) fn is_in_set(&mut self, now: ClockTime, key: ContentKey, window: Duration) -> bool {
        let Some(content) = self.get_mut(key) else { return false };
        let is_repeat = content.passed.is_some_and(|passed| now - passed < window);
        if !is_repeat {
            content.passed = Some(now);
        }
        is_repeat
    }

    fn get_mut(&mut self, key: ContentKey) -> Option<&mut Content> {
        if let Some(single) = self.remove_single(key) {
            self.latest.insert(key, single);
        }
        match self.latest.get_mut(&key) {
            Some(content) => Some(content),
            None => self.earlier.get_mut(&key),
        }
    }
}

/// A repeat that is held back.
#[derive(Debug)]
pub(crate) struct PendingRepeat {
    pub(crate) key: ContentKey,
    pub(crate) arrival: OwnedArrival,
}

impl PendingRepeat {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.arrival.payload.len()
    }
}

/// Repeats that are held back, in their order.
#[derive(Debug, Default)]
pub(super) struct HeldRepeats {
    repeats: VecDeque<PendingRepeat>,
    bytes: usize,
}

impl HeldRepeats {
    pub(super) fn push(&mut self, repeat: PendingRepeat) {
        self.bytes += repeat.bytes();
        self.repeats.push_back(repeat);
    }

    /// Takes the oldest.
    pub(super) fn take(&mut self, count: usize) -> VecDeque<PendingRepeat> {
        // Few are taken of many: those that stay do not move.
        let taken: VecDeque<_> = self.repeats.drain(..count.min(self.repeats.len())).collect();
        self.bytes -= taken.iter().map(PendingRepeat::bytes).sum::<usize>();
        taken
    }

    /// Takes the oldest of these contents.
    pub(super) fn take_of(
        &mut self,
        count: usize,
        is_wanted: impl Fn(ContentKey) -> bool,
    ) -> VecDeque<PendingRepeat> {
        let (mut taken, mut rest) = (VecDeque::new(), VecDeque::new());
        for repeat in std::mem::take(&mut self.repeats) {
            let is_taken = taken.len() < count && is_wanted(repeat.key);
            if is_taken { &mut taken } else { &mut rest }.push_back(repeat);
        }
        self.bytes -= taken.iter().map(PendingRepeat::bytes).sum::<usize>();
        self.repeats = rest;
        taken
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = ContentKey> {
        self.repeats.iter().map(|repeat| repeat.key)
    }

    pub(super) fn into_repeats(self) -> VecDeque<PendingRepeat> {
        self.repeats
    }

    /// Drops the latest.
    pub(super) fn truncate(&mut self, count: usize) {
        self.bytes -= self.repeats.iter().skip(count).map(PendingRepeat::bytes).sum::<usize>();
        self.repeats.truncate(count);
    }

    pub(super) fn len(&self) -> usize {
        self.repeats.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
    const DESTINATION: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 2, 3)), 7_000);
    const SEGMENT: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    fn source(number: u8) -> LegSource {
        LegSource { leg: LegId(number % 2), address: [10, 0, 0, number].into() }
    }

    proptest! {
        /// What arrives together is known like what arrives one by one.
        #[test]
        fn contents_that_arrive_together_are_recognized_as_exactly_as_single_ones(
            steps in prop::collection::vec((0_u64..900, 0_u8..3, 0_u32..3, prop::collection::vec(0_u8..40, 1..6)), 1..60)
        ) {
            // Both have the same random keys.
            let (mut together, mut single) = (Contents::new(CAPACITY), Contents::new(CAPACITY));
            single.hasher = together.hasher.clone();
            let mut now = ClockTime::START;
            for (pause, from, copies, numbers) in steps {
                now = now + Duration::from_millis(pause);
                let source = source(from);
                let payload: Vec<u8> = numbers.iter().flat_map(|number| [*number, 0]).collect();
                let new = together.arrive_together(now, source, DESTINATION, &payload, SEGMENT);
                if new > 0 {
                    together.emit_together(copies);
                }
                for (position, number) in numbers.iter().enumerate() {
                    let key = single.key(DESTINATION, &[*number, 0], None);
                    let known = single.arrive(now, key, source);
                    if position < new {
                        prop_assert!(!known.may_be_echo(), "it is new");
                        prop_assert_eq!((known.emitted, known.is_first, known.from_source), (0, true, 1));
                    } else {
                        let found = together.arrive(now, key, source);
                        prop_assert_eq!(format!("{found:?}"), format!("{known:?}"));
                        together.emit(now, key, copies);
                    }
                    single.emit(now, key, copies);
                }
            }
        }
    }
}
