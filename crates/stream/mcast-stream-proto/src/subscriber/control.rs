//! Control datagrams of the publisher: heartbeats, confirmed repairs, parity, resets and echoes.

use core::net::SocketAddr;
use core::time::Duration;

use super::SubscriberMachine;
use super::arrived::{Arrived, Lent};
use super::event::SubscriberEvent;
use super::gate::Below;
use super::incarnations::IncarnationIdentity;
use crate::span::nanos;
use crate::times::subscriber::MAX_SKEW;
use crate::wire::{
    DatagramView, ExtensionKind, Flags, Heartbeat, KeyEpoch, Kind, Ncf, Probe, Reset, ResetReason, WireError,
};

impl SubscriberMachine {
    pub(super) fn on_control(&mut self, arrived: &Arrived<'_>, path: u8, from: SocketAddr) {
        let Self { context, filter, reporter, .. } = self;
        let Arrived { datagram, view, .. } = arrived;
        let incarnations = &context.publisher.incarnations;
        let is_current = incarnations.is_current(view.header.incarnation);
        let is_new = incarnations.is_new(view.header.sequence);
        if is_current && view.header.kind == Kind::Parity {
            reporter.record_repair(context, arrived);
        }
        if is_current && !is_new {
            // A duplicate from another path, or an old one.
            context.statistics.copies += 1;
            context.record_path_activity(path);
            context.publisher.peer.record_heard(context.now, from);
            return;
        }
        if !is_current && view.header.kind != Kind::Heartbeat {
            context.statistics.other += 1;
            return;
        }
        let Some(body) = filter.open_signed(context, arrived) else { return };
        // It is lent until the datagram is handled.
        let decrypted = core::mem::take(&mut filter.decrypted);
        match self.take_control(view, from, Lent { datagram, decrypted: &decrypted }.get(body)) {
            Ok(()) => self.context.record_path_activity(path),
            Err(_) => self.context.statistics.malformed += 1,
        }
        self.filter.decrypted = decrypted;
    }

    /// Handles a decrypted body.
    fn take_control(
        &mut self,
        view: &DatagramView<'_>,
        from: SocketAddr,
        body: &[u8],
    ) -> Result<(), WireError> {
        let header = &view.header;
        let (now, is_verifying) = (self.context.now, self.context.config.verifies());
        let incarnations = &mut self.context.publisher.incarnations;
        let is_current = incarnations.is_current(header.incarnation);
        // Echoes and parity are not signed: their counts must not suppress what is.
        let is_signed = !matches!(header.kind, Kind::Echo | Kind::Parity);
        if is_current && (is_signed || !is_verifying) {
            incarnations.record_control(header.sequence, view.salt());
        }
        match header.kind {
            Kind::Heartbeat => {
                let heartbeat = Heartbeat::read(body)?;
                self.report_signed(view);
                match is_current {
                    true => self.on_heartbeat(view, from, heartbeat),
                    false => self.on_other_incarnation(view, from, heartbeat),
                }
            }
            Kind::Parity => self.on_parity(header, body)?,
            Kind::Ncf => self.sequencer.take_confirmation(&self.context, &Ncf::read(body)?),
            Kind::Reset => {
                let reset = Reset::read(body)?;
                if reset.subscriber == self.context.id {
                    self.on_reset(reset.reason);
                }
            }
            Kind::Echo => {
                let echo = Probe::read(body)?;
                // In a signed stream, anybody could forge another one than the answer to the last probe.
                let peer = &mut self.context.publisher.peer;
                if echo.subscriber == self.context.id && (!is_verifying || peer.is_expected(now, &echo)) {
                    self.on_echo(&echo);
                }
            }
            // Announcements are for discovery; other kinds are of later versions.
            _ => {}
        }
        Ok(())
    }

    /// Reports a signed stream to a subscriber that verifies nothing.
    fn report_signed(&mut self, view: &DatagramView<'_>) {
        let is_signed = view.extensions.find(ExtensionKind::SIGNATURE).is_some();
        if is_signed
            && !self.context.config.verifies()
            && !core::mem::replace(&mut self.filter.is_signed_reported, true)
        {
            self.context.emit(SubscriberEvent::Signed);
        }
    }

    fn on_heartbeat(&mut self, view: &DatagramView<'_>, from: SocketAddr, heartbeat: Heartbeat) {
        let Self { context, sequencer, reporter, .. } = self;
        let (header, now) = (&view.header, context.now);
        if context.publisher.record_heard(now, from, &heartbeat) {
            context.emit(SubscriberEvent::PublisherBack);
        }
        if context.publisher.take_heartbeat(now, header, heartbeat) {
            sequencer.take_heartbeat(context);
            reporter.account.request(header.flags.has(Flags::ACKNOWLEDGE));
            sequencer.record_sent_before(context, heartbeat.next);
            reporter.record_heartbeat(context, sequencer, header.flags);
        }
        sequencer.record_repairers(context, view);
        context.publisher.incarnations.provenance.update(view);
    }

