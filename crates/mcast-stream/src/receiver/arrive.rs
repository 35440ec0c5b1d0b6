//! Datagrams as they come.

use core::net::SocketAddr;
use core::ops::Range;

use super::ask::LEAST_GUARD;
use super::deliver::Current;
use super::event::Event;
use super::item::Place;
use super::window::Meta;
use super::{Policy, Receiver};
use crate::seal::{self, Purpose, Sealed};
use crate::wire::{KeyEpoch, Kind, Packet, WireError};

/// What came out of order by more is lost, or as good as.
const LONGEST_REORDERING: u64 = 250_000_000;

/// What takes longer was lost on the way, or waited for something else.
const LONGEST_REPAIR: u64 = 2_000_000_000;

impl Receiver {
    /// Takes a datagram that came on a path (0 to 3) of the group, or to the receiver's own port.
    ///
    /// [`next`](Self::next) must be asked until there is nothing, with the same datagram, before the next is
    /// handled: what is not fetched is as if it had not come.
    ///
    /// What costs nothing to check is checked first, then whether the group sealed it; nothing is
    /// kept of it before that.
    pub fn handle(&mut self, now: u64, path: u8, from: SocketAddr, datagram: &[u8]) {
        self.forget_lent(now);
        let packet = match Packet::parse(datagram) {
            Ok(packet) if packet.header.stream == self.config.stream => packet,
            Ok(_) | Err(WireError::Foreign) => {
                self.statistics.foreign += 1;
                return;
            }
            // Of a later version.
            Err(WireError::UnknownKind(_)) => return,
            Err(_) => {
                self.statistics.malformed += 1;
                return;
            }
        };
        if packet.header.epoch == KeyEpoch::CLEAR && !self.config.keys.is_empty() {
            self.statistics.refused += 1;
            return;
        }
        match packet.header.kind {
            Kind::Data => self.on_data(now, path, from, datagram, &packet),
            kind if kind.is_from_receivers() => self.statistics.foreign += 1,
            _ => self.on_control(now, path, from, datagram, &packet),
        }
    }

    fn on_data(&mut self, now: u64, path: u8, from: SocketAddr, datagram: &[u8], packet: &Packet<'_>) {
        if self.incarnation != Some(packet.header.incarnation) {
            self.statistics.other += 1;
            // Who only claims to be sealed by the group gets no answer.
            if self.may_ask_to_join(now, packet.header.incarnation) && self.open(packet, datagram).is_some() {
                self.ask_to_join(now, from, packet.header.incarnation);
            }
            return;
        }
        // No datagram is longer than its sender says; one that is would take memory that nobody counts on.
        if self.heartbeat.datagram != 0 && datagram.len() > usize::from(self.heartbeat.datagram) {
            self.statistics.malformed += 1;
            return;
        }
        let sequence = packet.header.sequence;
        let is_current = self.current.as_ref().is_some_and(|current| current.sequence == sequence);
        let is_new = match sequence.checked_sub(self.base) {
            None => false,
            Some(ahead) if ahead >= self.window.length() => {
                self.statistics.beyond += 1;
                return;
            }
            Some(_) => !self.window.has(sequence) && !is_current,
        };
        if !is_new {
            self.statistics.copies += 1;
            self.note_path(now, path, false);
            return;
        }
        if sequence != self.base && !self.window.has_room(datagram.len()) {
            self.statistics.beyond += 1;
            return;
        }
        let Some((place, range)) = self.open(packet, datagram) else { return };
        self.note_path(now, path, true);
        self.note_arrival(now, sequence, packet.header.flags.has(crate::wire::Flags::REPAIR));
        let meta = Meta::of(packet);
        let at_once = sequence == self.base && self.current.is_none() && self.hands_out()
            || self.config.policy == Policy::Latest && meta.is_whole() && meta.keyed && self.may_go_ahead();
        if at_once {
            self.current = Some(Current::new(sequence, meta, place, range));
            return;
        }
        let body = match place {
            Place::Opened => self.opened.get(range),
            _ => datagram.get(range),
        };
        self.window.keep(sequence, meta, body.unwrap_or_default());
        if self.aside {
            self.want_status_after_progress();
        }
    }

    /// Whether anything is handed out at present.
    pub(super) const fn hands_out(&self) -> bool {
        !self.held && !self.aside
    }

    /// Whether a datagram may be handed out before its turn.
    const fn may_go_ahead(&self) -> bool {
        self.current.is_none() && self.hands_out() && !self.bridging && !self.stopped
    }

