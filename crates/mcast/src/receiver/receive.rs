//! How a receiver receives: from one socket or many, single datagrams or merged ones, with waits
//! that end for every reason they may.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Receiver;
use super::control::Control;
use super::merging::Phase;
use super::sockets::DataSocket;
use crate::batch::Batch;
use crate::datagram::{Arrival, Datagram};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::sys::ready::{READY_AT_ONCE, Ready};

impl Receiver {
    pub(super) fn recv_until<'b>(
        &self,
        buffer: &'b mut [u8],
        deadline: Option<Instant>,
    ) -> Result<Option<Datagram<'b>>> {
        let arrived = self.wait_until(deadline, || self.try_receive(buffer))?;
        Ok(arrived.map(|(arrival, length)| Datagram::new(&buffer[..length], arrival)))
    }

    pub(crate) fn recv_batch_until(&self, batch: &mut Batch, deadline: Option<Instant>) -> Result<usize> {
        let received = self.wait_until(deadline, || match self.try_recv_batch(batch)? {
            0 => Ok(None),
            count => Ok(Some(count)),
        })?;
        Ok(received.unwrap_or(0))
    }

    /// Tries until there is something or the time is over.
    fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut spin_until = None;
        loop {
            if let Some(result) = attempt()? {
                return Ok(Some(result));
            }
            if !self.spin.is_zero() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
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
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<(Arrival, usize)>> {
        self.check_woken()?;
        // One datagram is what is asked for, so that no buffer is large enough for several.
        self.fit(0)?;
        if self.merging.phase() == Phase::Leaving {
            return self.receive_leftover(buffer);
        }
        if !self.must_look()
            && let Some(only) = self.sockets().only()
            && let Some(arrived) = self.take(only, buffer)?
        {
            return Ok(Some(arrived));
        }
        let mut ready = Ready::new();
        loop {
            self.look(&mut ready, 1)?;
            let sockets = self.sockets();
            let Some(token) = ready.sockets().first() else {
                return Ok(None);
            };
            let taken = sockets.get(*token).map(|data| self.take(data, buffer)).transpose()?.flatten();
            if taken.is_some() {
                return Ok(taken);
            }
        }
    }

    /// Receives what is there, up to what the batch holds; says how many datagrams.
    pub(super) fn try_receive_batch(&self, batch: &mut Batch) -> Result<usize> {
        batch.clear();
        self.check_woken()?;
        self.fit(batch.buffer_bytes())?;
        if self.merging.phase() == Phase::Leaving || self.merging.has_merged() && self.has_leftover() {
            return self.receive_leftovers(batch);
        }
        if !self.must_look()
            && let Some(only) = self.sockets().only()
        {
            self.fill(batch, only)?;
            if !batch.is_empty() {
                return Ok(batch.len());
            }
        }
        self.receive_ready(batch)?;
        Ok(batch.len())
    }

    /// Receives into a batch from all sockets that have something.
    fn receive_ready(&self, batch: &mut Batch) -> Result<()> {
        let mut ready = Ready::new();
        self.look(&mut ready, READY_AT_ONCE)?;
        let sockets = self.sockets();
        for data in ready.sockets().iter().filter_map(|token| sockets.get(*token)) {
            if !self.fill(batch, data)? {
                break;
            }
        }
        Ok(())
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

    /// Ends merging, now that nothing seems to be there, unless something has come meanwhile.
    #[cold]
    fn end_merging(&self) -> Result<()> {
        let failed = |error| Error::os(Operation::Receive, error);
        let mut sockets = self.sockets_mut();
        if self.merging.phase() != Phase::Leaving {
            return Ok(());
        }
        sockets.set_merging(false).map_err(failed)?;
        let mut ready = Ready::new();
        self.poller.ready(READY_AT_ONCE, &mut ready).map_err(failed)?;
        match ready.sockets().is_empty() {
            true => self.merging.enter(Phase::Single),
            false => _ = sockets.set_merging(true).map_err(failed)?,
        }
        Ok(())
    }

    /// Receives one datagram while merged buffers may still come.
    fn receive_leftover(&self, buffer: &mut [u8]) -> Result<Option<(Arrival, usize)>> {
        let mut leftover = self.merging.leftover();
        if !leftover.is_some() {
            self.receive_ready(leftover.refill())?;
        }
        let arrived = leftover.next(buffer);
        self.after_leftover(leftover.is_some(), arrived.is_some())?;
        Ok(arrived)
    }

    /// The same for a batch.
    fn receive_leftovers(&self, batch: &mut Batch) -> Result<usize> {
        let mut leftover = self.merging.leftover();
        if !leftover.is_some() {
            self.receive_ready(leftover.refill())?;
        }
        leftover.move_to(batch);
        self.after_leftover(leftover.is_some(), !batch.is_empty())?;
        Ok(batch.len())
    }

    fn after_leftover(&self, more: bool, arrived: bool) -> Result<()> {
        if more {
            // What is held here must show in the descriptor.
            return self.poller.wake().map_err(|error| Error::os(Operation::Receive, error));
        }
        if arrived { Ok(()) } else { self.end_merging() }
    }

    fn has_leftover(&self) -> bool {
        self.merging.leftover().is_some()
    }

    /// Whether it is time to look for changed interfaces although datagrams keep coming.
    fn must_look(&self) -> bool {
        const EVERY: u32 = 256;
        self.follows && self.busy.fetch_add(1, Ordering::Relaxed) % EVERY == EVERY - 1
    }

    /// Takes datagrams from a socket until one is admitted or none is left.
    fn take(&self, data: &DataSocket, buffer: &mut [u8]) -> Result<Option<(Arrival, usize)>> {
        loop {
            let received = match data.socket.receive(buffer) {
                Ok(received) => received,
                Err(error) if is_nothing(&error) => return Ok(None),
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            };
            self.counters.called();
            if let Some(arrival) = data.arrival(&received) {
                self.counters.received(1, arrival.truncated);
                return Ok(Some((arrival, received.length)));
            }
            self.counters.refused();
        }
    }

    /// Receives from a socket into the free part of a batch; says whether there is more room.
    fn fill(&self, batch: &mut Batch, data: &DataSocket) -> Result<bool> {
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
            match data.arrival(&received) {
                Some(arrival) => {
                    let segment = received.segment.unwrap_or(received.length).max(1);
                    let count = received.length.div_ceil(segment).max(1) as u64;
                    self.counters.received(count, arrival.truncated);
                    batch.hold(first + slot, received.length, segment, arrival);
                }
                None => self.counters.refused(),
            }
        }
        Ok(batch.free().is_some())
    }

    /// Sees which sockets have something, and does what else is to be done.
    fn look(&self, ready: &mut Ready, limit: usize) -> Result<()> {
        loop {
            self.check_woken()?;
            self.poller.ready(limit, ready).map_err(|error| Error::os(Operation::Receive, error))?;
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

/// Whether there is just nothing to receive.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
