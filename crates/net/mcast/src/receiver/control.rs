//! A receiver's memberships over time: joining, leaving, and following interfaces that change.

use std::collections::{BTreeMap, BTreeSet};

use mcast_group::{Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, SourceFilter};

use super::sockets::Sockets;
use super::status::{InterfaceStatus, MembershipStatus};
use super::table::{Key, MembershipId, RequestedMemberships};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::interface::{self, Interface, select};
use mcast_sys::poller::Poller;
use mcast_sys::trace::{Described, Span};
use mcast_sys::watch::InterfaceWatch;
use mcast_sys::{Notice, trace_event, trace_span};

/// The memberships requested of a receiver, and their state.
pub(crate) struct Control {
    /// In the order in which they were joined.
    entries: BTreeMap<MembershipId, MembershipStatus>,
    by_address: BTreeMap<GroupAddr, Vec<MembershipId>>,
    next: u64,
    requested: RequestedMemberships,
    /// Reports changed interfaces, if they are followed.
    watch: Option<InterfaceWatch>,
    /// A notice that could not be processed yet.
    pending_notice: Notice,
    any_source_allowed: bool,
    span: Span,
}

/// The result for each key: `None` on success.
type Outcome = BTreeMap<Key, Option<Error>>;

/// The sockets of a receiver, while its control changes them.
pub(crate) struct SocketsContext<'a> {
    pub(crate) sockets: &'a mut Sockets,
    pub(crate) poller: &'a Poller,
}

impl Control {
    /// Creates a control without memberships.
    pub(crate) fn new(follow: bool, any_source_allowed: bool) -> Result<Self> {
        let watch = follow
            .then(InterfaceWatch::open)
            .transpose()
            .map_err(|error| Error::os(Operation::Interfaces, error))?;
        Ok(Self {
            entries: BTreeMap::new(),
            by_address: BTreeMap::new(),
            next: 0,
            requested: RequestedMemberships::default(),
            watch,
            pending_notice: Notice::default(),
            any_source_allowed,
            span: trace_span!("receiver"),
        })
    }

    /// Returns the watch for changed interfaces, if they are followed.
    pub(crate) fn watch(&self) -> Option<&InterfaceWatch> {
        self.watch.as_ref()
    }

    /// Returns the state of each membership.
    pub(crate) fn statuses(&self) -> Vec<MembershipStatus> {
        self.entries.values().cloned().collect()
    }

    /// Joins all of these memberships, or none.
    ///
    /// A membership on a named interface must succeed there; one on all interfaces must succeed on
    /// at least one.
    pub(crate) fn join(
        &mut self,
        context: &mut SocketsContext<'_>,
        memberships: Vec<Membership>,
    ) -> Result<()> {
        memberships.iter().try_for_each(|membership| self.check(membership))?;
        let interfaces = self.interfaces()?;
        let first = MembershipId(self.next);
        let added: Result<Vec<Key>> = memberships
            .into_iter()
            .map(|membership| self.add(membership, &interfaces))
            .try_fold(Vec::new(), |mut keys, added| {
                keys.extend(added?);
                Ok(keys)
            });
        let result = added.and_then(|keys| {
            let outcome = self.apply(context, keys);
            self.record(&outcome);
            self.first_failure(first)
        });
        if result.is_err() {
            self.drop_from(context, first);
        }
        result
    }

