//! The distribution of a receiver's groups over sockets, and the check whether a datagram was
//! requested.
//!
//! Each group has a socket bound to it, up to `held_above` groups on a port. Beyond that, groups
//! share one wildcard socket, and [`MembershipSockets`] hold the memberships. Where the system
//! cannot bind to a group (Windows), one wildcard socket per port receives all. In every case, a
//! table of (group, interface) and sources decides, because no kernel filters exactly in every
//! case: an IPv6 socket on Linux receives a group on each interface on which any socket joined it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mcast_group::{Family, HostAddr, SourceFilter};

use super::data_socket::{BindTarget, DataSocket, MembershipSockets, SocketOptions};
use super::table::{Key, sockets_for};
use super::wire::{Shared, WirePort, Wires};
use crate::datagram::Arrival;
use crate::error::{Error, ErrorKind, Operation, Result};
use mcast_sys::layout::{BINDS_TO_GROUP, held_above};
use mcast_sys::poller::{self, Poller};

/// All sockets of a receiver.
#[derive(Debug)]
pub(crate) struct Sockets {
    options: SocketOptions,
    /// Indexed by token; `None` for a closed socket.
    data: Vec<Option<DataSocket>>,
    /// Free tokens below the highest one in use.
    vacant: BTreeSet<usize>,
    /// Whether all sockets are registered with the poller, as are all that are opened later. Until
    /// then there is at most one socket, which is waited for directly: a registered socket costs the
    /// kernel an extra step per datagram, and a wait through the poller costs one per wake-up.
    pooled: AtomicBool,
    membership_sockets: MembershipSockets,
    /// The socket that receives each group.
    tokens: HashMap<BindTarget, usize>,
    /// The number of groups per family and port,
    groups: Groups,
    /// and the number expected after the current change.
    expected: Groups,
    /// The drops of closed sockets.
    retired_drops: u64,
    /// The interfaces from which frames are taken, past the sockets.
    pub(super) wires: Option<Wires>,
}

/// A number of groups by family and port.
type Groups = BTreeMap<(Family, u16), usize>;

/// Closes the newest socket first: Linux finds a membership in a list of all of the interface, with the newest at its head.
/// 16,384 are left in 0.14 s, and in 36 s from the oldest on.
impl Drop for Sockets {
    fn drop(&mut self) {
        while self.data.pop().is_some() {}
    }
}

fn bind_target((address, interface): Key) -> BindTarget {
    (address, mcast_sys::layout::is_scoped(address.group).then_some(interface))
}

impl Sockets {
    pub(crate) fn new(options: SocketOptions) -> Self {
        Self {
            options,
            data: Vec::new(),
            vacant: BTreeSet::new(),
            pooled: AtomicBool::new(!poller::WAITS_BESIDE),
            membership_sockets: MembershipSockets::default(),
            tokens: HashMap::new(),
            groups: Groups::new(),
            expected: Groups::new(),
            retired_drops: 0,
            wires: None,
        }
    }

    pub(crate) fn get(&self, token: usize) -> Option<&DataSocket> {
        self.data.get(token)?.as_ref()
    }

    /// Returns the ring with this token: its interface and number.
    pub(super) fn ring(&self, token: usize) -> Option<(&WirePort, usize)> {
        self.wires.as_ref()?.ring(token)
    }

    /// Returns the only socket, if there is exactly one.
    pub(crate) fn only(&self) -> Option<&DataSocket> {
        match &self.data[..] {
            [only] => only.as_ref(),
            _ => None,
        }
    }

    /// Returns the only socket if it is not registered with the poller.
    pub(crate) fn unpooled(&self) -> Option<&DataSocket> {
        if self.pooled.load(Ordering::Acquire) { None } else { self.only() }
    }

