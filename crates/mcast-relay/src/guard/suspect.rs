//! One source that repeats contents: is it the origin of the repeats, or does it send the relay's own copies back?
//!
//! Content alone cannot answer that, since programs may send identical datagrams. Cause and effect can. When a source
//! repeats more than its allowance, the relay holds back what may be an echo, instead of sending it, and observes each
//! content:
//!
//! 1. Copies keep arriving, more than the relay has sent: the source is the origin of that content. What was held back of
//!    it is sent.
//! 2. No more arrive: the relay sends one of them, as a probe. If a copy comes back, three times in a row, the source is
//!    part of a loop. What was held back is dropped, and so is what the source sends back from then on.
//! 3. A probe does not come back: the source is not part of a loop. All that was held back is sent, and its allowance
//!    grows to twice the rate observed.
//! 4. Copies keep arriving, but not more than the relay has sent, since others send the same content: after three
//!    seconds, it counts whether they have become fewer by half. If so, as in case 2, otherwise as in case 1.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mcast_measure::TokenBucket;

use super::contents::{ContentArrival, ContentKey};
use crate::arrival::OwnedArrival;

/// Repeats per second that nothing is done about: a loop of this rate is not a storm.
const LEAST_RATE: u64 = 20;
/// Repeats that arrive at once and that nothing is done about.
const LEAST_BURST: u64 = 16;
/// The time after which a test without a result is decided by rates.
const LONGEST_TEST: Duration = Duration::from_secs(3);
/// Probes in a row that come back from a loop. One or two may be coincidence.
const PROBES: u8 = 3;
/// A loop that the relay has no part in sends more repeats per second than programs do.
const STORM_RATE: u64 = 200;
/// Without an echo for this long, a source is no longer in quarantine.
const QUARANTINE: Duration = Duration::from_secs(60);
/// Contents that are observed of one source.
const MAX_TESTED: usize = 2_048;
/// A content is quiet once it has not arrived for four of the longest intervals between repeats, within these limits.
const QUIET: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));

/// A repeat that is held back.
#[derive(Debug)]
pub(crate) struct PendingRepeat {
    pub(crate) key: ContentKey,
    pub(crate) arrival: OwnedArrival,
}

impl PendingRepeat {
    /// Returns the memory that it takes.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.arrival.payload.len()
    }
}

/// What to do with an arrival.
#[derive(Debug)]
pub(super) enum Step {
    /// Send it.
    Pass,
    /// Keep it with [`Suspect::keep`].
    Keep,
    /// Drop it: it is an echo of the relay's own copy, or part of a storm.
    Echo,
    /// The source is the origin of this content: send these, then the arrival.
    Origin(VecDeque<PendingRepeat>),
    /// The source is part of a loop or storm. Drop the arrival.
    Loop,
}

#[derive(Debug)]
pub(super) struct Suspect {
    state: SuspectState,
    /// The repeats that are not looked into.
    allowance: TokenBucket,
    streak: Streak,
}

#[derive(Debug)]
enum SuspectState {
    Watched,
    Tested(Test),
    Quarantined { last_echo: Duration },
}

/// The repeats since the allowance was last full.
#[derive(Clone, Copy, Debug)]
struct Streak {
    start: Duration,
    count: u64,
    longest_interval: Duration,
}

impl Streak {
    const fn new(now: Duration) -> Self {
        Self { start: now, count: 0, longest_interval: Duration::ZERO }
    }

    /// Returns the repeats per second.
    fn rate(&self, now: Duration) -> u64 {
        let elapsed = now.saturating_sub(self.start).as_micros().max(1);
        u64::try_from(u128::from(self.count) * 1_000_000 / elapsed).unwrap_or(u64::MAX)
    }

    fn quiet_time(&self) -> Duration {
        (self.longest_interval * 4).clamp(QUIET.0, QUIET.1)
    }
}

