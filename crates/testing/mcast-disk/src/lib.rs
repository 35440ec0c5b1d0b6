//! A disk and a kernel's page cache in memory: what is not synced may be lost in a crash, page by page and in any order,
//! and so may be what happened to names. Writes may be short, fail, or find the disk full; a sync that fails has written
//! some pages, and the kernel believes that it has written all of them.
//!
//! It panics if a thread panicked while it used the disk, or if a file that a test names does not exist.
//!
//! ```
//! use mcast_disk::Disk;
//! use mcast_log::{LogOptions, LogTime, Writer};
//! use mcast_stream_proto::history::HistoryContent;
//! use mcast_stream_proto::wire::{Incarnation, MessageNumber, StreamId};
//!
//! let disk = Disk::new(1);
//! let open = || Writer::open_files(disk.files(), StreamId(7), "prices", Incarnation(1), LogOptions::default());
//! let (mut log, _) = open()?;
//! log.append(LogTime(1), &[HistoryContent::Message { key: None, bytes: &b"EUR 1.08"[..] }])?;
//! disk.crash();
//! let (log, _) = open()?;
//! assert_eq!(log.next_number(), MessageNumber(1));
//! # Ok::<(), mcast_log::LogError>(())
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a simulation fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use mcast_log::{Files, Lock, LogFile};
use mcast_sim::Dice;

/// Smaller than on real systems, so that records span pages.
const PAGE: usize = 256;
/// A kernel that ends a process in the middle of a write has written up to the end of a page of its cache, which this
/// divides.
const WRITE_UNIT: usize = 4096;

/// A disk, and the kernel that writes to it.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

/// The probabilities of faults, per operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write appends less than it was asked for.
    pub short_write: f64,
    /// A write, or the truncation of a file, fails.
    pub write_error: f64,
    /// A sync fails, and the kernel forgets what it has not written.
    pub sync_error: f64,
    /// A file cannot be created, renamed or removed.
    pub name_error: f64,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What happened to names since the last sync: each change is atomic.
    changes: Vec<Vec<(String, Option<usize>)>>,
    files: Vec<Contents>,
    faults: Faults,
    free: usize,
    locked: bool,
    /// Handles of a process that is gone do nothing.
    process: u64,
    /// The process is gone when this many more operations have begun.
    remaining: Option<u64>,
    /// Whether the operation in which it dies writes whole pages.
    writes_pages: bool,
    operations: u64,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Debug)]
struct Process {
    disk: Disk,
    process: u64,
}

#[derive(Debug)]
struct Open {
    disk: Disk,
    process: u64,
    file: usize,
}

#[derive(Debug)]
struct Locked {
    disk: Disk,
    process: u64,
}

impl Disk {
    /// Returns an empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice: Dice::new(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            files: Vec::new(),
            faults: Faults::default(),
            free: usize::MAX,
            locked: false,
            process: 0,
            remaining: None,
            writes_pages: false,
            operations: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Returns the files, as a process that lives until the next [`Disk::kill`] or [`Disk::crash`] has them.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Files> {
        Arc::new(Process { disk: self.clone(), process: self.state().process })
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Sets how many more bytes the disk takes.
    pub fn set_free(&self, free: usize) {
        self.state().free = free;
    }

    /// Lets the process die in the middle of an operation, after as many others; `None`: not any more. A write ends
    /// anywhere, as in a machine that stops.
    pub fn die_after(&self, operations: Option<u64>) {
        self.state().remaining = operations;
    }

    /// Lets the process be killed in its next write, which a running kernel ends at the end of a page.
    pub fn kill_in_write(&self) {
        let mut state = self.state();
        state.remaining = Some(1);
        state.writes_pages = true;
    }

    /// Returns whether the process has died in an operation.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().remaining == Some(0)
    }

    /// Ends the process. The kernel continues.
    pub fn kill(&self) {
        let mut state = self.state();
        state.process += 1;
        state.locked = false;
        state.remaining = None;
        state.writes_pages = false;
    }

    /// Cuts the power.
    pub fn crash(&self) {
        self.kill();
        let mut state = self.state();
        let State { dice, files, changes, durable_names, .. } = &mut *state;
        // Journals keep the order of changes; other file systems do not.
        let is_journal = dice.chance(0.7);
        let kept = dice.below(changes.len() as u64 + 1) as usize;
        for (at, change) in changes.drain(..).enumerate() {
            if if is_journal { at < kept } else { dice.chance(0.5) } {
                for (name, file) in change {
                    match file {
                        Some(file) => durable_names.insert(name, file),
                        None => durable_names.remove(&name),
                    };
                }
            }
        }
        for file in files.iter_mut() {
            let (before, after) = (file.durable.len() as u64, file.cached.len() as u64);
            if !file.dirty.is_empty() || before != after {
                let length = dice.between(before.min(after), before.max(after)) as usize;
                file.durable.resize(length, 0);
            }
            let pages = std::mem::take(&mut file.dirty);
            pages.into_iter().filter(|_| dice.chance(0.5)).for_each(|page| file.write_page(page));
            file.cached = file.durable.clone();
        }
        state.names = state.durable_names.clone();
    }

    /// Changes a byte of a file, in memory and on the disk.
    pub fn damage(&self, name: &str, at: usize, change: u8) {
        let mut state = self.state();
        let file = state.names[name];
        state.files[file].cached[at] ^= change;
        if let Some(byte) = state.files[file].durable.get_mut(at) {
            *byte ^= change;
        }
    }

