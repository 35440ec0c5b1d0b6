//! NAKs: what is requested of the publisher, and of another subscriber, when it is due.

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::Sequencer;
use super::recovery::Replaced;
use super::repairers::UsableRepairer;
use crate::ClockTime;
use crate::outbox::Target;
use crate::subscriber::config::Policy;
use crate::subscriber::context::Context;
use crate::subscriber::naks::SentNaks;
use crate::times::subscriber::MAX_RETRY_DELAY;
use crate::wire::{AddressToken, Kind, NakWriter, Sequence};

/// The delay before a repeated request doubles at most this often.
const MAX_DOUBLINGS: u32 = 2;
/// Datagrams that one entry of a NAK requests at most.
const LONGEST_RUN: u32 = 1 << 20;
/// NAKs that one call may send.
const MAX_NAKS: u64 = 4;

/// The datagrams to request from the publisher, or from a repairer.
struct NakList {
    to: SocketAddr,
    token: AddressToken,
    missing: NakWriter,
    /// NAKs that may be sent in this call, and those that were.
    allowed: u64,
    sent: SentNaks,
}

impl NakList {
    fn new(to: SocketAddr, token: AddressToken, allowed: u64) -> Self {
        Self { to, token, missing: NakWriter::new(), allowed, sent: SentNaks::default() }
    }

    const fn is_used_up(&self) -> bool {
        self.sent.count >= self.allowed
    }

    fn send(&mut self, context: &mut Context) {
        let current = context.publisher.incarnations.current();
        let Some(incarnation) = current.filter(|_| !self.missing.is_empty()) else { return };
        let Self { to, token, missing, .. } = self;
        let is_publisher = context.publisher.peer.get() == Some(*to);
        let to = if is_publisher { Target::Address(*to) } else { Target::Aside(*to) };
        let length = context.send(to, incarnation, Kind::Nak, |writer| missing.write_nak(*token, writer));
        context.statistics.naks += 1;
        self.sent.add(length);
        self.missing.clear();
    }

    /// Sends what is left of the list, unless it was longer than what is allowed: the rest is requested later.
    fn send_rest(&mut self, context: &mut Context) {
        if !self.is_used_up() {
            self.send(context);
        }
    }
}

impl Sequencer {
    /// Whether repairs must be requested, of a publisher that can answer.
    pub(in crate::subscriber) fn needs_naks(&self, context: &Context) -> bool {
        let is_heard = context.publisher.peer.is_proven() && !context.publisher.liveness.is_silent();
        context.requests_repairs() && is_heard && !context.delivery.has_ended && !self.naks.is_empty()
    }

    /// Returns when NAKs must be sent, if any are needed.
    pub(in crate::subscriber) fn naks_at(&self) -> ClockTime {
        if self.is_repairer_too_slow() { ClockTime(0) } else { self.naks.at() }
    }

    /// Sends the NAKs that are due.
    pub(in crate::subscriber) fn run(&mut self, context: &mut Context) {
        let now = context.now;
        // Before the NAKs: what waited for the repairer is due with them.
        if self.is_repairer_too_slow() {
            self.naks.stop_awaiting_repairer(now);
        }
        if now >= self.naks.at() {
            self.send_naks(context);
        }
    }

    /// Returns how much of the credit is in use: what was sent since the first datagram that is missing.
    fn used_credit(&self) -> u64 {
        self.known_end().ahead_of(self.base)
    }

    /// Whether a NAK may be sent although the share of what the group may send is used up: the publisher waits for this
    /// subscriber, or will soon, or has sent nothing since its last heartbeat, so that no data adds to the share.
    fn has_urgent_gaps(&self, context: &Context) -> bool {
        context.publisher.end.is_some()
            || self.used_credit() >= self.credit / 2
            || !context.publisher.is_large_group() && context.heartbeat().next >= self.highest
    }

    /// Whether there is time to ask a repairer before the publisher has to wait for this subscriber.
    fn has_time_for_repairer(&self) -> bool {
        self.used_credit() < self.credit / 4 * 3
    }

    /// Whether a repairer was asked, and there is no time to wait for it any more.
    fn is_repairer_too_slow(&self) -> bool {
        self.naks.may_await_repairer() && !self.has_time_for_repairer()
    }

