//! The guard against loops through boxes that do not announce themselves.

mod contents;
mod suspect;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use contents::Contents;
pub(crate) use contents::{ContentKey, LegSource};
pub(crate) use suspect::PendingRepeat;
use suspect::{Step, Suspect};

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
    /// So it is, and the source has just been recognized as part of a loop.
    LoopFound,
}

/// The memory of contents and of the sources that repeat them.
#[derive(Debug)]
pub(crate) struct Guard {
    contents: Contents,
    suspects: LruCache<LegSource, Suspect>,
    /// The suspects that are being tested.
    tested: Vec<LegSource>,
    /// Repeats to send: their source is their origin.
    released: VecDeque<PendingRepeat>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            contents: Contents::new(MAX_CONTENTS),
            suspects: LruCache::new(MAX_SUSPECTS),
            tested: Vec::new(),
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
            Step::Keep => {
                let repeat = PendingRepeat { key, arrival: OwnedArrival::from(arrival) };
                let bytes: usize = self
                    .tested
                    .iter()
                    .filter_map(|source| self.suspects.peek(source))
                    .map(Suspect::held_bytes)
                    .sum();
                let is_kept = bytes <= MAX_HELD_BYTES;
                if let Some(suspect) = self.suspects.peek_mut(&source).filter(|_| is_kept) {
                    suspect.keep(repeat);
                }
                if !self.tested.contains(&source) {
                    self.tested.push(source);
                }
                if is_kept { GuardVerdict::Wait } else { GuardVerdict::NoRoom }
            }
            Step::Origin(mut pending) => {
                pending.push_back(PendingRepeat { key, arrival: OwnedArrival::from(arrival) });
                self.released.append(&mut pending);
                GuardVerdict::Wait
            }
            Step::Loop => GuardVerdict::LoopFound,
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
        self.contents.emit(now, key, u32::try_from(copies).unwrap_or(u32::MAX));
    }

    /// Returns the next repeat to send, if there is one: call again until it returns `None`.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<PendingRepeat> {
        let Self { tested, suspects, released, .. } = self;
        while released.is_empty() && !tested.is_empty() {
            tested.retain(|source| suspects.peek(source).is_some_and(|suspect| suspect.deadline().is_some()));
            // A test may end with nothing to send.
            let Some(due) = tested.iter().find_map(|source| suspects.peek_mut(source)?.poll(now)) else {
                break;
            };
            released.extend(due);
        }
        released.pop_front()
    }

    /// Returns when to call [`Self::poll`].
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.released.is_empty() {
            true => self.tested.iter().filter_map(|source| self.suspects.peek(source)?.deadline()).min(),
            false => Some(Duration::ZERO),
        }
    }
}
