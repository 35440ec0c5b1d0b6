//! `--journal`: the results of `--watch` in a file of bounded size, and since when something is wrong.

mod entry;
mod timeline;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use mcast_doctor::{QuerierLog, Report};
use serde::Serialize;

use self::entry::{Entry, Querier, Stream};
use self::timeline::{Onset, Timeline, date_and_time};
use crate::console::{Console, Output};
use crate::exit::Outcome;
use crate::output::write_record;

/// When a file is larger, its older half is removed. At one examination per minute it lasts for weeks.
const MAX_SIZE: u64 = 4 << 20;
/// Longer lines are ignored: they are not from this program.
const MAX_LINE: u64 = 64 << 10;

/// A history that is being recorded.
pub(super) struct History {
    path: PathBuf,
    file: File,
    size: u64,
    timeline: Timeline,
    /// `None` without the right to capture.
    queriers: Option<QuerierLog>,
}

/// `schemas/doctor-since.json`, without the event.
#[derive(Serialize)]
struct OnsetRecord<'a> {
    since: String,
    healthy_until: Option<String>,
    stopped: Vec<Stopped<'a>>,
    queriers: &'a [Querier],
}

#[derive(Serialize)]
struct Stopped<'a> {
    #[serde(flatten)]
    stream: &'a Stream,
    last_heard: String,
}

impl History {
    /// Continues the history in a file, or begins one.
    pub(super) fn open(path: &Path, console: &Console) -> anyhow::Result<Self> {
        let failed = || format!("cannot record a history in {}", path.display());
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).with_context(failed)?;
        let mut timeline = Timeline::default();
        let is_complete = read(&file, |entry| timeline.add(&entry)).with_context(failed)?;
        if !is_complete {
            // The next line must not continue a damaged one.
            (&file).write_all(b"\n").with_context(failed)?;
        }
        let size = file.metadata().with_context(failed)?.len();
        let queriers = QuerierLog::start();
        if let Err(error) = &queriers {
            console.note(format_args!("the history does not contain queriers: {error}"));
        }
        Ok(Self { path: path.to_owned(), file, size, timeline, queriers: queriers.ok() })
    }

    /// Records an examination.
    pub(super) fn record(&mut self, report: &Report) -> io::Result<()> {
        let queriers = self.queriers.as_ref().map(QuerierLog::heard).unwrap_or_default();
        self.add(&Entry::new(report, &queriers))
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.timeline.add(entry);
        let mut line = Vec::new();
        write_record(&mut line, "history", entry)?;
        self.file.write_all(&line)?;
        self.size += line.len() as u64;
        if self.size > MAX_SIZE { self.shorten() } else { Ok(()) }
    }

    /// Removes the older half of the file. The new file, with the same permissions, replaces the old one once it is on the
    /// disk, so that neither a crash nor a power failure leaves half of it.
    fn shorten(&mut self) -> io::Result<()> {
        let text = fs::read(&self.path)?;
        let half = text.len() / 2;
        let start =
            text[half..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| half + end + 1);
        let mut name = OsString::from(&self.path);
        name.push(".new");
        let mut shorter = File::create(&name)?;
        shorter.set_permissions(self.file.metadata()?.permissions())?;
        shorter.write_all(&text[start..])?;
        shorter.sync_all()?;
        fs::rename(&name, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.size = (text.len() - start) as u64;
        Ok(())
    }

    /// Writes since when something is wrong, if anything is.
    pub(super) fn write_onset(&self, is_json: bool, out: &mut Output) -> io::Result<()> {
        match self.timeline.onset() {
            Some(onset) => write_onset(&onset, is_json, out),
            None => Ok(()),
        }
    }
}

