//! Warnings about interfaces on which nothing can arrive, although a group was joined there: Linux allows joining on
//! an interface that is down or has no IPv6, and does not report when one vanishes.

use std::collections::BTreeSet;

use mcast::{Error, ErrorKind, Family, Interface, MembershipStatus};

use mcast_terminal::Console;

/// Warns of each reason once.
#[derive(Debug, Default)]
pub(crate) struct UnreachableInterfaces {
    warned: BTreeSet<String>,
}

impl UnreachableInterfaces {
    pub(crate) fn warn(&mut self, statuses: &[MembershipStatus], console: &Console) {
        if console.is_quiet() {
            return;
        }
        // If interfaces cannot be listed, no problem with them is known.
        let Ok(interfaces) = mcast::interfaces() else { return };
        let joined: BTreeSet<(&str, bool)> = statuses.iter().flat_map(joined_by).collect();
        for (name, is_v6) in joined {
            let found = interfaces.iter().find(|interface| interface.name == name);
            let reason = found.map_or_else(|| Some(format!("{name} is gone")), |found| why(found, is_v6));
            if let Some(reason) = reason.filter(|reason| self.warned.insert(reason.clone())) {
                console.warn(reason);
            }
        }
    }
}

/// Returns the interfaces on which a group was joined, including those deleted since, and whether it is an IPv6 group.
fn joined_by(status: &MembershipStatus) -> impl Iterator<Item = (&str, bool)> {
    let is_v6 = status.membership.address.group.family() == Family::V6;
    let was_joined = |failure: &Error| failure.kind() == ErrorKind::NoSuchInterface;
    let joined = status.interfaces.iter().filter(move |each| each.failure.as_ref().is_none_or(was_joined));
    joined.map(move |interface| (interface.name.as_str(), is_v6))
}

fn why(interface: &Interface, is_v6: bool) -> Option<String> {
    let name = &interface.name;
    if !interface.up {
        return Some(format!("{name} is down: nothing arrives on it until it is up"));
    }
    let has_none = is_v6 && interface.addresses_of(Family::V6).next().is_none();
    has_none.then(|| format!("{name} has no IPv6 address: if IPv6 is disabled, nothing arrives"))
}
