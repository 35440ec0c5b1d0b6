//! What a subscriber sends, and when: NAKs, statuses, and probes that prove its address.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::SubscriberMachine;
use super::config::{Policy, VERIFIED_WINDOW};
use super::event::{Cause, SubscriberEvent, SubscriberStatistics};
use super::naks::{Arrival, SentNaks};
use super::recovery::Replaced;
use super::repairers::UsableRepairer;
use crate::outbox::Target;
use crate::random::{SMALL_GROUP, backoff};
use crate::seal::{Purpose, Sealed};
use crate::span::wire_micros;
use crate::wire::{
    AddressToken, DatagramWriter, Flags, FlowControl, Header, Incarnation, KeyEpoch, Kind, NakWriter, Probe,
    Sequence, Status, WriteError,
};
use crate::{ClockTime, seal};

/// In a large group, subscribers with a shorter round trip spread their NAKs as if it were this long.
const MIN_BACKOFF_UNIT: Duration = Duration::from_micros(500);
/// A subscriber without news sends a status this often.
const IDLE_STATUS: Duration = Duration::from_secs(1);
/// The shortest time between two confirmations of the end.
const END_CONFIRMATION_INTERVAL: Duration = Duration::from_millis(2);
/// A check that is later than this was delayed because the process did not run.
const MAX_CHECK_DELAY: Duration = Duration::from_millis(500);
/// A publisher that has closed its stream and is silent for this time is gone.
const PUBLISHER_GONE: Duration = Duration::from_secs(30);
/// The mean spacing of the group's statuses when the publisher waits for them.
const URGENT_SPACING: Duration = Duration::from_micros(50);
/// The mean spacing of the statuses that a small group repeats while the publisher waits for them.
const REPEAT_SPACING: Duration = Duration::from_millis(1);
/// The delay before a repeated request doubles at most this often.
const MAX_DOUBLINGS: u32 = 2;
/// The delay before a repeated request is at most this, or two round trips, because delivery waits for it. Where
/// repairs are lost because they are too many, the publisher spaces them itself.
const MAX_RETRY_DELAY: Duration = Duration::from_millis(500);
/// The publisher is always allowed this many datagrams beyond what has arrived.
const MIN_SOCKET_ROOM: u64 = 16;
/// The subscribers of a group together send about one status for this many repairs that arrive: their number is the
/// credit for more.
const REPAIRS_PER_STATUS: u32 = 32;
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
}

/// Flags whose appearance is news for the publisher.
const NEWS: u32 = Status::ENDED | Status::DELIVERED | Status::READING | Status::UNKNOWN_LOSS;

