//! The groups that a leg has joined. What is forwarded one way only may be taken off its interface, past the kernel's network
//! stack; everything else arrives at its sockets.

use std::collections::{BTreeMap, BTreeSet};

use mcast::interface::Interface;
use mcast::{Membership, Receiver, Wire, WireStatus};
use mcast_group::{Group, GroupAddr};
use mcast_sys::layout::is_scoped;
use mcast_sys::socket::Socket;
use mcast_sys::wire::{Bystanders, WireProbe, WireRefusal};

use super::namespace::LegNamespace;
use super::{Driver, DriverError, Unreceivable, describe, remedy};
use crate::{ANNOUNCEMENT_GROUPS, ANNOUNCEMENT_PORT, LegId, Relay, Rule};

/// Why a group stays with the sockets that other legs receive as well: these have sockets at its port.
const SHARED: &str = "another leg of this relay receives it, too";
/// The groups of a rule that are looked at before the relay starts; a rule may name millions.
const MOST_CHECKED: usize = 1_024;

/// The receivers of a leg, and what they have joined.
#[derive(Debug)]
pub(super) struct LegJoins {
    sockets: Receiver,
    /// Takes groups off the interface; `None` if that is not requested.
    wire: Option<Receiver>,
    joined: BTreeMap<GroupAddr, JoinedGroup>,
}

#[derive(Debug)]
struct JoinedGroup {
    membership: Membership,
    by: ReceivedBy,
    /// Whether the system left it because it could not change its sources. It is joined again when anything changes.
    is_left: bool,
}

/// The receiver that has joined a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceivedBy {
    /// That of the sockets.
    Sockets,
    /// The one that takes groups off the interface, or leaves them to its own sockets.
    Wire,
}

impl LegJoins {
    /// Opens the receivers in the calling thread's network namespace.
    pub(super) fn open(wire: Wire) -> mcast::Result<Self> {
        let wire = (wire != Wire::Off).then(|| Receiver::builder().wire(wire).build()).transpose()?;
        Ok(Self { sockets: Receiver::builder().build()?, wire, joined: BTreeMap::new() })
    }

    /// Returns a receiver, if there is one of this kind.
    pub(super) const fn receiver(&self, by: ReceivedBy) -> Option<&Receiver> {
        match by {
            ReceivedBy::Sockets => Some(&self.sockets),
            ReceivedBy::Wire => self.wire.as_ref(),
        }
    }

    /// Returns how many datagrams the system has dropped.
    pub(super) fn dropped(&self) -> u64 {
        let receivers = [Some(&self.sockets), self.wire.as_ref()].into_iter().flatten();
        receivers.map(|receiver| receiver.statistics().dropped.count().unwrap_or(0)).sum()
    }

    /// Returns the number of sockets that have joined a group: one for each port.
    pub(super) fn users_of(&self, group: Group) -> u32 {
        self.joined.keys().filter(|address| address.group == group).count() as u32
    }

    /// Returns whether a group is joined.
    pub(super) fn has(&self, address: GroupAddr) -> bool {
        self.joined.contains_key(&address)
    }

    /// Joins what is wanted, and leaves the rest. Returns what failed. What several legs receive (`shared`) is not taken off
    /// the interface; a group that was taken before returns to the sockets automatically.
    pub(super) fn sync(
        &mut self,
        wanted: BTreeMap<GroupAddr, Membership>,
        shared: &BTreeSet<GroupAddr>,
        namespace: &LegNamespace,
    ) -> Result<(), DriverError> {
        let is_same = |(address, membership): (&GroupAddr, &Membership)| {
            let known = self.joined.get(address);
            known.is_some_and(|known| known.membership.sources == membership.sources && !known.is_left)
        };
        if wanted.len() == self.joined.len() && wanted.iter().all(is_same) {
            return Ok(());
        }
        namespace.run(|| self.apply(wanted, shared))?
    }

    /// Leaves a group and joins it again, so that the system reports it to the network. It reports only the first and the last
    /// membership of a group, so nothing is done if there are others.
    fn rejoin(&mut self, address: GroupAddr, namespace: &LegNamespace) -> Result<(), DriverError> {
        if self.users_of(address.group) != 1 {
            return Ok(());
        }
        let Self { sockets, wire, joined } = self;
        let Some(group) = joined.get(&address).filter(|group| !group.is_left) else { return Ok(()) };
        let receiver = match (group.by, &*wire) {
            (ReceivedBy::Wire, Some(wire)) => wire,
            _ => &*sockets,
        };
        let again =
            || receiver.leave(&group.membership).and_then(|()| receiver.join(group.membership.clone()));
        let result = namespace.run(again)?;
        if result.is_err() {
            joined.remove(&address);
        }
        Ok(result?)
    }

