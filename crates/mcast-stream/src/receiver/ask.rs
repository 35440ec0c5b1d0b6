//! What a receiver says: what it misses, what it has, that it is there. And when.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::config::Policy;
use super::event::{Cause, Event};
use super::{Baseline, Receiver};
use crate::backoff::backoff;
use crate::outbox::Target;
use crate::seal::{self, Purpose, Sealed};
use crate::wire::{
    Header, Incarnation, KeyEpoch, Kind, NAK_INTERVAL, NakWriter, PacketWriter, Probe, Status, WriteError,
};

/// The shortest time after which something out of order counts as missing.
pub(super) const LEAST_GUARD: u64 = 50_000;
/// Of a large group, those who are very near spread their naks as if they were this far away.
const LEAST_BACKOFF_UNIT: u64 = 500_000;
/// A receiver that has nothing to say says so.
const IDLE_STATUS: u64 = 1_000_000_000;
/// An address is proven anew.
pub(super) const PROBE_INTERVAL: u64 = 50_000_000_000;
/// An unanswered probe is sent again, first after so long, then after twice that, and so on.
const PROBE_AGAIN: u64 = 10_000_000;
const PROBE_DOUBLINGS: u32 = 9;
/// Between two confirmations of the end, at least.
const FAREWELL_INTERVAL: u64 = 2_000_000;
/// A sender that has closed its stream and is silent for so long is gone.
const SENDER_GONE: u64 = 30_000_000_000;
/// Whoever waits for what all receivers have gets their statuses this far apart, as far as jitter has it.
const URGENT_SPACING: u64 = 50_000;
/// All receivers together send so many naks per second, and one more for so many datagrams that they receive.
const NAK_RATE: u64 = 75;
const DATAGRAMS_PER_NAK: u64 = 64;
/// And at once so many, but each of them four.
const NAK_BURST: u64 = 64;
const LEAST_NAK_BURST: u64 = 4;
pub(super) const MOST_ALLOWANCE: u64 = NAK_BURST * NAK;
/// The allowance is counted in millionths of a nak, and looked at again after so long if there is none left.
const NAK: u64 = 1_000_000;
const NAK_RETRY: u64 = 5_000_000;
/// What does not come is asked for again after twice the time, so often.
const MOST_DOUBLINGS: u32 = 2;
/// But no later than this, or two round trips: everything behind it waits. The sender spaces repairs by itself where they
/// are lost because there are too many.
const LONGEST_PATIENCE: u64 = 500_000_000;
/// Naks that one look may send.
const MOST_NAKS: u64 = 4;

