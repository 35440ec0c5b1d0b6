//! A receiving socket and the memberships admitted on it; and sockets that only hold memberships, which lifts the kernel's limits
//! per socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mcast_group::{Family, Group, GroupAddr, InterfaceIndex, SourceFilter};
use mcast_sys::Received;
use mcast_sys::layout::{COUNTS_DROPS, FILTERS_BY_INTERFACE_V6, HOLDS_APART, implies_interface};
use mcast_sys::socket::Socket;

use super::table::{HostFilter, HostSocket, Table};
use super::wire::Joined;
use crate::datagram::Arrival;
use crate::error::{ErrorKind, Operation};

/// An address that a socket can be bound to: a group and port, and for groups that are only
/// meaningful on an interface (link-local ones), that interface.
pub(crate) type BindTarget = (GroupAddr, Option<InterfaceIndex>);

/// The options of each socket of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    /// Whether others may listen at the same addresses of this host.
    pub(crate) shares_ports: bool,
    pub(crate) receive_buffer: usize,
    pub(crate) loopback: Option<bool>,
    /// Whether to enable GRO.
    pub(crate) gro: bool,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) hardware_time: bool,
    /// Whether to report hop limit, traffic class, time and loss.
    pub(crate) details: bool,
}

/// A receiving socket.
#[derive(Debug)]
pub(crate) struct DataSocket {
    /// Shared with threads that wait for it.
    pub(crate) socket: Arc<Socket>,
    port: u16,
    family: Family,
    /// The group it is bound to; `None` for a wildcard socket.
    group: Option<Group>,
    /// The datagrams that it receives instead of those of groups.
    hosts: Option<HostFilter>,
    /// Whether it is also bound to an interface.
    scoped: bool,
    /// Whether the system reports the group and interface of each datagram, which costs time. It is
    /// off as long as there is only one possibility.
    pktinfo_enabled: bool,
    /// The only interface possible so far. It also applies to datagrams that arrived before
    /// reporting was enabled.
    implied_interface: Option<InterfaceIndex>,
    /// Whether its memberships are delegated by the membership sockets.
    delegated: bool,
    /// The receive buffer that the system granted, in bytes.
    granted: usize,
    admitted: Table,
    /// Whether the kernel reports drops.
    reports_drops: bool,
    /// Whether the kernel reports more than group, interface and source.
    details: bool,
    /// The kernel's running total of drops, as of the last datagram.
    overflow: AtomicU32,
}

impl SocketOptions {
    pub(crate) fn open(&self, (address, interface): BindTarget, wildcard: bool) -> io::Result<DataSocket> {
        let (group, port, family) = (address.group, address.port, address.group.family());
        let socket = match wildcard {
            true => Socket::wildcard(family, port)?,
            false => Socket::bound_to_group(group, port, interface)?,
        };
        let pktinfo_enabled = wildcard || !implies_interface(family);
        if !pktinfo_enabled {
            socket.set_pktinfo(false)?;
        }
        Ok(DataSocket {
            group: (!wildcard).then_some(group),
            scoped: !wildcard && interface.is_some(),
            pktinfo_enabled,
            delegated: wildcard && HOLDS_APART,
            ..self.set_up(socket, family, port)?
        })
    }

    /// Opens a socket for datagrams to this host.
    pub(crate) fn open_host(&self, host: HostSocket, shares_port: bool) -> io::Result<DataSocket> {
        let family = Family::of(host.address.ip());
        let socket = Socket::open(family)?;
        if shares_port || self.shares_ports || host.is_broadcast {
            socket.share_port()?;
        }
        socket.receive_details()?;
        socket.only_own_memberships(true)?;
        socket.bind(host.address)?;
        Ok(DataSocket { hosts: Some(host.filter), ..self.set_up(socket, family, host.address.port())? })
    }

    /// Sets the options of a socket.
    fn set_up(&self, socket: Socket, family: Family, port: u16) -> io::Result<DataSocket> {
        if let Some(loopback) = self.loopback {
            socket.set_receive_loopback(loopback)?;
        }
        if let Some(time) = self.busy_poll {
            socket.set_busy_poll(time)?;
        }
        if self.hardware_time {
            socket.enable_hardware_time()?;
        }
        if self.gro {
            socket.enable_gro()?;
        }
        if !self.details {
            socket.disable_details()?;
        }
        Ok(DataSocket {
            granted: socket.set_receive_buffer(self.receive_buffer)?,
            socket: Arc::new(socket),
            port,
            family,
            group: None,
            hosts: None,
            scoped: false,
            pktinfo_enabled: true,
            implied_interface: None,
            delegated: false,
            admitted: Table::default(),
            reports_drops: self.details && COUNTS_DROPS,
            details: self.details || self.hardware_time,
            overflow: AtomicU32::new(0),
        })
    }
}

