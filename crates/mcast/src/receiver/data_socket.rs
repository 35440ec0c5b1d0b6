//! A socket that receives, and what is admitted on it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mcast_group::{Family, Group, GroupAddr, InterfaceIndex, SourceFilter};

use super::descriptors::with_more_descriptors;
use super::holders::{Holders, is_limit};
use super::sockets::Place;
use super::table::Table;
use crate::datagram::Arrival;
use crate::sys::layout::{COUNTS_DROPS, FILTERS_BY_INTERFACE_V6, HOLDS_APART, implies_interface};
use crate::sys::socket::Socket;
use crate::sys::{self, Received};

/// What each socket of a receiver is set to.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) receive_buffer: usize,
    pub(crate) loopback: Option<bool>,
    /// Runs of equal datagrams come as one buffer.
    pub(crate) merging: bool,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) hardware_time: bool,
    /// Hop limit, traffic class, time and loss are told.
    pub(crate) details: bool,
}

/// A socket that receives.
#[derive(Debug)]
pub(crate) struct DataSocket {
    /// Shared with those who wait for it.
    pub(crate) socket: Arc<Socket>,
    port: u16,
    family: Family,
    /// The group it is bound to; `None` for a wildcard socket.
    group: Option<Group>,
    /// It is bound to an interface, too.
    scoped: bool,
    /// The system tells of each datagram to which group it was sent and by which interface it
    /// came, which takes its time. Until there is a choice, that goes without saying.
    told: bool,
    /// The interface that goes without saying, also for what came before it was told.
    implied: Option<InterfaceIndex>,
    /// Its memberships are kept by holders.
    held: bool,
    /// Bytes of receive buffer that the system granted.
    granted: usize,
    admitted: Table,
    /// The kernel tells what it dropped.
    tells_loss: bool,
    /// The kernel tells more of a datagram than group, interface and source.
    details: bool,
    /// The kernel's running total of drops, as of the last datagram.
    overflow: AtomicU32,
}

impl SocketOptions {
    pub(crate) fn open(&self, (address, interface): Place, wildcard: bool) -> io::Result<DataSocket> {
        let (group, port, family) = (address.group, address.port, address.group.family());
        let socket = with_more_descriptors(|| {
            if wildcard {
                Socket::wildcard(family, port)
            } else {
                Socket::bound_to_group(group, port, interface)
            }
        })?;
        if let Some(loopback) = self.loopback {
            socket.set_receive_loopback(loopback)?;
        }
        if let Some(time) = self.busy_poll {
            socket.set_busy_poll(time)?;
        }
        if self.hardware_time {
            socket.tell_hardware_time()?;
        }
        if self.merging {
            socket.set_merging(true)?;
        }
        if !self.details {
            socket.tell_no_details()?;
        }
        let told = wildcard || !implies_interface(family);
        if !told {
            socket.tell_interface(false)?;
        }
        Ok(DataSocket {
            granted: socket.set_receive_buffer(self.receive_buffer)?,
            socket: Arc::new(socket),
            port,
            family,
            group: (!wildcard).then_some(group),
            scoped: !wildcard && interface.is_some(),
            told,
            implied: None,
            held: wildcard && HOLDS_APART,
            admitted: Table::default(),
            tells_loss: self.details && COUNTS_DROPS,
            details: self.details || self.hardware_time,
            overflow: AtomicU32::new(0),
        })
    }
}

impl DataSocket {
    /// The port it is bound to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The family of its datagrams.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Whether this group is received here on this interface.
    pub(crate) fn has(&self, group: Group, interface: InterfaceIndex) -> bool {
        self.admitted.has(group, interface)
    }

