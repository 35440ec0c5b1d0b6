//! Verification of a signed stream: only what the publisher has signed is delivered and moves state.
//!
//! [`Signatures`] are checked in the filter. Data waits in a [`Stage`] in front of the sequencer's window until a manifest with
//! its digest has arrived. Once a digest is known, its datagram is compared on arrival.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use mcast_pace::TokenBucket;

use super::recovery::record_recovered;
use super::{Sequencer, Whereabouts};
use crate::subscriber::SubscriberMachine;
use crate::subscriber::arrived::Arrived;
use crate::subscriber::config::{Policy, SubscriberConfig, VERIFIED_WINDOW};
use crate::subscriber::context::Context;
use crate::subscriber::event::{SubscriberEvent, VerificationFailure};
use crate::subscriber::naks::Arrival;
use crate::subscriber::window::{Meta, SlotContent};
use crate::times::subscriber::{MANIFEST_TIME, PAUSE, REPORT_INTERVAL};
use crate::wire::{Digest, Kind, Manifest, Sequence};
use crate::{ClockTime, sign};

/// Signatures per second that are checked in vain, of datagrams from the publisher's address and from others, and at
/// once: a forger cannot use up the processor, and one that does not forge its address cannot keep out the publisher.
const REFUSALS: u64 = 1_000;
const REFUSALS_AT_ONCE: u64 = 100;
/// Datagrams that wait for their manifests at most: in a window of this size, those of several lost manifests.
const MOST_STAGED: usize = 8_192;

/// When datagrams were last discarded because no manifest arrived for them.
///
/// If they are genuine, the manifest is still on its way, perhaps because of the rate, which their repairs use up as well:
/// then they must not be requested again and again.
#[derive(Clone, Copy, Debug, Default)]
struct Suspicion {
    /// The first of them.
    first: Sequence,
    at: ClockTime,
    /// How often in succession, from the same datagram on.
    times: u32,
}

impl Suspicion {
    /// The longest wait is this many times as long as the first one.
    const MOST_DOUBLINGS: u32 = 6;

    /// Returns whether datagrams from `first` on may be discarded now: not again before a time that doubles.
    fn admits(&self, first: Sequence, now: ClockTime, pause: Duration) -> bool {
        self.first != first || now >= self.at + (1 << self.times.min(Self::MOST_DOUBLINGS)) * pause
    }

    fn note(&mut self, first: Sequence, now: ClockTime) {
        let times = if self.first == first { self.times + 1 } else { 0 };
        *self = Self { first, at: now, times };
    }
}

pub(in crate::subscriber) use crate::wire::Manifest as SignedDigests;

const _: () = assert!(VERIFIED_WINDOW == 2 * Manifest::MOST, "two manifests fit the smallest window");

/// What is known of the keys that sign.
#[derive(Debug)]
pub(in crate::subscriber) struct Signatures {
    from_publisher: TokenBucket,
    from_others: TokenBucket,
    text: Vec<u8>,
    reported: [Option<VerificationFailure>; 3],
}

impl Signatures {
    pub(in crate::subscriber) fn new(now: ClockTime) -> Self {
        let refusals = TokenBucket::new(REFUSALS, REFUSALS_AT_ONCE, now.0);
        Self { from_publisher: refusals, from_others: refusals, text: Vec::new(), reported: [None; 3] }
    }

    /// Reports again what was reported: the keys have changed.
    pub(in crate::subscriber) const fn forget_reports(&mut self) {
        self.reported = [None; 3];
    }

