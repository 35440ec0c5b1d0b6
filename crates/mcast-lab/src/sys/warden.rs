//! A child process inside this process's memory.
//!
//! A thread cannot enter a user namespace while its process has other threads, because all threads of a
//! group must share their credentials. A child made with `CLONE_VM | CLONE_FILES` but without
//! `CLONE_THREAD` is a group of its own: it may enter, and threads that it makes run the same code on the
//! same memory and descriptors as everybody else. `CLONE_VFORK` holds the calling thread for as long, so
//! that the child can use that thread's thread-local storage alone.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use super::check;

const STACK: usize = 1 << 20;
const GUARD: usize = 1 << 16;

type Body = Box<dyn FnOnce()>;

/// Runs `body` as such a child, on the calling thread's behalf; returns when the child has ended.
///
/// Signals other than those of the child's own faults are blocked in the child and in its threads: Ctrl-C
/// is for the process proper, which ends the child by ending.
pub(crate) fn run_in_child(body: Body) -> io::Result<()> {
    block_signals()?;
    let stack = Stack::new()?;
    let body: *mut Body = Box::into_raw(Box::new(body));
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_VFORK;
    // SAFETY: the stack is ours alone and outlives the child, which CLONE_VFORK waits for; `start` takes
    // the body back exactly once; this thread, whose thread-local storage the child uses, is suspended.
    let child = unsafe { libc::clone(start, stack.top(), flags, body.cast()) };
    if child < 0 {
        let error = io::Error::last_os_error();
        // SAFETY: no child was made, so nobody took the body.
        drop(unsafe { Box::from_raw(body) });
        return Err(error);
    }
    // SAFETY: no pointers but null. __WALL, because the child announces its end by no signal.
    check(unsafe { libc::waitpid(child, ptr::null_mut(), libc::__WALL) }).map(drop)
}

extern "C" fn start(body: *mut libc::c_void) -> libc::c_int {
    // SAFETY: this is the pointer that `run_in_child` made, and nobody else takes it.
    let body = unsafe { Box::from_raw(body.cast::<Body>()) };
    // Unwinding past this frame would leave the stack.
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

/// Memory for a stack, with a guard below that faults instead of overwriting what lies there.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a fresh mapping, wherever the kernel likes.
        let start = unsafe { libc::mmap(ptr::null_mut(), STACK + GUARD, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(start);
        // SAFETY: the lower end of the mapping just made.
        check(unsafe { libc::mprotect(start, GUARD, libc::PROT_NONE) })?;
        Ok(stack)
    }

    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK + GUARD)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our own mapping, no longer used: the child has ended.
        unsafe { libc::munmap(self.0, STACK + GUARD) };
    }
}