    /// Where the body lies, uncovered if it was sealed.
    pub(super) fn open(&mut self, packet: &Packet<'_>, datagram: &[u8]) -> Option<(Place, Range<usize>)> {
        let (header, head) = (&packet.header, packet.head.len());
        if header.epoch == KeyEpoch::CLEAR {
            return Some((Place::Lent, head..datagram.len()));
        }
        let salt = packet.salt();
        if self.incarnation == Some(header.incarnation) && self.salt != 0 && salt != self.salt {
            // Of a life that took the number of this one: sealed by the group, but no part of this stream.
            self.statistics.refused += 1;
            return None;
        }
        let sealed = if header.kind == Kind::Data { Sealed::Data(salt) } else { Sealed::Control(salt) };
        let Some(cipher) = self.ciphers.find(&self.config.keys, Purpose::of(header, sealed)) else {
            self.statistics.refused += 1;
            if self.key_missing != header.epoch {
                self.key_missing = header.epoch;
                self.tell(Event::KeyMissing(header.epoch));
            }
            return None;
        };
        self.opened.clear();
        self.opened.extend_from_slice(datagram);
        match seal::open(cipher, header, &mut self.opened) {
            Some(end) => Some((Place::Opened, head..end)),
            None => {
                self.statistics.refused += 1;
                if self.key_wrong != header.epoch {
                    self.key_wrong = header.epoch;
                    self.tell(Event::KeyWrong(header.epoch));
                }
                None
            }
        }
    }

    /// Takes note of a datagram that came for the first time: of gaps that it shows or fills.
    fn note_arrival(&mut self, now: u64, sequence: u64, is_repair: bool) {
        self.statistics.received += 1;
        if sequence >= self.highest {
            self.notice(now, sequence);
            self.highest = sequence + 1;
            return;
        }
        self.statistics.repaired += u64::from(is_repair);
        let Some(gap) = self.gaps.fill(sequence) else { return };
        if !is_repair {
            let late = now.saturating_sub(gap.noticed).min(LONGEST_REORDERING);
            self.reordering = late.max(self.reordering - self.reordering / 64);
        } else if gap.tries == 1 {
            // Of what was asked for twice nobody knows which request was answered.
            self.measure_repair(now.saturating_sub(gap.asked));
            // Repairs come in the order in which they were asked for: what was asked for before is lost again.
            let due = now + LEAST_GUARD;
            if self.gaps.overtaken(gap.asked, sequence, due) {
                self.nak_at = self.nak_at.min(due);
            }
        }
        if self.gaps.is_empty() {
            self.nak_at = u64::MAX;
        }
    }

    /// How long repairs take, smoothed, and how much that differs: as RFC 6298 has it.
    fn measure_repair(&mut self, took: u64) {
        let took = took.min(LONGEST_REPAIR);
        if self.repair_time == 0 {
            (self.repair_time, self.repair_spread) = (took, took / 2);
            return;
        }
        self.repair_spread =
            self.repair_spread - self.repair_spread / 4 + self.repair_time.abs_diff(took) / 4;
        self.repair_time = self.repair_time - self.repair_time / 8 + took / 8;
    }

    /// Everything up to before this must have been sent: what is missing is a gap.
    pub(super) fn notice(&mut self, now: u64, end: u64) {
        let end = end.min(self.base + self.window.length());
        let first = self.highest.max(self.base);
        if first >= end {
            return;
        }
        self.highest = end;
        self.statistics.missed += end - first;
        let due = now + self.reorder_guard() + self.backoff();
        self.gaps.open(first, end, now, due);
        self.nak_at = self.nak_at.min(due);
    }

    pub(super) fn note_path(&mut self, now: u64, path: u8, first: bool) {
        self.paths.received(path, first);
        self.hear_path(now, path);
    }

    pub(super) fn hear_path(&mut self, now: u64, path: u8) {
        if let Some(event) = self.paths.heard(path, now) {
            self.tell(event);
        }
    }

    /// What was lent and not fetched is as if it had not come.
    fn forget_lent(&mut self, now: u64) {
        let is_lent = |current: &mut Current| matches!(current.place, Place::Lent | Place::Opened);
        if let Some(current) = self.current.take_if(is_lent)
            && current.sequence >= self.base
        {
            let due = now + self.round_trip();
            self.gaps.reopen(current.sequence, now, due);
            self.nak_at = self.nak_at.min(due);
        }
    }
}