    /// Returns whether a control datagram, or a manifest, is signed with a key that is trusted. Echoes and parity are not
    /// signed: what is recovered from parity is verified.
    pub(in crate::subscriber) fn admit(
        &mut self,
        context: &mut Context,
        arrived: &Arrived<'_>,
        body: &[u8],
    ) -> bool {
        let Arrived { view, from, .. } = arrived;
        let header = &view.header;
        if !context.config.verifies() || matches!(header.kind, Kind::Echo | Kind::Parity) {
            return true;
        }
        let (keys, publisher) = (&context.config.signed_by, &context.publisher);
        let is_namesake = publisher.incarnations.is_namesake(header.incarnation, view.salt());
        let failure = match sign::signature_of(view.head) {
            _ if is_namesake => None,
            None => Some(VerificationFailure::Unsigned),
            Some((id, _)) if !keys.has(id) => Some(VerificationFailure::UnknownKey(id)),
            Some((id, signature)) => {
                let is_from_publisher = from.is_some() && publisher.peer.get() == *from;
                let refusals =
                    if is_from_publisher { &mut self.from_publisher } else { &mut self.from_others };
                refusals.refill(context.now.0);
                // To verify costs far more than to forge. What strangers send has a limit of its own.
                if !refusals.has(1) {
                    context.statistics.not_verified += 1;
                    return false;
                }
                sign::signed_text(view.head, body, &mut self.text);
                let is_signed = keys.is_signed(id, &self.text, &signature);
                // A datagram of this incarnation is verified once; of another one, any number of copies may arrive.
                if !is_signed || !publisher.incarnations.is_current(header.incarnation) {
                    refusals.spend(1);
                }
                if is_signed {
                    return true;
                }
                Some(VerificationFailure::WrongSignature(id))
            }
        };
        context.statistics.not_verified += 1;
        if let Some(failure) = failure {
            self.report(context, failure);
        }
        false
    }

    /// Reports each reason once.
    fn report(&mut self, context: &mut Context, failure: VerificationFailure) {
        let reported = match failure {
            VerificationFailure::Unsigned => 0,
            VerificationFailure::UnknownKey(_) => 1,
            VerificationFailure::WrongSignature(_) => 2,
        };
        if self.reported[reported].replace(failure).is_none() {
            context.emit(SubscriberEvent::NotVerified(failure));
        }
    }
}

impl SubscriberMachine {
    /// Returns whether a datagram of data may be handled: in a signed stream, once it matches a signed digest. Until that is
    /// known, the datagram waits; one that does not match is discarded.
    pub(in crate::subscriber) fn may_be_genuine(&mut self, arrived: &Arrived<'_>) -> bool {
        let Self { context, sequencer, .. } = self;
        let sequence = Sequence(arrived.view.header.sequence);
        if !context.config.verifies() || sequencer.whereabouts(sequence) != Whereabouts::New {
            // It is counted as a copy, or as beyond the window.
            return true;
        }
        let Some(digest) = context.config.signed_by.digest(arrived.datagram) else { return false };
        match sequencer.stage.expected(sequence) {
            Some(expected) if expected == digest => {
                context.statistics.verified += 1;
                true
            }
            Some(_) => {
                sequencer.stage.record_forged(context);
                sequencer.blame(context, arrived.arrival);
                false
            }
            None => {
                self.stage(arrived, digest);
                false
            }
        }
    }

    /// Keeps a datagram until its manifest has arrived.
    fn stage(&mut self, arrived: &Arrived<'_>, digest: Digest) {
        let Self { context, filter, sequencer, reporter, .. } = self;
        let Arrived { arrival, datagram, ref view, .. } = *arrived;
        let now = context.now;
        let sequence = Sequence(view.header.sequence);
        // What was recovered may come from a forged symbol: it does not keep out what arrives.
        let is_doubtful = |staged: &Staged| staged.arrival == Arrival::Recovered && staged.digest != digest;
        if sequencer.stage.get(sequence).is_some_and(|staged| !is_doubtful(staged)) {
            // It may be a copy of what a repairer sent, and the publisher expects to see its own repair counted.
            reporter.record_repair(context, arrived);
            return context.record_copy(arrival);
        }
        let Some(body) = filter.open(context, arrived) else { return };
        if let Some(doubtful) = sequencer.stage.take(sequence) {
            sequencer.window.reuse(doubtful.body);
        }
        let body = sequencer.window.copy(filter.lend(datagram).get(body));
        context.record_arrival_path(arrival, true);
        let is_late = sequence < sequencer.highest;
        let since = sequencer.naks.noticed(sequence).unwrap_or(now);
        reporter.record_repair(context, arrived);
        if arrival == Arrival::Repairer {
            sequencer.repairers.record_answer();
        }
        if is_late {
            sequencer.naks.fill(now, sequence, arrived.repaired_by());
        }
        sequencer.keep_copy(sequence, datagram);
        let is_repair = arrived.is_repair() || !matches!(arrival, Arrival::Path(_));
        let staged = Staged { meta: Meta::of(view), digest, body, arrival, since, is_repair, is_late };
        if let Some((last, staged)) = sequencer.stage.insert(sequence, staged) {
            context.statistics.beyond += 1;
            sequencer.discard_staged(now, last, staged);
        }
        reporter.record_arrival(context, sequencer);
    }
}

