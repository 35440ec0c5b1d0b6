//! Records frames into one capture file or a series of them, with names such as `NAME_00001_20260131120000.pcapng`.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use mcast_group::InterfaceIndex;
use mcast_packet::LinkType;

use super::writer::{CaptureWriter, WriteFormat};
use super::{FileError, FileErrorKind};
use crate::{CaptureStatistics, CapturedInterface, Frame};

/// Records frames into a pcapng file, or into a series of files with a maximum size or age.
///
/// A recording outlives full disks and folders that cannot be written for a while: frames are kept in memory
/// as by [`CaptureWriter`], a file that cannot be started is tried again, and [`Self::next_event`] reports
/// it. Call [`Self::flush`] whenever the capture has no frame ready, and [`Self::rotate_if_due`] about once
/// per second, so that a file also ends at its age when no frames arrive.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_capture::{Capture, CaptureOptions, Recorder, RecorderEvent, RecorderOptions};
///
/// let mut capture = Capture::open(CaptureOptions::on_name("eth0"))?;
/// // day_00001_20260131120000.pcapng and so on: one file per hour, the last 48.
/// let options = RecorderOptions::new("day.pcapng").max_age(Duration::from_secs(3600)).keep(48);
/// let mut recorder = Recorder::create(options)?;
/// recorder.describe(capture.interfaces());
/// loop {
///     match capture.next(Some(Duration::from_secs(1)))? {
///         Some(frame) => drop(recorder.write(&frame)),
///         None => recorder.flush(),
///     }
///     recorder.rotate_if_due();
///     while let Some(event) = recorder.next_event() {
///         match event {
///             RecorderEvent::Completed(file) => println!("{}: {}", file.path.display(), file.frames),
///             RecorderEvent::ReaderGone => return Ok(()),
///             event => eprintln!("{event:?}"),
///         }
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    options: RecorderOptions,
    /// The names of the next files, if there are several.
    series: Option<Series>,
    current: CurrentFile,
    /// The interfaces that each file describes at its start.
    interfaces: Vec<DescribedInterface>,
    /// Statistics that are not in a file yet.
    pending_statistics: BTreeMap<InterfaceIndex, CaptureStatistics>,
    progress: Progress,
    /// When to try again to start the next file, after a failure.
    not_before: Option<Instant>,
    events: VecDeque<RecorderEvent>,
}

/// The files of a [`Recorder`].
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    path: PathBuf,
    comment: Option<String>,
    overwrite: bool,
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
    keep: Option<u32>,
}

/// What a [`Recorder`] reports while it continues.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecorderEvent {
    /// A file of a series is complete, and the next one was started.
    Completed(RecordedFile),
    /// An old file could not be deleted.
    NotDeleted(FileError),
    /// The next file could not be started: the current one is continued, and later rotations try again.
    /// Reported once until one succeeds.
    NotRotated(FileError),
    /// Writing fails: frames are kept in memory. Reported once until [`Self::Resumed`].
    Stalled(FileError),
    /// Everything in memory could be written.
    Resumed,
    /// The reader of the pipe has closed it, so nothing more can be written.
    ReaderGone,
}

/// A file that is complete.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecordedFile {
    /// The path of the file.
    pub path: PathBuf,
    /// When it was started.
    pub begin: SystemTime,
    /// The number of frames in the file.
    pub frames: u64,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The number of frames that were accepted but could not be written.
    pub unwritten: u64,
    /// Why they could not be written.
    pub failure: Option<FileError>,
}

/// A file that is being written.
#[derive(Debug)]
struct CurrentFile {
    writer: CaptureWriter,
    started: Instant,
    begin: SystemTime,
}

#[derive(Debug)]
struct DescribedInterface {
    index: InterfaceIndex,
    name: String,
    link_type: LinkType,
}

/// Whether writing succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Flowing,
    Stalled,
    ReaderGone,
}

