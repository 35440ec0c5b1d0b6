//! A receiver's memberships over time: joined, left, and kept alive while interfaces change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcast_group::{Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, SourceFilter};

use super::claims::{Claims, Key, MembershipId};
use super::sockets::Sockets;
use super::status::{InterfaceStatus, MembershipStatus};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::interface::{Interface, Notice, interfaces, select};
use crate::sys;
use crate::sys::poller::Poller;
use crate::sys::watch::Watch;

/// What a receiver has been asked to join, and what it made of it.
pub(crate) struct Control {
    entries: Vec<Entry>,
    next: u64,
    claims: Claims,
    /// Tells of changed interfaces, if they are to be followed.
    watch: Option<Watch>,
    /// What the watch has told and could not be acted on yet.
    unheeded: Notice,
    any_source_allowed: bool,
}

/// One membership.
struct Entry {
    id: MembershipId,
    status: MembershipStatus,
}

impl Entry {
    fn keys(&self) -> Vec<Key> {
        self.status.interfaces.iter().map(|each| (self.status.membership.address, each.index)).collect()
    }
}

/// What became of each key: `None` where it is as it should be.
type Outcome = BTreeMap<Key, Option<Arc<Error>>>;

/// The sockets of a receiver, as its control changes them.
pub(crate) struct Plant<'a> {
    pub(crate) sockets: &'a mut Sockets,
    pub(crate) poller: &'a Poller,
}

impl Control {
    /// No memberships yet.
    pub(crate) fn new(follow: bool, any_source_allowed: bool) -> Result<Self> {
        let watch =
            follow.then(Watch::open).transpose().map_err(|error| Error::os(Operation::Interfaces, error))?;
        Ok(Self {
            entries: Vec::new(),
            next: 0,
            claims: Claims::default(),
            watch,
            unheeded: Notice::default(),
            any_source_allowed,
        })
    }

    /// What tells of changed interfaces, if they are followed.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// What became of each membership.
    pub(crate) fn statuses(&self) -> Vec<MembershipStatus> {
        self.entries.iter().map(|entry| entry.status.clone()).collect()
    }

    /// Joins these, or none of them.
    ///
    /// A membership on a named interface must succeed there; one on all interfaces must on one.
    pub(crate) fn join(&mut self, plant: &mut Plant<'_>, memberships: Vec<Membership>) -> Result<()> {
        memberships.iter().try_for_each(|membership| self.check(membership))?;
        let interfaces = self.interfaces()?;
        let first = self.entries.len();
        let added: Result<Vec<Key>> = memberships
            .into_iter()
            .map(|membership| self.add(membership, &interfaces))
            .try_fold(Vec::new(), |mut keys, added| {
                keys.extend(added?);
                Ok(keys)
            });
        let result = added.and_then(|keys| {
            let outcome = self.settle(plant, keys);
            self.note(&outcome, first);
            self.first_failure(first)
        });
        if result.is_err() {
            self.drop_from(plant, first);
        }
        result
    }

    /// Leaves a membership, which must be one that was joined as it is given.
    pub(crate) fn leave(&mut self, plant: &mut Plant<'_>, membership: &Membership) -> Result<()> {
        let position = self.position(membership)?;
        let entry = self.entries.remove(position);
        let keys = entry.keys();
        for key in &keys {
            self.claims.remove(*key, entry.id);
        }
        match self.settle(plant, keys).into_values().flatten().next() {
            Some(error) => Err(owned(error)),
            None => Ok(()),
        }
    }

    /// Replaces the sources of a membership, at once.
    pub(crate) fn set_sources(
        &mut self,
        plant: &mut Plant<'_>,
        membership: &Membership,
        sources: SourceFilter,
    ) -> Result<()> {
        let changed = membership.clone().from_sources(sources);
        self.check(&changed)?;
        let position = self.position(membership)?;
        self.entries[position].status.membership = changed.clone();
        let id = self.entries[position].id;
        let keys = self.entries[position].keys();
        for key in &keys {
            self.claims.insert(*key, id, changed.sources.clone());
        }
        let outcome = self.settle(plant, keys);
        self.note(&outcome, 0);
        match outcome.into_values().flatten().next() {
            Some(error) => Err(owned(error)),
            None => Ok(()),
        }
    }