impl Sequencer {
    /// Whether a datagram has arrived, verified or not.
    #[inline]
    pub(in crate::subscriber) fn has_arrived(&self, sequence: Sequence) -> bool {
        self.window.has(sequence) || self.stage.has(sequence)
    }

    /// Discards what was taken for the datagram of a manifest: it is another one.
    pub(in crate::subscriber) fn replace_staged(&mut self, context: &mut Context, sequence: Sequence) {
        if let Some(staged) = self.stage.take(sequence) {
            self.window.reuse(staged.body);
            self.stage.record_forged(context);
        }
    }

    /// Takes the digests of a manifest that is authentic.
    pub(in crate::subscriber) fn verify_covered(
        &mut self,
        context: &mut Context,
        sequence: Sequence,
        manifest: Manifest<'_>,
    ) {
        if context.config.verifies() {
            for (covered, digest) in manifest.covered(sequence) {
                self.verify_through(context, covered, digest);
            }
        }
    }

    /// Notes the signed digest of a datagram, and releases the datagram if it has arrived.
    fn verify_through(&mut self, context: &mut Context, sequence: Sequence, digest: Digest) {
        let now = context.now;
        if self.whereabouts(sequence) != Whereabouts::New {
            return;
        }
        // A datagram that arrives later is compared with it at once.
        self.stage.expect(sequence, digest);
        let Some(staged) = self.stage.take(sequence) else { return };
        if staged.digest != digest {
            self.stage.record_forged(context);
            self.blame(context, staged.arrival);
            return self.discard_staged(now, sequence, staged);
        }
        if !self.has_room(sequence, staged.body.len()) {
            context.statistics.beyond += 1;
            return self.discard_staged(now, sequence, staged);
        }
        context.statistics.verified += 1;
        context.statistics.received += 1;
        self.naks.remove(sequence);
        match staged.arrival {
            Arrival::Path(_) => {}
            Arrival::Repairer => context.statistics.repaired_locally += 1,
            Arrival::Recovered => record_recovered(context, staged.is_late),
        }
        match (staged.is_late, staged.is_repair) {
            (_, true) => context.statistics.repaired += 1,
            (true, false) => self.losses.record_overtaken(),
            (false, false) => {}
        }
        let is_early = context.config.policy == Policy::Latest && staged.meta.is_whole() && staged.meta.keyed;
        self.window.insert(sequence, staged.meta, staged.body);
        if is_early && sequence != self.base {
            self.stage.early.push_back(sequence);
        }
    }

    /// Returns the next datagram to deliver out of order.
    pub(in crate::subscriber) fn next_early(&mut self, may_be_early: bool) -> Option<(Sequence, Meta)> {
        while let Some(sequence) = self.stage.early.pop_front() {
            if let Some(SlotContent::Buffered(meta)) =
                self.window.content(sequence).filter(|_| sequence > self.base && may_be_early)
            {
                return Some((sequence, meta));
            }
        }
        None
    }

    /// Requests a datagram again that was discarded.
    fn discard_staged(&mut self, now: ClockTime, sequence: Sequence, staged: Staged) {
        self.window.reuse(staged.body);
        self.recovery.discard(sequence);
        self.repairers.discard(sequence);
        if (self.base..self.highest).contains(&sequence) {
            self.naks.reopen(sequence, staged.since, now);
        }
    }

