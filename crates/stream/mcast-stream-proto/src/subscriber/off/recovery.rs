//! Without the feature `parity`, symbols are counted and discarded: what is missing is requested.

use core::time::Duration;

use super::SubscriberMachine;
use crate::ClockTime;
use crate::wire::{Header, Parity, Sequence};

#[derive(Debug, Default)]
pub(super) struct Recovery;

impl Recovery {
    pub(super) const fn new(_: usize) -> Self {
        Self
    }

    pub(super) const fn set_on(&mut self, _: bool) {}

    pub(super) const fn clear(&mut self) {}

    pub(super) const fn bytes(&self) -> usize {
        0
    }

    pub(super) const fn keep(&mut self, _: Sequence, _: Sequence, _: &[u8]) {}

    pub(super) const fn record_change(&mut self, _: Sequence) {}

    pub(super) const fn forget(&mut self, _: Sequence) {}

    pub(super) const fn is_idle(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
pub(super) struct Replaced(());

impl SubscriberMachine {
    pub(super) const fn parity_delay(&self) -> Duration {
        Duration::ZERO
    }

    pub(super) const fn on_parity(&mut self, _: ClockTime, _: &Header, _: &Parity<'_>) {
        self.statistics.parity += 1;
    }

    pub(super) const fn recover_due(&mut self, _: ClockTime) {}

    pub(super) const fn record_recovered(&mut self, _: bool) {}

    pub(super) const fn is_replaced(&self, _: Sequence, _: &mut Replaced) -> bool {
        false
    }
}
