//! Borrowing a socket of another process: a descriptor of this process for the same socket. Other
//! surveys running at the same time see it among the descriptors of this process and must not
//! report it as a holder.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A process that descriptors are borrowed from.
pub(super) enum Lender {
    /// The calling process, where duplicating the descriptor works on every kernel and in every
    /// sandbox.
    Self_,
    /// Another process, referred to by a pidfd.
    Other(OwnedFd),
}

impl Lender {
    /// Opens a process with `pidfd_open` (Linux 5.3).
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        if pid == std::process::id() {
            return Ok(Self::Self_);
        }
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the call takes two numbers.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        owned(descriptor).map(Self::Other)
    }

    /// Duplicates a descriptor of that process into this one with `pidfd_getfd` (Linux 5.6), which
    /// requires permission to trace it (`PTRACE_MODE_ATTACH_REALCREDS`).
    pub(super) fn lend(&self, descriptor: RawFd) -> io::Result<Loan> {
        let mut borrowed = borrowed();
        let lent = match self {
            // SAFETY: the call takes numbers and refuses a number that is not a descriptor.
            Self::Self_ => owned(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) }.into()),
            Self::Other(process) => {
                // SAFETY: the call takes three numbers.
                owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
            }
        }?;
        let file = File::from(lent);
        let inode = file.metadata()?.ino();
        borrowed.insert(file.as_raw_fd());
        Ok(Loan { descriptor: ManuallyDrop::new(file.into()), inode })
    }
}

/// The descriptors that this process has currently borrowed. While the lock is held, none is added
/// or removed.
static BORROWED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

pub(super) fn borrowed() -> MutexGuard<'static, BTreeSet<RawFd>> {
    BORROWED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A borrowed descriptor, which is returned on drop.
pub(super) struct Loan {
    descriptor: ManuallyDrop<OwnedFd>,
    pub(super) inode: u64,
}

impl Deref for Loan {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.descriptor
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Both under the lock; otherwise the number could already be another descriptor.
        let mut borrowed = borrowed();
        borrowed.remove(&self.descriptor.as_raw_fd());
        // SAFETY: it is dropped only here and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.descriptor) };
    }
}

/// The name of the mark in `/proc`.
pub(super) const MARK: &str = "/memfd:mcast-survey (deleted)";

/// Shows other processes that this one is surveying, until it is dropped. If it cannot be created,
/// the survey runs without it.
pub(super) struct Mark(#[allow(dead_code)] Option<OwnedFd>);

impl Mark {
    pub(super) fn set() -> Self {
        // SAFETY: the name is a NUL-terminated string.
        let descriptor = unsafe { libc::memfd_create(c"mcast-survey".as_ptr(), libc::MFD_CLOEXEC) };
        Self(owned(descriptor.into()).ok())
    }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the kernel just created this descriptor, and it has no other owner.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
