//! Without the feature `local-repair`, a subscriber neither asks others for repairs nor answers them.

use core::net::SocketAddr;
use core::time::Duration;

use super::SubscriberMachine;
use super::config::SubscriberConfig;
use super::context::Context;
use super::filter::Arrived;
use super::naks::Arrival;
use super::sequencer::Sequencer;
use crate::ClockTime;
use crate::wire::{AddressToken, DatagramView, Sequence};

#[derive(Clone, Copy, Debug)]
pub(super) struct UsableRepairer {
    pub(super) address: SocketAddr,
    pub(super) token: AddressToken,
    pub(super) round_trip: Duration,
}

#[derive(Debug)]
pub(super) struct Repairers;

impl Repairers {
    pub(super) const fn new(_: &SubscriberConfig, _: ClockTime) -> Self {
        Self
    }

    pub(super) const fn begin(&mut self) {}

    pub(super) const fn retain(&mut self, _: Sequence, _: &[u8]) {}

    pub(super) const fn discard(&mut self, _: Sequence) {}

    pub(super) const fn forget_keys(&mut self) {}

    pub(super) const fn set_rate(&mut self, _: ClockTime, _: u64) {}

    pub(super) const fn usable(&self) -> Option<UsableRepairer> {
        None
    }

    pub(super) const fn knows(&self, _: SocketAddr) -> bool {
        false
    }

    pub(super) const fn is_chosen(&self, _: SocketAddr) -> bool {
        false
    }

    pub(super) const fn repair_for_others(&self, _: &Context, _: bool) -> bool {
        false
    }

    pub(super) const fn record_request(&mut self, _: ClockTime) {}

    pub(super) const fn record_answer(&mut self) {}

    pub(super) const fn record_unanswered(&mut self, _: ClockTime, _: ClockTime) -> bool {
        false
    }
}

impl Sequencer {
    pub(super) const fn record_repairers(&mut self, _: &Context, _: &DatagramView<'_>) {}

    pub(super) const fn distrust_repairer(&mut self, _: &Context) {}

    pub(super) const fn probe_repairer(&mut self, _: &mut Context) {}
}

impl SubscriberMachine {
    pub(super) const fn repairers_at(&self) -> ClockTime {
        ClockTime::NEVER
    }

    pub(super) const fn on_request(&mut self, _: &Arrived<'_>, _: SocketAddr) {
        self.context.statistics.foreign += 1;
    }

    pub(super) const fn send_local_repair(&mut self) {}

    pub(super) const fn on_repairer_echo(&mut self, _: &Arrived<'_>, _: SocketAddr) {
        self.context.statistics.other += 1;
    }

    pub(super) const fn arrival_of(&mut self, arrived: &Arrived<'_>, _: SocketAddr) -> Option<Arrival> {
        Some(arrived.arrival)
    }
}
