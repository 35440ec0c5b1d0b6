//! Without the feature `auto-rate`, nothing is derived from what links carry: the rate is fixed, or there is none.

use alloc::vec::Vec;
use core::time::Duration;

use super::Publishing;
use super::config::PublisherConfig;
use super::feedback::StatusReport;
use super::members::Members;
use super::pacing::RepairPace;
use super::ring::Ring;
use crate::ClockTime;
use crate::wire::{Sequence, SubscriberId};

#[derive(Debug)]
pub(super) struct LinkRates;

impl LinkRates {
    pub(super) const fn new(_: &PublisherConfig, _: ClockTime) -> Self {
        Self
    }

    pub(super) const fn observe(&mut self, _: ClockTime, _: StatusReport<'_>, _: &mut Publishing<'_>) {}

    pub(super) const fn check(&mut self, _: ClockTime, _: &mut Publishing<'_>) {}

    pub(super) const fn limit(&mut self, _: ClockTime, _: &Ring, _: &mut Members) -> Sequence {
        Sequence::MAX
    }

    pub(super) const fn next_flight_time(&self, _: &Ring) -> ClockTime {
        ClockTime::NEVER
    }

    pub(super) const fn limiting(&self) -> (Option<SubscriberId>, Duration) {
        (None, Duration::ZERO)
    }

    pub(super) const fn is_below_floor(&self, _: &Link) -> bool {
        false
    }

    pub(super) const fn below_floor(&self, _: ClockTime, _: &mut Members, _: Duration) -> Vec<SubscriberId> {
        Vec::new()
    }
}

#[derive(Debug)]
pub(super) struct Link;

impl Link {
    pub(super) const fn new() -> Self {
        Self
    }

    pub(super) const fn begin_at(&mut self, _: Sequence) {}
}

#[derive(Debug)]
pub(super) struct SentRepairs;

impl SentRepairs {
    pub(super) const fn new() -> Self {
        Self
    }
}

#[derive(Debug)]
pub(super) struct RepairCredit;

impl RepairCredit {
    pub(super) const fn new(_: usize, _: &SentRepairs, _: ClockTime) -> Self {
        Self
    }

    pub(super) const fn admit(
        &mut self,
        _: u64,
        _: ClockTime,
        _: u64,
        _: &mut RepairPace,
    ) -> Result<(), ClockTime> {
        Ok(())
    }

    pub(super) const fn record_sent(&mut self, _: ClockTime, _: u64, _: bool, _: &mut SentRepairs) {}
}
