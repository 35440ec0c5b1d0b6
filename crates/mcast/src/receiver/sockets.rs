//! How a receiver's groups are spread over sockets, and which datagram is one of its own.
//!
//! A group has a socket of its own, bound to it, up to `held_above` groups on a port; more share
//! one wildcard socket, their memberships kept by [`Holders`]. Where the system cannot bind to a
//! group (Windows), one wildcard socket a port has all. Whichever it is, a table of
//! (group, interface) and sources has the last word, since no kernel filters exactly in every
//! case: an IPv6 socket on Linux hears a group on each interface on which anybody joined it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mcast_group::{Family, Group, GroupAddr, InterfaceIndex, SourceFilter};

use super::claims::Key;
use super::descriptors::with_more_descriptors;
use super::holders::{Holders, is_limit};
use crate::datagram::Arrival;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::sys::layout::{BINDS_TO_GROUP, FILTERS_BY_INTERFACE_V6, HOLDS_APART, held_above};
use crate::sys::poller::Poller;
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
}

/// All sockets of a receiver.
#[derive(Debug)]
pub(crate) struct Sockets {
    options: SocketOptions,
    /// By token; `None` where one was closed.
    data: Vec<Option<DataSocket>>,
    /// Tokens that are free, below the highest one.
    vacant: BTreeSet<usize>,
    holders: Holders,
    /// Which socket receives a group.
    tokens: HashMap<Place, usize>,
    /// How many groups of a family there are on a port,
    groups: Groups,
    /// and how many there are or will be.
    expected: Groups,
    /// Drops of sockets that are closed by now.
    retired_drops: u64,
}

/// What a socket can be bound to: a group and port, and for groups that only mean something on
/// an interface (link-local ones), that interface.
type Place = (GroupAddr, Option<InterfaceIndex>);

/// A number of groups by family and port.
type Groups = BTreeMap<(Family, u16), usize>;

fn place((address, interface): Key) -> Place {
    (address, sys::layout::is_scoped(address.group).then_some(interface))
}

/// A socket that receives.
#[derive(Debug)]
pub(crate) struct DataSocket {
    pub(crate) socket: Socket,
    port: u16,
    family: Family,
    /// The group it is bound to; `None` for a wildcard socket.
    group: Option<Group>,
    /// It is bound to an interface, too.
    scoped: bool,
    /// Its memberships are kept by holders.
    held: bool,
    /// Bytes of receive buffer that the system granted.
    granted: usize,
    /// What is admitted of each group, by interface: few, so that a list serves best.
    admitted: HashMap<Group, Vec<(InterfaceIndex, SourceFilter)>>,
    /// The kernel's running total of drops, as of the last datagram.
    overflow: AtomicU32,
}

impl Sockets {
    pub(crate) fn new(options: SocketOptions) -> Self {
        Self {
            options,
            data: Vec::new(),
            vacant: BTreeSet::new(),
            holders: Holders::default(),
            tokens: HashMap::new(),
            groups: Groups::new(),
            expected: Groups::new(),
            retired_drops: 0,
        }
    }

    /// The socket of this token.
    pub(crate) fn get(&self, token: usize) -> Option<&DataSocket> {
        self.data.get(token)?.as_ref()
    }

    /// The only socket, if there is but one.
    pub(crate) fn only(&self) -> Option<&DataSocket> {
        match &self.data[..] {
            [only] => only.as_ref(),
            _ => None,
        }
    }

    /// Whether a datagram that came before would be admitted now.
    pub(crate) fn admits(&self, arrival: &Arrival) -> bool {
        let token = self.tokens.get(&place((arrival.group, arrival.interface)));
        let data = token.and_then(|token| self.get(*token));
        data.is_some_and(|data| data.admits(arrival.group.group, arrival.interface, arrival.source.ip()))
    }

