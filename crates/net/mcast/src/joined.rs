//! The memberships of this machine: group, interface, protocol version, source filter, and the
//! sockets and processes that hold them.
//!
//! ```no_run
//! use mcast::joined::{self, Holder};
//!
//! # fn main() -> mcast::Result<()> {
//! for holding in joined::memberships()?.holdings {
//!     if let Holder::Socket(held) = &holding.holder {
//!         println!("{} on {}: {:?}", holding.group, holding.interface_name, held.socket.processes);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # How it works
//! On Linux, the membership tables (`/proc/net/igmp`, `igmp6`) list the groups joined on each
//! interface and the number of holders. Each socket of each process is then duplicated for a moment
//! (`pidfd_getfd`) and queried (`getsockopt(MCAST_MSFILTER)`) for its filter mode and sources.
//! Nothing about the sockets changes. Holders that the tables count and no socket accounts for
//! belong to the kernel, or to a socket that could not be inspected, and are listed as such, so the
//! sum is always right.
//!
//! Inspecting a process requires permission to trace it: a process may inspect those of its own
//! user (unless `kernel.yama.ptrace_scope` forbids that), or all with `CAP_SYS_PTRACE`.
//! [`Memberships::visibility`] lists the processes that could not be inspected.
//!
//! # Platforms
//! | | memberships | number of holders | processes, sockets, sources | version |
//! |---|---|---|---|---|
//! | Linux 5.6 | yes | yes | yes | IGMP; MLD where it can be determined |
//! | older Linux | yes | yes | of this process only | the same |
//! | macOS, FreeBSD, Windows | yes | no | no | no |
//! | Android | only where apps may read `/proc/net` | | | |

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mcast_group::{Group, InterfaceIndex};
use mcast_sys::joined::Notices;

use crate::error::{Error, Operation, Result};

#[doc(inline)]
pub use mcast_sys::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind, Version, Visibility};

/// All memberships of this machine at about one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memberships {
    /// The memberships, ordered by group, interface and holder.
    pub holdings: Vec<Holding>,
    /// Which processes could be inspected.
    pub visibility: Visibility,
}

/// Returns the memberships of this machine; on Linux, those in the calling thread's network
/// namespace.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) on systems that this library does not
/// support, [`ErrorKind::Permission`](crate::ErrorKind::Permission) where the tables are not
/// readable (Android), or the system's error. A process that cannot be inspected is not an error.
pub fn memberships() -> Result<Memberships> {
    let (mut holdings, visibility) =
        mcast_sys::joined::survey().map_err(|error| Error::os(Operation::Inspect, error))?;
    holdings.sort_by_key(sort_key);
    Ok(Memberships { holdings, visibility })
}

impl Memberships {
    /// Returns how many memberships are held by sockets that could not be inspected; `None` where
    /// the system does not count holders.
    #[must_use]
    pub fn unseen(&self) -> Option<u32> {
        self.holdings.iter().try_fold(0_u32, |sum, holding| match holding.holder {
            Holder::Unseen { sockets } => sockets.map(|sockets| sum.saturating_add(sockets)),
            _ => Some(sum),
        })
    }
}

/// How often memberships are read without a notice. The system sends a notice at most when the
/// first socket joins a group and when the last one leaves it.
const INTERVAL: Duration = Duration::from_secs(1);
/// Notices come in bursts (a program joins all its groups), so the memberships are read this long
/// after the first notice.
const BURST: Duration = Duration::from_millis(20);
/// The ratio of waiting to reading without a notice. It limits watching to a tenth of a core, even
/// on a machine with very many sockets and groups.
const REST: u32 = 10;

/// Reports memberships that are joined, left or changed.
///
/// Changes are reported within about a second; on Linux 6.15 and later at once if the group is the
/// first or last on its interface. A shorter membership may be missed.
///
/// The watcher stays on the thread that created it, because the thread determines the network
/// namespace (Linux).
///
/// ```no_run
/// # fn main() -> mcast::Result<()> {
/// let mut watcher = mcast::joined::Watcher::new()?;
/// while let Some(changes) = watcher.wait(None)? {
///     for change in changes {
///         println!("{change:?}");
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Watcher {
    notices: Notices,
    known: Memberships,
    /// How long the last reading of all memberships took.
    scan_time: Duration,
    /// Makes the type neither `Send` nor `Sync`.
    thread: PhantomData<Rc<()>>,
}

impl Watcher {
    /// Starts watching: every later change is either reported or part of [`Watcher::known`].
    ///
    /// # Errors
    /// As for [`memberships`].
    pub fn new() -> Result<Self> {
        // This order reports a change between the two calls twice rather than not at all.
        let notices = Notices::open().map_err(failed)?;
        let (known, scan_time) = timed_memberships()?;
        Ok(Self { notices, known, scan_time, thread: PhantomData })
    }

    /// Returns the memberships as last read.
    #[must_use]
    pub fn known(&self) -> &Memberships {
        &self.known
    }

