//! The processes of this machine and the sockets that they have open.

use std::fs;
use std::io;
use std::path::Path;

/// A process that can have sockets open.
pub(super) struct Found {
    pub(super) pid: u32,
    /// What it calls itself; at most 15 bytes.
    pub(super) name: String,
}

/// All processes that `/proc` shows, by id, without the kernel's own threads and without those
/// that have ended: these have no descriptors.
pub(super) fn all() -> io::Result<Vec<Found>> {
    let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = names.collect();
    pids.sort_unstable();
    Ok(pids.into_iter().filter_map(process).collect())
}

fn process(pid: u32) -> Option<Found> {
    let status = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name = name_of_live_process(&String::from_utf8_lossy(&status))?;
    Some(Found { pid, name })
}

/// `PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS …`; the name may hold anything, also
/// parentheses and spaces.
fn name_of_live_process(status: &str) -> Option<String> {
    let (head, tail) = status.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut words = tail.split_ascii_whitespace();
    let state = words.next()?;
    let flags: u32 = words.nth(5)?.parse().ok()?;
    let is_kernel_thread = flags & libc::PF_KTHREAD.cast_unsigned() != 0;
    (!is_kernel_thread && !matches!(state, "Z" | "X" | "x")).then(|| name.to_owned())
}

impl Found {
    /// Its descriptors of sockets, in order, each with the socket's inode.
    pub(super) fn sockets(&self) -> io::Result<Vec<(i32, u64)>> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid))?;
        let sockets = entries.filter_map(|entry| entry.and_then(|entry| socket(&entry.path())).transpose());
        let mut sockets = sockets.collect::<io::Result<Vec<_>>>()?;
        sockets.sort_unstable();
        Ok(sockets)
    }
}

/// The descriptor and inode, if it is a socket's. To list descriptors can be allowed where to see
/// what they are is not.
fn socket(entry: &Path) -> io::Result<Option<(i32, u64)>> {
    let target = match fs::read_link(entry) {
        // Closed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        target => target?,
    };
    let descriptor = entry.file_name().and_then(|name| name.to_str()?.parse().ok());
    Ok(descriptor.zip(target.to_str().and_then(socket_inode)))
}

/// What a descriptor of a socket links to: `socket:[INODE]`.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let status = "42 (a) (b c) S 1 42 42 0 -1 4194560 100 0";
        assert_eq!(name_of_live_process(status).as_deref(), Some("a) (b c"));
    }

    #[test]
    fn kernel_threads_and_ended_processes_are_passed_over() {
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
        let own = all().unwrap().into_iter().find(|found| found.pid == std::process::id()).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        assert!(own.sockets().unwrap().iter().any(|(each, _)| *each == descriptor));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(status in "\\PC{0,80}") {
            let _ = name_of_live_process(&status);
            let _ = socket_inode(&status);
        }
    }
}
