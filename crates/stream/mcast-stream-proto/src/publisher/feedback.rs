//! Handles the datagrams of subscribers: probes, NAKs and statuses.

use core::net::SocketAddr;

use super::directory::can_repair;
use super::members::{Departure, End, Progress, Role};
use super::repair_flow::RepairFlow;
use super::{PublisherEvent, PublisherMachine};
use crate::ClockTime;
use crate::outbox::Target;
use crate::wire::{
    Acknowledgement, AddressToken, DatagramView, Flags, FlowControl, HEADER_LENGTH, Header, Heartbeat,
    KeyEpoch, Kind, Nak, Probe, Reset, ResetReason, Status, SubscriberId, TAG_LENGTH,
};

/// Bytes that the salt and the tag add to a sealed datagram of the publisher.
const SEALED_EXTRA: usize = 12 + TAG_LENGTH;
/// How a subscriber receives the stream, which decides whether its losses count against the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    /// It receives the stream as it is sent.
    Steady,
    /// It has just joined, and requests older datagrams.
    CatchingUp,
    /// It received nothing for a while: it was stopped, cut off, or had no key.
    Interrupted,
}

/// A status, as far as it shows what a link carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusReport<'a> {
    pub(super) id: SubscriberId,
    pub(super) status: &'a Status,
    pub(super) reception: Reception,
    pub(super) is_first: bool,
}

