//! Watching the interfaces of this machine, and the changes between two listings of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast_sys::Notice;
use mcast_sys::watch::InterfaceWatch;

use super::Interface;
use crate::error::{Error, Operation, Result};

/// Changes come in bursts: a cable is plugged in, then addresses appear. A burst ends after a
/// silence of this length,
const QUIET: Duration = Duration::from_millis(50);
/// or when it has lasted this long.
const LONGEST_BURST: Duration = Duration::from_millis(500);

/// Reports interfaces that appear, vanish or change.
///
/// It watches the network namespace (Linux) of the thread that created it, whichever thread waits.
/// On Unix it implements `AsFd`, and the descriptor is readable when [`InterfaceWatcher::wait`] has
/// work to do. On Windows it offers a socket for the same purpose.
///
/// ```no_run
/// # fn main() -> mcast::Result<()> {
/// let watcher = mcast::interface::InterfaceWatcher::new()?;
/// while let Some(changes) = watcher.wait(None)? {
///     for change in changes {
///         println!("{change:?}");
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct InterfaceWatcher {
    watch: InterfaceWatch,
    known: Mutex<Vec<Interface>>,
}

impl InterfaceWatcher {
    /// Starts watching: every later change is either reported or part of the first listing.
    ///
    /// # Errors
    /// If the system cannot watch interfaces or refuses to list them.
    pub fn new() -> Result<Self> {
        // This order reports a change between the two calls twice rather than not at all.
        let watch = InterfaceWatch::open().map_err(failed)?;
        let known = Mutex::new(watch.list().map_err(failed)?);
        Ok(Self { watch, known })
    }

    /// Waits for changes and returns all changes of a burst at once: the differences from
    /// [`InterfaceWatcher::known`]. Returns `None` on timeout; waits without limit if there is no
    /// timeout. A burst that started in time is read to its end, which takes at most half a second.
    ///
    /// Several threads may wait; each change is reported to one of them.
    ///
    /// # Errors
    /// If the system refuses to list the interfaces.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Vec<InterfaceChange>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let Some(notice) = self.watch.wait(left).map_err(failed)? else { return Ok(None) };
            let changes = self.update(&self.whole_burst(notice)?)?;
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
        }
    }

    /// Returns the interfaces as of the last listing: at the start, or when changes were last
    /// reported.
    #[must_use]
    pub fn known(&self) -> Vec<Interface> {
        self.lock().clone()
    }

    fn whole_burst(&self, mut notice: Notice) -> Result<Notice> {
        let started = Instant::now();
        while let Some(left) = LONGEST_BURST.checked_sub(started.elapsed()) {
            match self.watch.wait(Some(left.min(QUIET))).map_err(failed)? {
                Some(more) => notice.merge(more),
                None => break,
            }
        }
        Ok(notice)
    }

    fn update(&self, notice: &Notice) -> Result<Vec<InterfaceChange>> {
        let mut known = self.lock();
        let now = self.watch.list().map_err(failed)?;
        let changes = changes(&known, &now, notice);
        *known = now;
        Ok(changes)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Interface>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::os(Operation::Interfaces, error)
}

#[cfg(unix)]
impl std::os::fd::AsFd for InterfaceWatcher {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for InterfaceWatcher {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.watch.as_socket()
    }
}

/// A change of this machine's interfaces.
///
/// To keep a list up to date, first remove every [`InterfaceChange::before`], then add every
/// [`InterfaceChange::after`]: indexes and names can move from one interface to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceChange {
    /// The interface is new.
    Appeared(Interface),
    /// The interface is gone, and with it every membership on it.
    Vanished(Interface),
    /// The interface is the same, but a property changed: its state, its name, its addresses, or
    /// any other field of [`Interface`].
    Changed {
        /// The interface before the change.
        before: Interface,
        /// The interface after the change.
        after: Interface,
    },
    /// The interface was deleted and created again under the same name, possibly with the same
    /// index. Memberships on the old interface are gone.
    ///
    /// A new interface with the same index is recognized only on Linux, FreeBSD and Windows; macOS
    /// reports at most a change.
    Recreated {
        /// The deleted interface.
        before: Interface,
        /// The new interface.
        after: Interface,
    },
    /// The system produced notices faster than they were read, and dropped some. Differences
    /// between listings are still reported, but an interface that looks unchanged may have been
    /// deleted and created again. Check everything that depends on its identity, such as
    /// memberships.
    Overrun,
}

