//! What systems without trains and merging do in their place: a datagram is a message.

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

    /// There is no merging here.
    pub(crate) fn set_merging(&self, _on: bool) -> io::Result<bool> {
        Ok(false)
    }

    /// Sends the datagrams at the start of `outgoing`, in order, with as few calls as there can be.
    pub(crate) fn send_run<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        mut transmit: impl FnMut(&Outgoing<'a>) -> Option<Transmit<'a>>,
    ) -> io::Result<Sent> {
        let mut transmits = outgoing.iter().map_while(|each| transmit(each));
        let datagrams = self.send_many(&mut transmits)?;
        Ok(Sent { datagrams, trains: 0 })
    }
}
