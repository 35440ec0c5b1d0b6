//! Borrowing a socket of another process: a descriptor of our own for the same socket.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A process that descriptors are borrowed from.
pub(super) enum Lender {
    /// The calling one, for which a plain duplicate does, on every kernel and in every sandbox.
    Self_,
    /// Another one, by a descriptor of the process.
    Other(OwnedFd),
}

impl Lender {
    /// `pidfd_open`, since Linux 5.3.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        if pid == std::process::id() {
            return Ok(Self::Self_);
        }
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the call takes two numbers.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        owned(descriptor).map(Self::Other)
    }

    /// A descriptor of our own for what `descriptor` is in that process: `pidfd_getfd`, since
    /// Linux 5.6, with the right to trace it (`PTRACE_MODE_ATTACH_REALCREDS`).
    pub(super) fn lend(&self, descriptor: RawFd) -> io::Result<OwnedFd> {
        match self {
            // SAFETY: the call takes numbers, and refuses one that is no descriptor.
            Self::Self_ => owned(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) }.into()),
            Self::Other(process) => {
                // SAFETY: the call takes three numbers.
                owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
            }
        }
    }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
