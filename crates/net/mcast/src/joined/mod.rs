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

mod change;
mod watch;

use crate::error::{Error, Operation, Result};

pub use change::MembershipChange;
use change::sort_key;
#[doc(inline)]
pub use mcast_sys::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind, Version, Visibility};
pub use watch::Watcher;

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