impl DataSocket {
    /// Returns the port it is bound to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the family of its datagrams.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Returns whether datagrams with this destination and interface are received here, from some sources.
    pub(crate) fn has(&self, arrival: &Arrival) -> bool {
        match &self.hosts {
            Some(hosts) => hosts.admits(arrival.destination.ip(), Some(arrival.interface)),
            None => {
                arrival.group().is_some_and(|address| self.admitted.has(address.group, arrival.interface))
            }
        }
    }

    /// Returns whether it receives several groups.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.group.is_none() && self.hosts.is_none()
    }

    /// Returns whether it may receive, and so overflow with, groups that were not joined on it.
    pub(crate) fn receives_others(&self) -> bool {
        let exact = self.family == Family::V4 || FILTERS_BY_INTERFACE_V6 || self.scoped;
        self.hosts.is_none() && (self.delegated || self.is_wildcard() || !exact)
    }

    /// Returns whether anything of this group is admitted.
    pub(crate) fn admits_any_of(&self, group: Group) -> bool {
        !self.admitted.of(group).is_empty()
    }

    /// Returns whether nothing is admitted any more.
    pub(crate) fn admits_nothing(&self) -> bool {
        self.admitted.is_empty()
    }

    pub(crate) fn memberships(&self) -> impl Iterator<Item = Joined<'_>> + Clone + '_ {
        let port = self.port;
        self.admitted
            .iter()
            .map(move |(group, interface, filter)| (GroupAddr::new(group, port), interface, filter))
    }

    /// Returns the receive buffer that the system granted, in bytes.
    pub(crate) fn granted(&self) -> usize {
        self.granted
    }

    /// Receives one datagram, and writes what is known about it to `received`.
    #[inline]
    pub(crate) fn receive(&self, buffer: &mut [u8], received: &mut Received) -> io::Result<()> {
        match self.pktinfo_enabled || self.details {
            true => self.socket.receive_into(buffer, &mut [], received),
            false => {
                *received = self.socket.receive_bare(buffer)?;
                Ok(())
            }
        }
    }

    /// Returns the metadata of a datagram if the receiver requested it: sent to a joined group,
    /// arrived on an interface where it is joined, from an admitted source. Inlined so that it is written to where it is
    /// needed: a call would copy it.
    #[inline(always)]
    pub(crate) fn arrival(&self, received: &Received) -> Option<Arrival> {
        let interface = received.interface.or(self.implied_interface)?;
        let destination = match &self.hosts {
            Some(hosts) => hosts.destination(received)?,
            None => self.group_of(received, interface)?.addr(),
        };
        Some(Arrival {
            hop_limit: received.hop_limit,
            traffic_class: received.traffic_class,
            time: received.time,
            hardware_time: received.hardware_time,
            lost: self.lost_before(received),
            length: received.full_length,
            truncated: received.truncated,
            ..Arrival::new(SocketAddr::new(destination, self.port), interface, received.source)
        })
    }

    /// Returns the group of a datagram that is admitted.
    #[inline]
    fn group_of(&self, received: &Received, interface: InterfaceIndex) -> Option<Group> {
        let group = match received.destination {
            Some(destination) => Group::new(destination).ok()?,
            None if self.pktinfo_enabled => return None,
            None => self.group?,
        };
        self.admits(group, interface, received.source.ip()).then_some(group)
    }

    /// Returns whether a datagram to this group, on this interface, from this source is admitted.
    pub(crate) fn admits(&self, group: Group, interface: InterfaceIndex, source: IpAddr) -> bool {
        self.admitted.admits(group, interface, source)
    }

    /// Returns the number of drops since the previous datagram. The kernel reports a running total,
    /// and none before the first drop.
    fn lost_before(&self, received: &Received) -> Option<u64> {
        if !self.reports_drops {
            return None;
        }
        let Some(total) = received.overflow else {
            return Some(0);
        };
        Some(since(&self.overflow, total).into())
    }

    pub(crate) fn admit(
        &mut self,
        membership_sockets: &mut MembershipSockets,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        // The table comes first, because the join lets datagrams in at once.
        let before = self.admitted.put(group, interface, filter);
        if before.as_ref() == Some(filter) {
            return Ok(());
        }
        if !self.pktinfo_enabled && *self.implied_interface.get_or_insert(interface) != interface {
            self.enable_pktinfo()?;
        }
        if !self.delegated && !self.kernel_can_filter(group) {
            self.delegate(membership_sockets)?;
        }
        if self.delegated {
            return membership_sockets.hold(group, interface, filter);
        }
        let result = match before {
            Some(_) => self.socket.change_filter(group, interface, filter),
            None => self.socket.join(group, interface, filter),
        };
        match result {
            Err(error) if HOLDS_APART && is_limit(&error) => self.delegate(membership_sockets),
            result => result,
        }
    }

    pub(crate) fn renew(
        &mut self,
        membership_sockets: &mut MembershipSockets,
        group: Group,
        interface: InterfaceIndex,
    ) -> io::Result<()> {
        let Some(filter) = self.admitted.find(group, interface) else {
            return Ok(());
        };
        if self.delegated {
            return membership_sockets.hold(group, interface, filter);
        }
        // If the membership still exists, this socket keeps it while the other one leaves and
        // joins.
        let meanwhile = Socket::holder(self.family)?;
        let _ = meanwhile.join(group, interface, filter);
        let _ = self.socket.leave(group, interface);
        self.socket.join(group, interface, filter)
    }

    /// Returns whether the kernel can filter this group. Linux applies the filter of whichever
    /// interface it finds first to an IPv6 group joined on several, so filters that differ are left
    /// to the table.
    fn kernel_can_filter(&self, group: Group) -> bool {
        if FILTERS_BY_INTERFACE_V6 || self.family == Family::V4 {
            return true;
        }
        let filters = self.admitted.of(group);
        filters.iter().all(|(_, filter)| *filter == filters[0].1)
    }

    /// Makes the system report group and interface from now on.
    fn enable_pktinfo(&mut self) -> io::Result<()> {
        if !self.pktinfo_enabled {
            self.socket.set_pktinfo(true)?;
            self.pktinfo_enabled = true;
        }
        Ok(())
    }

    /// Moves all memberships of this socket to the membership sockets. The socket continues to
    /// receive.
    fn delegate(&mut self, membership_sockets: &mut MembershipSockets) -> io::Result<()> {
        self.enable_pktinfo()?;
        let kept = self
            .admitted
            .iter()
            .try_for_each(|(group, interface, filter)| membership_sockets.hold(group, interface, filter))
            .and_then(|()| self.socket.only_own_memberships(false));
        if let Err(error) = kept {
            self.admitted
                .iter()
                .for_each(|(group, interface, _)| membership_sockets.release(group, interface));
            return Err(error);
        }
        for (group, interface, _) in self.admitted.iter() {
            // One of these may be the group that could not be joined here.
            let _ = self.socket.leave(group, interface);
        }
        self.delegated = true;
        Ok(())
    }

    pub(crate) fn dismiss(
        &mut self,
        membership_sockets: &mut MembershipSockets,
        group: Group,
        interface: InterfaceIndex,
    ) -> io::Result<()> {
        if !self.admitted.take(group, interface) {
            return Ok(());
        }
        if self.delegated {
            membership_sockets.release(group, interface);
            return Ok(());
        }
        match self.socket.leave(group, interface) {
            // The membership vanished together with the interface.
            Err(error) if mcast_sys::is_gone(&error) => Ok(()),
            result => result,
        }
    }
}

