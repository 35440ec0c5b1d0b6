//! The way of a datagram through the layers: the filter admits it, the sequencer finds its position, and it is delivered from
//! where it is, or waits in the window.

use core::net::SocketAddr;

use super::SubscriberMachine;
use super::arrived::{Arrived, Body};
use super::config::Policy;
use super::filter::Filter;
use super::naks::Arrival;
use super::sequencer::Whereabouts;
use super::sequencer::verify::SignedDigests;
use super::window::Meta;
use crate::ClockTime;
use crate::wire::{Kind, Sequence};

impl SubscriberMachine {
    /// Handles a datagram that arrived on a path (0 to 3) of the group, or on the subscriber's own port.
    ///
    /// Call [`poll_item`](Self::poll_item) with the same datagram until it returns `None`, before the next datagram is handled:
    /// messages that are not fetched count as not received.
    pub fn handle_datagram(&mut self, now: ClockTime, path: u8, from: SocketAddr, datagram: &[u8]) {
        self.context.now = now;
        if let Some(sequence) = self.assembler.take_unfetched() {
            self.sequencer.return_unfetched(&self.context, sequence);
        }
        let Some(view) = Filter::admit(&mut self.context, datagram) else { return };
        let mut arrived = Arrived { arrival: Arrival::Path(path), from: Some(from), datagram, view };
        match view.header.kind {
            kind if kind.is_in_sequence() => {
                let Some(arrival) = self.arrival_of(&arrived, from) else { return };
                arrived.arrival = arrival;
                match kind {
                    Kind::Manifest => self.on_manifest(&arrived, from),
                    _ => self.on_data(&arrived, from),
                }
            }
            kind if kind.is_from_subscribers() => return self.on_request(&arrived, from),
            Kind::Echo if view.subscriber().is_some() => return self.on_repairer_echo(&arrived, from),
            _ => self.on_control(&arrived, path, from),
        }
        self.recover_due();
    }

    fn on_data(&mut self, arrived: &Arrived<'_>, from: SocketAddr) {
        if !self.is_followed(arrived, from) || !self.may_be_genuine(arrived) {
            return;
        }
        let Self { context, filter, sequencer, assembler, reporter, .. } = self;
        let Arrived { arrival, datagram, view, .. } = arrived;
        let sequence = Sequence(view.header.sequence);
        // Copies count as well: the publisher compares this with the repairs that it sent.
        reporter.record_repair(context, arrived);
        match sequencer.whereabouts(sequence) {
            Whereabouts::Behind => return context.record_copy(*arrival),
            Whereabouts::New if sequencer.has_room(sequence, datagram.len()) => {}
            Whereabouts::New | Whereabouts::Beyond => {
                context.statistics.beyond += 1;
                // When it counts as missing later, the link has not lost it. One that the group did not seal must not hide a
                // loss.
                if !arrived.is_repair() && filter.open(context, arrived).is_some() {
                    sequencer.losses.record_discarded(sequence);
                }
                return;
            }
        }
        let Some(body) = filter.open(context, arrived) else { return };
        context.record_arrival_path(*arrival, true);
        sequencer.record_arrival(context, sequence, datagram.len(), arrived.repaired_by());
        sequencer.keep_copy(sequence, datagram);
        let (meta, delivery) = (Meta::of(view), &context.delivery);
        let is_next = sequence == sequencer.base && delivery.is_active();
        let is_early = || context.config.policy == Policy::Latest && meta.is_whole() && meta.keyed;
        if !assembler.is_busy() && (is_next || is_early() && delivery.may_be_early()) {
            // It is delivered from where it is.
            sequencer.window.lend(sequence);
            return assembler.begin(sequence, meta, body);
        }
        self.buffer(sequence, meta, body, datagram);
    }

    /// Buffers a datagram that waits for others, or for the application.
    pub(super) fn buffer(&mut self, sequence: Sequence, meta: Meta, body: Body, datagram: &[u8]) {
        let Self { context, filter, sequencer, reporter, .. } = self;
        let Some(body) = filter.lend(datagram).find(body) else {
            return impossible!(context, "the body of a datagram is outside of it");
        };
        sequencer.window.buffer(sequence, meta, body);
        if context.delivery.is_buffering {
            reporter.record_arrival(context, sequencer);
        }
    }

    /// Handles a manifest: it has a sequence of the data, and verifies the datagrams before it.
    pub(super) fn on_manifest(&mut self, arrived: &Arrived<'_>, from: SocketAddr) {
        if !self.is_followed(arrived, from) {
            return;
        }
        match self.sequencer.whereabouts(Sequence(arrived.view.header.sequence)) {
            Whereabouts::Beyond => self.context.statistics.beyond += 1,
            Whereabouts::Behind => {
                self.reporter.record_repair(&mut self.context, arrived);
                self.context.record_copy(arrived.arrival);
            }
            Whereabouts::New => {
                if self.take_manifest(arrived) {
                    self.reporter.record_repair(&mut self.context, arrived);
                    self.context.record_arrival_path(arrived.arrival, true);
                }
            }
        }
    }

    /// Takes a manifest: it keeps its place in the sequence whether this subscriber verifies or not, and its digests are applied;
    /// returns whether it is genuine.
    pub(super) fn take_manifest(&mut self, arrived: &Arrived<'_>) -> bool {
        let Self { context, filter, sequencer, reporter, .. } = self;
        let Some(body) = filter.open_signed(context, arrived) else { return false };
        let Ok(digests) = SignedDigests::read(filter.lend(arrived.datagram).get(body)) else {
            context.statistics.malformed += 1;
            return false;
        };
        let sequence = Sequence(arrived.view.header.sequence);
        sequencer.replace_staged(context, sequence);
        // One that was recovered was lost: it must not count as late, which would delay all requests.
        sequencer.record_arrival(context, sequence, arrived.datagram.len(), arrived.repaired_by());
        sequencer.keep_copy(sequence, arrived.datagram);
        sequencer.window.mark_manifest(sequence);
        sequencer.verify_covered(context, sequence, digests);
        reporter.record_arrival(context, sequencer);
        true
    }

    /// Returns whether a datagram with a sequence is of the incarnation that is followed; asks another one for a heartbeat.
    fn is_followed(&mut self, arrived: &Arrived<'_>, from: SocketAddr) -> bool {
        let Self { context, filter, reporter, .. } = self;
        let incarnation = arrived.view.header.incarnation;
        if !context.publisher.incarnations.is_current(incarnation) {
            context.statistics.other += 1;
            // A datagram that the group did not seal gets no reply.
            if reporter.may_ask_to_join(context, incarnation) && filter.open(context, arrived).is_some() {
                reporter.ask_to_join(context, from, incarnation);
            }
            return false;
        }
        // A datagram longer than the publisher announces is forged, and would exceed the memory planned for the window.
        let longest = usize::from(context.heartbeat().datagram);
        let is_too_long = longest != 0 && arrived.datagram.len() > longest;
        context.statistics.malformed += u64::from(is_too_long);
        !is_too_long
    }
}