    /// Waits for changes since [`Watcher::known`]. Returns `None` on timeout; waits without limit
    /// if there is no timeout.
    ///
    /// # Errors
    /// As for [`memberships`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Vec<MembershipChange>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.pause(left.unwrap_or(Duration::MAX))?;
            let (now, scan_time) = timed_memberships()?;
            let changes = changes(&self.known.holdings, &now.holdings);
            (self.known, self.scan_time) = (now, scan_time);
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    /// Waits until the next reading is due.
    fn pause(&self, limit: Duration) -> Result<()> {
        let pause = INTERVAL.max(self.scan_time * REST).min(limit);
        if self.notices.wait(pause).map_err(failed)? {
            std::thread::sleep(BURST.max(self.scan_time).min(limit));
        }
        Ok(())
    }
}

/// Returns the memberships and how long reading them took.
fn timed_memberships() -> Result<(Memberships, Duration)> {
    let started = Instant::now();
    let memberships = memberships()?;
    Ok((memberships, started.elapsed()))
}

fn failed(error: std::io::Error) -> Error {
    Error::os(Operation::Inspect, error)
}

/// A change of the memberships of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipChange {
    /// A group was joined on an interface.
    Joined(Holding),
    /// A group was left, or its holder or interface is gone.
    Left(Holding),
    /// The sources changed, or the socket: its options, its processes, its drop counter.
    Changed {
        /// The membership before the change.
        before: Holding,
        /// The membership after the change.
        now: Holding,
    },
}

/// Returns the changes since `before`, in the order of listings, groups that were left first.
fn changes(before: &[Holding], now: &[Holding]) -> Vec<MembershipChange> {
    let find = |among: &[Holding], wanted: &Holding| {
        let start =
            among.partition_point(|each| (each.group, each.interface) < (wanted.group, wanted.interface));
        among[start..]
            .iter()
            .take_while(|each| (each.group, each.interface) == (wanted.group, wanted.interface))
            .find(|each| is_same(each, wanted))
            .cloned()
    };
    let left =
        before.iter().filter(|holding| find(now, holding).is_none()).cloned().map(MembershipChange::Left);
    let rest = now.iter().filter_map(|holding| match find(before, holding) {
        None => Some(MembershipChange::Joined(holding.clone())),
        Some(old) if old == *holding => None,
        Some(old) => Some(MembershipChange::Changed { before: old, now: holding.clone() }),
    });
    left.chain(rest).collect()
}

/// Returns the key that identifies a holding and determines its position in listings.
fn sort_key(holding: &Holding) -> (Group, InterfaceIndex, u8, u32, u64) {
    match &holding.holder {
        Holder::Socket(socket_holder) => {
            let pid = socket_holder.socket.processes.first().map_or(0, |process| process.pid);
            (holding.group, holding.interface, 0, pid, socket_holder.socket.inode)
        }
        Holder::Kernel => (holding.group, holding.interface, 1, 0, 0),
        // Holders that cannot be inspected, the only others.
        _ => (holding.group, holding.interface, 2, 0, 0),
    }
}

/// Returns whether both are the same holder's membership of the same group on the same interface.
fn is_same(one: &Holding, other: &Holding) -> bool {
    // A socket stays the same when the first of its processes exits.
    let without_process = |(group, interface, rank, _, inode)| (group, interface, rank, inode);
    without_process(sort_key(one)) == without_process(sort_key(other))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcast_group::{Family, SourceFilter};

    use super::{JoinedSocket, Process, SocketHolder, SocketKind, *};

    fn holding(group: &str, inode: u64, filter: SourceFilter) -> Holding {
        let mut socket = JoinedSocket::new(inode, Family::V4, SocketKind::Udp);
        socket.processes = vec![Process::new(inode as u32, "listener".into(), 3)];
        let holder = Holder::Socket(SocketHolder::new(filter, Arc::new(socket)));
        Holding::new(group.parse().unwrap(), interface(), "eth0".into(), holder)
    }

    fn kernels(group: &str) -> Holding {
        Holding::new(group.parse().unwrap(), interface(), "eth0".into(), Holder::Kernel)
    }

    fn interface() -> InterfaceIndex {
        InterfaceIndex::new(2).unwrap()
    }

    #[test]
    fn unchanged_memberships_are_not_reported() {
        let same = [kernels("224.0.0.1"), holding("239.1.2.3", 7, SourceFilter::ANY)];
        assert_eq!(changes(&same, &same), []);
    }

    #[test]
    fn joins_leaves_and_changes_are_distinguished_by_socket() {
        let source = SourceFilter::Include(["10.0.0.1".parse().unwrap()].into());
        let before = [holding("239.1.2.3", 7, SourceFilter::ANY), holding("239.1.2.3", 8, SourceFilter::ANY)];
        let now = [holding("239.1.2.3", 8, source), holding("239.1.2.3", 9, SourceFilter::ANY)];
        let actual = changes(&before, &now);
        assert_eq!(
            actual,
            [
                MembershipChange::Left(before[0].clone()),
                MembershipChange::Changed { before: before[1].clone(), now: now[0].clone() },
                MembershipChange::Joined(now[1].clone()),
            ]
        );
    }
}