    /// All sockets that receive.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &DataSocket> + '_ {
        self.data.iter().flatten()
    }

    /// How many descriptors the receiver takes, those that only hold memberships included.
    pub(crate) fn descriptors(&self) -> usize {
        self.iter().count() + self.holders.len()
    }

    /// Joins, leaves or changes the sources of a group on an interface: `filter` is what shall be
    /// admitted from now on. After an error, nothing of the group is joined there.
    pub(crate) fn set(&mut self, poller: &Poller, key: Key, filter: Option<&SourceFilter>) -> Result<()> {
        match filter {
            None => self.leave(poller, key),
            Some(filter) => {
                let result = self.join(poller, key, filter);
                if result.is_err() {
                    // What was left half done goes; its own failure would say nothing new.
                    let _ = self.leave(poller, key);
                }
                result
            }
        }
    }

    /// Forgets a membership that the system dropped by itself, when its interface vanished.
    pub(crate) fn forget(&mut self, poller: &Poller, key: Key) {
        let _ = self.leave(poller, key);
    }

    /// Makes ready for these groups: how many there will be on a port decides how they are
    /// spread over sockets. A group that has its socket keeps it.
    pub(crate) fn expect(&mut self, keys: impl Iterator<Item = Key>) {
        let fresh: BTreeSet<Place> = keys.map(place).collect();
        self.expected.clone_from(&self.groups);
        for place in fresh.iter().filter(|place| !self.tokens.contains_key(place)) {
            *self.expected.entry(share(*place)).or_default() += 1;
        }
    }

    /// Joins anew what is joined, and closes nothing: the system may have dropped it, and if not,
    /// nothing is missed.
    pub(crate) fn renew(&mut self, (address, interface): Key) -> io::Result<()> {
        let token = self.tokens.get(&place((address, interface)));
        match token.and_then(|token| self.data.get_mut(*token)?.as_mut()) {
            Some(data) => data.renew(&mut self.holders, address.group, interface),
            None => Ok(()),
        }
    }

    /// Has all sockets merge, or none; says whether they can.
    pub(crate) fn set_merging(&mut self, on: bool) -> io::Result<bool> {
        let mut can = true;
        for data in self.iter() {
            can &= data.socket.set_merging(on)?;
        }
        self.options.merging = on && can;
        Ok(can)
    }

    /// Drops of all sockets, closed ones included; `None` where the system doesn't count.
    pub(crate) fn drops(&self) -> Option<u64> {
        let mut total = self.retired_drops;
        for data in self.iter() {
            total += u64::from(data.socket.drops().ok()??);
        }
        Some(total)
    }

    /// Whether a socket may hear, and so overflow by, what this receiver did not join.
    pub(crate) fn hears_others(&self) -> bool {
        let exact = |data: &DataSocket| data.family == Family::V4 || FILTERS_BY_INTERFACE_V6 || data.scoped;
        self.iter().any(|data| data.held || data.group.is_none() || !exact(data))
    }

    fn join(&mut self, poller: &Poller, (address, interface): Key, filter: &SourceFilter) -> Result<()> {
        let failed = |operation, error| Error::os(operation, error).on_group(address).on_interface(interface);
        let token =
            self.socket_for(poller, (address, interface)).map_err(|error| failed(Operation::Open, error))?;
        match self.data[token].as_mut() {
            Some(data) => data
                .admit(&mut self.holders, address.group, interface, filter)
                .map_err(|error| failed(Operation::Join, error)),
            None => Err(Error::new(Operation::Join, ErrorKind::Other).on_group(address)),
        }
    }

    fn leave(&mut self, poller: &Poller, (address, interface): Key) -> Result<()> {
        let Some(&token) = self.tokens.get(&place((address, interface))) else {
            return Ok(());
        };
        let Some(data) = self.data[token].as_mut() else {
            return Ok(());
        };
        let result = data.dismiss(&mut self.holders, address.group, interface);
        let (unused, empty) = (!data.admitted.contains_key(&address.group), data.admitted.is_empty());
        if unused {
            self.unlist(place((address, interface)));
        }
        if empty {
            self.close(poller, token);
        }
        result.map_err(|error| Error::os(Operation::Leave, error).on_group(address).on_interface(interface))
    }

    fn close(&mut self, poller: &Poller, token: usize) {
        if let Some(data) = self.data[token].take() {
            self.retired_drops += data.socket.drops().ok().flatten().map_or(0, u64::from);
            // Closing takes it out of the poller in any case.
            let _ = poller.remove(&data.socket);
            self.vacant.insert(token);
        }
        while self.data.last().is_some_and(Option::is_none) {
            self.data.pop();
            self.vacant.remove(&self.data.len());
        }
    }

    fn socket_for(&mut self, poller: &Poller, key: Key) -> io::Result<usize> {
        let place = place(key);
        if let Some(token) = self.tokens.get(&place) {
            return Ok(*token);
        }
        let (family, port) = share(place);
        let groups = self.expected.get(&(family, port)).copied().unwrap_or(1);
        let wildcard = !BINDS_TO_GROUP || groups > held_above(family);
        let shared = |data: &DataSocket| data.port == port && data.family == family && data.group.is_none();
        let there = wildcard.then(|| self.data.iter().position(|data| data.as_ref().is_some_and(shared)));
        let token = match there.flatten() {
            Some(token) => token,
            None => self.open(poller, place, wildcard)?,
        };
        self.tokens.insert(place, token);
        *self.groups.entry((family, port)).or_default() += 1;
        Ok(token)
    }

    /// Forgets which socket receives what is bound to here.
    fn unlist(&mut self, place: Place) {
        if self.tokens.remove(&place).is_some()
            && let Some(count) = self.groups.get_mut(&share(place))
        {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&share(place));
            }
        }
    }

    fn open(&mut self, poller: &Poller, place: Place, wildcard: bool) -> io::Result<usize> {
        let data = self.options.open(place, wildcard)?;
        let token = self.vacant.first().copied().unwrap_or(self.data.len());
        poller.add(&data.socket, token)?;
        self.vacant.remove(&token);
        if token == self.data.len() {
            self.data.push(Some(data));
        } else {
            self.data[token] = Some(data);
        }
        Ok(token)
    }
}

