//! Without the feature `parity`, symbols are counted and discarded: what is missing is requested.

use core::time::Duration;

use super::Sequencer;
use crate::subscriber::SubscriberMachine;
use crate::subscriber::context::Context;
use crate::wire::{Header, Heartbeat, Sequence, WireError};

pub(in crate::subscriber) const fn parity_delay(_: &Heartbeat) -> Duration {
    Duration::ZERO
}

pub(in crate::subscriber) const fn record_recovered(_: &mut Context, _: bool) {}

#[derive(Debug)]
pub(in crate::subscriber) struct Recovery;

impl Recovery {
    pub(in crate::subscriber) const fn new(_: usize) -> Self {
        Self
    }

    pub(in crate::subscriber) const fn set_on(&mut self, _: bool) {}

    pub(in crate::subscriber) const fn clear(&mut self) {}

    pub(in crate::subscriber) const fn bytes(&self) -> usize {
        0
    }

    pub(in crate::subscriber) const fn keep(&mut self, _: Sequence, _: Sequence, _: &[u8]) {}

    pub(in crate::subscriber) const fn forget(&mut self, _: Sequence) {}

    pub(in crate::subscriber) const fn discard(&mut self, _: Sequence) {}
}

#[derive(Debug, Default)]
pub(in crate::subscriber) struct Replaced(());

impl Sequencer {
    pub(in crate::subscriber) const fn is_replaced(&self, _: Sequence, _: &mut Replaced) -> bool {
        false
    }
}

impl SubscriberMachine {
    pub(in crate::subscriber) const fn on_parity(&mut self, _: &Header, _: &[u8]) -> Result<(), WireError> {
        self.context.statistics.parity += 1;
        Ok(())
    }

    pub(in crate::subscriber) const fn recover_due(&mut self) {}
}
