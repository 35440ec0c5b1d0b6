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

/// The entries that have announced a role of late.
#[derive(Debug)]
pub(super) struct Rivals(Lru<Role, Vec<(DiscoveryKey, Time)>>);

/// Those that have announced a role and still hold it.
#[derive(Debug)]
pub(super) struct Announcers {
    pub(super) keys: Vec<DiscoveryKey>,
    /// Whether they are others than before.
    pub(super) have_changed: bool,
}

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
        let until = now.after(lifetime);
        let before = known.len();
        known.retain(|(_, until)| *until > now);
        let mut have_changed = known.len() != before;
        if let Some((_, known)) = known.iter_mut().find(|(other, _)| other == key) {
            *known = until;
        } else if known.len() < Self::MAX {
            known.push((key.clone(), until));
            known.sort_unstable();
            have_changed = true;
        }
        Announcers { keys: known.iter().map(|(key, _)| key.clone()).collect(), have_changed }
    }

    /// Records that an entry has given up a role.
    pub(super) fn resign(&mut self, role: &Role, key: &DiscoveryKey) {
        if let Some(known) = self.0.get_mut(role) {
            known.retain(|(other, _)| other != key);
        }
    }
}

/// Announces an entry of which there should be one in its role, and notes with it and with its rivals which others there are;
/// `describe` writes the remark.
pub(super) fn announce_rival(
    now: Time,
    mut announced: Discovered,
    rivals: &Announcers,
    registry: &mut Registry,
    describe: impl Fn(&str) -> String,
) {
    let own = announced.key.clone();
    let remark = |registry: &Registry, key: &DiscoveryKey| {
        let others = rivals.keys.iter().filter(|other| *other != key);
        let names = others.filter_map(|other| registry.get(other)).map(|entry| entry.name.to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| describe(&names))
    };
    // As part of the announcement, it changes nothing if it was there before.
    if let Some(remark) = remark(registry, &own) {
        announced.add(REMARK, remark);
    }
    registry.announce(now, announced);
    for key in rivals.keys.iter().filter(|key| **key != own && rivals.have_changed) {
        let remark = remark(registry, key).map(Into::into);
        registry.set_field(key, REMARK, remark);
    }
}
