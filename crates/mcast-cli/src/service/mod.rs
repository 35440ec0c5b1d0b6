//! Life as a service: what the service manager is told (the protocol of `sd_notify(3)`), and whether what is
//! said goes into its journal. Without a service manager nothing is told.

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
    /// How often it wants to be told that all is well, and when it last was.
    watchdog: Option<(Duration, Cell<Instant>)>,
}

impl Service {
    /// The manager that has started this process.
    pub(crate) fn begin() -> Self {
        let interval = manager::watchdog_interval();
        Self {
            manager: ManagerConnection::of_environment(),
            watchdog: interval.map(|every| (every / 2, Cell::new(Instant::now()))),
        }
    }

    /// Requests to begin anew, which a service manager makes by hang-ups. Without one they mean what they
    /// always do: the terminal has gone, and this ends.
    pub(crate) fn hangups(&self) -> anyhow::Result<Option<Hangup>> {
        self.manager.as_ref().map(|_| Hangup::catch()).transpose()
    }

    /// Reports that the service is ready.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that the service is reloading; call [`Self::ready`] afterwards.
    pub(crate) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", manager::monotonic_microseconds()));
    }

    /// Reports that the service is stopping.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Sends a keep-alive when one is due. Call this in the main loop.
    pub(crate) fn alive(&self) {
        let Some((every, last)) = &self.watchdog else { return };
        if last.get().elapsed() >= *every {
            last.set(Instant::now());
            self.manager.iter().for_each(ManagerConnection::give_sign);
        }
    }

    fn tell(&self, state: &str) {
        if let Some(manager) = &self.manager {
            manager.tell(state);
        }
    }
}
