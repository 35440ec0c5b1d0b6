//! Without the features `acknowledgements` and `history`, a subscriber acknowledges nothing, and there is no history to read.

use super::context::Context;
use super::reporter::Reporter;
use crate::wire::{Acknowledgement, Incarnation, MessageNumber};

#[derive(Debug)]
pub(super) struct Account;

impl Account {
    pub(super) const fn new(_: bool) -> Self {
        Self
    }

    pub(super) const fn begin(&mut self, _: MessageNumber, _: bool) {}

    pub(super) const fn continue_with_another(&mut self, _: bool) {}

    pub(super) const fn request(&mut self, _: bool) {}

    pub(super) const fn skip_to(&mut self, _: MessageNumber) {}

    pub(super) const fn record_loss(&mut self, _: MessageNumber) {}

    pub(super) const fn record_message(&mut self, _: MessageNumber, _: MessageNumber) {}

    pub(super) const fn losses(&self, _: Option<Incarnation>, live: (u64, u64)) -> (u64, u64) {
        live
    }

    pub(super) const fn flags(&self, _: Option<Incarnation>) -> u32 {
        0
    }

    pub(super) const fn is_requested(&self) -> bool {
        false
    }

    pub(super) const fn report(&mut self, _: &Context, _: bool) -> Option<Acknowledgement> {
        None
    }
}

impl Reporter {
    pub(super) const fn has_unreported_acknowledgement(&self, _: &Context) -> bool {
        false
    }

    pub(super) const fn has_read_history(&self) -> bool {
        false
    }

    pub(super) const fn report_acknowledgement_soon(&mut self, _: &Context) {}
}
