//! Processes and the sockets that they hold, from `/proc`, and whether a cgroup has frozen them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use mcast_sys::{NetworkId, SendAnswer, SocketOptions};

use super::tables;
use crate::{Error, ProcessState, RunState};

use crate::snapshot::{SocketOwners, UdpSocket};

/// Returns the processes that have each socket open, by the inode of the socket.
pub fn owners() -> SocketOwners {
    mcast_sys::joined::socket_owners().unwrap_or_default()
}

/// The variable that marks the environment of a program that the doctor has started, and of the processes that it starts.
pub const MARK: &str = "MCAST_DOCTOR_PROGRAM";

/// How long to wait at most for the environment of processes that become other programs.
const NEW_PROGRAM_TIME: Duration = Duration::from_secs(1);

/// Returns the running processes with a mark. Those that the program has detached from itself keep it.
pub fn marked(mark: &str) -> Vec<u32> {
    let deadline = Instant::now() + NEW_PROGRAM_TIME;
    let has_mark = |pid: &u32| mark_of(*pid, deadline).as_deref() == Some(mark);
    mcast_sys::process::ids().into_iter().flatten().filter(has_mark).collect()
}

/// Returns the mark of a process. One that becomes another program (`execve`) has no environment for a moment; this is waited
/// for, because such a process would seem to have ended.
fn mark_of(pid: u32, deadline: Instant) -> Option<String> {
    let environment = loop {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let is_known = !environment.is_empty() || !Process::read(pid)?.has_new_program;
        if is_known || Instant::now() >= deadline {
            break environment;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let prefix = format!("{MARK}=");
    let mark = environment.split(|byte| *byte == 0).find_map(|each| each.strip_prefix(prefix.as_bytes()))?;
    Some(String::from_utf8_lossy(mark).into_owned())
}

/// Returns the options of the UDP sockets of all processes that may be inspected, by the inode of the socket.
pub fn socket_options() -> BTreeMap<u64, SocketOptions> {
    mcast_sys::joined::socket_options().unwrap_or_default()
}

/// Returns what the kernel answers to a datagram that a socket of a process would send; `None` if it cannot be asked.
pub fn answer_to_send(pid: u32, inode: u64, to: SocketAddr) -> Option<SendAnswer> {
    mcast_sys::joined::answer_to_send(pid, inode, to).ok()
}

/// Returns whether a process runs, and its cgroup; `None` if it has ended.
pub fn state(pid: u32) -> Option<ProcessState> {
    let run_state = match Process::read(pid)?.state {
        'Z' | 'X' => return None,
        'T' => RunState::Stopped,
        't' => RunState::Traced,
        _ => frozen_state(pid).unwrap_or_default(),
    };
    Some(ProcessState { pid, run_state, cgroup: unified_path(pid) })
}

/// Returns the running processes among `pid`, its descendants, the members of the process group that it leads, and those
/// with the same mark.
pub fn family(pid: u32) -> Vec<u32> {
    let all: Vec<_> = mcast_sys::process::ids().into_iter().flatten().filter_map(Process::read).collect();
    let mut family = vec![pid];
    let deadline = Instant::now() + NEW_PROGRAM_TIME;
    family.extend(
        mark_of(pid, deadline).into_iter().flat_map(|mark| marked(&mark)).filter(|other| *other != pid),
    );
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
    /// Whether it has memory, but no environment yet. Kernel threads have neither.
    has_new_program: bool,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses `PID (NAME) STATE PARENT GROUP …` (proc_pid_stat(5)). The name may contain any character.
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        // The positions of the size of the memory, and of the end of the environment, after the name.
        const MEMORY: usize = 20;
        const ENVIRONMENT_END: usize = 48;
        let (_, rest) = stat.rsplit_once(')')?;
        let words: Vec<_> = rest.split_ascii_whitespace().collect();
        let state = words.first()?.chars().next()?;
        let (parent, group) = (words.get(1)?.parse().ok()?, words.get(2)?.parse().ok()?);
        let is_zero = |position: usize| words.get(position).is_none_or(|word| *word == "0");
        Some(Self {
            pid,
            parent,
            group,
            state,
            has_new_program: !is_zero(MEMORY) && is_zero(ENVIRONMENT_END),
        })
    }

    const fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Returns a process as `name (pid)`.
pub fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

/// Returns the error for a process and its family, whose sockets were not found.
pub fn not_found_error(pid: u32, family: &[u32]) -> Error {
    if let Some(other) = family.iter().find(|other| has_sockets_elsewhere(**other)) {
        return Error::OtherNamespace { name: name(*other), pid: *other };
    }
    if !matches!(fs::exists(format!("/proc/{pid}")), Ok(true)) {
        return Error::NoProgram(format!("there is no process {pid}"));
    }
    if fs::read_dir(format!("/proc/{pid}/fd")).is_err() {
        return Error::Hidden(name(pid));
    }
    let mut elsewhere = family.iter().filter_map(|each| {
        let sockets = mcast_sys::joined::udp_sockets(*each, true).ok()?;
        sockets.into_iter().next().map(|socket| (*each, socket))
    });
    match elsewhere.next() {
        Some((each, (socket, network))) => {
            Error::SocketElsewhere { program: name(each), socket, name: network.and_then(mounted_name) }
        }
        None => Error::NoProgram(format!(
            "{} has no UDP socket, and no raw socket for groups{}",
            name(pid),
            packet_sockets(family)
        )),
    }
}

/// Returns a clause on the packet sockets of processes, which receive frames; empty if they have none.
fn packet_sockets(family: &[u32]) -> String {
    let owners = owners();
    let is_own = |inode: u64| {
        owners.get(&inode).is_some_and(|all| all.iter().any(|owner| family.contains(&owner.pid)))
    };
    let table = fs::read_to_string("/proc/thread-self/net/packet").unwrap_or_default();
    let protocols: BTreeSet<_> = table
        .lines()
        .skip(1)
        .filter_map(packet_socket)
        .filter(|(_, inode)| is_own(*inode))
        .map(|(protocol, _)| format!("0x{protocol:04x}"))
        .collect();
    match protocols.into_iter().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        protocols => format!(
            "; it receives frames by packet sockets (EtherType {protocols}), which are not examined: `mcast sniff` shows whether frames arrive"
        ),
    }
}

/// Parses a line `SK REFCOUNT TYPE PROTOCOL INTERFACE RUNNING MEMORY UID INODE` of `/proc/net/packet`.
fn packet_socket(line: &str) -> Option<(u16, u64)> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    Some((u16::from_str_radix(words.get(3)?, 16).ok()?, words.get(8)?.parse().ok()?))
}

