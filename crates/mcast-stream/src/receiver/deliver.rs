//! Messages in order, from where they lie.

use core::ops::Range;

use super::assembly::Piece;
use super::event::{Cause, Event};
use super::item::{Item, Message, Place, Step, StepKind};
use super::sender_state::ADDRESS_TIME;
use super::window::{Meta, Turn};
use super::{OnLoss, Policy, Receiver};
use crate::wire::{Flags, Messages, batch_overhead};

/// The bytes of a key before its message.
const KEY_LENGTH: usize = 8;
/// How often the end is confirmed.
const FAREWELLS: u8 = 5;

/// The datagram that is being handed out.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) sequence: u64,
    pub(super) place: Place,
    meta: Meta,
    range: Range<usize>,
    /// The number of the message at the start of `range`, once it is known.
    number: Option<u64>,
}

impl Current {
    pub(super) const fn new(sequence: u64, meta: Meta, place: Place, range: Range<usize>) -> Self {
        Self { sequence, place, meta, range, number: None }
    }
}

impl Receiver {
    /// The next message or event. `datagram` is what was [`handle`](Self::handle)d last.
    pub fn next<'a>(&'a mut self, now: u64, datagram: &'a [u8]) -> Option<Item<'a>> {
        let step = self.step(now, datagram)?;
        Some(self.item(&step, datagram))
    }

