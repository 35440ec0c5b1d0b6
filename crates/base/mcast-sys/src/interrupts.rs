//! Signals that request the end of this process.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static TERMINATED: AtomicBool = AtomicBool::new(false);
static HUNG_UP: AtomicBool = AtomicBool::new(false);

/// Notes SIGINT, SIGTERM or SIGHUP from now on, instead of ending the process: [`has_arrived`] returns whether it came. A handler
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

/// Returns whether a signal has its default action, so that it is neither handled nor ignored, as SIGHUP is below `nohup`.
///
/// # Errors
/// The system's error, such as for a number that is not a signal.
pub fn has_default_action(signal: i32) -> io::Result<bool> {
    // SAFETY: all bits zero are a valid action, which the call replaces.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `action` is live for the call, which changes nothing else.
    match unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } {
        0 => Ok(action.sa_sigaction == libc::SIG_DFL),
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
        libc::SIGHUP => Some(&HUNG_UP),
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
        assert!(has_default_action(libc::SIGTERM).unwrap());
        note(libc::SIGTERM).unwrap();
        assert!(!has_arrived(libc::SIGTERM) && !has_default_action(libc::SIGTERM).unwrap());
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        assert!(has_arrived(libc::SIGTERM) && !has_arrived(libc::SIGINT));
        assert_eq!(note(libc::SIGKILL).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
