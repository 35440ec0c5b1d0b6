//! Verification of a signed stream: only what the publisher has signed is delivered and moves state.
//!
//! Data waits in a [`Stage`] until a manifest with its digest has arrived. Once a digest is known, its datagram is
//! compared on arrival.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use mcast_pace::TokenBucket;

use super::config::SubscriberConfig;
use super::event::{BodyLocation, SubscriberEvent, VerificationFailure};
use super::window::SlotContent;
use super::{Policy, SubscriberMachine};
use crate::subscriber::naks::Arrival;
use crate::subscriber::window::Meta;
use crate::wire::{DatagramView, Digest, ExtensionKind, Flags, Kind, Manifest, Probe, Sequence};
use crate::{ClockTime, sign};

/// Signatures per second that are checked in vain, of datagrams from the publisher's address and from others, and at
/// once: a forger cannot use up the processor, and one that does not forge its address cannot keep out the publisher.
const REFUSALS: u64 = 1_000;
const REFUSALS_AT_ONCE: u64 = 100;
/// Forged data is reported at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A publisher that sends nothing new for this time has sent the manifest of its last data.
const PAUSE: Duration = Duration::from_millis(50);
/// The last symbols of parity, by which copies are recognized: their counts are not signed.
const REMEMBERED_PARITY: usize = 64;
/// Datagrams that wait for their manifests at most: in a window of this size, those of several lost manifests.
const MOST_STAGED: usize = 8_192;

/// What is verified, and what waits for that.
#[derive(Debug)]
pub(super) struct Verification {
    pub(super) stage: Stage,
    /// The signed digests, by the lower bits of the sequence.
    expected: Vec<(Sequence, Digest)>,
    /// Verified datagrams that are to be delivered out of order.
    early: VecDeque<Sequence>,
    from_publisher: TokenBucket,
    from_others: TokenBucket,
    text: Vec<u8>,
    forged: u64,
    report_at: ClockTime,
    reported: [Option<VerificationFailure>; 3],
    /// The end of what heartbeats show as sent, and when it last changed.
    sent: (Sequence, ClockTime),
    suspicion: Suspicion,
    /// The counts of the last symbols of parity.
    parity: VecDeque<u64>,
}

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

impl Verification {
    pub(super) fn new(config: &SubscriberConfig, now: ClockTime) -> Self {
        let slots = if config.signed_by.is_empty() { 0 } else { config.slots() };
        Self::with_room(slots, config.window_bytes / 4, now)
    }

    /// Returns one of a stream that is not signed.
    pub(super) fn nothing(now: ClockTime) -> Self {
        Self::with_room(0, 0, now)
    }

    fn with_room(slots: usize, staged_bytes: usize, now: ClockTime) -> Self {
        let refusals = TokenBucket::new(REFUSALS, REFUSALS_AT_ONCE, now.0);
        Self {
            stage: Stage::new(slots.min(MOST_STAGED), staged_bytes),
            expected: alloc::vec![(Sequence(0), Digest::default()); slots],
            early: VecDeque::new(),
            from_publisher: refusals,
            from_others: refusals,
            text: Vec::new(),
            forged: 0,
            report_at: now,
            reported: [None; 3],
            sent: (Sequence(0), now),
            suspicion: Suspicion::default(),
            parity: VecDeque::new(),
        }
    }

    /// Begins with another incarnation.
    pub(super) fn begin(&mut self) {
        self.stage.clear();
        self.early.clear();
        self.parity.clear();
        self.expected.fill((Sequence(0), Digest::default()));
    }

    /// Reports again what was reported: the keys have changed.
    pub(super) const fn forget_reports(&mut self) {
        self.reported = [None; 3];
    }

    /// Notes the count of a symbol of parity; returns whether it is new. One that was forged hides no others.
    pub(super) fn record_parity(&mut self, count: u64) -> bool {
        let is_new = !self.parity.contains(&count);
        if is_new {
            self.parity.truncate(REMEMBERED_PARITY - 1);
            self.parity.push_front(count);
        }
        is_new
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
}

impl SubscriberMachine {
    /// Whether it delivers only what is signed.
    #[inline]
    pub(super) const fn is_verifying(&self) -> bool {
        self.config.verifies()
    }

