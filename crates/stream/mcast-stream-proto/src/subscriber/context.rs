//! What the layers share: the time, the settings, what is known of the publisher, how far delivery has got, counters, and the
//! way out for events and datagrams.
//!
//! It decides nothing. A layer reads settings and the publisher's state here, counts here, and leaves here what the caller
//! takes out: events, in the order in which they happened, and sealed control datagrams.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::config::SubscriberConfig;
use super::delivery::Delivery;
use super::event::{SubscriberEvent, SubscriberStatistics};
use super::naks::Arrival;
use super::paths::Paths;
use super::publisher_state::PublisherState;
use crate::ClockTime;
use crate::outbox::{Outbox, Target};
use crate::random::{Random, backoff};
use crate::seal::{self, Ciphers, Keys, Purpose, Sealed};
use crate::times::subscriber::MIN_BACKOFF_UNIT;
use crate::wire::{
    AddressToken, DatagramWriter, FlowControl, Header, Heartbeat, Incarnation, KeyEpoch, Kind, Probe,
    SubscriberId, WriteError,
};

/// Limit of the queue of events that were not fetched. Further events are dropped.
const MAX_EVENTS: usize = 256;

pub(super) struct Context {
    /// The time of the present call.
    pub(super) now: ClockTime,
    pub(super) config: SubscriberConfig,
    pub(super) id: SubscriberId,
    pub(super) random: Random,
    pub(super) publisher: PublisherState,
    /// How far delivery has got: the gate's, which the layers below read.
    pub(super) delivery: Delivery,
    pub(super) paths: Paths,
    pub(super) events: VecDeque<SubscriberEvent>,
    pub(super) outbox: Outbox,
    pub(super) statistics: SubscriberStatistics,
    /// What seals control datagrams, and how many there were.
    ciphers: Ciphers,
    control_count: u64,
}

impl Context {
    pub(super) fn new(config: SubscriberConfig, now: ClockTime) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            now,
            id: SubscriberId(random.next()),
            random,
            publisher: PublisherState::unknown(now),
            delivery: Delivery::new(),
            paths: Paths::new(config.paths, now),
            events: VecDeque::new(),
            outbox: Outbox::default(),
            statistics: SubscriberStatistics::default(),
            ciphers: Ciphers::default(),
            control_count: 0,
            config,
        }
    }

    /// Replaces the group's secrets.
    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.config.keys = keys;
        self.ciphers.clear();
    }

    pub(super) fn emit(&mut self, event: SubscriberEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    pub(super) fn record_internal_error(&mut self, what: &'static str) {
        self.statistics.internal_errors += 1;
        if self.statistics.internal_errors.is_power_of_two() {
            self.emit(SubscriberEvent::InternalError(what));
        }
    }

    #[inline]
    pub(super) const fn heartbeat(&self) -> &Heartbeat {
        &self.publisher.heartbeat
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.publisher.round_trip()
    }

    /// Whether it sends nothing: by its settings, or because the publisher receives nothing.
    pub(super) fn sends_nothing(&self) -> bool {
        self.config.mute || self.heartbeat().flow == FlowControl::OneWay
    }

    pub(super) fn requests_repairs(&self) -> bool {
        self.config.repairs() && !self.sends_nothing()
    }

    /// Returns a random delay, by which few of many subscribers request the same repair.
    pub(super) fn backoff(&mut self) -> Duration {
        // The group's is the greatest of all, from each status. Its own is measured once in 50 s, at first when it joins, perhaps
        // together with many others.
        let round_trip = self.round_trip().min(self.publisher.group_round_trip()).max(MIN_BACKOFF_UNIT);
        let Heartbeat { backoff: factor, group_size, .. } = *self.heartbeat();
        backoff(u32::from(factor.max(1)) * round_trip, group_size, &mut self.random)
    }

    /// Returns a random delay, so that the subscribers of a large group do not all send at once.
    pub(super) fn jitter(&mut self) -> Duration {
        match self.publisher.has_other_subscribers() {
            true => self.random.below(self.publisher.status_interval()),
            false => Duration::ZERO,
        }
    }

    pub(super) fn record_copy(&mut self, arrival: Arrival) {
        self.statistics.copies += 1;
        self.record_arrival_path(arrival, false);
    }

    /// Notes on which path a datagram has arrived. One that was recovered, or repaired by another subscriber, came on none.
    pub(super) fn record_arrival_path(&mut self, arrival: Arrival, is_first: bool) {
        if let Arrival::Path(path) = arrival {
            self.paths.received(path, is_first);
            self.record_path_activity(path);
        }
    }

    pub(super) fn record_path_activity(&mut self, path: u8) {
        if let Some(event) = self.paths.record_activity(path, self.now) {
            self.emit(event);
        }
    }

    /// Queues a control datagram; returns its length.
    pub(super) fn send(
        &mut self,
        to: Target,
        incarnation: Incarnation,
        kind: Kind,
        write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
    ) -> usize {
        self.control_count += 1;
        let header = Header::new(kind, self.config.stream, incarnation, self.control_count);
        // The publisher's key epoch; the latest of its own keys until that is known.
        let epoch = self.publisher.incarnations.epoch().unwrap_or_else(|| self.config.keys.latest());
        let header = Header { epoch, ..header };
        let (id, purpose) = (self.id, Purpose::of(&header, Sealed::Subscriber(self.id)));
        let Self { ciphers, config, outbox, .. } = self;
        let seal = |bytes: &mut Vec<u8>| match header.epoch {
            KeyEpoch::CLEAR => true,
            _ => ciphers
                .find(&config.keys, purpose)
                .is_some_and(|cipher| seal::seal_vector(cipher, header.sequence, bytes)),
        };
        let whole = |writer: &mut DatagramWriter<'_>| {
            writer.subscriber(id)?;
            write(writer)
        };
        outbox.push(to, &header, whole, seal)
    }

    /// Asks for an echo, which proves this subscriber's address, and measures the round trip.
    pub(super) fn send_probe(&mut self, to: Target, incarnation: Incarnation) {
        let probe = Probe { clock: self.now.0, token: AddressToken::NONE, subscriber: self.id };
        self.send(to, incarnation, Kind::Probe, |writer| probe.write(writer));
    }
}
