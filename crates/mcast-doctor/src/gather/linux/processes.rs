//! Which processes have which sockets open.

use std::collections::BTreeMap;
use std::fs;

use crate::Error;

/// The processes that have each socket open, as `name (pid)`, by the socket's number.
pub(crate) fn holders() -> BTreeMap<u64, Vec<String>> {
    let mut holders: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for pid in pids() {
        for inode in sockets_of(pid) {
            holders.entry(inode).or_default().push(name(pid));
        }
    }
    holders
}

/// The numbers of the sockets that a process has open; none where it may not be looked into.
pub(crate) fn sockets_of(pid: u32) -> Vec<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut inodes: Vec<_> = descriptors
        .flatten()
        .filter_map(|descriptor| {
            let target = fs::read_link(descriptor.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect();
    inodes.sort_unstable();
    inodes.dedup();
    inodes
}

/// A process as `name (pid)`.
pub(crate) fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Why no UDP socket of a process is seen here.
pub(crate) fn why_none(pid: u32) -> Error {
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