impl PublisherMachine {
    /// Handles a datagram received on the publisher's own port.
    ///
    /// The order of checks is: cheap checks of the header, the seal, then whether the subscriber has proven its
    /// address. No state is kept for a subscriber before that.
    pub fn handle_datagram(&mut self, now: ClockTime, from: SocketAddr, datagram: &[u8]) {
        if self.context.config.flow == FlowControl::OneWay || self.is_halted() {
            self.context.statistics.refused += 1;
            return;
        }
        let Ok(view) = DatagramView::parse(datagram) else {
            self.context.statistics.foreign += 1;
            return;
        };
        let header = view.header;
        let is_mine = header.stream == self.context.config.stream
            && header.incarnation == self.context.config.incarnation;
        let Some(id) = view.subscriber().filter(|_| is_mine && header.kind.is_from_subscribers()) else {
            self.context.statistics.foreign += 1;
            return;
        };
        if !self.subscribers.members.is_new(id, header.sequence)
            || self.context.seals() && header.epoch == KeyEpoch::CLEAR
        {
            self.context.statistics.refused += 1;
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(datagram);
        let member = self.subscribers.members.get_mut(id);
        match self.sealer.open(&self.context.config.keys, id, member, &header, &mut scratch) {
            Some(end) => {
                if let Some(body) = scratch.get(view.head.len()..end) {
                    self.take_from(now, id, from, &view, body);
                }
            }
            None => self.context.statistics.refused += 1,
        }
        self.scratch = scratch;
    }

    fn take_from(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        from: SocketAddr,
        view: &DatagramView<'_>,
        body: &[u8],
    ) {
        let header = &view.header;
        match header.kind {
            Kind::Probe => {
                if let Ok(Probe { clock, .. }) = Probe::read(body) {
                    self.record_joining(now, id);
                    self.echo(now, id, from, clock);
                }
            }
            Kind::Nak => {
                // An empty NAK is shorter than the echo that would answer it.
                if let Ok(nak) = Nak::read(body)
                    && nak.missing.clone().next().is_some()
                    && self.admit(now, id, from, header, nak.token)
                {
                    self.on_nak(now, id, nak.missing);
                }
            }
            Kind::Status => {
                if let Ok(status) = Status::read(body) {
                    self.take_status(now, id, from, view, &status);
                }
            }
            _ => {}
        }
    }

    fn take_status(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        from: SocketAddr,
        view: &DatagramView<'_>,
        status: &Status,
    ) {
        if status.flags & Status::JOINING != 0 {
            self.record_joining(now, id);
            return self.heartbeat_on_demand(now, view.head.len() + view.body.len());
        }
        if self.admit(now, id, from, &view.header, status.token) {
            self.record_acknowledgement(now, id, view, status);
            self.record_leave(id, view, status);
            self.on_status(now, id, from, view.header.sequence, status);
            self.evaluate_after_report(now);
        }
    }

    /// Returns whether the subscriber has proven its address and is a member; adds it if it is new. A datagram from an
    /// unproven address only causes an echo, with which the subscriber can prove the address.
    fn admit(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        from: SocketAddr,
        header: &Header,
        token: AddressToken,
    ) -> bool {
        if !self.subscribers.proof.is_valid(now, from, token) {
            self.context.statistics.unproven += 1;
            self.echo(now, id, from, 0);
            return false;
        }
        let sent = self.ring.sent;
        if self.subscribers.members.get(id).is_none() {
            if self.subscribers.members.len() >= self.context.config.most_subscribers {
                self.context.statistics.refused += 1;
                self.reset(from, id, ResetReason::Full);
                self.context.events.push(PublisherEvent::SubscriberRefused(id, from));
                return false;
            }
            let repairs = RepairFlow::new(
                self.context.config.repair_floor,
                self.context.config.datagram,
                &self.scheduler.repairs.group.sent,
                now,
            );
            self.subscribers.members.join(id, from, now, repairs, sent);
            // It did not run when this publisher began, or begins late: what it lost before is not a loss of the link.
            let is_late = now.since(self.scheduler.data_resumed_at) > self.subscribers.longest_silence();
            if let Some(member) = self.subscribers.members.get_mut(id) {
                member.progress.acknowledgements.join(self.intake.next_message());
                if is_late {
                    member.link.begin_at(sent);
                }
            }
        }
        let Some(member) = self.subscribers.members.get_mut(id) else {
            impossible!(self, "a subscriber that was just admitted is missing");
            return false;
        };
        member.progress.counts.note(header.sequence);
        (member.last_heard, member.address) = (now, from);
        true
    }

    /// Schedules a heartbeat for a subscriber that joins, if the bytes of such requests have paid for it.
    fn heartbeat_on_demand(&mut self, now: ClockTime, paid: usize) {
        let sealed = if self.context.seals() { SEALED_EXTRA } else { 0 };
        let extensions = self.provenance_to_show(0).extension_length() + self.signature_length();
        let length = HEADER_LENGTH + extensions + Heartbeat::LENGTH + sealed;
        let price = (length * usize::from(self.context.config.paths.max(1))) as u64;
        self.scheduler.heartbeats.request(now, paid as u64, price);
    }

    /// Notes what the application of a subscriber that leaves was given.
    fn record_leave(&mut self, id: SubscriberId, view: &DatagramView<'_>, status: &Status) {
        let given = Acknowledgement::of(view).filter(|_| status.flags & Status::LEAVING != 0);
        if let Some(member) = self.subscribers.members.get_mut(id) {
            member.progress.given = given.map(|given| given.received);
        }
    }

    fn on_status(&mut self, now: ClockTime, id: SubscriberId, from: SocketAddr, count: u64, status: &Status) {
        self.context.statistics.statuses += 1;
        // No subscriber can have data that was never sent.
        if status.next > self.ring.sent {
            self.context.statistics.refused += 1;
            return;
        }
        let sent = self.ring.sent;
        // It may have learned of more from a forged heartbeat.
        let status = &Status { highest: status.highest.min(sent), ..*status };
        let is_near = sent - status.next <= self.ring.capacity() / 4;
        let (group_round_trip, verified_through) =
            (self.subscribers.round_trip, self.signed().verified_through);
        let Some(member) = self.subscribers.members.get_mut(id) else { return };
        let (was_incomplete, before) = (member.progress.is_incomplete(), member.role);
        member.progress.record_reading(status, count);
        let silence = member.record(status, now, group_round_trip, sent, verified_through);
        // Nobody receives anything new while the stream pauses.
        let silence = silence.min(now.since(self.scheduler.data_resumed_at));
        let has_room = member.has_ample_room() && member.room_end() > sent;
        member.role = match before {
            _ if status.flags & Status::PASSIVE != 0 => Role::BestEffort,
            // Far behind, or without room, it would soon delay the others again.
            Role::Evicted if !(is_near && has_room) || self.rates.is_below_floor(&member.link) => {
                Role::Evicted
            }
            _ => Role::Awaited,
        };
        member.repairs_for_others = can_repair(status);
        let role = member.role;
        self.subscribers.ending.record_joined(id);
        let has_returned = before == Role::Evicted && role == Role::Awaited;
        if has_returned {
            (member.returned, member.advanced.1) = (Some(now), now);
        }
        let progress = member.progress;
        debug_assert!(progress.next <= sent, "a subscriber has what was never sent");
        debug_assert!(member.highest <= sent, "a subscriber knows of what was never sent");
        self.subscribers.members.changed(id);
        let reception = match status.flags & Status::CATCHING_UP {
            _ if has_returned || silence > self.subscribers.longest_silence() => Reception::Interrupted,
            0 => Reception::Steady,
            _ => Reception::CatchingUp,
        };
        let is_first = before == Role::Unknown;
        let (rates, mut at) = self.publishing();
        let report = StatusReport { id, status, reception, is_first };
        rates.observe(now, report, &mut at);
        if reception == Reception::Steady {
            self.observe_parity(now, id);
        }
        if is_first && role == Role::Awaited {
            self.context.events.push(PublisherEvent::SubscriberJoined(id, from));
            self.subscribers.is_superseded = false;
        }
        // One that requests no repairs expects losses.
        if progress.is_incomplete() && !was_incomplete && role != Role::BestEffort {
            let Progress { given_up: datagrams, lost_messages: messages, .. } = progress;
            self.context.events.push(PublisherEvent::SubscriberIncomplete {
                subscriber: id,
                datagrams,
                messages,
            });
        }
        if has_returned {
            self.context.events.push(PublisherEvent::SubscriberReturned(id));
        }
        if status.flags & Status::LEAVING != 0 {
            if let Some(member) = self.subscribers.members.get_mut(id) {
                // The last status decides: buffered data may never have reached the application.
                member.progress.end = End::of(status);
            }
            let has_failed = status.flags & Status::FAILED != 0;
            self.depart(id, if has_failed { Departure::Failed } else { Departure::Left });
            if has_failed {
                self.context.events.push(PublisherEvent::SubscriberFailed(id));
            } else if role != Role::BestEffort {
                // One that requests no repairs was not reported as joined.
                self.context.events.push(PublisherEvent::SubscriberLeft(id));
            }
            if status.flags & Status::SUPERSEDED != 0
                && !core::mem::replace(&mut self.subscribers.is_superseded, true)
            {
                self.context.events.push(PublisherEvent::Superseded(id));
            }
        } else if self.intake.is_closed() && progress.end == End::Delivered {
            // The subscriber repeats this status until the reset arrives.
            self.reset(from, id, ResetReason::EndConfirmed);
        }
    }

    pub(super) fn depart(&mut self, id: SubscriberId, departure: Departure) {
        self.scheduler.repairs.cancel(id, &mut self.subscribers.members, &mut self.ring);
        let forgotten = self.subscribers.depart(id, departure, self.intake.next_message());
        if let Some(standing) = forgotten.and_then(|forgotten| self.standing_of_departed(&forgotten)) {
            self.subscribers.forgotten.add(standing);
        }
    }

    /// Sends an echo, which is no longer than the datagram that it answers and returns the clock of a probe. Echoes to
    /// addresses that have not proven themselves recently are limited.
    fn echo(&mut self, now: ClockTime, id: SubscriberId, from: SocketAddr, clock: u64) {
        let member = self.subscribers.members.get(id).filter(|member| member.address == from);
        let to = match member.is_some_and(|member| now.since(member.last_heard) <= self.subscribers.recent())
        {
            true => Target::Address(from),
            false if self.subscribers.echo_limit.admits(now) => Target::Aside(from),
            false => {
                self.context.statistics.echoes_refused += 1;
                return;
            }
        };
        let echo = Probe { clock, token: self.subscribers.proof.token(now, from), subscriber: id };
        self.push_control(to, Kind::Echo, Flags(0), |writer| echo.write(writer));
    }

    /// Notes datagrams to single addresses that a socket did not accept. They count as lost on the network.
    pub const fn on_not_sent(&mut self, datagrams: u64) {
        self.context.statistics.not_sent += datagrams;
    }

    pub(super) fn reset(&mut self, to: SocketAddr, id: SubscriberId, reason: ResetReason) {
        let reset = Reset { subscriber: id, reason };
        self.push_control(Target::Address(to), Kind::Reset, Flags(0), |writer| reset.write(writer));
    }
}
