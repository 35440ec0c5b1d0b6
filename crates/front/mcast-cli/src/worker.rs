//! Work on a separate thread.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcast::Waker;

use crate::sys::spawn;

/// Does jobs in order on a thread of its own, so that slow work does not keep the caller of a
/// [`Subscriber`](mcast_stream::Subscriber) from calling it.
///
/// The queue has no limit of its own: while it [is full](Self::is_full), call
/// [`keep_alive`](mcast_stream::Subscriber::keep_alive), which the waker ends as soon as there is room.
pub(crate) struct Worker<J, E> {
    shared: Arc<Shared<J, E>>,
}

/// What a job may ask while it is done.
#[derive(Debug)]
pub(crate) struct JobContext<'a> {
    is_cancelled: &'a AtomicBool,
    is_last: bool,
}

impl JobContext<'_> {
    /// Whether the job should end early, because the worker was [cancelled](Worker::cancel).
    #[must_use]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Whether no other job was waiting when this one was started, so that buffered output should be flushed after it.
    #[must_use]
    pub(crate) const fn is_last(&self) -> bool {
        self.is_last
    }
}

struct Shared<J, E> {
    capacity: usize,
    state: Mutex<State<J, E>>,
    changed: Condvar,
    /// Set after an error: no more jobs are done.
    is_broken: AtomicBool,
    is_cancelled: AtomicBool,
}

struct State<J, E> {
    waiting: VecDeque<(J, usize)>,
    /// The cost of the waiting jobs.
    cost: usize,
    /// The cost of the job that is being done, if one is.
    working: Option<usize>,
    /// Whether the caller waits for room, or for the end of all jobs.
    is_awaited: bool,
    /// The worker was dropped.
    is_over: bool,
    failure: Option<Failure<E>>,
}

/// Why no more jobs are done.
enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<J, E> State<J, E> {
    fn is_busy(&self) -> bool {
        self.working.is_some() || !self.waiting.is_empty()
    }

    fn whole_cost(&self) -> usize {
        self.cost.saturating_add(self.working.unwrap_or(0))
    }

    fn discard_waiting(&mut self) {
        self.waiting.clear();
        self.cost = 0;
    }
}

impl<J: Send + 'static, E: Send + 'static> Worker<J, E> {
    /// Starts the thread, which calls `work` for each job. The queue is full when the jobs cost `capacity` or more;
    /// `waker` wakes the subscriber when there is room again. After an error no more jobs are done.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        capacity: usize,
        waker: Waker,
        work: impl FnMut(J, &JobContext<'_>) -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<Self> {
        let state = State {
            waiting: VecDeque::new(),
            cost: 0,
            working: None,
            is_awaited: false,
            is_over: false,
            failure: None,
        };
        let shared = Arc::new(Shared {
            capacity,
            state: Mutex::new(state),
            changed: Condvar::new(),
            is_broken: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
        });
        let worker = Self { shared: Arc::clone(&shared) };
        let run = move || shared.run(work, &waker);
        spawn("mcast-worker", run)?;
        Ok(worker)
    }
}

impl<J, E> Worker<J, E> {
    /// Adds a job with its cost, for instance its size in bytes. Never waits. After an [error](Self::error) the job is
    /// discarded.
    pub(crate) fn push(&self, job: J, cost: usize) {
        let mut state = self.shared.lock();
        if self.shared.is_broken() {
            return;
        }
        state.cost = state.cost.saturating_add(cost);
        state.waiting.push_back((job, cost));
        self.shared.changed.notify_all();
    }

