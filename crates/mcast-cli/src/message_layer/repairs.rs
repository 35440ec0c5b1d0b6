//! The repairs in a publisher's reports.

use mcast_stream::sender::SenderStatistics;
use serde::Serialize;

/// What had to be sent again.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Repairs {
    pub(crate) to_the_group: u64,
    pub(crate) to_one: u64,
    pub(crate) bytes: u64,
    /// How often somebody asked.
    pub(crate) asked: u64,
    /// What was asked for and no longer kept.
    pub(crate) gone: u64,
}

impl Repairs {
    pub(crate) const fn of(statistics: &SenderStatistics) -> Self {
        Self {
            to_the_group: statistics.group_repairs,
            to_one: statistics.single_repairs,
            bytes: statistics.repair_bytes,
            asked: statistics.naks,
            gone: statistics.unrecoverable,
        }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.to_the_group + self.to_one
    }
}