    fn apply(
        &mut self,
        wanted: BTreeMap<GroupAddr, Membership>,
        shared: &BTreeSet<GroupAddr>,
    ) -> Result<(), DriverError> {
        let Self { sockets, wire, joined } = self;
        let receiver = |by| match (by, &*wire) {
            (ReceivedBy::Wire, Some(wire)) => wire,
            _ => &*sockets,
        };
        // First, because the system limits how many groups a socket joins.
        let gone: Vec<_> = joined.keys().filter(|address| !wanted.contains_key(address)).copied().collect();
        for group in gone.iter().filter_map(|address| joined.remove(address)) {
            receiver(group.by).leave(&group.membership)?;
        }
        let mut result = Ok(());
        for (address, membership) in wanted {
            match joined.get_mut(&address) {
                Some(known) if known.membership.sources == membership.sources && !known.is_left => {}
                Some(known) => {
                    let set = receiver(known.by).set_sources(&known.membership, membership.sources.clone());
                    // The receiver has the new sources either way, but after a failure it has left the group.
                    (known.membership, known.is_left) = (membership, set.is_err());
                    result = set.and(result);
                }
                None => {
                    let stays = wire.is_none() || is_announcement(address) || shared.contains(&address);
                    let by = if stays { ReceivedBy::Sockets } else { ReceivedBy::Wire };
                    match receiver(by).join(membership.clone()) {
                        Ok(()) => _ = joined.insert(address, JoinedGroup { membership, by, is_left: false }),
                        Err(error) => result = Err(error),
                    }
                }
            }
        }
        Ok(result?)
    }

    /// Returns how each group is received, except those of announcements; nothing if none must be taken off the interface.
    fn wire_status(&self, interface: &Interface) -> Vec<WireStatus> {
        let Some(wire) = &self.wire else { return Vec::new() };
        let shared = self
            .joined
            .iter()
            .filter(|(address, group)| group.by == ReceivedBy::Sockets && !is_announcement(**address));
        let shared = shared.map(|(address, _)| {
            let name = interface.name.clone();
            WireStatus::new(*address, interface.index, name, Some(SHARED.to_owned()))
        });
        let mut statuses = wire.wire_status();
        statuses.extend(shared);
        statuses
    }
}

impl Driver {
    /// Returns how the groups of each leg are received, except those of announcements, if [`DriverOptions::wire`] is not
    /// [`Wire::Off`].
    ///
    /// [`DriverOptions::wire`]: super::DriverOptions::wire
    #[must_use]
    pub fn wire_status(&self) -> Vec<(LegId, WireStatus)> {
        let open =
            self.legs.iter().zip(0..).filter_map(|(leg, number)| Some((LegId(number), leg.open.as_ref()?)));
        let statuses = open.map(|(id, open)| (id, open.joins.wire_status(&open.interface)));
        statuses.flat_map(|(id, statuses)| statuses.into_iter().map(move |status| (id, status))).collect()
    }

    /// Joins what is wanted on a leg, and leaves the rest. Returns what failed.
    pub(super) fn sync_joins(&mut self, id: LegId) -> Result<(), DriverError> {
        let position = usize::from(id.0);
        let others = self.neighbours(id);
        let wanted = self.legs[position].wanted_memberships(id, &self.relay, self.http.demand());
        let is_received = |other: &LegId, address| {
            let open = self.legs[usize::from(other.0)].open.as_ref();
            self.is_named_on(*other, address) || open.is_some_and(|open| open.joins.has(address))
        };
        let shared = wanted.keys().filter(|address| others.iter().any(|other| is_received(other, **address)));
        let shared: BTreeSet<GroupAddr> = match self.wire {
            Wire::Off => BTreeSet::new(),
            _ => shared.copied().collect(),
        };
        let leg = &mut self.legs[position];
        let Some(open) = &mut leg.open else { return Ok(()) };
        open.joins.sync(wanted, &shared, &self.namespaces[leg.namespace])
    }

    /// Leaves a group on a leg and joins it again.
    pub(super) fn rejoin(&mut self, id: LegId, address: GroupAddr) -> Result<(), DriverError> {
        let position = usize::from(id.0);
        let Some(leg) = self.legs.get_mut(position) else { return Ok(()) };
        // Tunnels and relays of AMT have no membership of the system.
        let Some(open) = &mut leg.open else { return Ok(()) };
        if let Err(error) = open.joins.rejoin(address, &self.namespaces[leg.namespace]) {
            self.changed.insert(id);
            return self.tolerate(position, error);
        }
        Ok(())
    }

