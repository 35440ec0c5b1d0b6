//! The journal of remedies that were applied, in a file: [`Journal::undo`] restores what they changed also after this process
//! was killed.
//!
//! An entry is written before anything is changed, with what is there, and completed with what is there afterwards. Undoing looks
//! at each place again: only what is still as it was changed is restored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::action::{self, Action};
use crate::carrying_out::Network;
use crate::change::{self, Change, ChangeOutcome, Recorded};
use crate::{Error, Persistence, Result, SocketAction};

/// A journal of remedies that were applied.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// A remedy that was applied and not undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// Identifies the entry. Rules and interfaces that it made carry it as their mark.
    pub id: String,
    /// When it was made, in RFC 3339 UTC.
    pub time: String,
    /// Who made it: the name of the user, and the process that made it.
    pub by: String,
    /// How long the change lasts.
    pub persistence: Persistence,
    changes: Vec<Recorded>,
    /// The boot of this machine.
    boot: String,
    /// The network namespace in which the remedy was applied, and the one that it changed.
    applied_in: NetworkName,
    changed: NetworkName,
}

/// The identity of a network namespace; empty where there are none. Another one may get device and inode of one that is gone, and
/// never its cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NetworkName {
    device: u64,
    inode: u64,
    cookie: Option<u64>,
}

/// An entry of mcast before 0.2, which does not identify what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct OldJournalEntry {
    /// Identifies the entry in its file.
    pub id: String,
    /// When it was made, in RFC 3339 UTC.
    pub time: String,
    /// Who made it.
    pub by: String,
    /// What was done.
    pub action: Action,
    persistence: Persistence,
    boot: String,
}

/// What was undone of an entry.
#[derive(Debug)]
#[non_exhaustive]
pub struct UndoneEntry {
    /// The entry. If a change failed, it stays in the journal.
    pub entry: JournalEntry,
    /// What became of each of its changes, with what was changed.
    pub outcomes: Vec<(String, ChangeOutcome)>,
}

/// A line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    /// A remedy is about to be applied.
    Changing(JournalEntry),
    /// It was applied; what is there now, by change.
    Changed {
        id: String,
        changes: Vec<Recorded>,
    },
    Undone {
        id: String,
    },
    /// A line of earlier versions.
    Applied(OldJournalEntry),
}