    /// Returns whether the queue is full. If so, the waker is called when there is room.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.is_awaited(|state| state.whole_cost() >= self.shared.capacity)
    }

    /// Returns whether jobs are left. If so, the waker is called when there are none.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        self.is_awaited(State::is_busy)
    }

    /// Waits until a job is done after [`is_full`](Self::is_full) or [`is_busy`](Self::is_busy) returned `true`, for at
    /// most `timeout`. This is for callers whose subscriber is over.
    pub(crate) fn wait(&self, timeout: Duration) {
        drop(self.shared.wait_while(timeout, |state| state.is_awaited));
    }

    /// Waits until no job is left, for at most `timeout`; returns whether none is.
    pub(crate) fn wait_idle(&self, timeout: Duration) -> bool {
        !self.shared.wait_while(timeout, State::is_busy).is_busy()
    }

    /// Discards the jobs that wait, asks the current one to end, and waits for that for at most `timeout`.
    pub(crate) fn cancel(&self, timeout: Duration) {
        self.shared.lock().discard_waiting();
        self.shared.is_cancelled.store(true, Ordering::Release);
        self.wait_idle(timeout);
    }

    /// Returns, once, the error after which no more jobs are done.
    ///
    /// # Panics
    /// Once, with the same payload, if a job has panicked.
    #[must_use]
    pub(crate) fn error(&self) -> Option<E> {
        if !self.shared.is_broken() {
            return None;
        }
        let failure = self.shared.lock().failure.take();
        match failure? {
            Failure::Error(error) => Some(error),
            Failure::Panic(payload) => resume_unwind(payload),
        }
    }

    fn is_awaited(&self, condition: impl FnOnce(&State<J, E>) -> bool) -> bool {
        let mut state = self.shared.lock();
        state.is_awaited = !self.shared.is_broken() && condition(&state);
        state.is_awaited
    }
}

impl<J, E> Drop for Worker<J, E> {
    /// Does not wait: the thread ends after the jobs that are waiting.
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl<J, E> Shared<J, E> {
    fn lock(&self) -> MutexGuard<'_, State<J, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    fn wait_while(
        &self,
        timeout: Duration,
        condition: impl Fn(&State<J, E>) -> bool,
    ) -> MutexGuard<'_, State<J, E>> {
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn run(&self, mut work: impl FnMut(J, &JobContext<'_>) -> Result<(), E>, waker: &Waker) {
        while let Some((job, is_last)) = self.next_job() {
            let context = JobContext { is_cancelled: &self.is_cancelled, is_last };
            // `work` is not called again after a panic, so that nothing sees what that left half done.
            let failure = match catch_unwind(AssertUnwindSafe(|| work(job, &context))) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Failure::Error(error)),
                Err(payload) => Some(Failure::Panic(payload)),
            };
            let mut state = self.lock();
            state.working = None;
            let is_broken = failure.is_some();
            if is_broken {
                state.failure = failure;
                state.discard_waiting();
                self.is_broken.store(true, Ordering::Release);
            }
            if std::mem::take(&mut state.is_awaited) || is_broken {
                // If the waker fails, the caller's wait times out.
                let _ = waker.wake();
            }
            drop(state);
            self.changed.notify_all();
            if is_broken {
                return;
            }
        }
    }

    /// Waits for a job; returns also whether no other is waiting.
    fn next_job(&self) -> Option<(J, bool)> {
        let idle = |state: &mut State<J, E>| state.waiting.is_empty() && !state.is_over;
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let (job, cost) = state.waiting.pop_front()?;
        state.cost = state.cost.saturating_sub(cost);
        state.working = Some(cost);
        Some((job, state.waiting.is_empty()))
    }
}

