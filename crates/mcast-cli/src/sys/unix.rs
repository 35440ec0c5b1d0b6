//! Unix: signals.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    // SAFETY: `siginfo_t` is plain data, for which zeroes are a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure lives for the call. `WNOWAIT` leaves the child to be waited for.
    let result = unsafe { libc::waitid(libc::P_PID, child.id() as libc::id_t, &raw mut info, options) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // For a child that is still running, `waitid` leaves the structure unchanged.
    Ok(info.si_signo != 0)
}

pub(crate) fn end_processes(ids: &[u32], force: bool) {
    let signal = if force { libc::SIGKILL } else { SIGTERM };
    // An id of 0 or below would mean a group, and 1 is the init process.
    for id in ids.iter().filter_map(|id| libc::pid_t::try_from(*id).ok()).filter(|id| *id > 1) {
        // SAFETY: kill takes no pointers. The caller has just seen the process.
        let _ = unsafe { libc::kill(id, signal) };
    }
}

pub(crate) fn lead_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
}

pub(crate) fn end_group(child: &mut Child, force: bool) {
    let Ok(id) = libc::pid_t::try_from(child.id()) else { return };
    let signal = if force { libc::SIGKILL } else { SIGTERM };
    // SAFETY: kill takes no pointers. The child leads a group of its own (`lead_group`) and has not been waited for
    // (`child` is borrowed for writing), so that its id, and the group's, belong to nobody else.
    let _ = unsafe { libc::kill(-id, signal) };
}
