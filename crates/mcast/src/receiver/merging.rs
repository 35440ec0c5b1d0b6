//! Merged buffers: runs of equal datagrams that the kernel hands over as one (UDP GRO).
//!
//! Only a receive with buffers that hold whatever is merged may ask for them. A receiver goes
//! into merging with the first such receive and out of it with the first that is smaller; then
//! what the kernel has merged already is received here, and handed out one by one.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::{Batch, Position};
use crate::datagram::Arrival;

/// Bytes that a merged buffer can have: an IP packet's.
pub(crate) const MERGED_BYTES: usize = 65_535;

/// Whether a receiver's sockets merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Each buffer is a datagram.
    Single = 0,
    /// A buffer may hold several.
    Merging = 1,
    /// No longer wanted, but what was merged before may still be there.
    Leaving = 2,
}

/// The merging of one receiver.
#[derive(Debug)]
pub(crate) struct Merging {
    allowed: AtomicBool,
    phase: AtomicU8,
    /// It merged at some time: drops count buffers.
    ever: AtomicBool,
    leftover: Mutex<Leftover>,
    /// There is something in it.
    left: AtomicBool,
}

/// A merged buffer that is handed out one by one.
#[derive(Debug, Default)]
pub(crate) struct Leftover {
    batch: Option<Batch>,
    position: Position,
}

impl Merging {
    pub(crate) fn new(allowed: bool) -> Self {
        Self {
            allowed: AtomicBool::new(allowed),
            phase: AtomicU8::new(Phase::Single as u8),
            ever: AtomicBool::new(false),
            leftover: Mutex::default(),
            left: AtomicBool::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Single,
            1 => Phase::Merging,
            _ => Phase::Leaving,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        if phase == Phase::Merging {
            self.ever.store(true, Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The phase that a receive into buffers of so many bytes needs to go into first, if another.
    #[inline]
    pub(crate) fn change_for(&self, bytes: usize) -> Option<Phase> {
        let can = bytes >= MERGED_BYTES;
        match self.phase() {
            Phase::Single | Phase::Leaving if can && self.allowed.load(Ordering::Relaxed) => {
                Some(Phase::Merging)
            }
            Phase::Merging if !can => Some(Phase::Leaving),
            _ => None,
        }
    }

    /// Whether buffers of so many bytes hold whatever the sockets hand over now.
    #[inline]
    pub(crate) fn suits(&self, bytes: usize) -> bool {
        bytes >= MERGED_BYTES || self.phase() == Phase::Single
    }

    /// Whether something is left of a merged buffer.
    #[inline]
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Makes known that something is left, or nothing.
    pub(crate) fn leave(&self, left: bool) {
        self.left.store(left, Ordering::Release);
    }

    /// The system has no such thing.
    pub(crate) fn forbid(&self) {
        self.allowed.store(false, Ordering::Relaxed);
    }

    /// Whether buffers may ever have been merged.
    pub(crate) fn has_merged(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }

    pub(crate) fn leftover(&self) -> MutexGuard<'_, Leftover> {
        self.leftover.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leftover {
    /// The next datagram of what is left and is still admitted, copied into this buffer.
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

    /// Moves what is left and is still admitted into a batch, as far as it has room.
    pub(crate) fn move_to(&mut self, batch: &mut Batch, admits: impl Fn(&Arrival) -> bool) {
        let Some(own) = &self.batch else { return };
        while batch.free().is_some() {
            let Some(datagram) = own.take_at(&mut self.position) else { return };
            if admits(datagram.arrival()) {
                batch.push(datagram.payload(), *datagram.arrival());
            }
        }
    }

    /// Whether there is something left.
    pub(crate) fn is_some(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.has(self.position))
    }

    /// The memory for the next merged buffer.
    pub(crate) fn refill(&mut self) -> &mut Batch {
        self.position = Position::default();
        let batch = self.batch.get_or_insert_with(|| Batch::new(1, MERGED_BYTES + 1));
        batch.clear();
        batch
    }
}
