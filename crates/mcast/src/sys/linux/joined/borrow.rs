//! Borrowing a socket of another process: a descriptor of our own for the same socket. Others who survey at the same
//! time see it among what this process has open, and must not take it for a holder.

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
    pub(super) fn lend(&self, descriptor: RawFd) -> io::Result<Loan> {
        let mut borrowed = borrowed();
        let lent = match self {
            // SAFETY: the call takes numbers, and refuses one that is no descriptor.
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

/// What this process has borrowed at the moment; none comes or goes while this is held.
static BORROWED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

pub(super) fn borrowed() -> MutexGuard<'static, BTreeSet<RawFd>> {
    BORROWED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A descriptor that is borrowed, until this goes.
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
        // Both at once, or the number could be another's descriptor already.
        let mut borrowed = borrowed();
        borrowed.remove(&self.descriptor.as_raw_fd());
        // SAFETY: it is dropped here and nowhere else, and not used any more.
        unsafe { ManuallyDrop::drop(&mut self.descriptor) };
    }
}

/// What `/proc` calls the mark.
pub(super) const MARK: &str = "/memfd:mcast-survey (deleted)";

/// Tells other processes that this one surveys, until it goes. Where it cannot be had, it is done without.
pub(super) struct Mark(#[allow(dead_code)] Option<OwnedFd>);

impl Mark {
    pub(super) fn set() -> Self {
        // SAFETY: the name is a string that ends with a zero.
        let descriptor = unsafe { libc::memfd_create(c"mcast-survey".as_ptr(), libc::MFD_CLOEXEC) };
        Self(owned(descriptor.into()).ok())
    }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