    /// Removes a file from the disk.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Returns the files and their lengths.
    #[must_use]
    pub fn lengths(&self) -> BTreeMap<String, usize> {
        let state = self.state();
        state.names.iter().map(|(name, file)| (name.clone(), state.files[*file].cached.len())).collect()
    }
}

impl Contents {
    /// Writes a page to the disk, as far as the file is that long there.
    fn write_page(&mut self, page: usize) {
        let start = page * PAGE;
        let end = (start + PAGE).min(self.durable.len()).min(self.cached.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.cached[start..end]);
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the process is gone")
}

fn damaged() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    /// Begins an operation; returns whether the process dies in the middle of it.
    fn begin(&mut self, process: u64) -> io::Result<bool> {
        if process != self.process || self.remaining == Some(0) {
            return Err(gone());
        }
        self.operations += 1;
        if let Some(remaining) = &mut self.remaining {
            *remaining -= 1;
        }
        Ok(self.remaining == Some(0))
    }

    /// Begins a change of names, which happens or not when the process dies.
    fn begin_change(&mut self, process: u64) -> io::Result<()> {
        let dies = self.begin(process)?;
        if self.dice.chance(self.faults.name_error) {
            return Err(damaged());
        }
        if dies && self.dice.chance(0.5) { Err(gone()) } else { Ok(()) }
    }

    fn change(&mut self, change: Vec<(String, Option<usize>)>) {
        for (name, file) in &change {
            match file {
                Some(file) => self.names.insert(name.clone(), *file),
                None => self.names.remove(name),
            };
        }
        self.changes.push(change);
    }

    fn named(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.process == self.process {
            state.locked = false;
        }
    }
}

impl Files for Process {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/log").join(name)
    }

    fn lock(&self) -> io::Result<Option<Lock>> {
        let mut state = self.disk.state();
        state.begin(self.process)?;
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Locked { disk: self.disk.clone(), process: self.process })))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut state = self.disk.state();
        state.begin_change(self.process)?;
        let file = state.files.len();
        state.files.push(Contents::default());
        state.change(vec![(name.to_owned(), Some(file))]);
        Ok(Arc::new(Open { disk: self.disk.clone(), process: self.process, file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let state = self.disk.state();
        let file = state.named(name)?;
        Ok(Arc::new(Open { disk: self.disk.clone(), process: self.process, file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_change(self.process)?;
        let file = state.named(from)?;
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_change(self.process)?;
        let file = state.named(name)?;
        state.change(vec![(name.to_owned(), None)]);
        state.free = state.free.saturating_add(state.files[file].cached.len());
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_change(self.process)?;
        let fails = state.faults.sync_error;
        if state.dice.chance(fails) {
            return Err(damaged());
        }
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }
}

impl LogFile for Open {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let dies = state.begin(self.process)?;
        let mut count = bytes.len();
        let faults = state.faults;
        if dies || state.dice.chance(faults.short_write) {
            count = state.dice.below(count as u64 + 1) as usize;
        }
        if !dies && state.dice.chance(faults.write_error) {
            return Err(damaged());
        }
        let is_full = count > state.free;
        count = count.min(state.free);
        // A disk that is full has filled whole blocks.
        if (is_full || dies && state.writes_pages) && count < bytes.len() {
            let start = state.files[self.file].cached.len();
            count = ((start + count) / WRITE_UNIT * WRITE_UNIT).saturating_sub(start);
        }
        state.free -= count;
        let file = &mut state.files[self.file];
        let start = file.cached.len();
        file.cached.extend_from_slice(&bytes[..count]);
        if count > 0 {
            file.dirty.extend(start / PAGE..=(start + count - 1) / PAGE);
        }
        if dies {
            return Err(gone());
        }
        match count {
            0 if !bytes.is_empty() && is_full => Err(io::ErrorKind::StorageFull.into()),
            0 if !bytes.is_empty() => Err(io::ErrorKind::Interrupted.into()),
            count => Ok(count),
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let file = &state.files[self.file];
        let rest = file.cached.get(offset as usize..).unwrap_or_default();
        let mut count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        if count > 1 && state.dice.chance(0.2) {
            count = 1 + state.dice.below(count as u64 - 1) as usize;
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].cached.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_change(self.process)?;
        let fails = state.faults.write_error;
        if state.dice.chance(fails) {
            return Err(damaged());
        }
        let file = &mut state.files[self.file];
        let freed = file.cached.len().saturating_sub(length as usize);
        file.cached.truncate(length as usize);
        state.free = state.free.saturating_add(freed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let dies = state.begin(self.process)?;
        let fails = dies || {
            let fails = state.faults.sync_error;
            state.dice.chance(fails)
        };
        let State { dice, files, .. } = &mut *state;
        let file = &mut files[self.file];
        if fails {
            // Some of it is written. If the process lives on, the kernel takes all of it for written.
            let length = file.cached.len();
            file.durable.resize(length, 0);
            let dirty: Vec<usize> = file.dirty.iter().copied().collect();
            for page in dirty {
                if dice.chance(0.5) {
                    file.write_page(page);
                }
                if !dies {
                    file.dirty.remove(&page);
                }
            }
            return Err(if dies { gone() } else { damaged() });
        }
        // As on real systems: only what the kernel takes for dirty is written.
        file.durable.resize(file.cached.len(), 0);
        std::mem::take(&mut file.dirty).into_iter().for_each(|page| file.write_page(page));
        Ok(())
    }
}
