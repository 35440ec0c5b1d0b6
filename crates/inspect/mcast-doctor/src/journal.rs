//! The journal of remedies that were applied, in a file: [`Journal::undo`] restores what they changed also after this process
//! was killed.
//!
//! An entry is written before its action is carried out. Only the handle of a new firewall rule and the former option of a
//! socket are known after it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_packet::gmp::GmpMessage;
use mcast_packet::{Network, Transport};
use serde::{Deserialize, Serialize};

use crate::{Action, Error, Persistence, Result, SocketAction};

/// A journal of remedies that were applied.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// A change that was made and not undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// Identifies the entry in its file.
    pub id: String,
    /// When it was made, in RFC 3339 UTC.
    pub time: String,
    /// Who made it: the name of the user, and the process that made it.
    pub by: String,
    /// What was done.
    pub action: Action,
    /// What restores the former state.
    pub undo: Vec<Action>,
    /// How long the change lasts.
    pub persistence: Persistence,
    /// The boot of this machine.
    boot: String,
    /// The network namespace.
    network: String,
}

/// A line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    Applied(JournalEntry),
    Undone { id: String },
}

/// The journals of root, and of the service `mcast-repair@NAME`.
const OF_ROOT: [&str; 2] = ["/var/lib/mcast/doctor.jsonl", "/var/lib/mcast-repair/doctor.jsonl"];

impl Journal {
    /// Returns the journal in a file. It is created with the first entry.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the journal of this user: `doctor.jsonl` in `$STATE_DIRECTORY`, in `/var/lib/mcast` for root, or in
    /// `$XDG_STATE_HOME/mcast` (by default `~/.local/state/mcast`) for others.
    #[must_use]
    pub fn here() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let of_user = || {
            let state =
                folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
            state.unwrap_or_default().join("mcast")
        };
        let of_root = || PathBuf::from("/var/lib/mcast");
        let state = folder("STATE_DIRECTORY");
        let folder = state.unwrap_or_else(|| if user() == "root" { of_root() } else { of_user() });
        Self::at(folder.join("doctor.jsonl"))
    }

    /// Returns the journals that this user may have to undo: its own, and for root that of the service
    /// `mcast-repair@NAME`.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let own = Self::here();
        let others =
            OF_ROOT.map(Self::at).into_iter().filter(|other| user() == "root" && other.path != own.path);
        let others: Vec<_> = others.collect();
        std::iter::once(own).chain(others).collect()
    }

    /// Returns its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the changes that were made and not undone, the oldest first. Those that ended when the machine was booted are
    /// omitted, and so is what a damaged file does not contain any more.
    ///
    /// # Errors
    /// [`Error::System`] if the file cannot be read.
    pub fn entries(&self) -> Result<Vec<JournalEntry>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|source| self.unreadable(source))?,
        };
        let (mut entries, boot) = (Vec::new(), boot());
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Applied(entry) => entries.push(entry),
                Line::Undone { id } => entries.retain(|entry: &JournalEntry| entry.id != id),
            }
        }
        entries.retain(|entry| entry.boot == boot || entry.persistence == Persistence::Permanent);
        Ok(entries)
    }

    /// Undoes the changes of this network namespace, the last one first, and returns them. A socket that is closed needs no undo.
    ///
    /// # Errors
    /// The first error; all other changes are undone nevertheless. What could not be undone stays in the journal.
    pub fn undo(&self, mut report: impl FnMut(&JournalEntry)) -> Result<Vec<JournalEntry>> {
        let here = network();
        let (mut undone, mut failed) = (Vec::new(), None);
        for entry in self.entries()?.into_iter().rev().filter(|entry| entry.is_reachable(&here)) {
            report(&entry);
            let mut results = entry.undo.iter().map(Action::carry_out);
            match results.find_map(|result| result.err().filter(|error| !is_over(error))) {
                Some(error) => drop(failed.get_or_insert(error)),
                None => {
                    self.mark_undone(&entry.id)?;
                    undone.push(entry);
                }
            }
        }
        self.tidy();
        failed.map_or(Ok(undone), Err)
    }

    /// Returns the changes of sockets, in the journals of this user and of root, that still hold: the process has the socket open.
    #[must_use]
    pub fn socket_changes() -> Vec<JournalEntry> {
        let own = Self::here();
        let others = OF_ROOT.map(Self::at).into_iter().filter(|other| other.path != own.path);
        let others: Vec<_> = others.collect();
        // What cannot be read lists nothing.
        let entries = |journal: Self| journal.entries().unwrap_or_default();
        let entries = std::iter::once(own).chain(others).flat_map(entries);
        entries.filter(|entry| entry.socket().is_some_and(has_open)).collect()
    }

    /// Records a change, and returns the id of its entry.
    pub(crate) fn record(
        &self,
        action: &Action,
        undo: &[Action],
        persistence: Persistence,
    ) -> Result<String> {
        let now = Timestamp::now();
        let id = format!("{}-{}", now.as_nanosecond(), std::process::id());
        let entry = JournalEntry {
            id: id.clone(),
            time: now.to_string(),
            by: format!("{}, mcast ({})", user(), std::process::id()),
            action: action.clone(),
            undo: undo.to_vec(),
            persistence,
            boot: boot(),
            network: network(),
        };
        self.append(&Line::Applied(entry))?;
        Ok(id)
    }

    pub(crate) fn mark_undone(&self, id: &str) -> Result<()> {
        self.append(&Line::Undone { id: id.to_owned() })
    }

    /// Removes the file if everything in it is undone. If it stays, it does no harm.
    pub(crate) fn tidy(&self) {
        if self.path.exists() && self.entries().is_ok_and(|entries| entries.is_empty()) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn append(&self, line: &Line) -> Result<()> {
        let written = || -> io::Result<()> {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            // The line before may have been cut off.
            let text = format!("\n{}\n", serde_json::to_string(line)?);
            let mut file: File = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        written().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::System { what: self.path.display().to_string(), source }
    }
}

impl JournalEntry {
    /// Returns whether the change can be undone from a network namespace. Files and sockets can from each.
    fn is_reachable(&self, network: &str) -> bool {
        let is_run = self.undo.iter().any(|action| matches!(action, Action::Run { .. }));
        !is_run || self.network == network
    }

    /// Returns whether the change can be undone from this network namespace.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.is_reachable(&network())
    }

    /// Returns the socket that was changed, if it was one.
    #[must_use]
    pub const fn socket(&self) -> Option<&SocketAction> {
        match &self.action {
            Action::Socket(action) => Some(action),
            _ => None,
        }
    }
}

