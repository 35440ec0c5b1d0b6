//! Without the feature `local-repair`, heartbeats list no repairers.

use super::PublisherMachine;
use crate::ClockTime;
use crate::wire::{RepairerList, Status};

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

impl PublisherMachine {
    pub(super) fn repairers_to_list(&mut self, _: ClockTime) -> RepairerList {
        RepairerList::default()
    }
}
