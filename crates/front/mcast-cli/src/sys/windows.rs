//! Windows: console control events.

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use mcast_sys::console::catch_interrupts;

pub(crate) fn catch_hangups(_arrived: Arc<AtomicBool>) -> io::Result<()> {
    Ok(())
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
