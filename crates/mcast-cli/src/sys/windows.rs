//! Windows: console control events.

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

/// The exit status after SIGINT on Unix.
const STATUS: u8 = 130;

/// The values in `wincon.h`.
const _: () = assert!(CTRL_C_EVENT == 0 && CTRL_BREAK_EVENT == 1 && size_of::<BOOL>() == 4);

type Action = Box<dyn Fn(u8) + Send>;

static ACTION: Mutex<Option<Action>> = Mutex::new(None);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn catch_interrupts(action: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    if let Ok(mut slot) = ACTION.lock() {
        *slot = Some(Box::new(action));
    }
    // SAFETY: the handler is a function of the process and stays valid; it may run on any thread.
    match unsafe { SetConsoleCtrlHandler(Some(handle), TRUE) } {
        FALSE => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Handles console events. Windows calls it on a new thread.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) || INTERRUPTED.swap(true, Ordering::AcqRel) {
        // For another event, or the second one, the system takes its default action.
        return FALSE;
    }
    if let Ok(slot) = ACTION.lock()
        && let Some(action) = slot.as_ref()
    {
        action(STATUS);
    }
    TRUE
}

pub(crate) fn standard_output() -> io::Result<File> {
    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}

pub(crate) fn shell(text: &str) -> Command {
    let mut command = Command::new("cmd");
    // Unquoted: cmd has its own quoting rules.
    command.arg("/C").raw_arg(text);
    command
}
