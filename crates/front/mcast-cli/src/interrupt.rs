//! What ends or reloads a process: Ctrl-C, which asks the running loop to end, so that the summary is still printed, SIGHUP, and
//! the service manager, to which nothing is reported without one.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{LaunchClock, Waker};
use mcast_sys::service::{ManagerConnection, watchdog_interval};
use mcast_traffic::StopSignal;

use crate::exit::Outcome;
use crate::sys;

/// Ctrl-C, a request to terminate, or a hang-up that does not request a reload. A second one of the first two ends the process
/// at once.
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

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Service {
    manager: Option<ManagerConnection>,
    /// The interval of keep-alives, and when the last one was sent.
    watchdog: Option<(Duration, Cell<Instant>)>,
}

impl Service {
    /// Connects to the manager that started this process.
    pub(crate) fn begin() -> Self {
        let interval = watchdog_interval();
        Self {
            manager: ManagerConnection::of_environment(),
            watchdog: interval.map(|every| (every / 2, Cell::new(Instant::now()))),
        }
    }

    /// Returns what reports to nobody: another part of this process does.
    pub(crate) const fn none() -> Self {
        Self { manager: None, watchdog: None }
    }

    /// Handles hang-ups, with which a service manager requests a reload. Without a manager a hang-up means that the
    /// terminal has gone, and is an [`Interrupt`].
    pub(crate) fn hangups(&self) -> anyhow::Result<Option<Hangup>> {
        self.manager.as_ref().map(|_| Hangup::catch()).transpose()
    }

    /// Reports that the service is ready.
    pub(crate) fn ready(&self, status: &str) {
        self.send_state(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that the service is reloading; call [`Self::ready`] afterwards.
    pub(crate) fn reloading(&self) {
        let now = LaunchClock::Monotonic.now().map_or(0, |now| now.as_micros());
        self.send_state(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Reports that the service is stopping.
    pub(crate) fn stopping(&self) {
        self.send_state("STOPPING=1");
    }

    /// Sends a keep-alive when one is due. Call this in the main loop.
    pub(crate) fn alive(&self) {
        let Some((every, last)) = &self.watchdog else { return };
        if last.get().elapsed() >= *every {
            last.set(Instant::now());
            self.manager.iter().for_each(ManagerConnection::keep_alive);
        }
    }

    fn send_state(&self, state: &str) {
        if let Some(manager) = &self.manager {
            manager.send_state(state);
        }
    }
}
