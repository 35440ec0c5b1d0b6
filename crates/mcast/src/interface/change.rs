//! What has changed between two listings: a pure function.

use std::collections::BTreeSet;

use mcast_group::InterfaceIndex;

use super::Interface;

/// A change of this machine's interfaces.
///
/// To follow them, take away every [`InterfaceChange::before`] first and then add every
/// [`InterfaceChange::after`]: indexes and names can move from one interface to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceChange {
    /// It is new.
    Appeared(Interface),
    /// It is gone, and so is every membership on it.
    Vanished(Interface),
    /// It is still the same interface, but something about it is not: up or down, its name, its
    /// addresses, anything that [`Interface`] says.
    Changed {
        /// As it was.
        before: Interface,
        /// As it is.
        after: Interface,
    },
    /// It was deleted and made again under the same name, perhaps also with the same index: the
    /// memberships on the old one are gone.
    ///
    /// With the same index, only Linux, FreeBSD and Windows tell; macOS reports a change at most.
    Recreated {
        /// As it was.
        before: Interface,
        /// As it is.
        after: Interface,
    },
    /// The system made notices faster than they were read, and threw some away. What the listing
    /// shows is told as ever; but an interface that looks the same may have been deleted and
    /// made again. Check what depends on its identity, such as memberships.
    Overrun,
}

/// What a system's notice says beyond "list them again".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Interfaces that were deleted, even if they are there again.
    pub(crate) deleted: BTreeSet<InterfaceIndex>,
    /// Some notices were lost.
    pub(crate) overrun: bool,
}

impl Notice {
    /// Both notices as one.
    pub(crate) fn merge(&mut self, later: Self) {
        self.deleted.extend(later.deleted);
        self.overrun |= later.overrun;
    }
}

impl InterfaceChange {
    /// The interface as it was, unless it is new.
    #[must_use]
    pub fn before(&self) -> Option<&Interface> {
        match self {
            Self::Vanished(before) | Self::Changed { before, .. } | Self::Recreated { before, .. } => {
                Some(before)
            }
            Self::Appeared(_) | Self::Overrun => None,
        }
    }

    /// The interface as it is, unless it is gone.
    #[must_use]
    pub fn after(&self) -> Option<&Interface> {
        match self {
            Self::Appeared(after) | Self::Changed { after, .. } | Self::Recreated { after, .. } => {
                Some(after)
            }
            Self::Vanished(_) | Self::Overrun => None,
        }
    }
}

