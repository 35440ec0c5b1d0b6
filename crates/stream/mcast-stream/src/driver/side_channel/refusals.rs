//! Requests that a server has refused.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most that are kept until they are taken.
const KEPT: usize = 64;

/// A request that a [`HistoryServer`](crate::HistoryServer) or [`SnapshotServer`](crate::SnapshotServer) has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    /// The client.
    pub client: SocketAddr,
    /// Why.
    pub reason: String,
}

/// Counts them, and keeps the latest.
#[derive(Debug, Default)]
pub(in crate::driver) struct Refusals {
    count: AtomicU64,
    kept: Mutex<VecDeque<RefusedRequest>>,
}

impl Refusals {
    pub(in crate::driver) fn refuse(&self, client: SocketAddr, reason: String) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(RefusedRequest { client, reason });
    }

    pub(in crate::driver) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the next of those that are kept.
    pub(in crate::driver) fn take(&self) -> Option<RefusedRequest> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
