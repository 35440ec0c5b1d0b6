//! Signals that request the end of this process.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Notes SIGINT or SIGTERM from now on, instead of ending the process: [`has_arrived`] returns whether it came. A handler
/// that is installed afterwards replaces this one, and no signal is lost between the two.
///
/// # Errors
/// If it is another signal, or the system refuses.
pub fn note(signal: i32) -> io::Result<()> {
    if flag(signal).is_none() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let handler: extern "C" fn(libc::c_int) = handle;
    // SAFETY: all bits zero are a valid action, with an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is live for the call, and its handler only stores to an atomic variable.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns whether a signal has arrived since it is [noted](note).
#[must_use]
pub fn has_arrived(signal: i32) -> bool {
    flag(signal).is_some_and(|flag| flag.load(Ordering::Acquire))
}

fn flag(signal: i32) -> Option<&'static AtomicBool> {
    match signal {
        libc::SIGINT => Some(&INTERRUPTED),
        libc::SIGTERM => Some(&TERMINATED),
        _ => None,
    }
}

extern "C" fn handle(signal: libc::c_int) {
    if let Some(flag) = flag(signal) {
        flag.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_noted_does_not_end_the_process() {
        note(libc::SIGTERM).unwrap();
        assert!(!has_arrived(libc::SIGTERM));
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        assert!(has_arrived(libc::SIGTERM) && !has_arrived(libc::SIGINT));
        assert_eq!(note(libc::SIGKILL).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
