//! Compares the number of holders in the tables with the sockets counts.

use std::collections::BTreeMap;

use mcast_group::Family;

use super::mld;
use super::namespace::Namespace;
use super::socket::{Answer, BorrowedSocket};
use super::tables::TableEntry;
use crate::kernel_share::KernelShare;
use crate::{Holder, Holding, SocketHolder};

/// The table of memberships, and how many holders of each are accounted for.
#[derive(Default)]
pub(super) struct Accounts {
    entries: Vec<TableEntry>,
    counts: Vec<u32>,
    /// The entries of each family that have holders left to find.
    open_v4: Vec<usize>,
    open_v6: Vec<usize>,
    namespace: Namespace,
}

impl Accounts {
    pub(super) fn open(entries: Vec<TableEntry>) -> Self {
        let of = |family| {
            let entries = entries.iter().enumerate();
            entries.filter(move |(_, entry)| entry.group.family() == family).map(|(number, _)| number)
        };
        let (open_v4, open_v6) = (of(Family::V4).collect(), of(Family::V6).collect());
        let counts = vec![0; entries.len()];
        Self { entries, counts, open_v4, open_v6, namespace: Namespace::of_this_thread() }
    }

    pub(super) fn is_of_this_namespace(&self, socket: &BorrowedSocket) -> bool {
        self.namespace.has(socket)
    }

    /// Queries the socket for every membership that is not fully accounted for, and counts those it
    /// holds.
    pub(super) fn query(&mut self, socket: &BorrowedSocket) -> Vec<Answer> {
        let (entries, counts) = (&self.entries, &mut self.counts);
        let mut answers = Vec::new();
        for open in [(Family::V4, &mut self.open_v4), (Family::V6, &mut self.open_v6)] {
            let (family, open) = open;
            if !socket.can_join(family) {
                continue;
            }
            open.retain(|&number| {
                let entry = &entries[number];
                if let Some(filter) = socket.filter(entry.group, entry.interface) {
                    counts[number] += 1;
                    answers.push(socket.answer(number, family, filter));
                }
                counts[number] < entry.users
            });
        }
        answers
    }

    /// Returns the holdings: those of sockets, and those that no socket accounts for, neither now
    /// nor in the `later` table.
    pub(super) fn into_holdings(
        self,
        holders: impl Iterator<Item = (usize, SocketHolder)>,
        later: &[TableEntry],
    ) -> Vec<Holding> {
        let later: BTreeMap<_, _> =
            later.iter().map(|entry| ((entry.group, entry.interface), entry.users)).collect();
        let holdings = Holdings { entries: &self.entries, mld: mld::Versions::default() };
        let mut result: Vec<_> =
            holders.map(|(number, holder)| holdings.of(number, Holder::Socket(holder))).collect();
        for (number, entry) in self.entries.iter().enumerate() {
            let users = later.get(&(entry.group, entry.interface)).map_or(0, |users| entry.users.min(*users));
            let unaccounted = users.saturating_sub(self.counts[number]);
            let others = KernelShare::attribute(entry.group, Some(unaccounted));
            result.extend(others.map(|holder| holdings.of(number, holder)));
        }
        result
    }
}

/// Creates holdings from entries.
struct Holdings<'a> {
    entries: &'a [TableEntry],
    mld: mld::Versions,
}

impl Holdings<'_> {
    fn of(&self, number: usize, holder: Holder) -> Holding {
        let entry = &self.entries[number];
        let version = match entry.group.family() {
            Family::V4 => entry.version,
            Family::V6 => self.mld.on(&entry.interface_name),
        };
        Holding {
            group: entry.group,
            interface: entry.interface,
            interface_name: entry.interface_name.clone(),
            version,
            holder,
        }
    }
}
