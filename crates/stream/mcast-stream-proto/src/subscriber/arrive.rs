//! Datagrams as they arrive: on which path, and whether for the first time.

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::deliver::Current;
use super::event::{BodyLocation, PathStatistics, SubscriberEvent};
use super::followed::Followed;
use super::naks::{Arrival, Responder};
use super::window::Meta;
use super::{Policy, SubscriberMachine};
use crate::seal::{Purpose, Sealed};
use crate::wire::{DatagramView, Flags, KeyEpoch, Kind, Sequence, WireError};
use crate::{ClockTime, seal};

impl SubscriberMachine {
    /// Handles a datagram that arrived on a path (0 to 3) of the group, or on the subscriber's own port.
    ///
    /// Call [`poll_item`](Self::poll_item) with the same datagram until it returns `None`, before the next datagram is handled:
    /// messages that are not fetched count as not received.
    ///
    /// Cheap checks come first, then the seal. Nothing of a datagram is stored before it has passed both.
    pub fn handle_datagram(&mut self, now: ClockTime, path: u8, from: SocketAddr, datagram: &[u8]) {
        self.discard_unfetched(now);
        let view = match DatagramView::parse(datagram) {
            Ok(view) if view.header.stream == self.config.stream => view,
            Ok(_) | Err(WireError::Foreign) => {
                self.statistics.foreign += 1;
                return;
            }
            // A later version of the protocol may have further kinds.
            Err(WireError::UnknownKind(_)) => return,
            Err(_) => {
                self.statistics.malformed += 1;
                return;
            }
        };
        // With keys, nothing is accepted in clear text: otherwise a forger could omit the seal.
        if view.header.epoch == KeyEpoch::CLEAR && !self.config.keys.is_empty() {
            self.statistics.refused += 1;
            return;
        }
        match view.header.kind {
            kind if kind.is_in_sequence() => {
                let Some(arrival) = self.arrival_of(path, from, &view) else { return };
                match kind {
                    Kind::Manifest => self.on_manifest(now, arrival, from, datagram, &view),
                    _ => self.on_data(now, arrival, from, datagram, &view),
                }
            }
            kind if kind.is_from_subscribers() => return self.on_request(now, from, datagram, &view),
            Kind::Echo if view.subscriber().is_some() => {
                return self.on_repairer_echo(now, from, datagram, &view);
            }
            _ => self.on_control(now, path, from, datagram, &view),
        }
        self.recover_due(now);
    }

    fn on_data(
        &mut self,
        now: ClockTime,
        arrival: Arrival,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        if !self.is_followed(now, from, datagram, view) || !self.may_be_genuine(now, arrival, datagram, view)
        {
            return;
        }
        let (sequence, is_repair) = (Sequence(view.header.sequence), view.header.flags.has(Flags::REPAIR));
        // Copies count as well: the publisher compares this with the repairs that it sent.
        self.record_repair(arrival, is_repair);
        let is_current = self.followed.current.as_ref().is_some_and(|current| current.sequence == sequence);
        let is_new = match sequence.offset_from(self.followed.base) {
            None => false,
            Some(ahead) if ahead >= self.followed.window.length() => {
                self.discard_beyond(view, datagram, is_repair);
                return;
            }
            Some(_) => !self.followed.window.has(sequence) && !is_current,
        };
        if !is_new {
            self.statistics.copies += 1;
            self.record_arrival_path(now, arrival, false);
            return;
        }
        // The next datagram in order is always taken: until it is delivered, the others need their room.
        if sequence != self.followed.base
            && !self.followed.window.has_room(datagram.len() + self.followed.recovery.bytes())
        {
            self.discard_beyond(view, datagram, is_repair);
            return;
        }
        let Some((location, range)) = self.open(view, datagram) else { return };
        self.record_arrival_path(now, arrival, true);
        self.record_arrival(now, sequence, datagram.len(), arrival.repaired_by(is_repair));
        self.keep_copy(sequence, datagram);
        let meta = Meta::of(view);
        let is_delivered_now =
            sequence == self.followed.base && self.followed.current.is_none() && self.delivery.is_active()
                || self.config.policy == Policy::Latest
                    && meta.is_whole()
                    && meta.keyed
                    && self.followed.current.is_none()
                    && self.delivery.may_be_early();
        if is_delivered_now {
            self.followed.current = Some(Current::new(sequence, meta, location, range));
            return;
        }
        let body = match location {
            BodyLocation::Decrypted => self.decrypted.get(range),
            _ => datagram.get(range),
        };
        let Some(body) = body else {
            return impossible!(self, "the body of a datagram is outside of it");
        };
        debug_assert!(
            sequence.ahead_of(self.followed.base) < self.followed.window.length(),
            "a datagram beyond the window is buffered"
        );
        self.followed.window.buffer(sequence, meta, body);
        if self.delivery.is_buffering() {
            self.schedule_status_after_progress();
        }
    }