/// Returns whether a process still has a socket open.
fn has_open(action: &SocketAction) -> bool {
    let link = PathBuf::from(format!("socket:[{}]", action.socket));
    let descriptors = fs::read_dir(format!("/proc/{}/fd", action.pid)).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == link)
}

/// Returns whether there is nothing left to undo: the program or its socket is gone, or has left the group itself.
fn is_over(error: &Error) -> bool {
    let Error::Socket { source, .. } = error else { return false };
    // ESRCH: the process has ended. EADDRNOTAVAIL: the socket is not a member any more.
    let is_gone = matches!(source.raw_os_error(), Some(3 | 99));
    is_gone || matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

/// Returns the id of this boot; empty where the system has none.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns the network namespace of this thread; empty where there are none.
fn network() -> String {
    let link = fs::read_link("/proc/thread-self/ns/net").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

/// Returns the name of this user.
fn user() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    match line.and_then(|line| line.split_whitespace().nth(1)) {
        Some("0") => "root".to_owned(),
        Some(id) => std::env::var("USER").unwrap_or_else(|_| format!("user {id}")),
        None => std::env::var("USER").unwrap_or_default(),
    }
}

/// The longest wait before a check whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The maximum number of queriers. Anyone can send queries with any source.
const MAX_QUERIERS: usize = 64;

/// When each querier was last heard, by interface and address.
type Sightings = BTreeMap<(String, IpAddr), SystemTime>;

/// A querier of IGMP or MLD, and when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerierSighting {
    /// The interface on which its queries arrive.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// When its last query arrived.
    pub last: SystemTime,
}

