//! Coalesced buffers: equally long datagrams that the kernel delivers in one buffer (UDP GRO).
//!
//! A receiver turns GRO on with the first receive whose buffers are large enough for every
//! coalesced buffer, and keeps it on. The kernel checks the option before it queues a buffer, and
//! reports the segment size only while the option is set. Turning it off would deliver a buffer
//! that is being queued as one datagram. Receives into smaller buffers are served from buffers kept
//! here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::{Batch, Position};
use crate::datagram::Arrival;

/// The maximum size of a coalesced buffer in bytes, which is that of an IP packet.
pub(crate) const COALESCED_BYTES: usize = 65_535;

/// The number of buffers with pending segments. It is large enough that a system call pays off for
/// datagrams that are not coalesced.
const PENDING_BUFFERS: usize = 16;

/// The state of GRO for the sockets of one receiver.
#[derive(Debug)]
pub(crate) struct Gro {
    allowed: AtomicBool,
    /// Whether a buffer may hold several datagrams.
    on: AtomicBool,
    pending: Mutex<PendingSegments>,
    /// Whether `pending` holds segments.
    is_pending: AtomicBool,
}

/// Buffers from which each receive takes the next segment.
#[derive(Debug, Default)]
pub(crate) struct PendingSegments {
    batch: Option<Batch>,
    position: Position,
}

impl Gro {
    pub(crate) fn new(allowed: bool) -> Self {
        Self {
            allowed: AtomicBool::new(allowed),
            on: AtomicBool::new(false),
            pending: Mutex::default(),
            is_pending: AtomicBool::new(false),
        }
    }

    /// Returns whether a buffer may hold several datagrams.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Returns whether a receive into buffers of this size should turn GRO on.
    #[inline]
    pub(crate) fn is_due(&self, bytes: usize) -> bool {
        bytes >= COALESCED_BYTES && !self.is_on() && self.allowed.load(Ordering::Relaxed)
    }

    /// Records that from now on a buffer may hold several datagrams.
    pub(crate) fn turn_on(&self) {
        self.on.store(true, Ordering::Release);
    }

    /// Records that the system does not support GRO.
    pub(crate) fn forbid(&self) {
        self.allowed.store(false, Ordering::Relaxed);
    }

    /// Returns whether buffers of this size can hold every buffer that the sockets deliver now.
    #[inline]
    pub(crate) fn suits(&self, bytes: usize) -> bool {
        bytes >= COALESCED_BYTES || !self.is_on()
    }

    /// Returns whether there are pending segments.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending.load(Ordering::Acquire)
    }

    /// Records whether there are pending segments; returns whether there were.
    pub(crate) fn set_pending(&self, pending: bool) -> bool {
        self.is_pending.swap(pending, Ordering::AcqRel)
    }

    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingSegments> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingSegments {
    /// Copies the next segment that is still admitted into this buffer.
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
            let arrival = *datagram.arrival();
            return Some((
                Arrival { truncated: arrival.truncated || length < arrival.length, ..arrival },
                length,
            ));
        }
    }

    /// Copies the segments that are still admitted into a batch, as far as it has room.
    pub(crate) fn move_to(&mut self, batch: &mut Batch, admits: impl Fn(&Arrival) -> bool) {
        let Some(own) = &self.batch else { return };
        while batch.free().is_some() {
            let Some(datagram) = own.take_at(&mut self.position) else { return };
            if admits(datagram.arrival()) {
                batch.push(datagram.payload(), *datagram.arrival());
            }
        }
    }

    /// Returns whether segments are left.
    pub(crate) fn is_some(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.has(self.position))
    }

    /// Returns the memory for the next buffers.
    pub(crate) fn refill(&mut self) -> &mut Batch {
        self.position = Position::default();
        let batch = self.batch.get_or_insert_with(|| Batch::new(PENDING_BUFFERS, COALESCED_BYTES + 1));
        batch.clear();
        batch
    }
}
