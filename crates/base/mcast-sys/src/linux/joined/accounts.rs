//! Compares the number of holders in the tables with the sockets counts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use mcast_group::Family;
use socket2::{Domain, Type};

use super::socket::{Answer, BorrowedSocket, option_of};
use super::tables::{self, TableEntry};
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
        let holdings = Holdings { entries: &self.entries, mld: tables::Versions::default() };
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
    mld: tables::Versions,
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

/// `asm-generic/socket.h`, since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The identity of a network namespace.
#[derive(Default)]
pub(super) struct Namespace {
    cookie: Option<u64>,
    inode: Option<u64>,
}

impl Namespace {
    pub(super) fn of_this_thread() -> Self {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).map(OwnedFd::from);
        let cookie = socket.and_then(|socket| cookie_of(&socket)).ok();
        let namespace = std::fs::metadata("/proc/thread-self/ns/net");
        Self { cookie, inode: namespace.ok().map(|namespace| namespace.ino()) }
    }

    /// Returns whether the socket belongs to this namespace, whichever namespace its process is in
    /// now. It compares cookies; before Linux 5.14 it compares the namespaces, for which the kernel
    /// requires `CAP_NET_ADMIN`. A socket that cannot be checked is assumed to belong, as nearly
    /// all do.
    pub(super) fn has(&self, socket: &BorrowedSocket) -> bool {
        match (self.cookie, cookie_of(&socket.descriptor)) {
            (Some(own), Ok(other)) => own == other,
            _ => self.has_by_inode(&socket.descriptor).unwrap_or(true),
        }
    }

    fn has_by_inode(&self, socket: &OwnedFd) -> Option<bool> {
        let other = namespace_of(socket).and_then(|namespace| namespace.metadata()).ok()?;
        self.inode.map(|own| own == other.ino())
    }
}

/// Returns the number of the namespace that a socket belongs to.
pub(crate) fn cookie_of(socket: &OwnedFd) -> io::Result<u64> {
    option_of(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE)
}

/// Returns the namespace that a socket belongs to.
pub(super) fn namespace_of(socket: &OwnedFd) -> io::Result<File> {
    // SAFETY: this request takes no argument and creates a new descriptor.
    let descriptor = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as _) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just created it, and it has no other owner.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::super::socket::tests::borrowed;
    use super::*;

    #[test]
    fn a_socket_of_this_namespace_is_recognized_both_ways() {
        let (_socket, borrowed) = borrowed();
        let namespace = Namespace::of_this_thread();
        assert!(namespace.has(&borrowed));
        // The kernel requires a capability for this, which the tests may not have.
        assert_ne!(namespace.has_by_inode(&borrowed.descriptor), Some(false));
        let another = Namespace { cookie: None, inode: namespace.inode.map(|inode| inode + 1) };
        assert_ne!(another.has_by_inode(&borrowed.descriptor), Some(true));
    }
}
