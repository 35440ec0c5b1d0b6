//! The guard against loops through boxes that do not announce themselves.

mod allowance;
mod contents;
mod probe;
mod suspect;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use mcast_pace::ClockTime;
use mcast_packet::MacAddress;

use crate::arrival::{LegArrival, OwnedArrival};
use crate::rule::LocalDiscovery;
use allowance::Rate;
use contents::{ContentArrival, Contents, HeldRepeats, MAX_GAIN, ROUND_TRIP};
pub(crate) use contents::{ContentKey, LegSource, PendingRepeat};
use probe::{Phase, ProbeTest, Windows};
use suspect::{Outcome, Step, Suspect};

/// Repeats of a discovery protocol within this time are dropped.
const SET_WINDOW: Duration = Duration::from_millis(250);
/// Two seconds of 30,000 datagrams per second, and as much before that. Beyond that, only faster loops are recognized.
const MAX_CONTENTS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// Memory of the repeats of all sources that are held back: those of small datagrams for two seconds at 50,000 per second.
const MAX_HELD_BYTES: usize = 16 << 20;
const MAX_SUSPECTS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// The guard's decision on an arrival.
#[derive(Debug)]
pub(crate) enum GuardVerdict {
    /// Send it. [`Guard::emit`] follows if it was sent.
    Pass(ContentKey),
    /// Do not send it now: it is kept until the source has been tested.
    Wait,
    /// It should be kept, and there is no room for it.
    NoRoom,
    /// It is a repeat of a discovery protocol.
    Repeat,
    /// It is a copy of what the relay has sent, returned by a source that does so.
    Echo,
}

/// What follows from the tests of sources.
#[derive(Debug)]
pub(crate) enum GuardOutput {
    /// Send this repeat.
    Send(PendingRepeat),
    /// Count this repeat as an echo, which is not sent.
    Drop(PendingRepeat),
    /// A source that repeats what the relay has sent is part of a loop.
    LoopFound(Culprit),
}

/// A source, and what it has repeated last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Culprit {
    pub(crate) source: LegSource,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) destination: SocketAddr,
}

