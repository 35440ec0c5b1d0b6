//! Systems where Ctrl-C cannot be caught: it ends the process, as by default.

use std::fs::File;
use std::io;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) fn catch_interrupts(_then: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    Ok(())
}

pub(crate) fn catch_hangups(_came: Arc<AtomicBool>) -> io::Result<()> {
    Ok(())
}

pub(crate) fn standard_output() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn shell(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
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