/// The changes that lead from one listing to the next, the vanished first.
pub(crate) fn changes(before: &[Interface], after: &[Interface], notice: &Notice) -> Vec<InterfaceChange> {
    let is_same =
        |old: &Interface, new: &Interface| old.index == new.index && !notice.deleted.contains(&old.index);
    let gone = before.iter().filter(|old| !after.iter().any(|new| is_same(old, new)));
    let mut fresh: Vec<_> =
        after.iter().filter(|new| !before.iter().any(|old| is_same(old, new))).cloned().collect();

    let (mut vanished, mut others) = (Vec::new(), Vec::new());
    for old in gone.cloned() {
        match fresh.iter().position(|new| new.name == old.name) {
            Some(position) => {
                others.push(InterfaceChange::Recreated { before: old, after: fresh.remove(position) });
            }
            None => vanished.push(InterfaceChange::Vanished(old)),
        }
    }
    let stayed = before.iter().filter_map(|old| Some((old, after.iter().find(|new| is_same(old, new))?)));
    others.extend(
        stayed
            .filter(|(old, new)| old != new)
            .map(|(old, new)| InterfaceChange::Changed { before: old.clone(), after: new.clone() }),
    );
    vanished.extend(others);
    vanished.extend(fresh.into_iter().map(InterfaceChange::Appeared));
    if notice.overrun {
        vanished.push(InterfaceChange::Overrun);
    }
    vanished
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::slice;

    use proptest::prelude::*;

    use super::super::examples::interface;
    use super::*;

    /// What is seen of one interface that was so and is so now.
    fn seen_of(before: &Interface, after: &Interface, notice: &Notice) -> Vec<InterfaceChange> {
        changes(slice::from_ref(before), slice::from_ref(after), notice)
    }

    fn deleted(index: u32) -> Notice {
        Notice { deleted: InterfaceIndex::new(index).into_iter().collect(), overrun: false }
    }

    #[test]
    fn nothing_changed_is_no_change() {
        let machine = [interface(1, "lo"), interface(2, "eth0")];
        assert_eq!(changes(&machine, &machine, &Notice::default()), []);
    }

    #[test]
    fn an_interface_appears_and_vanishes() {
        let (lo, eth0) = (interface(1, "lo"), interface(2, "eth0"));
        let both = [lo.clone(), eth0.clone()];
        let appeared = changes(slice::from_ref(&lo), &both, &Notice::default());
        assert_eq!(appeared, [InterfaceChange::Appeared(eth0.clone())]);
        assert_eq!(changes(&both, &[lo], &Notice::default()), [InterfaceChange::Vanished(eth0)]);
    }

    #[test]
    fn a_renamed_interface_is_changed_not_recreated() {
        let (before, after) = (interface(2, "eth0"), interface(2, "wan"));
        let seen = seen_of(&before, &after, &Notice::default());
        assert_eq!(seen, [InterfaceChange::Changed { before, after }]);
    }

    #[test]
    fn an_interface_made_again_with_another_index_is_recreated() {
        let (before, after) = (interface(2, "eth0"), interface(9, "eth0"));
        let seen = seen_of(&before, &after, &deleted(2));
        assert_eq!(seen, [InterfaceChange::Recreated { before, after }]);
    }

    #[test]
    fn an_interface_made_again_that_looks_the_same_is_recreated() {
        let same = interface(2, "eth0");
        let seen = seen_of(&same, &same, &deleted(2));
        assert_eq!(seen, [InterfaceChange::Recreated { before: same.clone(), after: same }]);
    }

    #[test]
    fn an_index_used_again_by_another_interface_is_no_change_of_the_first() {
        let (before, after) = (interface(2, "eth0"), interface(2, "tun0"));
        let seen = seen_of(&before, &after, &deleted(2));
        assert_eq!(seen, [InterfaceChange::Vanished(before), InterfaceChange::Appeared(after)]);
    }

    #[test]
    fn lost_notices_are_told() {
        let notice = Notice { overrun: true, ..Notice::default() };
        assert_eq!(changes(&[], &[], &notice), [InterfaceChange::Overrun]);
    }

    prop_compose! {
        /// A listing: indexes and names are unique in it, as in a kernel.
        fn listing()(
            entries in proptest::collection::btree_map(1_u32..7, (0_u32..7, 0_u32..3), 0..6),
        ) -> Vec<Interface> {
            let mut names = BTreeSet::new();
            entries
                .into_iter()
                .filter(|(_, (name, _))| names.insert(*name))
                .map(|(index, (name, mtu))| Interface { mtu: 1500 + mtu, ..interface(index, &format!("eth{name}")) })
                .collect()
        }
    }

    proptest! {
        #[test]
        fn the_changes_lead_from_before_to_after(
            before in listing(),
            after in listing(),
            deleted in proptest::collection::btree_set((1_u32..7).prop_filter_map("zero", InterfaceIndex::new), 0..4),
        ) {
            let seen = changes(&before, &after, &Notice { deleted, overrun: false });

            let mut known: BTreeMap<_, _> = before.iter().map(|each| (each.index, each.clone())).collect();
            for old in seen.iter().filter_map(InterfaceChange::before) {
                let removed = known.remove(&old.index);
                prop_assert_eq!(removed.as_ref(), Some(old));
            }
            for new in seen.iter().filter_map(InterfaceChange::after) {
                prop_assert!(known.insert(new.index, new.clone()).is_none());
            }
            prop_assert_eq!(known.into_values().collect::<Vec<_>>(), after);
        }

        #[test]
        fn what_is_recreated_keeps_its_name_and_what_is_changed_its_index(
            before in listing(),
            after in listing(),
        ) {
            for change in changes(&before, &after, &Notice::default()) {
                match change {
                    InterfaceChange::Recreated { before, after } => prop_assert_eq!(before.name, after.name),
                    InterfaceChange::Changed { before, after } => {
                        prop_assert_eq!(before.index, after.index);
                        prop_assert_ne!(before, after);
                    }
                    _ => {}
                }
            }
        }
    }
}
