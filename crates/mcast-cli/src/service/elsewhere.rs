//! Systems without a supported service manager.

use std::time::Duration;

/// Never exists.
#[derive(Debug)]
pub(super) enum ManagerConnection {}

impl ManagerConnection {
    pub(super) fn of_environment() -> Option<Self> {
        None
    }

    pub(super) fn send_state(&self, _state: &str) {
        match *self {}
    }

    pub(super) fn keep_alive(&self) {
        match *self {}
    }
}

pub(super) fn watchdog_interval() -> Option<Duration> {
    None
}

pub(super) fn monotonic_microseconds() -> u128 {
    0
}

pub(crate) fn journal_reads_notes() -> bool {
    false
}

pub(crate) fn journal_reads_output() -> bool {
    false
}
