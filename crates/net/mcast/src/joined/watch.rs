//! Watching memberships.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::change::changes;
use super::{MembershipChange, Memberships, memberships};
use crate::error::{Error, Operation, Result};
use mcast_sys::joined::Notices;

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
