//! The processes that have sockets open.

use std::collections::BTreeMap;
use std::fs;

use mcast_sys::SocketOptions;

use super::freezer;
use crate::Error;
use crate::observation::{ProcessState, RunState};
use crate::snapshot::SocketOwners;

/// Returns the processes that have each socket open, by the inode of the socket.
pub(crate) fn owners() -> SocketOwners {
    mcast_sys::joined::socket_owners().unwrap_or_default()
}

/// Returns the options of the UDP sockets of all processes that may be inspected, by the inode of the socket.
pub(crate) fn socket_options() -> BTreeMap<u64, SocketOptions> {
    mcast_sys::joined::socket_options().unwrap_or_default()
}

/// Returns whether a process runs, and its cgroup; `None` if it has ended.
pub(crate) fn state(pid: u32) -> Option<ProcessState> {
    let run_state = match Process::read(pid)?.state {
        'Z' | 'X' => return None,
        'T' => RunState::Stopped,
        't' => RunState::Traced,
        _ => freezer::state(pid).unwrap_or_default(),
    };
    Some(ProcessState { pid, run_state, cgroup: freezer::unified_path(pid) })
}

/// Returns the running processes among `pid`, its descendants, and the members of the process group that it
/// leads.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let all: Vec<_> = mcast_sys::process::ids().into_iter().flatten().filter_map(Process::read).collect();
    let mut family = vec![pid];
    // One pass is not enough, because children may have lower ids than their parents.
    loop {
        let is_new = |process: &&Process| {
            !family.contains(&process.pid) && (family.contains(&process.parent) || process.group == pid)
        };
        let new: Vec<_> = all.iter().filter(is_new).map(|process| process.pid).collect();
        if new.is_empty() {
            break;
        }
        family.extend(new);
    }
    family.retain(|pid| all.iter().any(|process| process.pid == *pid && process.is_alive()));
    family
}

/// A process as described by `/proc/PID/stat`.
struct Process {
    pid: u32,
    parent: u32,
    group: u32,
    /// The state as `ps` shows it: `R`, `S`, `T`…
    state: char,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses `PID (NAME) STATE PARENT GROUP …`. The name may contain any character.
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut words = rest.split_ascii_whitespace();
        let state = words.next()?.chars().next()?;
        let (parent, group) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { pid, parent, group, state })
    }

    const fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Returns a process as `name (pid)`.
pub(crate) fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

/// Returns the error for a process whose UDP sockets were not found.
pub(crate) fn not_found_error(pid: u32) -> Error {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    let (there, here) = (namespace(&pid.to_string()), namespace("thread-self"));
    if !matches!(fs::exists(format!("/proc/{pid}")), Ok(true)) {
        return Error::NoProgram(format!("there is no process {pid}"));
    }
    if fs::read_dir(format!("/proc/{pid}/fd")).is_err() {
        return Error::Hidden(name(pid));
    }
    if there.is_some() && there != here {
        return Error::OtherNamespace { name: name(pid), pid };
    }
    Error::NoProgram(format!("{} has no UDP socket", name(pid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn process_is_parsed_with_any_name() {
        let process = Process::parse(7, "7 (a) S 1 (b) S 3 5 0\n").unwrap();
        assert_eq!((process.parent, process.group, process.is_alive()), (3, 5, true));
        assert!(!Process::parse(7, "7 (x) Z 3 5").unwrap().is_alive());
        assert!(Process::parse(7, "7 (x) S").is_none());
    }

    #[test]
    fn family_includes_grandchildren() {
        // The process exits when its input is closed.
        let script = "exec 3<&0; cat <&3 & echo $!; wait";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let grandchild: u32 = lines.next().unwrap().unwrap().parse().unwrap();
        let family = family(child.id());
        assert!(family.contains(&child.id()) && family.contains(&grandchild), "{family:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
