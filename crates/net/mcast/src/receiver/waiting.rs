//! Waiting: as few unnecessary system calls as possible, without missing an event that ends a wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mcast_sys::poller::Poller;
use mcast_sys::ready::{Ready, WakeReason};

use super::Receiver;
use super::control::Control;
use super::sockets::Sockets;
use crate::error::{Error, ErrorKind, Operation, Result};

/// The result of an attempt to receive.
#[derive(Debug)]
pub(crate) enum PollResult<T> {
    /// This was received.
    Done(T),
    /// Nothing yet, but another attempt may succeed.
    Again,
    /// Nothing is available.
    Nothing,
}

/// When an attempt checks the poller, which reports readable sockets, wake-ups and changed
/// interfaces. A receiver with one socket can skip it and try that socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollerCheck {
    /// Before anything else: the poller has an event.
    First,
    /// When the only socket has nothing.
    Last,
    /// Never, if the only socket is waited for directly: a wait follows, which notices every event
    /// of the poller.
    Waiting,
}

impl PollerCheck {
    /// Returns whether the poller need not be checked after the only socket had nothing.
    pub(super) fn skips_poller(self, sockets: &Sockets) -> bool {
        self == Self::Waiting && sockets.unpooled().is_some()
    }
}

impl Receiver {
    /// Repeats attempts until one succeeds or the deadline has passed.
    pub(super) fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(PollerCheck) -> Result<PollResult<T>>,
    ) -> Result<Option<T>> {
        let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut spin_until = None;
        let mut check = PollerCheck::Waiting;
        loop {
            match attempt(check)? {
                PollResult::Done(result) => return Ok(Some(result)),
                PollResult::Again if is_over() => return Ok(None),
                PollResult::Again => continue,
                PollResult::Nothing => check = PollerCheck::Waiting,
            }
            // Spinning starts again with each call: its length bounds what a quiet group costs, and not how long a busy one is
            // served without sleeping.
            if !self.spin.is_zero() {
                let now = Instant::now();
                let until = *spin_until
                    .get_or_insert_with(|| now.checked_add(self.spin).into_iter().chain(deadline).min());
                if until.is_none_or(|until| now < until) {
                    std::hint::spin_loop();
                    continue;
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            match self.sleep(left) {
                // The poller names a socket that is readable: the attempt need not ask all of them.
                Ok(WakeReason::Poller) => check = PollerCheck::First,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            }
        }
    }

    /// Sleeps until a receive has work to do or the timeout has passed; returns the reason. The
    /// sockets may change meanwhile.
    pub(super) fn sleep(&self, timeout: Option<Duration>) -> io::Result<WakeReason> {
        let unpooled = self.sockets().unpooled().map(|data| Arc::clone(&data.socket));
        match unpooled {
            Some(socket) => self.poller.wait_beside(&socket, timeout),
            None => Ok(if self.poller.wait(timeout)? { WakeReason::Socket } else { WakeReason::Nothing }),
        }
    }

    /// Makes the poller's descriptor represent all sockets.
    #[cfg(any(unix, feature = "tokio"))]
    pub(super) fn pool(&self) {
        if self.sockets().pool(&self.poller).is_err() {
            // The descriptor becomes readable, and the next receive tries again and reports the
            // error.
            self.pool_pending.store(true, Ordering::Release);
            let _ = self.poller.wake();
        }
    }

    /// Polls for readable sockets, and handles wake-ups and changed interfaces.
    pub(super) fn poll_ready(&self, ready: &mut Ready, limit: usize) -> Result<()> {
        let failed = |error| Error::os(Operation::Receive, error);
        loop {
            self.poller.ready(limit, ready).map_err(failed)?;
            if ready.woken {
                self.check_woken()?;
                self.retry_pool()?;
            }
            if ready.interfaces_changed {
                self.with_control(Control::refresh)?;
            }
            // Another thread took the wake-up, or this was a refresh: poll again.
            if !ready.woken && !ready.interfaces_changed || !ready.sockets().is_empty() {
                return Ok(());
            }
        }
    }

    pub(super) fn check_woken(&self) -> Result<()> {
        if self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::Acquire) {
            return Err(Error::new(Operation::Receive, ErrorKind::Woken));
        }
        Ok(())
    }

    /// Retries [`pool`](Self::pool) after a failure.
    fn retry_pool(&self) -> Result<()> {
        if self.pool_pending.load(Ordering::Relaxed) {
            let pooled = self.sockets().pool(&self.poller);
            if pooled.is_err() {
                let _ = self.poller.wake();
            }
            pooled.map_err(|error| Error::os(Operation::Receive, error))?;
            self.pool_pending.store(false, Ordering::Release);
        }
        Ok(())
    }
}

/// Repeats attempts until one receives something or finds nothing.
pub(super) fn retry_while_again<T>(mut attempt: impl FnMut() -> Result<PollResult<T>>) -> Result<Option<T>> {
    loop {
        match attempt()? {
            PollResult::Done(result) => return Ok(Some(result)),
            PollResult::Again => {}
            PollResult::Nothing => return Ok(None),
        }
    }
}

/// Ends a receiver's wait from another thread.
///
/// A wake-up ends one call: the current wait, or else the next. That call returns an error of kind
/// [`ErrorKind::Woken`](crate::ErrorKind::Woken); a [`Reader`](crate::Reader) returns `None`.
#[derive(Clone, Debug)]
pub struct Waker {
    pub(super) poller: Arc<Poller>,
    pub(super) woken: Arc<AtomicBool>,
}

impl Waker {
    /// Wakes the receiver.
    ///
    /// # Errors
    /// The system's error; no case is known.
    pub fn wake(&self) -> Result<()> {
        self.woken.store(true, Ordering::Release);
        self.poller.wake().map_err(|error| Error::os(Operation::Receive, error))
    }
}
