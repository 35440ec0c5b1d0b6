//! A thread that runs jobs one after the other.

use std::{
    io,
    panic::resume_unwind,
    sync::mpsc,
    thread::{self, JoinHandle, ThreadId},
};

use mcast_sys::lab::scoped::{self, Job};

use crate::spawner::Spawner;

/// A thread started by a [`Spawner`] that runs jobs until this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    id: ThreadId,
}

impl Worker {
    /// Starts a thread with this name.
    pub(crate) fn start(spawner: Spawner, name: &str) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = spawner.spawn(name, move || inbox.into_iter().for_each(|job| job()))?;
        let id = thread.thread().id();
        Ok(Self { jobs: Some(jobs), thread: Some(thread), id })
    }

    /// Runs `work` on the thread and waits for it. A panic in it is resumed in the caller.
    ///
    /// Returns `None` if the thread has ended.
    pub(crate) fn call<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Option<T> {
        let result = scoped::run_elsewhere(work, |job| {
            if let Some(jobs) = &self.jobs {
                let _ = jobs.send(job);
            }
        })?;
        Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs.take();
        // A job may hold the last reference to its own worker; a thread cannot join itself.
        if thread::current().id() == self.id {
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
