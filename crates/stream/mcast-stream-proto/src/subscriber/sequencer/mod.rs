//! The second layer: datagrams in the order of their sequences, with as few losses as repairs allow.
//!
//! *Input:* datagrams that the filter has admitted, in any order, and what heartbeats and confirmations show of others.
//! *Output:* the datagram at `base`, again and again, and NAKs for what is missing.
//!
//! Everything before `base` was delivered or given up. What is ahead of it waits in the window, in a slot of its own. From
//! `base` to `highest`, whatever is neither in the window nor waits for its manifest is in one of the gaps of the
//! [`NakScheduler`], which knows when to request each, and how often that is allowed.
//!
//! Repairs come from three sources. The publisher repairs what is requested of it (`requests.rs`). Another subscriber may be
//! asked first (`repairers.rs`), and parity may replace what is missing (`recovery.rs`); the sequencer asks these only what it has to
//! request, and gives them a copy of what arrives.
//!
//! *Promises:*
//! - A datagram leaves this layer at most once, and none is passed over unless the gate gives it up.
//! - At most as many datagrams and bytes are kept as the settings allow, whatever is forged.
//! - What is missing is requested within the subscriber's share of the group's NAKs, and not again before a repair could have
//!   arrived.

#[cfg(feature = "parity")]
mod recovery;
#[cfg(not(feature = "parity"))]
#[path = "off/recovery.rs"]
mod recovery;
#[cfg(feature = "local-repair")]
mod repairers;
#[cfg(not(feature = "local-repair"))]
#[path = "off/repairers.rs"]
mod repairers;
mod requests;
#[cfg(feature = "signatures")]
pub(super) mod verify;
#[cfg(not(feature = "signatures"))]
#[path = "off/verify.rs"]
pub(super) mod verify;

use super::config::{Policy, SubscriberConfig, VERIFIED_WINDOW};
use super::context::Context;
use super::event::SubscriberEvent;
use super::losses::LossAccount;
use super::naks::{NakScheduler, Responder};
use super::window::Window;
use crate::ClockTime;
use crate::wire::{Heartbeat, Ncf, Sequence};
use recovery::{Recovery, parity_delay};
use repairers::Repairers;
use verify::Stage;

/// Credit until the heartbeats of a publisher that has just started show how much it retains, in datagrams.
const MIN_CREDIT: u64 = 256;
/// The publisher is always allowed this many datagrams beyond what has arrived.
const MIN_SOCKET_ROOM: u64 = 16;

/// Where a datagram belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It is in the window, or was delivered or given up.
    Behind,
    /// It is new.
    New,
    /// There is no slot for it yet.
    Beyond,
}

#[derive(Debug)]
pub(super) struct Sequencer {
    /// The next datagram to deliver.
    pub(super) base: Sequence,
    /// One past the last datagram that is known to have been sent.
    pub(super) highest: Sequence,
    /// The oldest datagram that the publisher retains: those before it cannot be repaired.
    pub(super) oldest_retained: Sequence,
    /// How far the publisher may send beyond the last status: what it retains, or the window if that is less.
    pub(super) credit: u64,
    pub(super) window: Window,
    pub(super) naks: NakScheduler,
    pub(super) losses: LossAccount,
    /// All gaps noticed until then were reported as one stall.
    stalled_at: ClockTime,
    pub(super) recovery: Recovery,
    pub(super) repairers: Repairers,
    /// Data that waits for its manifest.
    pub(super) stage: Stage,
}

impl Sequencer {
    pub(super) fn new(config: &SubscriberConfig, now: ClockTime) -> Self {
        Self {
            base: Sequence::default(),
            highest: Sequence::default(),
            oldest_retained: Sequence::default(),
            credit: MIN_CREDIT,
            window: Window::new(config.slots(), config.window_bytes),
            naks: NakScheduler::new(now),
            losses: LossAccount::default(),
            stalled_at: ClockTime(0),
            recovery: Recovery::new(config.window_bytes / 4),
            repairers: Repairers::new(config, now),
            stage: Stage::new(config, now),
        }
    }

    /// Begins with another incarnation, at the datagram `base`. Memory, the measured times of repairs, and limits against
    /// forgers outlive the former one.
    pub(super) fn begin(&mut self, context: &Context, base: Sequence, losses: LossAccount) {
        let heartbeat = context.heartbeat();
        let Self { window, naks, recovery, repairers, stage, .. } = self;
        window.clear();
        naks.clear();
        recovery.clear();
        recovery.set_on(heartbeat.block > 0);
        repairers.begin();
        stage.begin();
        (self.base, self.highest, self.oldest_retained) = (base, base, heartbeat.oldest_retained);
        (self.credit, self.losses) = (MIN_CREDIT, losses);
        self.record_credit(context);
    }

