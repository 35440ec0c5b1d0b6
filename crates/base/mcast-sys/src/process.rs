//! The limit on descriptors of this process; ids and groups of other processes, and ending them.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use crate::NetworkId;
use crate::platform::layout::most_descriptors;

/// Raises the soft limit on open file descriptors to the hard limit; returns whether it grew.
pub fn raise_descriptor_limit() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    let most = most_descriptors(limit.rlim_max);
    if !known || limit.rlim_cur >= most {
        return false;
    }
    limit.rlim_cur = most;
    // SAFETY: `limit` is live for the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 }
}

/// Returns the soft limit on open file descriptors (`RLIMIT_NOFILE`); `None` if it is not known.
#[allow(clippy::useless_conversion, reason = "it is signed on FreeBSD")]
pub fn descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    known.then(|| u64::try_from(limit.rlim_cur).unwrap_or(u64::MAX))
}

/// Returns whether the error means that this process or the system has as many open files as its limit allows.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Opens for reading what this process was started with as this descriptor (a duplicate, which programs that are started do not
/// inherit). Call it before anything is opened: later, the number may stand for something of this process.
pub fn open_inherited(descriptor: u32) -> io::Result<std::fs::File> {
    use std::os::fd::FromRawFd;

    let number = libc::c_int::try_from(descriptor).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: no pointers; the kernel rejects numbers that are not open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::O_ACCMODE == libc::O_WRONLY {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is open for writing only"));
    }
    // SAFETY: no pointers. Of numbers that are free from 3 on, the lowest is taken.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { std::fs::File::from_raw_fd(copy) })
}

/// Returns the ids of all processes that `/proc` shows.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn ids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Moves the calling thread to the network namespace of a process. Needs `CAP_SYS_ADMIN`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn enter_network_of(pid: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    // SAFETY: no pointers; the kernel rejects descriptors of anything but a network namespace.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the identity of the network namespace of the calling thread; `None` if `/proc` is not mounted.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn network() -> Option<NetworkId> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
    let cookie = socket.ok().and_then(|socket| crate::joined::network_cookie(&socket.into()).ok());
    Some(NetworkId { cookie, ..network_at("/proc/thread-self/ns/net")? })
}

/// Returns the identity of the network namespace of a process; `None` if there is no such process, or it may not be inspected. The
/// cookie needs `CAP_SYS_ADMIN`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn network_of(pid: u32) -> Option<NetworkId> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = crate::namespace::NetworkNamespace::open(path.as_ref()).ok()?;
    let (id, entered) = (network_at(&path)?, namespace.run(network).ok().flatten());
    Some(entered.filter(|entered| (entered.device, entered.inode) == (id.device, id.inode)).unwrap_or(id))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn network_at(path: &str) -> Option<NetworkId> {
    use std::os::unix::fs::MetadataExt;

    let namespace = std::fs::metadata(path).ok()?;
    Some(NetworkId { device: namespace.dev(), inode: namespace.ino(), cookie: None })
}

/// Returns no ids: this system has no `/proc` to list them.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn ids() -> io::Result<impl Iterator<Item = u32>> {
    Ok(std::iter::empty())
}

/// Returns `None`: this system has no network namespaces.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn network() -> Option<NetworkId> {
    None
}

/// Returns `None`: this system has no network namespaces.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn network_of(_pid: u32) -> Option<NetworkId> {
    None
}

/// Returns an error: this system has no network namespaces.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn enter_network_of(_pid: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the command lead a process group of its own.
pub fn lead_group(command: &mut Command) {
    command.process_group(0);
}

/// Asks the group that a child leads (see [`lead_group`]) to end, or kills it.
pub fn end_group(child: &mut Child, force: bool) {
    // The child has not been waited for (it is borrowed for writing), so its id and the group's have not been reused.
    // A group without processes needs no signal.
    let _ = signal(-(child.id() as libc::pid_t), force);
}

/// Asks processes to end, or kills them. The caller has just seen them. The first process of the system is never ended.
pub fn end_all(ids: &[u32], force: bool) {
    for id in ids.iter().filter_map(|id| libc::pid_t::try_from(*id).ok()).filter(|id| *id > 1) {
        // A process that has ended meanwhile needs no signal.
        let _ = signal(id, force);
    }
}

/// Returns how a child ended; `None` if it runs. It stays a zombie, so that its group keeps the id.
pub fn exit_status(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is that of a value that outlives the call.
    match unsafe { libc::waitid(libc::P_PID, child.id() as libc::id_t, information.as_mut_ptr(), options) } {
        0 => {}
        _ => return Err(io::Error::last_os_error()),
    }
    // SAFETY: plain data that was zeroed; the system fills it only if the child has ended.
    let information = unsafe { information.assume_init() };
    if information.si_signo == 0 {
        return Ok(None);
    }
    // SAFETY: the system has filled it for a child, with its status.
    let status = unsafe { information.si_status() };
    // As `wait` encodes it.
    const CORE_DUMPED: i32 = 0x80;
    Ok(Some(ExitStatus::from_raw(match information.si_code {
        libc::CLD_EXITED => status << 8,
        libc::CLD_DUMPED => status | CORE_DUMPED,
        _ => status,
    })))
}

fn signal(id: libc::pid_t, force: bool) -> io::Result<()> {
    let signal = if force { libc::SIGKILL } else { libc::SIGTERM };
    // SAFETY: no pointers.
    match unsafe { libc::kill(id, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn group_ends_with_all_its_processes() {
        let mut command = Command::new("sh");
        lead_group(command.args(["-c", "sleep 60 & wait"]).stdin(Stdio::null()));
        let mut child = command.spawn().unwrap();
        assert_eq!(exit_status(&mut child).unwrap(), None);
        end_group(&mut child, true);
        let ended = ended(&mut child);
        assert_eq!(exit_status(&mut child).unwrap(), Some(ended), "a zombie until it is waited for");
        assert_eq!((child.wait().unwrap(), ended.signal()), (ended, Some(libc::SIGKILL)));
    }

    fn ended(child: &mut Child) -> ExitStatus {
        loop {
            match exit_status(child).unwrap() {
                Some(status) => return status,
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn exit_status_is_that_of_the_child() {
        for script in ["exit 0", "exit 7", "kill -SEGV $$"] {
            let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let status = ended(&mut child);
            assert_eq!(child.wait().unwrap(), status, "{script}");
        }
    }
}
