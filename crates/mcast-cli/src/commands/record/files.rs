//! The capture files of a recording.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context;
use mcast::InterfaceIndex;
use mcast_capture::{CaptureWriter, FileError, Frame, Statistics, WriteFormat};
use mcast_packet::LinkType;

use super::Output;
use super::name::Series;
use super::rotation::Rotation;
use crate::exit::Failure;
use crate::sys;

/// The current file, and the settings for the next one.
#[derive(Debug)]
pub(super) struct Files {
    /// The names of the next files, if there are several.
    series: Option<Series>,
    rotation: Rotation,
    keep: Option<u32>,
    comment: String,
    current: Current,
}

/// A file that is being written.
#[derive(Debug)]
struct Current {
    writer: CaptureWriter,
    begun: Instant,
    begin: SystemTime,
    /// The number of interface descriptions in the file.
    interfaces: u64,
}

/// A file that is complete.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) path: PathBuf,
    /// Frames in the file.
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) begin: SystemTime,
    /// Frames that were accepted but could not be written to the file.
    pub(super) unwritten: u64,
    /// Why they could not be written.
    pub(super) failure: Option<FileError>,
}

impl Files {
    /// Opens the first file. Each file contains `comment`.
    pub(super) fn open(output: &Output, rotation: Rotation, comment: &str) -> anyhow::Result<Self> {
        if output.is_standard_output() && rotation.is_on() {
            return Err(Failure::usage("standard output cannot be rotated")
                .remedy("write to a file: -w FILE.pcapng")
                .into());
        }
        let mut series = rotation.is_on().then(|| Series::after(&output.write)).transpose()?;
        let current = match &mut series {
            Some(series) => Current::next(series, comment)?,
            None => Current::single(output, comment)?,
        };
        Ok(Self { series, rotation, keep: output.keep, comment: comment.to_owned(), current })
    }

    /// Starts the next file, and returns the completed one and warnings. Does nothing if there is only one file.
    ///
    /// # Errors
    /// If the next file cannot be started. The current file is continued then.
    pub(super) fn rotate(
        &mut self,
        lost: &[(InterfaceIndex, Statistics)],
    ) -> anyhow::Result<Option<(Complete, Vec<String>)>> {
        let Some(series) = &mut self.series else { return Ok(None) };
        self.current.writer.flush()?;
        let next = Current::next(series, &self.comment)?;
        let complete = std::mem::replace(&mut self.current, next).end(lost, false);
        let warnings = self.keep.map_or_else(Vec::new, |keep| series.delete_all_but(keep));
        Ok(Some((complete, warnings)))
    }

    /// Returns whether a new file must be started before a frame of this length, because the current one is too large
    /// or too old. A file without frames is continued.
    pub(super) fn is_due(&self, frame: usize) -> bool {
        /// The overhead of pcapng per frame, with padding.
        const AROUND: u64 = 48;
        /// The size of the statistics of an interface at the end of a file.
        const STATISTICS: u64 = 64;
        let Current { writer, begun, interfaces, .. } = &self.current;
        let more = frame as u64 + AROUND + STATISTICS * interfaces;
        writer.frames() > 0
            && (self.rotation.is_old(begun.elapsed())
                || self.rotation.is_full(writer.length_when_written(), more))
    }

    /// Returns whether there are several files.
    pub(super) fn is_series(&self) -> bool {
        self.series.is_some()
    }

    /// Returns the path of the current file.
    pub(super) fn path(&self) -> &Path {
        self.current.writer.path()
    }

    /// Describes an interface in the current file.
    pub(super) fn describe(
        &mut self,
        interface: InterfaceIndex,
        name: &str,
        link_type: LinkType,
    ) -> Result<(), FileError> {
        self.current.interfaces += 1;
        self.current.writer.describe(interface, name, link_type)
    }

    /// Writes a frame to the current file. Returns whether the frame was accepted, and the result of writing.
    pub(super) fn write(&mut self, frame: &Frame<'_>) -> (bool, Result<(), FileError>) {
        let before = self.current.writer.frames();
        let result = self.current.writer.write(frame);
        (self.current.writer.frames() > before, result)
    }

    /// Writes buffered data.
    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        self.current.writer.flush()
    }

    /// Returns the number of buffered frames and interface descriptions.
    pub(super) fn waiting(&self) -> usize {
        self.current.writer.pending()
    }

    /// Ends the last file.
    pub(super) fn end(self, lost: &[(InterfaceIndex, Statistics)]) -> Complete {
        // Pipes, for example, cannot be synchronized to a disk.
        let is_file = fs::metadata(self.current.writer.path()).is_ok_and(|found| found.is_file());
        self.current.end(lost, is_file)
    }
}

impl Current {
    fn single(output: &Output, comment: &str) -> anyhow::Result<Self> {
        let path = &output.write;
        if output.is_standard_output() {
            let file = sys::standard_output().context("cannot write to standard output")?;
            return Self::new(file, Path::new("standard output"), SystemTime::now(), comment);
        }
        let mut options = OpenOptions::new();
        options.write(true);
        // A device or a pipe is not overwritten.
        let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        match output.force || is_special {
            true => options.create(true).truncate(true),
            false => options.create_new(true),
        };
        let file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::environment(format!("{} already exists", path.display()))
                    .remedy("name another file, or overwrite it with --force")
                    .into()
            }
            _ => anyhow::Error::from(error).context(format!("cannot write {}", path.display())),
        })?;
        Self::new(file, path, SystemTime::now(), comment)
    }

    fn next(series: &mut Series, comment: &str) -> anyhow::Result<Self> {
        let begin = SystemTime::now();
        let (path, file) = series.create(begin)?;
        Self::new(file, &path, begin, comment)
    }

    fn new(file: File, path: &Path, begin: SystemTime, comment: &str) -> anyhow::Result<Self> {
        let writer = CaptureWriter::with_comment(file, path, WriteFormat::PcapNg, Some(comment))?;
        Ok(Self { writer, begun: Instant::now(), begin, interfaces: 0 })
    }

    /// Writes buffered data and the losses of each interface. Only the last file is synchronized to the disk, because
    /// frames could be lost during that time.
    fn end(mut self, lost: &[(InterfaceIndex, Statistics)], sync: bool) -> Complete {
        let result = self.writer.flush();
        let unwritten = (self.writer.pending() as u64).min(self.writer.frames());
        let result = result.and_then(|()| self.finish(lost, sync));
        Complete {
            path: self.writer.path().to_owned(),
            frames: self.writer.frames() - unwritten,
            bytes: self.writer.length(),
            begin: self.begin,
            unwritten,
            failure: result.err(),
        }
    }

    fn finish(&mut self, lost: &[(InterfaceIndex, Statistics)], sync: bool) -> Result<(), FileError> {
        for (interface, statistics) in lost {
            self.writer.write_statistics(*interface, statistics)?;
        }
        if sync { self.writer.sync() } else { self.writer.flush() }
    }
}