#[derive(Debug)]
struct Test {
    contents: BTreeMap<ContentKey, TestedContent>,
    quiet: Duration,
    /// The content of which a copy was sent as a probe, and until when it may come back.
    probe: Option<(ContentKey, Duration)>,
    echoes: u8,
    rate: u64,
    pending: VecDeque<PendingRepeat>,
    bytes: usize,
}

/// A content of which copies are held back.
#[derive(Debug)]
struct TestedContent {
    first: Duration,
    last: Duration,
    /// The copies since the test started.
    copies: u64,
    /// The copies that the relay had sent, apart from those that may still be under way.
    settled: u64,
    /// How many copies the source sent within one to two seconds before the test.
    copies_before: u32,
    /// The source is the origin of this content.
    is_original: bool,
}

impl TestedContent {
    fn new(now: Duration, arrival: &ContentArrival) -> Self {
        Self {
            first: now,
            last: now,
            copies: 0,
            settled: arrival.total.saturating_sub(arrival.emitted.into()),
            copies_before: arrival.from_source,
            is_original: false,
        }
    }
}

impl Test {
    /// Returns the content whose copies have not arrived for the longest time.
    fn quietest(&self) -> Option<(ContentKey, Duration)> {
        let is_open = |(_, content): &(&ContentKey, &TestedContent)| !content.is_original;
        let last = |(key, content): (&ContentKey, &TestedContent)| (*key, content.last);
        self.contents.iter().filter(is_open).map(last).min_by_key(|(_, last)| *last)
    }

    fn deadline(&self) -> Duration {
        let quiet_at = |(_, last): (ContentKey, Duration)| last + self.quiet;
        let probed = self.probe.map(|(_, until)| until);
        probed.or_else(|| self.quietest().map(quiet_at)).unwrap_or_default()
    }

    /// Removes the repeats of a content.
    fn take(&mut self, key: ContentKey) -> VecDeque<PendingRepeat> {
        let (taken, rest) =
            std::mem::take(&mut self.pending).into_iter().partition(|repeat| repeat.key == key);
        self.pending = rest;
        self.bytes = self.pending.iter().map(PendingRepeat::bytes).sum();
        taken
    }
}

impl Suspect {
    pub(super) fn new(now: Duration) -> Self {
        let allowance = TokenBucket::new(LEAST_RATE, LEAST_BURST, nanoseconds(now));
        Self { state: SuspectState::Watched, allowance, streak: Streak::new(now) }
    }

