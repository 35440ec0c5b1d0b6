//! How a receiver receives: from one socket or many, single datagrams or merged ones, with waits
//! that end for every reason they may.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Receiver;
use super::control::Control;
use super::merging::{Leftover, Phase};
use super::sockets::DataSocket;
use crate::batch::Batch;
use crate::datagram::{Arrival, Datagram};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::sys::ready::{READY_AT_ONCE, Ready};

/// Datagrams of others that one attempt passes over: then it is time to look at the clock, and to
/// let those in who want to change memberships.
const REFUSED_AT_ONCE: usize = 64;

/// What an attempt to receive came to.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    /// This was received.
    Done(T),
    /// Nothing yet, but there may be something.
    Again,
    /// Nothing is there.
    Nothing,
}

impl Receiver {
    pub(super) fn recv_until<'b>(
        &self,
        buffer: &'b mut [u8],
        deadline: Option<Instant>,
    ) -> Result<Option<Datagram<'b>>> {
        let arrived = self.wait_until(deadline, || self.attempt(buffer))?;
        Ok(arrived.map(|(arrival, length)| Datagram::new(&buffer[..length], arrival)))
    }

    pub(crate) fn recv_batch_until(&self, batch: &mut Batch, deadline: Option<Instant>) -> Result<usize> {
        let received = self.wait_until(deadline, || self.attempt_batch(batch))?;
        Ok(received.unwrap_or(0))
    }

    /// Tries until there is something or the time is over.
    fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<Attempt<T>>,
    ) -> Result<Option<T>> {
        let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut spin_until = None;
        loop {
            match attempt()? {
                Attempt::Done(result) => return Ok(Some(result)),
                Attempt::Again if is_over() => return Ok(None),
                Attempt::Again => continue,
                Attempt::Nothing => {}
            }
            if !self.spin.is_zero() && !is_over() {
                let until = *spin_until.get_or_insert_with(|| Instant::now().checked_add(self.spin));
                if until.is_none_or(|until| Instant::now() < until) {
                    std::hint::spin_loop();
                    continue;
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            match self.poller.wait(left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::os(Operation::Receive, error));
                }
                _ => {}
            }
        }
    }

    /// Receives one datagram that is this receiver's, if there is one.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<(Arrival, usize)>> {
        at_last(|| self.attempt(buffer))
    }

    /// Receives what is there, up to what the batch holds; says how many datagrams.
    pub(super) fn try_receive_batch(&self, batch: &mut Batch) -> Result<usize> {
        Ok(at_last(|| self.attempt_batch(batch))?.unwrap_or(0))
    }

    /// Tries once to receive a datagram.
    pub(crate) fn attempt(&self, buffer: &mut [u8]) -> Result<Attempt<(Arrival, usize)>> {
        // One datagram is what is asked for, so that no buffer is large enough for several.
        const BYTES: usize = 0;

        self.check_woken()?;
        self.fit(BYTES)?;
        if !self.must_look() {
            let sockets = self.sockets();
            // Looked at while the sockets are held: the phase changes only while nobody does.
            if !self.merging.suits(BYTES) {
                drop(sockets);
                return self.attempt_leftover(buffer);
            }
            if let Some(only) = sockets.only() {
                match self.take(only, buffer)? {
                    Attempt::Nothing => {}
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
            return Ok(self.nothing());
        };
        match sockets.get(*token).map(|data| self.take(data, buffer)).transpose()? {
            // Another thread was faster here; another socket may have something.
            None | Some(Attempt::Nothing) => Ok(Attempt::Again),
            Some(result) => Ok(result),
        }
    }

    /// Tries once to receive what is there, up to what the batch holds.
    pub(crate) fn attempt_batch(&self, batch: &mut Batch) -> Result<Attempt<usize>> {
        batch.clear();
        self.check_woken()?;
        self.fit(batch.buffer_bytes())?;
        if self.merging.is_left() {
            return self.attempt_leftovers(batch);
        }
        if !self.must_look() {
            let sockets = self.sockets();
            if !self.merging.suits(batch.buffer_bytes()) {
                drop(sockets);
                return self.attempt_leftovers(batch);
            }
            if let Some(only) = sockets.only() {
                self.fill(batch, only, Counted::Now)?;
                if !batch.is_empty() {
                    return Ok(Attempt::Done(batch.len()));
                }
            }
        }
        let some = self.fill_ready(batch, Counted::Now)?;
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

    /// Receives into a batch from all sockets that have something; says whether any had.
    fn fill_ready(&self, batch: &mut Batch, counted: Counted) -> Result<bool> {
        let mut ready = Ready::new();
        self.look(&mut ready, READY_AT_ONCE)?;
        let sockets = self.sockets();
        if !self.merging.suits(batch.buffer_bytes()) {
            return Ok(true);
        }
        for data in ready.sockets().iter().filter_map(|token| sockets.get(*token)) {
            if !self.fill(batch, data, counted)? {
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
        if leftover.is_some() { Ok(true) } else { self.fill_ready(leftover.refill(), Counted::Later) }
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
    fn take(&self, data: &DataSocket, buffer: &mut [u8]) -> Result<Attempt<(Arrival, usize)>> {
        for _ in 0..REFUSED_AT_ONCE {
            let received = match data.socket.receive(buffer) {
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

    /// Receives from a socket into the free part of a batch; says whether there is more room.
    fn fill(&self, batch: &mut Batch, data: &DataSocket, counted: Counted) -> Result<bool> {
        let Some(first) = batch.free() else {
            return Ok(false);
        };
        let (slots, buffers) = batch.receive_space(first);
        let count = match data.socket.receive_many(slots, buffers) {
            Ok(count) => count,
            Err(error) if is_nothing(&error) => return Ok(true),
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
        Ok(batch.free().is_some())
    }

    /// Sees which sockets have something, and does what else is to be done.
    fn look(&self, ready: &mut Ready, limit: usize) -> Result<()> {
        loop {
            self.poller.ready(limit, ready).map_err(|error| Error::os(Operation::Receive, error))?;
            if ready.woken {
                self.check_woken()?;
                if self.merging.is_left() {
                    // It stood for what is left over, which others who wait must find, too.
                    return self.poller.wake().map_err(|error| Error::os(Operation::Receive, error));
                }
            }
            if ready.interfaces_changed {
                self.steer(Control::refresh)?;
            }
            // A wake-up that somebody else has taken, or a refresh: look again.
            if !ready.woken && !ready.interfaces_changed || !ready.sockets().is_empty() {
                return Ok(());
            }
        }
    }

    fn check_woken(&self) -> Result<()> {
        if self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::Acquire) {
            return Err(Error::new(Operation::Receive, ErrorKind::Woken));
        }
        Ok(())
    }
}

/// Whether what is received is counted at once, or when it is handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Now,
    Later,
}

/// Tries until there is something, or nothing.
fn at_last<T>(mut attempt: impl FnMut() -> Result<Attempt<T>>) -> Result<Option<T>> {
    loop {
        match attempt()? {
            Attempt::Done(result) => return Ok(Some(result)),
            Attempt::Again => {}
            Attempt::Nothing => return Ok(None),
        }
    }
}

/// Whether there is just nothing to receive.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
