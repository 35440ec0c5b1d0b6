//! The files of a recording, one after the other.

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

/// The file at hand, and what is needed for the next.
#[derive(Debug)]
pub(super) struct Files {
    /// Where the next ones go, if there are to be several.
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
    /// How many it has been told of.
    interfaces: u64,
}

/// A file that is complete.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) path: PathBuf,
    /// Frames in it.
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) begin: SystemTime,
    /// Frames that were taken, but are not in the file, as there was no room.
    pub(super) unwritten: u64,
    /// Why they are not.
    pub(super) failure: Option<FileError>,
}

impl Files {
    /// Opens the first file; `comment` is said in each.
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

    /// Goes on with another file; what the complete one was is returned, and what went wrong besides.
    /// Without one, everything goes on in the file at hand.
    ///
    /// # Errors
    /// When the file at hand cannot be completed, or the next not be begun: nothing has changed then.
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

    /// Whether another file is due before a frame of this length: this one is too large, or too old. One
    /// without frames goes on.
    pub(super) fn is_due(&self, frame: usize) -> bool {
        /// What pcapng puts around a frame, and filling up.
        const AROUND: u64 = 48;
        /// The statistics of an interface at the end of a file.
        const STATISTICS: u64 = 64;
        let Current { writer, begun, interfaces, .. } = &self.current;
        let more = frame as u64 + AROUND + STATISTICS * interfaces;
        writer.frames() > 0
            && (self.rotation.is_old(begun.elapsed())
                || self.rotation.is_full(writer.length_when_written(), more))
    }

    /// Whether there are several files, one after the other.
    pub(super) fn is_series(&self) -> bool {
        self.series.is_some()
    }

    /// The path of the file at hand.
    pub(super) fn path(&self) -> &Path {
        self.current.writer.path()
    }

    /// Tells the file at hand of an interface.
    pub(super) fn describe(
        &mut self,
        interface: InterfaceIndex,
        name: &str,
        link_type: LinkType,
    ) -> Result<(), FileError> {
        self.current.interfaces += 1;
        self.current.writer.describe(interface, name, link_type)
    }

    /// Takes a frame into the file at hand; says whether it was taken, and what is wrong with the file.
    pub(super) fn write(&mut self, frame: &Frame<'_>) -> (bool, Result<(), FileError>) {
        let before = self.current.writer.frames();
        let result = self.current.writer.write(frame);
        (self.current.writer.frames() > before, result)
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        self.current.writer.flush()
    }

    /// Frames and interface descriptions that wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.current.writer.pending()
    }

    /// Ends the last file.
    pub(super) fn end(self, lost: &[(InterfaceIndex, Statistics)]) -> Complete {
        // A pipe, for example, cannot be synchronized to a disk.
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

    /// Writes what waits and what was lost on each interface. Bringing it all to the disk takes its time, in
    /// which frames that come could be lost, so that only the last file is.
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
