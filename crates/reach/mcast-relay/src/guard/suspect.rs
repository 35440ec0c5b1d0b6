//! One source that repeats contents, and what was held back of one that a test has acquitted.

use std::collections::VecDeque;
use std::time::Duration;

use mcast_pace::ClockTime;

use super::allowance::{Allowance, Rate};
use super::contents::{ContentArrival, ContentKey, HeldRepeats, PendingRepeat, ROUND_TRIP};
use super::probe::{MOST_OF_OTHERS, Phase, ProbeResult, ProbeTest, Record, Windows};
use super::{OwnResult, OwnTest};

/// The time after which a source in quarantine is tested again.
const RECHECK: Duration = Duration::from_secs(5);
/// A source in quarantine that has repeated nothing for this long is free.
const SILENCE: Duration = Duration::from_secs(10);

/// What to do with an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send it.
    Pass,
    /// Keep it with [`Suspect::keep`].
    Keep,
    /// Drop it: there is no room for it.
    NoRoom,
    /// Drop it: it is an echo of the relay's own copy, or part of a storm.
    Echo,
}

/// What follows from a test.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Send these.
    Send(VecDeque<PendingRepeat>),
    /// The source is part of a loop or storm. `is_new`: it was not known to be.
    Loop { is_new: bool, dropped: HeldRepeats },
    /// Drop these: they are likely to be copies of what the relay has sent.
    Drop(HeldRepeats),
}

#[derive(Debug)]
pub(super) struct Suspect {
    state: SuspectState,
    allowance: Allowance,
    record: Record,
}

#[derive(Debug)]
enum SuspectState {
    Watched,
    Own(Box<OwnTest>),
    Probed(Box<ProbeTest>),
    /// It has been acquitted.
    Drained(Box<Drain>),
    Quarantined {
        last: ClockTime,
        recheck: ClockTime,
    },
}

impl Suspect {
    pub(super) fn new(now: ClockTime) -> Self {
        Self { state: SuspectState::Watched, allowance: Allowance::new(now), record: Record::Clean }
    }

    /// Returns when to call [`Self::poll`].
    pub(super) fn deadline(&self) -> Option<ClockTime> {
        match &self.state {
            SuspectState::Own(test) => Some(test.deadline()),
            SuspectState::Drained(drain) => Some(drain.deadline()),
            SuspectState::Watched | SuspectState::Probed(_) | SuspectState::Quarantined { .. } => None,
        }
    }

    /// Returns whether something is held back or counted.
    pub(super) const fn is_active(&self) -> bool {
        !matches!(self.state, SuspectState::Watched | SuspectState::Quarantined { .. })
    }

    /// Returns whether what was held back is being sent.
    pub(super) const fn is_draining(&self) -> bool {
        matches!(self.state, SuspectState::Drained(_))
    }

    /// Returns its test in the windows of all.
    pub(super) const fn probed(&self) -> Option<&ProbeTest> {
        match &self.state {
            SuspectState::Probed(test) => Some(test),
            _ => None,
        }
    }

    /// Returns the bytes of the repeats that are held back.
    pub(super) const fn held_bytes(&self) -> usize {
        match &self.state {
            SuspectState::Own(test) => test.held.bytes(),
            SuspectState::Probed(test) => test.held.bytes(),
            SuspectState::Drained(drain) => drain.held.bytes(),
            SuspectState::Watched | SuspectState::Quarantined { .. } => 0,
        }
    }

    /// Decides on an arrival of this source.
    pub(super) fn arrive(&mut self, now: ClockTime, key: ContentKey, arrival: &ContentArrival) -> Step {
        let is_held = match &self.state {
            SuspectState::Own(test) => test.holds(key),
            SuspectState::Probed(test) => test.holds(key),
            SuspectState::Watched | SuspectState::Drained(_) | SuspectState::Quarantined { .. } => false,
        };
        if !arrival.may_be_echo() && !is_held {
            return Step::Pass;
        }
        self.follow(now, arrival);
        match &mut self.state {
            SuspectState::Watched => Step::Pass,
            SuspectState::Own(test) => {
                test.arrive(now, key, arrival);
                Step::Keep
            }
            SuspectState::Probed(test) => match test.arrive(now, key, arrival) {
                true => Step::Keep,
                false => Step::NoRoom,
            },
            SuspectState::Drained(_) => Step::Keep,
            SuspectState::Quarantined { .. } => Step::Echo,
        }
    }

    /// Changes the state for a repeat.
    fn follow(&mut self, now: ClockTime, arrival: &ContentArrival) {
        if let SuspectState::Quarantined { last, recheck } = &mut self.state {
            let silence = now - std::mem::replace(last, now);
            // A loop of which nothing is sent falls silent as well, so this acquits nobody: the next repeat begins a test.
            if silence >= SILENCE {
                (self.state, self.allowance) = (SuspectState::Watched, Allowance::none(now));
            } else if now >= *recheck {
                self.probe(now, HeldRepeats::default());
            }
        }
        if let SuspectState::Drained(drain) = &mut self.state
            && drain.arrive(now)
        {
            // More arrive because more were sent: most of them are likely to be echoes.
            let held = std::mem::take(&mut drain.held);
            match arrival.is_first {
                // It may as well send more.
                true => self.probe(now, held),
                false => self.probe_likely_loop(now, held),
            }
        }
        if matches!(self.state, SuspectState::Watched) && !self.allowance.take(now) {
            let is_known = self.allowance.is_known() || self.record == Record::Convicted;
            match is_known || !arrival.is_first {
                true => self.probe(now, HeldRepeats::default()),
                false => self.state = SuspectState::Own(OwnTest::new(now).into()),
            }
        }
    }

