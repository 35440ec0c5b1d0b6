//! What systems without trains do in their place: a call is made for each datagram.

use std::io;

use super::socket::Socket;
use super::{Sent, Transmit};
use crate::outgoing::Outgoing;

impl Socket {
    /// There are no trains here.
    pub(crate) fn set_segmentation(&self, _on: bool) {}

    /// How many datagrams may leave in one train.
    pub(crate) fn segments_at_once(&self) -> usize {
        1
    }

    /// Sends the datagrams at the start of `outgoing`, in order, up to one that `transmit` says
    /// is not this call's to send. An error is that of the first datagram.
    pub(crate) fn send_run<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        transmit: impl FnMut(&Outgoing<'a>) -> Option<Transmit<'a>>,
    ) -> io::Result<Sent> {
        let mut sent = Sent::default();
        for transmit in outgoing.iter().map_while(transmit) {
            match self.send(&transmit) {
                Ok(()) => sent.datagrams += 1,
                Err(error) if sent.datagrams == 0 => return Err(error),
                // Sending the rest tells why.
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}