/// Records when queriers are heard, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct QuerierLog {
    heard: Arc<Mutex<Sightings>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl QuerierLog {
    /// Starts to capture on all interfaces that are joined by default.
    ///
    /// # Errors
    /// If the right to capture is missing, or the interfaces cannot be listed.
    pub fn start() -> Result<Self> {
        let interfaces = mcast::interfaces()?.into_iter().filter(mcast::Interface::is_joined_by_default);
        let options = CaptureOptions::on_names(interfaces.map(|interface| interface.name));
        let capture = Capture::open(options.filter(Filter::Control).all_multicast(true).outgoing(false))?;
        let (heard, is_stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (record, stopped) = (Arc::clone(&heard), Arc::clone(&is_stopped));
        let thread = Builder::new().name("queriers".into()).spawn(move || follow(capture, &record, &stopped));
        let thread =
            thread.map_err(|source| Error::Start { program: "the thread \"queriers\"".into(), source })?;
        Ok(Self { heard, is_stopped, thread: Some(thread) })
    }

    /// Returns the queriers heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<QuerierSighting> {
        let sighting = |((interface, address), last): (&(String, IpAddr), &SystemTime)| QuerierSighting {
            interface: interface.clone(),
            address: *address,
            last: *last,
        };
        lock(&self.heard).iter().map(sighting).collect()
    }
}

impl Drop for QuerierLog {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}

fn lock(heard: &Mutex<Sightings>) -> MutexGuard<'_, Sightings> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(mut capture: Capture, heard: &Mutex<Sightings>, is_stopped: &AtomicBool) {
    while !is_stopped.load(Ordering::Relaxed) {
        match capture.next(Some(POLL_INTERVAL)) {
            Ok(Some(frame)) => {
                let packet = frame.packet();
                let is_query = match packet.transport {
                    Some(Transport::Igmp(igmp)) => matches!(igmp.message, GmpMessage::Query(_)),
                    Some(Transport::Mld(mld)) => matches!(mld.message, GmpMessage::Query(_)),
                    _ => false,
                };
                if let (true, Some(Network::Ip(ip)), Some(name)) =
                    (is_query, packet.network, frame.interface_name)
                {
                    let mut heard = lock(heard);
                    let key = (name.to_owned(), ip.source);
                    if heard.len() < MAX_QUERIERS || heard.contains_key(&key) {
                        heard.insert(key, frame.time);
                    }
                }
            }
            Ok(None) => {}
            // An interface that went down may come back.
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> Action {
        Action::Write { path: path.to_owned(), text: text.into() }
    }

    #[test]
    fn what_was_applied_before_a_kill_is_undone_the_last_first() {
        let folder = tempfile::tempdir().unwrap();
        let (file, setting) = (folder.path().join("state/doctor.jsonl"), folder.path().join("setting"));
        let journal = Journal::at(&file);
        assert_eq!(journal.entries().unwrap(), []);
        journal.record(&write(&setting, "1"), &[write(&setting, "0")], Persistence::Now).unwrap();
        journal.record(&write(&setting, "2"), &[write(&setting, "1")], Persistence::Now).unwrap();
        fs::write(&setting, "2").unwrap();
        // Another process, with a line that was cut off by the kill.
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"event\":\"appl").unwrap();
        let mut reported = 0;
        let undone = Journal::at(&file).undo(|_| reported += 1).unwrap();
        assert_eq!((undone.len(), reported), (2, 2));
        assert_eq!(fs::read_to_string(&setting).unwrap(), "0");
        assert!(!file.exists());
    }

    #[test]
    fn what_ended_with_the_boot_or_belongs_to_another_network_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path().join("doctor.jsonl"));
        let command = Action::Run { program: "false".into(), args: Vec::new() };
        let entry = |boot: &str, network: &str, persistence| JournalEntry {
            id: format!("{boot}-{network}"),
            time: String::new(),
            by: String::new(),
            action: command.clone(),
            undo: vec![command.clone()],
            persistence,
            boot: boot.to_owned(),
            network: network.to_owned(),
        };
        journal.append(&Line::Applied(entry("earlier", &network(), Persistence::Now))).unwrap();
        assert_eq!(journal.entries().unwrap(), []);
        journal.append(&Line::Applied(entry(&boot(), "net:[7]", Persistence::Now))).unwrap();
        assert_eq!(journal.undo(|_| {}).unwrap(), []);
        assert_eq!(journal.entries().unwrap().len(), 1);
        journal.append(&Line::Applied(entry(&boot(), &network(), Persistence::Permanent))).unwrap();
        assert!(journal.undo(|_| {}).is_err(), "the command fails");
        assert_eq!(journal.entries().unwrap().len(), 2, "and stays");
    }
}
