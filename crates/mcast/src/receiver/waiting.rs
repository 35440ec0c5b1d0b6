//! How a receiver waits: in vain for as short as can be, and never past what should end a wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Receiver;
use super::control::Control;
use super::sockets::Sockets;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::sys::ready::{Ready, Roused};

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

/// When an attempt looks at the poller, which knows of sockets, wake-ups and changed interfaces.
/// A receiver of one socket may do without: it tries that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Before anything else: the poller has something.
    First,
    /// When the only socket has nothing.
    Last,
    /// Where it is not the only socket that is waited for: what comes next is a wait, which
    /// nothing escapes that the poller has.
    Waiting,
}

impl<T> Attempt<T> {
    /// This, unless it is nothing.
    pub(super) fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Nothing => other(),
            something => something,
        }
    }
}

impl Look {
    /// Whether the only socket having nothing is all that there is to know for now.
    pub(super) fn is_left_out(self, sockets: &Sockets) -> bool {
        self == Self::Waiting && sockets.apart().is_some()
    }
}

impl Receiver {
    /// Tries until there is something or the time is over.
    pub(super) fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Look) -> Result<Attempt<T>>,
    ) -> Result<Option<T>> {
        let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut spin_until = None;
        let mut look = Look::Waiting;
        loop {
            match attempt(look)? {
                Attempt::Done(result) => return Ok(Some(result)),
                Attempt::Again if is_over() => return Ok(None),
                Attempt::Again => continue,
                Attempt::Nothing => look = Look::Waiting,
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
            match self.sleep(left) {
                Ok(Roused::Poller) => look = Look::First,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::os(Operation::Receive, error)),
            }
        }
    }

    /// Sleeps until a receive would find something to do, or the time is over; says what has it.
    /// The sockets may change meanwhile.
    pub(super) fn sleep(&self, timeout: Option<Duration>) -> io::Result<Roused> {
        let apart = self.sockets().apart().map(|data| Arc::clone(&data.socket));
        match apart {
            Some(socket) => self.poller.wait_beside(&socket, timeout),
            None => Ok(if self.poller.wait(timeout)? { Roused::Socket } else { Roused::Nothing }),
        }
    }

    /// Has the poller's descriptor stand for all sockets.
    #[cfg(any(unix, feature = "tokio"))]
    pub(super) fn pool(&self) {
        if self.sockets().pool(&self.poller).is_err() {
            // The next receive, which this makes the descriptor ask for, tries again and tells.
            self.unpooled.store(true, Ordering::Release);
            let _ = self.poller.wake();
        }
    }

    /// Sees which sockets in the poller have something, and does what else is to be done.
    pub(super) fn look(&self, ready: &mut Ready, limit: usize) -> Result<()> {
        let failed = |error| Error::os(Operation::Receive, error);
        loop {
            self.poller.ready(limit, ready).map_err(failed)?;
            if ready.woken {
                self.check_woken()?;
                self.pool_again()?;
                if self.merging.is_left() {
                    // It stood for what is left over, which others who wait must find, too.
                    return self.poller.wake().map_err(failed);
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

    pub(super) fn check_woken(&self) -> Result<()> {
        if self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::Acquire) {
            return Err(Error::new(Operation::Receive, ErrorKind::Woken));
        }
        Ok(())
    }

    /// Does what [`pool`](Self::pool) could not.
    fn pool_again(&self) -> Result<()> {
        if self.unpooled.load(Ordering::Relaxed) {
            let pooled = self.sockets().pool(&self.poller);
            if pooled.is_err() {
                let _ = self.poller.wake();
            }
            pooled.map_err(|error| Error::os(Operation::Receive, error))?;
            self.unpooled.store(false, Ordering::Release);
        }
        Ok(())
    }
}

/// Tries until there is something, or nothing.
pub(super) fn at_last<T>(mut attempt: impl FnMut() -> Result<Attempt<T>>) -> Result<Option<T>> {
    loop {
        match attempt()? {
            Attempt::Done(result) => return Ok(Some(result)),
            Attempt::Again => {}
            Attempt::Nothing => return Ok(None),
        }
    }
}
