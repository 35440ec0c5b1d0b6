//! What a driver calls: a server as a state machine.

use std::io::IoSlice;
use std::net::SocketAddr;

use mcast_pace::ClockTime;

use crate::HttpClientId;

/// A server without sockets: connections, bytes and time go in, bytes come out.
pub trait HttpService {
    /// Handles a connection. Returns `None` if it must be closed, because there are too many.
    fn handle_connect(
        &mut self,
        now: ClockTime,
        listener: SocketAddr,
        client: SocketAddr,
    ) -> Option<HttpClientId>;

    /// Handles bytes of a client.
    fn handle_bytes(&mut self, now: ClockTime, id: HttpClientId, bytes: &[u8]);

    /// Handles that a client has closed its connection, or that it has failed.
    fn handle_disconnected(&mut self, now: ClockTime, id: HttpClientId);

    /// Returns what to write to a client. The driver reports what it has written by [`Self::handle_written`] before any other
    /// call.
    fn poll_transmit(&mut self, now: ClockTime, id: HttpClientId) -> Vec<IoSlice<'_>>;

    /// Handles that this many bytes of [`Self::poll_transmit`] have been written.
    fn handle_written(&mut self, now: ClockTime, id: HttpClientId, count: usize);

    /// Returns whether nothing more is written to a client, so that its connection must be shut down for writing.
    fn is_ending(&self, id: HttpClientId) -> bool;

    /// Returns whether the connection of a client must be closed. The driver then calls [`Self::handle_disconnected`].
    fn is_gone(&self, id: HttpClientId) -> bool;

    /// Does what is due at this time.
    fn handle_timeout(&mut self, now: ClockTime);

    /// Returns when to call [`Self::handle_timeout`] next, if ever.
    fn poll_timeout(&self) -> Option<ClockTime>;
}