    /// Registers all sockets with the poller from now on.
    pub(crate) fn pool(&self, poller: &Poller) -> io::Result<()> {
        if self.pooled.load(Ordering::Acquire) {
            return Ok(());
        }
        for (token, data) in self.data.iter().enumerate() {
            match data.as_ref().map_or(Ok(()), |data| poller.add(&data.socket, token)) {
                // Another thread registered it at the same time.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
        }
        self.pooled.store(true, Ordering::Release);
        Ok(())
    }

    /// Prepares for waiting. Unless a socket exists by now, sockets are registered from the start,
    /// because a thread that waits on the poller would not notice a socket that is waited for
    /// directly.
    pub(crate) fn prepare_to_wait(&self, poller: &Poller) -> io::Result<()> {
        if self.unpooled().is_some() && self.wires.is_none() { Ok(()) } else { self.pool(poller) }
    }

    /// Returns whether a datagram received earlier is still admitted.
    pub(crate) fn admits(&self, arrival: &Arrival) -> bool {
        let Some(address) = arrival.group() else { return true };
        let token = self.tokens.get(&bind_target((address, arrival.interface)));
        let data = token.and_then(|token| self.get(*token));
        data.is_some_and(|data| data.admits(address.group, arrival.interface, arrival.source.ip()))
    }

    /// Returns all receiving sockets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &DataSocket> + Clone + '_ {
        self.data.iter().flatten()
    }

    /// Returns the number of descriptors, including those that only hold memberships.
    pub(crate) fn descriptors(&self) -> usize {
        self.iter().count() + self.membership_sockets.len()
    }

    /// Joins, leaves or changes the sources of a group on an interface, so that `filter` is
    /// admitted from now on. After an error, the group is not joined on it.
    pub(crate) fn set(&mut self, poller: &Poller, key: Key, filter: Option<&SourceFilter>) -> Result<()> {
        match filter {
            None => self.leave(poller, key),
            Some(filter) => {
                let result = self.join(poller, key, filter);
                if result.is_err() {
                    // Undo a partial join; a failure of this would add no information.
                    let _ = self.leave(poller, key);
                }
                result
            }
        }
    }

    /// Forgets a membership that the system dropped when its interface vanished.
    pub(crate) fn forget(&mut self, poller: &Poller, key: Key) {
        let _ = self.leave(poller, key);
    }

    /// Announces these groups: the number of groups on a port decides how they are distributed over
    /// sockets. A group that already has a socket keeps it.
    pub(crate) fn expect(&mut self, keys: impl Iterator<Item = Key>) {
        let fresh: BTreeSet<BindTarget> = keys.map(bind_target).collect();
        self.expected.clone_from(&self.groups);
        for target in fresh.iter().filter(|target| !self.tokens.contains_key(target)) {
            *self.expected.entry(share(*target)).or_default() += 1;
        }
    }

    /// Joins again without closing anything: the system may have dropped the membership, and if it
    /// did not, no datagram is missed.
    pub(crate) fn renew(&mut self, (address, interface): Key) -> io::Result<()> {
        let token = self.tokens.get(&bind_target((address, interface)));
        match token.and_then(|token| self.data.get_mut(*token)?.as_mut()) {
            Some(data) => data.renew(&mut self.membership_sockets, address.group, interface),
            None => Ok(()),
        }
    }

    /// Returns the drops of all sockets, including closed ones; `None` where the system does not
    /// count.
    pub(crate) fn drops(&self) -> Option<u64> {
        let mut total = self.retired_drops;
        for data in self.iter() {
            total += u64::from(data.socket.drops().ok()??);
        }
        let taken = self.wires.as_ref().map_or(Some(0), Wires::drops)?;
        Some(total + taken)
    }

    /// Returns how many of them were dropped because a ring was full, as far as that is known.
    pub(crate) fn ring_drops(&self) -> u64 {
        self.wires.as_ref().and_then(Wires::drops).unwrap_or(0)
    }

    /// Takes the frames of what is joined now, as far as that is possible and intended.
    pub(super) fn sync_wires(&mut self, shared: &mut Shared, poller: &Poller) {
        let Some(mut wires) = self.wires.take() else { return };
        // A socket whose inode is unknown counts as somebody else's, so nothing is taken from its port.
        let own = self.iter().filter_map(|data| mcast_sys::wire::inode(&data.socket).ok()).collect();
        wires.sync(shared, poller, own, self.iter().flat_map(DataSocket::memberships));
        self.wires = Some(wires);
    }

    /// Returns whether a socket may receive, and so overflow with, groups that this receiver did
    /// not join.
    pub(crate) fn receives_others(&self) -> bool {
        self.iter().any(DataSocket::receives_others)
    }

