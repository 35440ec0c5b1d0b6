//! Timers and control datagrams: what heartbeats show; announcements, departures and evictions.

use alloc::vec::Vec;

use super::members::Departure;
use super::signing::{is_signed, write_room};
use super::{PublisherEvent, PublisherMachine};
use crate::ClockTime;
use crate::outbox::Target;
use crate::span::wire_micros;
use crate::times::publisher::{CHECK_INTERVAL, MAX_CHECK_DELAY};
use crate::wire::{
    Announce, DatagramWriter, Flags, FlowControl, Heartbeat, Kind, MINOR, ResetReason, SubscriberId,
    WriteError,
};

impl PublisherMachine {
    /// Runs the timers that are due.
    pub(super) fn run_timers(&mut self, now: ClockTime) {
        self.pacer.refill(now);
        self.scheduler.repairs.refill(now);
        self.refill_signatures(now);
        if self.intake.waiting_since().is_some_and(|since| now >= since + self.context.config.linger) {
            self.flush(now);
        }
        if now >= self.intake.manifest_due(self.signing.as_ref()) {
            self.flush_all(now);
        }
        if now >= self.check_at {
            // Before anything is judged by its age: time in which the process did not run does not count.
            let pause = now.since(self.check_at);
            if pause >= MAX_CHECK_DELAY {
                self.subscribers.extend_deadlines(now, pause);
                self.continuation.extend_deadlines(pause);
            }
            self.continuation.expire(now);
            self.check_at = now + CHECK_INTERVAL;
            self.remove_silent_subscribers(now);
            let verified = self.signed().verified_through;
            for id in self.subscribers.stalled(now, &self.ring, verified, self.context.config.eviction) {
                self.evict(now, id);
            }
            for id in self.rates.below_floor(now, &mut self.subscribers.members, self.context.config.eviction)
            {
                self.evict(now, id);
            }
            let (rates, mut at) = self.publishing();
            rates.check(now, &mut at);
            self.evaluate_acknowledgements(now);
        }
        self.advance_ending(now);
    }

    /// Queues a heartbeat.
    pub(super) fn heartbeat(&mut self, now: ClockTime) {
        self.subscribers.measure_round_trip();
        let round_trip = wire_micros(self.subscribers.round_trip).max(1);
        let group_size = u32::try_from(self.subscribers.members.len()).unwrap_or(u32::MAX);
        let sent = self.ring.sent;
        let (block, parity) = self.scheduler.parity.announced();
        let oldest = match self.context.config.flow {
            FlowControl::OneWay => self.scheduler.parity.sent_with_parity(now).max(self.ring.oldest_retained),
            _ => self.ring.oldest_retained,
        };
        let heartbeat = Heartbeat {
            next: sent,
            next_message: self.intake.message_at(sent, &self.ring),
            oldest_retained: oldest.min(sent),
            oldest_message: self.intake.message_at(oldest.min(sent), &self.ring),
            clock: now.0.max(1),
            unix_time: self.context.config.unix_offset.map_or(0, |offset| offset.wrapping_add(now.0)),
            rate: self.pacer.rate().unwrap_or(0),
            round_trip,
            group_size,
            backoff: self.context.config.backoff,
            flow: self.context.config.flow,
            min_minor: 0,
            max_minor: MINOR,
            status_interval: wire_micros(self.subscribers.members.status_interval()),
            datagram: self.context.config.datagram as u16,
            block,
            parity,
            capacity: u32::try_from(self.ring.capacity()).unwrap_or(u32::MAX),
        };
        let is_over = self.intake.is_closed() && sent == self.ring.next;
        let end = if is_over { Flags::END_OF_STREAM } else { Flags(0) };
        let acknowledge =
            if self.subscribers.acknowledgements.is_some() { Flags::ACKNOWLEDGE } else { Flags(0) };
        let flags = end.with(acknowledge).with(self.requested_statuses(now));
        let repairers = self.repairers_to_list(now);
        let provenance = self.provenance_to_show(repairers.extension_length());
        self.push_control(Target::Group, Kind::Heartbeat, flags, |writer| {
            provenance.write(writer)?;
            repairers.write(writer)?;
            heartbeat.write(writer)
        });
        self.scheduler.parity.record_announced();
        self.context.statistics.heartbeats += 1;
        self.scheduler.heartbeats.record_sent(
            now,
            self.subscribers.flow.is_blocked(),
            self.subscribers.round_trip,
            self.heartbeat_spacing(),
        );
    }

    /// Returns the flags that request the statuses without which the publisher cannot continue. As long as a window is
    /// full, only its subscriber can help: the statuses of all others, in a large group, would be in vain.
    fn requested_statuses(&mut self, now: ClockTime) -> Flags {
        match self.subscribers.flow.is_blocked() {
            true if self.subscribers.members.limit() <= self.ring.sent => Flags::URGENT.with(Flags::NO_ROOM),
            true => Flags::URGENT,
            false if self.requests_acknowledgements(now) => Flags::URGENT,
            false => Flags(0),
        }
    }

    /// Queues an announcement to the discovery group: the name and the paths of the stream.
    pub fn announce(&mut self, announce: &Announce<'_>) {
        self.push_control(Target::Discovery, Kind::Announce, Flags(0), |writer| announce.write(writer));
    }

    /// Queues a control datagram; returns its length in bytes.
    pub(super) fn push_control(
        &mut self,
        to: Target,
        kind: Kind,
        flags: Flags,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
    ) -> u64 {
        let length = self.push_uncharged(to, kind, flags, write);
        // A datagram to one address answers one from there that was at least as long.
        if to == Target::Group {
            self.pacer.charge(length);
        }
        length
    }

    /// Queues a control datagram whose bytes the rate has admitted; returns its length.
    pub(super) fn push_uncharged(
        &mut self,
        to: Target,
        kind: Kind,
        flags: Flags,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
    ) -> u64 {
        let count = self.sealer.next_control();
        let header = crate::wire::Header { flags, ..self.context.header(kind, count) };
        let mut salt = self.sealer.salt(&header);
        let Self { sealer, context, scheduler, signing, .. } = self;
        let mut signing = signing.as_mut().filter(|_| is_signed(kind));
        if signing.is_some() {
            salt = sealer.incarnation_salt();
        }
        if kind == Kind::Reset && signing.as_mut().is_some_and(|signing| !signing.may_reply()) {
            return 0;
        }
        let signer = signing.as_ref().map(|signing| signing.signer());
        let whole = |writer: &mut DatagramWriter<'_>| {
            writer.salt(salt)?;
            signer.map_or(Ok(()), |signer| write_room(signer, writer))?;
            write(writer)
        };
        let seal = |bytes: &mut Vec<u8>| {
            signing.is_none_or(|signing| signing.sign(bytes))
                && sealer.seal_control(&context.config.keys, &header, bytes)
        };
        scheduler.outbox.push(to, &header, whole, seal) as u64
    }

    fn remove_silent_subscribers(&mut self, now: ClockTime) {
        while let Some(id) = self.subscribers.silent(now, self.context.config.subscriber_timeout) {
            self.depart(id, Departure::Silent);
            self.context.events.push(PublisherEvent::SubscriberSilent(id));
        }
    }

    fn evict(&mut self, now: ClockTime, id: SubscriberId) {
        let Some((to, next)) = self.subscribers.evict(id) else { return };
        self.reset(to, id, ResetReason::Evicted);
        self.context.events.push(PublisherEvent::SubscriberEvicted(id, self.ring.sent.ahead_of(next)));
        self.evaluate_acknowledgements(now);
    }
}
