//! Systems without a supported service manager.

use std::time::Duration;

/// Never exists.
#[derive(Debug)]
pub enum ManagerConnection {}

impl ManagerConnection {
    /// Returns `None`: there is no manager.
    #[must_use]
    pub const fn of_environment() -> Option<Self> {
        None
    }

    /// Is never called.
    pub fn send_state(&self, _state: &str) {
        match *self {}
    }

    /// Is never called.
    pub fn keep_alive(&self) {
        match *self {}
    }
}

/// Returns `None`: no service manager waits for a keep-alive.
#[must_use]
pub const fn watchdog_interval() -> Option<Duration> {
    None
}

/// Returns `false`: there is no journal.
#[must_use]
pub const fn journal_reads(_descriptor: i32) -> bool {
    false
}