    /// Keeps a copy of a datagram that arrived, verified or not.
    #[inline]
    pub(super) fn keep_copy(&mut self, sequence: Sequence, datagram: &[u8]) {
        self.followed.recovery.keep(self.followed.base, sequence, datagram);
        self.followed.recovery.record_change(sequence);
        self.repairers.retain(sequence, datagram);
    }

    /// Forgets the copy of a datagram that was discarded: symbols may recover the genuine one.
    pub(super) fn forget_copy(&mut self, sequence: Sequence) {
        self.followed.recovery.forget(sequence);
        self.followed.recovery.record_change(sequence);
        self.repairers.discard(sequence);
    }

    /// Discards a datagram for which there is no room. When it counts as missing later, the link has not lost it.
    fn discard_beyond(&mut self, view: &DatagramView<'_>, datagram: &[u8], is_repair: bool) {
        self.statistics.beyond += 1;
        // One that the group did not seal must not hide a loss.
        if !is_repair && self.open(view, datagram).is_some() {
            self.losses.record_discarded(Sequence(view.header.sequence));
        }
    }

    /// Returns whether a datagram with a sequence is of the incarnation that is followed; asks another one for a heartbeat.
    pub(super) fn is_followed(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) -> bool {
        if !self.incarnations.is_current(view.header.incarnation) {
            self.statistics.other += 1;
            // A datagram that the group did not seal gets no reply.
            if self.may_ask_to_join(now, view.header.incarnation) && self.open(view, datagram).is_some() {
                self.ask_to_join(now, from, view.header.incarnation);
            }
            return false;
        }
        // A datagram longer than the publisher announces is forged, and would exceed the memory planned for the window.
        let is_too_long = self.followed.heartbeat.datagram != 0
            && datagram.len() > usize::from(self.followed.heartbeat.datagram);
        self.statistics.malformed += u64::from(is_too_long);
        !is_too_long
    }

    /// Returns where the body is, decrypted if it was sealed; `None` if the seal does not fit.
    pub(super) fn open(
        &mut self,
        view: &DatagramView<'_>,
        datagram: &[u8],
    ) -> Option<(BodyLocation, Range<usize>)> {
        let (header, head) = (&view.header, view.head.len());
        if header.epoch == KeyEpoch::CLEAR {
            return Some((BodyLocation::Datagram, head..datagram.len()));
        }
        let salt = view.salt();
        let sealed = match view.subscriber() {
            Some(id) if header.kind == Kind::Echo => Sealed::Subscriber(id),
            _ if self.incarnations.is_namesake(header.incarnation, salt) => {
                // Sealed by the group, but by another incarnation with the same number.
                self.statistics.refused += 1;
                return None;
            }
            _ if header.kind.is_in_sequence() => Sealed::Data(salt),
            _ => Sealed::Control(salt),
        };
        let Some(cipher) = self.ciphers.find(&self.config.keys, Purpose::of(header, sealed)) else {
            self.statistics.refused += 1;
            if self.reported.record_missing_key(header.epoch) {
                self.emit(SubscriberEvent::KeyMissing(header.epoch));
            }
            return None;
        };
        self.decrypted.clear();
        self.decrypted.extend_from_slice(datagram);
        match seal::open(cipher, header, &mut self.decrypted) {
            Some(end) => Some((BodyLocation::Decrypted, head..end)),
            None => {
                self.statistics.refused += 1;
                if self.reported.record_wrong_key(header.epoch) {
                    self.emit(SubscriberEvent::KeyWrong(header.epoch));
                }
                None
            }
        }
    }

