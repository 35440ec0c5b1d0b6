//! How a receiver receives: from one socket or many, single datagrams or merged ones.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Receiver;
use super::data_socket::DataSocket;
use super::merging::{Leftover, Phase};
use super::waiting::{Attempt, Look, at_last};
use crate::batch::Batch;
use crate::datagram::{Arrival, Datagram};
use crate::error::{Error, Operation, Result};
use crate::sys::ready::{READY_AT_ONCE, Ready};

/// Datagrams of others that one attempt passes over: then it is time to look at the clock, and to
/// let those in who want to change memberships.
const REFUSED_AT_ONCE: usize = 64;

impl Receiver {
    pub(super) fn recv_until<'b>(
        &self,
        buffer: &'b mut [u8],
        deadline: Option<Instant>,
    ) -> Result<Option<Datagram<'b>>> {
        let arrived = self.wait_until(deadline, |look| self.attempt(buffer, look))?;
        Ok(arrived.map(|(arrival, length)| Datagram::new(&buffer[..length], arrival)))
    }

    pub(crate) fn recv_batch_until(&self, batch: &mut Batch, deadline: Option<Instant>) -> Result<usize> {
        let received = self.wait_until(deadline, |look| self.attempt_batch(batch, look))?;
        Ok(received.unwrap_or(0))
    }

    /// Receives one datagram that is this receiver's, if there is one.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<(Arrival, usize)>> {
        at_last(|| self.attempt(buffer, Look::Last))
    }

    /// Receives what is there, up to what the batch holds; says how many datagrams.
    pub(super) fn try_receive_batch(&self, batch: &mut Batch) -> Result<usize> {
        Ok(at_last(|| self.attempt_batch(batch, Look::Last))?.unwrap_or(0))
    }

    /// Tries once to receive a datagram.
    #[inline]
    pub(crate) fn attempt(&self, buffer: &mut [u8], look: Look) -> Result<Attempt<(Arrival, usize)>> {
        // One datagram is what is asked for, so that no buffer is large enough for several.
        const BYTES: usize = 0;

        self.check_woken()?;
        self.fit(BYTES)?;
        let mut tried = false;
        if look != Look::First && !self.must_look() {
            let sockets = self.sockets();
            // Looked at while the sockets are held: the phase changes only while nobody does.
            if !self.merging.suits(BYTES) {
                drop(sockets);
                return self.attempt_leftover(buffer);
            }
            if let Some(only) = sockets.only() {
                match self.take(only, buffer)? {
                    Attempt::Nothing if look.is_left_out(&sockets) => return Ok(self.nothing()),
                    Attempt::Nothing => tried = true,
                    result => return Ok(result),
                }
            }
        }
        let mut ready = Ready::new();
        self.look(&mut ready, 1)?;
        let sockets = self.sockets();
        if !self.merging.suits(BYTES) {
            return Ok(Attempt::Again);
        }
        let Some(token) = ready.sockets().first() else {
            return match sockets.apart() {
                Some(apart) if !tried => Ok(self.take(apart, buffer)?.or(|| self.nothing())),
                _ => Ok(self.nothing()),
            };
        };
        match sockets.get(*token).map(|data| self.take(data, buffer)).transpose()? {
            // Another thread was faster here; another socket may have something.
            None | Some(Attempt::Nothing) => Ok(Attempt::Again),
            Some(result) => Ok(result),
        }
    }

    /// Tries once to receive what is there, up to what the batch holds.
    pub(crate) fn attempt_batch(&self, batch: &mut Batch, look: Look) -> Result<Attempt<usize>> {
        batch.clear();
        self.check_woken()?;
        self.fit(batch.buffer_bytes())?;
        if self.merging.is_left() {
            return self.attempt_leftovers(batch);
        }
        let mut tried = false;
        if look != Look::First && !self.must_look() {
            let sockets = self.sockets();
            if !self.merging.suits(batch.buffer_bytes()) {
                drop(sockets);
                return self.attempt_leftovers(batch);
            }
            if let Some(only) = sockets.only() {
                match (self.fill(batch, only, Counted::Now)?, batch.len()) {
                    (Filled::Nothing, _) if look.is_left_out(&sockets) => return Ok(self.nothing()),
                    (Filled::Nothing, _) => tried = true,
                    // All of it was refused.
                    (_, 0) => return Ok(Attempt::Again),
                    (_, count) => return Ok(Attempt::Done(count)),
                }
            }
        }
        let some = self.fill_ready(batch, Counted::Now, tried)?;
        Ok(match batch.len() {
            0 if some => Attempt::Again,
            0 => self.nothing(),
            count => Attempt::Done(count),
        })
    }

    /// Nothing was found, unless another thread left something over meanwhile.
    fn nothing<T>(&self) -> Attempt<T> {
        if self.merging.is_left() { Attempt::Again } else { Attempt::Nothing }
    }

    /// Receives into a batch from all sockets that have something, but from the one that is apart
    /// only if it was not `tried` before; says whether any had.
    fn fill_ready(&self, batch: &mut Batch, counted: Counted, tried: bool) -> Result<bool> {
        let mut ready = Ready::new();
        self.look(&mut ready, READY_AT_ONCE)?;
        let sockets = self.sockets();
        if !self.merging.suits(batch.buffer_bytes()) {
            return Ok(true);
        }
        if let Some(apart) = sockets.apart() {
            return Ok(!tried && self.fill(batch, apart, counted)? != Filled::Nothing);
        }
        for data in ready.sockets().iter().filter_map(|token| sockets.get(*token)) {
            if self.fill(batch, data, counted)? == Filled::All {
                break;
            }
        }
        Ok(!ready.sockets().is_empty())
    }

    /// Goes into or out of merging, as buffers of so many bytes need it.
    #[inline]
    fn fit(&self, bytes: usize) -> Result<()> {
        match self.merging.change_for(bytes) {
            None => Ok(()),
            Some(phase) => self.change_merging(phase),
        }
    }

    #[cold]
    fn change_merging(&self, phase: Phase) -> Result<()> {
        let mut sockets = self.sockets_mut();
        if phase == Phase::Leaving {
            // Then it is the poller that says whether there is something left.
            sockets.pool(&self.poller).map_err(|error| Error::os(Operation::Receive, error))?;
        }
        // The size of merged datagrams is told only while merging is on, so that it must stay on
        // for what is merged already.
        let can = phase == Phase::Leaving
            || sockets.set_merging(true).map_err(|error| Error::os(Operation::Receive, error))?;
        match can {
            true => self.merging.enter(phase),
            false => self.merging.forbid(),
        }
        Ok(())
    }

    /// Ends merging, now that nothing seems to be there; says whether something has come meanwhile,
    /// so that it goes on.
    #[cold]
    fn end_merging(&self) -> Result<bool> {
        let failed = |error| Error::os(Operation::Receive, error);
        let mut sockets = self.sockets_mut();
        if self.merging.phase() != Phase::Leaving {
            return Ok(false);
        }
        sockets.set_merging(false).map_err(failed)?;
        let mut ready = Ready::new();
        self.poller.ready(READY_AT_ONCE, &mut ready).map_err(failed)?;
        if ready.woken {
            // Whoever is meant by the wake-up must still find it.
            self.poller.wake().map_err(failed)?;
        }
        let some = !ready.sockets().is_empty();
        match some {
            true => _ = sockets.set_merging(true).map_err(failed)?,
            false => self.merging.enter(Phase::Single),
        }
        Ok(some)
    }

    /// Tries once to receive a datagram while merged buffers may still come.
    #[cold]
    fn attempt_leftover(&self, buffer: &mut [u8]) -> Result<Attempt<(Arrival, usize)>> {
        let mut leftover = self.merging.leftover();
        let some = self.refill(&mut leftover)?;
        let arrived = leftover.next(buffer, |arrival| self.still_admits(arrival));
        let again = self.after_leftover(&leftover, some)?;
        Ok(match arrived {
            Some((arrival, length)) => {
                self.counters.received(1, arrival.truncated);
                Attempt::Done((arrival, length))
            }
            None if again => Attempt::Again,
            None => Attempt::Nothing,
        })
    }

    /// The same for a batch.
    #[cold]
    fn attempt_leftovers(&self, batch: &mut Batch) -> Result<Attempt<usize>> {
        let mut leftover = self.merging.leftover();
        let some = self.refill(&mut leftover)?;
        leftover.move_to(batch, |arrival| self.still_admits(arrival));
        let again = self.after_leftover(&leftover, some)?;
        batch.iter().for_each(|datagram| self.counters.received(1, datagram.truncated));
        Ok(match batch.len() {
            0 if again => Attempt::Again,
            0 => Attempt::Nothing,
            count => Attempt::Done(count),
        })
    }

    /// Receives the next merged buffer, if nothing is left of the last; says whether there was
    /// something.
    fn refill(&self, leftover: &mut Leftover) -> Result<bool> {
        if leftover.is_some() { Ok(true) } else { self.fill_ready(leftover.refill(), Counted::Later, false) }
    }

    /// Makes it known whether something is left; says whether there may be more to receive.
    fn after_leftover(&self, leftover: &Leftover, some: bool) -> Result<bool> {
        let left = leftover.is_some();
        self.merging.leave(left);
        if left {
            // What is held here must show in the descriptor.
            self.poller.wake().map_err(|error| Error::os(Operation::Receive, error))?;
        }
        if some { Ok(true) } else { self.end_merging() }
    }

    /// Whether what was received before is still wanted; counts it as refused if not.
    fn still_admits(&self, arrival: &Arrival) -> bool {
        let admits = self.sockets().admits(arrival);
        if !admits {
            self.counters.refused();
        }
        admits
    }

    /// Whether it is time to look for changed interfaces although datagrams keep coming.
    fn must_look(&self) -> bool {
        const EVERY: u32 = 256;
        self.follows && self.busy.fetch_add(1, Ordering::Relaxed) % EVERY == EVERY - 1
    }

    /// Takes datagrams from a socket until one is admitted or none is left, or enough were not.
    #[inline]
    fn take(&self, data: &DataSocket, buffer: &mut [u8]) -> Result<Attempt<(Arrival, usize)>> {
        for _ in 0..REFUSED_AT_ONCE {
            let received = match data.receive(buffer) {
                Ok(received) => received,
                Err(error) if is_nothing(&error) => return Ok(Attempt::Nothing),
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            };
            self.counters.called();
            if let Some(arrival) = data.arrival(&received) {
                self.counters.received(1, arrival.truncated);
                return Ok(Attempt::Done((arrival, received.length)));
            }
            self.counters.refused();
        }
        Ok(Attempt::Again)
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
        self.counters.called();
        for slot in 0..count {
            let received = batch.received(slot).map_err(|error| Error::os(Operation::Receive, error))?;
            let Some(arrival) = data.arrival(&received) else {
                self.counters.refused();
                continue;
            };
            let segment = received.segment.unwrap_or(received.length).max(1);
            let count = received.length.div_ceil(segment).max(1) as u64;
            if count > 1 {
                self.counters.merged();
            }
            if counted == Counted::Now {
                self.counters.received(count, arrival.truncated);
            }
            batch.hold(first + slot, received.length, segment, arrival);
        }
        Ok(if batch.free().is_some() { Filled::Some } else { Filled::All })
    }
}

/// What came of filling a batch from a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// Nothing was there.
    Nothing,
    /// Something came, perhaps none of it admitted, and there is room left.
    Some,
    /// There is no room left.
    All,
}

/// Whether what is received is counted at once, or when it is handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Now,
    Later,
}

/// Whether there is just nothing to receive.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