impl RecorderOptions {
    /// Creates options for a single file with this path, which must not exist. A device or a pipe may exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { path, comment: None, overwrite: false, max_bytes: None, max_age: None, keep: None }
    }

    /// Sets a comment that each file contains.
    #[must_use]
    pub fn comment(self, comment: impl Into<String>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }

    /// Sets whether an existing file is overwritten. Files of a series never are. Default: no.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// Starts another file before one exceeds this size in bytes; `None` sets no limit. With any limit the
    /// files are a series: `NAME.pcapng` becomes `NAME_00001_20260131120000.pcapng` and so on, with a number
    /// that continues that of earlier recordings, and the start time (UTC).
    #[must_use]
    pub fn max_bytes(self, max_bytes: impl Into<Option<u64>>) -> Self {
        Self { max_bytes: max_bytes.into(), ..self }
    }

    /// Starts another file when one has this age; `None` sets no limit. See [`Self::max_bytes`] for the names.
    #[must_use]
    pub fn max_age(self, max_age: impl Into<Option<Duration>>) -> Self {
        Self { max_age: max_age.into(), ..self }
    }

    /// Keeps at most this many files of a series, including those of earlier recordings; the oldest are
    /// deleted when a file is started, the first one included. `None`, the default, keeps all.
    #[must_use]
    pub fn keep(self, keep: impl Into<Option<u32>>) -> Self {
        Self { keep: keep.into(), ..self }
    }

    /// Opens the single file, and returns whether it is new.
    fn open(&self) -> Result<(File, bool), FileError> {
        // A device or a pipe is not overwritten.
        let is_special = fs::metadata(&self.path).is_ok_and(|found| !found.is_file());
        let opened = match File::create_new(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && (self.overwrite || is_special) => {
                OpenOptions::new().write(true).truncate(true).open(&self.path).map(|file| (file, false))
            }
            created => created.map(|file| (file, true)),
        };
        opened.map_err(|os| FileError::from_os("write", &self.path, os))
    }
}

impl Recorder {
    /// The time between attempts to start the next file.
    const RETRY_INTERVAL: Duration = Duration::from_secs(1);

    /// Opens the first file.
    ///
    /// # Errors
    /// [`FileErrorKind::AlreadyExists`], [`FileErrorKind::System`].
    pub fn create(options: RecorderOptions) -> Result<Self, FileError> {
        let is_series = options.max_bytes.is_some() || options.max_age.is_some();
        let mut series = is_series.then(|| Series::after(&options.path)).transpose()?;
        let current = match &mut series {
            Some(series) => CurrentFile::next(series, &options)?,
            None => {
                let (file, is_new) = options.open()?;
                CurrentFile::new(file, is_new, &options.path, SystemTime::now(), &options)?
            }
        };
        let mut recorder = Self::with(options, series, current);
        // Recordings may end before their first rotation, again and again.
        recorder.delete_surplus();
        Ok(recorder)
    }

    /// Records into an open file or pipe, such as standard output, which is not rotated; errors refer to it
    /// by the path of `options`.
    ///
    /// # Errors
    /// [`FileErrorKind::System`].
    pub fn from_file(file: File, options: RecorderOptions) -> Result<Self, FileError> {
        let current = CurrentFile::new(file, false, &options.path, SystemTime::now(), &options)?;
        Ok(Self::with(options, None, current))
    }

    fn with(options: RecorderOptions, series: Option<Series>, current: CurrentFile) -> Self {
        Self {
            options,
            series,
            current,
            interfaces: Vec::new(),
            pending_statistics: BTreeMap::new(),
            progress: Progress::Flowing,
            not_before: None,
            events: VecDeque::new(),
        }
    }