    /// Whether a datagram has arrived, verified or not.
    #[inline]
    pub(super) fn has_arrived(&self, sequence: Sequence) -> bool {
        self.followed.window.has(sequence) || self.followed.verification.stage.has(sequence)
    }

    /// Returns whether a datagram of data may be handled: in a signed stream, once it matches a signed digest. Until that is
    /// known, the datagram waits; one that does not match is discarded.
    pub(super) fn may_be_genuine(
        &mut self,
        now: ClockTime,
        arrival: Arrival,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) -> bool {
        if !self.is_verifying() {
            return true;
        }
        let sequence = Sequence(view.header.sequence);
        let is_current = self.followed.current.as_ref().is_some_and(|current| current.sequence == sequence);
        let is_in_window = sequence
            .offset_from(self.followed.base)
            .is_some_and(|ahead| ahead < self.followed.window.length());
        if !is_in_window || is_current || self.followed.window.has(sequence) {
            // It is counted as a copy, or as beyond the window.
            return true;
        }
        let Some(digest) = self.config.signed_by.digest(datagram) else { return false };
        match self.followed.verification.expected(sequence) {
            Some(expected) if expected == digest => {
                self.statistics.verified += 1;
                true
            }
            Some(_) => {
                self.record_forged(now, 1);
                self.blame(now, arrival);
                false
            }
            None => {
                self.stage(now, arrival, datagram, view, digest);
                false
            }
        }
    }

    /// Keeps a datagram until its manifest has arrived.
    fn stage(
        &mut self,
        now: ClockTime,
        arrival: Arrival,
        datagram: &[u8],
        view: &DatagramView<'_>,
        digest: Digest,
    ) {
        let sequence = Sequence(view.header.sequence);
        let is_repair = view.header.flags.has(Flags::REPAIR);
        // What was recovered may come from a forged symbol: it does not keep out what arrives.
        let is_doubtful = |staged: &Staged| staged.arrival == Arrival::Recovered && staged.digest != digest;
        if self.followed.verification.stage.get(sequence).is_some_and(|staged| !is_doubtful(staged)) {
            // It may be a copy of what a repairer sent, and the publisher expects to see its own repair counted.
            self.record_repair(arrival, is_repair);
            self.statistics.copies += 1;
            self.record_arrival_path(now, arrival, false);
            return;
        }
        let Some((location, range)) = self.open(view, datagram) else { return };
        if let Some(doubtful) = self.followed.verification.stage.take(sequence) {
            self.followed.window.reuse(doubtful.body);
        }
        let body = match location {
            BodyLocation::Decrypted => self.decrypted.get(range),
            _ => datagram.get(range),
        };
        let body = self.followed.window.copy(body.unwrap_or_default());
        self.record_arrival_path(now, arrival, true);
        let is_late = sequence < self.followed.highest;
        let since = self.followed.naks.noticed(sequence).unwrap_or(now);
        self.record_repair(arrival, is_repair);
        if arrival == Arrival::Repairer {
            self.repairers.record_answer();
        }
        if is_late {
            self.followed.naks.fill(now, sequence, arrival.repaired_by(is_repair));
        }
        self.keep_copy(sequence, datagram);
        let is_repair = is_repair || !matches!(arrival, Arrival::Path(_));
        let staged = Staged { meta: Meta::of(view), digest, body, arrival, since, is_repair, is_late };
        if let Some((last, staged)) = self.followed.verification.stage.insert(sequence, staged) {
            self.statistics.beyond += 1;
            self.discard_staged(now, last, staged);
        }
        self.schedule_status_after_progress();
    }

    /// Discards what was taken for the datagram of a manifest: it is another one.
    pub(super) fn replace_staged(&mut self, now: ClockTime, sequence: Sequence) {
        if let Some(staged) = self.followed.verification.stage.take(sequence) {
            self.followed.window.reuse(staged.body);
            self.record_forged(now, 1);
        }
    }

    /// Takes the digests of a manifest that is authentic.
    pub(super) fn verify_covered(&mut self, now: ClockTime, sequence: Sequence, manifest: Manifest<'_>) {
        if self.is_verifying() {
            for (covered, digest) in manifest.covered(sequence) {
                self.verify_through(now, covered, digest);
            }
        }
    }