impl Receiver {
    /// When to [`poll`](Self::poll), and to ask for the [`next`](Self::next), at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if !self.outbox.is_empty() || !self.events.is_empty() && !self.aside {
            return 0;
        }
        let mut deadline = self.heartbeat_at.saturating_add(self.config.sender_silence);
        if self.has_all() {
            deadline = u64::MAX;
        } else if self.sender_silent {
            deadline = self.gone_at();
        }
        deadline = deadline.min(self.paths.next_silent(self.config.path_silence));
        if self.stopped {
            return if self.has_left { deadline } else { 0 };
        }
        if self.incarnation.is_some() && !self.config.mute {
            let status =
                self.status_at.unwrap_or(u64::MAX).min(self.status_last.saturating_add(self.idle_interval()));
            let probe = if self.sender_silent { u64::MAX } else { self.probe_at };
            deadline = deadline.min(probe);
            if self.token != 0 {
                deadline = deadline.min(status);
            }
        }
        if self.asks() {
            deadline = deadline.min(self.nak_at.max(self.asks_from));
        }
        if let Some(gap) = self.gaps.first().filter(|_| self.hands_out()) {
            deadline = deadline.min(self.patience(gap.noticed));
        }
        deadline
    }

    /// Whether there is something to ask for, and somebody to answer.
    fn asks(&self) -> bool {
        let is_heard = self.token != 0 && !self.sender_silent;
        self.config.repairs() && is_heard && !self.ended && !self.gaps.is_empty()
    }

    /// When a gap that was noticed then is given up, or told to hold everything up.
    fn patience(&self, noticed: u64) -> u64 {
        let stalled = match noticed > self.stalled_told {
            true => noticed.saturating_add(self.config.stalled_after),
            false => u64::MAX,
        };
        match self.config.policy {
            Policy::Deadline(patience) | Policy::BestEffort(patience) => {
                stalled.min(noticed.saturating_add(patience))
            }
            _ => stalled,
        }
    }

    /// Does what is due.
    pub(super) fn pass(&mut self, now: u64) {
        if let Some(event) = self.paths.silent(now, self.config.path_silence) {
            self.tell(event);
        }
        self.look_for_the_sender(now);
        self.look_for_a_stall(now);
        if self.sender.is_none() || self.incarnation.is_none() || self.config.mute {
            return;
        }
        if self.stopped {
            if !self.has_left {
                self.leave(now);
            }
            return;
        }
        if now >= self.probe_at && !self.sender_silent {
            self.probe(now);
        }
        if self.asks() && now >= self.nak_at.max(self.asks_from) {
            self.ask(now);
        }
        if self.token == 0 {
            // What an address that has proven nothing says is not looked at.
            return;
        }
        let idle = self.status_last.saturating_add(self.idle_interval());
        if self.status_at.is_some_and(|at| now >= at) || now >= idle {
            self.status(now, self.flags());
        }
    }

    /// Tells the sender that nobody need wait for this receiver any more.
    pub fn leave(&mut self, now: u64) {
        self.has_left = true;
        if self.incarnation.is_some() && !self.config.mute && self.token != 0 {
            // What is kept for an application that goes is not delivered.
            let kept = if self.ended { 0 } else { Status::ENDED };
            self.status(now, Status::LEAVING | self.flags() & !kept);
        }
    }

    fn look_for_the_sender(&mut self, now: u64) {
        let is_silent = now >= self.heartbeat_at.saturating_add(self.config.sender_silence);
        if is_silent && !self.sender_silent && !self.has_all() {
            self.sender_silent = true;
            if self.incarnation.is_some() {
                self.tell(Event::SenderSilent);
            }
        }
        // Of a stream that was closed nobody is there any more to repair what is missing.
        if self.sender_silent && now >= self.gone_at() && !self.has_all() {
            self.abandon_as(Cause::SenderGone);
        }
    }

    /// When a sender that has closed its stream, and has been silent since, counts as gone.
    fn gone_at(&self) -> u64 {
        match self.end.is_some() && self.abandoned.is_none() {
            true => self.heartbeat_at.saturating_add(SENDER_GONE.max(self.config.sender_silence)),
            false => u64::MAX,
        }
    }

    fn look_for_a_stall(&mut self, now: u64) {
        let Some(gap) = self.gaps.first().copied().filter(|_| self.hands_out()) else { return };
        if gap.noticed > self.stalled_told && now >= gap.noticed.saturating_add(self.config.stalled_after) {
            // Of all gaps that were there by now, one is told.
            self.stalled_told = now;
            self.tell(Event::Stalled { datagram: self.base, waiting: self.window.kept() as u64 });
        }
    }

    /// How long something is waited for that is only out of order.
    pub(super) fn reorder_guard(&self) -> u64 {
        LEAST_GUARD.max(2 * self.reordering).max(self.round_trip() / 8)
    }

    /// How long to wait so that of many few ask.
    pub(super) fn backoff(&mut self) -> u64 {
        let longest = u64::from(self.heartbeat.backoff.max(1)) * self.round_trip().max(LEAST_BACKOFF_UNIT);
        backoff(longest, self.heartbeat.group_size, &mut self.random)
    }

    /// Asks for everything that is due, in as few naks as there can be and as many as there may be.
    fn ask(&mut self, now: u64) {
        let most = self.naks_allowed(now).min(MOST_NAKS);
        if most == 0 {
            self.asks_from = self.nak_allowance.when(NAK).min(now + NAK_RETRY);
            return;
        }
        let round_trip = self.round_trip();
        let soon = now + round_trip / 4;
        let patience = (round_trip * 3 / 2).max(self.repair_time + 4 * self.repair_spread);
        let longest = LONGEST_PATIENCE.max(2 * round_trip);
        // What comes too late need not be asked for.
        let too_late = match self.config.policy {
            Policy::Deadline(patience) => now.saturating_add(round_trip).saturating_sub(patience),
            _ => 0,
        };
        let spread = self.backoff();
        let before = self.statistics.naks;
        let mut list = NakWriter::new();
        let mut naks = 1;
        let mut gaps = core::mem::take(&mut self.gaps);
        for gap in gaps.iter_mut().filter(|gap| gap.due <= soon) {
            if gap.noticed < too_late || gap.end <= self.trail {
                gap.due = u64::MAX;
                continue;
            }
            if naks > most {
                break;
            }
            self.add_missing(gap.first.max(self.base).max(self.trail), gap.end, &mut list, &mut naks);
            gap.due = now + (patience << gap.tries.min(MOST_DOUBLINGS)).min(longest) + spread;
            gap.asked = now;
            gap.tries += 1;
        }
        self.gaps = gaps;
        if naks <= most {
            self.send_nak(&mut list);
        }
        let sent = self.statistics.naks - before;
        self.nak_allowance.spend(sent * NAK);
        // What the sender would not look at is not sent.
        self.asks_from = now + NAK_INTERVAL * sent.max(1);
        self.nak_at = self.gaps.next_due().unwrap_or(u64::MAX).max(now + 1);
    }

    /// How many naks this receiver may send now: its share of what all of them may.
    fn naks_allowed(&mut self, now: u64) -> u64 {
        let group = u64::from(self.heartbeat.group_size.max(1));
        let received =
            self.statistics.received - core::mem::replace(&mut self.nak_mark, self.statistics.received);
        self.nak_allowance.set_rate(NAK_RATE * NAK / group);
        self.nak_allowance.set_most((NAK_BURST / group).max(LEAST_NAK_BURST) * NAK);
        self.nak_allowance.pass(now);
        self.nak_allowance.add(received.saturating_mul(NAK) / DATAGRAMS_PER_NAK / group);
        self.nak_allowance.level() / NAK
    }

    /// Adds what of a gap has not come; a full list is sent.
    fn add_missing(&mut self, first: u64, end: u64, list: &mut NakWriter, naks: &mut u64) {
        let mut at = first;
        while at < end {
            let missing = (at..end).take_while(|sequence| !self.window.has(*sequence)).count() as u64;
            if missing == 0 {
                at += 1;
                continue;
            }
            let count = missing.min(1 << 20) as u32;
            if !list.add(at, count) {
                self.send_nak(list);
                *naks += 1;
                list.add(at, count);
            }
            at += u64::from(count);
        }
    }

    fn send_nak(&mut self, list: &mut NakWriter) {
        let (Some(sender), Some(incarnation)) = (self.sender, self.incarnation) else { return };
        if list.is_empty() {
            return;
        }
        let token = self.token;
        self.push_control(sender, incarnation, Kind::Nak, |writer| list.write_nak(token, writer));
        self.statistics.naks += 1;
        list.clear();
    }

    fn status(&mut self, now: u64, flags: u32) {
        let (Some(sender), Some(incarnation)) = (self.sender, self.incarnation) else { return };
        let Baseline { missed, lost_messages } = self.baseline;
        let next = self.confirmed();
        let status = Status {
            next,
            highest: self.highest.max(next),
            window: (self.room_end() - next) as u32,
            missed: (self.statistics.missed - missed) as u32,
            clock: self.heartbeat.clock,
            held: u32::try_from(now.saturating_sub(self.heartbeat_at) / 1_000).unwrap_or(u32::MAX),
            flags,
            token: self.token,
            received: self.statistics.received,
            tag: 0,
            given_up: self.forfeited,
            lost_messages: self.statistics.lost_messages - lost_messages,
        };
        self.push_control(sender, incarnation, Kind::Status, |writer| status.write(writer));
        self.statistics.statuses += 1;
        (self.status_at, self.status_last, self.status_sent) = (None, now, status);
        self.farewells = self.farewells.saturating_sub(1);
        if self.farewells > 0 {
            let interval = self.status_interval().max(FAREWELL_INTERVAL).max(2 * self.round_trip());
            self.status_at = Some(now + interval);
        }
    }

    fn probe(&mut self, now: u64) {
        let (Some(sender), Some(incarnation)) = (self.sender, self.incarnation) else { return };
        let probe = Probe { clock: now, token: 0, receiver: self.id.0 };
        self.push_control(sender, incarnation, Kind::Probe, |writer| probe.write(writer));
        self.probe_at = now + if self.token == 0 { PROBE_AGAIN << self.probes } else { PROBE_INTERVAL };
        self.probes = (self.probes + 1).min(PROBE_DOUBLINGS);
    }

    /// Says soon what it has, if that is news to the sender.
    pub(super) fn want_status_after_heartbeat(&mut self, now: u64, is_urgent: bool) {
        let told = &self.status_sent;
        let told_room = told.next + u64::from(told.window);
        let has_news = self.confirmed() != told.next
            || self.room_end() != told_room
            || self.flags() & !told.flags & (Status::ENDED | Status::DELIVERED) != 0;
        let is_news = has_news || now >= self.status_last + IDLE_STATUS / 2;
        let is_late = self.end.is_some() && self.base < self.heartbeat.next;
        // A time that was drawn is kept: the least of many draws would be the same for all.
        if (is_news || is_late) && (is_urgent || self.status_at.is_none()) {
            let interval = if is_urgent { self.urgent_interval() } else { self.status_interval() };
            let earliest = match self.has_company() {
                // Those that have joined at the same time do not speak at the same time for ever.
                true => now.max(self.status_last + interval / 2) + self.random.below(interval),
                false => now.max(self.status_last + interval),
            };
            self.want_status(earliest);
        }
    }

    /// Says what it has when a quarter of what the sender keeps was taken since, less when the sender must soon
    /// wait for this, or the stream's end; and what it has room for, when that has grown by as much.
    #[inline]
    pub(super) fn want_status_after_progress(&mut self) {
        let told = self.status_sent.next;
        let told_room = told + u64::from(self.status_sent.window);
        let next = self.confirmed();
        let enough = if self.highest - told.min(self.highest) >= self.credit / 4 * 3 {
            self.credit / 16
        } else {
            self.credit / 4
        };
        let is_end = self.end.is_some_and(|(end, _)| next >= end);
        if next >= told + enough || self.room_end() >= told_room + enough || is_end {
            self.want_status(self.status_last + self.urgent_interval());
        }
    }

    fn want_status(&mut self, at: u64) {
        self.status_at = Some(self.status_at.map_or(at, |known| known.min(at)));
    }

    /// A random time, so that a large group does not speak at once.
    pub(super) fn jitter(&mut self) -> u64 {
        match self.has_company() {
            true => self.random.below(self.status_interval()),
            false => 0,
        }
    }

    fn status_interval(&self) -> u64 {
        u64::from(self.heartbeat.status_interval) * 1_000
    }

    /// The same when the sender waits for it, or soon must.
    pub(super) fn urgent_interval(&self) -> u64 {
        URGENT_SPACING * u64::from(self.heartbeat.group_size)
    }

    fn idle_interval(&self) -> u64 {
        IDLE_STATUS.max(4 * self.status_interval())
    }

    /// Who does not ask for repairs is not waited for.
    fn flags(&self) -> u32 {
        let passive = if self.config.repairs() { 0 } else { Status::PASSIVE };
        let catching_up = if self.highest < self.heartbeat.next { Status::CATCHING_UP } else { 0 };
        // What waits for a snapshot, or for nobody, will not be delivered.
        let has_all = self.ended || self.has_all() && !self.held && !self.stopped;
        let ended = if has_all { Status::ENDED } else { 0 };
        let delivered = if self.ended { Status::DELIVERED } else { 0 };
        passive | catching_up | ended | delivered
    }

    /// The datagram before which everything is there or given up: what was set aside is there, and what the sender
    /// was told stays so.
    fn confirmed(&self) -> u64 {
        let there = match self.aside {
            true => self.gaps.first().map_or(self.highest, |gap| gap.first),
            false => self.base,
        };
        there.max(self.base).max(self.status_sent.next)
    }

    /// The first datagram that there is no room for.
    const fn room_end(&self) -> u64 {
        self.base + self.window.length()
    }

    /// Whether the end was heard, and there is nothing that the sender could still give.
    fn has_all(&self) -> bool {
        self.ended || self.end.is_some_and(|(end, _)| self.confirmed() >= end)
    }

    pub(super) fn push_control(
        &mut self,
        to: SocketAddr,
        incarnation: Incarnation,
        kind: Kind,
        write: impl FnOnce(&mut PacketWriter<'_>) -> Result<(), WriteError>,
    ) {
        self.control_count += 1;
        let header = Header::new(kind, self.config.stream, incarnation, self.control_count);
        let header = Header { epoch: self.control_epoch(), ..header };
        let (id, purpose) = (self.id, Purpose::of(&header, Sealed::Receiver(self.id)));
        let Self { ciphers, config, outbox, .. } = self;
        let seal = |bytes: &mut Vec<u8>| match header.epoch {
            KeyEpoch::CLEAR => true,
            _ => ciphers
                .find(&config.keys, purpose)
                .is_some_and(|cipher| seal::seal_vector(cipher, header.sequence, bytes)),
        };
        let whole = |writer: &mut PacketWriter<'_>| {
            writer.receiver(id)?;
            write(writer)
        };
        outbox.push(Target::Address(to), &header, whole, seal);
    }

    /// The sender's epoch; before it is known, the greatest.
    const fn control_epoch(&self) -> KeyEpoch {
        match self.incarnation {
            Some(_) => self.epoch,
            None => self.config.keys.latest(),
        }
    }
}