/// Returns how far a running total, which may wrap, is ahead of the previous one. A thread that
/// another has overtaken reports an older total, which adds nothing.
fn since(before: &AtomicU32, total: u32) -> u32 {
    let ahead = |before: u32| total.wrapping_sub(before).cast_signed() > 0;
    let previous =
        before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| ahead(old).then_some(total));
    previous.map_or(0, |old| total.wrapping_sub(old))
}

/// Sockets that receive nothing and keep groups joined.
#[derive(Debug, Default)]
pub(crate) struct MembershipSockets {
    /// `None` for a socket that was closed because it held no memberships any more.
    sockets: Vec<Option<MembershipSocket>>,
    /// The indexes of the sockets that hold each group: several if the sources exceed the limit of
    /// one.
    held: BTreeMap<(Group, InterfaceIndex), Vec<usize>>,
}

#[derive(Debug)]
struct MembershipSocket {
    socket: Socket,
    family: Family,
    /// The number of memberships it holds.
    count: usize,
    /// Whether it refused a membership since it last left one.
    full: bool,
}

/// Closes the newest one first, as `Sockets` do.
impl Drop for MembershipSockets {
    fn drop(&mut self) {
        while self.sockets.pop().is_some() {}
    }
}

impl MembershipSockets {
    /// Joins a group with this filter, replacing what was held of it.
    pub(crate) fn hold(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        // The old membership stays until the new one is in place, so that no datagram is missed.
        let before = self.held.remove(&(group, interface)).unwrap_or_default();
        let result = self.join(group, interface, filter, &before);
        match result {
            Ok(indexes) => {
                self.held.insert((group, interface), indexes);
                self.leave_on(group, interface, &before);
                Ok(())
            }
            Err(error) => {
                if !before.is_empty() {
                    self.held.insert((group, interface), before);
                }
                Err(error)
            }
        }
    }

