//! Local repair: the choice of a repairer, and the answers to those who have chosen this subscriber.

use core::net::SocketAddr;

use super::SubscriberMachine;
use super::arrive::Arrival;
use super::item::BodyLocation;
use crate::outbox::Target;
use crate::repairer::{Answer, Request};
use crate::wire::{AddressToken, DatagramView, Kind, Probe, RepairerList, Sequence};
use crate::{ClockTime, Nanos};

/// The longest time before the same datagram is sent to the same subscriber again.
const MAX_HOLDOFF: Nanos = Nanos::SECOND;

impl SubscriberMachine {
    /// Whether it repairs for others.
    pub(super) fn repairs_for_others(&self) -> bool {
        self.repairer.is_some() && !self.sends_nothing() && !self.has_left && !self.delivery.has_stopped()
    }

    /// Handles the probe or the NAK of another subscriber.
    pub(super) fn on_request(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        let header = view.header;
        let is_request = matches!(header.kind, Kind::Probe | Kind::Nak)
            && self.incarnations.is_current(header.incarnation)
            && self.repairs_for_others();
        let other = view.subscriber().filter(|id| is_request && *id != self.id);
        let round_trip = self.group_round_trip().min(MAX_HOLDOFF);
        let (Some(subscriber), Some(repairer)) = (other, &mut self.repairer) else {
            self.statistics.foreign += 1;
            return;
        };
        let request = Request { now, subscriber, from, view, datagram };
        let stage = &self.followed.verification.stage;
        match repairer.handle(&request, &self.config.keys, round_trip, |sequence| stage.has(sequence)) {
            Answer::Echo(clock, token) => {
                let echo = Probe { clock, token, subscriber };
                self.push_control(Target::Aside(from), header.incarnation, Kind::Echo, |writer| {
                    echo.write(writer)
                });
            }
            Answer::Repairs(repaired, refused) => {
                self.statistics.local_naks += u64::from(repaired > 0);
                self.statistics.local_refused += refused;
            }
            Answer::Refused => self.statistics.local_refused += 1,
        }
    }

    /// Queues the next repair for another subscriber.
    pub(super) fn send_local_repair(&mut self, now: ClockTime) {
        if !self.repairs_for_others() {
            return;
        }
        if let Some((to, datagram)) = self.repairer.as_mut().and_then(|repairer| repairer.next(now)) {
            self.statistics.local_repairs += 1;
            self.statistics.local_repair_bytes += datagram.len() as u64;
            self.outbox.push_copy(Target::Aside(to), datagram);
        }
    }

    /// Returns when the next repair for another subscriber is due.
    pub(super) fn local_repair_at(&self) -> ClockTime {
        let repairer = self.repairer.as_ref().filter(|_| self.repairs_for_others());
        repairer.map_or(ClockTime::NEVER, |repairer| repairer.next_time())
    }

    /// Takes the list of repairers in a heartbeat, if it has one, and chooses one of them if none is chosen.
    pub(super) fn record_repairers(&mut self, now: ClockTime, view: &DatagramView<'_>) {
        if let Some(list) = RepairerList::of(view) {
            self.repairers.record_list(list);
        }
        self.choose_repairer(now);
    }

    /// Chooses a repairer, if this subscriber has lost anything, and knows how far the publisher is.
    fn choose_repairer(&mut self, now: ClockTime) {
        let is_needed = self.requests_repairs()
            && self.publisher.round_trip() > Nanos::ZERO
            && self.losses.missed(&self.statistics) > 0;
        if is_needed && self.repairers.is_to_choose() {
            self.followed.naks.forget_repairer();
            self.repairers.choose(now, self.id, self.publisher.get(), self.followed.heartbeat.group_size);
        }
    }

    /// Gives up the repairer, which has sent what the publisher did not.
    pub(super) fn distrust_repairer(&mut self, now: ClockTime) {
        self.repairers.give_up(now);
        self.replace_repairer(now);
    }

    /// Requests of the publisher what was requested of a repairer that was given up, and chooses another one.
    fn replace_repairer(&mut self, now: ClockTime) {
        self.followed.naks.stop_awaiting_repairer(now);
        self.choose_repairer(now);
    }

    /// Returns when the next probe of the repairer is due.
    pub(super) fn repairer_probe_at(&self) -> ClockTime {
        let is_idle =
            self.followed.liveness.is_silent() || self.delivery.has_ended() || !self.requests_repairs();
        if is_idle { ClockTime::NEVER } else { self.repairers.probe_at() }
    }

    /// Proves this subscriber's address to the repairer, and measures the round trip to it.
    pub(super) fn probe_repairer(&mut self, now: ClockTime) {
        let Some(incarnation) = self.incarnations.current() else { return };
        match self.repairers.probe(now) {
            Some(to) => {
                let probe = Probe { clock: now.0, token: AddressToken::NONE, subscriber: self.id };
                self.push_control(Target::Aside(to), incarnation, Kind::Probe, |writer| probe.write(writer));
            }
            None => self.replace_repairer(now),
        }
    }

    /// Handles the echo of a repairer.
    pub(super) fn on_repairer_echo(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        if !self.repairers.is_chosen(from) || !self.incarnations.is_current(view.header.incarnation) {
            self.statistics.other += 1;
            return;
        }
        let Some((location, range)) = self.open(view, datagram) else { return };
        let body = match location {
            BodyLocation::Decrypted => self.decrypted.get(range),
            _ => datagram.get(range),
        };
        let Ok(echo) = Probe::read(body.unwrap_or_default()) else {
            self.statistics.malformed += 1;
            return;
        };
        let publisher = self.publisher.round_trip();
        if echo.subscriber == self.id && self.repairers.record_echo(now, from, &echo, publisher) {
            self.replace_repairer(now);
        }
    }

    /// Returns how a datagram of data, or a manifest, has arrived; `None` if a repairer sent it without a request, or was
    /// given up. Statuses must not count the repairs of others as repairs of the publisher.
    pub(super) fn arrival_of(
        &mut self,
        path: u8,
        from: SocketAddr,
        view: &DatagramView<'_>,
    ) -> Option<Arrival> {
        if !self.repairers.knows(from) || self.publisher.get() == Some(from) {
            return Some(Arrival::Path(path));
        }
        let sequence = Sequence(view.header.sequence);
        let is_requested = self.repairers.is_chosen(from)
            && self.incarnations.is_current(view.header.incarnation)
            && self.followed.naks.awaits_repairer(sequence);
        self.statistics.unrequested += u64::from(!is_requested);
        is_requested.then_some(Arrival::Repairer)
    }
}
