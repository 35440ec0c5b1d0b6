//! Running as a service: reports to the service manager. Without one nothing is reported.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mcast::LaunchClock;
use mcast_stream::seal::Keys;
use mcast_sys::service::{ManagerConnection, watchdog_interval};
use mcast_terminal::Console;

use crate::arguments::KeyFile;
use crate::interrupt::Hangup;

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

/// Reloads of a service whose only file is that of its keys, which it may do without.
pub(crate) struct KeyReload<'a> {
    key_file: Option<KeyFile<'a>>,
    /// Catches hang-ups where there is no key file.
    hangup: Option<Hangup>,
}

impl<'a> KeyReload<'a> {
    pub(crate) fn new(key_file: Option<KeyFile<'a>>, service: &Service) -> anyhow::Result<Self> {
        let hangup = if key_file.is_none() { service.hangups()? } else { None };
        Ok(Self { key_file, hangup })
    }

    /// If a reload was requested, passes the keys of the file to `set`, and reports with this status that the service is
    /// ready again. An invalid file is reported.
    pub(crate) fn poll(&self, service: &Service, status: &str, console: &Console, set: impl FnOnce(Keys)) {
        let is_due = match &self.key_file {
            Some(file) => file.has_hangup_arrived(),
            None => self.hangup.as_ref().is_some_and(Hangup::has_arrived),
        };
        if !is_due {
            return;
        }
        service.reloading();
        if let Some(keys) = self.key_file.as_ref().and_then(|file| file.read_again(console)) {
            console.note(format_args!("read the key file again: its latest epoch is {}", keys.latest()));
            set(keys);
        }
        service.ready(status);
    }
}
