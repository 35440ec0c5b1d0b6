//! Unix: signals.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

pub(crate) fn catch_interrupts(action: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    let exit_status = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = 128 + signal;
        // In this order: the conditional shutdown must not see the flag that the same signal sets.
        flag::register_conditional_shutdown(signal, status, Arc::clone(&arrived))?;
        flag::register(signal, Arc::clone(&arrived))?;
        flag::register_usize(signal, Arc::clone(&exit_status), status as usize)?;
        pipe::register(signal, writer.try_clone()?)?;
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

#[cfg(feature = "seal")]
pub(crate) fn create_private(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(feature = "seal")]
pub(crate) fn others_may_read(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o044 != 0)
}

pub(crate) fn has_ended(child: &mut Child) -> io::Result<bool> {
    // `NOWAIT` leaves the child to be waited for.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = waitid(WaitId::Pid(Pid::from_child(child)), options)?;
    Ok(ended.is_some())
}

pub(crate) fn end_processes(ids: &[u32], force: bool) {
    let ids = ids.iter().filter_map(|id| i32::try_from(*id).ok().and_then(Pid::from_raw));
    // The caller has just seen the processes. The first process is never ended.
    for id in ids.filter(|id| !id.is_init()) {
        let _ = kill_process(id, end_signal(force));
    }
}

const fn end_signal(force: bool) -> Signal {
    if force { Signal::KILL } else { Signal::TERM }
}

pub(crate) fn lead_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
}

pub(crate) fn end_group(child: &mut Child, force: bool) {
    // The child leads a group of its own (`lead_group`) and has not been waited for (`child` is borrowed for
    // writing), so its id, and the group's, have not been reused.
    let _ = kill_process_group(Pid::from_child(child), end_signal(force));
}