    /// Notes the signed digest of a datagram, and releases the datagram if it has arrived.
    fn verify_through(&mut self, now: ClockTime, sequence: Sequence, digest: Digest) {
        let is_in_window = sequence
            .offset_from(self.followed.base)
            .is_some_and(|ahead| ahead < self.followed.window.length());
        if !is_in_window || self.followed.window.has(sequence) {
            return;
        }
        // A datagram that arrives later is compared with it at once.
        self.followed.verification.expect(sequence, digest);
        let Some(staged) = self.followed.verification.stage.take(sequence) else { return };
        if staged.digest != digest {
            self.record_forged(now, 1);
            self.blame(now, staged.arrival);
            return self.discard_staged(now, sequence, staged);
        }
        if sequence != self.followed.base
            && !self.followed.window.has_room(staged.body.len() + self.followed.recovery.bytes())
        {
            self.statistics.beyond += 1;
            return self.discard_staged(now, sequence, staged);
        }
        self.statistics.verified += 1;
        self.statistics.received += 1;
        self.followed.naks.remove(sequence);
        match staged.arrival {
            Arrival::Path(_) => {}
            Arrival::Repairer => self.statistics.repaired_locally += 1,
            Arrival::Recovered => self.record_recovered(staged.is_late),
        }
        match (staged.is_late, staged.is_repair) {
            (_, true) => self.statistics.repaired += 1,
            (true, false) => self.losses.record_overtaken(),
            (false, false) => {}
        }
        let is_early = self.config.policy == Policy::Latest && staged.meta.is_whole() && staged.meta.keyed;
        self.followed.window.insert(sequence, staged.meta, staged.body);
        if is_early && sequence != self.followed.base {
            self.followed.verification.early.push_back(sequence);
        }
    }

    /// Returns the next datagram to deliver out of order.
    pub(super) fn next_early(&mut self) -> Option<(Sequence, Meta)> {
        while let Some(sequence) = self.followed.verification.early.pop_front() {
            let is_early = sequence > self.followed.base && self.delivery.may_be_early();
            if let Some(SlotContent::Buffered(meta)) =
                self.followed.window.content(sequence).filter(|_| is_early)
            {
                return Some((sequence, meta));
            }
        }
        None
    }

    /// Requests a datagram again that was discarded.
    fn discard_staged(&mut self, now: ClockTime, sequence: Sequence, staged: Staged) {
        self.followed.window.reuse(staged.body);
        self.forget_copy(sequence);
        if (self.followed.base..self.followed.highest).contains(&sequence) {
            self.followed.naks.reopen(sequence, staged.since, now);
        }
    }

    /// Discards unverified datagrams that were given up.
    pub(super) fn discard_staged_before(&mut self, end: Sequence) {
        while let Some((_, staged)) = self.followed.verification.stage.take_before(end) {
            self.followed.window.reuse(staged.body);
        }
    }

    /// Discards what waits for a manifest that must have arrived: a forged datagram has taken its place.
    pub(super) fn distrust_staged(&mut self, now: ClockTime) {
        let next = self.followed.heartbeat.next;
        if self.followed.verification.sent.0 != next {
            self.followed.verification.sent = (next, now);
        }
        if !self.followed.verification.stage.has(self.followed.base) || self.awaits_manifest() {
            return;
        }
        let latest = self.followed.base + Manifest::MOST as u64;
        let pause = PAUSE.max(4 * self.round_trip());
        let Verification { sent, suspicion, .. } = &self.followed.verification;
        let is_overdue = self.followed.highest > latest || now >= sent.1 + pause;
        let end = self.followed.highest.min(latest + 1);
        let may_be_forged = is_overdue && suspicion.admits(self.followed.base, now, pause);
        if !may_be_forged
            || !Sequence::each(self.followed.base..end).all(|sequence| self.has_arrived(sequence))
        {
            return;
        }
        self.followed.verification.suspicion.note(self.followed.base, now);
        let mut is_from_repairer = false;
        while let Some((sequence, staged)) = self.followed.verification.stage.take_before(end) {
            is_from_repairer |= staged.arrival == Arrival::Repairer;
            self.discard_staged(now, sequence, staged);
        }
        // Only once: the repairer that is chosen then has sent none of these.
        if is_from_repairer {
            self.distrust_repairer(now);
        }
    }

