//! Watching who joins and leaves.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::change::changes;
use super::{Change, Snapshot, memberships};
use crate::error::{Error, Operation, Result};
use crate::sys::joined::Notices;

/// How often memberships are looked at where nothing is heard: the system tells at most when the
/// first socket joins a group and when the last one leaves it.
const INTERVAL: Duration = Duration::from_secs(1);
/// Notices come in bursts (a program joins all its groups): it looks again so long after the first.
const BURST: Duration = Duration::from_millis(20);
/// How many times longer it waits than it looks, where there is no notice: no more than a tenth
/// of a core goes to watching, also on a machine with very many sockets and groups.
const REST: u32 = 10;

/// Tells who joins and leaves, and which memberships change.
///
/// Changes are told within a second or so, on Linux 6.15 and later at once where a group is the
/// interface's first or last. A membership that lasts for less may be missed.
///
/// It stays on the thread that made it, because that decides the network namespace (Linux).
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
    known: Snapshot,
    /// How long it took to look at all memberships.
    effort: Duration,
    /// Keeps it on its thread.
    thread: PhantomData<Rc<()>>,
}

impl Watcher {
    /// Begins to watch: from now on every change is told, or shows in [`Watcher::known`].
    ///
    /// # Errors
    /// As for [`memberships`].
    pub fn new() -> Result<Self> {
        // In this order: what happens between the two is then told once too often, not missed.
        let notices = Notices::open().map_err(failed)?;
        let (known, effort) = look()?;
        Ok(Self { notices, known, effort, thread: PhantomData })
    }

    /// The memberships as they were when last looked at.
    #[must_use]
    pub fn known(&self) -> &Snapshot {
        &self.known
    }

    /// Waits for changes since [`Watcher::known`]. `None` when the time is over; without a
    /// timeout it waits for ever.
    ///
    /// # Errors
    /// As for [`memberships`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Vec<Change>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.rest(left.unwrap_or(Duration::MAX))?;
            let (now, effort) = look()?;
            let changes = changes(&self.known.holdings, &now.holdings);
            (self.known, self.effort) = (now, effort);
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    /// Waits until it is time to look again.
    fn rest(&self, limit: Duration) -> Result<()> {
        let rest = INTERVAL.max(self.effort * REST).min(limit);
        if self.notices.wait(rest).map_err(failed)? {
            std::thread::sleep(BURST.max(self.effort).min(limit));
        }
        Ok(())
    }
}

/// The memberships, and how long it took to look at them.
fn look() -> Result<(Snapshot, Duration)> {
    let started = Instant::now();
    let snapshot = memberships()?;
    Ok((snapshot, started.elapsed()))
}

fn failed(error: std::io::Error) -> Error {
    Error::os(Operation::Inspect, error)
}