impl InterfaceChange {
    /// Returns the interface before the change; `None` for a new one.
    #[must_use]
    pub fn before(&self) -> Option<&Interface> {
        match self {
            Self::Vanished(before) | Self::Changed { before, .. } | Self::Recreated { before, .. } => {
                Some(before)
            }
            Self::Appeared(_) | Self::Overrun => None,
        }
    }

    /// Returns the interface after the change; `None` for one that is gone.
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

/// Returns the changes that lead from one listing to the next, vanished interfaces first.
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
    use std::collections::{BTreeMap, BTreeSet};
    use std::slice;

    use mcast_group::InterfaceIndex;
    use proptest::prelude::*;

    use super::super::examples::{changed, interface};
    use super::*;

    fn changes_of(before: &Interface, after: &Interface, notice: &Notice) -> Vec<InterfaceChange> {
        changes(slice::from_ref(before), slice::from_ref(after), notice)
    }

    fn deleted(index: u32) -> Notice {
        Notice { deleted: InterfaceIndex::new(index).into_iter().collect(), overrun: false }
    }

    #[test]
    fn equal_listings_have_no_changes() {
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
        let actual = changes_of(&before, &after, &Notice::default());
        assert_eq!(actual, [InterfaceChange::Changed { before, after }]);
    }

    #[test]
    fn an_interface_made_again_with_another_index_is_recreated() {
        let (before, after) = (interface(2, "eth0"), interface(9, "eth0"));
        let actual = changes_of(&before, &after, &deleted(2));
        assert_eq!(actual, [InterfaceChange::Recreated { before, after }]);
    }

    #[test]
    fn an_interface_made_again_that_looks_the_same_is_recreated() {
        let same = interface(2, "eth0");
        let actual = changes_of(&same, &same, &deleted(2));
        assert_eq!(actual, [InterfaceChange::Recreated { before: same.clone(), after: same }]);
    }

    #[test]
    fn an_index_reused_by_another_interface_is_not_a_change_of_the_first() {
        let (before, after) = (interface(2, "eth0"), interface(2, "tun0"));
        let actual = changes_of(&before, &after, &deleted(2));
        assert_eq!(actual, [InterfaceChange::Vanished(before), InterfaceChange::Appeared(after)]);
    }

    #[test]
    fn lost_notices_are_reported() {
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
                .map(|(index, (name, mtu))| changed(interface(index, &format!("eth{name}")), |each| each.mtu += mtu))
                .collect()
        }
    }

    proptest! {
        #[test]
        fn changes_lead_from_before_to_after(
            before in listing(),
            after in listing(),
            deleted in proptest::collection::btree_set((1_u32..7).prop_filter_map("zero", InterfaceIndex::new), 0..4),
        ) {
            let actual = changes(&before, &after, &Notice { deleted, overrun: false });

            let mut known: BTreeMap<_, _> = before.iter().map(|each| (each.index, each.clone())).collect();
            for old in actual.iter().filter_map(InterfaceChange::before) {
                let removed = known.remove(&old.index);
                prop_assert_eq!(removed.as_ref(), Some(old));
            }
            for new in actual.iter().filter_map(InterfaceChange::after) {
                prop_assert!(known.insert(new.index, new.clone()).is_none());
            }
            prop_assert_eq!(known.into_values().collect::<Vec<_>>(), after);
        }

        #[test]
        fn recreated_interfaces_keep_their_name_and_changed_ones_their_index(
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
