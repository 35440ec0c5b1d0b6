//! Running a closure that borrows from its caller on another thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

/// A closure for another thread.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// Passes `work` to `dispatch` as a [`Job`] and waits until the job has run or been dropped.
///
/// Returns `None` if it was dropped without having run. `dispatch` may run the job, keep it, or drop it. If
/// `dispatch` panics the process aborts, because the job might still run with borrows that are no longer valid.
pub fn run_elsewhere<T: Send>(
    work: impl FnOnce() -> T + Send,
    dispatch: impl FnOnce(Job),
) -> Option<thread::Result<T>> {
    let (result_sender, result_receiver) = mpsc::channel();
    let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
        // `work` is consumed, and its borrows have ended, before the result is sent.
        let result = catch_unwind(AssertUnwindSafe(work));
        let _ = result_sender.send(result);
    });
    // SAFETY: only the lifetime changes. The borrows in the job end when `work` is consumed, before the
    // result is sent, or when the job is dropped, which drops `result_sender`. `recv` below returns only after one
    // of the two, and nothing in between can unwind, because a panic of `dispatch` aborts.
    let job: Job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
    if catch_unwind(AssertUnwindSafe(|| dispatch(job))).is_err() {
        std::process::abort();
    }
    result_receiver.recv().ok()
}
