//! Ctrl-C: asks the running loop to end, so that the summary is still printed.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use anyhow::Context;
use mcast::Waker;
use mcast_traffic::StopSignal;

use crate::exit::Outcome;
use crate::sys;

/// Ctrl-C, or a request to terminate. A second one ends the process at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    stop: StopSignal,
    status: Arc<AtomicU8>,
}

impl Interrupt {
    /// Handles Ctrl-C from now on: it calls `wake`, on a thread of its own, instead of ending the process. To be
    /// called at most once per process.
    ///
    /// This starts a thread, so a lab must be entered before.
    pub(crate) fn catch(wake: impl Fn() + Send + Sync + 'static) -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let caught = interrupt.clone();
        sys::catch_interrupts(move |status| {
            caught.status.store(status, Ordering::Release);
            caught.stop.set();
            wake();
        })
        .context("cannot catch Ctrl-C")?;
        Ok(interrupt)
    }

    /// Handles Ctrl-C as [`Self::catch`], and wakes a receiver. If the waker fails, the wait ends with the next datagram.
    pub(crate) fn waking(waker: Waker) -> anyhow::Result<Self> {
        Self::catch(move || drop(waker.wake()))
    }

    /// Returns the outcome of a command that an interrupt ended; `None` if none has arrived.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.has_arrived().then(|| Outcome::Interrupted(self.status.load(Ordering::Acquire)))
    }

    /// Returns whether the interrupt has arrived.
    pub(crate) fn has_arrived(&self) -> bool {
        self.stop.is_set()
    }
}

/// The signal that ends the engines in the libraries.
impl Deref for Interrupt {
    type Target = StopSignal;

    fn deref(&self) -> &StopSignal {
        &self.stop
    }
}

impl From<Interrupt> for StopSignal {
    fn from(interrupt: Interrupt) -> Self {
        interrupt.stop
    }
}

/// SIGHUP, which requests that a service reloads. Systems without that signal never report it.
#[derive(Debug)]
pub(crate) struct Hangup {
    arrived: Arc<AtomicBool>,
}

impl Hangup {
    /// Handles SIGHUP from now on, instead of ending the process.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let arrived = Arc::<AtomicBool>::default();
        sys::catch_hangups(Arc::clone(&arrived)).context("cannot handle SIGHUP")?;
        Ok(Self { arrived })
    }

    /// Returns whether SIGHUP has arrived since the last call.
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) && self.arrived.swap(false, Ordering::AcqRel)
    }
}
