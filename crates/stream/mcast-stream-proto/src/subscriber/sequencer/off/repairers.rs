//! Without the feature `local-repair`, a subscriber neither asks others for repairs nor answers them.

use core::net::SocketAddr;
use core::time::Duration;

use super::Sequencer;
use crate::ClockTime;
use crate::subscriber::SubscriberMachine;
use crate::subscriber::arrived::Arrived;
use crate::subscriber::config::SubscriberConfig;
use crate::subscriber::context::Context;
use crate::subscriber::naks::Arrival;
use crate::wire::{AddressToken, DatagramView, Sequence};

#[derive(Clone, Copy, Debug)]
pub(in crate::subscriber) struct UsableRepairer {
    pub(in crate::subscriber) address: SocketAddr,
    pub(in crate::subscriber) token: AddressToken,
    pub(in crate::subscriber) round_trip: Duration,
}

#[derive(Debug)]
pub(in crate::subscriber) struct Repairers;

impl Repairers {
    pub(in crate::subscriber) const fn new(_: &SubscriberConfig, _: ClockTime) -> Self {
        Self
    }

    pub(in crate::subscriber) const fn begin(&mut self) {}

    pub(in crate::subscriber) const fn retain(&mut self, _: Sequence, _: &[u8]) {}

    pub(in crate::subscriber) const fn discard(&mut self, _: Sequence) {}

    pub(in crate::subscriber) const fn forget_keys(&mut self) {}

    pub(in crate::subscriber) const fn set_rate(&mut self, _: ClockTime, _: u64) {}

    pub(in crate::subscriber) const fn usable(&self) -> Option<UsableRepairer> {
        None
    }

    pub(in crate::subscriber) const fn knows(&self, _: SocketAddr) -> bool {
        false
    }

    pub(in crate::subscriber) const fn is_chosen(&self, _: SocketAddr) -> bool {
        false
    }

    pub(in crate::subscriber) const fn repair_for_others(&self, _: &Context, _: bool) -> bool {
        false
    }

    pub(in crate::subscriber) const fn record_request(&mut self, _: ClockTime) {}

    pub(in crate::subscriber) const fn record_answer(&mut self) {}

    pub(in crate::subscriber) const fn record_unanswered(&mut self, _: ClockTime, _: ClockTime) -> bool {
        false
    }
}

impl Sequencer {
    pub(in crate::subscriber) const fn record_repairers(&mut self, _: &Context, _: &DatagramView<'_>) {}

    pub(in crate::subscriber) const fn distrust_repairer(&mut self, _: &Context) {}

    pub(in crate::subscriber) const fn probe_repairer(&mut self, _: &mut Context) {}
}

impl SubscriberMachine {
    pub(in crate::subscriber) const fn repairers_at(&self) -> ClockTime {
        ClockTime::NEVER
    }

    pub(in crate::subscriber) const fn on_request(&mut self, _: &Arrived<'_>, _: SocketAddr) {
        self.context.statistics.foreign += 1;
    }

    pub(in crate::subscriber) const fn send_local_repair(&mut self) {}

    pub(in crate::subscriber) const fn on_repairer_echo(&mut self, _: &Arrived<'_>, _: SocketAddr) {
        self.context.statistics.other += 1;
    }

    pub(in crate::subscriber) const fn arrival_of(
        &mut self,
        arrived: &Arrived<'_>,
        _: SocketAddr,
    ) -> Option<Arrival> {
        Some(arrived.arrival)
    }
}