    /// Returns the other legs in the network namespace of a leg.
    fn neighbours(&self, id: LegId) -> Vec<LegId> {
        let namespace = self.legs[usize::from(id.0)].namespace;
        let others = self.legs.iter().zip(0..).filter(|(leg, _)| leg.namespace == namespace);
        others.map(|(_, number)| LegId(number)).filter(|other| *other != id).collect()
    }

    /// Refuses to start if what must be taken off an interface cannot be. Groups that are joined later are refused then.
    pub(super) fn check_wire(&self, id: LegId, interface: &Interface) -> Result<(), DriverError> {
        if self.wire != Wire::Require {
            return Ok(());
        }
        let others = self.neighbours(id);
        let is_shared = |address: &GroupAddr| others.iter().any(|other| self.is_named_on(*other, *address));
        let ranges = rules_from(&self.relay, id).flat_map(|rule| rule.traffic.ranges());
        let addresses = ranges.flat_map(|range| range.addresses().take(MOST_CHECKED));
        let addresses: Vec<_> = addresses.filter(|address| !is_shared(address)).collect();
        let Some(first) = addresses.first() else { return Ok(()) };
        let refuse = |address: &GroupAddr, reason, is_permission| {
            let interface = interface.name.clone();
            Err(DriverError::NotTaken { address: *address, interface, reason, is_permission })
        };
        self.namespaces[self.legs[usize::from(id.0)].namespace].run(|| {
            let failed = DriverError::system("find out what can be taken off an interface");
            if let Some(refusal) = WireProbe::read(interface.index).map_err(&failed)?.refusal {
                let is_permission = matches!(refusal, WireRefusal::Rights | WireRefusal::LockedMemory);
                return refuse(first, refusal.to_string(), is_permission);
            }
            let bystanders = Bystanders::read().map_err(&failed)?;
            let found = addresses.iter().find_map(|address| {
                let other = bystanders.of(*address, interface.index, &BTreeSet::new())?;
                Some((address, other))
            });
            found.map_or(Ok(()), |(address, other)| refuse(address, bystanders.describe(other), false))
        })?
    }

    /// Returns what cannot be received on legs that are up: a port that another program has to itself, for example. Joins
    /// nothing, because hosts may not want it.
    pub(super) fn unreceivable(&self) -> Result<Vec<Unreceivable>, DriverError> {
        let rules: Vec<&Rule> = self.relay.rules().map(|(rule, _)| rule).collect();
        let ends: BTreeSet<(usize, LegId)> = self.relay.pairs().map(|pair| (pair.rule, pair.from)).collect();
        let mut unreceivable = Vec::new();
        for (rule, from) in ends {
            let leg = &self.legs[usize::from(from.0)];
            let (Some(open), Some(named)) = (&leg.open, rules.get(rule)) else { continue };
            let index = open.interface.index;
            let failure = self.namespaces[leg.namespace].run(|| {
                let ranges = named.traffic.ranges();
                let mut addresses = ranges.iter().flat_map(|range| range.addresses().take(MOST_CHECKED));
                addresses.find_map(|address| {
                    let interface = is_scoped(address.group).then_some(index);
                    let source = Socket::bound_to_group(address.group, address.port, interface).err()?;
                    Some(DriverError::Bind { what: address.to_string(), source })
                })
            })?;
            unreceivable.extend(failure.map(|failure| {
                let (problem, remedy) = (describe(&failure), remedy(&failure));
                Unreceivable { rule, from, problem, remedy }
            }));
        }
        Ok(unreceivable)
    }

    /// Returns whether a rule names a group that arrives on a leg.
    fn is_named_on(&self, id: LegId, address: GroupAddr) -> bool {
        rules_from(&self.relay, id)
            .any(|rule| rule.traffic.ranges().iter().any(|range| range.contains(address)))
    }
}

/// Returns the rules of which traffic arrives on a leg.
pub(super) fn rules_from(relay: &Relay, id: LegId) -> impl Iterator<Item = &Rule> {
    let leg = relay.legs().find(|(known, _)| *known == id).map(|(_, leg)| leg.clone());
    relay.rules().map(|(rule, _)| rule).filter(move |rule| {
        !rule.is_http_only() && rule.pairs().iter().any(|(from, _)| Some(from) == leg.as_ref())
    })
}

/// Returns whether relays announce themselves at an address.
fn is_announcement(address: GroupAddr) -> bool {
    address.port == ANNOUNCEMENT_PORT && ANNOUNCEMENT_GROUPS.contains(&address.group.addr())
}