    /// Accounts for the first copy of a datagram: opens the gap before it, or fills the gap that it was missing in.
    pub(super) fn record_arrival(
        &mut self,
        now: ClockTime,
        sequence: Sequence,
        length: usize,
        repaired_by: Option<Responder>,
    ) {
        self.statistics.received += 1;
        self.followed.naks.record_arrived(length);
        if repaired_by == Some(Responder::Repairer) {
            self.statistics.repaired_locally += 1;
            self.repairers.record_answer();
        }
        self.statistics.repaired += u64::from(repaired_by.is_some());
        if sequence >= self.followed.highest {
            self.record_sent_before(now, sequence);
            self.followed.highest = sequence + 1;
            return;
        }
        // It was counted as missed, and was only out of order.
        if repaired_by.is_none() {
            self.losses.record_overtaken();
        }
        self.followed.naks.fill(now, sequence, repaired_by);
    }

    /// Notes that everything before `end` has been sent: what did not arrive of it is a gap.
    pub(super) fn record_sent_before(&mut self, now: ClockTime, end: Sequence) {
        // There is no room for what is beyond the window: a repair of it would be discarded.
        let end = end.min(self.followed.base + self.followed.window.length());
        let first = self.followed.highest.max(self.followed.base);
        if first >= end {
            return;
        }
        debug_assert!(end > self.followed.highest, "what is known to have been sent grows");
        self.followed.highest = end;
        let due =
            now + self.followed.naks.reorder_guard(self.round_trip()) + self.parity_delay() + self.backoff();
        let (Followed { verification, naks, .. }, statistics) = (&mut self.followed, &mut self.statistics);
        for missing in verification.stage.missing(first..end) {
            statistics.missed += missing.end - missing.start;
            self.losses.record_missing(missing.start, missing.end);
            naks.open_gap(missing, now, due);
        }
    }

    pub(super) fn record_path(&mut self, now: ClockTime, path: u8, first: bool) {
        self.paths.received(path, first);
        self.record_path_activity(now, path);
    }

    /// Does the same for a datagram that may have been recovered, which arrived on no path.
    pub(super) fn record_arrival_path(&mut self, now: ClockTime, arrival: Arrival, first: bool) {
        if let Arrival::Path(path) = arrival {
            self.record_path(now, path, first);
        }
    }

    pub(super) fn record_path_activity(&mut self, now: ClockTime, path: u8) {
        if let Some(event) = self.paths.record_activity(path, now) {
            self.emit(event);
        }
    }

    /// Treats a datagram that was handled and not fetched as not received.
    fn discard_unfetched(&mut self, now: ClockTime) {
        let is_lent = |current: &mut Current| {
            matches!(current.location, BodyLocation::Datagram | BodyLocation::Decrypted)
        };
        if let Some(current) = self.followed.current.take_if(is_lent)
            && current.sequence >= self.followed.base
        {
            let due = now + self.round_trip();
            self.followed.naks.reopen(current.sequence, now, due);
            self.followed.recovery.forget(current.sequence);
        }
    }
}

/// The header has two bits for the path.
const MAX_PATHS: usize = 4;

#[derive(Debug)]
pub(super) struct Paths {
    all: [PathStatistics; MAX_PATHS],
    /// Repairs that arrived on each path, including copies.
    repairs: [u64; MAX_PATHS],
    used: usize,
}

impl Paths {
    pub(super) fn new(paths: u8) -> Self {
        let all = [PathStatistics::default(); MAX_PATHS];
        Self { all, repairs: [0; MAX_PATHS], used: usize::from(paths).clamp(1, MAX_PATHS) }
    }

    pub(super) fn statistics(&self) -> &[PathStatistics] {
        &self.all[..self.used]
    }

