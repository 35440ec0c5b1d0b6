//! The (group, interface) pairs that a datagram is sent to, and sending it there, in sequences that one system call can send.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mcast_group::{Family, InterfaceIndex};
use mcast_sys::SendRequest;

use super::egress::{self, Egress, is_own, not_own};
use super::pace::{is_busy, send_patiently};
use super::{ONE, Sender, first_error, no_destination};
use crate::datagram::Outgoing;
use crate::error::{Error, ErrorKind, Operation, Result};

impl Sender {
    /// Returns a datagram for every group, host and interface that this one is sent to, for use with
    /// [`try_send_one`](Self::try_send_one).
    ///
    /// # Errors
    /// If an interface cannot be found, or there is no destination.
    pub fn expand<'a>(&self, outgoing: &Outgoing<'a>) -> Result<Vec<Outgoing<'a>>> {
        match self.expand_now(outgoing) {
            Err(error) if is_stale(&error) && self.refresh_egress(outgoing)? => self.expand_now(outgoing),
            result => result,
        }
    }

    fn expand_now<'a>(&self, outgoing: &Outgoing<'a>) -> Result<Vec<Outgoing<'a>>> {
        let mut expanded = Vec::new();
        let mut add = |to: SocketAddr, egress: &Egress| match outgoing.interface {
            Some(_) => {
                expanded.push(outgoing.to_address(to));
                Ok(())
            }
            None => egress.each(|interface| {
                expanded.push(Outgoing { interface, ..outgoing.to_address(to) });
                Ok(())
            }),
        };
        match outgoing.to {
            Some(to) => add(to, self.egress_to(to))?,
            None if self.destinations.is_empty() => return Err(no_destination()),
            None => self.destinations.iter().try_for_each(|(to, egress)| add(*to, egress))?,
        }
        Ok(expanded)
    }

    /// Sends a datagram that has one destination ([`expand`](Self::expand)). Returns `false` if the
    /// socket's buffer is full. It never waits, so it ignores the pace.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send_one(&self, outgoing: &Outgoing<'_>) -> Result<bool> {
        self.check_launch(outgoing)?;
        let to = outgoing.to.ok_or_else(no_destination)?;
        let source = self.source(to, outgoing.interface)?;
        let transmit = transmit(outgoing, to, outgoing.interface, source);
        let socket = self.socket(Family::of(to.ip()))?;
        loop {
            match socket.send(&transmit) {
                Ok(()) => {
                    self.counters.sent(ONE);
                    return Ok(true);
                }
                Err(error) if is_busy(&error) => return Ok(false),
                Err(_) if self.forget_errors(socket) => {}
                Err(error) => return Err(self.failed(error, outgoing, to, outgoing.interface)),
            }
        }
    }

    /// Sends a datagram to all its destinations.
    pub(super) fn send_everywhere(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        self.check_launch(outgoing)?;
        if let Some((to, interface)) = self.single_destination(outgoing) {
            match self.transmit_by(outgoing, to, interface) {
                // The interface may have been created again under another index.
                Err(error) if is_stale(&error) && self.refresh_egress(outgoing)? => {}
                result => return result,
            }
        }
        match outgoing.to {
            Some(to) => self.transmit(outgoing, to, self.egress_to(to)),
            None if self.destinations.is_empty() => Err(no_destination()),
            None => {
                first_error(self.destinations.iter().map(|(to, egress)| self.transmit(outgoing, *to, egress)))
            }
        }
    }

    /// Returns the outgoing interfaces for this group or host.
    #[inline]
    fn egress_to(&self, to: SocketAddr) -> &Egress {
        let own = self.destinations.iter().find(|(address, _)| *address == to);
        own.map_or(&self.egress, |(_, egress)| egress)
    }

    /// Returns the destination if there is only one. Inlined because a call would cost a sixth of
    /// sending a datagram.
    #[inline(always)]
    fn single_destination(&self, outgoing: &Outgoing<'_>) -> Option<(SocketAddr, Option<InterfaceIndex>)> {
        let (to, egress) = match outgoing.to {
            Some(to) => (to, self.egress_to(to)),
            None => match &self.destinations[..] {
                [(to, egress)] => (*to, egress),
                _ => return None,
            },
        };
        match outgoing.interface {
            Some(interface) => Some((to, Some(interface))),
            None => Some((to, egress.single()?)),
        }
    }

    pub(super) fn transmit(&self, outgoing: &Outgoing<'_>, to: SocketAddr, egress: &Egress) -> Result<()> {
        if let Some(interface) = outgoing.interface {
            return self.transmit_by(outgoing, to, Some(interface));
        }
        let mut sent = Vec::new();
        match self.transmit_all(outgoing, to, egress, &mut sent) {
            // The interface may have been created again under another index.
            Err(error) if is_stale(&error) && egress.refresh_egress(Some(to))? => {
                self.transmit_all(outgoing, to, egress, &mut sent)
            }
            result => result,
        }
    }

    /// Sends by every interface except those that were already used. A failure on one does not
    /// affect the others.
    fn transmit_all(
        &self,
        outgoing: &Outgoing<'_>,
        to: SocketAddr,
        egress: &Egress,
        sent: &mut Vec<InterfaceIndex>,
    ) -> Result<()> {
        egress.each(|interface| {
            if interface.is_some_and(|index| sent.contains(&index)) {
                return Ok(());
            }
            self.transmit_by(outgoing, to, interface)?;
            sent.extend(interface.filter(|_| self.settings.follow));
            Ok(())
        })
    }

    /// Looks the outgoing interfaces of a datagram up again, if they are followed; returns whether
    /// they changed.
    pub(crate) fn refresh_egress(&self, outgoing: &Outgoing<'_>) -> Result<bool> {
        match (outgoing.interface, outgoing.to) {
            (Some(_), _) => Ok(false),
            (None, Some(to)) => self.egress_to(to).refresh_egress(Some(to)),
            (None, None) => {
                let again = self.destinations.iter().map(|(to, egress)| egress.refresh_egress(Some(*to)));
                again.into_iter().try_fold(false, |changed, again| Ok(changed | again?))
            }
        }
    }

    #[inline]
    fn transmit_by(
        &self,
        outgoing: &Outgoing<'_>,
        to: SocketAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<()> {
        let family = Family::of(to.ip());
        let source = match self.known_source(family, interface) {
            Some(source) => source,
            None => self.source(to, interface)?,
        };
        let socket = self.socket(family)?;
        let transmit = transmit(outgoing, to, interface, source);
        send_patiently(socket, &transmit, || self.counters.unreachable())
            .map_err(|error| self.failed(error, outgoing, to, interface))?;
        self.counters.sent(ONE);
        Ok(())
    }

    /// Returns the source address; `None` leaves the choice to the system. Sending by an interface
    /// needs an address there, because the kernel would otherwise use another interface's, or none.
    pub(super) fn source(&self, to: SocketAddr, interface: Option<InterfaceIndex>) -> Result<Option<IpAddr>> {
        match (self.known_source(Family::of(to.ip()), interface), interface) {
            (Some(source), _) => Ok(source),
            (None, Some(index)) => self.addressed.look_up(to, index),
            (None, None) => Ok(None),
        }
    }

    /// Returns the source address without looking up the interface, if possible.
    #[inline(always)]
    fn known_source(&self, family: Family, interface: Option<InterfaceIndex>) -> Option<Option<IpAddr>> {
        let given = self.settings.source_address.filter(|source| Family::of(*source) == family);
        match interface {
            Some(index) if given.is_none() => self.addressed.find(family, index),
            _ => Some(given),
        }
    }

    pub(super) fn failed(
        &self,
        error: io::Error,
        outgoing: &Outgoing<'_>,
        to: SocketAddr,
        interface: Option<InterfaceIndex>,
    ) -> Error {
        let error = Error::os(Operation::Send, error).on_address(to);
        let answer = error.os_error().map(io::Error::kind);
        let error = match interface {
            Some(index) => error.on_interface(egress::name_of(index)),
            None => error,
        };
        // Linux has no error of its own for it.
        let source = outgoing.source.filter(|source| source.is_ipv4() == to.is_ipv4() && !is_own(*source));
        if let Some(source) =
            source.filter(|_| matches!(error.kind(), ErrorKind::Other | ErrorKind::NoAddress))
        {
            return not_own(error, source);
        }
        match error.kind() {
            ErrorKind::TooLarge => error.detail(format!("{} bytes", outgoing.payload.len())),
            // No route is `ENETUNREACH`, and nobody is asked for the hardware address of a group.
            ErrorKind::NoRoute
                if to.ip().is_multicast() && answer == Some(io::ErrorKind::HostUnreachable) =>
            {
                error.because(ErrorKind::RouteRejects)
            }
            ErrorKind::NoRoute if interface.is_some() => egress::why_unreachable(error, to, interface),
            ErrorKind::Permission | ErrorKind::RouteRejects
                if to.is_ipv4() && !to.ip().is_multicast() && !self.settings.broadcast =>
            {
                let error = error.because(ErrorKind::Permission);
                error.detail("a broadcast address must be allowed").remedied("allow broadcasts (--broadcast)")
            }
            _ => error,
        }
    }
}

#[inline]
pub(super) fn transmit<'a>(
    outgoing: &Outgoing<'a>,
    to: SocketAddr,
    interface: Option<InterfaceIndex>,
    source: Option<IpAddr>,
) -> SendRequest<'a> {
    SendRequest {
        payload: outgoing.payload,
        to,
        interface,
        source: outgoing.source.filter(|source| source.is_ipv4() == to.is_ipv4()).or(source),
        hop_limit: outgoing.header.hop_limit(),
        traffic_class: outgoing.header.traffic_class(),
        launch: outgoing.launch,
    }
}

/// Returns whether the error may mean that the interface has changed.
pub(crate) fn is_stale(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSuchInterface | ErrorKind::NoAddress | ErrorKind::NoRoute)
}

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
