//! The processes of this machine, their open sockets, and borrowing one of those.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A process that can have sockets open.
pub(super) struct Process {
    pub(super) pid: u32,
    /// Its name, at most 15 bytes.
    pub(super) name: String,
}

/// Returns all processes in `/proc`, ordered by id, except kernel threads and processes that have
/// ended, which have no descriptors.
pub(super) fn all() -> io::Result<Vec<Process>> {
    let mut pids: Vec<u32> = crate::process::ids()?.collect();
    pids.sort_unstable();
    Ok(pids.into_iter().filter_map(process).collect())
}

fn process(pid: u32) -> Option<Process> {
    let status = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name = name_of_live_process(&String::from_utf8_lossy(&status))?;
    Some(Process { pid, name })
}

/// Parses `PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS …`. The name may contain anything,
/// including parentheses and spaces.
fn name_of_live_process(status: &str) -> Option<String> {
    let (head, tail) = status.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut words = tail.split_ascii_whitespace();
    let state = words.next()?;
    let flags: u32 = words.nth(5)?.parse().ok()?;
    let is_kernel_thread = flags & libc::PF_KTHREAD.cast_unsigned() != 0;
    (!is_kernel_thread && !matches!(state, "Z" | "X" | "x")).then(|| name.to_owned())
}

/// The relevant open descriptors of a process.
#[derive(Default)]
pub(super) struct Open {
    /// Its socket descriptors, in order, each with the socket's inode.
    pub(super) sockets: Vec<(i32, u64)>,
    /// Whether it is surveying as well, so that some of its sockets may be borrowed.
    pub(super) surveys: bool,
}

impl Process {
    /// Lists its descriptors, without those that the calling process has borrowed.
    pub(super) fn open(&self) -> io::Result<Open> {
        let is_own = self.pid == std::process::id();
        // Locked until all are listed.
        let borrowed = is_own.then(borrowed);
        let mut open = Open::default();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid))? {
            let path = entry?.path();
            let Some(target) = target(&path)? else { continue };
            open.surveys |= !is_own && target == MARK;
            let descriptor = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            open.sockets.extend(descriptor.zip(socket_inode(&target)));
        }
        if let Some(borrowed) = borrowed {
            open.sockets.retain(|(descriptor, _)| !borrowed.contains(descriptor));
        }
        open.sockets.sort_unstable();
        Ok(open)
    }
}

/// Lists the descriptors of a process, without those that the calling process has borrowed.
pub(super) fn open(pid: u32) -> io::Result<Open> {
    Process { pid, name: String::new() }.open()
}

/// Returns whether a process carries the mark of a survey.
pub(super) fn surveys(pid: u32) -> bool {
    let targets = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    targets.filter_map(|entry| target(&entry.ok()?.path()).ok()?).any(|target| target == MARK)
}

/// Returns whether a descriptor of a process still refers to this socket.
pub(super) fn is_still(pid: u32, descriptor: i32, inode: u64) -> bool {
    let target = target(Path::new(&format!("/proc/{pid}/fd/{descriptor}")));
    target.is_ok_and(|target| target.as_deref().and_then(socket_inode) == Some(inode))
}

/// Returns the target of a descriptor, unless it was closed meanwhile. Reading targets can be
/// forbidden even where listing descriptors is allowed.
fn target(entry: &Path) -> io::Result<Option<String>> {
    match fs::read_link(entry) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        target => Ok(target?.into_os_string().into_string().ok()),
    }
}

/// Parses the link target of a socket descriptor: `socket:[INODE]`.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

// Borrowing a socket of another process: a descriptor of this process for the same socket. Other
// surveys running at the same time see it among the descriptors of this process and must not
// report it as a holder.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let status = "42 (a) (b c) S 1 42 42 0 -1 4194560 100 0";
        assert_eq!(name_of_live_process(status).as_deref(), Some("a) (b c"));
    }

    #[test]
    fn kernel_threads_and_ended_processes_are_skipped() {
        assert_eq!(name_of_live_process("2 (kthreadd) S 0 0 0 0 -1 2129984 0"), None);
        assert_eq!(name_of_live_process("43 (gone) Z 1 42 42 0 -1 4194560 0"), None);
    }

    #[test]
    fn only_sockets_have_an_inode_here() {
        assert_eq!(socket_inode("socket:[31337]"), Some(31337));
        assert_eq!(socket_inode("pipe:[31337]"), None);
        assert_eq!(socket_inode("/tmp/socket:[1]"), None);
    }

    #[test]
    fn this_process_is_listed_with_its_sockets() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = all().unwrap().into_iter().find(|process| process.pid == std::process::id()).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let has = |descriptor| own.open().unwrap().sockets.iter().any(|(each, _)| *each == descriptor);
        assert!(has(descriptor));
        let lender = Lender::open(own.pid).unwrap();
        let loan = lender.lend(descriptor).unwrap();
        let lent = std::os::fd::AsRawFd::as_raw_fd(&*loan);
        assert!(!has(lent), "a borrowed socket was listed as its own");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(status in "\\PC{0,80}") {
            let _ = name_of_live_process(&status);
            let _ = socket_inode(&status);
        }
    }
}