    /// Whether it is bound to no group.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.group.is_none()
    }

    /// Whether it may hear, and so overflow by, what was not joined on it.
    pub(crate) fn hears_others(&self) -> bool {
        let exact = self.family == Family::V4 || FILTERS_BY_INTERFACE_V6 || self.scoped;
        self.held || self.is_wildcard() || !exact
    }

    /// Whether anything of this group is admitted.
    pub(crate) fn admits_any_of(&self, group: Group) -> bool {
        !self.admitted.of(group).is_empty()
    }

    /// Whether nothing is admitted any more.
    pub(crate) fn admits_nothing(&self) -> bool {
        self.admitted.is_empty()
    }

    /// Bytes of receive buffer that the system granted.
    pub(crate) fn granted(&self) -> usize {
        self.granted
    }

    /// Receives one datagram.
    #[inline]
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        match self.told || self.details {
            true => self.socket.receive(buffer),
            false => self.socket.receive_bare(buffer),
        }
    }

    /// How a datagram came, if it is one of this receiver's: sent to a group that was joined, on
    /// the interface on which it arrived, for this source.
    #[inline]
    pub(crate) fn arrival(&self, received: &Received) -> Option<Arrival> {
        let group = match received.destination {
            Some(destination) => Group::new(destination).ok()?,
            None if self.told => return None,
            None => self.group?,
        };
        let interface = received.interface.or(self.implied)?;
        if !self.admits(group, interface, received.source.ip()) {
            return None;
        }
        Some(Arrival {
            hop_limit: received.hop_limit,
            traffic_class: received.traffic_class,
            time: received.time,
            hardware_time: received.hardware_time,
            lost: self.lost_before(received),
            length: received.full_length,
            truncated: received.truncated,
            ..Arrival::new(GroupAddr::new(group, self.port), interface, received.source)
        })
    }

    /// Whether a group's datagram from this source, by this interface, is one of this receiver's.
    pub(crate) fn admits(&self, group: Group, interface: InterfaceIndex, source: IpAddr) -> bool {
        self.admitted.admits(group, interface, source)
    }

    /// What was dropped since the datagram before. The kernel tells a running total, and none
    /// before the first drop.
    fn lost_before(&self, received: &Received) -> Option<u64> {
        if !self.tells_loss {
            return None;
        }
        let Some(total) = received.overflow else {
            return Some(0);
        };
        Some(since(&self.overflow, total).into())
    }

    pub(crate) fn admit(
        &mut self,
        holders: &mut Holders,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        // The table first: what the join lets in must be known by then.
        let before = self.admitted.put(group, interface, filter);
        if before.as_ref() == Some(filter) {
            return Ok(());
        }
        if !self.told && *self.implied.get_or_insert(interface) != interface {
            self.tell_interface()?;
        }
        if !self.held && !self.kernel_can_filter(group) {
            self.hand_over(holders)?;
        }
        if self.held {
            return holders.hold(group, interface, filter);
        }
        let result = match before {
            Some(_) => self.socket.change_filter(group, interface, filter),
            None => self.socket.join(group, interface, filter),
        };
        match result {
            Err(error) if HOLDS_APART && is_limit(&error) => self.hand_over(holders),
            result => result,
        }
    }

    pub(crate) fn renew(
        &mut self,
        holders: &mut Holders,
        group: Group,
        interface: InterfaceIndex,
    ) -> io::Result<()> {
        let Some(filter) = self.admitted.find(group, interface) else {
            return Ok(());
        };
        if self.held {
            return holders.hold(group, interface, filter);
        }
        // If it is joined still, this one keeps it so meanwhile.
        let meanwhile = with_more_descriptors(|| Socket::holder(self.family))?;
        let _ = meanwhile.join(group, interface, filter);
        let _ = self.socket.leave(group, interface);
        self.socket.join(group, interface, filter)
    }

    /// Linux applies the filter of whichever interface it finds first to an IPv6 group that was
    /// joined on several, so filters that differ are left to the table.
    fn kernel_can_filter(&self, group: Group) -> bool {
        if FILTERS_BY_INTERFACE_V6 || self.family == Family::V4 {
            return true;
        }
        let filters = self.admitted.of(group);
        filters.iter().all(|(_, filter)| *filter == filters[0].1)
    }

    /// Has the system tell the interface from now on.
    fn tell_interface(&mut self) -> io::Result<()> {
        if !self.told {
            self.socket.tell_interface(true)?;
            self.told = true;
        }
        Ok(())
    }

    /// Has holders keep all memberships of this socket, which goes on receiving.
    fn hand_over(&mut self, holders: &mut Holders) -> io::Result<()> {
        self.tell_interface()?;
        let kept = self
            .admitted
            .iter()
            .try_for_each(|(group, interface, filter)| holders.hold(group, interface, filter))
            .and_then(|()| self.socket.only_own_memberships(false));
        if let Err(error) = kept {
            self.admitted.iter().for_each(|(group, interface, _)| holders.release(group, interface));
            return Err(error);
        }
        for (group, interface, _) in self.admitted.iter() {
            // One of them is the one that could not be joined here.
            let _ = self.socket.leave(group, interface);
        }
        self.held = true;
        Ok(())
    }

    pub(crate) fn dismiss(
        &mut self,
        holders: &mut Holders,
        group: Group,
        interface: InterfaceIndex,
    ) -> io::Result<()> {
        if !self.admitted.take(group, interface) {
            return Ok(());
        }
        if self.held {
            holders.release(group, interface);
            return Ok(());
        }
        match self.socket.leave(group, interface) {
            // The interface vanished and took the membership along.
            Err(error) if sys::is_gone(&error) => Ok(()),
            result => result,
        }
    }
}

/// How far a running total, which may wrap, is beyond the one told before. One that is told late,
/// by a thread that another has overtaken, adds nothing.
fn since(before: &AtomicU32, total: u32) -> u32 {
    let ahead = |before: u32| total.wrapping_sub(before).cast_signed() > 0;
    let told = before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| ahead(old).then_some(total));
    told.map_or(0, |old| total.wrapping_sub(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_is_told_late_adds_nothing() {
        let before = AtomicU32::new(0);
        assert_eq!([since(&before, 7), since(&before, 5), since(&before, 9)], [7, 0, 2]);
    }

    #[test]
    fn a_total_may_wrap() {
        let before = AtomicU32::new(u32::MAX - 1);
        assert_eq!([since(&before, 3), since(&before, u32::MAX)], [5, 0]);
    }
}