/// How often an entry is written if other processes remove the file meanwhile.
const ATTEMPTS: usize = 100;

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

    /// Returns the remedies that were applied and not undone, the oldest first. Those that ended when the machine was booted are
    /// omitted, and so is what a damaged file does not contain any more.
    ///
    /// # Errors
    /// [`Error::System`] if the file cannot be read.
    pub fn entries(&self) -> Result<Vec<JournalEntry>> {
        Ok(self.read()?.0)
    }

    /// Returns the entries of earlier versions that have not ended. They are not undone, because they do not identify what they
    /// changed: a firewall rule was recorded by its handle, which may be that of another rule by now.
    ///
    /// # Errors
    /// [`Error::System`] if the file cannot be read.
    pub fn old_entries(&self) -> Result<Vec<OldJournalEntry>> {
        Ok(self.read()?.1)
    }

    fn read(&self) -> Result<(Vec<JournalEntry>, Vec<OldJournalEntry>)> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            text => text.map_err(|source| self.unreadable(source))?,
        };
        let (mut entries, mut old, boot) = (Vec::new(), Vec::new(), boot());
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Changing(entry) => {
                    entries.retain(|other: &JournalEntry| other.id != entry.id);
                    entries.push(entry);
                }
                Line::Changed { id, changes } => {
                    let made = entries.iter_mut().find(|entry: &&mut JournalEntry| entry.id == id);
                    made.into_iter().for_each(|entry| entry.changes.clone_from(&changes));
                }
                Line::Undone { id } => {
                    entries.retain(|entry| entry.id != id);
                    old.retain(|entry: &OldJournalEntry| entry.id != id);
                }
                Line::Applied(entry) => old.push(entry),
            }
        }
        entries.retain(|entry| entry.boot == boot || entry.persistence == Persistence::Permanent);
        old.retain(|entry| entry.boot == boot || entry.persistence == Persistence::Permanent);
        Ok((entries, old))
    }

    /// Undoes what was applied in this network namespace, or changed it, the last remedy first, and returns what became of each
    /// change. What is gone counts as undone, and what somebody has changed since is left alone.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Write`] if the journal cannot be read or written. A change that could not be undone is an
    /// outcome; its entry stays in the journal.
    pub fn undo(&self, mut report: impl FnMut(&UndoneEntry)) -> Result<Vec<UndoneEntry>> {
        let mut undone = Vec::new();
        for entry in self.entries()?.into_iter().rev().filter(JournalEntry::is_here) {
            let done = UndoneEntry { outcomes: entry.revert(), entry };
            report(&done);
            if done.is_settled() {
                self.mark_undone(&done.entry.id)?;
            }
            undone.push(done);
        }
        self.tidy();
        Ok(undone)
    }

    /// Returns the remedies in the journals of this user and of root that changed a socket which its process still has open.
    #[must_use]
    pub fn socket_changes() -> Vec<JournalEntry> {
        let own = Self::here();
        let others = OF_ROOT.map(Self::at).into_iter().filter(|other| other.path != own.path);
        let others: Vec<_> = others.collect();
        // What cannot be read lists nothing.
        let entries = |journal: Self| journal.entries().unwrap_or_default();
        let entries = std::iter::once(own).chain(others).flat_map(entries);
        entries.filter(|entry| entry.sockets().any(has_open)).collect()
    }

    /// Records changes that are about to be made in a network namespace.
    pub(crate) fn record(
        &self,
        id: &str,
        changes: &[Recorded],
        persistence: Persistence,
        network: Network,
    ) -> Result<()> {
        let entry = JournalEntry {
            id: id.to_owned(),
            time: Timestamp::now().to_string(),
            by: format!("{}, mcast ({})", user(), std::process::id()),
            persistence,
            changes: changes.to_vec(),
            boot: boot(),
            applied_in: NetworkName::of(Network::Own),
            changed: NetworkName::of(network),
        };
        self.append(&Line::Changing(entry))
    }

    /// Records what is there after the changes.
    pub(crate) fn complete(&self, id: &str, changes: &[Recorded]) -> Result<()> {
        self.append(&Line::Changed { id: id.to_owned(), changes: changes.to_vec() })
    }

    pub(crate) fn mark_undone(&self, id: &str) -> Result<()> {
        self.append(&Line::Undone { id: id.to_owned() })
    }

    /// Removes the file if everything in it is undone. If it stays, it does no harm.
    pub(crate) fn tidy(&self) {
        let is_over =
            |journal: &Self| journal.read().is_ok_and(|(entries, old)| entries.is_empty() && old.is_empty());
        if !self.path.exists() || !is_over(self) {
            return;
        }
        // Another process may have added an entry meanwhile: it is moved back.
        let aside = Self::at(self.path.with_extension(format!("{}.old", new_id())));
        if fs::rename(&self.path, &aside.path).is_err() {
            return;
        }
        let is_restored = is_over(&aside) || {
            let text = fs::read_to_string(&aside.path).unwrap_or_default();
            self.append_text(&text).is_ok()
        };
        if is_restored {
            let _ = fs::remove_file(&aside.path);
        }
    }

    fn append(&self, line: &Line) -> Result<()> {
        let written = || -> io::Result<()> {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            // The line before may have been cut off.
            let text = format!("\n{}\n", serde_json::to_string(line)?);
            // Another process may have removed the file after it was opened. An entry that is there twice does no harm.
            for _ in 0..ATTEMPTS {
                self.append_text(&text)?;
                if fs::read_to_string(&self.path).is_ok_and(|all| all.contains(text.trim())) {
                    return Ok(());
                }
            }
            Err(io::Error::other("another process removes it"))
        };
        written().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    fn append_text(&self, text: &str) -> io::Result<()> {
        let mut file: File = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::System { what: self.path.display().to_string(), source }
    }
}

