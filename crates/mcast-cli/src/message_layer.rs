//! The statistics of a publisher that several subcommands print.

use mcast_stream::publisher::PublisherStatistics;
use serde::Serialize;

/// The repairs that a publisher has sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Repairs {
    pub(crate) to_the_group: u64,
    pub(crate) to_one: u64,
    pub(crate) bytes: u64,
    /// The number of NAKs received.
    pub(crate) asked: u64,
    /// Datagrams that were requested and had left the retransmission buffer.
    pub(crate) gone: u64,
}

impl Repairs {
    pub(crate) const fn of(statistics: &PublisherStatistics) -> Self {
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