/// The memory of contents and of the sources that repeat them.
#[derive(Debug)]
pub(crate) struct Guard {
    contents: Contents,
    suspects: LruCache<LegSource, Suspect>,
    /// The suspects that are being tested.
    tested: Vec<Culprit>,
    /// The windows of tests with probes.
    windows: Option<Windows>,
    /// Those that have just been found to be part of a loop.
    found: VecDeque<Culprit>,
    /// Repeats that were held back and are not sent.
    dropped: VecDeque<PendingRepeat>,
    /// Repeats to send.
    released: VecDeque<PendingRepeat>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            contents: Contents::new(MAX_CONTENTS),
            suspects: LruCache::new(MAX_SUSPECTS),
            tested: Vec::new(),
            windows: None,
            found: VecDeque::new(),
            dropped: VecDeque::new(),
            released: VecDeque::new(),
        }
    }

    /// Decides on an arrival. `protocol` is the discovery protocol of the rules that name it.
    pub(crate) fn arrive(
        &mut self,
        now: ClockTime,
        protocol: Option<LocalDiscovery>,
        arrival: &LegArrival<'_>,
    ) -> GuardVerdict {
        let source = LegSource { leg: arrival.leg, address: arrival.source.ip() };
        let of_request = protocol
            .filter(|protocol| protocol.requests_reply(arrival.source, arrival.payload))
            .map(|_| source.address);
        let key = self.contents.key(arrival.destination, arrival.payload, of_request);
        let content = self.contents.arrive(now, key, source);
        // What a discovery protocol repeats this soon says nothing new, so that a loop ends here without a test.
        if protocol.is_some() && self.contents.is_in_set(now, key, SET_WINDOW) {
            return GuardVerdict::Repeat;
        }
        if !content.may_be_echo() && !self.suspects.contains(&source) {
            return GuardVerdict::Pass(key);
        }
        let suspect = self.suspects.get_or_insert_mut(source, || Suspect::new(now));
        match suspect.arrive(now, key, &content) {
            Step::Pass => GuardVerdict::Pass(key),
            Step::Echo => GuardVerdict::Echo,
            Step::NoRoom => GuardVerdict::NoRoom,
            Step::Keep => self.keep(source, PendingRepeat { key, arrival: OwnedArrival::from(arrival) }),
        }
    }

    /// Records datagrams that arrived together, up to the first one that is not new, and returns their number: these pass.
    /// [`Self::emit_together`] follows if there are any. The others are decided on one by one, and so are all of them while
    /// a source is tested. `segment` is the length of each but the last.
    ///
    /// They are not of a discovery protocol.
    pub(crate) fn arrive_together(
        &mut self,
        now: ClockTime,
        arrival: &LegArrival<'_>,
        segment: NonZeroUsize,
    ) -> usize {
        if !self.tested.is_empty() {
            return 0;
        }
        let source = LegSource { leg: arrival.leg, address: arrival.source.ip() };
        self.suspects.promote(&source);
        self.contents.arrive_together(now, source, arrival.destination, arrival.payload, segment)
    }

    /// Keeps a repeat until its source has been tested, if there is room for it.
    fn keep(&mut self, source: LegSource, repeat: PendingRepeat) -> GuardVerdict {
        let OwnedArrival { mac, destination, .. } = repeat.arrival;
        let culprit = Culprit { source, mac, destination };
        match self.tested.iter_mut().find(|known| known.source == source) {
            Some(known) => *known = culprit,
            None => self.tested.push(culprit),
        }
        // The limit is for all sources together, so that many forged ones do not fill the memory.
        let suspects = self.tested.iter().filter_map(|tested| self.suspects.peek(&tested.source));
        let bytes: usize = suspects.map(Suspect::held_bytes).sum();
        match self.suspects.peek_mut(&source) {
            Some(suspect) if bytes <= MAX_HELD_BYTES => {
                suspect.keep(repeat);
                GuardVerdict::Wait
            }
            Some(_) | None => GuardVerdict::NoRoom,
        }
    }

    /// Records an arrival that is not forwarded now, so that a later repeat is recognized.
    pub(crate) fn note(&mut self, now: ClockTime, protocol: LocalDiscovery, arrival: &LegArrival<'_>) {
        let of_request = protocol.requests_reply(arrival.source, arrival.payload);
        let source = LegSource { leg: arrival.leg, address: arrival.source.ip() };
        self.remember(
            now,
            arrival.destination,
            arrival.payload,
            of_request.then_some(source.address),
            source,
        );
    }

    /// Records a copy of a discovery protocol whose payload has changed on the way, so that its echo is recognized.
    pub(crate) fn remember(
        &mut self,
        now: ClockTime,
        destination: SocketAddr,
        payload: &[u8],
        of_request: Option<IpAddr>,
        source: LegSource,
    ) {
        let key = self.contents.key(destination, payload, of_request);
        self.contents.arrive(now, key, source);
        self.contents.is_in_set(now, key, SET_WINDOW);
    }

    /// Records that the relay has sent copies of a content: each of them may come back.
    pub(crate) fn emit(&mut self, now: ClockTime, key: ContentKey, copies: usize) {
        let copies = u32::try_from(copies).unwrap_or(u32::MAX);
        self.contents.emit(now, key, copies);
        for tested in &self.tested {
            if let Some(suspect) = self.suspects.peek_mut(&tested.source) {
                suspect.emit(key, copies);
            }
        }
    }

    /// Records that the relay has sent copies of each of the datagrams that have just arrived together.
    pub(crate) fn emit_together(&mut self, copies: usize) {
        self.contents.emit_together(u32::try_from(copies).unwrap_or(u32::MAX));
    }

    /// Returns what is due, if anything is: call again until it returns `None`.
    pub(crate) fn poll(&mut self, now: ClockTime) -> Option<GuardOutput> {
        if self.released.is_empty()
            && self.found.is_empty()
            && self.dropped.is_empty()
            && !self.tested.is_empty()
        {
            self.do_due(now);
        }
        let found = self.found.pop_front().map(GuardOutput::LoopFound);
        let found = found.or_else(|| self.dropped.pop_front().map(GuardOutput::Drop));
        found.or_else(|| self.released.pop_front().map(GuardOutput::Send))
    }

    fn do_due(&mut self, now: ClockTime) {
        let Self { tested, suspects, released, .. } = self;
        tested.retain(|tested| suspects.peek(&tested.source).is_some_and(Suspect::is_active));
        for tested in &*tested {
            let outcome = suspects.peek_mut(&tested.source).and_then(|suspect| suspect.poll(now));
            if let Some(Outcome::Send(due)) = outcome {
                released.extend(due);
            }
        }
        self.do_due_in_windows(now);
    }

    /// Continues the tests that have their windows in common.
    fn do_due_in_windows(&mut self, now: ClockTime) {
        let is_probed = |suspect: &Suspect| suspect.probed().is_some();
        let suspects = self.tested.iter().filter_map(|tested| self.suspects.peek(&tested.source));
        let (probed, others): (Vec<_>, Vec<_>) = suspects.partition(|suspect| is_probed(suspect));
        if probed.is_empty() {
            self.windows = None;
            return;
        }
        // What is sent of others would disturb them.
        let is_disturbed = others.iter().any(|suspect| suspect.is_draining());
        let is_silent = |suspect: &&Suspect| suspect.probed().is_some_and(ProbeTest::is_silent);
        if self.windows.is_none() && !is_disturbed && probed.iter().all(is_silent) {
            self.windows = Some(Windows::after_quiet(now));
            for tested in &self.tested {
                if let Some(suspect) = self.suspects.peek_mut(&tested.source) {
                    suspect.start_quiet();
                }
            }
        }
        let windows = self.windows.get_or_insert_with(|| Windows::new(now));
        if is_disturbed {
            *windows = Windows::new(now);
        }
        if now < windows.end() {
            return;
        }
        for tested in &self.tested {
            let suspect = self.suspects.peek_mut(&tested.source);
            match suspect.and_then(|suspect| suspect.end_window(now, windows)) {
                Some(Outcome::Send(due)) => self.released.extend(due),
                Some(Outcome::Loop { is_new, dropped }) => {
                    self.found.extend(is_new.then_some(*tested));
                    self.dropped.extend(dropped.into_repeats());
                }
                Some(Outcome::Drop(dropped)) => self.dropped.extend(dropped.into_repeats()),
                None => {}
            }
        }
        let started = windows.started();
        match windows.phase() {
            Phase::Quiet => windows.start(now, Phase::Probing, None),
            Phase::Draining | Phase::Probing => {
                let suspects =
                    self.tested.iter().filter_map(|tested| self.suspects.peek(&tested.source)?.probed());
                let round_trips: Option<Vec<Duration>> =
                    suspects.map(|test| test.round_trip(started)).collect();
                let longest = round_trips.and_then(|times| times.into_iter().max());
                windows.start(now, Phase::Quiet, longest.map(|time| time * 4));
                for tested in &self.tested {
                    if let Some(suspect) = self.suspects.peek_mut(&tested.source) {
                        suspect.start_quiet();
                    }
                }
            }
        }
    }

    /// Returns when to call [`Self::poll`].
    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        if !self.released.is_empty() || !self.found.is_empty() || !self.dropped.is_empty() {
            return Some(ClockTime::START);
        }
        let tested = self.tested.iter();
        let single = tested.filter_map(|tested| self.suspects.peek(&tested.source)?.deadline());
        let windows = self.windows.as_ref().map(Windows::end).into_iter();
        single.chain(windows).min()
    }
}