    /// Takes what a heartbeat shows.
    pub(super) fn take_heartbeat(&mut self, context: &Context) {
        let now = context.now;
        let Heartbeat { block, rate, oldest_retained, .. } = *context.heartbeat();
        self.recovery.set_on(block > 0);
        self.repairers.set_rate(now, rate);
        self.oldest_retained = self.oldest_retained.max(oldest_retained);
        self.record_credit(context);
    }

    /// Takes a confirmation: repairs follow for these ranges.
    pub(super) fn take_confirmation(&mut self, context: &Context, confirmation: &Ncf<'_>) {
        let now = context.now;
        // What was never sent is not lost, whatever a forged confirmation claims.
        let known = context.heartbeat().next.max(self.highest);
        self.oldest_retained = self.oldest_retained.max(confirmation.oldest_retained.min(known));
        let until = now + 2 * context.round_trip();
        for (first, count) in confirmation.coming {
            self.naks.postpone(first..first + u64::from(count), until);
        }
    }

    /// Estimates how much the publisher retains, from its oldest retained datagram. In a large group, where statuses
    /// are costly, the capacity that it states is used from the start.
    fn record_credit(&mut self, context: &Context) {
        let heartbeat = context.heartbeat();
        let shown = heartbeat.next.ahead_of(heartbeat.oldest_retained);
        let stated = if context.publisher.is_large_group() { u64::from(heartbeat.capacity) } else { 0 };
        let most = self.window.length().min(self.socket_room(context));
        self.credit = shown.max(stated).max(self.credit).min(most);
    }

    /// Returns where a datagram belongs.
    #[inline]
    pub(super) fn whereabouts(&self, sequence: Sequence) -> Whereabouts {
        match sequence.offset_from(self.base) {
            Some(ahead) if ahead >= self.window.length() => Whereabouts::Beyond,
            Some(_) if !self.window.has(sequence) => Whereabouts::New,
            _ => Whereabouts::Behind,
        }
    }

    /// Whether there is room for the bytes of a datagram. The next one in order is always taken: until it is delivered, the
    /// others need their room.
    #[inline]
    pub(super) fn has_room(&self, sequence: Sequence, bytes: usize) -> bool {
        sequence == self.base || self.window.has_room(bytes + self.recovery.bytes())
    }

    /// Keeps a copy of a datagram that arrived, verified or not, for the sources of repairs.
    #[inline]
    pub(super) fn keep_copy(&mut self, sequence: Sequence, datagram: &[u8]) {
        self.recovery.keep(self.base, sequence, datagram);
        self.repairers.retain(sequence, datagram);
    }

    /// Accounts for the first copy of a datagram: opens the gap before it, or fills the gap that it was missing in.
    pub(super) fn record_arrival(
        &mut self,
        context: &mut Context,
        sequence: Sequence,
        length: usize,
        repaired_by: Option<Responder>,
    ) {
        let now = context.now;
        context.statistics.received += 1;
        self.naks.record_arrived(length);
        if repaired_by == Some(Responder::Repairer) {
            context.statistics.repaired_locally += 1;
            self.repairers.record_answer();
        }
        context.statistics.repaired += u64::from(repaired_by.is_some());
        if sequence >= self.highest {
            self.record_sent_before(context, sequence);
            self.highest = sequence + 1;
            return;
        }
        // It was counted as missed, and was only out of order.
        if repaired_by.is_none() {
            self.losses.record_overtaken();
        }
        self.naks.fill(now, sequence, repaired_by);
    }

    /// Notes that everything before `end` has been sent: what did not arrive of it is a gap.
    pub(super) fn record_sent_before(&mut self, context: &mut Context, end: Sequence) {
        let now = context.now;
        // There is no room for what is beyond the window: a repair of it would be discarded.
        let end = end.min(self.base + self.window.length());
        let first = self.highest.max(self.base);
        if first >= end {
            return;
        }
        debug_assert!(end > self.highest, "what is known to have been sent grows");
        self.highest = end;
        let guard = self.naks.reorder_guard(context.round_trip());
        let due = now + guard + parity_delay(context.heartbeat()) + context.backoff();
        for missing in self.stage.missing(first..end) {
            context.statistics.missed += missing.end - missing.start;
            self.losses.record_missing(missing.start, missing.end);
            self.naks.open_gap(missing, now, due);
        }
    }

    /// Treats a datagram that was admitted and not taken over as not received.
    pub(super) fn return_unfetched(&mut self, context: &Context, sequence: Sequence) {
        let now = context.now;
        if sequence >= self.base {
            self.window.release(sequence);
            self.naks.reopen(sequence, now, now + context.round_trip());
            self.recovery.forget(sequence);
        }
    }

