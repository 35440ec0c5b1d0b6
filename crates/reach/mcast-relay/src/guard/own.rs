//! A test of a source that was the first to send what it repeats: do the repeats continue while none is sent?
//!
//! Content alone cannot answer that, since programs may send identical datagrams. Cause and effect can: copies of what
//! the relay sends end when it sends nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::allowance::Rate;
use super::contents::{ContentArrival, ContentKey, MAX_GAIN, ROUND_TRIP};
use super::suspect::HeldRepeats;

/// The least time in which a rate is measured.
const SHORTEST: Duration = Duration::from_millis(100);
/// The least number of repeats that cannot be copies, for a result before copies under way have arrived.
const LEAST_UNEXPLAINED: u64 = 16;
/// Contents that are observed of one source.
const MAX_CONTENTS: usize = 2_048;

/// The result of a test.
#[derive(Debug)]
pub(super) enum OwnResult {
    /// The repeats that arrived while none was sent.
    Continues(Rate),
    /// None did for a window.
    Silent,
    /// Others send them too.
    Unclear,
    /// They may be copies of what the relay has sent for the first time.
    Copies,
}

#[derive(Debug)]
pub(super) struct OwnTest {
    started: Duration,
    /// The time for which it counts, once copies under way have arrived.
    window: Duration,
    count: u64,
    /// Those of them that cannot be copies of what the relay has sent since the test started.
    originals: u64,
    total: u64,
    latest: Duration,
    contents: BTreeMap<ContentKey, OwnContent>,
    /// Repeats that cannot be copies of what the relay has sent.
    unexplained: u64,
    /// Repeats that others send as often.
    rivalled: u64,
    pub(super) held: HeldRepeats,
}

#[derive(Debug)]
struct OwnContent {
    /// The copies since the test started.
    copies: u64,
    /// The copies that the relay had sent, apart from those that may still be under way.
    settled: u64,
    /// The copies that the relay had sent before the test.
    before: u64,
    /// The copies once those under way at the start have arrived.
    late: u64,
}

impl OwnTest {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            started: now,
            window: ROUND_TRIP,
            count: 0,
            originals: 0,
            total: 0,
            latest: now,
            contents: BTreeMap::new(),
            unexplained: 0,
            rivalled: 0,
            held: HeldRepeats::default(),
        }
    }

    pub(super) fn holds(&self, key: ContentKey) -> bool {
        self.contents.contains_key(&key)
    }

    /// Counts a repeat.
    pub(super) fn arrive(&mut self, now: Duration, key: ContentKey, arrival: &ContentArrival) {
        let is_late = now >= self.started + ROUND_TRIP;
        self.total += 1;
        self.latest = now;
        self.count += u64::from(is_late);
        self.rivalled += u64::from(arrival.circulates());
        // An innocent source repeats something within the window.
        self.window = arrival.interval().map_or(self.window, |interval| self.window.max(interval * 2));
        if self.contents.len() < MAX_CONTENTS || self.contents.contains_key(&key) {
            let started = self.started;
            let content = self.contents.entry(key).or_insert_with(|| OwnContent::new(now, started, arrival));
            content.copies += 1;
            content.late += u64::from(is_late);
            let copies = |before| arrival.total.saturating_sub(before).saturating_mul(MAX_GAIN);
            self.unexplained += u64::from(content.copies > copies(content.settled));
            // Of what the relay sends for the first time, there is one copy, apart from those by others.
            self.originals += u64::from(is_late && content.late > copies(content.before).min(MAX_GAIN));
        }
    }

    /// Returns when to call [`Self::poll`].
    pub(super) fn deadline(&self) -> Duration {
        // In silence, there is nothing to wait for.
        let end = (self.started + ROUND_TRIP + self.window).min(self.latest + self.window);
        if self.is_unexplained() { end.min(self.started + SHORTEST) } else { end }
    }

    /// Returns the result if it is there.
    pub(super) fn poll(&self, now: Duration) -> Option<OwnResult> {
        if now < self.deadline() {
            return None;
        }
        if now >= self.latest + self.window {
            return Some(OwnResult::Silent);
        }
        let (count, originals, window) = match self.is_unexplained() {
            true => (self.total, self.unexplained, now.saturating_sub(self.started)),
            false => (self.count, self.originals, self.window),
        };
        if count == 0 || self.rivalled * 2 >= self.total {
            return Some(OwnResult::Unclear);
        }
        let rate = Rate { count, window, has_slack: true, originals, is_independent: false };
        Some(if originals * 4 >= count * 3 { OwnResult::Continues(rate) } else { OwnResult::Copies })
    }

    const fn is_unexplained(&self) -> bool {
        self.unexplained >= LEAST_UNEXPLAINED
            && self.unexplained * 4 >= self.total * 3
            && self.rivalled * 2 < self.total
    }
}

impl OwnContent {
    /// Returns a content of which the first repeat in the test has just arrived.
    fn new(now: Duration, started: Duration, arrival: &ContentArrival) -> Self {
        let settled = arrival.total.saturating_sub(arrival.emitted.into());
        let is_sent_in_test =
            arrival.since_emitted().is_some_and(|since| now.saturating_sub(since) >= started);
        let before = if is_sent_in_test { settled } else { arrival.total };
        Self { copies: 0, settled, before, late: 0 }
    }
}
