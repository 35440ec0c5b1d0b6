//! The counts of a sender.

use std::sync::atomic::{AtomicU64, Ordering};

use mcast_sys::Sent;

/// The counts of a sender so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendStatistics {
    /// Datagrams that the system accepted.
    pub datagrams: u64,
    /// System calls that sent them.
    pub calls: u64,
    /// Buffers with more than one datagram, which the system or the device segments (Linux and
    /// Windows: UDP segmentation offload).
    pub trains: u64,
    /// Times at which hosts or routers had reported that datagrams sent earlier did not arrive, for instance because
    /// nothing receives on the port (Linux: ICMP errors; elsewhere always 0).
    pub unreachable: u64,
}

/// The counters behind [`SendStatistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    datagrams: AtomicU64,
    calls: AtomicU64,
    trains: AtomicU64,
    unreachable: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self, sent: Sent) {
        self.datagrams.fetch_add(sent.datagrams as u64, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.trains.fetch_add(sent.segmented as u64, Ordering::Relaxed);
    }

    pub(crate) fn unreachable(&self) {
        self.unreachable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> SendStatistics {
        SendStatistics {
            datagrams: self.datagrams.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            trains: self.trains.load(Ordering::Relaxed),
            unreachable: self.unreachable.load(Ordering::Relaxed),
        }
    }
}