    /// Sets the interfaces that this file and later ones describe at their start, whether or not frames
    /// arrive there. Other interfaces are described when their first frame arrives.
    pub fn describe<'a>(&mut self, interfaces: impl IntoIterator<Item = CapturedInterface<'a>>) {
        let described = interfaces.into_iter().map(|CapturedInterface { index, name, link_type }| {
            DescribedInterface { index, name: name.to_owned(), link_type }
        });
        self.interfaces = described.collect();
        self.describe_all();
    }

    /// Records a frame, and returns whether it was accepted: written, or kept in memory until there is
    /// room.
    pub fn write(&mut self, frame: &Frame<'_>) -> bool {
        if self.is_due(frame.bytes.len()) {
            self.rotate();
        }
        let before = self.current.writer.frames();
        let result = self.current.writer.write(frame);
        self.note(result);
        self.current.writer.frames() > before
    }

    /// Adds to the statistics of an interface, which are written at the end of the current file.
    pub fn add_statistics(&mut self, interface: InterfaceIndex, more: CaptureStatistics) {
        *self.pending_statistics.entry(interface).or_default() += more;
    }

    /// Writes what is kept in memory.
    pub fn flush(&mut self) {
        if self.current.writer.pending() > 0 {
            let result = self.current.writer.flush();
            self.note(result);
        }
    }

    /// Starts another file if the current one has reached its maximum age. A file without frames is
    /// continued.
    pub fn rotate_if_due(&mut self) {
        if self.is_due(0) {
            self.rotate();
        }
    }

    /// Starts another file now, and returns whether the files are a series; otherwise it does nothing. After
    /// a failure, [`RecorderEvent::NotRotated`] is reported and the current file is continued.
    pub fn rotate(&mut self) -> bool {
        let Some(series) = &mut self.series else { return false };
        if self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return true;
        }
        let flushed = self.current.writer.flush();
        match flushed.and_then(|()| CurrentFile::next(series, &self.options)) {
            Ok(next) => {
                self.not_before = None;
                let statistics = std::mem::take(&mut self.pending_statistics);
                let complete = std::mem::replace(&mut self.current, next).end(statistics, false);
                self.events.push_back(RecorderEvent::Completed(complete));
                self.delete_surplus();
                self.describe_all();
            }
            Err(error) => {
                let earlier = self.not_before.replace(Instant::now() + Self::RETRY_INTERVAL);
                self.events.extend(earlier.is_none().then_some(RecorderEvent::NotRotated(error)));
            }
        }
        true
    }

    /// Returns what has happened since the last call, the oldest first.
    pub fn next_event(&mut self) -> Option<RecorderEvent> {
        self.events.pop_front()
    }

    /// Returns the path of the current file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.current.writer.path()
    }

    /// Ends the last file and flushes it to disk. Take the events before: later they are lost.
    #[must_use]
    pub fn finish(self) -> RecordedFile {
        // Pipes, for example, cannot be synchronized to a disk.
        let is_file = fs::metadata(self.current.writer.path()).is_ok_and(|found| found.is_file());
        self.current.end(self.pending_statistics, is_file)
    }

    /// Returns whether a new file must be started before a frame of this length, because the current one is
    /// too large or too old.
    fn is_due(&self, frame: usize) -> bool {
        /// The overhead of pcapng per frame, with padding.
        const AROUND: u64 = 48;
        /// The size of the statistics of an interface at the end of a file.
        const STATISTICS: u64 = 64;
        let CurrentFile { writer, started, .. } = &self.current;
        let length =
            || writer.length_when_written() + frame as u64 + AROUND + STATISTICS * writer.interfaces() as u64;
        self.series.is_some()
            && writer.frames() > 0
            && (self.options.max_age.is_some_and(|limit| started.elapsed() >= limit)
                || self.options.max_bytes.is_some_and(|limit| length() > limit))
    }

    /// Deletes the oldest files of the series.
    fn delete_surplus(&mut self) {
        let Some((series, keep)) = self.series.as_ref().zip(self.options.keep) else { return };
        self.events.extend(series.delete_all_but(keep).into_iter().map(RecorderEvent::NotDeleted));
    }

    fn describe_all(&mut self) {
        for DescribedInterface { index, name, link_type } in std::mem::take(&mut self.interfaces) {
            let result = self.current.writer.describe(index, &name, link_type);
            self.note(result);
            self.interfaces.push(DescribedInterface { index, name, link_type });
        }
    }

    /// Reports once that writing fails, and once that it works again.
    fn note(&mut self, result: Result<(), FileError>) {
        let (progress, event) = match result {
            Err(error) if error.kind() == FileErrorKind::BrokenPipe => {
                (Progress::ReaderGone, RecorderEvent::ReaderGone)
            }
            Err(error) => (Progress::Stalled, RecorderEvent::Stalled(error)),
            Ok(()) if self.current.writer.pending() > 0 => return,
            Ok(()) => (Progress::Flowing, RecorderEvent::Resumed),
        };
        if self.progress != progress && self.progress != Progress::ReaderGone {
            self.progress = progress;
            self.events.push_back(event);
        }
    }
}

impl CurrentFile {
    fn next(series: &mut Series, options: &RecorderOptions) -> Result<Self, FileError> {
        let begin = SystemTime::now();
        let (path, file) = series.create(begin)?;
        Self::new(file, true, &path, begin, options)
    }

    fn new(
        file: File,
        is_new: bool,
        path: &Path,
        begin: SystemTime,
        options: &RecorderOptions,
    ) -> Result<Self, FileError> {
        let comment = options.comment.as_deref();
        let writer = CaptureWriter::begin(file, path, WriteFormat::PcapNg, comment, is_new)?;
        Ok(Self { writer, started: Instant::now(), begin })
    }

    /// Writes what is kept in memory and the statistics of each interface. Only the last file is synchronized
    /// to the disk, because frames could be lost during that time.
    fn end(mut self, statistics: BTreeMap<InterfaceIndex, CaptureStatistics>, sync: bool) -> RecordedFile {
        let result = self.writer.flush();
        let unwritten = self.writer.unwritten();
        let result = result.and_then(|()| {
            for (interface, statistics) in statistics {
                self.writer.write_statistics(interface, &statistics)?;
            }
            if sync { self.writer.sync() } else { self.writer.flush() }
        });
        RecordedFile {
            path: self.writer.path().to_owned(),
            begin: self.begin,
            frames: self.writer.frames() - unwritten,
            bytes: self.writer.length(),
            unwritten,
            failure: result.err(),
        }
    }
}

