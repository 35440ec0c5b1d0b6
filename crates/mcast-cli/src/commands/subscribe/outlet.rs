//! Where messages go: written, and handed to commands, by a thread of its own, so that neither a slow reader nor a
//! slow command keeps the subscriber from speaking with its publisher.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use mcast::Waker;

use super::execute::Call;
use crate::console::Output;

/// What is written at once, as long as more comes.
const AT_ONCE: usize = 64 << 10;
/// Bytes that wait at most to be written, beside one message.
const MOST_BYTES: usize = 512 << 10;
/// How long a command that is stopped may take to end, and be killed if it does not.
const STOP: Duration = Duration::from_secs(2);
/// Buffers that are kept to be used again.
const MOST_SPARE: usize = 8;

/// Takes what is to be written and done, in order.
pub(super) struct Outlet {
    buffer: Vec<u8>,
    /// Something was handed over since it was last looked whether that is too much.
    handed_over: bool,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Something went wrong: nothing more is done.
    broken: AtomicBool,
    /// The command that runs is to end.
    stop: AtomicBool,
}

/// What was received and neither written nor handed to a command when the time was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Bytes that nobody read.
    pub(super) bytes: usize,
    /// Commands that were not run, or stopped.
    pub(super) commands: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    bytes: usize,
    /// A command waits or runs: they come one after the other, and nothing is taken meanwhile.
    calls: usize,
    is_working: bool,
    /// Somebody waits for room, and is to be woken.
    awaited: bool,
    /// Nothing more comes.
    over: bool,
    failed: u64,
    error: Option<anyhow::Error>,
    spare: Vec<Vec<u8>>,
}

enum Job {
    Write(Vec<u8>),
    Call(Call),
}

impl Outlet {
    /// Starts the thread; the subscriber's loop is woken when there is room again.
    pub(super) fn new(out: Output, waker: Waker) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            broken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let work = move || theirs.work(out, &waker);
        thread::Builder::new().name("output".into()).spawn(work).context("cannot start a thread")?;
        Ok(Self { buffer: Vec::with_capacity(AT_ONCE), handed_over: false, shared })
    }

    /// Where to write to.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Runs a command, behind all that was written.
    pub(super) fn call(&mut self, call: Call) {
        self.flush();
        self.handed_over = true;
        let mut state = self.shared.lock();
        state.calls += 1;
        state.waiting.push_back(Job::Call(call));
        self.shared.changed.notify_all();
    }

    /// Hands over what was written, if that is enough for now; says whether it may be [full](Self::is_full) by now.
    pub(super) fn settle(&mut self) -> bool {
        if self.buffer.len() >= AT_ONCE {
            self.flush();
        }
        std::mem::take(&mut self.handed_over)
    }

    /// Hands over what was written. This waits for nobody.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        self.handed_over = true;
        let mut state = self.shared.lock();
        let empty = state.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.buffer, empty);
        state.bytes += full.len();
        state.waiting.push_back(Job::Write(full));
        self.shared.changed.notify_all();
    }

    /// Whether to wait before anything more is taken; then the waker rings when that is over.
    pub(super) fn is_full(&self) -> bool {
        let mut state = self.shared.lock();
        state.awaited = !self.is_broken() && (state.calls > 0 || state.bytes >= MOST_BYTES);
        state.awaited
    }

    /// The same until everything is written and done.
    pub(super) fn is_busy(&self) -> bool {
        let mut state = self.shared.lock();
        state.awaited = !self.is_broken() && (state.is_working || !state.waiting.is_empty());
        state.awaited
    }

    /// Waits until something has changed, and no longer than this.
    pub(super) fn wait(&self, timeout: Duration) {
        let state = self.shared.lock();
        let awaited = |state: &mut State| state.awaited;
        drop(self.shared.changed.wait_timeout_while(state, timeout, awaited));
    }

    /// Ends soon: waits for at most `grace` for what was handed over, and then stops the command that runs and starts
    /// no other. Returns what was left.
    pub(super) fn stop(&self, grace: Duration) -> Unfinished {
        let is_busy = |state: &mut State| state.is_working || !state.waiting.is_empty();
        let wait = |state, time| {
            let waited = self.shared.changed.wait_timeout_while(state, time, is_busy);
            waited.map_or_else(|error| error.into_inner().0, |(state, _)| state)
        };
        let mut state = wait(self.shared.lock(), grace);
        let unfinished = Unfinished { bytes: state.bytes, commands: state.calls };
        let runs = state.is_working && state.calls > 0;
        state.waiting.clear();
        if runs {
            self.shared.stop.store(true, Ordering::Release);
            drop(wait(state, STOP));
        }
        unfinished
    }

    /// Why nothing more can be written or done, once.
    pub(super) fn error(&self) -> Option<anyhow::Error> {
        if self.is_broken() { self.shared.lock().error.take() } else { None }
    }

    /// Commands that did not succeed.
    pub(super) fn failed(&self) -> u64 {
        self.shared.lock().failed
    }

    fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut out: Output, waker: &Waker) {
        while let Some(job) = self.next_job() {
            let done = match job {
                Job::Write(bytes) => out.write_all(&bytes).map_err(Into::into).map(|()| Done::Written(bytes)),
                Job::Call(call) => out
                    .flush()
                    .map_err(Into::into)
                    .and_then(|()| call.run(&self.stop).context("cannot run the command"))
                    .map(Done::Called),
            };
            let done = done.and_then(|done| self.flush_at_the_end(&mut out).map(|()| done));
            self.note(done, waker);
        }
    }

    fn next_job(&self) -> Option<Job> {
        let state = self.lock();
        let idle = |state: &mut State| state.waiting.is_empty() && !state.over;
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let job = state.waiting.pop_front()?;
        state.is_working = true;
        Some(job)
    }

    /// Nothing is held back while nothing more is there to do.
    fn flush_at_the_end(&self, out: &mut Output) -> anyhow::Result<()> {
        let is_last = self.lock().waiting.is_empty();
        if is_last {
            out.flush()?;
        }
        Ok(())
    }

    fn note(&self, done: anyhow::Result<Done>, waker: &Waker) {
        let mut state = self.lock();
        state.is_working = false;
        match done {
            Ok(Done::Written(mut bytes)) => {
                state.bytes -= bytes.len();
                bytes.clear();
                if state.spare.len() < MOST_SPARE && bytes.capacity() <= 2 * AT_ONCE {
                    state.spare.push(bytes);
                }
            }
            Ok(Done::Called(succeeded)) => {
                state.calls -= 1;
                state.failed += u64::from(!succeeded);
            }
            Err(error) => {
                state.error.get_or_insert(error);
                state.waiting.clear();
                self.broken.store(true, Ordering::Release);
            }
        }
        if std::mem::take(&mut state.awaited) || self.broken.load(Ordering::Relaxed) {
            // Without a waker the wait times out a little later.
            let _ = waker.wake();
        }
        drop(state);
        self.changed.notify_all();
    }
}

enum Done {
    /// The buffer, to be used again.
    Written(Vec<u8>),
    /// Whether it succeeded.
    Called(bool),
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}
