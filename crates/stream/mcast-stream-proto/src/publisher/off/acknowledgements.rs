//! Without the feature `acknowledgements`, no message has to be acknowledged.

use core::time::Duration;

use super::PublisherMachine;
use super::config::PublisherConfig;
use crate::ClockTime;
use crate::wire::{DatagramView, MessageNumber, Status, SubscriberId};

#[derive(Debug, Default)]
pub(super) struct Names(());

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AckRecord;

impl AckRecord {
    pub(super) const fn join(&mut self, _: MessageNumber) {}

    pub(super) const fn depart(&mut self, _: MessageNumber) {}
}

#[derive(Debug)]
pub(super) enum Acknowledgements {}

impl Acknowledgements {
    pub(super) const fn of(_: &PublisherConfig, _: ClockTime) -> Option<Self> {
        None
    }

    pub(super) const fn extend_deadlines(&mut self, _: Duration) {
        match *self {}
    }

    pub(super) const fn forget(&mut self, _: &AckRecord) {
        match *self {}
    }

    pub(super) const fn blocking_from(&self) -> Option<MessageNumber> {
        match *self {}
    }

    pub(super) const fn blocks(&self, _: MessageNumber) -> bool {
        match *self {}
    }

    pub(super) const fn skip(&mut self, _: MessageNumber, _: MessageNumber) -> bool {
        match *self {}
    }
}

impl PublisherMachine {
    pub(super) const fn record_acknowledgement(
        &mut self,
        _: ClockTime,
        _: SubscriberId,
        _: &DatagramView<'_>,
        _: &Status,
    ) {
    }

    pub(super) const fn expect_acknowledgers(&mut self, _: ClockTime) {}

    pub(super) const fn evaluate_after_report(&mut self, _: ClockTime) {}

    pub(super) const fn requests_acknowledgements(&mut self, _: ClockTime) -> bool {
        false
    }

    pub(super) const fn evaluate_acknowledgements(&mut self, _: ClockTime) {}
}
