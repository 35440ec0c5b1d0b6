//! The single places that a datagram goes to, and sending it there.

use std::io;
use std::net::IpAddr;

use mcast_group::{Family, GroupAddr, InterfaceIndex};

use super::egress::{self, Egress};
use super::patience::{is_busy, send_patiently};
use super::{ONE, Sender, first_error, no_destination};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::outgoing::Outgoing;
use crate::sys::Transmit;

impl Sender {
    /// Every single place that a datagram goes to: a datagram for each, with its group and, where
    /// one is meant, its interface. For those who send with [`try_send_one`](Self::try_send_one).
    ///
    /// # Errors
    /// When an interface that is meant cannot be found, or there is no destination.
    pub fn places<'a>(&self, outgoing: &Outgoing<'a>) -> Result<Vec<Outgoing<'a>>> {
        match self.places_now(outgoing) {
            Err(error) if is_stale(&error) && self.look_again(outgoing)? => self.places_now(outgoing),
            result => result,
        }
    }

    pub(super) fn places_now<'a>(&self, outgoing: &Outgoing<'a>) -> Result<Vec<Outgoing<'a>>> {
        let mut places = Vec::new();
        let mut add = |to: GroupAddr, egress: &Egress| match outgoing.interface {
            Some(_) => {
                places.push(outgoing.to(to));
                Ok(())
            }
            None => egress.each(|interface| {
                places.push(Outgoing { interface, ..outgoing.to(to) });
                Ok(())
            }),
        };
        match outgoing.to {
            Some(to) => add(to, self.egress_to(to))?,
            None if self.destinations.is_empty() => return Err(no_destination()),
            None => self.destinations.iter().try_for_each(|(to, egress)| add(*to, egress))?,
        }
        Ok(places)
    }

    /// Sends a datagram that has been given its one place ([`places`](Self::places)), unless the
    /// socket's buffer is full: then `false`. It never waits, so that it keeps no pace.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send_one(&self, outgoing: &Outgoing<'_>) -> Result<bool> {
        self.check_launch(outgoing)?;
        let to = outgoing.to.ok_or_else(no_destination)?;
        let source = self.source(to, outgoing.interface)?;
        let transmit = transmit(outgoing, to, outgoing.interface, source);
        let socket = self.socket(to.group.family())?;
        loop {
            match socket.send(&transmit) {
                Ok(()) => {
                    self.counters.sent(ONE);
                    return Ok(true);
                }
                Err(error) if is_busy(&error) => return Ok(false),
                Err(_) if socket.forget_errors() => {}
                Err(error) => return Err(self.failed(error, outgoing, to, outgoing.interface)),
            }
        }
    }

    /// Sends a datagram to each place that it goes to.
    pub(super) fn send_everywhere(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        self.check_launch(outgoing)?;
        match outgoing.to {
            Some(to) => self.transmit(outgoing, to, self.egress_to(to)),
            None if self.destinations.is_empty() => Err(no_destination()),
            None => {
                first_error(self.destinations.iter().map(|(to, egress)| self.transmit(outgoing, *to, egress)))
            }
        }
    }

    /// By which interfaces datagrams go to this group.
    #[inline]
    pub(super) fn egress_to(&self, to: GroupAddr) -> &Egress {
        let own = self.destinations.iter().find(|(address, _)| *address == to);
        own.map_or(&self.egress, |(_, egress)| egress)
    }

    /// The one place to which a datagram goes, if it is one. A call would take a sixth of what sending one takes here.
    #[inline(always)]
    pub(super) fn simple(&self, outgoing: &Outgoing<'_>) -> Option<(GroupAddr, Option<InterfaceIndex>)> {
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

    pub(super) fn transmit(&self, outgoing: &Outgoing<'_>, to: GroupAddr, egress: &Egress) -> Result<()> {
        if let Some(interface) = outgoing.interface {
            return self.transmit_by(outgoing, to, Some(interface));
        }
        let mut sent = Vec::new();
        match self.transmit_all(outgoing, to, egress, &mut sent) {
            // The interface may have been made again under another index.
            Err(error) if is_stale(&error) && egress.look_again(Some(to))? => {
                self.transmit_all(outgoing, to, egress, &mut sent)
            }
            result => result,
        }
    }

    /// Sends by every interface but those by which it was sent already. One that fails keeps it
    /// from none of the others.
    pub(super) fn transmit_all(
        &self,
        outgoing: &Outgoing<'_>,
        to: GroupAddr,
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

    /// Looks again for the interfaces by which a datagram goes, if they are followed; says whether
    /// they are others now.
    pub(crate) fn look_again(&self, outgoing: &Outgoing<'_>) -> Result<bool> {
        match (outgoing.interface, outgoing.to) {
            (Some(_), _) => Ok(false),
            (None, Some(to)) => self.egress_to(to).look_again(Some(to)),
            (None, None) => {
                let again = self.destinations.iter().map(|(to, egress)| egress.look_again(Some(*to)));
                again.into_iter().try_fold(false, |changed, again| Ok(changed | again?))
            }
        }
    }

    pub(super) fn transmit_by(
        &self,
        outgoing: &Outgoing<'_>,
        to: GroupAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<()> {
        let source = self.source(to, interface)?;
        let socket = self.socket(to.group.family())?;
        let transmit = transmit(outgoing, to, interface, source);
        send_patiently(socket, &transmit).map_err(|error| self.failed(error, outgoing, to, interface))?;
        self.counters.sent(ONE);
        Ok(())
    }

    /// The address to send from; `None` leaves it to the system. Sending by an interface needs
    /// one: without, the kernel would take another interface's, or none.
    pub(super) fn source(&self, to: GroupAddr, interface: Option<InterfaceIndex>) -> Result<Option<IpAddr>> {
        match (self.known_source(to.group.family(), interface), interface) {
            (Some(source), _) => Ok(source),
            (None, Some(index)) => self.settings.addressed.look(to, index),
            (None, None) => Ok(None),
        }
    }

    /// The same, as far as it can be said without looking at the interface.
    #[inline]
    pub(super) fn known_source(
        &self,
        family: Family,
        interface: Option<InterfaceIndex>,
    ) -> Option<Option<IpAddr>> {
        let given = self.settings.source_address.filter(|source| Family::of(*source) == family);
        match interface {
            Some(index) if given.is_none() => self.settings.addressed.find(family, index),
            _ => Some(given),
        }
    }

    pub(super) fn failed(
        &self,
        error: io::Error,
        outgoing: &Outgoing<'_>,
        to: GroupAddr,
        interface: Option<InterfaceIndex>,
    ) -> Error {
        let error = Error::os(Operation::Send, error).on_group(to);
        let error = match interface {
            Some(index) => error.on_interface(egress::name_of(index)),
            None => error,
        };
        match error.kind() {
            ErrorKind::TooLarge => error.detail(format!("{} bytes", outgoing.payload.len())),
            ErrorKind::NoRoute if interface.is_some() => egress::why_unreachable(error, to, interface),
            _ => error,
        }
    }
}

#[inline]
pub(super) fn transmit<'a>(
    outgoing: &Outgoing<'a>,
    to: GroupAddr,
    interface: Option<InterfaceIndex>,
    source: Option<IpAddr>,
) -> Transmit<'a> {
    Transmit {
        payload: outgoing.payload,
        to: to.into(),
        interface,
        source,
        hop_limit: outgoing.hop_limit,
        traffic_class: outgoing.traffic_class,
        launch: outgoing.launch,
    }
}

/// Whether the interface that was meant may be another one now.
pub(crate) fn is_stale(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSuchInterface | ErrorKind::NoAddress | ErrorKind::NoRoute)
}
