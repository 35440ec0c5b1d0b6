//! Without the feature `parity`, what is lost is sent again. A one-way publisher still says what is not on its way any more.

use super::ring::{Repair, Ring};
use super::signing::Signed;
use super::{ConfigError, PublisherConfig, PublisherMachine, Transmit};
use crate::ClockTime;
use crate::times::publisher::REORDERING;
use crate::wire::{FlowControl, Sequence, SubscriberId};

pub(crate) type LossMeter = ();

#[derive(Debug)]
pub(super) struct ParitySchedule {
    is_one_way: bool,
    /// One past the last datagram that was sent.
    end: Sequence,
    /// The same at a time that is not long enough ago yet.
    on_its_way: Option<(ClockTime, Sequence)>,
    arrived: Sequence,
}

impl ParitySchedule {
    pub(super) fn new(config: &PublisherConfig) -> Self {
        let first = Sequence(1);
        Self { is_one_way: config.flow == FlowControl::OneWay, end: first, on_its_way: None, arrived: first }
    }

    pub(super) const fn announced(&self) -> (u8, u8) {
        (0, 0)
    }

    pub(super) const fn record_announced(&mut self) {}

    pub(super) const fn is_waiting(&self) -> bool {
        false
    }

    pub(super) const fn room(&self) -> u64 {
        u64::MAX
    }

    pub(super) fn record_sent(
        &mut self,
        now: ClockTime,
        first: Sequence,
        count: u64,
        _: &Ring,
        signed: Signed,
    ) {
        if self.is_one_way {
            let end = first + count;
            self.end = signed.verified_through.map_or(end, |verified| verified.min(end));
            self.on_its_way.get_or_insert((now, self.end));
        }
    }

    pub(super) const fn block_of(&self, _: Sequence) -> Option<Sequence> {
        None
    }

    pub(super) const fn has_answers(&self, _: Sequence) -> bool {
        false
    }

    /// Returns the first datagram that may still be on its way.
    pub(super) fn sent_with_parity(&mut self, now: ClockTime) -> Sequence {
        if let Some((_, end)) = self.on_its_way.filter(|(at, _)| now >= *at + REORDERING) {
            self.arrived = end;
            self.on_its_way = Some((now, self.end)).filter(|_| self.end > end);
        }
        self.arrived
    }
}

impl PublisherConfig {
    pub(super) const fn longest_data(&self) -> usize {
        self.datagram
    }

    pub(super) const fn longest_fragment(&self) -> usize {
        self.datagram
    }

    pub(super) const fn parity_datagram(&self) -> usize {
        0
    }

    pub(super) const fn check_parity(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl PublisherMachine {
    pub(super) const fn next_parity(&mut self, _: ClockTime) -> Option<Transmit> {
        None
    }

    pub(super) const fn repair_block(&mut self, _: ClockTime, _: SubscriberId, _: Sequence, _: &[Sequence]) {}

    pub(super) const fn repair_with_parity(&mut self, _: ClockTime, _: Repair) -> Option<Transmit> {
        None
    }

    pub(super) const fn data_length(&self) -> usize {
        self.context.config.datagram
    }

    pub(super) const fn observe_parity(&mut self, _: ClockTime, _: SubscriberId) {}

    pub(super) const fn parity_deadline(&self) -> ClockTime {
        ClockTime::NEVER
    }
}
