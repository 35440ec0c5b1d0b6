//! Without the feature `auto-rate`, no path is measured: the rate is fixed, or there is none.

use alloc::vec::Vec;
use core::time::Duration;

use super::PublisherMachine;
use super::config::PublisherConfig;
use super::members::Member;
use crate::ClockTime;
use crate::wire::{Status, SubscriberId};

#[derive(Clone, Copy, Debug)]
pub(super) enum AutoControl {}

impl AutoControl {
    pub(super) const fn of(_: &PublisherConfig, _: ClockTime) -> Option<Self> {
        None
    }

    pub(super) const fn limiting(&self) -> (Option<SubscriberId>, Duration) {
        match *self {}
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PathModel;

impl PathModel {
    pub(crate) const fn new() -> Self {
        Self
    }
}

impl PublisherMachine {
    pub(super) const fn observe_path(&mut self, _: ClockTime, _: SubscriberId, _: &Status, _: bool) {}

    pub(super) const fn update_auto_rate(&mut self, _: ClockTime) {}

    pub(super) const fn rate_floor(&self) -> Option<u64> {
        None
    }

    pub(super) const fn below_floor(&mut self, _: ClockTime) -> Vec<SubscriberId> {
        Vec::new()
    }
}

impl Member {
    pub(super) const fn is_below(&self, _: Option<u64>) -> bool {
        false
    }
}
