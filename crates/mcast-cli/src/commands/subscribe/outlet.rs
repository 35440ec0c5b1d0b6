//! Writes messages and runs commands on a separate thread, so that a slow reader or a slow command does not keep the
//! subscriber from talking to its publisher.

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

/// The number of bytes written at once while more messages arrive.
const AT_ONCE: usize = 64 << 10;
/// The maximum number of bytes waiting to be written, not counting one message.
const MAX_BYTES: usize = 512 << 10;
/// How long to wait for a command that is stopped, including the time until it is killed.
const STOP: Duration = Duration::from_secs(2);
/// The maximum number of buffers kept for reuse.
const MAX_SPARE: usize = 8;

/// A queue of output and commands, in order.
pub(super) struct Outlet {
    buffer: Vec<u8>,
    /// Whether jobs were added since the last check whether the queue is full.
    has_new_jobs: bool,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Set after an error: no more jobs are run.
    broken: AtomicBool,
    /// Set to stop the running command.
    stop: AtomicBool,
}

/// The jobs that were not completed before the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Bytes that were not written.
    pub(super) bytes: usize,
    /// Commands that were not run, or were stopped.
    pub(super) commands: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    bytes: usize,
    /// The number of waiting and running commands. Meanwhile no messages are accepted.
    calls: usize,
    is_working: bool,
    /// Whether the subscriber's loop waits for room.
    awaited: bool,
    /// The outlet was dropped.
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
    /// Starts the thread. `waker` wakes the subscriber's loop when there is room again.
    pub(super) fn new(out: Output, waker: Waker) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            broken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let worker = Arc::clone(&shared);
        let work = move || worker.work(out, &waker);
        thread::Builder::new().name("output".into()).spawn(work).context("cannot start a thread")?;
        Ok(Self { buffer: Vec::with_capacity(AT_ONCE), has_new_jobs: false, shared })
    }

    /// Returns the buffer for output.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Adds a command, to run after everything written so far.
    pub(super) fn call(&mut self, call: Call) {
        self.flush();
        self.has_new_jobs = true;
        let mut state = self.shared.lock();
        state.calls += 1;
        state.waiting.push_back(Job::Call(call));
        self.shared.changed.notify_all();
    }

    /// Passes the buffer to the thread if it is large enough; returns whether the queue may be [full](Self::is_full).
    pub(super) fn settle(&mut self) -> bool {
        if self.buffer.len() >= AT_ONCE {
            self.flush();
        }
        std::mem::take(&mut self.has_new_jobs)
    }

    /// Passes the buffer to the thread, without waiting.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        self.has_new_jobs = true;
        let mut state = self.shared.lock();
        let empty = state.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.buffer, empty);
        state.bytes += full.len();
        state.waiting.push_back(Job::Write(full));
        self.shared.changed.notify_all();
    }

    /// Returns whether the queue is full. If so, the waker is called when there is room.
    pub(super) fn is_full(&self) -> bool {
        let mut state = self.shared.lock();
        state.awaited = !self.is_broken() && (state.calls > 0 || state.bytes >= MAX_BYTES);
        state.awaited
    }

    /// Returns whether jobs are left. If so, the waker is called when all are done.
    pub(super) fn is_busy(&self) -> bool {
        let mut state = self.shared.lock();
        state.awaited = !self.is_broken() && (state.is_working || !state.waiting.is_empty());
        state.awaited
    }

    /// Waits until there is room or all jobs are done, at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        let state = self.shared.lock();
        let awaited = |state: &mut State| state.awaited;
        drop(self.shared.changed.wait_timeout_while(state, timeout, awaited));
    }

    /// Waits at most `grace` for the jobs, then stops the running command and starts no other. Returns what is
    /// unfinished.
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

    /// Returns, once, the error after which no more jobs are run.
    pub(super) fn error(&self) -> Option<anyhow::Error> {
        if self.is_broken() { self.shared.lock().error.take() } else { None }
    }

    /// Returns the number of failed commands.
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
            let done = done.and_then(|done| self.flush_if_idle(&mut out).map(|()| done));
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

    /// Flushes the output when no jobs are left.
    fn flush_if_idle(&self, out: &mut Output) -> anyhow::Result<()> {
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
                if state.spare.len() < MAX_SPARE && bytes.capacity() <= 2 * AT_ONCE {
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
            // If the waker fails, the wait times out a little later.
            let _ = waker.wake();
        }
        drop(state);
        self.changed.notify_all();
    }
}

enum Done {
    /// The buffer, for reuse.
    Written(Vec<u8>),
    /// Whether the command succeeded.
    Called(bool),
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}