/// Prints the changes of a history, and since when something is wrong.
pub(super) fn show(path: &Path, is_json: bool, console: &Console) -> anyhow::Result<Outcome> {
    let failed = || format!("cannot read the history in {}", path.display());
    let mut timeline = Timeline::default();
    read(&File::open(path).with_context(failed)?, |entry| timeline.add(&entry)).with_context(failed)?;
    let mut out = console.output();
    for entry in timeline.changes() {
        write_change(entry, is_json, console, &mut out)?;
    }
    let onset = timeline.onset();
    if let Some(onset) = &onset {
        write_onset(onset, is_json, &mut out)?;
    }
    out.flush()?;
    if timeline.changes().next().is_none() {
        console.note("the history is empty");
        return Ok(Outcome::Undecided);
    }
    Ok(Outcome::of(onset.is_none()))
}

fn write_change(entry: &Entry, is_json: bool, console: &Console, out: &mut Output) -> io::Result<()> {
    if is_json {
        return write_record(out, "history", entry);
    }
    let dim = console.palette().dim;
    let time = entry.timestamp().map(date_and_time).unwrap_or_default();
    let findings = super::text::safe(&entry.findings.join("; "));
    writeln!(out, "{dim}{time}{dim:#}  {:<8}  {findings}", super::text::safe(&entry.verdict))
}

fn write_onset(onset: &Onset, is_json: bool, out: &mut Output) -> io::Result<()> {
    if !is_json {
        return writeln!(out, "{}", super::text::safe(&onset.to_string()));
    }
    let stopped = onset.stopped.iter().map(|(stream, last)| Stopped { stream, last_heard: last.to_string() });
    let record = OnsetRecord {
        since: onset.since.to_string(),
        healthy_until: onset.healthy_until.map(|until| until.to_string()),
        stopped: stopped.collect(),
        queriers: &onset.queriers,
    };
    write_record(out, "since", &record)
}

/// Reads the lines of a history, and returns whether the last one is complete. A damaged line, such as the last one after
/// a power failure, is skipped.
fn read(file: &File, mut on_entry: impl FnMut(Entry)) -> io::Result<bool> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut is_complete = true;
    loop {
        line.clear();
        let mut limited = io::Read::take(&mut reader, MAX_LINE);
        if limited.read_until(b'\n', &mut line)? == 0 {
            return Ok(is_complete);
        }
        is_complete = line.ends_with(b"\n");
        if let Ok(entry) = serde_json::from_slice(&line) {
            on_entry(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(path: &Path) -> History {
        History { queriers: None, ..open(path) }
    }

    fn open(path: &Path) -> History {
        History::open(path, &Console::new(true, false)).unwrap()
    }

    fn entry(minute: usize, verdict: &str) -> Entry {
        let time = format!("2026-11-21T{:02}:{:02}:00Z", minute / 60 % 24, minute % 60);
        Entry { time, verdict: verdict.into(), findings: vec!["x".repeat(900)], ..Entry::default() }
    }

    #[test]
    fn a_file_is_continued_and_keeps_a_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut recorded = history(&path);
        for minute in 0..6_000 {
            recorded.add(&entry(minute, "healthy")).unwrap();
        }
        recorded.add(&entry(6_000 % 1_440, "faults")).unwrap();
        let size = fs::metadata(&path).unwrap().len();
        assert!(size > MAX_SIZE / 4 && size <= MAX_SIZE && size == recorded.size, "{size}");
        assert!(!folder.path().join("history.new").exists());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().all(|line| line.starts_with("{\"event\":\"history\"")));
        assert!(history(&path).timeline.onset().is_some());
    }

    #[test]
    fn damaged_lines_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        history(&path).add(&entry(1, "faults")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\xff\xfe\n{\"event\":\"history\",\"ti").unwrap();
        let mut continued = history(&path);
        assert_eq!(continued.timeline.changes().count(), 1);
        continued.add(&entry(2, "healthy")).unwrap();
        assert_eq!(history(&path).timeline.changes().count(), 2);
    }

    #[test]
    #[cfg(unix)]
    fn a_shortened_file_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut recorded = history(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        recorded.add(&entry(1, "healthy")).unwrap();
        recorded.shorten().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
