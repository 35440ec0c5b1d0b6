//! Selects the next datagram to send, as far as flow control permits, and computes the next deadline.

use core::time::Duration;

use super::PublisherMachine;
use crate::ClockTime;
use crate::outbox::{Control, Target};
use crate::wire::{HEADER_LENGTH, Heartbeat, Sequence};

/// Datagrams returned in one [`Transmit::Data`]: enough for several calls with segmentation offload.
const MAX_AT_ONCE: u64 = 132;

/// A datagram, or several, to be sent.
#[derive(Debug)]
pub enum Transmit {
    /// New data, to the group on each path: consecutive datagrams, whose bytes [`PublisherMachine::datagram`] returns.
    Data {
        /// The sequence of the first.
        first: Sequence,
        /// The number of datagrams.
        count: u64,
    },
    /// A repair: a datagram of data again.
    Repair {
        /// Its sequence.
        sequence: Sequence,
        /// Its destination.
        to: Target,
    },
    /// A control datagram. Return it to [`PublisherMachine::reuse`] after sending it.
    Control(Control),
}

impl PublisherMachine {
    /// Returns what to send now. Call it until it returns `None`; what it returned counts as sent.
    pub fn poll_transmit(&mut self, now: ClockTime) -> Option<Transmit> {
        if self.is_halted() {
            return None;
        }
        self.run_timers(now);
        self.assert_invariants();
        if let Some(control) = self.scheduler.outbox.pop() {
            return Some(Transmit::Control(control));
        }
        if let Some(repair) = self.next_repair(now) {
            return Some(repair);
        }
        if self.scheduler.heartbeats.at() <= now {
            self.heartbeat(now);
            return self.scheduler.outbox.pop().map(Transmit::Control);
        }
        if let Some(parity) = self.next_parity(now) {
            return Some(parity);
        }
        self.next_data(now)
    }

    /// Returns the bytes of a datagram of data.
    #[inline]
    #[must_use]
    pub fn datagram(&self, sequence: Sequence) -> &[u8] {
        self.ring.get(sequence)
    }

    /// Writes the path (0 to 3) into the flags of datagrams that are about to be sent.
    pub fn mark_path(&mut self, first: Sequence, count: u64, path: u8, is_repair: bool) {
        for sequence in Sequence::each(first..first + count.min(self.ring.len())) {
            if self.ring.contains(sequence) {
                self.ring.mark(sequence, path, is_repair);
            }
        }
    }

    /// Takes back a datagram that was sent, to reuse its buffer.
    pub fn reuse(&mut self, control: Control) {
        self.scheduler.outbox.reuse(control);
    }

    /// Returns the time by which to call [`poll_transmit`](Self::poll_transmit) again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        if self.is_halted() {
            return None;
        }
        if !self.scheduler.outbox.is_empty() {
            return Some(ClockTime(0));
        }
        let mut deadline =
            self.scheduler.deadline().min(self.check_at).min(self.rates.next_flight_time(&self.ring));
        deadline = deadline.min(self.subscribers.ending.deadline());
        if let Some(since) = self.intake.waiting_since() {
            deadline = deadline.min(since + self.context.config.linger);
        }
        deadline = deadline.min(self.intake.manifest_due(self.signing.as_ref())).min(self.parity_deadline());
        if self.ring.sent < self.ring.next
            && !self.subscribers.flow.is_blocked()
            && !self.scheduler.parity.is_waiting()
        {
            let length = self.ring.get(self.ring.sent).len() as u64;
            deadline = deadline.min(self.pacer.when(length));
        }
        deadline.unless_never()
    }

    fn next_data(&mut self, now: ClockTime) -> Option<Transmit> {
        let first = self.ring.sent;
        if first == self.ring.next || self.scheduler.parity.is_waiting() {
            return None;
        }
        let limit = self.data_limit(now);
        let end =
            self.ring.next.min(first + MAX_AT_ONCE.min(self.scheduler.parity.room())).min(limit.max(first));
        if end == first {
            self.block(now);
            return None;
        }
        self.subscribers.flow.unblock();
        let mut bytes = 0;
        let mut sequence = first;
        while sequence < end {
            let length = self.ring.get(sequence).len() as u64;
            debug_assert!(length > 0, "datagram {sequence} has left the buffer before it was sent");
            if !self.pacer.take_data(length) {
                break;
            }
            bytes += length;
            sequence += 1;
        }
        let count = sequence - first;
        if count == 0 {
            return None;
        }
        debug_assert!(sequence <= end && end <= self.ring.next, "data that is not complete would be sent");
        debug_assert!(count <= MAX_AT_ONCE, "more data at once than one call takes");
        self.ring.sent = sequence;
        self.record_signed(first, count);
        let signed = self.signed();
        self.scheduler.parity.record_sent(now, first, count, &self.ring, signed);
        self.context.statistics.datagrams += count;
        self.context.statistics.datagram_bytes += bytes;
        self.scheduler.record_data(now, bytes, self.subscribers.round_trip, self.heartbeat_spacing());
        Some(Transmit::Data { first, count })
    }

    /// Returns the first datagram that must not be sent yet.
    pub(super) fn data_limit(&mut self, now: ClockTime) -> Sequence {
        match self.context.config.has_flow_control() {
            true => self.subscribers.members.limit().min(self.rates.limit(
                now,
                &self.ring,
                &mut self.subscribers.members,
            )),
            false => Sequence::MAX,
        }
    }

    /// Schedules a heartbeat soon: subscribers answer it with their status.
    pub(super) fn request_statuses(&mut self) {
        self.scheduler.heartbeats.schedule_soon(self.subscribers.round_trip, self.heartbeat_spacing());
    }

    /// Returns the shortest time between two heartbeats that the rate admits.
    pub(super) fn heartbeat_spacing(&self) -> Duration {
        self.pacer.spacing((HEADER_LENGTH + Heartbeat::LENGTH + self.signature_length()) as u64)
    }
}
