//! The results of waiting and polling.

/// The maximum number of sockets that one poll reports.
pub const READY_AT_ONCE: usize = 64;

/// The reason why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeReason {
    /// The timeout passed.
    Nothing,
    /// A socket is readable.
    Socket,
    /// The poller has an event; the unregistered socket may be readable, too.
    Poller,
}

/// The result of polling a poller.
#[derive(Debug)]
pub struct Ready {
    tokens: [usize; READY_AT_ONCE],
    count: usize,
    /// The poller was woken.
    pub woken: bool,
    /// The interfaces have changed.
    pub interfaces_changed: bool,
}

impl Ready {
    /// Creates an empty result.
    pub const fn empty() -> Self {
        Self { tokens: [0; READY_AT_ONCE], count: 0, woken: false, interfaces_changed: false }
    }

    /// Returns the tokens of the readable sockets.
    pub fn sockets(&self) -> &[usize] {
        &self.tokens[..self.count]
    }

    /// Removes all results.
    pub fn clear(&mut self) {
        self.count = 0;
        (self.woken, self.interfaces_changed) = (false, false);
    }

    /// Adds a socket if there is room; otherwise the next poll reports it.
    pub fn push(&mut self, token: usize) {
        if let Some(slot) = self.tokens.get_mut(self.count) {
            *slot = token;
            self.count += 1;
        }
    }
}
