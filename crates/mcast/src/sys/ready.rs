//! What a look at the sockets has found.

/// Sockets that one look can find.
pub(crate) const READY_AT_ONCE: usize = 64;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roused {
    /// The time was over.
    Nothing,
    /// A socket has something.
    Socket,
    /// The poller has something, and the socket beside it perhaps, too.
    Poller,
}

/// What one look at a poller found.
#[derive(Debug)]
pub(crate) struct Ready {
    tokens: [usize; READY_AT_ONCE],
    count: usize,
    /// Somebody woke the poller.
    pub(crate) woken: bool,
    /// The interfaces have changed.
    pub(crate) interfaces_changed: bool,
}

impl Ready {
    /// Nothing found yet.
    pub(crate) const fn new() -> Self {
        Self { tokens: [0; READY_AT_ONCE], count: 0, woken: false, interfaces_changed: false }
    }

    /// Tokens of the sockets that have something.
    pub(crate) fn sockets(&self) -> &[usize] {
        &self.tokens[..self.count]
    }

    /// Forgets what was found.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        (self.woken, self.interfaces_changed) = (false, false);
    }

    /// Adds a socket, if there is room for one more; the next look finds it otherwise.
    pub(crate) fn push(&mut self, token: usize) {
        if let Some(place) = self.tokens.get_mut(self.count) {
            *place = token;
            self.count += 1;
        }
    }
}