    /// Returns whether a control datagram, or a manifest, is signed with a key that is trusted. Echoes and parity are not
    /// signed: what is recovered from parity is verified.
    pub(super) fn is_authentic(
        &mut self,
        now: ClockTime,
        from: Option<SocketAddr>,
        view: &DatagramView<'_>,
        body: &[u8],
    ) -> bool {
        let header = &view.header;
        if matches!(header.kind, Kind::Echo | Kind::Parity) {
            return true;
        }
        let is_namesake = self.incarnations.is_namesake(header.incarnation, view.salt());
        let distrust = match sign::signature_of(view.head) {
            _ if is_namesake => None,
            None => Some(VerificationFailure::Unsigned),
            Some((id, _)) if !self.config.signed_by.has(id) => Some(VerificationFailure::UnknownKey(id)),
            Some((id, signature)) => {
                let is_from_publisher = from.is_some() && self.publisher.get() == from;
                let Verification { from_publisher, from_others, text, .. } = &mut self.followed.verification;
                let refusals = if is_from_publisher { from_publisher } else { from_others };
                refusals.refill(now.0);
                // To verify costs far more than to forge. What strangers send has a limit of its own.
                if !refusals.has(1) {
                    self.statistics.not_verified += 1;
                    return false;
                }
                sign::signed_text(view.head, body, text);
                let is_signed = self.config.signed_by.is_signed(id, text, &signature);
                // A datagram of this incarnation is verified once; of another one, any number of copies may arrive.
                if !is_signed || !self.incarnations.is_current(header.incarnation) {
                    refusals.spend(1);
                }
                if is_signed {
                    return true;
                }
                Some(VerificationFailure::WrongSignature(id))
            }
        };
        self.statistics.not_verified += 1;
        if let Some(distrust) = distrust {
            self.report_distrust(distrust);
        }
        false
    }

    /// Reports each reason once.
    fn report_distrust(&mut self, distrust: VerificationFailure) {
        let reported = match distrust {
            VerificationFailure::Unsigned => 0,
            VerificationFailure::UnknownKey(_) => 1,
            VerificationFailure::WrongSignature(_) => 2,
        };
        if self.followed.verification.reported[reported].replace(distrust).is_none() {
            self.emit(SubscriberEvent::NotVerified(distrust));
        }
    }

    /// Asks another repairer, if this one has sent forged data, or may have.
    fn blame(&mut self, now: ClockTime, arrival: Arrival) {
        if arrival == Arrival::Repairer {
            self.distrust_repairer(now);
        }
    }

    fn record_forged(&mut self, now: ClockTime, datagrams: u64) {
        self.statistics.forged += datagrams;
        self.followed.verification.forged += datagrams;
        if now >= self.followed.verification.report_at {
            self.followed.verification.report_at = now + REPORT_INTERVAL;
            let datagrams = core::mem::take(&mut self.followed.verification.forged);
            self.emit(SubscriberEvent::Forged { datagrams });
        }
    }

    /// Reports a signed stream to a subscriber that verifies nothing.
    pub(super) fn record_signed_stream(&mut self, view: &DatagramView<'_>) {
        let is_signed = !self.is_verifying() && view.extensions.find(ExtensionKind::SIGNATURE).is_some();
        if is_signed && self.reported.record_signed() {
            self.emit(SubscriberEvent::Signed);
        }
    }

    /// Whether an echo is taken. In a signed stream, anybody could forge another one than the answer to the last probe.
    pub(super) fn is_expected(&mut self, now: ClockTime, echo: &Probe) -> bool {
        !self.is_verifying() || self.publisher.is_expected(now, echo)
    }
}

/// A datagram that has arrived is not given up before its manifest has had this time, also by subscribers that wait for
/// nothing: the publisher sends it within a millisecond.
const MANIFEST_TIME: Duration = Duration::from_millis(10);

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
}

impl Stage {
    const fn new(most: usize, most_bytes: usize) -> Self {
        Self { waiting: BTreeMap::new(), most, bytes: 0, most_bytes, end: Sequence(0) }
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

    fn clear(&mut self) {
        self.waiting.clear();
        (self.bytes, self.end) = (0, Sequence(0));
    }
}