    fn probe(&mut self, now: ClockTime, held: HeldRepeats) {
        self.state = SuspectState::Probed(ProbeTest::new(now, self.record, held).into());
    }

    /// Tests a source of which few repeats are kept.
    fn probe_likely_loop(&mut self, now: ClockTime, mut held: HeldRepeats) {
        held.truncate(MOST_OF_OTHERS);
        self.state = SuspectState::Probed(ProbeTest::of_likely_loop(now, self.record, held).into());
    }

    /// Counts copies that the relay has sent of a content.
    pub(super) fn emit(&mut self, key: ContentKey, copies: u32) {
        if let SuspectState::Probed(test) = &mut self.state {
            test.emit(key, copies);
        }
    }

    /// Keeps a repeat.
    pub(super) fn keep(&mut self, repeat: PendingRepeat) {
        match &mut self.state {
            SuspectState::Own(test) => test.held.push(repeat),
            SuspectState::Probed(test) => test.held.push(repeat),
            SuspectState::Drained(drain) => drain.held.push(repeat),
            SuspectState::Watched | SuspectState::Quarantined { .. } => {}
        }
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: ClockTime) -> Option<Outcome> {
        match &mut self.state {
            SuspectState::Own(test) => {
                let result = test.poll(now)?;
                let held = std::mem::take(&mut test.held);
                match result {
                    OwnResult::Continues(rate) => self.acquit(now, rate, held),
                    OwnResult::Silent => {
                        let test = ProbeTest::after_silence(now, self.record, held);
                        self.state = SuspectState::Probed(test.into());
                    }
                    OwnResult::Unclear => self.probe(now, held),
                    OwnResult::Copies => self.probe_likely_loop(now, held),
                }
                None
            }
            SuspectState::Drained(drain) => {
                let due = drain.poll(now).map(Outcome::Send);
                if drain.held.len() == 0 {
                    self.state = SuspectState::Watched;
                }
                due
            }
            SuspectState::Watched | SuspectState::Probed(_) | SuspectState::Quarantined { .. } => None,
        }
    }

    /// Handles the end of a window of the tests of all.
    pub(super) fn end_window(&mut self, now: ClockTime, windows: &Windows) -> Option<Outcome> {
        let SuspectState::Probed(test) = &mut self.state else { return None };
        let result = match windows.phase() {
            Phase::Draining => ProbeResult::Unclear,
            Phase::Quiet => test.end_quiet(windows.length()),
            Phase::Probing => test.end_probing(windows.length()),
        };
        match result {
            ProbeResult::Probe(probes) => Some(Outcome::Send(probes)),
            ProbeResult::Unclear => None,
            ProbeResult::Innocent(rate) => {
                let is_probably_loop = test.is_probably_loop();
                let held = std::mem::take(&mut test.held);
                let (held, dropped) = if is_probably_loop {
                    (HeldRepeats::default(), held)
                } else {
                    (held, HeldRepeats::default())
                };
                self.acquit(now, rate, held);
                Some(Outcome::Drop(dropped))
            }
            ProbeResult::Loop => {
                let (is_new, dropped) = (!test.was_convicted(), std::mem::take(&mut test.held));
                self.state = SuspectState::Quarantined { last: now, recheck: now + RECHECK };
                (self.record, self.allowance) = (Record::Convicted, Allowance::none(now));
                Some(Outcome::Loop { is_new, dropped })
            }
            ProbeResult::OfOthers => {
                let dropped = std::mem::take(&mut test.held);
                self.state = SuspectState::Quarantined { last: now, recheck: now + RECHECK };
                Some(Outcome::Drop(dropped))
            }
        }
    }

    /// Handles the start of a quiet window.
    pub(super) fn start_quiet(&mut self) {
        if let SuspectState::Probed(test) = &mut self.state {
            test.start_quiet();
        }
    }

    fn acquit(&mut self, now: ClockTime, rate: Rate, held: HeldRepeats) {
        self.allowance.learn(now, rate, held.len() as u64);
        self.state = SuspectState::Drained(Drain::new(now, rate, held).into());
        self.record = Record::Clean;
    }
}

/// Repeats that are sent together.
const AT_ONCE: u32 = 16;

#[derive(Debug)]
pub(super) struct Drain {
    pub(super) held: HeldRepeats,
    next: ClockTime,
    /// The time for [`AT_ONCE`] repeats.
    interval: Duration,
    /// Arrivals in each window that are no more than before.
    expected: u64,
    window_started: ClockTime,
    count: u64,
}

impl Drain {
    pub(super) fn new(now: ClockTime, rate: Rate, held: HeldRepeats) -> Self {
        let expected = rate.within(ROUND_TRIP);
        // Twice as fast as they arrive, and within a window if no more do.
        let in_window = (expected * 2).max(held.len() as u64).max(1);
        let interval = ROUND_TRIP * AT_ONCE / u32::try_from(in_window).unwrap_or(u32::MAX);
        Self { held, next: now, interval, expected, window_started: now, count: 0 }
    }

    /// Returns when to call [`Self::poll`].
    pub(super) const fn deadline(&self) -> ClockTime {
        self.next
    }

    /// Counts an arrival. Returns whether more arrive than before.
    pub(super) fn arrive(&mut self, now: ClockTime) -> bool {
        if now >= self.window_started + ROUND_TRIP {
            (self.window_started, self.count) = (now, 0);
        }
        self.count += 1;
        self.count > self.expected * 3 / 2 + 4
    }

    /// Returns the repeats to send now, if it is time.
    pub(super) fn poll(&mut self, now: ClockTime) -> Option<VecDeque<PendingRepeat>> {
        if now < self.next || self.held.len() == 0 {
            return None;
        }
        self.next = now + self.interval;
        Some(self.held.take(AT_ONCE as usize))
    }
}
