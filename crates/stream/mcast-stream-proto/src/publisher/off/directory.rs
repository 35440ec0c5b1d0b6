//! Without the feature `local-repair`, heartbeats list no repairers.

use super::PublisherMachine;
use crate::ClockTime;
use crate::wire::{DatagramWriter, Status, WriteError};

#[derive(Debug)]
pub(super) struct RepairerDirectory;

impl RepairerDirectory {
    pub(super) const fn new(_: u64, _: ClockTime) -> Self {
        Self
    }
}

pub(super) const fn can_repair(_: &Status) -> bool {
    false
}

pub(super) struct NoRepairers;

impl NoRepairers {
    pub(super) const fn extension_length(&self) -> usize {
        0
    }

    pub(super) const fn write(&self, _: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        Ok(())
    }
}

impl PublisherMachine {
    pub(super) const fn repairers_to_list(&mut self, _: ClockTime) -> NoRepairers {
        NoRepairers
    }
}
