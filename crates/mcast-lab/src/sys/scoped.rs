//! Running a closure that borrows from its caller on another thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

/// Work for another thread.
pub(crate) type Job = Box<dyn FnOnce() + Send + 'static>;

/// Hands `work` to `dispatch` as a [`Job`] and waits until it has run or been dropped.
///
/// `None` if it was dropped without having run. `dispatch` may run the job, keep it, or drop it; should it
/// panic while the job lives on elsewhere, the process ends, because the job's borrows would be void.
pub(crate) fn run_elsewhere<T: Send>(
    work: impl FnOnce() -> T + Send,
    dispatch: impl FnOnce(Job),
) -> Option<thread::Result<T>> {
    let (tell, hear) = mpsc::channel();
    let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
        // `work` and all that it borrows are gone when the result is told.
        let result = catch_unwind(AssertUnwindSafe(work));
        let _ = tell.send(result);
    });
    // SAFETY: only the lifetime changes. The borrows in the job end when `work` is consumed, before the
    // result is sent, or when the job is dropped, which drops `tell`. `hear.recv()` below returns only after
    // one of the two, and nothing between here and there can unwind (see `dispatch`).
    let job: Job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
    if catch_unwind(AssertUnwindSafe(|| dispatch(job))).is_err() {
        std::process::abort();
    }
    hear.recv().ok()
}
