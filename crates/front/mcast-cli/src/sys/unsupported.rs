//! Systems where Ctrl-C cannot be caught: it ends the process, as by default.

use std::fs::File;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) fn catch_interrupts(_action: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    Ok(())
}

pub(crate) fn catch_hangups(_arrived: Arc<AtomicBool>) -> io::Result<()> {
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