    /// Notes that the datagram at `base` was delivered.
    pub(super) fn advance(&mut self) {
        debug_assert!(
            self.naks.first_gap().is_none_or(|gap| gap.first > self.base),
            "a missing datagram is passed over"
        );
        self.window.release(self.base);
        self.base += 1;
        self.highest = self.highest.max(self.base);
    }

    /// Gives up what is missing before `end`, as far as the first datagram that is here; returns how many these are.
    pub(super) fn give_up_before(&mut self, end: Sequence) -> u64 {
        let first = self.base;
        while self.base < end.min(self.highest) && !self.window.has(self.base) {
            self.base += 1;
        }
        self.naks.trim(self.base);
        self.discard_staged_before(self.base);
        self.base.ahead_of(first)
    }

    /// Passes over everything before `end`, in one step; returns how many datagrams these are.
    pub(super) fn skip_to(&mut self, end: Sequence) -> u64 {
        let passed = end - self.base;
        (self.base, self.highest) = (end, self.highest.max(end));
        self.naks.trim(end);
        self.discard_staged_before(end);
        passed
    }

    /// Returns when the first gap was noticed, which ends here, and that of `base` is one of its own if it is missing without
    /// being in a gap.
    pub(super) fn gap_at_base(&mut self, context: &Context) -> (ClockTime, Sequence) {
        let now = context.now;
        if self.naks.first_gap().is_none_or(|gap| gap.first > self.base) {
            // A datagram that waits for its manifest is as late as it is: the time of each does not begin after that of the
            // one before.
            let since = self.stage.since(self.base).unwrap_or(now);
            self.naks.reopen(self.base, since, now + context.round_trip());
        }
        let first = self.naks.first_gap();
        first.map_or((now, self.highest), |gap| (gap.noticed, gap.end.max(self.base + 1)))
    }

    /// The datagram before which everything has arrived or was given up. Datagrams that are buffered for a busy application
    /// count, and it never falls below what an earlier status confirmed.
    pub(super) fn confirmed(&self, is_buffering: bool, before: Sequence) -> Sequence {
        let arrived = match is_buffering {
            true => {
                let missing = self.naks.first_gap().map_or(self.highest, |gap| gap.first);
                self.stage.first().map_or(missing, |unverified| missing.min(unverified))
            }
            false => self.base,
        };
        arrived.max(self.base).max(before)
    }

    /// The first datagram for which there is no room: in the window, or in the socket's receive buffer.
    pub(super) fn room_end(&self, context: &Context) -> Sequence {
        (self.base + self.window.length()).min(self.known_end().max(self.base) + self.socket_room(context))
    }

    /// One past the last datagram that is known to have been sent, including those that have arrived and wait for their
    /// manifest.
    pub(super) fn known_end(&self) -> Sequence {
        self.highest.max(self.stage.end())
    }

    /// The number of datagrams that the socket's receive buffer holds. The kernel counts its overhead separately (Linux
    /// doubles `SO_RCVBUF` for it), which is enough for datagrams that are not tiny. The publisher is always given some room:
    /// a subscriber that verifies needs the next manifest.
    fn socket_room(&self, context: &Context) -> u64 {
        let least = if context.config.verifies() { VERIFIED_WINDOW as u64 } else { MIN_SOCKET_ROOM };
        match context.heartbeat().datagram {
            0 => u64::MAX,
            longest => (context.config.socket_buffer as u64 / u64::from(longest)).max(least),
        }
    }

    /// Whether the next datagram is here, and its manifest was not sent yet as far as is known: a publisher with a low rate, or
    /// without room at another subscriber, sends it later. Without repairs, what is here would otherwise be lost.
    pub(super) fn awaits_manifest(&self, context: &Context) -> bool {
        let known = context.heartbeat().next.max(self.highest);
        matches!(context.config.policy, Policy::BestEffort(_))
            && context.publisher.end.is_none()
            && self.stage.may_be_covered(self.base, known)
    }

    /// When the first gap is given up, or reported as a stall.
    pub(super) fn gap_deadline(&self, context: &Context) -> ClockTime {
        let Some(noticed) = self.naks.first_gap().map(|gap| gap.noticed) else { return ClockTime::NEVER };
        let is_new = noticed > self.stalled_at;
        let stalled = if is_new { noticed + context.config.stalled_after } else { ClockTime::NEVER };
        match context.config.policy {
            // The datagram is here, and only its manifest is missing: the time of a loss does not apply.
            Policy::BestEffort(_) if self.awaits_manifest(context) => stalled,
            Policy::Deadline(timeout) | Policy::BestEffort(timeout) => {
                stalled.min(noticed + timeout.max(self.stage.timeout(self.base)))
            }
            _ => stalled,
        }
    }

