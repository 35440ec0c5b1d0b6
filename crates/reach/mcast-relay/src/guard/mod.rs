//! The guard against loops through boxes that do not announce themselves.

mod allowance;
mod contents;
mod own;
mod probe;
mod suspect;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use mcast_packet::MacAddress;

use contents::Contents;
pub(crate) use contents::{ContentKey, LegSource};
use probe::{Phase, ProbeTest, Windows};
pub(crate) use suspect::PendingRepeat;
use suspect::{Outcome, Step, Suspect};

use crate::arrival::{LegArrival, OwnedArrival};
use crate::rule::DiscoveryProtocol;

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
        now: Duration,
        protocol: Option<DiscoveryProtocol>,
        arrival: &LegArrival<'_>,
    ) -> GuardVerdict {
        let source = LegSource { leg: arrival.leg, address: arrival.source.ip() };
        let of_request = protocol
            .filter(|protocol| protocol.requests_reply(arrival.source, arrival.payload))
            .map(|_| source.address);
        let key = self.contents.key(arrival.destination, arrival.payload, of_request);
        let content = self.contents.arrive(now, key, source);
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

    /// Keeps a repeat until its source has been tested, if there is room for it.
    fn keep(&mut self, source: LegSource, repeat: PendingRepeat) -> GuardVerdict {
        let OwnedArrival { mac, destination, .. } = repeat.arrival;
        let culprit = Culprit { source, mac, destination };
        match self.tested.iter_mut().find(|known| known.source == source) {
            Some(known) => *known = culprit,
            None => self.tested.push(culprit),
        }
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
    pub(crate) fn note(&mut self, now: Duration, protocol: DiscoveryProtocol, arrival: &LegArrival<'_>) {
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
        now: Duration,
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
    pub(crate) fn emit(&mut self, now: Duration, key: ContentKey, copies: usize) {
        let copies = u32::try_from(copies).unwrap_or(u32::MAX);
        self.contents.emit(now, key, copies);
        for tested in &self.tested {
            if let Some(suspect) = self.suspects.peek_mut(&tested.source) {
                suspect.emit(key, copies);
            }
        }
    }

    /// Returns what is due, if anything is: call again until it returns `None`.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<GuardOutput> {
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

    fn do_due(&mut self, now: Duration) {
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
    fn do_due_in_windows(&mut self, now: Duration) {
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
            Phase::Settling | Phase::Probing => {
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
    pub(crate) fn deadline(&self) -> Option<Duration> {
        if !self.released.is_empty() || !self.found.is_empty() || !self.dropped.is_empty() {
            return Some(Duration::ZERO);
        }
        let tested = self.tested.iter();
        let single = tested.filter_map(|tested| self.suspects.peek(&tested.source)?.deadline());
        let windows = self.windows.as_ref().map(Windows::end).into_iter();
        single.chain(windows).min()
    }
}
