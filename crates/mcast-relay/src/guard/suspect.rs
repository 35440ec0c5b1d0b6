//! One source that repeats contents: is it the origin of the repeats, or does it send the relay's own copies back?
//!
//! Content alone cannot answer that, since programs may send identical datagrams. Cause and effect can. When a source
//! repeats more than its allowance, the relay holds its repeats back for a moment instead of sending them:
//!
//! 1. Copies keep arriving, more than the relay has sent: the source is their origin. All that was held back is sent, and
//!    the allowance grows to twice the rate observed.
//! 2. No more arrive: the relay sends one of them, as a probe. If a copy comes back, three times in a row, the source is
//!    part of a loop. What was held back is dropped, and so is what the source sends back from then on.
//! 3. A probe does not come back: as in case 1.

use std::collections::VecDeque;
use std::time::Duration;

use mcast_measure::TokenBucket;

use super::contents::{ContentArrival, ContentKey};
use crate::arrival::OwnedArrival;

/// Repeats per second that nothing is done about: a loop of this rate is not a storm.
const LEAST_RATE: u64 = 20;
/// Repeats that arrive at once and that nothing is done about.
const LEAST_BURST: u64 = 16;
/// Probes in a row that come back from a loop. One or two may be coincidence.
const PROBES: u8 = 3;
/// A loop that the relay has no part in sends more repeats per second than programs do.
const STORM_RATE: u64 = 200;
/// Without an echo for this long, a source is no longer in quarantine.
pub(super) const QUARANTINE: Duration = Duration::from_secs(60);
const MAX_HELD: usize = 2_048;
const MAX_HELD_BYTES: usize = 4 << 20;
/// Between these, a source is quiet once it has sent nothing for four of its longest intervals.
const QUIET: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A repeat that is held back.
#[derive(Debug)]
pub(crate) struct PendingRepeat {
    pub(crate) key: ContentKey,
    pub(crate) rule: usize,
    pub(crate) arrival: OwnedArrival,
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
    /// The source is the origin of its repeats: send these, then the arrival.
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
    pub(super) last: Duration,
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
    /// The content that the test observes.
    subject: ContentKey,
    /// The copies of it since the test started.
    copies: u32,
    quiet: Duration,
    quiet_at: Duration,
    probing: bool,
    echoes: u8,
    rate: u64,
    several_sources: bool,
    pending: VecDeque<PendingRepeat>,
    bytes: usize,
}

impl Suspect {
    pub(super) fn new(now: Duration) -> Self {
        let allowance = TokenBucket::new(LEAST_RATE, LEAST_BURST, nanoseconds(now));
        Self { state: SuspectState::Watched, allowance, streak: Streak::new(now), last: now }
    }

    /// Returns when to call [`Self::poll`].
    pub(super) const fn deadline(&self) -> Option<Duration> {
        match &self.state {
            SuspectState::Tested(test) => Some(test.quiet_at),
            SuspectState::Watched | SuspectState::Quarantined { .. } => None,
        }
    }

    /// Decides on an arrival of this source.
    pub(super) fn arrive(&mut self, now: Duration, key: ContentKey, arrival: &ContentArrival) -> Step {
        self.last = now;
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
            SuspectState::Tested(test) if test.subject != key => Step::Keep,
            SuspectState::Tested(_) => self.observe(now, arrival),
        }
    }

    /// Keeps a repeat. Returns whether there is room.
    pub(super) fn keep(&mut self, repeat: PendingRepeat) -> bool {
        let SuspectState::Tested(test) = &mut self.state else { return false };
        let bytes = test.bytes + repeat.arrival.payload.len();
        let has_room = test.pending.len() < MAX_HELD && bytes <= MAX_HELD_BYTES;
        if has_room {
            test.bytes = bytes;
            test.pending.push_back(repeat);
        }
        has_room
    }

    /// Continues the test of a source that has become quiet: returns a repeat to send as a probe, or all of them if a
    /// probe did not come back.
    pub(super) fn poll(&mut self, now: Duration) -> Option<VecDeque<PendingRepeat>> {
        let SuspectState::Tested(test) = &mut self.state else { return None };
        if now < test.quiet_at {
            return None;
        }
        let position = test.pending.iter().position(|repeat| repeat.key == test.subject);
        let probe = position.filter(|_| !test.probing).and_then(|position| test.pending.remove(position));
        match probe {
            Some(probe) => {
                test.probing = true;
                test.bytes -= probe.arrival.payload.len();
                test.quiet_at = now + test.quiet;
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
        let quiet = self.streak.quiet_time();
        self.state = SuspectState::Tested(Test {
            subject: key,
            copies: 1,
            quiet,
            quiet_at: now + quiet,
            probing: false,
            echoes: 0,
            rate: self.streak.rate(now),
            several_sources: arrival.several_sources,
            pending: VecDeque::new(),
            bytes: 0,
        });
        Step::Keep
    }

    /// Handles a copy of the content that the test observes.
    fn observe(&mut self, now: Duration, arrival: &ContentArrival) -> Step {
        let SuspectState::Tested(test) = &mut self.state else { return Step::Pass };
        test.copies += 1;
        test.quiet_at = now + test.quiet;
        test.several_sources |= arrival.several_sources;
        if std::mem::take(&mut test.probing) {
            test.echoes += 1;
            if test.echoes == PROBES {
                return self.convict(now);
            }
        } else if test.copies > arrival.emitted {
            let is_storm = test.several_sources && test.rate >= STORM_RATE;
            return match is_storm {
                true => self.convict(now),
                false => Step::Origin(self.acquit(now)),
            };
        }
        Step::Keep
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