    /// Reports a gap that has delayed delivery for long. All gaps that exist by now are reported as one stall.
    pub(super) fn check_stall(&mut self, context: &mut Context) {
        let now = context.now;
        let Some(noticed) = self.naks.first_gap().map(|gap| gap.noticed) else { return };
        if noticed > self.stalled_at && now >= noticed + context.config.stalled_after {
            self.stalled_at = now;
            let waiting = self.window.len() as u64;
            context.emit(SubscriberEvent::Stalled { datagram: self.base, waiting });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriber::window::Meta;
    use crate::wire::{Flags, StreamId};

    const FIRST: Sequence = Sequence(100);
    const META: Meta = Meta { flags: Flags::BATCH, message: 0, keyed: false, total: None };

    /// Returns a sequencer that begins at the datagram 100, with a window of 16.
    fn sequencer() -> (Context, Sequencer) {
        let now = ClockTime(1_000_000_000);
        let config =
            SubscriberConfig { window: 16, window_bytes: 1_000, ..SubscriberConfig::new(StreamId(1)) };
        let mut sequencer = Sequencer::new(&config, now);
        let context = Context::new(config, now);
        sequencer.begin(&context, FIRST, LossAccount::default());
        (context, sequencer)
    }

    fn arrive(context: &mut Context, sequencer: &mut Sequencer, sequence: Sequence) {
        assert_eq!(sequencer.whereabouts(sequence), Whereabouts::New);
        sequencer.record_arrival(context, sequence, 100, None);
        sequencer.window.buffer(sequence, META, &[0; 100]);
    }

    #[test]
    fn each_datagram_leaves_once_and_in_order() {
        let (mut context, mut sequencer) = sequencer();
        for sequence in [FIRST + 1, FIRST] {
            arrive(&mut context, &mut sequencer, sequence);
            assert_eq!(sequencer.whereabouts(sequence), Whereabouts::Behind, "it is in the window");
        }
        for sequence in [FIRST, FIRST + 1] {
            assert_eq!(sequencer.base, sequence);
            sequencer.advance();
            assert_eq!(sequencer.whereabouts(sequence), Whereabouts::Behind, "it has left");
        }
        assert_eq!(sequencer.window.len(), 0);
        assert_eq!(sequencer.whereabouts(FIRST + 17), Whereabouts::New);
        assert_eq!(sequencer.whereabouts(FIRST + 18), Whereabouts::Beyond);
    }

    #[test]
    fn what_was_overtaken_is_missing_until_it_arrives() {
        let (mut context, mut sequencer) = sequencer();
        arrive(&mut context, &mut sequencer, FIRST + 3);
        let gap = sequencer.naks.first_gap().map(|gap| (gap.first, gap.end));
        assert_eq!((gap, context.statistics.missed), (Some((FIRST, FIRST + 3)), 3));
        for sequence in Sequence::each(FIRST..FIRST + 3) {
            arrive(&mut context, &mut sequencer, sequence);
        }
        assert!(sequencer.naks.is_empty());
        assert_eq!(sequencer.losses.missed(&context.statistics), 0, "nothing was lost");
    }

    #[test]
    fn only_the_next_datagram_is_taken_when_the_bytes_are_used_up() {
        let (mut context, mut sequencer) = sequencer();
        for sequence in Sequence::each(FIRST + 1..FIRST + 11) {
            assert!(sequencer.has_room(sequence, 100));
            arrive(&mut context, &mut sequencer, sequence);
        }
        assert!(!sequencer.has_room(FIRST + 11, 100));
        assert!(sequencer.has_room(FIRST, 100));
    }

    #[test]
    fn what_is_given_up_ends_at_the_first_datagram_that_is_here() {
        let (mut context, mut sequencer) = sequencer();
        arrive(&mut context, &mut sequencer, FIRST + 2);
        assert_eq!(sequencer.give_up_before(FIRST + 10), 2);
        assert_eq!((sequencer.base, sequencer.naks.is_empty()), (FIRST + 2, true));
    }

    #[test]
    fn nothing_is_confirmed_beyond_a_gap_while_the_application_is_busy() {
        let (mut context, mut sequencer) = sequencer();
        arrive(&mut context, &mut sequencer, FIRST);
        arrive(&mut context, &mut sequencer, FIRST + 2);
        assert_eq!(sequencer.confirmed(true, FIRST), FIRST + 1);
        assert_eq!(sequencer.confirmed(false, FIRST), FIRST, "nothing was delivered");
        assert_eq!(sequencer.confirmed(false, FIRST + 1), FIRST + 1, "it was confirmed before");
    }
}
