//! A child process that shares the memory of this process.
//!
//! A thread cannot enter a user namespace while its process has other threads, because all threads of a
//! group must share their credentials. A child created with `CLONE_VM | CLONE_FILES` but without
//! `CLONE_THREAD` has a thread group of its own. It may enter a user namespace, and the threads that it
//! starts run the same code on the same memory and descriptors as all other threads. `CLONE_VFORK`
//! suspends the calling thread until the child ends, so that the child can use its thread-local storage.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use super::check;

const STACK_SIZE: usize = 1 << 20;
const GUARD_SIZE: usize = 1 << 16;

type Body = Box<dyn FnOnce()>;

/// Runs `body` as such a child, and returns when the child has ended.
///
/// Signals other than those of the child's own faults are blocked in the child and in its threads, so that Ctrl-C
/// reaches only the process itself. The child is killed when the process ends.
pub fn run_in_child(body: Body) -> io::Result<()> {
    block_signals()?;
    let stack = Stack::new()?;
    let body: *mut Body = Box::into_raw(Box::new(body));
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_VFORK;
    // SAFETY: the stack has no other user and outlives the child, which CLONE_VFORK waits for; `start` takes
    // ownership of the body exactly once; this thread, whose thread-local storage the child uses, is suspended.
    let child = unsafe { libc::clone(start, stack.top(), flags, body.cast()) };
    if child < 0 {
        let error = io::Error::last_os_error();
        // SAFETY: no child was created, so the body still has this owner only.
        drop(unsafe { Box::from_raw(body) });
        return Err(error);
    }
    // SAFETY: no pointers but null. __WALL, because the child sends no signal when it ends.
    check(unsafe { libc::waitpid(child, ptr::null_mut(), libc::__WALL) }).map(drop)
}

extern "C" fn start(body: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `run_in_child` created this pointer and has passed its ownership on.
    let body = unsafe { Box::from_raw(body.cast::<Body>()) };
    // There is no Rust frame above this one to unwind into.
    i32::from(catch_unwind(AssertUnwindSafe(body)).is_err())
}

fn block_signals() -> io::Result<()> {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];
    // SAFETY: the set is initialised by sigfillset before it is used; only this thread's mask changes.
    let result = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut set);
        for fault in faults {
            libc::sigdelset(&mut set, fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Memory for a stack, with guard pages below it, so that an overflow faults instead of overwriting other memory.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), STACK_SIZE + GUARD_SIZE, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(start);
        // SAFETY: the range is the lower end of the new mapping.
        check(unsafe { libc::mprotect(start, GUARD_SIZE, libc::PROT_NONE) })?;
        Ok(stack)
    }

    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK_SIZE + GUARD_SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of this value, which the child no longer uses because it has ended.
        unsafe { libc::munmap(self.0, STACK_SIZE + GUARD_SIZE) };
    }
}