/// The least time in which a rate is measured.
const SHORTEST: Duration = Duration::from_millis(100);
/// The least number of repeats that cannot be copies, for a result before copies under way have arrived.
const LEAST_UNEXPLAINED: u64 = 16;
/// Contents that are observed of one source.
const MAX_OWN_CONTENTS: usize = 2_048;

/// The result of a test.
#[derive(Debug)]
enum OwnResult {
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
struct OwnTest {
    started: ClockTime,
    /// The time for which it counts, once copies under way have arrived.
    window: Duration,
    count: u64,
    /// Those of them that cannot be copies of what the relay has sent since the test started.
    originals: u64,
    total: u64,
    latest: ClockTime,
    contents: BTreeMap<ContentKey, OwnContent>,
    /// Repeats that cannot be copies of what the relay has sent.
    unexplained: u64,
    /// Repeats that others send as often.
    rivalled: u64,
    held: HeldRepeats,
}

#[derive(Debug)]
struct OwnContent {
    /// The copies since the test started.
    copies: u64,
    /// The copies that the relay had sent, apart from those that may still be under way.
    delivered: u64,
    /// The copies that the relay had sent before the test.
    before: u64,
    /// The copies once those under way at the start have arrived.
    late: u64,
}

impl OwnTest {
    fn new(now: ClockTime) -> Self {
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

    fn holds(&self, key: ContentKey) -> bool {
        self.contents.contains_key(&key)
    }

    /// Counts a repeat.
    fn arrive(&mut self, now: ClockTime, key: ContentKey, arrival: &ContentArrival) {
        let is_late = now >= self.started + ROUND_TRIP;
        self.total += 1;
        self.latest = now;
        self.count += u64::from(is_late);
        self.rivalled += u64::from(arrival.circulates());
        // An innocent source repeats something within the window.
        self.window = arrival.interval().map_or(self.window, |interval| self.window.max(interval * 2));
        if self.contents.len() < MAX_OWN_CONTENTS || self.contents.contains_key(&key) {
            let started = self.started;
            let content = self.contents.entry(key).or_insert_with(|| OwnContent::new(now, started, arrival));
            content.copies += 1;
            content.late += u64::from(is_late);
            let copies = |before| arrival.total.saturating_sub(before).saturating_mul(MAX_GAIN);
            self.unexplained += u64::from(content.copies > copies(content.delivered));
            // Of what the relay sends for the first time, there is one copy, apart from those by others.
            self.originals += u64::from(is_late && content.late > copies(content.before).min(MAX_GAIN));
        }
    }

    /// Returns when to call [`Self::poll`].
    fn deadline(&self) -> ClockTime {
        // In silence, there is nothing to wait for.
        let end = (self.started + ROUND_TRIP + self.window).min(self.latest + self.window);
        if self.is_unexplained() { end.min(self.started + SHORTEST) } else { end }
    }

    /// Returns the result if it is there.
    fn poll(&self, now: ClockTime) -> Option<OwnResult> {
        if now < self.deadline() {
            return None;
        }
        if now >= self.latest + self.window {
            return Some(OwnResult::Silent);
        }
        let (count, originals, window) = match self.is_unexplained() {
            true => (self.total, self.unexplained, now - self.started),
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
    fn new(now: ClockTime, started: ClockTime, arrival: &ContentArrival) -> Self {
        let delivered = arrival.total.saturating_sub(arrival.emitted.into());
        let is_sent_in_test = arrival.since_emitted().is_some_and(|since| now - since >= started);
        let before = if is_sent_in_test { delivered } else { arrival.total };
        Self { copies: 0, delivered, before, late: 0 }
    }
}