/// The names of the files of one recording.
#[derive(Clone, Debug)]
pub(super) struct Series {
    folder: PathBuf,
    stem: OsString,
    extension: OsString,
    next: u64,
}

impl Series {
    /// Creates a series with names based on `path`, whose numbers follow those of existing files.
    pub(super) fn after(path: &Path) -> Result<Self, FileError> {
        let mut series = Self::of(path);
        let existing = series
            .existing()
            .map_err(|os| FileError::from_os("look for earlier files in", &series.folder, os))?;
        series.next = existing.last().map_or(1, |(number, _)| number.saturating_add(1));
        Ok(series)
    }

    /// Creates the next file, with this start time in its name.
    pub(super) fn create(&mut self, begin: SystemTime) -> Result<(PathBuf, File), FileError> {
        let path = self.path(self.next, begin);
        let file = File::create_new(&path).map_err(|os| FileError::from_os("begin", &path, os))?;
        self.next = self.next.saturating_add(1);
        Ok((path, file))
    }

    /// Deletes the oldest files beyond the limit; returns the failures.
    fn delete_all_but(&self, keep: u32) -> Vec<FileError> {
        let existing = match self.existing() {
            Ok(existing) => existing,
            Err(os) => return vec![FileError::from_os("list", &self.folder, os)],
        };
        let surplus = existing.len().saturating_sub(keep as usize);
        let surplus = existing.iter().take(surplus);
        surplus
            .filter_map(|(_, old)| Some(FileError::from_os("delete", old, fs::remove_file(old).err()?)))
            .collect()
    }

    fn of(path: &Path) -> Self {
        Self {
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
            stem: path.file_stem().unwrap_or_else(|| OsStr::new("record")).to_owned(),
            extension: path.extension().unwrap_or_else(|| OsStr::new("pcapng")).to_owned(),
            next: 1,
        }
    }

    /// Returns the path of a file with this number and start time.
    fn path(&self, number: u64, begin: SystemTime) -> PathBuf {
        // A clock outside the range of years that can be written is set wrong.
        let begin = Timestamp::try_from(begin).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut name = self.stem.clone();
        name.push(format!("_{number:05}_{}.", begin.strftime("%Y%m%d%H%M%S")));
        name.push(&self.extension);
        self.folder.join(name)
    }

    /// Returns the existing files, including those of earlier recordings, with their numbers, the oldest
    /// first.
    fn existing(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        let here = self.folder.as_os_str().is_empty();
        for entry in fs::read_dir(if here { Path::new(".") } else { &self.folder })? {
            let name = entry?.file_name();
            if let Some(number) = self.number(&name) {
                found.push((number, self.folder.join(name)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns the number in a file name; `None` if the file is not in the series.
    fn number(&self, name: &OsStr) -> Option<u64> {
        let name = name.as_encoded_bytes();
        let rest = name.strip_prefix(self.stem.as_encoded_bytes())?.strip_prefix(b"_")?;
        let rest = rest.strip_suffix(self.extension.as_encoded_bytes())?.strip_suffix(b".")?;
        let (number, begin) = std::str::from_utf8(rest).ok()?.split_once('_')?;
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_ours = number.len() >= 5 && begin.len() == 14 && is_digits(number) && is_digits(begin);
        number.parse().ok().filter(|_| is_ours)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn names_contain_number_and_time_and_are_recognized() {
        let series = Series::of(Path::new("/data/day.pcapng"));
        let path = series.path(7, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(path, Path::new("/data/day_00007_20231114221320.pcapng"));
        assert_eq!(series.number(path.file_name().unwrap()), Some(7));
        let long = series.path(1_234_567, UNIX_EPOCH);
        assert_eq!(series.number(long.file_name().unwrap()), Some(1_234_567));
    }

    #[test]
    fn other_files_are_not_in_the_series() {
        let series = Series::of(Path::new("day.pcapng"));
        for name in [
            "day.pcapng",
            "day_00007.pcapng",
            "day_7_20231114221320.pcapng",
            "day_00007_2023.pcapng",
            "day_00007_20231114221320.pcap",
            "today_00007_20231114221320.pcapng",
            "day_0000x_20231114221320.pcapng",
            "day_+0007_20231114221320.pcapng",
        ] {
            assert_eq!(series.number(OsStr::new(name)), None, "{name}");
        }
    }
}
