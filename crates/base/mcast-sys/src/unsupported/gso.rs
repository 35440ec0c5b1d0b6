//! The fallback for systems without segmentation offload: one call per datagram.

use std::io;

use super::socket::Socket;
use super::{SendRequest, Sent};
use crate::OutgoingDatagram;

impl Socket {
    /// Does nothing: segmentation is not supported.
    pub fn set_segmentation(&self, _on: bool) {}

    /// Returns the maximum number of datagrams in one segmented buffer.
    pub fn segments_at_once(&self) -> usize {
        1
    }

    /// Sends the datagrams at the start of `outgoing`, in order, up to one for which `transmit`
    /// returns `None` because this call cannot send it. An error concerns the first datagram.
    pub fn send_run<'a, D: OutgoingDatagram>(
        &self,
        outgoing: &'a [D],
        transmit: impl FnMut(&'a D) -> Option<SendRequest<'a>>,
    ) -> io::Result<Sent> {
        let mut sent = Sent::default();
        for transmit in outgoing.iter().map_while(transmit) {
            match self.send(&transmit) {
                Ok(()) => sent.datagrams += 1,
                Err(error) if sent.datagrams == 0 => return Err(error),
                // Sending the rest returns the error.
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}