    /// Requests everything that is due, in as few NAKs as possible and within the allowance.
    fn send_naks(&mut self, context: &mut Context) {
        let now = context.now;
        let Some(publisher) = context.publisher.peer.get() else { return };
        let (group_size, round_trip) = (context.heartbeat().group_size, context.round_trip());
        let urgent = context.publisher.urgent_interval();
        let urgent_interval = self.has_urgent_gaps(context).then(|| urgent.max(round_trip));
        let allowed = self.naks.allowed(now, group_size, urgent_interval).min(MAX_NAKS);
        // Another subscriber is asked first, if there is time to ask the publisher after that.
        let repairer = self.repairers.usable().filter(|_| self.has_time_for_repairer());
        let mut to_repairer = repairer.map(|UsableRepairer { address, token, .. }| {
            let allowed = self.naks.allowed_for_repairer(now, group_size).min(MAX_NAKS);
            NakList::new(address, token, allowed)
        });
        if allowed == 0 && to_repairer.as_ref().is_none_or(NakList::is_used_up) {
            return self.naks.wait_for_allowance(now, urgent);
        }
        // Gaps that are due soon share this NAK: one of their own would follow sooner than a repair could arrive.
        let soon = now + round_trip / 4;
        let timeout = self.naks.repair_timeout(round_trip);
        let repairer_timeout = repairer
            .map_or(Duration::ZERO, |repairer| self.naks.repairer_timeout(repairer.round_trip, round_trip));
        let longest = MAX_RETRY_DELAY.max(2 * round_trip);
        // A repair that would arrive after the deadline is not requested.
        let too_late = match context.config.policy {
            Policy::Deadline(timeout) => now + round_trip - timeout,
            _ => ClockTime(0),
        };
        // Subscribers that lack the same ask again at different times: the repair for the first one reaches the others.
        let spread = context.backoff();
        // What waits for a manifest that is overdue counts as missing from now on, so that this NAK requests it as well.
        self.distrust_staged(context);
        let mut to_publisher = NakList::new(publisher, context.publisher.peer.token(), allowed);
        let mut replaced = Replaced::default();
        let (mut is_starved, mut is_given_up) = (false, false);
        // They are taken out, because all else of the sequencer shows which datagrams of a gap are missing.
        let mut gaps = self.naks.take_gaps();
        for gap in gaps.iter_mut().filter(|gap| gap.due <= soon) {
            if gap.noticed < too_late || gap.end <= self.oldest_retained {
                // The gap stays: delivery gives it up, and reports the loss with its cause.
                gap.due = ClockTime::NEVER;
                continue;
            }
            if let Some(asked) = gap.asked_repairer.filter(|_| gap.tries == 0) {
                is_given_up |= self.repairers.record_unanswered(now, asked);
            }
            // A repairer that does not answer must leave time to ask the publisher.
            let is_in_time = too_late == ClockTime(0) || gap.noticed >= too_late + repairer_timeout;
            let may_ask = |list: &&mut NakList| {
                is_in_time && gap.is_unrequested() && !list.is_used_up() && self.repairers.is_chosen(list.to)
            };
            let (list, is_for_repairer) = match to_repairer.as_mut().filter(may_ask) {
                Some(list) => (list, true),
                None => (&mut to_publisher, false),
            };
            // The gap stays due. Others are not skipped: one that may be requested of the repairer needs nothing of this
            // allowance.
            if list.is_used_up() {
                is_starved = true;
                continue;
            }
            // What is delivered by now, or no longer retained, would be requested in vain.
            let first = gap.first.max(self.base).max(self.oldest_retained);
            // Symbols that do not complete their block after all replace nothing for long.
            let replaced = Some(&mut replaced).filter(|_| gap.tries < 2);
            self.add_missing(context, first..gap.end, replaced, list);
            if is_for_repairer {
                // It does not count as a try of the publisher, whose first timeout stays the short one.
                (gap.due, gap.asked_repairer) = (now + repairer_timeout, Some(now));
                continue;
            }
            gap.due = now + ((1 << gap.tries.min(MAX_DOUBLINGS)) * timeout).min(longest) + spread;
            gap.asked = now;
            gap.tries += 1;
        }
        let mut sent_to_repairer = SentNaks::default();
        if let Some(list) = &mut to_repairer {
            list.send_rest(context);
            sent_to_repairer = list.sent;
            if list.sent.count > 0 {
                self.repairers.record_request(now);
            }
        }
        to_publisher.send_rest(context);
        context.statistics.naks_to_repairers += sent_to_repairer.count;
        // Also if nothing was sent: what was missing may have been replaced by parity, and the next gap is due later.
        self.naks.record_sent(now, to_publisher.sent, sent_to_repairer, gaps);
        if is_given_up {
            self.naks.stop_awaiting_repairer(now);
        }
        // Without this, a gap that is due and may not be requested would wake the caller again at once.
        if is_starved && to_publisher.allowed == 0 {
            self.naks.wait_for_allowance(now, urgent);
        }
    }

    /// Adds the datagrams of a gap that did not arrive, and that parity does not replace; sends the list whenever it is full.
    fn add_missing(
        &self,
        context: &mut Context,
        gap: Range<Sequence>,
        mut replaced: Option<&mut Replaced>,
        list: &mut NakList,
    ) {
        let Range { mut start, end } = gap;
        while start < end {
            let mut is_requested = |sequence: &Sequence| {
                let is_replaced = |replaced: &mut &mut Replaced| self.is_replaced(*sequence, replaced);
                !self.has_arrived(*sequence) && !replaced.as_mut().is_some_and(is_replaced)
            };
            let run = Sequence::each(start..end).take(LONGEST_RUN as usize);
            let count = run.take_while(&mut is_requested).count() as u32;
            if count > 0 && !list.missing.add(start, count) {
                list.send(context);
                list.missing.add(start, count);
            }
            // The datagram after a shorter run is not requested.
            start += u64::from(count) + u64::from(count < LONGEST_RUN);
        }
    }
}
