//! Which of the things that should be alone in their role are not.

use std::time::Duration;

use super::entry::{Discovered, DiscoveryKey, DiscoveryPlace, DiscoveryProtocol, UntrustedText};
use super::registry::Registry;
use crate::clock::Time;
use crate::lru::Lru;

/// The field with what should not be as it is found.
const REMARK: &str = "remark";

/// A role, such as the master of a domain of clocks.
pub(super) type Role = (DiscoveryPlace, DiscoveryProtocol, UntrustedText);

/// The entries that have announced a role of late, the latest last.
#[derive(Debug)]
pub(super) struct Rivals(Lru<Role, Vec<Holder>>);

#[derive(Debug)]
struct Holder {
    key: DiscoveryKey,
    until: Time,
    is_rival: bool,
}

/// Those that have announced a role and still hold it, and whether each announces it beside others. One that hands it over to another
/// does not: it announces nothing after the other has.
#[derive(Debug)]
pub(super) struct Announcers(Vec<(DiscoveryKey, bool)>);

impl Rivals {
    const MAX_ROLES: usize = 1_024;
    /// Of more, the first are named.
    const MAX: usize = 8;

    pub(super) fn new() -> Self {
        Self(Lru::new(Self::MAX_ROLES))
    }

    /// Records that an entry has announced a role for a time.
    pub(super) fn announce(
        &mut self,
        now: Time,
        role: Role,
        key: &DiscoveryKey,
        lifetime: Duration,
    ) -> Announcers {
        let (known, _) = self.0.touch(role, Vec::new);
        known.retain(|holder| holder.until > now);
        let at = known.iter().position(|holder| holder.key == *key);
        let mut own = Holder { key: key.clone(), until: now.after(lifetime), is_rival: false };
        if let Some(at) = at {
            own.is_rival = known.remove(at).is_rival;
            // Others have announced it since this one last did, and not long ago.
            for other in known.iter_mut().skip(at).filter(|other| other.until.since(now) * 2 >= lifetime) {
                (own.is_rival, other.is_rival) = (true, true);
            }
        }
        if known.len() < Self::MAX {
            known.push(own);
        }
        let is_contested = known.iter().filter(|holder| holder.is_rival).count() > 1;
        known.iter_mut().for_each(|holder| holder.is_rival &= is_contested);
        let mut all: Vec<_> = known.iter().map(|holder| (holder.key.clone(), holder.is_rival)).collect();
        all.sort_unstable();
        Announcers(all)
    }

    /// Records that an entry has given up a role.
    pub(super) fn resign(&mut self, role: &Role, key: &DiscoveryKey) {
        if let Some(known) = self.0.get_mut(role) {
            known.retain(|holder| holder.key != *key);
        }
    }
}

impl Announcers {
    /// Returns all of them, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &DiscoveryKey> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Returns those of which the role was taken over, if it has one holder at a time.
    pub(super) fn ceded(&self, own: &DiscoveryKey) -> impl Iterator<Item = &DiscoveryKey> {
        self.0.iter().filter(move |(key, is_rival)| key != own && !is_rival).map(|(key, _)| key)
    }
}

/// Announces an entry of which there should be one in its role, and notes with it and with its rivals which others there are;
/// `describe` writes the remark.
pub(super) fn announce_rival(
    now: Time,
    mut announced: Discovered,
    announcers: &Announcers,
    registry: &mut Registry,
    describe: impl Fn(&str) -> String,
) {
    let own = announced.key.clone();
    let remark = |registry: &Registry, (key, is_rival): &(DiscoveryKey, bool)| {
        let others = announcers.0.iter().filter(|(other, is_rival)| *is_rival && other != key);
        let names = others.filter_map(|(other, _)| registry.get(other)).map(|entry| entry.name.to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        (*is_rival && !names.is_empty()).then(|| describe(&names))
    };
    // As part of the announcement, it changes nothing if it was there before.
    let of_own = announcers.0.iter().find(|(key, _)| *key == own);
    announced.add_some(REMARK, of_own.and_then(|announcer| remark(registry, announcer)));
    registry.announce(now, announced);
    for announcer in announcers.0.iter().filter(|(key, _)| *key != own) {
        let remark = remark(registry, announcer).map(Into::into);
        registry.set_field(now, &announcer.0, REMARK, remark);
    }
}