impl<J, E> std::fmt::Debug for Worker<J, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::mpsc::channel;

    use mcast_lab::Lab;
    use mcast_stream::Subscriber;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Runs `test` with a subscriber in a network of its own.
    fn with_subscriber(test: impl FnOnce(Subscriber) + Send) {
        let lab = Lab::new().unwrap();
        let subscribe = || Subscriber::join_one("239.7.7.7%lo:7000".parse().unwrap()).unwrap();
        lab.host("alone").unwrap().run(|| test(subscribe())).unwrap();
    }

    #[test]
    fn a_full_queue_wakes_the_subscriber_when_there_is_room() {
        with_subscriber(|mut subscriber| {
            let (permit, permits) = channel::<()>();
            let work = move |_: u8, _: &JobContext<'_>| permits.recv();
            let worker = Worker::start(2, subscriber.waker(), work).unwrap();
            worker.push(1, 1);
            assert!(!worker.is_full());
            worker.push(2, 1);
            assert!(worker.is_full() && worker.is_busy());
            assert!(worker.is_full());
            permit.send(()).unwrap();
            let begun = std::time::Instant::now();
            while worker.is_full() {
                subscriber.keep_alive(SOON).unwrap();
            }
            assert!(begun.elapsed() < SOON, "the waker ends the wait");
            permit.send(()).unwrap();
            assert!(worker.wait_idle(SOON));
        });
    }

    #[test]
    fn after_an_error_no_more_jobs_are_done() {
        with_subscriber(|subscriber| {
            let (sender, done) = channel();
            let work = move |job: u8, _: &JobContext<'_>| {
                sender.send(job).unwrap();
                if job == 2 { Err(job) } else { Ok(()) }
            };
            let worker = Worker::start(9, subscriber.waker(), work).unwrap();
            (1..=3).for_each(|job| worker.push(job, 1));
            assert_eq!(done.iter().collect::<Vec<_>>(), [1, 2]);
            assert_eq!((worker.error(), worker.error()), (Some(2), None));
            assert!(!worker.is_full() && !worker.is_busy());
        });
    }

    #[test]
    fn a_panic_of_a_job_is_passed_on_and_leaves_the_queue_empty() {
        with_subscriber(|mut subscriber| {
            let work = |job: u8, _: &JobContext<'_>| {
                if job == 1 { panic!("the first job") } else { Ok::<_, ()>(()) }
            };
            let worker = Worker::start(2, subscriber.waker(), work).unwrap();
            (1..=3).for_each(|job| worker.push(job, 2));
            let begun = std::time::Instant::now();
            while worker.is_full() && begun.elapsed() < SOON {
                subscriber.keep_alive(SOON).unwrap();
            }
            assert!(worker.wait_idle(SOON) && !worker.is_full());
            let payload = catch_unwind(AssertUnwindSafe(|| worker.error())).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"the first job"));
            worker.push(4, 9);
            assert!(!worker.is_full() && !worker.is_busy());
        });
    }

    #[test]
    fn cancelled_jobs_cost_nothing() {
        with_subscriber(|subscriber| {
            let ((permit, permits), (sender, begun)) = (channel::<()>(), channel());
            let work = move |job: u8, _: &JobContext<'_>| {
                sender.send(job).unwrap();
                permits.recv()
            };
            let worker = Worker::start(4, subscriber.waker(), work).unwrap();
            (1..=4).for_each(|job| worker.push(job, 2));
            assert_eq!(begun.recv(), Ok(1));
            worker.cancel(Duration::ZERO);
            assert!(!worker.is_full(), "only the current job is left");
            worker.push(5, 2);
            assert!(worker.is_full());
            drop(permit);
        });
    }

    #[test]
    fn a_cancelled_worker_ends_the_current_job_and_discards_the_others() {
        with_subscriber(|subscriber| {
            let (sender, begun) = channel();
            let work = move |job: u8, context: &JobContext<'_>| {
                sender.send((job, context.is_last())).unwrap();
                while !context.is_cancelled() {
                    std::thread::yield_now();
                }
                Ok::<_, ()>(())
            };
            let worker = Worker::start(9, subscriber.waker(), work).unwrap();
            worker.push(1, 1);
            assert_eq!(begun.recv(), Ok((1, true)));
            worker.push(2, 1);
            assert!(!worker.wait_idle(Duration::ZERO));
            worker.cancel(SOON);
            drop(worker);
            assert_eq!(begun.iter().count(), 0, "the second job is not done");
        });
    }
}
