//! A test of sources that repeat what others have sent first, or that send more than they did: do they send the relay's
//! own copies back?
//!
//! The relay sends none of their repeats, so that none of these can come back, and counts what arrives. All sources are
//! tested in the same windows, so that one test does not disturb another:
//!
//! 1. First it waits until copies under way have arrived, and then counts for a window.
//! 2. It sends some repeats, of contents that did not arrive in that window if there are any, and counts what arrives of
//!    these contents for another window. If as many more do, the source sends back what the relay sends. Three such windows
//!    convict it.
//! 3. If not, the source is not part of a loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mcast_pace::ClockTime;

use super::allowance::Rate;
use super::contents::{ContentArrival, ContentKey, HeldRepeats, MAX_GAIN, PendingRepeat, ROUND_TRIP};

/// Windows in which the source has sent copies back. One or two may be coincidence.
const ECHOES: u8 = 3;
/// The square of the standard deviations by which more have to arrive with probes than without, in all windows together.
/// Of sources that repeat a few contents at random, one in some hundred would otherwise match the probes three times.
const DEVIATIONS_SQUARED: u64 = 10;
/// The same for a source that has been part of a loop.
const DEVIATIONS_SQUARED_AGAIN: u64 = 4;
/// A storm that the relay has no part in has more repeats per second than programs send.
const STORM_RATE: u64 = 200;
/// Repeats that are kept of contents that others have sent first: those of two seconds of some hundred
/// per second.
pub(super) const MOST_OF_OTHERS: usize = 512;
/// Those that are kept for probes.
const MOST_OF_LOOP: usize = 256;
/// So few are sent even if a test has been unclear.
const FEW: usize = 32;
/// From this count on, a window with as many echoes as probes is hardly coincidence.
const SURE: u64 = 64;
/// Windows that may be repeated because others disturbed them.
const MOST_DISTURBED: u8 = 3;
/// Repeats that are sent as probes.
const MOST_PROBES: u64 = 256;
/// Windows in which enough repeats for a probe have to arrive.
const MOST_QUIET: u8 = 8;
/// The shortest window.
const SHORTEST: Duration = Duration::from_millis(100);
const MAX_CONTENTS: usize = 2_048;

/// What is known of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Clean,
    /// It is, or has been, known to be part of a loop.
    Convicted,
}

/// The result of a window.
#[derive(Debug)]
pub(super) enum ProbeResult {
    /// Send these.
    Probe(VecDeque<PendingRepeat>),
    /// The repeats that arrived while none was sent.
    Innocent(Rate),
    Loop,
    /// Others send its contents to each other, with or without the relay.
    OfOthers,
    /// Another window is needed.
    Unclear,
}

/// The windows of all tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    phase: Phase,
    started: ClockTime,
    length: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Copies from before are under way.
    Draining,
    /// Nothing is sent.
    Quiet,
    /// Probes have been sent at its start.
    Probing,
}

impl Windows {
    pub(super) const fn new(now: ClockTime) -> Self {
        Self { phase: Phase::Draining, started: now, length: ROUND_TRIP }
    }

    /// Returns windows of which a quiet one has just passed.
    pub(super) const fn after_quiet(now: ClockTime) -> Self {
        Self { phase: Phase::Quiet, started: now, length: Duration::ZERO }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn end(&self) -> ClockTime {
        self.started + self.length
    }

    pub(super) const fn started(&self) -> ClockTime {
        self.started
    }

    /// Starts a window. Its length varies, so that no program repeats itself in the same rhythm.
    pub(super) fn start(&mut self, now: ClockTime, phase: Phase, length: Option<Duration>) {
        let variation = now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & 0xff;
        let longest = ROUND_TRIP + Duration::from_millis(variation);
        // Both windows of a pair have the same length.
        if phase != Phase::Probing || self.length.is_zero() {
            self.length = length.unwrap_or(longest).clamp(SHORTEST, longest);
        }
        (self.phase, self.started) = (phase, now);
    }

    pub(super) const fn length(&self) -> Duration {
        self.length
    }
}

#[derive(Debug)]
pub(super) struct ProbeTest {
    record: Record,
    is_likely_loop: bool,
    /// Whether nothing has arrived since a window before the test.
    is_silent: bool,
    /// Whether it takes part since the start of a quiet window.
    takes_part: bool,
    /// Repeats in this window, and the latest.
    count: u64,
    latest: ClockTime,
    /// Repeats in the last quiet window.
    quiet_count: u64,
    /// Repeats in all quiet windows.
    originals: u64,
    /// Those of them with the contents of the probes, and the copies that the relay has sent of these contents.
    baseline: u64,
    sent_before: u64,
    /// Repeats that were sent as probes.
    probes: u64,
    echoes: u8,
    misses: u8,
    /// Repeats in all windows with probes, and in the quiet ones before these.
    with_probes: u64,
    without_probes: u64,
    disturbed: u8,
    quiet_windows: u8,
    contents: BTreeMap<ContentKey, WindowCounts>,
    total: u64,
    /// Those of contents that another source was the first to send.
    of_others: u64,
    /// Those in this window of contents that may circulate without the relay.
    circulating: u64,
    pub(super) held: HeldRepeats,
}

/// What a window has shown of a content.
#[derive(Clone, Copy, Debug, Default)]
struct WindowCounts {
    repeats: u64,
    /// Copies that the relay has sent.
    sent: u64,
    /// Whether a probe with it was sent at the start of the window.
    is_probed: bool,
}

impl ProbeTest {
    pub(super) fn new(now: ClockTime, record: Record, held: HeldRepeats) -> Self {
        let contents = held.keys().take(MAX_CONTENTS).map(|key| (key, WindowCounts::default())).collect();
        Self {
            record,
            is_likely_loop: false,
            is_silent: false,
            takes_part: false,
            count: 0,
            latest: now,
            quiet_count: 0,
            originals: 0,
            baseline: 0,
            sent_before: 0,
            probes: 0,
            echoes: 0,
            misses: 0,
            with_probes: 0,
            without_probes: 0,
            disturbed: 0,
            quiet_windows: 0,
            contents,
            total: 0,
            of_others: 0,
            circulating: 0,
            held,
        }
    }