    /// The same without its bytes, so that nothing stays borrowed.
    pub fn step(&mut self, now: u64, datagram: &[u8]) -> Option<Step> {
        self.aside = false;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Step(StepKind::Event(event)));
            }
            if self.held && self.successor.is_some() {
                return self.follow_successor(now).map(|event| Step(StepKind::Event(event)));
            }
            if let Some(cause) = self.abandoned.filter(|_| self.held) {
                // What waits for a snapshot is no use without it.
                let known = self.heartbeat.next_message;
                (self.held, self.stopped) = (false, true);
                if self.expected < known {
                    return Some(Step(StepKind::Event(self.lose(known, cause))));
                }
            }
            if self.held || self.stopped {
                return None;
            }
            let progress = match self.current.is_some() {
                true => self.go_on(datagram),
                false => self.take_turn(now)?,
            };
            if let Some(step) = progress {
                return Some(step);
            }
        }
    }

    /// The message or event of a step, which must be the last.
    #[must_use]
    pub fn item<'a>(&'a self, step: &Step, datagram: &'a [u8]) -> Item<'a> {
        let StepKind::Message { number, keyed, place, range } = &step.0 else {
            let StepKind::Event(event) = step.0 else { return Item::Event(Event::SenderSilent) };
            return Item::Event(event);
        };
        let bytes = self.place(*place, datagram).get(range.clone()).unwrap_or_default();
        let message = match bytes.split_first_chunk::<KEY_LENGTH>().filter(|_| *keyed) {
            Some((key, rest)) => {
                Message { number: *number, key: Some(u64::from_be_bytes(*key)), bytes: rest }
            }
            None => Message { number: *number, key: None, bytes },
        };
        Item::Message(message)
    }

    fn place<'a>(&'a self, place: Place, datagram: &'a [u8]) -> &'a [u8] {
        match place {
            Place::Lent => datagram,
            Place::Opened => &self.opened,
            Place::Window(sequence) => self.window.body(sequence),
            Place::Assembly => self.assembly.bytes(),
        }
    }

    /// Looks whose turn it is. `None`: nobody's. `Some(None)`: look again.
    fn take_turn(&mut self, now: u64) -> Option<Option<Step>> {
        self.incarnation?;
        if self.ended && self.successor.is_none() {
            return None;
        }
        match self.window.turn(self.base) {
            Some(Turn::Kept(meta)) => {
                let range = 0..self.window.body(self.base).len();
                self.current = Some(Current::new(self.base, meta, Place::Window(self.base), range));
                Some(None)
            }
            Some(Turn::Done(first, count)) => {
                let lost = self.lost_before(first);
                if lost.is_none() {
                    self.expected = self.expected.max(first + count);
                    self.pass_turn();
                }
                Some(lost)
            }
            None if self.base < self.highest => self.give_up(now).then_some(None),
            None if self.base < self.heartbeat.next => {
                if !self.pass_over_what_is_gone() {
                    // The window did not reach so far before.
                    self.notice(now, self.heartbeat.next);
                }
                Some(None)
            }
            None => self.look_at_the_end(now).map(|event| Some(Step(StepKind::Event(event)))),
        }
    }

    /// Nothing more is known to have been sent.
    fn look_at_the_end(&mut self, now: u64) -> Option<Event> {
        let told = self.heartbeat.next_message;
        let is_whole = self.assembly.is_empty() || self.abandoned.is_some();
        if self.base >= self.heartbeat.next && is_whole && self.expected < told {
            return match self.bridging && self.abandoned.is_none() {
                true => self.want_newer_snapshot(told),
                false => Some(self.lose(told, self.abandoned.unwrap_or(self.cause))),
            };
        }
        if self.successor.is_some() {
            return self.follow_successor(now);
        }
        if self.is_cut_off(now) {
            self.is_unknown_reported = true;
            return Some(self.lose_unknown());
        }
        let (end, messages) = self.end.filter(|(end, _)| *end <= self.base && !self.ended)?;
        (self.ended, self.base) = (true, end);
        if !self.config.mute {
            (self.farewells, self.status_at) = (FAREWELLS, Some(now + self.jitter()));
        }
        Some(Event::Ended { messages })
    }

    /// Whether the application stops while nothing is heard of a sender that has not ended its stream: it may have sent
    /// more.
    fn is_cut_off(&self, now: u64) -> bool {
        let is_silent = now >= self.heartbeat_at.saturating_add(ADDRESS_TIME);
        self.abandoned == Some(Cause::Abandoned)
            && self.incarnation.is_some()
            && self.end.is_none()
            && is_silent
            && !self.is_unknown_reported
    }

    /// Where nothing is kept any more, passes at once over what will not come or is not waited for: a forged
    /// heartbeat may claim so much that nobody could count through it. `false` if it is worth waiting.
    fn pass_over_what_is_gone(&mut self) -> bool {
        let next = self.heartbeat.next;
        let (end, cause) = match self.config.policy {
            _ if self.base < self.trail => (self.trail.min(next), Cause::Unrecoverable),
            _ if self.successor.is_some() => (next, Cause::Restart),
            _ if self.abandoned.is_some() => (next, self.abandoned.unwrap_or(Cause::Abandoned)),
            Policy::Deadline(0) => (next, Cause::Deadline),
            Policy::BestEffort(0) => (next, Cause::NotRepaired),
            _ => return false,
        };
        let passed = end - self.base;
        self.statistics.missed = self.statistics.missed.saturating_add(passed);
        self.note_given_up(passed);
        (self.base, self.cause) = (end, cause);
        self.highest = self.highest.max(end);
        self.gaps.trim(end);
        self.assembly.abandon();
        true
    }

    /// What is given up before a snapshot's first message comes is in the snapshot.
    fn note_given_up(&mut self, count: u64) {
        self.statistics.given_up = self.statistics.given_up.saturating_add(count);
        if !self.held && !self.bridging && !self.begins {
            self.forfeited = self.forfeited.saturating_add(count);
        }
    }

    /// Gives up what will not come or is not waited for; `false` if it is worth waiting.
    fn give_up(&mut self, now: u64) -> bool {
        if self.gaps.first().is_none_or(|gap| gap.first > self.base) {
            let due = now + self.round_trip();
            self.gaps.reopen(self.base, now, due);
            self.nak_at = self.nak_at.min(due);
        }
        let gap_end = self.gaps.first().map_or(self.highest, |gap| gap.end.max(self.base + 1));
        let noticed = self.gaps.first().map_or(now, |gap| gap.noticed);
        let is_over = |patience: u64| now >= noticed.saturating_add(patience);
        let (end, cause) = match self.config.policy {
            _ if self.base < self.trail => (gap_end.min(self.trail), Cause::Unrecoverable),
            _ if self.successor.is_some() => (gap_end, Cause::Restart),
            _ if self.abandoned.is_some() => (gap_end, self.abandoned.unwrap_or(Cause::Abandoned)),
            Policy::Deadline(patience) if is_over(patience) => (gap_end, Cause::Deadline),
            Policy::BestEffort(patience) if is_over(patience) => (gap_end, Cause::NotRepaired),
            _ if self.config.mute && is_over(self.config.stalled_after) => (gap_end, Cause::NotRepaired),
            _ => return false,
        };
        self.cause = cause;
        let end = end.min(self.highest);
        while self.base < end && !self.window.has(self.base) {
            self.base += 1;
            self.note_given_up(1);
        }
        self.gaps.trim(self.base);
        self.assembly.abandon();
        true
    }

    /// Hands out the next of the datagram whose turn it is.
    fn go_on(&mut self, datagram: &[u8]) -> Option<Step> {
        let mut current = self.current.take()?;
        let flags = current.meta.flags;
        if current.number.is_none() {
            let number = self.number(current.meta.message);
            if flags.has(Flags::BATCH) || flags.has(Flags::BEGIN) {
                if current.sequence == self.base
                    && let Some(step) = self.lost_before(number)
                {
                    // The datagram stays, unless what follows waits for a snapshot.
                    self.put_back(current, datagram);
                    return Some(step);
                }
                self.bridging = false;
            }
            current.number = Some(number);
        }
        let number = current.number.unwrap_or(self.expected);
        match flags.has(Flags::BATCH) {
            true => self.next_of_batch(current, number, datagram),
            false => self.next_piece(&current, number, datagram),
        }
    }

    /// The same, from where it lies until its turn is over.
    pub(super) fn kept_in_window(&mut self, mut current: Current, datagram: &[u8]) -> Current {
        let body = match current.place {
            Place::Lent => datagram.get(current.range.clone()),
            Place::Opened => self.opened.get(current.range.clone()),
            Place::Window(_) | Place::Assembly => return current,
        };
        let body = body.unwrap_or_default();
        self.window.keep(current.sequence, current.meta, body);
        (current.place, current.range) = (Place::Window(current.sequence), 0..body.len());
        current
    }

    /// Keeps a datagram whose turn comes again.
    fn put_back(&mut self, current: Current, datagram: &[u8]) {
        if !self.held && !self.stopped {
            self.current = Some(current);
            return;
        }
        let body = match current.place {
            Place::Lent => datagram.get(current.range),
            Place::Opened => self.opened.get(current.range),
            _ => return,
        };
        self.window.keep(current.sequence, current.meta, body.unwrap_or_default());
    }

    fn next_of_batch(&mut self, mut current: Current, first: u64, datagram: &[u8]) -> Option<Step> {
        let body = self.place(current.place, datagram).get(current.range.clone()).unwrap_or_default();
        let mut messages = match Messages::read(body) {
            Ok((messages, _)) => messages,
            Err(_) if body.is_empty() => {
                self.finish(&current, first);
                return None;
            }
            Err(_) => {
                self.statistics.malformed += 1;
                self.finish(&current, first);
                return None;
            }
        };
        let length = messages.next().map_or(0, <[u8]>::len);
        let range = current.range.start + batch_overhead()..current.range.start + batch_overhead() + length;
        current.range.start = range.end;
        current.number = Some(first + 1);
        let (place, keyed, in_turn) = (current.place, current.meta.keyed, current.sequence == self.base);
        self.current = Some(current);
        self.hand_out(first, keyed, place, range, in_turn, datagram)
    }

    fn next_piece(&mut self, current: &Current, number: u64, datagram: &[u8]) -> Option<Step> {
        let flags = current.meta.flags;
        let (is_first, is_last) = (flags.has(Flags::BEGIN), flags.has(Flags::END));
        let in_turn = current.sequence == self.base;
        if is_first && is_last {
            let (place, range) = (current.place, current.range.clone());
            self.release_later(current, number + 1);
            return self.hand_out(number, current.meta.keyed, place, range, in_turn, datagram);
        }
        let mut assembly = core::mem::take(&mut self.assembly);
        let piece = self.place(current.place, datagram).get(current.range.clone()).unwrap_or_default();
        let total = current.meta.total.map_or(0, |total| total as usize);
        let outcome = match is_first {
            _ if number < self.expected => Piece::Stray,
            true if total > self.config.longest_message.saturating_add(KEY_LENGTH) => Piece::Wrong,
            true => assembly.begin(number, total, current.sequence, current.meta.keyed, piece),
            false => assembly.add(number, current.sequence, piece, is_last),
        };
        let (range, keyed) = (0..assembly.bytes().len(), assembly.keyed);
        self.assembly = assembly;
        self.finish(current, number);
        match outcome {
            Piece::Whole => self.hand_out(number, keyed, Place::Assembly, range, true, datagram),
            Piece::Wrong => {
                self.statistics.malformed += 1;
                Some(Step(StepKind::Event(self.lose(number + 1, Cause::Unreadable))))
            }
            Piece::Taken | Piece::Stray => None,
        }
    }

    /// A message, unless it was handed out before or is outdated.
    fn hand_out(
        &mut self,
        number: u64,
        keyed: bool,
        place: Place,
        range: Range<usize>,
        in_turn: bool,
        datagram: &[u8],
    ) -> Option<Step> {
        if number < self.expected {
            return None;
        }
        if in_turn {
            self.expected = number + 1;
        }
        if self.config.policy == Policy::Latest && keyed {
            let bytes = self.place(place, datagram).get(range.clone()).unwrap_or_default();
            let key = bytes.first_chunk().map_or(0, |key| u64::from_be_bytes(*key));
            if !self.latest.is_news(key, number) {
                return None;
            }
        }
        self.begins = false;
        self.statistics.messages += 1;
        self.statistics.message_bytes += range.len() as u64;
        Some(Step(StepKind::Message { number, keyed, place, range }))
    }

    /// A datagram of one message: its turn is over, but its bytes are still to be lent.
    fn release_later(&mut self, current: &Current, next: u64) {
        let flags = current.meta.flags.without(Flags::BEGIN.with(Flags::END)).with(Flags::BATCH);
        let meta = Meta { flags, ..current.meta };
        let range = current.range.end..current.range.end;
        self.current = Some(Current {
            sequence: current.sequence,
            place: current.place,
            meta,
            range,
            number: Some(next),
        });
    }

    /// A datagram has been handed out: `next` is the message behind its last.
    fn finish(&mut self, current: &Current, next: u64) {
        if current.sequence == self.base {
            self.pass_turn();
        } else {
            let first = self.number(current.meta.message);
            self.window.done(current.sequence, first, next.saturating_sub(first));
        }
    }

    fn pass_turn(&mut self) {
        self.window.release(self.base);
        self.base += 1;
        self.highest = self.highest.max(self.base);
        self.want_status_after_progress();
    }

    /// The whole number of which this is the lower half: the one nearest to what is expected.
    const fn number(&self, low: u32) -> u64 {
        let ahead = low.wrapping_sub(self.expected as u32) as i32;
        self.expected.saturating_add_signed(ahead as i64)
    }

    /// What lies between what is expected and this message is lost: an event for it.
    fn lost_before(&mut self, number: u64) -> Option<Step> {
        if number <= self.expected {
            return None;
        }
        let event = match self.bridging && self.abandoned.is_none() {
            true => self.want_newer_snapshot(number)?,
            false => self.lose(number, self.cause),
        };
        Some(Step(StepKind::Event(event)))
    }

    fn want_newer_snapshot(&mut self, message: u64) -> Option<Event> {
        self.held = true;
        Some(Event::SnapshotWanted { message })
    }

    /// Gives up all messages before this one.
    pub(super) fn lose(&mut self, end: u64, cause: Cause) -> Event {
        let first = self.expected;
        self.expected = end;
        self.assembly.abandon();
        self.statistics.lost_messages =
            self.statistics.lost_messages.saturating_add(end.saturating_sub(first));
        if cause == Cause::Unreadable {
            // It came, and is not delivered all the same.
            self.note_given_up(1);
        }
        self.react_to_loss(end, cause);
        Event::Lost { first, end, cause }
    }

    /// The sender's former life did not end its stream: what else it published nobody here knows.
    pub(super) fn lose_unknown(&mut self) -> Event {
        self.statistics.unknown_losses += 1;
        self.react_to_loss(self.expected, Cause::Restart);
        Event::LostUnknown { first: self.expected }
    }

    fn react_to_loss(&mut self, end: u64, cause: Cause) {
        let Policy::Reliable(on_loss) = self.config.policy else { return };
        match on_loss {
            OnLoss::Stop => self.stopped = true,
            // Nobody has a snapshot of a life that is over, or use for one when it stops.
            OnLoss::Snapshot if cause != Cause::Restart && self.abandoned.is_none() => {
                self.held = true;
                self.tell(Event::SnapshotWanted { message: end });
            }
            OnLoss::Snapshot | OnLoss::Continue => {}
        }
    }
}
