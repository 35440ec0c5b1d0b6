//! Who on this machine has joined what: group, interface, protocol version, source filter, and
//! which socket of which process.
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
//! # How it is known
//! On Linux the tables of memberships (`/proc/net/igmp`, `igmp6`) say what is joined on which
//! interface, and by how many. The sockets of every process are then borrowed for a moment
//! (`pidfd_getfd`) and each is asked (`getsockopt(MCAST_MSFILTER)`) whether it has joined, in
//! which mode and for which sources. Nothing about them is changed. What the tables count and no
//! socket accounts for belongs to the kernel, or to a socket that could not be seen, and is
//! listed as such: the sum is always right.
//!
//! To look into a process needs the right to trace it: one's own processes (unless
//! `kernel.yama.ptrace_scope` forbids that), or all with `CAP_SYS_PTRACE`. What was not looked
//! into is told in [`Snapshot::visibility`].
//!
//! # Platforms
//! | | memberships | number of holders | processes, sockets, sources | version |
//! |---|---|---|---|---|
//! | Linux 5.6 | yes | yes | yes | IGMP; MLD where it can be known |
//! | older Linux | yes | yes | of this process alone | the same |
//! | macOS, FreeBSD, Windows | yes | no | no | no |
//! | Android | only where apps may read `/proc/net` | | | |

mod change;
mod holding;
mod kernel;
mod watch;

use crate::error::{Error, Operation, Result};
use crate::sys;

pub use change::Change;
pub use holding::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind, Version};
pub(crate) use kernel::KernelShare;
pub use watch::Watcher;

/// All memberships of this machine, as they were at about one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Who holds which membership, by group, interface and holder.
    pub holdings: Vec<Holding>,
    /// Which processes could be looked into.
    pub visibility: Visibility,
}

/// Which processes could be looked into, and so be named as holders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visibility {
    /// Every process that the system lists.
    Full,
    /// All but these, for want of the right to trace them.
    Partial {
        /// The process ids, in order.
        closed: Vec<u32>,
    },
    /// None but the calling one (Linux), or none at all: this system has no means for it.
    NoProcesses {
        /// What is missing.
        why: &'static str,
    },
}

/// Who on this machine has joined what; on Linux in the calling thread's network namespace.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) on systems that this library does
/// not know, [`ErrorKind::Permission`](crate::ErrorKind::Permission) where the system keeps the
/// tables to itself (Android), or the system's refusal. That a process cannot be looked into is
/// no error.
pub fn memberships() -> Result<Snapshot> {
    let (mut holdings, visibility) =
        sys::joined::survey().map_err(|error| Error::os(Operation::Inspect, error))?;
    holdings.sort_by_key(Holding::place);
    Ok(Snapshot { holdings, visibility })
}

impl Snapshot {
    /// How many memberships are held by sockets that could not be seen. `None` where the system
    /// does not count holders.
    #[must_use]
    pub fn unseen(&self) -> Option<u32> {
        self.holdings.iter().try_fold(0_u32, |sum, holding| match holding.holder {
            Holder::Unseen { sockets } => sockets.map(|sockets| sum.saturating_add(sockets)),
            Holder::Socket(_) | Holder::Kernel => Some(sum),
        })
    }
}
