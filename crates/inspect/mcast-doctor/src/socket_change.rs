//! Changes of sockets of other programs.

use std::io;

use mcast_sys::SocketChange;

use crate::action::SocketAction;
use crate::{Error, Result};

/// Makes the change of an action.
///
/// # Errors
/// [`Error::Socket`], with what would allow it.
pub(crate) fn make(action: &SocketAction) -> Result<()> {
    system::change(action).map(drop).map_err(|source| error(action, source))
}

/// Returns the change that results in the present state of what an action changes; `None` if the kernel does not report it.
///
/// # Errors
/// [`Error::Socket`], with what would allow it.
pub(crate) fn present(action: &SocketAction) -> Result<Option<SocketChange>> {
    system::present(action).map_err(|source| error(action, source))
}

/// Returns whether there is nothing left to undo: the program or its socket is gone, or has left the group itself.
pub(crate) fn is_over(error: &Error) -> bool {
    let Error::Socket { source, .. } = error else { return false };
    // ESRCH: the process has ended. EADDRNOTAVAIL: the socket is not a member any more.
    let is_gone = matches!(source.raw_os_error(), Some(3 | 99));
    is_gone || matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

fn error(action: &SocketAction, source: io::Error) -> Error {
    let SocketAction { pid, socket, change } = *action;
    let remedy = what_helps(pid, &source);
    Error::Socket { program: system::name(pid), socket, change, source, remedy }
}

fn what_helps(pid: u32, error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some(system::what_allows_it(pid)),
        io::ErrorKind::Unsupported => Some(system::WHY_UNSUPPORTED.to_owned()),
        io::ErrorKind::NotFound => Some(
            "examine the program again: it has closed the socket, or another process has it now".to_owned(),
        ),
        io::ErrorKind::AlreadyExists => Some("examine the program again: it has the change".to_owned()),
        _ => None,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::fs;
    use std::io;

    use mcast_sys::SocketChange;

    use crate::action::SocketAction;

    pub(super) const WHY_UNSUPPORTED: &str = "borrowing a socket of another process (pidfd_getfd) needs Linux 5.6, and no seccomp filter that forbids it";

    pub(super) fn change(action: &SocketAction) -> io::Result<SocketChange> {
        mcast_sys::joined::change(action.pid, action.socket, &action.change)
    }

    pub(super) fn present(action: &SocketAction) -> io::Result<Option<SocketChange>> {
        mcast_sys::joined::present(action.pid, action.socket, &action.change)
    }

    pub(super) fn name(pid: u32) -> String {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match name.trim() {
            "" => format!("process {pid}"),
            name => format!("{name} ({pid})"),
        }
    }

    /// Returns what would allow to trace a process.
    pub(super) fn what_allows_it(pid: u32) -> String {
        let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/user")).ok();
        if namespace("self") != namespace(&pid.to_string()) {
            return "the program is in another user namespace: run as root outside of it, or as root within it".to_owned();
        }
        let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        match scope.trim() {
            "" | "0" => "run as root, with CAP_SYS_PTRACE, or as the user of the program".to_owned(),
            "3" => {
                "the kernel allows no tracing until the next boot (kernel.yama.ptrace_scope is 3)".to_owned()
            }
            value => format!(
                "run as root or with CAP_SYS_PTRACE: kernel.yama.ptrace_scope is {value}, so that users may not trace their own programs"
            ),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;

    use mcast_sys::SocketChange;

    use crate::action::SocketAction;

    pub(super) const WHY_UNSUPPORTED: &str = "only Linux lets a program change a socket of another one";

    pub(super) fn change(_action: &SocketAction) -> io::Result<SocketChange> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn present(_action: &SocketAction) -> io::Result<Option<SocketChange>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn name(pid: u32) -> String {
        format!("process {pid}")
    }

    pub(super) fn what_allows_it(_pid: u32) -> String {
        String::new()
    }
}