    /// Leaves a group.
    fn release(&mut self, group: Group, interface: InterfaceIndex) {
        let indexes = self.held.remove(&(group, interface)).unwrap_or_default();
        self.leave_on(group, interface, &indexes);
    }

    /// Returns the number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    fn join(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
        avoid: &[usize],
    ) -> io::Result<Vec<usize>> {
        match filter {
            SourceFilter::Exclude(_) => {
                let mut indexes = Vec::new();
                let joined = self.join_once(group, interface, filter, avoid, &mut indexes);
                if !joined.as_ref().is_err_and(is_limit) {
                    return joined.map(|()| indexes);
                }
                // The filter excludes more sources than a socket can. Receive all; the table of
                // memberships filters.
                self.join_once(group, interface, &SourceFilter::ANY, avoid, &mut indexes).map(|()| indexes)
            }
            SourceFilter::Include(sources) => {
                let mut indexes = Vec::new();
                let result = self.join_sources(group, interface, sources, avoid, &mut indexes);
                if let Err(error) = result {
                    self.leave_on(group, interface, &indexes);
                    return Err(error);
                }
                Ok(indexes)
            }
        }
    }

    /// Joins for all these sources, splitting the list if it exceeds the limit of one socket.
    fn join_sources(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        sources: &BTreeSet<std::net::IpAddr>,
        avoid: &[usize],
        indexes: &mut Vec<usize>,
    ) -> io::Result<()> {
        let avoided: Vec<usize> = avoid.iter().chain(indexes.iter()).copied().collect();
        let result =
            self.join_once(group, interface, &SourceFilter::Include(sources.clone()), &avoided, indexes);
        if sources.len() < 2 || !result.as_ref().is_err_and(is_limit) {
            return result;
        }
        let middle = sources.iter().nth(sources.len() / 2).copied();
        let (mut left, mut right) = (sources.clone(), BTreeSet::new());
        if let Some(middle) = middle {
            right = left.split_off(&middle);
        }
        self.join_sources(group, interface, &left, avoid, indexes)?;
        self.join_sources(group, interface, &right, avoid, indexes)
    }

    /// Joins on a socket that has room, or on a new one.
    fn join_once(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
        avoid: &[usize],
        indexes: &mut Vec<usize>,
    ) -> io::Result<()> {
        let family = group.family();
        let has_room = |holder: &MembershipSocket| holder.family == family && !holder.full;
        let candidate = self.sockets.iter_mut().enumerate().rev().find_map(|(index, holder)| {
            let holder = holder.as_mut().filter(|holder| has_room(holder) && !avoid.contains(&index))?;
            Some((index, holder))
        });
        if let Some((index, holder)) = candidate {
            match holder.socket.join(group, interface, filter) {
                Ok(()) => {
                    holder.count += 1;
                    indexes.push(index);
                    return Ok(());
                }
                // With several sources, the limit may be on sources rather than memberships.
                Err(error) if is_limit(&error) => holder.full = filter.sources().nth(1).is_none(),
                Err(error) => return Err(error),
            }
        }
        let socket = Socket::holder(family)?;
        socket.join(group, interface, filter)?;
        let holder = Some(MembershipSocket { socket, family, count: 1, full: false });
        let vacant = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
        if vacant == self.sockets.len() {
            self.sockets.push(holder);
        } else {
            self.sockets[vacant] = holder;
        }
        indexes.push(vacant);
        Ok(())
    }

    fn leave_on(&mut self, group: Group, interface: InterfaceIndex, indexes: &[usize]) {
        for index in indexes {
            let Some(holder) = self.sockets[*index].as_mut() else { continue };
            // The membership may have vanished with its interface; then there is nothing to leave.
            let _ = holder.socket.leave(group, interface);
            holder.count = holder.count.saturating_sub(1);
            holder.full = false;
            if holder.count == 0 {
                self.sockets[*index] = None;
            }
        }
    }
}

/// Returns whether a limit of the socket was reached, so that another socket may succeed.
fn is_limit(error: &io::Error) -> bool {
    mcast_sys::error_kind(Operation::Join, error) == ErrorKind::LimitReached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_total_adds_nothing() {
        let before = AtomicU32::new(0);
        assert_eq!([since(&before, 7), since(&before, 5), since(&before, 9)], [7, 0, 2]);
    }

    #[test]
    fn a_total_may_wrap() {
        let before = AtomicU32::new(u32::MAX - 1);
        assert_eq!([since(&before, 3), since(&before, u32::MAX)], [5, 0]);
    }
}
