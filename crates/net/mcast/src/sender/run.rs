//! Sequences of datagrams that one system call can send.

use std::net::SocketAddr;

use mcast_group::{Family, InterfaceIndex};

use super::Sender;
use super::expand::{is_stale, transmit};
use super::pace::is_busy;
use crate::error::{Error, Operation, Result};
use crate::outgoing::Outgoing;

/// The result of sending a sequence of datagrams.
pub(crate) enum RunOutcome {
    /// This many were sent.
    Sent(usize),
    /// The buffer of this family's socket is full.
    Full(Family),
    /// The first has several destinations, which one call cannot serve.
    Several,
}

impl Sender {
    /// Sends the longest prefix of `outgoing` that one system call can take.
    pub(super) fn send_run<'a>(&self, outgoing: &[Outgoing<'a>]) -> Result<usize> {
        loop {
            match self.try_send_run(outgoing)? {
                RunOutcome::Sent(count) => return Ok(count),
                // Several destinations: send to one after the other.
                RunOutcome::Several => return self.send_everywhere(&outgoing[0]).map(|()| 1),
                RunOutcome::Full(family) => {
                    let socket = self.socket(family)?;
                    self.forget_errors(socket);
                    super::pace::wait(socket).map_err(|error| Error::os(Operation::Send, error))?;
                }
            }
        }
    }

    /// Like [`send_run`](Self::send_run), but without waiting.
    pub(crate) fn try_send_run(&self, outgoing: &[Outgoing<'_>]) -> Result<RunOutcome> {
        let Some((to, interface)) = self.single_destination(&outgoing[0]) else {
            return Ok(RunOutcome::Several);
        };
        match self.try_send_simple(outgoing, to, interface) {
            // The interface may have been created again under another index.
            Err(error) if is_stale(&error) && self.refresh_egress(&outgoing[0])? => {
                self.single_destination(&outgoing[0]).map_or(Ok(RunOutcome::Several), |(to, interface)| {
                    self.try_send_simple(outgoing, to, interface)
                })
            }
            result => result,
        }
    }

    fn try_send_simple<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        first: SocketAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<RunOutcome> {
        self.check_launch(&outgoing[0])?;
        let family = Family::of(first.ip());
        let socket = self.socket(family)?;
        self.source(first, interface)?;
        // A datagram that does not fit starts the next call, or fails there.
        let transmit = |each: &Outgoing<'a>| {
            let (to, interface) = self.single_destination(each)?;
            let fits = Family::of(to.ip()) == family && self.check_launch(each).is_ok();
            let source = if fits { self.known_source(family, interface) } else { None };
            source.map(|source| transmit(each, to, interface, source))
        };
        match socket.send_run(outgoing, &transmit) {
            Ok(sent) => {
                self.counters.sent(sent);
                Ok(RunOutcome::Sent(sent.datagrams))
            }
            Err(error) if is_busy(&error) => Ok(RunOutcome::Full(family)),
            // An error about an earlier datagram; none of these has been sent yet.
            Err(_) if self.forget_errors(socket) => Ok(RunOutcome::Sent(0)),
            Err(error) => Err(self.failed(error, &outgoing[0], first, interface)),
        }
    }
}