impl JournalEntry {
    /// Returns whether the remedy was applied in this network namespace, or changed it.
    #[must_use]
    pub fn is_here(&self) -> bool {
        let here = NetworkName::of(Network::Own);
        self.applied_in == here || self.changed == here
    }

    /// Returns the sockets that were changed.
    pub fn sockets(&self) -> impl Iterator<Item = &SocketAction> {
        self.changes.iter().filter_map(|each| match &each.change {
            Change::Socket(action) => Some(action),
            _ => None,
        })
    }

    /// Returns what was done, as one line for this system's shell.
    #[must_use]
    pub fn command(&self) -> String {
        let changes: Vec<_> = self.changes.iter().map(|each| each.change.clone()).collect();
        action::command_line(&change::actions(&changes))
    }

    fn revert(&self) -> Vec<(String, ChangeOutcome)> {
        let network = self.network();
        let outcomes = match network {
            Some(network) => change::revert(&self.changes, network),
            None => self.changes.iter().map(|_| ChangeOutcome::Failed(Error::NetworkGone)).collect(),
        };
        self.changes.iter().map(|each| each.change.place()).zip(outcomes).collect()
    }

    /// Returns the network namespace that was changed: this one, or that of a process, as only a process gives access to it.
    fn network(&self) -> Option<Network> {
        if self.changed == NetworkName::of(Network::Own) {
            return Some(Network::Own);
        }
        let pids = mcast_sys::process::ids().into_iter().flatten();
        pids.map(Network::Of).find(|network| NetworkName::of(*network) == self.changed)
    }
}

impl UndoneEntry {
    /// Returns whether nothing is left to be undone.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.outcomes.iter().any(|(_, outcome)| matches!(outcome, ChangeOutcome::Failed(_)))
    }
}

/// Returns whether a process still has a socket open.
fn has_open(action: &SocketAction) -> bool {
    let link = PathBuf::from(format!("socket:[{}]", action.socket));
    let descriptors = fs::read_dir(format!("/proc/{}/fd", action.pid)).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == link)
}

/// Returns an identifier that no other change has: it is also a word for firewalls.
pub(crate) fn new_id() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("mcast-{}-{}-{number}", Timestamp::now().as_nanosecond(), std::process::id())
}

/// Returns the id of this boot; empty where the system has none.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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

impl NetworkName {
    fn of(network: Network) -> Self {
        let id = match network {
            Network::Own => mcast_sys::process::network(),
            Network::Of(pid) => mcast_sys::process::network_of(pid),
        };
        id.map_or_else(Self::default, |id| Self { device: id.device, inode: id.inode, cookie: id.cookie })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;

    fn write(path: &Path, before: &str, text: &str) -> Vec<Recorded> {
        let file = |text: &str| Change::File { path: path.to_owned(), text: Some(text.into()) };
        vec![Recorded::new(file(text), Some(file(before)))]
    }

    fn record(journal: &Journal, id: &str, changes: &[Recorded]) {
        journal.record(id, changes, Persistence::Now, Network::Own).unwrap();
    }

    #[test]
    fn what_was_applied_before_a_kill_is_undone_the_last_first() {
        let folder = tempfile::tempdir().unwrap();
        let (file, setting) = (folder.path().join("state/doctor.jsonl"), folder.path().join("setting"));
        let journal = Journal::at(&file);
        assert_eq!(journal.entries().unwrap(), []);
        record(&journal, "1", &write(&setting, "0", "1"));
        record(&journal, "2", &write(&setting, "1", "2"));
        fs::write(&setting, "2").unwrap();
        // Another process, with a line that was cut off by the kill.
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"event\":\"chan").unwrap();
        let mut reported = 0;
        let undone = Journal::at(&file).undo(|_| reported += 1).unwrap();
        assert_eq!((undone.len(), reported), (2, 2));
        assert_eq!(fs::read_to_string(&setting).unwrap(), "0");
        assert!(!file.exists());
    }

