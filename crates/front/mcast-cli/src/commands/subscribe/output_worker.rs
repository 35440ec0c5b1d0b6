//! Writes messages and runs commands on a separate thread, so that a slow reader or a slow command does not keep the
//! subscriber from talking to its publisher.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use mcast::Waker;
use mcast_stream::subscriber::Position;
use mcast_stream::wire::Incarnation;
use mcast_stream::{JobContext, Worker};
use mcast_terminal::Output;

use crate::execute::Call;

/// The number of bytes written at once while more messages arrive.
const AT_ONCE: usize = 64 << 10;
/// The maximum number of bytes waiting to be written, not counting one message. A command fills the queue.
const MAX_BYTES: usize = 512 << 10;
/// How long to wait for a command that is stopped, including the time until it is killed.
const STOP: Duration = Duration::from_secs(2);

/// A queue of output and commands, in order.
pub(super) struct OutputWorker {
    buffer: Vec<u8>,
    /// Whether jobs were added since the last check whether the queue is full.
    has_new_jobs: bool,
    /// The last message in the buffer.
    last: Option<Position>,
    worker: JobQueue,
    counts: Arc<Counts>,
}

/// The jobs of the thread.
pub(super) type JobQueue = Worker<Job, anyhow::Error>;

/// Each with the last message that is processed when it is done.
pub(super) enum Job {
    Write(Vec<u8>, Option<Position>),
    Call(Call, Option<Position>),
}

/// The jobs that are left, and the commands that failed.
#[derive(Default)]
struct Counts {
    bytes: AtomicUsize,
    commands: AtomicUsize,
    failed: AtomicUsize,
    processed: Processed,
}

/// Which messages are processed.
#[derive(Default)]
struct Processed {
    /// Whether the subscriber is to be woken when messages are processed.
    is_awaited: AtomicBool,
    /// The last message, until it is fetched, and whether there is one.
    last: Mutex<Option<Position>>,
    is_new: AtomicBool,
    /// The incarnation of the publisher in which a command has failed: what followed is not all processed.
    failed_in: Mutex<Option<Incarnation>>,
}

impl Processed {
    /// Notes a message for which the command failed.
    fn fail(&self, at: Position) {
        *self.failed_in.lock().unwrap_or_else(PoisonError::into_inner) = Some(at.incarnation);
    }

    /// Notes that a message is processed, and all before it, unless one of them failed.
    fn note(&self, at: Position, waker: &Waker) {
        if *self.failed_in.lock().unwrap_or_else(PoisonError::into_inner) == Some(at.incarnation) {
            return;
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.is_new.store(true, Ordering::Release);
        if self.is_awaited.load(Ordering::Acquire) {
            // If the waker fails, the caller's wait times out.
            let _ = waker.wake();
        }
    }
}

/// The jobs that were not completed before the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Bytes that were not written.
    pub(super) bytes: usize,
    /// Commands that were not run, or were stopped.
    pub(super) commands: usize,
}

impl OutputWorker {
    /// Starts the thread. `waker` wakes the subscriber's loop when there is room again.
    pub(super) fn new(mut out: Output, waker: Waker) -> anyhow::Result<Self> {
        let counts = Arc::<Counts>::default();
        let done = Arc::clone(&counts);
        let wake = waker.clone();
        let work = move |job, context: &JobContext<'_>| done.work(job, &mut out, context, &wake);
        let worker = Worker::start(MAX_BYTES, waker, work)?;
        Ok(Self { buffer: Vec::with_capacity(AT_ONCE), has_new_jobs: false, last: None, worker, counts })
    }

    /// Returns the buffer for output.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Notes that the buffer contains a message, which is processed when it is written.
    pub(super) const fn note(&mut self, position: Position) {
        self.last = Some(position);
    }

    /// Returns the last message that is processed, with all before it, once.
    pub(super) fn processed(&self, is_awaited: bool) -> Option<Position> {
        let processed = &self.counts.processed;
        processed.is_awaited.store(is_awaited, Ordering::Release);
        if !processed.is_new.swap(false, Ordering::AcqRel) {
            return None;
        }
        processed.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Adds a command, to run after everything written so far. The message at `position` is processed when the command
    /// has succeeded.
    pub(super) fn call(&mut self, call: Call, position: Option<Position>) {
        self.flush();
        self.has_new_jobs = true;
        self.counts.commands.fetch_add(1, Ordering::Relaxed);
        self.worker.push(Job::Call(call, position), MAX_BYTES);
    }

    /// Passes the buffer to the thread if it is large enough; returns whether the queue may be full.
    pub(super) fn drain(&mut self) -> bool {
        if self.buffer.len() >= AT_ONCE {
            self.flush();
        }
        std::mem::take(&mut self.has_new_jobs)
    }

    /// Passes the buffer to the thread, without waiting.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() && self.last.is_none() {
            return;
        }
        self.has_new_jobs = true;
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(AT_ONCE));
        let length = full.len();
        self.counts.bytes.fetch_add(length, Ordering::Relaxed);
        self.worker.push(Job::Write(full, self.last.take()), length);
    }

    pub(super) const fn worker(&self) -> &JobQueue {
        &self.worker
    }

    /// Waits at most `grace` for the jobs, then stops the running command and starts no other. Returns what is
    /// unfinished.
    pub(super) fn stop(&self, grace: Duration) -> Unfinished {
        if self.worker.wait_idle(grace) {
            return Unfinished::default();
        }
        let Counts { bytes, commands, .. } = &*self.counts;
        let unfinished =
            Unfinished { bytes: bytes.load(Ordering::Relaxed), commands: commands.load(Ordering::Relaxed) };
        // A write cannot be stopped.
        self.worker.cancel(if unfinished.commands > 0 { STOP } else { Duration::ZERO });
        unfinished
    }

    /// Returns the number of failed commands.
    pub(super) fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed) as u64
    }
}

impl Counts {
    fn work(
        &self,
        job: Job,
        out: &mut Output,
        context: &JobContext<'_>,
        waker: &Waker,
    ) -> anyhow::Result<()> {
        match job {
            Job::Write(bytes, last) => {
                out.write_all(&bytes)?;
                if context.is_last() || last.is_some() {
                    out.flush()?;
                }
                self.bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                last.inspect(|last| self.processed.note(*last, waker));
            }
            Job::Call(call, position) => {
                // The command may print as well.
                out.flush()?;
                let succeeded = call.run(|| context.is_cancelled()).context("cannot run the command")?;
                self.failed.fetch_add(usize::from(!succeeded), Ordering::Relaxed);
                self.commands.fetch_sub(1, Ordering::Relaxed);
                match position {
                    Some(position) if succeeded => self.processed.note(position, waker),
                    Some(position) => self.processed.fail(position),
                    None => {}
                }
            }
        }
        Ok(())
    }
}