/// Returns the name under which `ip netns` lists a network namespace.
fn mounted_name(network: NetworkId) -> Option<String> {
    let names = fs::read_dir("/run/netns").ok()?.filter_map(Result::ok);
    let mut same = names.filter(|name| {
        name.metadata().is_ok_and(|each| (each.dev(), each.ino()) == (network.device, network.inode))
    });
    same.next()?.file_name().into_string().ok()
}

/// Returns the error for a port that only programs in other network namespaces have open.
pub fn elsewhere(port: u16) -> Option<Error> {
    let holders = holders_elsewhere(port);
    let names: Vec<_> = holders.iter().map(|pid| name(*pid)).collect();
    match holders.as_slice() {
        [] => None,
        [pid] => Some(Error::OtherNamespace { name: name(*pid), pid: *pid }),
        _ => Some(Error::NoProgram(format!(
            "no program in this network namespace is bound to port {port}, and several in others are: {}",
            names.join(", ")
        ))),
    }
}

/// Returns a process in each of the other network namespaces in which the port is open: one that has it open, if that can be
/// determined.
fn holders_elsewhere(port: u16) -> Vec<u32> {
    let mut known: BTreeSet<_> = network("thread-self").into_iter().collect();
    let owners = owners();
    let holder = |pid: u32| {
        // One process of each namespace shows all its sockets.
        let there = network(&pid.to_string()).filter(|network| known.insert(network.clone()))?;
        let socket = sockets_of(pid).into_iter().find(|socket| socket.local.port() == port)?;
        let mut holders = owners.get(&socket.inode).into_iter().flatten().map(|owner| owner.pid);
        Some(holders.find(|holder| network(&holder.to_string()).as_ref() == Some(&there)).unwrap_or(pid))
    };
    mcast_sys::process::ids().into_iter().flatten().filter_map(holder).collect()
}

/// Returns whether a process has UDP sockets or raw sockets in another network namespace.
fn has_sockets_elsewhere(pid: u32) -> bool {
    let there = network(&pid.to_string());
    if there.is_none() || there == network("thread-self") {
        return false;
    }
    let owners = owners();
    let is_own = |inode| owners.get(&inode).is_some_and(|all| all.iter().any(|owner| owner.pid == pid));
    let raw = mcast_sys::protocol::raw_sockets_around(pid).unwrap_or_default();
    let raw = raw.into_iter().map(|socket| socket.inode);
    sockets_of(pid).into_iter().map(|socket| socket.inode).chain(raw).any(is_own)
}