/// Among which groups a place may share a socket.
fn share((address, _): Place) -> (Family, u16) {
    (address.group.family(), address.port)
}

impl SocketOptions {
    fn open(&self, (address, interface): Place, wildcard: bool) -> io::Result<DataSocket> {
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
        Ok(DataSocket {
            granted: socket.set_receive_buffer(self.receive_buffer)?,
            socket,
            port,
            family,
            group: (!wildcard).then_some(group),
            scoped: !wildcard && interface.is_some(),
            held: wildcard && HOLDS_APART,
            admitted: HashMap::new(),
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
        self.admitted.get(&group).is_some_and(|on| on.iter().any(|(joined, _)| *joined == interface))
    }

    /// Bytes of receive buffer that the system granted.
    pub(crate) fn granted(&self) -> usize {
        self.granted
    }

    /// How a datagram came, if it is one of this receiver's: sent to a group that was joined, on
    /// the interface on which it arrived, for this source.
    pub(crate) fn arrival(&self, received: &Received) -> Option<Arrival> {
        let group = Group::new(received.destination?).ok()?;
        let interface = received.interface?;
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
    fn admits(&self, group: Group, interface: InterfaceIndex, source: IpAddr) -> bool {
        let on = self.admitted.get(&group).map_or(&[][..], Vec::as_slice);
        on.iter().any(|(joined, filter)| *joined == interface && filter.admits(source))
    }

    /// What was dropped since the datagram before. The kernel tells a running total, and none
    /// before the first drop.
    fn lost_before(&self, received: &Received) -> Option<u64> {
        if !sys::layout::COUNTS_DROPS {
            return None;
        }
        let Some(total) = received.overflow else {
            return Some(0);
        };
        Some(since(&self.overflow, total).into())
    }

    fn admit(
        &mut self,
        holders: &mut Holders,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        // The table first: what the join lets in must be known by then.
        let before = self.put(group, interface, filter);
        if before.as_ref() == Some(filter) {
            return Ok(());
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

    fn renew(&mut self, holders: &mut Holders, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        let on = self.admitted.get(&group).map_or(&[][..], Vec::as_slice);
        let Some((_, filter)) = on.iter().find(|(joined, _)| *joined == interface) else {
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
        let filters = self.admitted.get(&group).map_or(&[][..], Vec::as_slice);
        filters.iter().all(|(_, filter)| *filter == filters[0].1)
    }

    /// Has holders keep all memberships of this socket, which goes on receiving.
    fn hand_over(&mut self, holders: &mut Holders) -> io::Result<()> {
        let kept = self
            .memberships()
            .try_for_each(|(group, interface, filter)| holders.hold(group, interface, filter))
            .and_then(|()| self.socket.only_own_memberships(false));
        if let Err(error) = kept {
            self.memberships().for_each(|(group, interface, _)| holders.release(group, interface));
            return Err(error);
        }
        for (group, interface, _) in self.memberships() {
            // One of them is the one that could not be joined here.
            let _ = self.socket.leave(group, interface);
        }
        self.held = true;
        Ok(())
    }

    fn dismiss(&mut self, holders: &mut Holders, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        if !self.take(group, interface) {
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

impl DataSocket {
    fn memberships(&self) -> impl Iterator<Item = (Group, InterfaceIndex, &SourceFilter)> + '_ {
        self.admitted
            .iter()
            .flat_map(|(group, on)| on.iter().map(|(interface, filter)| (*group, *interface, filter)))
    }

    /// Puts a filter into the table; returns the one it replaces.
    fn put(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> Option<SourceFilter> {
        let on = self.admitted.entry(group).or_default();
        match on.iter_mut().find(|(joined, _)| *joined == interface) {
            Some((_, before)) => Some(std::mem::replace(before, filter.clone())),
            None => {
                on.push((interface, filter.clone()));
                None
            }
        }
    }

    /// Takes a filter out of the table; says whether there was one.
    fn take(&mut self, group: Group, interface: InterfaceIndex) -> bool {
        let Some(on) = self.admitted.get_mut(&group) else {
            return false;
        };
        let before = on.len();
        on.retain(|(joined, _)| *joined != interface);
        let taken = on.len() < before;
        if on.is_empty() {
            self.admitted.remove(&group);
        }
        taken
    }
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