    /// Discards unverified datagrams that were given up.
    pub(in crate::subscriber) fn discard_staged_before(&mut self, end: Sequence) {
        while let Some((_, staged)) = self.stage.take_before(end) {
            self.window.reuse(staged.body);
        }
    }

    /// Discards what waits for a manifest that must have arrived: a forged datagram has taken its place.
    pub(in crate::subscriber) fn distrust_staged(&mut self, context: &Context) {
        let now = context.now;
        let next = context.heartbeat().next;
        if self.stage.sent.0 != next {
            self.stage.sent = (next, now);
        }
        if !self.stage.has(self.base) || self.awaits_manifest(context) {
            return;
        }
        let latest = self.base + Manifest::MOST as u64;
        let pause = PAUSE.max(4 * context.round_trip());
        let is_overdue = self.highest > latest || now >= self.stage.sent.1 + pause;
        let end = self.highest.min(latest + 1);
        let may_be_forged = is_overdue && self.stage.suspicion.admits(self.base, now, pause);
        if !may_be_forged || !Sequence::each(self.base..end).all(|sequence| self.has_arrived(sequence)) {
            return;
        }
        self.stage.suspicion.note(self.base, now);
        let mut is_from_repairer = false;
        while let Some((sequence, staged)) = self.stage.take_before(end) {
            is_from_repairer |= staged.arrival == Arrival::Repairer;
            self.discard_staged(now, sequence, staged);
        }
        // Only once: the repairer that is chosen then has sent none of these.
        if is_from_repairer {
            self.distrust_repairer(context);
        }
    }

    /// Asks another repairer, if this one has sent forged data, or may have.
    fn blame(&mut self, context: &Context, arrival: Arrival) {
        if arrival == Arrival::Repairer {
            self.distrust_repairer(context);
        }
    }
}

/// A datagram that no manifest has verified yet.
#[derive(Debug)]
pub(in crate::subscriber) struct Staged {
    meta: Meta,
    digest: Digest,
    body: Vec<u8>,
    arrival: Arrival,
    /// When it was noticed as missing; when it arrived, if it never was.
    since: ClockTime,
    is_repair: bool,
    /// It filled a gap.
    is_late: bool,
}

/// Unverified datagrams by sequence. Nothing of them is delivered or counted, and they move no state.
#[derive(Debug)]
pub(in crate::subscriber) struct Stage {
    waiting: BTreeMap<Sequence, Staged>,
    most: usize,
    bytes: usize,
    most_bytes: usize,
    /// One past the greatest sequence so far.
    end: Sequence,
    /// The signed digests, by the lower bits of the sequence.
    expected: Vec<(Sequence, Digest)>,
    /// Verified datagrams that must be delivered out of order.
    early: VecDeque<Sequence>,
    forged: u64,
    report_at: ClockTime,
    /// The end of what heartbeats show as sent, and when it last changed.
    sent: (Sequence, ClockTime),
    suspicion: Suspicion,
}

impl Stage {
    pub(in crate::subscriber) fn new(config: &SubscriberConfig, now: ClockTime) -> Self {
        let slots = if config.verifies() { config.slots() } else { 0 };
        Self {
            waiting: BTreeMap::new(),
            most: slots.min(MOST_STAGED),
            bytes: 0,
            most_bytes: config.window_bytes / 4,
            end: Sequence(0),
            expected: alloc::vec![(Sequence(0), Digest::default()); slots],
            early: VecDeque::new(),
            forged: 0,
            report_at: now,
            sent: (Sequence(0), now),
            suspicion: Suspicion::default(),
        }
    }

    /// Begins with another incarnation.
    pub(in crate::subscriber) fn begin(&mut self) {
        self.waiting.clear();
        (self.bytes, self.end) = (0, Sequence(0));
        self.early.clear();
        self.expected.fill((Sequence(0), Digest::default()));
    }

