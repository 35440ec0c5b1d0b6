//! The segment buffer of a receiver with GRO.
//!
//! With GRO, one receive may return many equally long datagrams in one coalesced buffer. Calls that
//! take one datagram, or whose buffers are too small for a coalesced buffer, are served from here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::{Batch, Position};
use crate::datagram::Arrival;

/// The maximum size of a coalesced buffer in bytes, which is that of an IP packet.
pub(crate) const COALESCED_BYTES: usize = 65_535;

/// The number of buffers. It is large enough that a system call pays off for datagrams that are not
/// coalesced.
const BUFFERS: usize = 16;

/// Received datagrams that have not been delivered yet, shared by the threads of a receiver.
#[derive(Debug, Default)]
pub(crate) struct SegmentBuffer {
    segments: Mutex<Segments>,
    /// Whether there are any. It changes under the lock only.
    is_pending: AtomicBool,
    /// Whether memberships have changed since they were received.
    is_outdated: AtomicBool,
}

/// Buffers from which each receive takes the next datagram.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    batch: Option<Batch>,
    position: Position,
}

impl SegmentBuffer {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there are datagrams in it.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending.load(Ordering::Acquire)
    }

    /// Records whether there are datagrams in it; returns whether that is a change.
    pub(crate) fn set_pending(&self, pending: bool) -> bool {
        self.is_pending.swap(pending, Ordering::AcqRel) != pending
    }

    /// Records a change of memberships, which may no longer admit what is in it. The caller holds
    /// the lock of the sockets, so that no refill reads from them meanwhile.
    pub(crate) fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Release);
    }

    /// Returns whether memberships have changed since the datagrams in it were received.
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// Returns the memory for the next buffers.
    pub(crate) fn refill<'s>(&self, segments: &'s mut Segments) -> &'s mut Batch {
        self.is_outdated.store(false, Ordering::Release);
        segments.position = Position::default();
        let batch = segments.batch.get_or_insert_with(|| Batch::new(BUFFERS, COALESCED_BYTES + 1));
        batch.clear();
        batch
    }
}

impl Segments {
    /// Copies the next datagram that is still admitted into this buffer.
    pub(crate) fn next(
        &mut self,
        buffer: &mut [u8],
        admits: impl Fn(&Arrival) -> bool,
    ) -> Option<(Arrival, usize)> {
        loop {
            let datagram = self.batch.as_ref()?.take_at(&mut self.position)?;
            if !admits(datagram.arrival()) {
                continue;
            }
            let length = datagram.payload().len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram.payload()[..length]);
            let mut arrival = *datagram.arrival();
            arrival.truncated |= length < arrival.length;
            return Some((arrival, length));
        }
    }

    /// Copies the datagrams that are still admitted into a batch, as far as it has room.
    pub(crate) fn move_to(&mut self, batch: &mut Batch, admits: impl Fn(&Arrival) -> bool) {
        let Some(own) = &self.batch else { return };
        while batch.free().is_some() {
            let Some(datagram) = own.take_at(&mut self.position) else { return };
            if admits(datagram.arrival()) {
                batch.push(datagram.payload(), *datagram.arrival());
            }
        }
    }

    /// Returns whether no datagram is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.as_ref().is_none_or(|batch| !batch.has(self.position))
    }
}
