//! Unix: signals.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcast_sys::interrupts;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

pub(crate) fn catch_interrupts(action: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    let (mut reader, mut writer) = UnixStream::pair()?;
    let exit_status = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = 128 + signal;
        // While its first action is registered, `signal-hook` loses a signal that does not end the process any more, unless
        // another handler is there already.
        interrupts::note(signal)?;
        // In this order: from the first one on, the signal no longer ends the process; and the conditional shutdown must
        // not see the flag that the same signal sets.
        flag::register_usize(signal, Arc::clone(&exit_status), status as usize)?;
        flag::register_conditional_shutdown(signal, status, Arc::clone(&arrived))?;
        flag::register(signal, Arc::clone(&arrived))?;
        pipe::register(signal, writer.try_clone()?)?;
    }
    if let Some(signal) = [SIGINT, SIGTERM].into_iter().find(|signal| interrupts::has_arrived(*signal)) {
        exit_status.store(128 + signal as usize, Ordering::Release);
    }
    if exit_status.load(Ordering::Acquire) != 0 {
        // It may have arrived before it could write to the pipe.
        arrived.store(true, Ordering::Release);
        writer.write_all(&[0])?;
    }
    let wait = move || {
        while reader.read_exact(&mut [0]).is_ok() {
            action(u8::try_from(exit_status.load(Ordering::Acquire)).unwrap_or(u8::MAX));
        }
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(wait).map(drop)
}

pub(crate) fn catch_hangups(arrived: Arc<AtomicBool>) -> io::Result<()> {
    flag::register(SIGHUP, arrived).map(drop)
}

pub(crate) fn standard_output() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

pub(crate) fn shell(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    command
}
