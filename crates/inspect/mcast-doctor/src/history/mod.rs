//! The results of repeated examinations in a file of bounded size, and since when something is wrong.

mod entry;
mod timeline;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

pub use entry::{HistoryEntry, HistoryPath, HistoryQuerier, HistoryStream};
pub use timeline::{HistoryTimeline, Onset};

use crate::{FleetReport, QuerierLog, Report, Result};

/// When a file is larger, its older half is removed. At one examination per minute it lasts for weeks.
const MAX_SIZE: u64 = 4 << 20;
/// Longer lines are ignored: they are not from this program.
const MAX_LINE: u64 = 64 << 10;

/// A history that is being recorded: a file with a JSON object per examination.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: File,
    size: u64,
    timeline: HistoryTimeline,
    /// `None` without the right to capture.
    queriers: Option<QuerierLog>,
}

impl History {
    /// Continues the history in a file, or begins one.
    ///
    /// # Errors
    /// When the file cannot be opened, read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut timeline = HistoryTimeline::default();
        let is_complete = read(&file, |entry| timeline.add(&entry))?;
        if !is_complete {
            // The next line must not continue a damaged one.
            (&file).write_all(b"\n")?;
        }
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, timeline, queriers: None })
    }

    /// Starts to record queriers, too.
    ///
    /// # Errors
    /// Without the right to capture.
    pub fn watch_queriers(&mut self) -> Result<()> {
        self.queriers = Some(QuerierLog::start()?);
        Ok(())
    }

    /// Records an examination.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&mut self, report: &Report) -> io::Result<()> {
        let queriers = self.queriers.as_ref().map(QuerierLog::heard).unwrap_or_default();
        self.add(&HistoryEntry::new(report, &queriers))
    }

    /// Records an examination of a fleet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_fleet(&mut self, report: &FleetReport) -> io::Result<()> {
        self.add(&HistoryEntry::of_fleet(report))
    }

    /// Returns since when something is wrong; `None` if nothing is.
    #[must_use]
    pub fn onset(&self) -> Option<Onset> {
        self.timeline.onset()
    }

    fn add(&mut self, entry: &HistoryEntry) -> io::Result<()> {
        self.timeline.add(entry);
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
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
        // Windows does not replace a file that is open.
        self.file = shorter;
        let replaced = fs::rename(&name, &self.path);
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        replaced?;
        self.size = (text.len() - start) as u64;
        Ok(())
    }
}

impl HistoryTimeline {
    /// Reads the history in a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut timeline = Self::default();
        read(&File::open(path)?, |entry| timeline.add(&entry))?;
        Ok(timeline)
    }
}

/// Reads the lines of a history, and returns whether the last one is complete. A damaged line, such as the last one after
/// a power failure, is skipped.
fn read(file: &File, mut on_entry: impl FnMut(HistoryEntry)) -> io::Result<bool> {
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
        History::open(path).unwrap()
    }

    fn entry(minute: usize, verdict: &str) -> HistoryEntry {
        let time = format!("2026-11-21T{:02}:{:02}:00Z", minute / 60 % 24, minute % 60);
        HistoryEntry {
            time,
            verdict: verdict.into(),
            findings: vec!["x".repeat(900)],
            ..HistoryEntry::default()
        }
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
