//! Without the feature `history`, a subscriber has the live stream only.

use std::time::Duration;

use mcast::InterfaceSelector;

#[cfg(not(feature = "acknowledgements"))]
use crate::driver::account::HistoryAccount;
use crate::seal::Keys;
#[cfg(feature = "acknowledgements")]
use crate::subscriber::HistoryAccount;
use crate::subscriber::{Item, Step, SubscriberConfig, SubscriberEvent, SubscriberStatistics};
use crate::wire::StreamId;
use crate::{ClockTime, StreamError, SubscriberMachine};

#[derive(Debug)]
pub(in crate::driver) struct HistorySettings;

impl HistorySettings {
    pub(in crate::driver) const fn new() -> Self {
        Self
    }

    pub(in crate::driver) const fn is_used(&self) -> bool {
        false
    }

    pub(in crate::driver) const fn has_unused(&self) -> bool {
        false
    }

    pub(in crate::driver) const fn prepare(&mut self, _: &mut SubscriberConfig) {}

    pub(in crate::driver) fn subscribe(
        self,
        _: Option<InterfaceSelector>,
        _: usize,
        _: ClockTime,
    ) -> Option<Box<HistorySubscription>> {
        None
    }
}

#[derive(Clone, Copy, Debug)]
pub(in crate::driver) enum NoHistory {}

#[derive(Debug)]
pub(in crate::driver) struct HistorySubscription {
    pub(in crate::driver) machine: NoHistory,
}

impl NoHistory {
    pub(in crate::driver) const fn statistics(self) -> NoStatistics {
        match self {}
    }

    pub(in crate::driver) const fn is_live(self) -> bool {
        match self {}
    }

    pub(in crate::driver) const fn is_idle(self) -> bool {
        match self {}
    }

    pub(in crate::driver) const fn has_ended(self) -> bool {
        match self {}
    }

    pub(in crate::driver) const fn has_stopped(self) -> bool {
        match self {}
    }

    pub(in crate::driver) const fn account(self) -> HistoryAccount {
        match self {}
    }

    pub(in crate::driver) const fn item(&self) -> Option<Item<'_>> {
        match *self {}
    }

    pub(in crate::driver) const fn abandon(self) {
        match self {}
    }

    pub(in crate::driver) const fn restart(self, _: ClockTime) {
        match self {}
    }

    pub(in crate::driver) const fn poll_step(self, _: ClockTime) -> Option<Step> {
        match self {}
    }

    pub(in crate::driver) const fn handle_event(
        self,
        _: ClockTime,
        _: &SubscriberMachine,
        _: SubscriberEvent,
    ) -> Option<SubscriberEvent> {
        match self {}
    }
}

pub(in crate::driver) struct NoStatistics;

impl NoStatistics {
    pub(in crate::driver) const fn add_to(&self, _: &mut SubscriberStatistics) {}
}

impl HistorySubscription {
    pub(in crate::driver) const fn problem(&self) -> Option<&str> {
        match self.machine {}
    }

    pub(in crate::driver) const fn event(&self) -> Option<SubscriberEvent> {
        match self.machine {}
    }

    pub(in crate::driver) const fn take_live(&mut self, _: ClockTime, _: &mut SubscriberMachine, _: &[u8]) {
        match self.machine {}
    }

    pub(in crate::driver) const fn record_publisher(&self, _: ClockTime, _: &SubscriberMachine) {
        match self.machine {}
    }

    pub(in crate::driver) const fn exchange(
        &self,
        _: ClockTime,
        _: Option<StreamId>,
        _: &Keys,
    ) -> Result<(), StreamError> {
        match self.machine {}
    }

    pub(in crate::driver) const fn rest_if_live(&self) {
        match self.machine {}
    }

    pub(in crate::driver) fn wait(&self, _: impl Fn(ClockTime) -> Duration) -> Duration {
        match self.machine {}
    }
}
