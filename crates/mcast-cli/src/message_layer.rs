//! The statistics of a publisher that several subcommands print.

use mcast_stream::publisher::PublisherStatistics;
use serde::Serialize;

/// The repairs that a publisher has sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Repairs {
    pub(crate) multicast: u64,
    pub(crate) unicast: u64,
    pub(crate) bytes: u64,
    /// The number of NAKs received.
    pub(crate) naks: u64,
    /// Datagrams that were requested and had left the retransmission buffer.
    pub(crate) unavailable: u64,
}

impl Repairs {
    pub(crate) const fn of(statistics: &PublisherStatistics) -> Self {
        Self {
            multicast: statistics.group_repairs,
            unicast: statistics.single_repairs,
            bytes: statistics.repair_bytes,
            naks: statistics.naks,
            unavailable: statistics.unrecoverable,
        }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.multicast + self.unicast
    }
}
