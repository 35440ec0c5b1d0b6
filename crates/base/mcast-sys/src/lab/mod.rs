//! What a lab of network namespaces needs of Linux: creating and entering namespaces, programs that
//! are killed with the lab, frames on an interface, offload features, and multicast routing.
//!
//! Functions that take effect in a namespace take effect in that of the calling thread.

pub mod ethernet;
pub mod multicast_routing;
pub mod process;

use crate::socket_option::{self, check};

pub mod namespace {
    //! Creating and entering namespaces.

    use std::{
        fs::{self, File},
        io,
        os::fd::OwnedFd,
    };

    use super::check;

    /// Moves the calling thread into a new, empty network namespace.
    pub fn unshare_network() -> io::Result<()> {
        // SAFETY: no pointers; only the calling thread changes.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
    }

    /// Moves the calling thread into a new UTS namespace and sets the host name there. Does not allocate, so that it can
    /// be called between fork and exec.
    pub fn set_host_name(name: &str) -> io::Result<()> {
        // SAFETY: no pointers; only the calling thread changes.
        check(unsafe { libc::unshare(libc::CLONE_NEWUTS) })?;
        // SAFETY: the pointer and the length are those of a string.
        check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len() as _) }).map(drop)
    }

    /// Moves the calling process, which must have one thread, into a new user namespace.
    pub fn unshare_user() -> io::Result<()> {
        // SAFETY: no pointers; the kernel refuses when other threads are alive.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
    }

    /// Maps a user and a group to root in the new user namespace of the calling process.
    pub fn map_to_root(user: u32, group: u32) -> io::Result<()> {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))
    }

    /// Returns whether the calling thread has `CAP_SYS_ADMIN`, which creating namespaces needs.
    pub fn is_administrator() -> io::Result<bool> {
        const CAP_SYS_ADMIN: u64 = 21;
        let status = fs::read_to_string("/proc/thread-self/status")?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
        Ok(bits >> CAP_SYS_ADMIN & 1 == 1)
    }

    /// Returns the effective user and group id of the calling process.
    pub fn effective_ids() -> (u32, u32) {
        // SAFETY: neither takes arguments nor fails.
        unsafe { (libc::geteuid(), libc::getegid()) }
    }

    /// Opens the network namespace of the calling thread.
    pub fn network() -> io::Result<OwnedFd> {
        File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
    }

    /// Opens the user namespace of the calling process.
    pub fn user() -> io::Result<OwnedFd> {
        File::open("/proc/self/ns/user").map(OwnedFd::from)
    }
}

pub mod namespace_child {
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
            let start =
                unsafe { libc::mmap(ptr::null_mut(), STACK_SIZE + GUARD_SIZE, protection, flags, -1, 0) };
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
}

pub mod host_access {
    //! Namespace descriptors that started programs inherit.

    use std::{
        io,
        os::{
            fd::{AsFd, AsRawFd, RawFd},
            unix::process::CommandExt,
        },
        process,
    };

    use super::{check, namespace::set_host_name};

    /// Makes the programs that `command` starts inherit the descriptor of `owner`, which is dropped with the command.
    pub fn keep_open_in_child(command: &mut process::Command, owner: impl AsFd + Send + Sync + 'static) {
        let clear_close_on_exec = move || {
            // SAFETY: no pointers; in the child, whose descriptors are its own.
            check(unsafe { libc::fcntl(owner.as_fd().as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
        };
        // SAFETY: between fork and exec the closure makes a single system call: no allocation, no locks.
        unsafe { command.pre_exec(clear_close_on_exec) };
    }

    /// Moves the calling thread to the network namespace of an inherited descriptor with this number, and sets its host
    /// name.
    pub fn enter(number: RawFd, host_name: &str) -> io::Result<()> {
        // SAFETY: no pointers; the kernel rejects descriptors of anything but a network namespace.
        check(unsafe { libc::setns(number, libc::CLONE_NEWNET) })?;
        set_host_name(host_name)
    }
}

pub mod scoped {
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
}

pub mod offload {
    //! The offload features of interfaces (`SIOCETHTOOL`), by their names.

    use std::io;
    use std::os::fd::OwnedFd;

    use crate::socket_option::ethtool;

    const ETHTOOL_GSTRINGS: u32 = 0x1b;
    const ETHTOOL_GSSET_INFO: u32 = 0x37;
    const ETHTOOL_SFEATURES: u32 = 0x3b;
    const ETH_SS_FEATURES: u32 = 4;
    /// The length of a feature name (`ETH_GSTRING_LEN`).
    const NAME_LENGTH: usize = 32;
    /// A limit far above the 64 features that kernels had in 2024.
    const MAX_FEATURES: usize = 512;

    /// Turns features of an interface in the namespace of the calling thread on or off. Features that the kernel does
    /// not have are skipped.
    pub fn set_features(interface: &str, features: &[(&str, bool)]) -> io::Result<()> {
        let socket = ethtool::open()?;
        let names = feature_names(&socket, interface)?;
        // struct ethtool_sfeatures: command, number of blocks, and for each block the masks `valid` and `requested`.
        let blocks = names.len().div_ceil(32);
        let mut request = vec![0_u32; 2 + 2 * blocks];
        request[0] = ETHTOOL_SFEATURES;
        request[1] = blocks as u32;
        for (name, on) in features {
            let Some(bit) = names.iter().position(|feature| feature == name) else { continue };
            let (block, mask) = (2 + 2 * (bit / 32), 1 << (bit % 32));
            request[block] |= mask;
            request[block + 1] |= if *on { mask } else { 0 };
        }
        ethtool::request(&socket, interface, &mut request)
    }

    fn feature_names(socket: &OwnedFd, interface: &str) -> io::Result<Vec<String>> {
        // struct ethtool_sset_info: command, reserved, a 64-bit mask of sets, and a count for each of them.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
        info[if cfg!(target_endian = "little") { 2 } else { 3 }] = 1 << ETH_SS_FEATURES;
        ethtool::request(socket, interface, &mut info)?;
        let count = info[4] as usize;
        if count > MAX_FEATURES {
            return Err(io::Error::from_raw_os_error(libc::EPROTO));
        }
        // struct ethtool_gstrings: command, set, count, and `count` names of 32 bytes.
        let mut strings = vec![0_u32; 3 + count * NAME_LENGTH / 4];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
        ethtool::request(socket, interface, &mut strings)?;
        let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok(bytes.chunks_exact(NAME_LENGTH).map(ethtool::name).collect())
    }
}