    /// Looks at the interfaces again and joins what can be joined now.
    pub(crate) fn refresh(&mut self, plant: &mut Plant<'_>) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let failed = |error| Error::os(Operation::Interfaces, error);
        let Some(notice) = watch.wait(Some(std::time::Duration::ZERO)).map_err(failed)? else {
            return Ok(());
        };
        self.unheeded.merge(notice);
        let interfaces = watch.list().map_err(failed)?;
        let notice = std::mem::take(&mut self.unheeded);
        let mut keys = self.forget_vanished(plant, &interfaces, &notice);
        for position in 0..self.entries.len() {
            keys.extend(self.look_up(position, &interfaces));
        }
        let outcome = self.settle(plant, keys);
        self.note(&outcome, 0);
        Ok(())
    }

    fn check(&self, membership: &Membership) -> Result<()> {
        let refuse =
            |kind, why: &str| Err(Error::new(Operation::Join, kind).on_group(membership.address).detail(why));
        let group = membership.address.group;
        if membership.address.port == 0 {
            return refuse(ErrorKind::Mismatch, "port 0 cannot be joined");
        }
        if membership.sources.is_none() {
            return refuse(ErrorKind::Mismatch, "an empty list of sources admits nothing");
        }
        if membership.sources.sources().any(|source| source.is_ipv4() != group.addr().is_ipv4()) {
            return refuse(ErrorKind::Mismatch, "its sources are not of the group's family");
        }
        if is_source_specific(group)
            && matches!(membership.sources, SourceFilter::Exclude(_))
            && !self.any_source_allowed
        {
            return Err(Error::new(Operation::Join, ErrorKind::SourceNeeded).on_group(membership.address));
        }
        Ok(())
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        match &self.watch {
            Some(watch) => watch.list().map_err(|error| Error::os(Operation::Interfaces, error)),
            None => interfaces(),
        }
    }

    /// Adds a membership and says at which keys something may have changed.
    fn add(&mut self, membership: Membership, interfaces: &[Interface]) -> Result<Vec<Key>> {
        let id = MembershipId(self.next);
        self.next += 1;
        let status = MembershipStatus { membership, interfaces: Vec::new(), waiting: None };
        self.entries.push(Entry { id, status });
        let position = self.entries.len() - 1;
        let keys = self.look_up(position, interfaces);
        match self.entries[position].status.waiting.take() {
            // Whoever follows interfaces waits for this one; others must be told now.
            Some(why) if self.watch.is_none() => Err(owned(why)),
            waiting => {
                self.entries[position].status.waiting = waiting;
                Ok(keys)
            }
        }
    }