    /// Leaves a membership, which must equal one that was joined.
    pub(crate) fn leave(&mut self, context: &mut SocketsContext<'_>, membership: &Membership) -> Result<()> {
        let keys = self.remove(self.find(membership)?);
        match self.apply(context, keys).into_values().flatten().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Replaces the sources of a membership atomically.
    pub(crate) fn set_sources(
        &mut self,
        context: &mut SocketsContext<'_>,
        membership: &Membership,
        sources: SourceFilter,
    ) -> Result<()> {
        let changed = membership.clone().from_sources(sources);
        self.check(&changed)?;
        let id = self.find(membership)?;
        let keys = self.entries.get_mut(&id).map_or_else(Vec::new, |status| {
            status.membership = changed.clone();
            keys_of(status)
        });
        for key in &keys {
            self.requested.insert(*key, id, changed.sources.clone());
        }
        let outcome = self.apply(context, keys);
        self.record(&outcome);
        match outcome.into_values().flatten().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Processes interface changes: joins the memberships that can be joined now.
    pub(crate) fn refresh(&mut self, context: &mut SocketsContext<'_>) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let failed = |error| Error::os(Operation::Interfaces, error);
        let Some(notice) = watch.wait(Some(std::time::Duration::ZERO)).map_err(failed)? else {
            return Ok(());
        };
        self.pending_notice.merge(notice);
        let interfaces = watch.list().map_err(failed)?;
        let notice = std::mem::take(&mut self.pending_notice);
        let deleted = Described(&notice.deleted);
        trace_event!(
            self.span,
            DEBUG,
            "interfaces have changed",
            deleted = deleted,
            overrun = notice.overrun
        );
        let mut keys = self.forget_vanished(context, &interfaces, &notice);
        let ids: Vec<MembershipId> = self.entries.keys().copied().collect();
        for id in ids {
            keys.extend(self.look_up(id, &interfaces));
        }
        let outcome = self.apply(context, keys);
        self.record(&outcome);
        Ok(())
    }

    fn check(&self, membership: &Membership) -> Result<()> {
        let refuse = |kind, why: &str| {
            Err(Error::new(Operation::Join, kind).on_address(membership.address).detail(why))
        };
        let group = membership.address.group;
        if membership.address.port == 0 {
            return refuse(ErrorKind::Mismatch, "port 0 cannot be joined");
        }
        if membership.sources.is_none() {
            return refuse(ErrorKind::Mismatch, "an empty list of sources admits nothing");
        }
        if membership.sources.sources().any(|source| source.is_ipv4() != group.addr().is_ipv4()) {
            return refuse(ErrorKind::Mismatch, "the sources are not of the group's address family");
        }
        if is_source_specific(group)
            && matches!(membership.sources, SourceFilter::Exclude(_))
            && !self.any_source_allowed
        {
            return Err(Error::new(Operation::Join, ErrorKind::SourceNeeded).on_address(membership.address));
        }
        Ok(())
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        match &self.watch {
            Some(watch) => watch.list().map_err(|error| Error::os(Operation::Interfaces, error)),
            None => interface::list(),
        }
    }

    /// Adds a membership and returns the keys whose state may have changed.
    fn add(&mut self, membership: Membership, interfaces: &[Interface]) -> Result<Vec<Key>> {
        let id = MembershipId(self.next);
        self.next += 1;
        self.by_address.entry(membership.address).or_default().push(id);
        let status = MembershipStatus { membership, interfaces: Vec::new(), waiting: None };
        self.entries.insert(id, status);
        let keys = self.look_up(id, interfaces);
        match self.entries.get(&id).and_then(|status| status.waiting.as_ref()) {
            // With followed interfaces, the membership waits for its interface; otherwise this is
            // an error.
            Some(why) if self.watch.is_none() => Err(why.clone()),
            _ => Ok(keys),
        }
    }

    /// Removes a membership and returns the keys whose state may have changed.
    fn remove(&mut self, id: MembershipId) -> Vec<Key> {
        let Some(status) = self.entries.remove(&id) else { return Vec::new() };
        let address = status.membership.address;
        if let Some(ids) = self.by_address.get_mut(&address) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
        let keys = keys_of(&status);
        for key in &keys {
            self.requested.remove(*key, id);
        }
        keys
    }

    /// Resolves the interfaces of a membership and returns the keys whose state may have changed.
    fn look_up(&mut self, id: MembershipId, interfaces: &[Interface]) -> Vec<Key> {
        let (watch, span) = (self.watch.as_ref(), &self.span);
        let Some(status) = self.entries.get_mut(&id) else { return Vec::new() };
        let membership = &status.membership;
        let selector = membership.interface.as_ref().unwrap_or(&InterfaceSelector::All);
        let route = |group: Group| {
            let index = match watch {
                Some(watch) => watch.interface_towards(group.addr()),
                None => mcast_sys::route::interface_towards(group.addr()),
            };
            index.map_err(|error| Error::os(Operation::Route, error))
        };
        let (found, waiting) = match select(selector, membership.address.group, interfaces, route) {
            Ok(found) => (found, None),
            Err(error) => (Vec::new(), Some(error.during(Operation::Join).on_address(membership.address))),
        };
        if let Some(why) = &waiting {
            trace_event!(span, WARN, "no interface to join on", membership = membership, error = why);
        }
        let family = membership.address.group.family();
        let before: BTreeSet<Key> =
            status.interfaces.iter().map(|each| (membership.address, each.index)).collect();
        let selected: BTreeMap<Key, String> = found
            .iter()
            .map(|interface| ((membership.address, interface.index_for(family)), interface.name.clone()))
            .collect();
        for key in before.iter().filter(|key| !selected.contains_key(key)) {
            self.requested.remove(*key, id);
        }
        for key in selected.keys() {
            self.requested.insert(*key, id, membership.sources.clone());
        }
        let failures: BTreeMap<InterfaceIndex, Error> =
            status.interfaces.drain(..).filter_map(|each| Some((each.index, each.failure?))).collect();
        status.waiting = waiting;
        status.interfaces = selected
            .iter()
            .map(|((_, index), name)| InterfaceStatus {
                index: *index,
                name: name.clone(),
                failure: failures.get(index).cloned(),
            })
            .collect();
        // Earlier failures are tried again.
        let changed =
            |key: &Key| before.contains(key) != selected.contains_key(key) || failures.contains_key(&key.1);
        before
            .iter()
            .chain(selected.keys())
            .copied()
            .filter(changed)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Brings the sockets in line with the memberships requested at these keys; returns the result
    /// for each.
    fn apply(&self, context: &mut SocketsContext<'_>, keys: Vec<Key>) -> Outcome {
        context.sockets.expect(keys.iter().copied());
        let mut apply = |key| {
            let filter = self.requested.effective(key);
            let failure = context.sockets.set(context.poller, key, filter.as_ref()).err();
            self.trace(key, filter.is_some(), failure.as_ref());
            (key, failure)
        };
        keys.into_iter().map(&mut apply).collect()
    }

    fn trace(&self, (group, interface): Key, is_requested: bool, failure: Option<&Error>) {
        match (failure, is_requested) {
            (Some(error), _) => {
                trace_event!(
                    self.span,
                    WARN,
                    "membership not changed",
                    group = group,
                    interface = interface,
                    error = error
                );
            }
            (None, true) => trace_event!(self.span, DEBUG, "joined", group = group, interface = interface),
            (None, false) => trace_event!(self.span, DEBUG, "left", group = group, interface = interface),
        }
    }

    /// Records the results for these keys in all memberships that request them.
    fn record(&mut self, outcome: &Outcome) {
        for (key, failure) in outcome {
            for id in self.requested.memberships(*key) {
                let interfaces = self.entries.get_mut(&id).map(|status| &mut status.interfaces);
                let there = interfaces.into_iter().flatten().find(|each| each.index == key.1);
                if let Some(there) = there {
                    there.failure.clone_from(failure);
                }
            }
        }
    }

    /// Returns the failure of a membership, from `first` on, that must not fail: one on a named
    /// interface, or one that was not joined anywhere.
    fn first_failure(&mut self, first: MembershipId) -> Result<()> {
        for (_, status) in self.entries.range_mut(first..) {
            let everywhere = matches!(status.membership.interface, None | Some(InterfaceSelector::All));
            if everywhere && status.is_joined() {
                continue;
            }
            let failed =
                status.interfaces.iter_mut().find_map(|each| Some((each.failure.take()?, each.name.clone())));
            if let Some((error, name)) = failed {
                return Err(error.on_interface(name));
            }
        }
        Ok(())
    }

    /// Removes the memberships from this one on.
    fn drop_from(&mut self, context: &mut SocketsContext<'_>, first: MembershipId) {
        let ids: Vec<MembershipId> = self.entries.range(first..).map(|(id, _)| *id).collect();
        let keys = ids.into_iter().flat_map(|id| self.remove(id)).collect();
        // The caller receives the failure that led here; these results concern earlier memberships.
        let outcome = self.apply(context, keys);
        self.record(&outcome);
    }

    /// Forgets the memberships on interfaces that are gone, even if an interface with the same
    /// index exists again, and returns their keys. If notices were lost, everything is joined
    /// again.
    fn forget_vanished(
        &mut self,
        context: &mut SocketsContext<'_>,
        interfaces: &[Interface],
        notice: &Notice,
    ) -> Vec<Key> {
        let present: BTreeSet<InterfaceIndex> = interfaces
            .iter()
            .flat_map(|interface| [interface.index, interface.index_for(mcast_group::Family::V6)])
            .collect();
        let mut lost = |key: &Key| {
            let gone = notice.deleted.contains(&key.1) || !present.contains(&key.1);
            gone || notice.overrun && context.sockets.renew(*key).is_err()
        };
        let keys: Vec<Key> = self.requested.keys().filter(|key| lost(key)).collect();
        for key in &keys {
            context.sockets.forget(context.poller, *key);
        }
        keys
    }

    /// Returns the first membership that equals this one.
    fn find(&self, membership: &Membership) -> Result<MembershipId> {
        let ids = self.by_address.get(&membership.address).map_or(&[][..], Vec::as_slice);
        let is_this =
            |id: &&MembershipId| self.entries.get(id).is_some_and(|status| status.membership == *membership);
        let not_joined = || Error::new(Operation::Leave, ErrorKind::NotJoined).on_address(membership.address);
        ids.iter().find(is_this).copied().ok_or_else(not_joined)
    }
}

fn keys_of(status: &MembershipStatus) -> Vec<Key> {
    status.interfaces.iter().map(|each| (status.membership.address, each.index)).collect()
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("memberships", &self.entries.len())
            .field("follows", &self.watch.is_some())
            .finish()
    }
}

/// Returns whether the group may only be joined with sources: 232.0.0.0/8 and ff3x::/32 (RFC 4607
/// section 1).
fn is_source_specific(group: Group) -> bool {
    match group.addr() {
        std::net::IpAddr::V4(address) => address.octets()[0] == 232,
        std::net::IpAddr::V6(address) => {
            let segments = address.segments();
            segments[0] & 0xfff0 == 0xff30 && segments[1] == 0
        }
    }
}