    /// Starts one of a source that has sent more while more was sent.
    pub(super) fn of_likely_loop(now: ClockTime, record: Record, held: HeldRepeats) -> Self {
        Self { is_likely_loop: true, ..Self::new(now, record, held) }
    }

    /// Starts one of a source that has sent nothing for a window, while nothing was sent.
    pub(super) fn after_silence(now: ClockTime, record: Record, held: HeldRepeats) -> Self {
        Self { is_silent: true, ..Self::new(now, record, held) }
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    pub(super) fn holds(&self, key: ContentKey) -> bool {
        self.contents.contains_key(&key)
    }

    /// Counts a repeat. Returns whether it must be kept: few are of contents that others have sent first.
    pub(super) fn arrive(&mut self, now: ClockTime, key: ContentKey, arrival: &ContentArrival) -> bool {
        self.total += 1;
        self.is_silent = false;
        self.count += 1;
        self.latest = now;
        self.of_others += u64::from(!arrival.is_first);
        self.circulating += u64::from(arrival.circulates());
        if self.contents.len() < MAX_CONTENTS || self.contents.contains_key(&key) {
            self.contents.entry(key).or_default().repeats += 1;
        }
        let most = if self.is_probably_loop() { MOST_OF_LOOP } else { MOST_OF_OTHERS };
        (self.is_own() && self.echoes == 0 && !self.is_likely_loop) || self.held.len() < most
    }

    /// Counts copies that the relay has sent.
    pub(super) fn emit(&mut self, key: ContentKey, copies: u32) {
        if let Some(counts) = self.contents.get_mut(&key) {
            counts.sent += u64::from(copies);
        }
    }

    /// Handles the start of a quiet window.
    pub(super) fn start_quiet(&mut self) {
        self.takes_part = true;
        self.start();
    }

    fn start(&mut self) {
        (self.count, self.circulating) = (0, 0);
        self.contents.values_mut().for_each(|counts| *counts = WindowCounts::default());
    }

    /// Handles the end of a quiet window, and the start of the next one.
    pub(super) fn end_quiet(&mut self, length: Duration) -> ProbeResult {
        if !self.takes_part {
            return ProbeResult::Unclear;
        }
        self.quiet_windows += 1;
        let is_fast = u128::from(self.count) * 1_000 >= u128::from(STORM_RATE) * length.as_millis();
        let sent: u64 = self.contents.values().map(|counts| counts.sent).sum();
        // Only the second window says what others send while the relay sends nothing.
        let circulates = self.circulating * 2 >= self.count && sent == 0 && !self.is_own();
        if is_fast && circulates && self.quiet_windows >= 2 {
            return ProbeResult::OfOthers;
        }
        self.quiet_count = self.count;
        self.originals += self.count;
        let wanted = match self.count {
            0 => self.few(),
            _ if is_fast && circulates && self.quiet_windows == 1 => 0,
            count => (count / 2).max(chance(count) * 3).min(MOST_PROBES),
        };
        if (self.held.len() as u64) < wanted && self.count > 0 && self.quiet_windows < MOST_QUIET {
            self.start();
            self.probes = 0;
            return ProbeResult::Unclear;
        }
        let probes = self.take_probes(wanted);
        self.probes = probes.len() as u64;
        ProbeResult::Probe(probes)
    }

    /// Returns the number of probes whose contents do not arrive without them: not the same number each time, so that a
    /// program does not match it. More after an echo, so that three are hardly coincidence.
    fn few(&self) -> u64 {
        1 + (self.total + u64::from(self.echoes)) % 4 + u64::from(self.echoes) * 4
    }

    /// Takes the probes, with the contents that arrived least in the quiet window: the echoes of these are noticed best.
    fn take_probes(&mut self, wanted: u64) -> VecDeque<PendingRepeat> {
        let arrived = |key| self.contents.get(&key).map_or(u64::MAX, |counts| counts.repeats);
        let silent = self.held.keys().filter(|key| arrived(*key) == 0).count() as u64;
        let (wanted, most) = match silent.min(wanted) {
            0 => (wanted, u64::MAX),
            silent => (silent.min(self.few()), 0),
        };
        let probes =
            self.held.take_of(usize::try_from(wanted).unwrap_or(usize::MAX), |key| arrived(key) <= most);
        let keys: BTreeSet<ContentKey> = probes.iter().map(|probe| probe.key).collect();
        let counts = keys.iter().filter_map(|key| self.contents.get(key));
        (self.baseline, self.sent_before) =
            counts.fold((0, 0), |(repeats, sent), counts| (repeats + counts.repeats, sent + counts.sent));
        self.start();
        for key in keys {
            self.contents.entry(key).or_default().is_probed = true;
        }
        probes
    }

    /// Handles the end of a window with probes.
    pub(super) fn end_probing(&mut self, length: Duration) -> ProbeResult {
        let is_unclear = !self.takes_part || (self.probes == 0 && self.quiet_windows < MOST_QUIET);
        let probed = self.contents.values().filter(|counts| counts.is_probed);
        let (count, sent) =
            probed.fold((0, 0), |(repeats, sent), counts| (repeats + counts.repeats, sent + counts.sent));
        // Others have sent less of its contents than before: this proves nothing.
        let by_others = sent.saturating_sub(self.probes);
        let is_disturbed = by_others + self.probes < self.sent_before && self.disturbed < MOST_DISTURBED;
        self.disturbed += u8::from(is_disturbed);
        if is_unclear || is_disturbed {
            return ProbeResult::Unclear;
        }
        let (baseline, probes) = (self.baseline, self.probes);
        let least = match baseline {
            0 => (probes * 3).div_ceil(4).max(1),
            count => (probes / 2).max(chance(count) * 3 / 2),
        };
        let varies = if baseline > 0 { chance(baseline) } else { 0 };
        let most = probes.max(sent.saturating_sub(self.sent_before)) * MAX_GAIN + varies;
        let more = count.saturating_sub(baseline);
        self.with_probes += count;
        self.without_probes += baseline;
        if more >= least && more <= most {
            self.echoes = self.echoes.saturating_add(1);
            let (echoes, deviations_squared) = match self.record {
                Record::Clean => (ECHOES, DEVIATIONS_SQUARED),
                Record::Convicted => (1, DEVIATIONS_SQUARED_AGAIN),
            };
            if self.echoes >= echoes && self.exceeds_chance(deviations_squared) {
                return ProbeResult::Loop;
            }
        } else {
            self.misses += 1;
            if self.misses > self.echoes {
                let is_steady = self.count + chance(self.quiet_count) >= self.quiet_count;
                return ProbeResult::Innocent(Rate {
                    count: self.quiet_count,
                    window: length,
                    has_slack: false,
                    originals: self.originals,
                    is_independent: is_steady && probes >= least,
                });
            }
        }
        ProbeResult::Unclear
    }

    /// Returns whether more have arrived with probes than without by more than chance: of independent repeats, each is in
    /// one of the two windows with the same probability.
    const fn exceeds_chance(&self, deviations_squared: u64) -> bool {
        let more = self.with_probes.saturating_sub(self.without_probes);
        more.saturating_mul(more) >= deviations_squared * (self.with_probes + self.without_probes)
    }

    /// Returns how long copies take, if it is known.
    pub(super) fn round_trip(&self, window_started: ClockTime) -> Option<Duration> {
        (self.quiet_count == 0 && self.echoes > 0).then(|| self.latest - window_started)
    }

    /// Returns whether what is held should not be sent even if the source is acquitted.
    pub(super) fn is_probably_loop(&self) -> bool {
        !self.is_own()
            && ((self.echoes >= 1 && self.quiet_count >= SURE) || (self.echoes >= 2 && self.held.len() > FEW))
    }

    const fn is_own(&self) -> bool {
        self.of_others * 2 < self.total
    }

    pub(super) const fn was_convicted(&self) -> bool {
        matches!(self.record, Record::Convicted)
    }
}

/// Returns by how much a count varies by chance.
const fn chance(count: u64) -> u64 {
    1 + (2 * count).isqrt()
}
