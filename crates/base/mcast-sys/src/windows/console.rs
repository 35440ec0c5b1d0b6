//! Console control events: Ctrl-C and Ctrl-Break.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

/// The exit status after SIGINT on Unix.
const STATUS: u8 = 130;

/// The numbers of `wincon.h`.
const _: () = assert!(CTRL_C_EVENT == 0 && CTRL_BREAK_EVENT == 1 && size_of::<BOOL>() == 4);

type Callback = Box<dyn Fn(u8) + Send>;

static CALLBACK: Mutex<Option<Callback>> = Mutex::new(None);
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C or Ctrl-Break call `then` with the exit status 130, on a thread of
/// Windows, instead of ending the process. The second one ends the process.
pub fn catch_interrupts(then: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    if let Ok(mut slot) = CALLBACK.lock() {
        *slot = Some(Box::new(then));
    }
    // SAFETY: the handler is a function of the process and stays valid; it may run on any thread.
    match unsafe { SetConsoleCtrlHandler(Some(handle), TRUE) } {
        FALSE => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Runs on a thread that the system makes for it.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    let is_first = || !IS_INTERRUPTED.swap(true, Ordering::AcqRel);
    if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) || !is_first() {
        // The default action of the system.
        return FALSE;
    }
    if let Ok(slot) = CALLBACK.lock()
        && let Some(then) = slot.as_ref()
    {
        then(STATUS);
    }
    TRUE
}