    /// Takes all paths as active at `now`.
    pub(super) fn begin(&mut self, now: ClockTime) {
        for path in &mut self.all {
            path.heard = now;
        }
    }

    #[inline]
    pub(super) fn record_activity(&mut self, path: u8, now: ClockTime) -> Option<SubscriberEvent> {
        let path = usize::from(path).min(self.used - 1);
        self.all[path].heard = now;
        core::mem::take(&mut self.all[path].silent).then_some(SubscriberEvent::PathBack(path as u8))
    }

    #[inline]
    pub(super) fn received(&mut self, path: u8, first: bool) {
        let path = usize::from(path).min(self.used - 1);
        self.all[path].received += 1;
        self.all[path].first += u64::from(first);
    }

    /// Notes a repair, whether it is a copy or not.
    #[inline]
    pub(super) fn record_repair(&mut self, path: u8) {
        let path = usize::from(path).min(self.used - 1);
        self.repairs[path] += 1;
    }

    /// Returns the number of repairs on the path on which most arrived.
    pub(super) fn repairs(&self) -> u64 {
        self.repairs.iter().copied().max().unwrap_or(0)
    }

    /// When a path next becomes silent; never unless something arrives before.
    pub(super) fn next_silence_check(&self, silence: Duration) -> ClockTime {
        self.silent_from(silence).map(|(_, at)| at).min().unwrap_or(ClockTime::NEVER)
    }

    /// Returns an event for a path on which nothing arrived for this time while another one was active.
    pub(super) fn take_silent(&mut self, now: ClockTime, silence: Duration) -> Option<SubscriberEvent> {
        let (index, _) = self.silent_from(silence).find(|(_, at)| now >= *at)?;
        self.all[index].silent = true;
        Some(SubscriberEvent::PathSilent(index as u8))
    }

    /// Returns the paths that are silent from a known time on, because another one was active shortly before that time.
    /// It does not depend on the present time: a check that comes late must find the same, or it would be due forever.
    fn silent_from(&self, silence: Duration) -> impl Iterator<Item = (usize, ClockTime)> {
        let paths = self.statistics();
        let active_until = paths.iter().map(|path| path.heard).max().unwrap_or_default() + silence / 2;
        let at = move |path: &PathStatistics| path.heard + silence + Duration::from_nanos(1);
        let due = paths.iter().enumerate().filter(|(_, path)| !path.silent);
        due.map(move |(index, path)| (index, at(path))).filter(move |(_, at)| *at <= active_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_nanos(1_000);

    #[test]
    fn a_path_is_silent_once_while_another_is_active() {
        let mut paths = Paths::new(2);
        paths.begin(ClockTime(0));
        assert_eq!(paths.next_silence_check(SILENCE), ClockTime::NEVER, "both may be idle");
        paths.record_activity(1, ClockTime(600));
        let due = paths.next_silence_check(SILENCE);
        assert_eq!(due, ClockTime(1_001));
        assert_eq!(paths.take_silent(due - Duration::from_nanos(1), SILENCE), None);
        assert_eq!(
            paths.take_silent(due + Duration::from_nanos(5_000), SILENCE),
            Some(SubscriberEvent::PathSilent(0)),
            "late"
        );
        assert_eq!(
            (paths.take_silent(due, SILENCE), paths.next_silence_check(SILENCE)),
            (None, ClockTime::NEVER)
        );
        assert_eq!(paths.record_activity(0, ClockTime(7_000)), Some(SubscriberEvent::PathBack(0)));
    }

    /// A deadline that has passed and changes nothing would make a subscriber poll without a pause.
    #[test]
    fn no_check_is_due_after_a_check() {
        for active in (0..3_000).step_by(100) {
            let mut paths = Paths::new(3);
            paths.begin(ClockTime(0));
            paths.record_activity(1, ClockTime(active));
            for now in (0..6_000).step_by(50).map(ClockTime) {
                while paths.take_silent(now, SILENCE).is_some() {}
                assert!(paths.next_silence_check(SILENCE) > now, "active until {active}, at {now:?}");
            }
        }
    }
}
