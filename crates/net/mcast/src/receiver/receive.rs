//! Receiving from one socket or many, datagram by datagram or in batches.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mcast_sys::Received;
use mcast_sys::ready::{READY_AT_ONCE, Ready};

use super::Receiver;
use super::data_socket::DataSocket;
use super::waiting::{PollResult, PollerCheck, retry_while_again};
use super::wire::{RingCount, WirePort, Wires};
use crate::batch::{Batch, Position};
use crate::datagram::{Arrival, Datagram};
use crate::error::{Error, Operation, Result};

/// The number of refused datagrams after which an attempt ends, to check the clock and to let other
/// threads change memberships.
const REFUSED_AT_ONCE: usize = 64;

impl Receiver {
    // Inlined so that the datagram is written to the caller's memory once.
    #[inline(always)]
    pub(super) fn recv_until<'b>(
        &self,
        buffer: &'b mut [u8],
        deadline: Option<Instant>,
    ) -> Result<Option<Datagram<'b>>> {
        let mut arrival = None;
        let length = self.wait_until(deadline, |check| self.attempt(buffer, check, &mut arrival))?;
        match (length, &arrival) {
            (Some(length), Some(arrival)) => Ok(Some(Datagram::new(&buffer[..length], *arrival))),
            _ => Ok(None),
        }
    }

    pub(super) fn recv_batch_until(&self, batch: &mut Batch, deadline: Option<Instant>) -> Result<usize> {
        let received = self.wait_until(deadline, |check| self.attempt_batch(batch, check))?;
        Ok(received.unwrap_or(0))
    }

    /// Receives one admitted datagram, if there is one.
    pub(super) fn try_receive<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<Datagram<'b>>> {
        let mut arrival = None;
        let length = retry_while_again(|| self.attempt(buffer, PollerCheck::Last, &mut arrival))?;
        Ok(length.zip(arrival).map(|(length, arrival)| Datagram::new(&buffer[..length], arrival)))
    }

    /// Receives the datagrams that are available and fit the batch, and returns their number.
    pub(super) fn try_receive_batch(&self, batch: &mut Batch) -> Result<usize> {
        Ok(retry_while_again(|| self.attempt_batch(batch, PollerCheck::Last))?.unwrap_or(0))
    }

    /// Makes one attempt to receive a datagram: returns its length, and writes what is known about it to `arrival`,
    /// because returning that would copy it several times.
    #[inline]
    pub(crate) fn attempt(
        &self,
        buffer: &mut [u8],
        check: PollerCheck,
        arrival: &mut Option<Arrival>,
    ) -> Result<PollResult<usize>> {
        self.check_woken()?;
        if let Some(stored) = &self.segments {
            let mut segments = stored.lock();
            let check = if segments.is_empty() { self.due_check(check) } else { check };
            if let Some(length) = self.attempt_directly(stored, &mut segments, buffer, check, arrival)? {
                return Ok(length);
            }
            return self.attempt_segments(stored, segments, check, |segments| {
                let (next, length) = segments.next(buffer, |arrival| self.still_admits(stored, arrival))?;
                self.counters.received(1, next.truncated);
                *arrival = Some(next);
                Some(length)
            });
        }
        let mut tried = false;
        let check = self.due_check(check);
        if check != PollerCheck::First {
            let sockets = self.sockets();
            if let Some(only) = sockets.only() {
                match self.take(only, buffer, arrival)? {
                    PollResult::Nothing if check.skips_poller(&sockets) => return Ok(PollResult::Nothing),
                    PollResult::Nothing => tried = true,
                    result => return Ok(result),
                }
            }
        }
        let mut ready = Ready::empty();
        self.poll_ready(&mut ready, 1)?;
        let sockets = self.sockets();
        let Some(token) = ready.sockets().first() else {
            return match sockets.unpooled() {
                Some(unpooled) if !tried => self.take(unpooled, buffer, arrival),
                _ => Ok(PollResult::Nothing),
            };
        };
        match sockets.get(*token).map(|data| self.take(data, buffer, arrival)).transpose()? {
            // Another thread took the datagram; another socket may have one.
            None | Some(PollResult::Nothing) => Ok(PollResult::Again),
            Some(result) => Ok(result),
        }
    }

    /// Makes one attempt to receive a batch.
    pub(crate) fn attempt_batch(&self, batch: &mut Batch, check: PollerCheck) -> Result<PollResult<usize>> {
        batch.clear();
        self.check_woken()?;
        if let Some(stored) = &self.segments
            && (stored.is_pending() || self.gro && batch.buffer_bytes() < COALESCED_BYTES)
        {
            let segments = stored.lock();
            let check = if segments.is_empty() { self.due_check(check) } else { check };
            return self.attempt_segments(stored, segments, check, |segments| {
                segments.move_to(batch, |arrival| self.still_admits(stored, arrival));
                batch.iter().for_each(|datagram| self.counters.received(1, datagram.truncated));
                Some(batch.len()).filter(|count| *count > 0)
            });
        }
        let filled = self.fill_once(batch, Counted::Now, self.due_check(check))?;
        Ok(match batch.len() {
            0 if filled == Filled::Nothing && !self.has_pending() => PollResult::Nothing,
            0 => PollResult::Again,
            count => PollResult::Done(count),
        })
    }

    /// Makes one attempt to take something from the segment buffer, which is refilled if it is
    /// empty.
    fn attempt_segments<T>(
        &self,
        stored: &SegmentBuffer,
        mut segments: MutexGuard<'_, Segments>,
        check: PollerCheck,
        take: impl FnOnce(&mut Segments) -> Option<T>,
    ) -> Result<PollResult<T>> {
        let filled = match segments.is_empty() {
            true => self.fill_once(stored.refill(&mut segments), Counted::Later, check)?,
            false => Filled::All,
        };
        if filled == Filled::Nothing {
            segments.traffic = Traffic::Idle;
        }
        let taken = take(&mut segments);
        let is_pending = !segments.is_empty();
        if stored.set_pending(is_pending) {
            self.poller.set_pending(is_pending).map_err(|error| Error::os(Operation::Receive, error))?;
        }
        Ok(match taken {
            Some(taken) => PollResult::Done(taken),
            None if filled == Filled::Nothing => PollResult::Nothing,
            None => PollResult::Again,
        })
    }

    /// Receives a datagram that probably comes alone into the caller's buffer, which saves preparing many buffers and a
    /// copy. What turns out to be several, or longer than the caller's buffer, goes to the segment buffer instead.
    /// Returns `None` if the segment buffer must be asked.
    fn attempt_directly(
        &self,
        stored: &SegmentBuffer,
        segments: &mut Segments,
        buffer: &mut [u8],
        check: PollerCheck,
        arrival: &mut Option<Arrival>,
    ) -> Result<Option<PollResult<usize>>> {
        if segments.traffic == Traffic::Dense || !segments.is_empty() {
            return Ok(None);
        }
        let sockets = self.sockets();
        // A wait for this socket alone follows. Where rings are read, they come first.
        let Some(only) = sockets.unpooled().filter(|_| check == PollerCheck::Waiting) else {
            return Ok(None);
        };
        let batch = stored.refill(segments);
        let mut received = Received::default();
        for _ in 0..REFUSED_AT_ONCE {
            let rest = batch.buffer_mut(0).get_mut(buffer.len()..).unwrap_or_default();
            match only.socket.receive_into(buffer, rest, &mut received) {
                Ok(()) => {}
                Err(error) if is_nothing(&error) => {
                    segments.traffic = Traffic::Idle;
                    return Ok(Some(PollResult::Nothing));
                }
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            }
            self.counters.count_call();
            let Some(next) = only.arrival(&received) else {
                self.counters.refused();
                continue;
            };
            let segment = received.segment.unwrap_or(received.length).max(1);
            if received.length > buffer.len() || received.length > segment {
                let begun = received.length.min(buffer.len());
                batch.buffer_mut(0)[..begun].copy_from_slice(&buffer[..begun]);
                if batch.hold(0, received.length, segment, next) > 1 {
                    self.counters.merged();
                }
                segments.traffic = Traffic::Dense;
                return Ok(None);
            }
            segments.traffic = segments.traffic.next();
            self.counters.received(1, next.truncated);
            *arrival = Some(next);
            return Ok(Some(PollResult::Done(received.length)));
        }
        Ok(Some(PollResult::Again))
    }

    /// Returns whether the segment buffer holds datagrams, which another thread may have left there.
    fn has_pending(&self) -> bool {
        self.segments.as_ref().is_some_and(SegmentBuffer::is_pending)
    }

    /// Fills a batch once, from the only socket or from all that are readable.
    fn fill_once(&self, batch: &mut Batch, counted: Counted, check: PollerCheck) -> Result<Filled> {
        let mut tried = false;
        if check != PollerCheck::First {
            let sockets = self.sockets();
            if let Some(wires) = &sockets.wires {
                // What was taken off the interface arrived before what continued to the sockets, and needs no system
                // call to read.
                let filled = self.fill_from_rings(batch, wires, counted);
                if filled != Filled::Nothing || check.skips_poller(&sockets) {
                    return Ok(filled);
                }
            } else if let Some(only) = sockets.only() {
                match self.fill(batch, only, counted)? {
                    Filled::Nothing if check.skips_poller(&sockets) => return Ok(Filled::Nothing),
                    Filled::Nothing => tried = true,
                    filled => return Ok(filled),
                }
            }
        }
        self.fill_ready(batch, counted, tried)
    }

    /// Fills a batch from all readable sockets. A socket that is not registered with the poller is
    /// read only if it was not `tried` before.
    fn fill_ready(&self, batch: &mut Batch, counted: Counted, tried: bool) -> Result<Filled> {
        let mut ready = Ready::empty();
        self.poll_ready(&mut ready, READY_AT_ONCE)?;
        let sockets = self.sockets();
        if let Some(unpooled) = sockets.unpooled() {
            debug_assert!(!self.wired, "rings and sockets are waited for together");
            return if tried { Ok(Filled::Nothing) } else { self.fill(batch, unpooled, counted) };
        }
        for token in ready.sockets() {
            let filled = match (sockets.get(*token), sockets.ring(*token)) {
                (Some(data), _) => self.fill(batch, data, counted)?,
                (None, Some((port, ring))) => self.fill_from_ring(batch, port, ring, counted),
                (None, None) => continue,
            };
            if filled == Filled::All {
                return Ok(Filled::All);
            }
        }
        Ok(if ready.sockets().is_empty() { Filled::Nothing } else { Filled::Some })
    }

    /// Returns whether a stored datagram is still admitted; counts it as refused if not.
    #[inline]
    fn still_admits(&self, stored: &SegmentBuffer, arrival: &Arrival) -> bool {
        let admits = !stored.is_outdated() || self.sockets().admits(arrival);
        if !admits {
            self.counters.refused();
        }
        admits
    }

    /// Returns when an attempt that asks the kernel checks the poller: sometimes first although datagrams keep arriving,
    /// for changed interfaces, and for sockets beside rings.
    ///
    /// Called once for each such attempt, and not for those that stored datagrams serve: when every second attempt asks,
    /// counting all or counting twice lets the one that is due always fall on one that does not ask.
    fn due_check(&self, check: PollerCheck) -> PollerCheck {
        if !self.follows && !self.wired {
            return check;
        }
        // Sockets beside rings have datagrams more often than interfaces change.
        let every = if self.wired { 32 } else { 256 };
        // Threads may overwrite each other's count, which is cheaper than counting together.
        let attempts = self.busy.load(Ordering::Relaxed).wrapping_add(1);
        self.busy.store(attempts, Ordering::Relaxed);
        if attempts.is_multiple_of(every) { PollerCheck::First } else { check }
    }

    /// Receives from a socket until a datagram is admitted, none is left, or too many were refused.
    fn take(
        &self,
        data: &DataSocket,
        buffer: &mut [u8],
        arrival: &mut Option<Arrival>,
    ) -> Result<PollResult<usize>> {
        let mut received = Received::default();
        for _ in 0..REFUSED_AT_ONCE {
            match data.receive(buffer, &mut received) {
                Ok(()) => {}
                Err(error) if is_nothing(&error) => return Ok(PollResult::Nothing),
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            }
            self.counters.count_call();
            if let Some(admitted) = data.arrival(&received) {
                *arrival = Some(admitted);
                self.counters.received(1, received.truncated);
                return Ok(PollResult::Done(received.length));
            }
            self.counters.refused();
        }
        Ok(PollResult::Again)
    }

    /// Moves datagrams that were taken off interfaces into the free part of a batch.
    fn fill_from_rings(&self, batch: &mut Batch, wires: &Wires, counted: Counted) -> Filled {
        let mut filled = Filled::Nothing;
        for port in wires.ports() {
            let taken = port.fill(batch);
            match self.count(taken, batch, counted) {
                Filled::Nothing => {}
                Filled::Some => filled = Filled::Some,
                Filled::All => return Filled::All,
            }
        }
        filled
    }

    /// Moves the datagrams of one ring into the free part of a batch.
    fn fill_from_ring(&self, batch: &mut Batch, port: &WirePort, ring: usize, counted: Counted) -> Filled {
        let mut taken = RingCount::default();
        port.fill_from(ring, batch, &mut taken);
        if taken == RingCount::default() {
            port.check(ring, &self.poller);
        }
        self.count(taken, batch, counted)
    }

    fn count(&self, taken: RingCount, batch: &Batch, counted: Counted) -> Filled {
        if taken == RingCount::default() {
            return Filled::Nothing;
        }
        self.counters.taken(taken, counted == Counted::Now);
        if batch.free().is_some() { Filled::Some } else { Filled::All }
    }

    /// Receives from a socket into the free part of a batch.
    fn fill(&self, batch: &mut Batch, data: &DataSocket, counted: Counted) -> Result<Filled> {
        let Some(first) = batch.free() else {
            return Ok(Filled::All);
        };
        let (slots, buffers) = batch.receive_space(first);
        let count = match data.socket.receive_many(slots, buffers) {
            Ok(count) => count,
            Err(error) if is_nothing(&error) => return Ok(Filled::Nothing),
            Err(error) => return Err(Error::os(Operation::Receive, error)),
        };
        self.counters.count_call();
        let mut received = Received::default();
        for slot in 0..count {
            batch.read(slot, &mut received).map_err(|error| Error::os(Operation::Receive, error))?;
            let Some(arrival) = data.arrival(&received) else {
                self.counters.refused();
                continue;
            };
            let segment = received.segment.unwrap_or(received.length).max(1);
            let truncated = arrival.truncated;
            let count = batch.hold(first + slot, received.length, segment, arrival);
            if count > 1 {
                self.counters.merged();
            }
            if counted == Counted::Now {
                self.counters.received(count as u64, truncated);
            }
        }
        Ok(if batch.free().is_some() { Filled::Some } else { Filled::All })
    }
}

/// The result of filling a batch from a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// Nothing was available.
    Nothing,
    /// Datagrams arrived, perhaps none of them admitted, and there is room left.
    Some,
    /// There is no room left.
    All,
}

/// Whether datagrams are counted at once, or when they are delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Now,
    Later,
}

/// Returns whether the error only means that nothing is available.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

// The segment buffer of a receiver with GRO.
//
// With GRO, one receive may return many equally long datagrams in one coalesced buffer. Calls that
// take one datagram, or whose buffers are too small for a coalesced buffer, are served from here.

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
    traffic: Traffic,
}

/// How datagrams arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Traffic {
    /// The last attempt found nothing.
    #[default]
    Idle,
    /// One has arrived since then.
    Single,
    /// Several have arrived, so that one system call should receive many.
    Dense,
}

impl Traffic {
    /// Returns what it is after another datagram.
    const fn next(self) -> Self {
        match self {
            Self::Idle => Self::Single,
            Self::Single | Self::Dense => Self::Dense,
        }
    }
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