    #[test]
    fn what_somebody_has_changed_since_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let setting = folder.path().join("setting");
        let journal = Journal::at(folder.path().join("doctor.jsonl"));
        record(&journal, "1", &write(&setting, "0", "1"));
        fs::write(&setting, "administrator").unwrap();
        let undone = journal.undo(|_| {}).unwrap();
        assert!(matches!(&undone[0].outcomes[..], [(_, ChangeOutcome::LeftAlone(_))]), "{undone:?}");
        assert_eq!(fs::read_to_string(&setting).unwrap(), "administrator");
        assert_eq!(journal.entries().unwrap(), [], "it is not undone later, either");
    }

    #[test]
    fn what_is_gone_or_was_never_made_counts_as_undone() {
        let folder = tempfile::tempdir().unwrap();
        let setting = folder.path().join("setting");
        let journal = Journal::at(folder.path().join("doctor.jsonl"));
        record(&journal, "1", &write(&setting, "0", "1"));
        fs::write(&setting, "0").unwrap();
        let undone = journal.undo(|_| {}).unwrap();
        assert!(matches!(&undone[0].outcomes[..], [(_, ChangeOutcome::Gone)]), "{undone:?}");
        assert_eq!(journal.undo(|_| {}).unwrap().len(), 0);
    }

    #[test]
    fn what_ended_with_the_boot_or_belongs_to_another_network_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path().join("doctor.jsonl"));
        let failing =
            Change::Command { run: Action::of("false", ["x"]), undo: Some(Action::of("false", ["y"])) };
        let here = NetworkName::of(Network::Own);
        let entry = |id: &str, boot: &str, network: &NetworkName, persistence| JournalEntry {
            id: id.to_owned(),
            time: String::new(),
            by: String::new(),
            persistence,
            changes: vec![Recorded::new(failing.clone(), None)],
            boot: boot.to_owned(),
            applied_in: network.clone(),
            changed: network.clone(),
        };
        journal.append(&Line::Changing(entry("1", "earlier", &here, Persistence::Now))).unwrap();
        assert_eq!(journal.entries().unwrap(), []);
        // A namespace that has got the inode of one that is gone has another cookie.
        let reused =
            NetworkName { cookie: here.cookie.map(|cookie| cookie + 1), inode: here.inode + 1, ..here };
        journal.append(&Line::Changing(entry("2", &boot(), &reused, Persistence::Now))).unwrap();
        assert_eq!(journal.undo(|_| {}).unwrap().len(), 0);
        assert_eq!(journal.entries().unwrap().len(), 1);
        journal.append(&Line::Changing(entry("3", &boot(), &here, Persistence::Permanent))).unwrap();
        let undone = journal.undo(|_| {}).unwrap();
        assert!(matches!(&undone[..], [entry] if !entry.is_settled()), "the command fails");
        assert_eq!(journal.entries().unwrap().len(), 2, "and stays");
    }

    /// It recorded a firewall rule by its handle.
    #[test]
    fn entry_of_an_earlier_version_is_listed_and_not_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doctor.jsonl");
        let boot = boot();
        let line = r#"{"event":"applied","id":"7-1","time":"","by":"root","action":{"program":"nft","args":["insert"]},"undo":[{"program":"false","args":[]}],"persistence":"until-reboot","boot":"BOOT","network":"net:[7]"}"#;
        fs::write(&path, line.replace("BOOT", &boot)).unwrap();
        let journal = Journal::at(&path);
        assert_eq!(journal.undo(|_| {}).unwrap().len(), 0);
        assert_eq!(journal.old_entries().unwrap().len(), 1);
    }

    #[test]
    fn entry_that_another_process_adds_while_the_file_is_removed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path().join("doctor.jsonl"));
        let setting = folder.path().join("setting");
        let adding = |name: &str| {
            for number in 0..50 {
                let id = format!("{name}-{number}");
                record(&journal, &id, &write(&setting, "0", "1"));
                let is_there = || journal.entries().unwrap().iter().any(|entry| entry.id == id);
                let begin = std::time::Instant::now();
                // For a moment, the file may be moved aside.
                while !is_there() {
                    assert!(begin.elapsed().as_secs() < 10, "{id} is lost");
                }
                journal.mark_undone(&id).unwrap();
                journal.tidy();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| adding("a"));
            adding("b");
        });
    }
}