    /// Returns when to call [`Self::poll`].
    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.state {
            SuspectState::Tested(test) => Some(test.deadline()),
            SuspectState::Watched | SuspectState::Quarantined { .. } => None,
        }
    }

    /// Returns the bytes of the repeats that are held back.
    pub(super) const fn held_bytes(&self) -> usize {
        match &self.state {
            SuspectState::Tested(test) => test.bytes,
            SuspectState::Watched | SuspectState::Quarantined { .. } => 0,
        }
    }

    /// Decides on an arrival of this source.
    pub(super) fn arrive(&mut self, now: Duration, key: ContentKey, arrival: &ContentArrival) -> Step {
        match &mut self.state {
            SuspectState::Quarantined { last_echo } if now.saturating_sub(*last_echo) < QUARANTINE => {
                if arrival.may_be_echo() {
                    *last_echo = now;
                    return Step::Echo;
                }
                Step::Pass
            }
            SuspectState::Quarantined { .. } => {
                *self = Self::new(now);
                self.watch(now, key, arrival)
            }
            SuspectState::Watched => self.watch(now, key, arrival),
            SuspectState::Tested(_) if !arrival.may_be_echo() => Step::Pass,
            SuspectState::Tested(_) => self.observe(now, key, arrival),
        }
    }

    /// Keeps a repeat. A source that has repeated a content fast before the test must repeat it as often again before it
    /// is known to be the origin, so that their number has no limit of its own.
    pub(super) fn keep(&mut self, repeat: PendingRepeat) {
        if let SuspectState::Tested(test) = &mut self.state {
            test.bytes += repeat.bytes();
            test.pending.push_back(repeat);
        }
    }

    /// Continues the test when its time has come: returns a repeat to send as a probe, or all of them if a probe did not
    /// come back.
    pub(super) fn poll(&mut self, now: Duration) -> Option<VecDeque<PendingRepeat>> {
        let SuspectState::Tested(test) = &mut self.state else { return None };
        if now < test.deadline() {
            return None;
        }
        let quietest = test.quietest().filter(|_| test.probe.is_none());
        let position = quietest.and_then(|(key, _)| test.pending.iter().position(|repeat| repeat.key == key));
        match position.and_then(|position| test.pending.remove(position)) {
            Some(probe) => {
                test.bytes -= probe.bytes();
                test.probe = Some((probe.key, now + test.quiet));
                Some([probe].into())
            }
            None => Some(self.acquit(now)),
        }
    }

    fn watch(&mut self, now: Duration, key: ContentKey, arrival: &ContentArrival) -> Step {
        let Some(interval) = arrival.interval else { return Step::Pass };
        self.allowance.refill(nanoseconds(now));
        if self.allowance.is_full() {
            self.streak = Streak::new(now.saturating_sub(interval));
        }
        self.streak.count += 1;
        self.streak.longest_interval = self.streak.longest_interval.max(interval);
        if self.allowance.take(1) {
            return Step::Pass;
        }
        self.state = SuspectState::Tested(Test {
            contents: BTreeMap::new(),
            quiet: self.streak.quiet_time(),
            probe: None,
            echoes: 0,
            rate: self.streak.rate(now),
            pending: VecDeque::new(),
            bytes: 0,
        });
        self.observe(now, key, arrival)
    }

    /// Handles what may be an echo during a test.
    fn observe(&mut self, now: Duration, key: ContentKey, arrival: &ContentArrival) -> Step {
        let SuspectState::Tested(test) = &mut self.state else { return Step::Pass };
        if test.contents.len() >= MAX_TESTED && !test.contents.contains_key(&key) {
            return Step::Keep;
        }
        let content = test.contents.entry(key).or_insert_with(|| TestedContent::new(now, arrival));
        content.copies += 1;
        content.last = now;
        if test.probe.take_if(|(probe, _)| *probe == key).is_some() {
            test.echoes += 1;
            return if test.echoes == PROBES { self.convict(now) } else { Step::Keep };
        }
        if content.is_original {
            return Step::Pass;
        }
        let is_original = content.copies > arrival.total.saturating_sub(content.settled);
        let is_over = now.saturating_sub(content.first) >= LONGEST_TEST;
        let has_dropped = arrival.from_source.saturating_mul(2) < content.copies_before;
        let is_storm = arrival.several_sources && test.rate >= STORM_RATE;
        match (is_original, is_over) {
            (true, _) if is_storm => self.convict(now),
            (false, true) if has_dropped => self.convict(now),
            (true, _) | (false, true) => {
                content.is_original = true;
                let released = test.take(key);
                // The rest of a test without anything left to test.
                Step::Origin(if test.pending.is_empty() { self.acquit_with(now, released) } else { released })
            }
            (false, false) => Step::Keep,
        }
    }

    fn acquit_with(
        &mut self,
        now: Duration,
        mut released: VecDeque<PendingRepeat>,
    ) -> VecDeque<PendingRepeat> {
        released.extend(self.acquit(now));
        released
    }

    fn convict(&mut self, now: Duration) -> Step {
        self.state = SuspectState::Quarantined { last_echo: now };
        Step::Loop
    }

    fn acquit(&mut self, now: Duration) -> VecDeque<PendingRepeat> {
        match std::mem::replace(&mut self.state, SuspectState::Watched) {
            SuspectState::Tested(test) => {
                let rate = test.rate.saturating_mul(2).max(LEAST_RATE);
                self.allowance = TokenBucket::new(rate, rate.max(LEAST_BURST), nanoseconds(now));
                test.pending
            }
            SuspectState::Watched | SuspectState::Quarantined { .. } => VecDeque::new(),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
