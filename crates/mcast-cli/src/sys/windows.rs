//! Windows: console control events.

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

/// As after SIGINT elsewhere.
const STATUS: u8 = 130;

/// The numbers of `wincon.h`.
const _: () = assert!(CTRL_C_EVENT == 0 && CTRL_BREAK_EVENT == 1 && size_of::<BOOL>() == 4);

type Then = Box<dyn Fn(u8) + Send>;

static THEN: Mutex<Option<Then>> = Mutex::new(None);
static CAME: AtomicBool = AtomicBool::new(false);

pub(crate) fn catch_interrupts(then: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    if let Ok(mut slot) = THEN.lock() {
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
    if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) || CAME.swap(true, Ordering::AcqRel) {
        // Another event, or the second one: the default action of the system.
        return FALSE;
    }
    if let Ok(slot) = THEN.lock()
        && let Some(then) = slot.as_ref()
    {
        then(STATUS);
    }
    TRUE
}

/// There are none.
pub(crate) fn catch_hangups(_came: Arc<AtomicBool>) -> io::Result<()> {
    Ok(())
}

pub(crate) fn standard_output() -> io::Result<File> {
    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}

pub(crate) fn shell(text: &str) -> Command {
    let mut command = Command::new("cmd");
    // As it is: cmd has rules of its own for quotes.
    command.arg("/C").raw_arg(text);
    command
}

/// Who may read it is a matter of the folder that it is in.
#[cfg(feature = "seal")]
pub(crate) fn create_private(path: &std::path::Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// Not told here.
#[cfg(feature = "seal")]
pub(crate) fn others_may_read(_path: &std::path::Path) -> bool {
    false
}

pub(crate) fn has_ended(child: &mut Child) -> io::Result<bool> {
    child.try_wait().map(|status| status.is_some())
}

/// There is no way to ask, and none of them is known.
pub(crate) fn end_processes(_ids: &[u32], _force: bool) {}

/// There are no such groups here.
pub(crate) fn lead_group(_command: &mut Command) {}

pub(crate) fn end_group(child: &mut Child, _force: bool) {
    let _ = child.kill();
}