/// Returns the UDP sockets in the network namespace of a process.
fn sockets_of(pid: u32) -> Vec<UdpSocket> {
    let table = |name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    [table("udp"), table("udp6")].iter().flat_map(|table| tables::udp_sockets(table)).collect()
}

/// Returns the network namespace of a process or thread.
fn network(of: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{of}/ns/net")).ok()
}

/// Where the unified hierarchy (cgroup v2) is mounted: alone, or beside those of version 1.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Where the freezer of version 1 is mounted.
const FREEZER: &str = "/sys/fs/cgroup/freezer";

/// Returns the frozen state of a process; `None` if no cgroup has frozen it.
fn frozen_state(pid: u32) -> Option<RunState> {
    let table = cgroups(pid);
    let unified = UNIFIED.iter().find_map(|root| {
        let path = path_in(&table, "")?;
        frozen_by(Path::new(root), path, "cgroup.freeze", "1", "0")
    });
    unified.or_else(|| {
        let path = path_in(&table, "freezer")?;
        frozen_by(Path::new(FREEZER), path, "freezer.self_freezing", "1", "THAWED").map(|state| match state {
            RunState::Frozen { file, thaw } => {
                RunState::Frozen { file: file.with_file_name("freezer.state"), thaw }
            }
            other => other,
        })
    })
}

/// Returns the path of a process in the unified hierarchy.
fn unified_path(pid: u32) -> Option<String> {
    path_in(&cgroups(pid), "").map(str::to_owned)
}

fn cgroups(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

/// Returns the path in the hierarchy of a controller, from lines `NUMBER:CONTROLLERS:PATH`. The unified hierarchy lists no
/// controllers.
fn path_in<'a>(table: &'a str, controller: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|each| each == controller).then_some(path)
    })
}

/// Returns the frozen state if the cgroup or one above it is frozen. The file of the one that is decides for all below.
fn frozen_by(root: &Path, path: &str, name: &str, frozen: &str, thaw: &'static str) -> Option<RunState> {
    let own = Path::new(path.trim_start_matches('/'));
    let is_frozen = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.trim() == frozen);
    let file = own.ancestors().map(|cgroup| root.join(cgroup).join(name)).find(is_frozen)?;
    Some(RunState::Frozen { file, thaw })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn process_is_parsed_with_any_name() {
        let process = Process::parse(7, "7 (a) S 1 (b) S 3 5 0\n").unwrap();
        assert_eq!((process.parent, process.group, process.is_alive()), (3, 5, true));
        assert!(!Process::parse(7, "7 (x) Z 3 5").unwrap().is_alive());
        assert!(Process::parse(7, "7 (x) S").is_none());
    }

    #[test]
    fn process_with_memory_and_without_environment_has_a_new_program() {
        let stat = |memory: &str, environment_end: &str| {
            let words = ["5"; 17].join(" ");
            format!("7 (a) S 3 7 {words} {memory} {} {environment_end} 0", ["5"; 27].join(" "))
        };
        let has_new_program = |memory, end| Process::parse(7, &stat(memory, end)).unwrap().has_new_program;
        assert!(has_new_program("4096", "0"));
        assert!(!has_new_program("4096", "8192"));
        assert!(!has_new_program("0", "0"), "a kernel thread");
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

    #[test]
    fn line_of_a_packet_socket_is_parsed() {
        let line = "00000000b1ad2c39 3      3    88f7   2     1 0      0      24817";
        assert_eq!(packet_socket(line), Some((0x88f7, 24817)));
        assert_eq!(packet_socket("sk RefCnt"), None);
    }

    const TABLE: &str = "12:pids:/a\n3:cpu,freezer:/docker/7f\n1:name=systemd:/b\n0::/user.slice/x:y.scope\n";

    #[test]
    fn path_is_found_by_controller() {
        assert_eq!(path_in(TABLE, "freezer"), Some("/docker/7f"));
        assert_eq!(path_in(TABLE, ""), Some("/user.slice/x:y.scope"));
        assert_eq!(path_in(TABLE, "memory"), None);
    }

    #[test]
    fn cgroup_above_may_be_the_frozen_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/cgroup.freeze"), "1\n").unwrap();
        fs::write(folder.path().join("a/b/cgroup.freeze"), "0\n").unwrap();
        let state = |path| frozen_by(folder.path(), path, "cgroup.freeze", "1", "0");
        let file = folder.path().join("a/cgroup.freeze");
        assert_eq!(state("/a/b"), Some(RunState::Frozen { file, thaw: "0" }));
        assert_eq!(state("/c"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[0-9:a-z,/\\s\\PC]{0,100}") {
            let _ = path_in(&table, "freezer");
        }
    }
}