    fn expected(&self, sequence: Sequence) -> Option<Digest> {
        let mask = self.expected.len().checked_sub(1)?;
        let (known, digest) = self.expected.get(sequence.0 as usize & mask)?;
        (*known == sequence).then_some(*digest)
    }

    fn expect(&mut self, sequence: Sequence, digest: Digest) {
        let Some(mask) = self.expected.len().checked_sub(1) else { return };
        if let Some(expected) = self.expected.get_mut(sequence.0 as usize & mask) {
            *expected = (sequence, digest);
        }
    }

    fn record_forged(&mut self, context: &mut Context) {
        let now = context.now;
        context.statistics.forged += 1;
        self.forged += 1;
        if now >= self.report_at {
            self.report_at = now + REPORT_INTERVAL;
            context.emit(SubscriberEvent::Forged { datagrams: core::mem::take(&mut self.forged) });
        }
    }

    /// Returns their number.
    pub(in crate::subscriber) fn len(&self) -> usize {
        self.waiting.len()
    }

    #[inline]
    pub(in crate::subscriber) fn has(&self, sequence: Sequence) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&sequence)
    }

    fn get(&self, sequence: Sequence) -> Option<&Staged> {
        self.waiting.get(&sequence)
    }

    /// Returns the first of them.
    pub(in crate::subscriber) fn first(&self) -> Option<Sequence> {
        self.waiting.first_key_value().map(|(sequence, _)| *sequence)
    }

    /// Returns one past the greatest sequence that was ever among them, in this incarnation.
    pub(in crate::subscriber) const fn end(&self) -> Sequence {
        self.end
    }

    /// Returns since when a datagram that is among them is waited for: since it was noticed as missing, or has arrived.
    pub(in crate::subscriber) fn since(&self, sequence: Sequence) -> Option<ClockTime> {
        self.get(sequence).map(|staged| staged.since)
    }

    /// Returns how long a datagram is waited for at least.
    pub(in crate::subscriber) fn timeout(&self, sequence: Sequence) -> Duration {
        if self.has(sequence) { MANIFEST_TIME } else { Duration::ZERO }
    }

    /// Returns whether the manifest of a datagram may follow the others: neither it nor any of the later ones before `known` is
    /// missing.
    pub(in crate::subscriber) fn may_be_covered(&self, sequence: Sequence, known: Sequence) -> bool {
        let end = self.end.max(known);
        self.has(sequence)
            && end.ahead_of(sequence) <= Manifest::MOST as u64
            && self.missing(sequence..end).next().is_none()
    }

    /// Returns the parts of a range that are not among them, in ascending order.
    pub(in crate::subscriber) fn missing(
        &self,
        range: Range<Sequence>,
    ) -> impl Iterator<Item = Range<Sequence>> {
        let Range { mut start, end } = range;
        let ends = self.waiting.range(start..end).map(|(sequence, _)| *sequence).chain([end]);
        ends.filter_map(move |arrived| {
            let missing = start..arrived;
            start = arrived + 1;
            (missing.start < missing.end).then_some(missing)
        })
    }

    /// Adds a datagram. If there are too many, the last one is removed and returned.
    fn insert(&mut self, sequence: Sequence, staged: Staged) -> Option<(Sequence, Staged)> {
        self.end = self.end.max(sequence + 1);
        self.bytes += staged.body.len();
        self.waiting.insert(sequence, staged);
        let is_full = self.waiting.len() > self.most || self.bytes > self.most_bytes;
        let (last, staged) = if is_full { self.waiting.pop_last()? } else { return None };
        self.bytes -= staged.body.len();
        Some((last, staged))
    }

    /// Removes a datagram.
    fn take(&mut self, sequence: Sequence) -> Option<Staged> {
        let staged = self.waiting.remove(&sequence)?;
        self.bytes -= staged.body.len();
        Some(staged)
    }

    /// Removes the first datagram if it is before `end`.
    fn take_before(&mut self, end: Sequence) -> Option<(Sequence, Staged)> {
        let first = self.first().filter(|first| *first < end)?;
        Some((first, self.take(first)?))
    }
}
