//! How a receiver's groups are spread over sockets, and which datagram is one of its own.
//!
//! A group has a socket of its own, bound to it, up to `held_above` groups on a port; more share
//! one wildcard socket, their memberships kept by [`Holders`]. Where the system cannot bind to a
//! group (Windows), one wildcard socket a port has all. Whichever it is, a table of
//! (group, interface) and sources has the last word, since no kernel filters exactly in every
//! case: an IPv6 socket on Linux hears a group on each interface on which anybody joined it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mcast_group::{Family, GroupAddr, InterfaceIndex, SourceFilter};

use super::claims::Key;
use super::data_socket::{DataSocket, SocketOptions};
use super::holders::Holders;
use crate::datagram::Arrival;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::sys;
use crate::sys::layout::{BINDS_TO_GROUP, held_above};
use crate::sys::poller::{self, Poller};

/// All sockets of a receiver.
#[derive(Debug)]
pub(crate) struct Sockets {
    options: SocketOptions,
    /// By token; `None` where one was closed.
    data: Vec<Option<DataSocket>>,
    /// Tokens that are free, below the highest one.
    vacant: BTreeSet<usize>,
    /// All are in the poller, and all that are opened from now on. Until then there is but one,
    /// which is apart: who waits for it waits for it by itself. A socket in a poller costs the
    /// system a step more with each datagram, and a wait through it one more with each wake-up.
    pooled: AtomicBool,
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
pub(crate) type Place = (GroupAddr, Option<InterfaceIndex>);

/// A number of groups by family and port.
type Groups = BTreeMap<(Family, u16), usize>;

fn place((address, interface): Key) -> Place {
    (address, sys::layout::is_scoped(address.group).then_some(interface))
}

impl Sockets {
    pub(crate) fn new(options: SocketOptions) -> Self {
        Self {
            options,
            data: Vec::new(),
            vacant: BTreeSet::new(),
            pooled: AtomicBool::new(!poller::WAITS_BESIDE),
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

    /// The socket that is not in the poller, if there is one: then it is the only one.
    pub(crate) fn apart(&self) -> Option<&DataSocket> {
        if self.pooled.load(Ordering::Acquire) { None } else { self.only() }
    }

    /// Has all sockets in the poller from now on.
    pub(crate) fn pool(&self, poller: &Poller) -> io::Result<()> {
        if self.pooled.load(Ordering::Acquire) {
            return Ok(());
        }
        for (token, data) in self.data.iter().enumerate() {
            match data.as_ref().map_or(Ok(()), |data| poller.add(&data.socket, token)) {
                // By another thread, this moment.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
        }
        self.pooled.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes ready to be waited for. Only who was waiting for the one socket that is apart learns
    /// of others, so that none may be apart that is opened later.
    pub(crate) fn begin(&self, poller: &Poller) -> io::Result<()> {
        if self.apart().is_some() { Ok(()) } else { self.pool(poller) }
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
        self.iter().any(DataSocket::hears_others)
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
        let (unused, empty) = (!data.admits_any_of(address.group), data.admits_nothing());
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
            match self.pooled.swap(true, Ordering::AcqRel) {
                // Closing takes it out of the poller in any case.
                true => _ = poller.remove(&data.socket),
                // Who waits for it still has it open.
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
        let place = place(key);
        if let Some(token) = self.tokens.get(&place) {
            return Ok(*token);
        }
        let (family, port) = share(place);
        let groups = self.expected.get(&(family, port)).copied().unwrap_or(1);
        let wildcard = !BINDS_TO_GROUP || groups > held_above(family);
        let shared = |data: &DataSocket| data.port() == port && data.family() == family && data.is_wildcard();
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

/// Among which groups a place may share a socket.
fn share((address, _): Place) -> (Family, u16) {
    (address.group.family(), address.port)
}