    fn join(&mut self, poller: &Poller, (address, interface): Key, filter: &SourceFilter) -> Result<()> {
        let failed =
            |operation, error| Error::os(operation, error).on_address(address).on_interface(interface);
        let token =
            self.socket_for(poller, (address, interface)).map_err(|error| failed(Operation::Open, error))?;
        match self.data[token].as_mut() {
            Some(data) => data
                .admit(&mut self.membership_sockets, address.group, interface, filter)
                .map_err(|error| failed(Operation::Join, error)),
            None => Err(Error::new(Operation::Join, ErrorKind::Other).on_address(address)),
        }
    }

    fn leave(&mut self, poller: &Poller, (address, interface): Key) -> Result<()> {
        let Some(&token) = self.tokens.get(&bind_target((address, interface))) else {
            return Ok(());
        };
        let Some(data) = self.data[token].as_mut() else {
            return Ok(());
        };
        let result = data.dismiss(&mut self.membership_sockets, address.group, interface);
        let (unused, empty) = (!data.admits_any_of(address.group), data.admits_nothing());
        if unused {
            self.unlist(bind_target((address, interface)));
        }
        if empty {
            self.close(poller, token);
        }
        result.map_err(|error| Error::os(Operation::Leave, error).on_address(address).on_interface(interface))
    }

    fn close(&mut self, poller: &Poller, token: usize) {
        if let Some(data) = self.data[token].take() {
            self.retired_drops += data.socket.drops().ok().flatten().map_or(0, u64::from);
            match self.pooled.swap(true, Ordering::AcqRel) {
                // Closing removes it from the poller in any case.
                true => _ = poller.remove(&data.socket),
                // A waiting thread still has it open.
                false => _ = poller.wake(),
            }
            self.vacant.insert(token);
        }
        while self.data.last().is_some_and(Option::is_none) {
            self.data.pop();
            self.vacant.remove(&self.data.len());
        }
    }

    fn socket_for(&mut self, poller: &Poller, key: Key) -> io::Result<usize> {
        let target = bind_target(key);
        if let Some(token) = self.tokens.get(&target) {
            return Ok(*token);
        }
        let (family, port) = share(target);
        let groups = self.expected.get(&(family, port)).copied().unwrap_or(1);
        let wildcard = !BINDS_TO_GROUP || groups > held_above(family);
        let shared = |data: &DataSocket| data.port() == port && data.family() == family && data.is_wildcard();
        let existing = wildcard.then(|| self.data.iter().position(|data| data.as_ref().is_some_and(shared)));
        let token = match existing.flatten() {
            Some(token) => token,
            None => self.open(poller, target, wildcard)?,
        };
        self.tokens.insert(target, token);
        *self.groups.entry((family, port)).or_default() += 1;
        Ok(token)
    }

    /// Forgets which socket receives this target.
    fn unlist(&mut self, target: BindTarget) {
        if self.tokens.remove(&target).is_some()
            && let Some(count) = self.groups.get_mut(&share(target))
        {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&share(target));
            }
        }
    }

    /// Receives what is sent to this host from now on.
    pub(crate) fn listen(&mut self, poller: &Poller, host: &HostAddr, shares_port: bool) -> Result<()> {
        let failed = |error| {
            let error = Error::os(Operation::Open, error).on_address(host);
            match error.kind() {
                ErrorKind::Other => error.on_link(host.interface.is_some()),
                _ => error,
            }
        };
        for socket in sockets_for(host)? {
            let data = self.options.open_host(socket, shares_port).map_err(failed)?;
            self.add(poller, data).map_err(failed)?;
        }
        Ok(())
    }

    fn open(&mut self, poller: &Poller, target: BindTarget, wildcard: bool) -> io::Result<usize> {
        let data = self.options.open(target, wildcard)?;
        self.add(poller, data)
    }

    fn add(&mut self, poller: &Poller, data: DataSocket) -> io::Result<usize> {
        let token = self.vacant.first().copied().unwrap_or(self.data.len());
        if !self.data.is_empty() {
            self.pool(poller)?;
        }
        if self.pooled.load(Ordering::Relaxed) {
            poller.add(&data.socket, token)?;
        }
        self.vacant.remove(&token);
        if token == self.data.len() {
            self.data.push(Some(data));
        } else {
            self.data[token] = Some(data);
        }
        Ok(token)
    }
}

/// Returns what must be equal for two targets to share a socket.
fn share((address, _): BindTarget) -> (Family, u16) {
    (address.group.family(), address.port)
}
