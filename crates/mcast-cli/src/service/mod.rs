//! Running as a service: reports to the service manager (the protocol of `sd_notify(3)`), and whether output goes to
//! its journal. Without a service manager nothing is reported.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod manager;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod manager;

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::interrupt::Hangup;
use manager::ManagerConnection;
pub(crate) use manager::{journal_reads_notes, journal_reads_output};

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
        let interval = manager::watchdog_interval();
        Self {
            manager: ManagerConnection::of_environment(),
            watchdog: interval.map(|every| (every / 2, Cell::new(Instant::now()))),
        }
    }

    /// Handles hang-ups, with which a service manager requests a reload. Without a manager a hang-up means that the
    /// terminal has gone, and ends the process as usual.
    pub(crate) fn hangups(&self) -> anyhow::Result<Option<Hangup>> {
        self.manager.as_ref().map(|_| Hangup::catch()).transpose()
    }

    /// Reports that the service is ready.
    pub(crate) fn ready(&self, status: &str) {
        self.send_state(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that the service is reloading; call [`Self::ready`] afterwards.
    pub(crate) fn reloading(&self) {
        self.send_state(&format!("RELOADING=1\nMONOTONIC_USEC={}", manager::monotonic_microseconds()));
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
