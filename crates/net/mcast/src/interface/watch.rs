//! Watching the interfaces of this machine.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast_sys::Notice;
use mcast_sys::watch::InterfaceWatch;

use super::change::changes;
use super::{Interface, InterfaceChange};
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
/// let watcher = mcast::InterfaceWatcher::new()?;
/// while let Some(changes) = watcher.wait(None)? {
///     for change in changes {
///         println!("{change:?}");
///     }
/// }
/// # Ok(()) }
/// ```
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

impl std::fmt::Debug for InterfaceWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InterfaceWatcher").field("known", &self.known()).finish_non_exhaustive()
    }
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