    /// Finds the interfaces that a membership means now, and says at which keys something may
    /// have changed.
    fn look_up(&mut self, position: usize, interfaces: &[Interface]) -> Vec<Key> {
        let watch = self.watch.as_ref();
        let Entry { id, status } = &mut self.entries[position];
        let membership = &status.membership;
        let selector = membership.interface.as_ref().unwrap_or(&InterfaceSelector::All);
        let route = |group: Group| {
            let index = match watch {
                Some(watch) => watch.interface_towards(group.addr()),
                None => sys::route::interface_towards(group.addr()),
            };
            index.map_err(|error| Error::os(Operation::Route, error))
        };
        let (found, waiting) = match select(selector, membership.address.group, interfaces, route) {
            Ok(found) => (found, None),
            Err(error) => {
                (Vec::new(), Some(Arc::new(error.during(Operation::Join).on_group(membership.address))))
            }
        };
        let family = membership.address.group.family();
        let before: BTreeSet<Key> =
            status.interfaces.iter().map(|each| (membership.address, each.index)).collect();
        let meant: BTreeMap<Key, String> = found
            .iter()
            .map(|interface| ((membership.address, interface.index_for(family)), interface.name.clone()))
            .collect();
        for key in before.iter().filter(|key| !meant.contains_key(key)) {
            self.claims.remove(*key, *id);
        }
        for key in meant.keys() {
            self.claims.insert(*key, *id, membership.sources.clone());
        }
        let failures: BTreeMap<InterfaceIndex, Arc<Error>> =
            status.interfaces.drain(..).filter_map(|each| Some((each.index, each.failure?))).collect();
        status.waiting = waiting;
        status.interfaces = meant
            .iter()
            .map(|((_, index), name)| InterfaceStatus {
                index: *index,
                name: name.clone(),
                failure: failures.get(index).cloned(),
            })
            .collect();
        // What failed before is tried again.
        let changed =
            |key: &Key| before.contains(key) != meant.contains_key(key) || failures.contains_key(&key.1);
        before
            .iter()
            .chain(meant.keys())
            .copied()
            .filter(changed)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Brings the sockets to what the claims at these keys come to; says for each what failed.
    fn settle(&self, plant: &mut Plant<'_>, keys: Vec<Key>) -> Outcome {
        plant.sockets.expect(keys.iter().copied());
        let mut settle = |key| {
            let filter = self.claims.effective(key);
            let failure = plant.sockets.set(plant.poller, key, filter.as_ref()).err();
            (key, failure.map(Arc::new))
        };
        keys.into_iter().map(&mut settle).collect()
    }

    /// Notes what became of these keys in the memberships from `first` on.
    fn note(&mut self, outcome: &Outcome, first: usize) {
        let addresses: BTreeSet<GroupAddr> = outcome.keys().map(|(address, _)| *address).collect();
        for entry in &mut self.entries[first..] {
            let address = entry.status.membership.address;
            if !addresses.contains(&address) {
                continue;
            }
            for interface in &mut entry.status.interfaces {
                if let Some(failure) = outcome.get(&(address, interface.index)) {
                    interface.failure.clone_from(failure);
                }
            }
        }
    }

    /// The failure of a membership from `first` on that must not fail: one on a named interface,
    /// or one that was joined nowhere.
    fn first_failure(&mut self, first: usize) -> Result<()> {
        for Entry { status, .. } in &mut self.entries[first..] {
            let everywhere = matches!(status.membership.interface, None | Some(InterfaceSelector::All));
            if everywhere && status.is_joined() {
                continue;
            }
            let failed =
                status.interfaces.iter_mut().find_map(|each| Some((each.failure.take()?, each.name.clone())));
            if let Some((error, name)) = failed {
                return Err(owned(error).on_interface(name));
            }
        }
        Ok(())
    }

    /// Takes back the memberships from this position on.
    fn drop_from(&mut self, plant: &mut Plant<'_>, first: usize) {
        let mut keys = Vec::new();
        for entry in self.entries.drain(first..) {
            let claimed = entry.keys();
            for key in &claimed {
                self.claims.remove(*key, entry.id);
            }
            keys.extend(claimed);
        }
        // The failure that led here is what the caller is told.
        let _ = self.settle(plant, keys);
    }

    /// Forgets what was joined on interfaces that are gone, even if one with the same index is
    /// there again; says at which keys. Where it is not known which are gone, all is joined anew.
    fn forget_vanished(
        &mut self,
        plant: &mut Plant<'_>,
        interfaces: &[Interface],
        notice: &Notice,
    ) -> Vec<Key> {
        let present: BTreeSet<InterfaceIndex> = interfaces
            .iter()
            .flat_map(|interface| [interface.index, interface.index_for(mcast_group::Family::V6)])
            .collect();
        let mut lost = |key: &Key| {
            let gone = notice.deleted.contains(&key.1) || !present.contains(&key.1);
            gone || notice.overrun && plant.sockets.renew(*key).is_err()
        };
        let keys: Vec<Key> = self.claims.keys().filter(|key| lost(key)).collect();
        for key in &keys {
            plant.sockets.forget(plant.poller, *key);
        }
        keys
    }

    fn position(&self, membership: &Membership) -> Result<usize> {
        let found = self.entries.iter().position(|entry| entry.status.membership == *membership);
        found.ok_or_else(|| Error::new(Operation::Leave, ErrorKind::NotJoined).on_group(membership.address))
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("memberships", &self.entries.len())
            .field("follows", &self.watch.is_some())
            .finish()
    }
}

/// The error itself where nobody else holds it, else one that says the same.
fn owned(error: Arc<Error>) -> Error {
    Arc::try_unwrap(error).unwrap_or_else(|shared| shared.again())
}

/// Groups that are joined for named sources only: 232.0.0.0/8 and ff3x::/32 (RFC 4607 section 1).
fn is_source_specific(group: Group) -> bool {
    match group.addr() {
        std::net::IpAddr::V4(address) => address.octets()[0] == 232,
        std::net::IpAddr::V6(address) => {
            let segments = address.segments();
            segments[0] & 0xfff0 == 0xff30 && segments[1] == 0
        }
    }
}