    /// Takes the token that proves this subscriber's address, and measures the round trip.
    fn on_echo(&mut self, echo: &Probe) {
        let Self { context, sequencer, reporter, .. } = self;
        let now = context.now;
        if context.publisher.peer.record_echo(now, echo) {
            // The publisher has ignored statuses and NAKs without this token.
            let interval = context.publisher.urgent_interval().max(Duration::from_nanos(1));
            reporter.statuses.schedule(now + context.random.below(interval));
            // The requests for everything that was missing before are spread.
            sequencer.naks.postpone_all(now + context.backoff());
        }
    }

    fn on_reset(&mut self, reason: ResetReason) {
        let Self { context, reporter, .. } = self;
        match reason {
            ResetReason::Evicted => context.emit(SubscriberEvent::Evicted),
            ResetReason::Full => context.emit(SubscriberEvent::Full),
            // It may reply to a status from before the application had processed everything.
            ResetReason::EndConfirmed if reporter.has_unreported_acknowledgement(context) => {}
            ResetReason::EndConfirmed => reporter.statuses.stop_confirming(),
            ResetReason::Other(_) => {}
        }
    }

    /// Handles a heartbeat of a publisher that is not known yet, or of another incarnation.
    fn on_other_incarnation(&mut self, view: &DatagramView<'_>, from: SocketAddr, heartbeat: Heartbeat) {
        let identity = IncarnationIdentity::of(view, &heartbeat);
        let incarnations = &mut self.context.publisher.incarnations;
        if incarnations.former.is_replayed(identity.incarnation, heartbeat.clock) {
            self.context.statistics.other += 1;
            return;
        }
        if incarnations.current() > Some(identity.incarnation) {
            return self.on_older_incarnation(from, identity, heartbeat);
        }
        if self.proves_age(&identity) && self.is_stale(&heartbeat) {
            if !core::mem::replace(&mut self.filter.is_stale_reported, true) {
                self.context.emit(SubscriberEvent::Stale);
            }
            return;
        }
        let incarnations = &mut self.context.publisher.incarnations;
        // The end was delivered, and nothing follows it.
        let is_over = self.context.delivery.has_ended && incarnations.is_continued_by(&identity);
        match incarnations.current() {
            None => {
                let Self { context, sequencer, assembler, gate, reporter, .. } = self;
                let start = context.config.start;
                let mut below = Below { context, sequencer, assembler, reporter };
                gate.follow(&mut below, identity, heartbeat, from, start);
                self.context.publisher.incarnations.record_control(identity.count, identity.salt);
            }
            // A bridge has begun again with records of the engine that were delivered.
            Some(_) if is_over || incarnations.is_ahead_of(&identity) => self.context.statistics.other += 1,
            Some(_) => incarnations.set_successor(identity, heartbeat, from),
        }
    }

    /// Handles a heartbeat of an older incarnation than the one that is followed. If both are active, the stream has
    /// two publishers. If the followed one is silent, the older number comes from a clock that was set back.
    fn on_older_incarnation(
        &mut self,
        from: SocketAddr,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
    ) {
        let now = self.context.now;
        let publisher = &mut self.context.publisher;
        self.context.statistics.other += 1;
        let is_over = publisher.liveness.is_silent() || self.context.delivery.has_ended;
        if !publisher.incarnations.record_older(now, identity.incarnation) {
            return;
        }
        // A recording of a sealed stream is older than the incarnation that was followed.
        let is_older = heartbeat.unix_time <= publisher.heartbeat.unix_time;
        let is_recorded = self.proves_age(&identity) && (is_older || self.is_stale(&heartbeat));
        let incarnations = &mut self.context.publisher.incarnations;
        if is_over && !is_recorded {
            incarnations.second_publisher = None;
            return incarnations.set_successor(identity, heartbeat, from);
        }
        if let Some(followed) = incarnations.current()
            && incarnations.report_rival()
        {
            self.context.statistics.unknown_losses += 1;
            self.context.emit(SubscriberEvent::SecondPublisher { followed, ignored: identity.incarnation });
        }
    }

    /// Whether a heartbeat of this incarnation cannot claim another time of day than that at which it was sent.
    fn proves_age(&self, identity: &IncarnationIdentity) -> bool {
        identity.epoch != KeyEpoch::CLEAR || self.context.config.verifies()
    }

    /// Whether a heartbeat may be a replayed recording, by its time of day.
    fn is_stale(&self, heartbeat: &Heartbeat) -> bool {
        match (self.context.config.unix_offset, heartbeat.unix_time) {
            (None, _) | (_, 0) => false,
            (Some(offset), theirs) => {
                offset.wrapping_add(self.context.now.0).abs_diff(theirs) > nanos(MAX_SKEW)
            }
        }
    }
}
