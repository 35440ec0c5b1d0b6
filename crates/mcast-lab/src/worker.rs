//! A thread that does what it is given, one thing after the other.

use std::{
    io,
    panic::resume_unwind,
    sync::mpsc,
    thread::{self, JoinHandle, ThreadId},
};

use crate::{
    birthplace::Birthplace,
    sys::scoped::{self, Job},
};

/// A thread born in a [`Birthplace`] that runs jobs until this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    id: ThreadId,
}

impl Worker {
    pub(crate) fn start(birthplace: Birthplace, name: &str) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = birthplace.spawn(name, move || inbox.into_iter().for_each(|job| job()))?;
        let id = thread.thread().id();
        Ok(Self { jobs: Some(jobs), thread: Some(thread), id })
    }

    /// Runs `work` on the thread and waits for it; a panic in it goes on in the caller.
    ///
    /// `None` if the thread has ended.
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
        if thread::current().id() == self.id {
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
