//! Without the feature `parity`, symbols are counted and discarded: what is missing is requested.

use core::time::Duration;

use super::SubscriberMachine;
use super::context::Context;
use super::sequencer::Sequencer;
use crate::wire::{Header, Heartbeat, Sequence, WireError};

pub(super) const fn parity_delay(_: &Heartbeat) -> Duration {
    Duration::ZERO
}

pub(super) const fn record_recovered(_: &mut Context, _: bool) {}

#[derive(Debug)]
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

    pub(super) const fn forget(&mut self, _: Sequence) {}

    pub(super) const fn discard(&mut self, _: Sequence) {}
}

#[derive(Debug, Default)]
pub(super) struct Replaced(());

impl Sequencer {
    pub(super) const fn is_replaced(&self, _: Sequence, _: &mut Replaced) -> bool {
        false
    }
}

impl SubscriberMachine {
    pub(super) const fn on_parity(&mut self, _: &Header, _: &[u8]) -> Result<(), WireError> {
        self.context.statistics.parity += 1;
        Ok(())
    }

    pub(super) const fn recover_due(&mut self) {}
}