impl SubscriberMachine {
    /// Returns the latest time to call [`poll_transmit`](Self::poll_transmit) and [`poll_item`](Self::poll_item) again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        // While buffering, events wait for the application: to wake it for them would be in vain.
        if !self.outbox.is_empty() || !self.events.is_empty() && !self.delivery.is_buffering() {
            return Some(ClockTime(0));
        }
        let mut deadline = self.followed.liveness.after(self.config.publisher_silence);
        // A stream of which nothing more can come may be silent.
        if self.has_everything() {
            deadline = ClockTime::NEVER;
        } else if self.followed.liveness.is_silent() {
            deadline = self.gone_at();
        }
        deadline = deadline.min(self.paths.next_silence_check(self.config.path_silence));
        if self.delivery.has_stopped() {
            // After a stop, all that is left to do is to leave, once.
            let is_due = !self.has_left && !self.sends_nothing();
            return if is_due { Some(ClockTime(0)) } else { deadline.unless_never() };
        }
        if self.incarnations.current().is_some() && !self.sends_nothing() {
            // A silent publisher is not probed: that is due once it is heard again.
            let probe =
                if self.followed.liveness.is_silent() { ClockTime::NEVER } else { self.publisher.probe_at() };
            deadline = deadline.min(probe).min(self.repairer_probe_at()).min(self.local_repair_at());
            if self.publisher.is_proven() {
                deadline = deadline.min(self.statuses.deadline(self.idle_interval()));
            }
        }
        if self.needs_naks() {
            deadline = if self.is_repairer_too_slow() {
                ClockTime(0)
            } else {
                deadline.min(self.followed.naks.at())
            };
        }
        if let Some(gap) = self.followed.naks.first_gap().filter(|_| self.delivery.is_active()) {
            deadline = deadline.min(self.gap_deadline(gap.noticed));
        }
        deadline.unless_never()
    }

    /// Whether repairs are to be requested, of a publisher that can answer.
    fn needs_naks(&self) -> bool {
        let is_heard = self.publisher.is_proven() && !self.followed.liveness.is_silent();
        self.requests_repairs() && is_heard && !self.delivery.has_ended() && !self.followed.naks.is_empty()
    }

    /// Returns how much of the credit is in use: what was sent since the first datagram that is missing.
    fn used_credit(&self) -> u64 {
        self.known_end().ahead_of(self.followed.base)
    }

    /// Whether a NAK may be sent although the share of what the group may send is used up: the publisher waits for this
    /// subscriber, or will soon, or has sent nothing since its last heartbeat, so that no data adds to the share.
    fn has_urgent_gaps(&self) -> bool {
        self.followed.end.is_some()
            || self.used_credit() >= self.followed.credit / 2
            || !self.is_large_group() && self.followed.heartbeat.next >= self.followed.highest
    }

    /// Whether there is time to ask a repairer before the publisher has to wait for this subscriber.
    fn has_time_for_repairer(&self) -> bool {
        self.used_credit() < self.followed.credit / 4 * 3
    }

    /// Whether a repairer was asked, and there is no time to wait for it any more.
    fn is_repairer_too_slow(&self) -> bool {
        self.followed.naks.may_await_repairer() && !self.has_time_for_repairer()
    }

    /// When a gap that was noticed at this time is given up, or reported as a stall.
    fn gap_deadline(&self, noticed: ClockTime) -> ClockTime {
        let stalled = match self.reported.is_new_stall(noticed) {
            true => noticed + self.config.stalled_after,
            false => ClockTime::NEVER,
        };
        match self.config.policy {
            // The datagram is here, and only its manifest is missing: the time of a loss does not apply.
            Policy::BestEffort(_) if self.awaits_manifest() => stalled,
            Policy::Deadline(timeout) | Policy::BestEffort(timeout) => stalled
                .min(noticed + timeout.max(self.followed.verification.stage.timeout(self.followed.base))),
            _ => stalled,
        }
    }

    /// Does everything that is due by now.
    pub(super) fn run_timers(&mut self, now: ClockTime) {
        if let Some(event) = self.paths.take_silent(now, self.config.path_silence) {
            self.emit(event);
        }
        self.check_publisher_silence(now);
        self.check_stall(now);
        if self.publisher.get().is_none() || self.incarnations.current().is_none() || self.sends_nothing() {
            return;
        }
        if self.delivery.has_stopped() {
            if !self.has_left {
                self.leave(now);
            }
            return;
        }
        if now >= self.publisher.probe_at() && !self.followed.liveness.is_silent() {
            self.probe(now);
        }
        if now >= self.repairer_probe_at() {
            self.probe_repairer(now);
        }
        // Before the NAKs: what waited for the repairer is due with them.
        if self.needs_naks() && self.is_repairer_too_slow() {
            self.followed.naks.stop_awaiting_repairer(now);
        }
        if self.needs_naks() && now >= self.followed.naks.at() {
            self.send_naks(now);
        }
        if !self.publisher.is_proven() {
            // The publisher ignores statuses from an address that is not proven.
            return;
        }
        if now >= self.statuses.deadline(self.idle_interval()) {
            self.status(now, self.flags());
        }
    }

    /// Leaves the stream, so that the publisher no longer waits for this subscriber.
    pub fn leave(&mut self, now: ClockTime) {
        self.leave_as(now, 0);
    }

    /// Leaves the stream because of an error, so that the application may not have processed what it was given.
    pub fn fail(&mut self, now: ClockTime) {
        self.leave_as(now, Status::FAILED);
    }

    fn leave_as(&mut self, now: ClockTime, reason: u32) {
        self.has_left = true;
        if self.incarnations.current().is_some() && !self.sends_nothing() && self.publisher.is_proven() {
            // What is buffered for an application that stops will not be delivered.
            let withdrawn = match self.delivery.has_ended() {
                // An application that fails may not have processed what it was given last.
                _ if reason != 0 => Status::ENDED | Status::DELIVERED,
                true => 0,
                false => Status::ENDED,
            };
            self.status(now, Status::LEAVING | reason | self.flags() & !withdrawn);
        }
    }

    /// Reports to a publisher that is still heard, and whose stream has no end yet, that a successor at another address is followed:
    /// it would only see its subscribers fall silent, one after the other.
    pub(super) fn leave_superseded(&mut self, now: ClockTime, successor: SocketAddr) {
        let is_other = self.publisher.get().is_some_and(|publisher| publisher != successor);
        let is_live = self.followed.end.is_none() && !self.followed.liveness.is_silent();
        if is_other && is_live && !self.sends_nothing() && self.publisher.is_proven() {
            self.status(now, Status::LEAVING | Status::SUPERSEDED | self.flags());
        }
    }

    /// Gives the publisher more time if this process did not run: what it sent meanwhile is not read yet. A publisher that is called
    /// silent could lose its subscriber to a rival.
    fn extend_patience(&mut self, now: ClockTime) {
        let silence = self.config.publisher_silence;
        let silent_at = self.followed.liveness.after(silence);
        if now < silent_at || self.followed.liveness.is_silent() {
            return;
        }
        let sends =
            self.incarnations.current().is_some() && self.publisher.is_proven() && !self.sends_nothing();
        let status_at = if sends { self.statuses.deadline(self.idle_interval()) } else { ClockTime::NEVER };
        // What was due first was delayed by that long.
        let pause = now.since(silent_at.min(status_at));
        if pause >= MAX_CHECK_DELAY {
            self.followed.liveness.extend(now, pause, silence, now + MAX_CHECK_DELAY);
        }
    }

    fn check_publisher_silence(&mut self, now: ClockTime) {
        self.extend_patience(now);
        let is_silent = now >= self.followed.liveness.after(self.config.publisher_silence);
        let has_fallen_silent =
            is_silent && !self.has_everything() && self.followed.liveness.record_silence();
        if has_fallen_silent && self.incarnations.current().is_some() {
            self.emit(SubscriberEvent::PublisherSilent);
        }
        // After a close and a long silence, no publisher is left that could repair anything.
        if self.followed.liveness.is_silent() && now >= self.gone_at() && !self.has_everything() {
            self.abandon_as(Cause::PublisherGone);
        }
    }

    /// When a publisher that has closed its stream, and has been silent since, counts as gone.
    fn gone_at(&self) -> ClockTime {
        match self.followed.end.is_some() && self.abandoned.is_none() {
            true => self.followed.liveness.after(PUBLISHER_GONE.max(self.config.publisher_silence)),
            false => ClockTime::NEVER,
        }
    }

    fn check_stall(&mut self, now: ClockTime) {
        let Some(gap) = self.followed.naks.first_gap().copied().filter(|_| self.delivery.is_active()) else {
            return;
        };
        if self.reported.is_new_stall(gap.noticed) && now >= gap.noticed + self.config.stalled_after {
            // All gaps that exist by now are reported as one stall.
            self.reported.record_stall(now);
            self.emit(SubscriberEvent::Stalled {
                datagram: self.followed.base,
                waiting: self.followed.window.len() as u64,
            });
        }
    }

    /// Returns a random delay, by which few of many subscribers request the same repair.
    pub(super) fn backoff(&mut self) -> Duration {
        // The group's is the greatest of all, from each status. Its own is measured once in 50 s, at first when it joins, perhaps
        // together with many others.
        let round_trip = self.round_trip().min(self.group_round_trip()).max(MIN_BACKOFF_UNIT);
        let longest = u32::from(self.followed.heartbeat.backoff.max(1)) * round_trip;
        backoff(longest, self.followed.heartbeat.group_size, &mut self.random)
    }

    /// Requests everything that is due, in as few NAKs as possible and within the allowance.
    fn send_naks(&mut self, now: ClockTime) {
        let Some(publisher) = self.publisher.get() else { return };
        let group_size = self.followed.heartbeat.group_size;
        let urgent_interval = self.has_urgent_gaps().then(|| self.urgent_interval().max(self.round_trip()));
        let allowed = self.followed.naks.allowed(now, group_size, urgent_interval).min(MAX_NAKS);
        // Another subscriber is asked first, if there is time to ask the publisher after that.
        let repairer = self.repairers.usable().filter(|_| self.has_time_for_repairer());
        let mut to_repairer = repairer.map(|UsableRepairer { address, token, .. }| {
            let allowed = self.followed.naks.allowed_for_repairer(now, group_size).min(MAX_NAKS);
            NakList::new(address, token, allowed)
        });
        if allowed == 0 && to_repairer.as_ref().is_none_or(NakList::is_used_up) {
            return self.followed.naks.wait_for_allowance(now, self.urgent_interval());
        }
        let round_trip = self.round_trip();
        // Gaps that are due soon share this NAK: one of their own would follow sooner than a repair could arrive.
        let soon = now + round_trip / 4;
        let timeout = self.followed.naks.repair_timeout(round_trip);
        let repairer_timeout = repairer.map_or(Duration::ZERO, |repairer| {
            self.followed.naks.repairer_timeout(repairer.round_trip, round_trip)
        });
        let longest = MAX_RETRY_DELAY.max(2 * round_trip);
        // A repair that would arrive after the deadline is not requested.
        let too_late = match self.config.policy {
            Policy::Deadline(timeout) => now + round_trip - timeout,
            _ => ClockTime(0),
        };
        // Subscribers that lack the same ask again at different times: the repair for the first one reaches the others.
        let spread = self.backoff();
        // What waits for a manifest that is overdue counts as missing from now on, so that this NAK requests it as well.
        self.distrust_staged(now);
        let mut to_publisher = NakList::new(publisher, self.publisher.token(), allowed);
        let mut replaced = Replaced::default();
        let (mut is_starved, mut is_given_up) = (false, false);
        // They are taken out, because a list that is full is sent in between, for which all of this subscriber is needed.
        let mut gaps = self.followed.naks.take_gaps();
        for gap in gaps.iter_mut().filter(|gap| gap.due <= soon) {
            if gap.noticed < too_late || gap.end <= self.followed.oldest_retained {
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
            let first = gap.first.max(self.followed.base).max(self.followed.oldest_retained);
            // Symbols that do not complete their block after all replace nothing for long.
            let replaced = Some(&mut replaced).filter(|_| gap.tries < 2 && !self.followed.recovery.is_idle());
            self.add_missing(first..gap.end, replaced, list);
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
            self.send_last_nak(list);
            sent_to_repairer = list.sent;
            if list.sent.count > 0 {
                self.repairers.record_request(now);
            }
        }
        self.send_last_nak(&mut to_publisher);
        self.statistics.naks_to_repairers += sent_to_repairer.count;
        // Also if nothing was sent: what was missing may have been replaced by parity, and the next gap is due later.
        self.followed.naks.record_sent(now, to_publisher.sent, sent_to_repairer, gaps);
        if is_given_up {
            self.followed.naks.stop_awaiting_repairer(now);
        }
        // Without this, a gap that is due and may not be requested would wake the caller again at once.
        if is_starved && to_publisher.allowed == 0 {
            self.followed.naks.wait_for_allowance(now, self.urgent_interval());
        }
    }

    /// Sends what is left of a list, unless it was longer than what is allowed: the rest is requested later.
    fn send_last_nak(&mut self, list: &mut NakList) {
        if !list.is_used_up() {
            self.send_nak(list);
        }
    }

    /// Adds the datagrams of a gap that did not arrive; sends the list whenever it is full.
    fn add_missing(&mut self, gap: Range<Sequence>, mut replaced: Option<&mut Replaced>, list: &mut NakList) {
        let Range { mut start, end } = gap;
        while start < end {
            let mut is_requested = |sequence: &Sequence| {
                let is_replaced = |replaced: &mut &mut Replaced| self.is_replaced(*sequence, replaced);
                !self.has_arrived(*sequence) && !replaced.as_mut().is_some_and(is_replaced)
            };
            let run = Sequence::each(start..end).take(LONGEST_RUN as usize);
            let count = run.take_while(&mut is_requested).count() as u32;
            if count > 0 && !list.missing.add(start, count) {
                self.send_nak(list);
                list.missing.add(start, count);
            }
            // The datagram after a shorter run is not requested.
            start += u64::from(count) + u64::from(count < LONGEST_RUN);
        }
    }

    fn send_nak(&mut self, list: &mut NakList) {
        let Some(incarnation) = self.incarnations.current().filter(|_| !list.missing.is_empty()) else {
            return;
        };
        let NakList { to, token, ref missing, .. } = *list;
        let to = if self.publisher.get() == Some(to) { Target::Address(to) } else { Target::Aside(to) };
        let length = self.push_control(to, incarnation, Kind::Nak, |writer| missing.write_nak(token, writer));
        self.statistics.naks += 1;
        list.sent.add(length);
        list.missing.clear();
    }

    fn status(&mut self, now: ClockTime, flags: u32) {
        let (Some(publisher), Some(incarnation)) = (self.publisher.get(), self.incarnations.current()) else {
            return;
        };
        let next = self.confirmed();
        let (given_up, lost_messages) = self.reported_losses();
        let status = Status {
            next,
            highest: self.known_end().max(next),
            window: (self.room_end() - next) as u32,
            // What may be merely late does not count yet: it must not slow the publisher down.
            missed: self.losses.missed(&self.statistics).saturating_sub(self.followed.naks.maybe_late(now))
                as u32,
            clock: self.followed.heartbeat.clock,
            // The publisher subtracts this from the time since `clock`: what remains is the round trip.
            held: wire_micros(self.followed.liveness.elapsed(now)),
            flags,
            token: self.publisher.token(),
            received: self.arrived(),
            tag: 0,
            repairs: self.paths.repairs() as u32,
            given_up,
            lost_messages,
        };
        let last = self.statuses.reported();
        debug_assert!(status.next >= last.next, "a status confirms less than the last one");
        debug_assert!(status.highest >= status.next, "a status confirms what is not known");
        // Without a request, one that leaves says what its application was given.
        let is_leaving =
            flags & (Status::LEAVING | Status::FAILED) == Status::LEAVING && !self.delivery.is_closed();
        let acknowledgement =
            self.wanted_acknowledgement().or_else(|| is_leaving.then(|| self.acknowledgement()));
        let name = self.config.name;
        self.push_control(Target::Address(publisher), incarnation, Kind::Status, |writer| {
            name.map_or(Ok(()), |name| name.write(writer))?;
            acknowledgement.map_or(Ok(()), |acknowledgement| acknowledgement.write(writer))?;
            status.write(writer)
        });
        self.account.record_reported(acknowledgement);
        self.statistics.statuses += 1;
        let interval = self.status_interval().max(END_CONFIRMATION_INTERVAL).max(2 * self.round_trip());
        // Subscribers that joined together do not send statuses together ever after.
        let quarter = (self.followed.credit / 4) as f64;
        let spread = if self.is_large_group() { (self.random.unit() * quarter) as u64 } else { 0 };
        self.statuses.record_sent(now, status, interval, spread);
    }

    /// Returns how many datagrams have arrived from the publisher: what was recovered did not, and its symbols did.
    const fn arrived(&self) -> u64 {
        let SubscriberStatistics { received, parity, recovered, repaired_locally, .. } = self.statistics;
        (received + parity).saturating_sub(recovered + repaired_locally)
    }

    fn probe(&mut self, now: ClockTime) {
        let (Some(publisher), Some(incarnation)) = (self.publisher.get(), self.incarnations.current()) else {
            return;
        };
        let probe = Probe { clock: now.0, token: AddressToken::NONE, subscriber: self.id };
        self.push_control(Target::Address(publisher), incarnation, Kind::Probe, |writer| probe.write(writer));
        self.publisher.record_probe(now);
    }

    /// Returns whether a heartbeat with these flags requests a status of this subscriber soon. In a small group, each may be
    /// the one that the publisher waits for, because the status that reported its room may have been lost.
    pub(super) fn is_awaited(&self, flags: Flags) -> bool {
        let concerns = !flags.has(Flags::NO_ROOM)
            || !self.is_large_group()
            || self.statuses.reported_room() <= self.followed.heartbeat.next;
        flags.has(Flags::URGENT) && concerns
    }

    /// Returns after which time the last status is repeated, if a heartbeat shows that the publisher may not have received it.
    fn repeat_interval(&self, is_urgent: bool) -> Duration {
        match is_urgent && !self.is_large_group() {
            true => {
                let shortest =
                    (self.followed.heartbeat.group_size * REPEAT_SPACING).max(2 * self.round_trip());
                self.statuses.repeat_interval(shortest, IDLE_STATUS / 2)
            }
            false => IDLE_STATUS / 2,
        }
    }

    /// Schedules a status after a heartbeat, if the publisher does not know this subscriber's state yet.
    pub(super) fn schedule_status_after_heartbeat(&mut self, now: ClockTime, is_urgent: bool) {
        let is_urgent = is_urgent && self.requests_repairs();
        let reported = self.statuses.reported();
        let has_news = self.confirmed() != reported.next
            || self.room_end() != self.statuses.reported_room()
            || self.is_verifying() && self.known_end() != reported.highest
            || self.paths.repairs() as u32 != reported.repairs
            || self.has_unreported_acknowledgement()
            || self.flags() & !reported.flags & NEWS != 0
            || self.reports_reading() && !self.is_reading();
        // The status with the last news may have been lost.
        let is_latest = has_news || now >= self.statuses.last() + self.repeat_interval(is_urgent);
        let is_late = self.followed.end.is_some() && self.followed.base < self.followed.heartbeat.next;
        // A time that was drawn is kept: the minimum of many draws would be about the same for all subscribers.
        if (is_latest || is_late) && (is_urgent || !self.statuses.is_scheduled()) {
            let interval = if is_urgent { self.urgent_interval() } else { self.status_interval() };
            let earliest = match self.has_other_subscribers() {
                // Random, so that subscribers that joined together do not send statuses together ever after.
                true => now.max(self.statuses.last() + interval / 2) + self.random.below(interval),
                false => now.max(self.statuses.last() + interval),
            };
            self.statuses.schedule(earliest);
        }
    }

    /// Schedules a status when a quarter of the credit was delivered since the last one, in a large group up to a half;
    /// or less when the publisher will soon have to wait for it; also at the end of the stream, and when the room in the
    /// window has grown by as much.
    #[inline]
    pub(super) fn schedule_status_after_progress(&mut self) {
        let confirmed = self.statuses.reported().next;
        let reported_room = self.statuses.reported_room();
        let next = self.confirmed();
        let enough = match self.known_end().ahead_of(confirmed) {
            // Little credit is left: without a status, the publisher would soon have to stop.
            unconfirmed if unconfirmed >= self.followed.credit / 4 * 3 => self.followed.credit / 16,
            _ => self.followed.credit / 4 + self.statuses.spread(),
        };
        let is_end = self.followed.end.is_some_and(|(end, _)| next >= end);
        let has_progress = next >= confirmed + enough || self.room_end() >= reported_room + enough;
        // The publisher does not wait for a subscriber that requests no repairs. In a small group, statuses also show
        // early that a link is too narrow.
        let is_needed = self.followed.heartbeat.flow != FlowControl::None || self.acks_requested();
        if has_progress && self.requests_repairs() && (is_needed || !self.is_large_group()) || is_end {
            self.statuses.schedule(self.statuses.last() + self.urgent_interval());
        }
    }

    /// Counts a repair of the publisher, also one that is a copy, and schedules a status after some of them.
    pub(super) fn record_repair(&mut self, arrival: Arrival, is_repair: bool) {
        // What was recovered, or repaired by another subscriber, is not a repair that the publisher has sent.
        let Arrival::Path(path) = arrival else { return };
        if !is_repair {
            return;
        }
        self.paths.record_repair(path);
        let unreported = (self.paths.repairs() as u32).wrapping_sub(self.statuses.reported().repairs);
        let is_news =
            unreported >= REPAIRS_PER_STATUS.saturating_mul(self.followed.heartbeat.group_size.max(1));
        if is_news && self.requests_repairs() {
            self.statuses.schedule(self.statuses.last() + self.urgent_interval());
        }
    }

    /// Returns a random delay, so that the subscribers of a large group do not all send at once.
    pub(super) fn jitter(&mut self) -> Duration {
        match self.has_other_subscribers() {
            true => self.random.below(self.status_interval()),
            false => Duration::ZERO,
        }
    }

    /// Returns whether the group is so large that what each subscriber sends must be spared.
    const fn is_large_group(&self) -> bool {
        self.followed.heartbeat.group_size > SMALL_GROUP
    }

    pub(super) fn status_interval(&self) -> Duration {
        Duration::from_micros(self.followed.heartbeat.status_interval.into())
    }

    /// The interval when the publisher waits for the status, or will soon.
    pub(super) fn urgent_interval(&self) -> Duration {
        self.followed.heartbeat.group_size * URGENT_SPACING
    }

    fn idle_interval(&self) -> Duration {
        IDLE_STATUS.max(4 * self.status_interval())
    }

    /// The flags of a status. A subscriber that requests no repairs is passive: the publisher does not wait for it.
    fn flags(&self) -> u32 {
        let passive = if self.requests_repairs() { 0 } else { Status::PASSIVE };
        let catching_up =
            if self.followed.highest < self.followed.heartbeat.next { Status::CATCHING_UP } else { 0 };
        // While it waits for a snapshot, or has stopped, what it has will not be delivered.
        let has_all = self.delivery.has_ended() || self.has_everything() && !self.delivery.is_closed();
        let ended = if has_all { Status::ENDED } else { 0 };
        let delivered = if self.delivery.has_ended() { Status::DELIVERED } else { 0 };
        let repairs = if self.repairs_for_others() { Status::REPAIRS } else { 0 };
        let reading = if self.is_reading() { Status::READING } else { 0 };
        let unknown_loss = if self.is_loss_unknown() { Status::UNKNOWN_LOSS } else { 0 };
        passive | catching_up | ended | delivered | repairs | reading | unknown_loss
    }

    /// The datagram before which everything has arrived or was given up. Buffered datagrams count, and it never falls
    /// below what an earlier status confirmed.
    fn confirmed(&self) -> Sequence {
        let arrived = match self.delivery.is_buffering() {
            true => {
                let missing = self.followed.naks.first_gap().map_or(self.followed.highest, |gap| gap.first);
                self.followed.verification.stage.first().map_or(missing, |unverified| missing.min(unverified))
            }
            false => self.followed.base,
        };
        arrived.max(self.followed.base).max(self.statuses.reported().next)
    }

    /// The first datagram for which there is no room: in the window, or in the socket's receive buffer.
    fn room_end(&self) -> Sequence {
        (self.followed.base + self.followed.window.length())
            .min(self.known_end().max(self.followed.base) + self.socket_room())
    }

    /// One past the last datagram that is known to have been sent, including those that have arrived and wait for their
    /// manifest.
    fn known_end(&self) -> Sequence {
        self.followed.highest.max(self.followed.verification.stage.end())
    }

    /// The number of datagrams that the socket's receive buffer holds. The kernel counts its overhead separately (Linux
    /// doubles `SO_RCVBUF` for it), which is enough for datagrams that are not tiny.
    pub(super) fn socket_room(&self) -> u64 {
        match self.followed.heartbeat.datagram {
            0 => u64::MAX,
            longest => (self.config.socket_buffer as u64 / u64::from(longest)).max(self.least_room()),
        }
    }

    /// The room that the publisher is always given: a subscriber that verifies needs the next manifest.
    const fn least_room(&self) -> u64 {
        if self.is_verifying() { VERIFIED_WINDOW as u64 } else { MIN_SOCKET_ROOM }
    }

    /// Whether the end is known, and no datagram before it is missing.
    fn has_everything(&self) -> bool {
        self.delivery.has_ended() || self.followed.end.is_some_and(|(end, _)| self.confirmed() >= end)
    }

    /// Queues a control datagram; returns its length.
    pub(super) fn push_control(
        &mut self,
        to: Target,
        incarnation: Incarnation,
        kind: Kind,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
    ) -> usize {
        self.control_count += 1;
        let header = Header::new(kind, self.config.stream, incarnation, self.control_count);
        let header = Header { epoch: self.control_epoch(), ..header };
        let (id, purpose) = (self.id, Purpose::of(&header, Sealed::Subscriber(self.id)));
        let Self { ciphers, config, outbox, .. } = self;
        let seal = |bytes: &mut Vec<u8>| match header.epoch {
            KeyEpoch::CLEAR => true,
            _ => ciphers
                .find(&config.keys, purpose)
                .is_some_and(|cipher| seal::seal_vector(cipher, header.sequence, bytes)),
        };
        let whole = |writer: &mut DatagramWriter<'_>| {
            writer.subscriber(id)?;
            write(writer)
        };
        outbox.push(to, &header, whole, seal)
    }

    /// The publisher's key epoch; the latest of its own keys until that is known.
    fn control_epoch(&self) -> KeyEpoch {
        self.incarnations.epoch().unwrap_or_else(|| self.config.keys.latest())
    }
}
