//! The capabilities of all threads of this process (`capabilities(7)`). Each thread has its own, and only the thread itself
//! can drop them.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long threads have to drop theirs.
const LONGEST: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(1);

/// The capabilities that every thread may keep, a bit each.
static KEPT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Drops, in all other threads of this process, the capabilities that the calling thread does not have, and returns once
/// they have none of them. The last real-time signal interrupts the threads for this, and is handled from then on.
///
/// Call it at the start, in a process with few threads: some system calls that it interrupts return `EINTR`.
///
/// # Errors
/// Also [`io::ErrorKind::TimedOut`] if a thread has not dropped its capabilities within 5 s, because it blocks the signal.
/// Needs `/proc`.
pub fn limit_threads() -> io::Result<()> {
    let own = thread_id();
    let kept = Capabilities::of(own)?.permitted();
    KEPT.fetch_and(kept, Ordering::AcqRel);
    handle_signal()?;
    let until = Instant::now() + LONGEST;
    let mut signalled = BTreeSet::new();
    let mut limited_passes = 0;
    // Twice: a thread that dropped its own may have started another one before, after the list was read.
    while limited_passes < 2 {
        limited_passes += 1;
        for thread in threads()?.into_iter().filter(|thread| *thread != own) {
            // A thread that has ended meanwhile has none.
            let Ok(capabilities) = Capabilities::of(thread) else { continue };
            if capabilities.permitted() & !kept != 0 {
                limited_passes = 0;
                if signalled.insert(thread) {
                    signal_thread(thread)?;
                }
            }
        }
        if limited_passes == 0 {
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a thread keeps its capabilities"));
            }
            std::thread::sleep(INTERVAL);
        }
    }
    Ok(())
}

/// Returns the ids of the threads of this process.
fn threads() -> io::Result<Vec<libc::pid_t>> {
    let entries = std::fs::read_dir("/proc/self/task")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn thread_id() -> libc::pid_t {
    // SAFETY: no pointers; it cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

fn handle_signal() -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int) = drop_others;
    // SAFETY: all bits zero are a valid action, with an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is live for the call, and its handler only makes system calls.
    match unsafe { libc::sigaction(libc::SIGRTMAX(), &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn signal_thread(thread: libc::pid_t) -> io::Result<()> {
    // SAFETY: no pointers; the signal is handled.
    match unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGRTMAX()) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // It has ended.
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        },
    }
}

/// Drops the capabilities of the calling thread that it may not keep. The kernel lowers its ambient ones with them.
extern "C" fn drop_others(_: libc::c_int) {
    // SAFETY: it returns the address of a variable of this thread, which lives as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if let Ok(capabilities) = Capabilities::of(0) {
        // If it fails, the caller of `limit_threads` sees it.
        let _ = capabilities.limited(KEPT.load(Ordering::Acquire)).set();
    }
    // SAFETY: as above. The interrupted function may be about to read it.
    unsafe { *errno = before };
}

/// `__user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    thread: libc::c_int,
}

impl Header {
    /// `_LINUX_CAPABILITY_VERSION_3`, since Linux 2.6.26: the sets have 64 bits.
    const fn of(thread: libc::pid_t) -> Self {
        Self { version: 0x2008_0522, thread }
    }
}

/// `__user_cap_data_struct`: half of each set of a thread.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The lower and the upper halves of the sets of a thread.
struct Capabilities([Half; 2]);

impl Capabilities {
    /// Returns those of a thread; 0 is the calling one.
    fn of(thread: libc::pid_t) -> io::Result<Self> {
        let (mut header, mut halves) = (Header::of(thread), [Half::default(); 2]);
        // SAFETY: both are live for the call, and this version of the header means two halves.
        match unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut halves) } {
            0 => Ok(Self(halves)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes them those of the calling thread.
    fn set(&self) -> io::Result<()> {
        let mut header = Header::of(0);
        // SAFETY: both are live for the call, and this version of the header means two halves.
        match unsafe { libc::syscall(libc::SYS_capset, &raw mut header, &raw const self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn permitted(&self) -> u64 {
        let [lower, upper] = self.0.map(|half| u64::from(half.permitted));
        upper << 32 | lower
    }

    fn limited(&self, kept: u64) -> Self {
        let limit = |half: Half, kept: u32| Half {
            effective: half.effective & kept,
            permitted: half.permitted & kept,
            inheritable: 0,
        };
        let [lower, upper] = self.0;
        Self([limit(lower, kept as u32), limit(upper, (kept >> 32) as u32)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_limited_in_both_halves() {
        let all = Half { effective: 7, permitted: 15, inheritable: 1 };
        let limited = Capabilities([all; 2]).limited(0b10_u64 << 32 | 0b1100);
        let sets = limited.0.map(|half| (half.effective, half.permitted, half.inheritable));
        assert_eq!((sets, limited.permitted()), ([(4, 12, 0), (2, 2, 0)], 0b10_u64 << 32 | 0b1100));
    }

    #[test]
    fn the_threads_of_this_process_include_the_calling_one() {
        assert!(threads().unwrap().contains(&thread_id()));
        assert_eq!(
            Capabilities::of(thread_id()).unwrap().permitted(),
            Capabilities::of(0).unwrap().permitted()
        );
    }
}
