//! Runs of datagrams: what one system call takes.

use mcast_group::{Family, GroupAddr, InterfaceIndex};

use super::Sender;
use super::patience::{is_busy, wait};
use super::places::{is_stale, transmit};
use crate::error::{Error, Operation, Result};
use crate::outgoing::Outgoing;

/// What became of a run of datagrams.
pub(crate) enum Run {
    /// So many went.
    Sent(usize),
    /// The buffer of this family's socket is full.
    Full(Family),
    /// The first goes to several places, which no run does.
    Several,
}

impl Sender {
    /// Sends the run at the start of `outgoing` that one system call can take.
    pub(super) fn send_run<'a>(&self, outgoing: &[Outgoing<'a>]) -> Result<usize> {
        loop {
            match self.try_send_run(outgoing)? {
                Run::Sent(count) => return Ok(count),
                // To several places at once: one after the other.
                Run::Several => return self.send_everywhere(&outgoing[0]).map(|()| 1),
                Run::Full(family) => {
                    wait(self.socket(family)?).map_err(|error| Error::os(Operation::Send, error))?;
                }
            }
        }
    }

    /// The same without waiting.
    pub(crate) fn try_send_run(&self, outgoing: &[Outgoing<'_>]) -> Result<Run> {
        let Some((to, interface)) = self.simple(&outgoing[0]) else {
            return Ok(Run::Several);
        };
        match self.try_send_simple(outgoing, to, interface) {
            // The interface may have been made again under another index.
            Err(error) if is_stale(&error) && self.look_again(&outgoing[0])? => self
                .simple(&outgoing[0])
                .map_or(Ok(Run::Several), |(to, interface)| self.try_send_simple(outgoing, to, interface)),
            result => result,
        }
    }

    fn try_send_simple<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        first: GroupAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<Run> {
        self.check_launch(&outgoing[0])?;
        let family = first.group.family();
        let socket = self.socket(family)?;
        self.source(first, interface)?;
        // What doesn't fit begins the next run, or tells there why it cannot go.
        let transmit = |each: &Outgoing<'a>| {
            let (to, interface) = self.simple(each)?;
            let fits = to.group.family() == family && self.check_launch(each).is_ok();
            let source = if fits { self.known_source(family, interface) } else { None };
            source.map(|source| transmit(each, to, interface, source))
        };
        match socket.send_run(outgoing, &transmit) {
            Ok(sent) => {
                self.counters.sent(sent);
                Ok(Run::Sent(sent.datagrams))
            }
            Err(error) if is_busy(&error) => Ok(Run::Full(family)),
            // What the network said about an earlier datagram; none of these has gone yet.
            Err(_) if socket.forget_errors() => Ok(Run::Sent(0)),
            Err(error) => Err(self.failed(error, &outgoing[0], first, interface)),
        }
    }
}
