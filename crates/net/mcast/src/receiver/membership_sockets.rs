//! Sockets that only hold memberships, which lifts the kernel's limits per socket
//! (`igmp_max_memberships`, `igmp_max_msf`) for a receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

use crate::error::{ErrorKind, Operation};
use mcast_sys::socket::Socket;

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
            Ok(membership_sockets) => {
                self.held.insert((group, interface), membership_sockets);
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
    pub(crate) fn release(&mut self, group: Group, interface: InterfaceIndex) {
        let membership_sockets = self.held.remove(&(group, interface)).unwrap_or_default();
        self.leave_on(group, interface, &membership_sockets);
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
                let mut membership_sockets = Vec::new();
                let joined = self.join_once(group, interface, filter, avoid, &mut membership_sockets);
                if !joined.as_ref().is_err_and(is_limit) {
                    return joined.map(|()| membership_sockets);
                }
                // The filter excludes more sources than a socket can. Receive all; the table of
                // memberships filters.
                self.join_once(group, interface, &SourceFilter::ANY, avoid, &mut membership_sockets)
                    .map(|()| membership_sockets)
            }
            SourceFilter::Include(sources) => {
                let mut membership_sockets = Vec::new();
                let result = self.join_sources(group, interface, sources, avoid, &mut membership_sockets);
                if let Err(error) = result {
                    self.leave_on(group, interface, &membership_sockets);
                    return Err(error);
                }
                Ok(membership_sockets)
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
        membership_sockets: &mut Vec<usize>,
    ) -> io::Result<()> {
        let avoided: Vec<usize> = avoid.iter().chain(membership_sockets.iter()).copied().collect();
        let result = self.join_once(
            group,
            interface,
            &SourceFilter::Include(sources.clone()),
            &avoided,
            membership_sockets,
        );
        if sources.len() < 2 || !result.as_ref().is_err_and(is_limit) {
            return result;
        }
        let middle = sources.iter().nth(sources.len() / 2).copied();
        let (mut left, mut right) = (sources.clone(), BTreeSet::new());
        if let Some(middle) = middle {
            right = left.split_off(&middle);
        }
        self.join_sources(group, interface, &left, avoid, membership_sockets)?;
        self.join_sources(group, interface, &right, avoid, membership_sockets)
    }

    /// Joins on a socket that has room, or on a new one.
    fn join_once(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
        avoid: &[usize],
        membership_sockets: &mut Vec<usize>,
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
                    membership_sockets.push(index);
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
        membership_sockets.push(vacant);
        Ok(())
    }

    fn leave_on(&mut self, group: Group, interface: InterfaceIndex, membership_sockets: &[usize]) {
        for index in membership_sockets {
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
pub(crate) fn is_limit(error: &io::Error) -> bool {
    mcast_sys::error_kind(Operation::Join, error) == ErrorKind::LimitReached
}
