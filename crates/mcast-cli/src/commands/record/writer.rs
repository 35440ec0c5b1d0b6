//! Writes frames, counts those that could not be written, and starts new files.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use mcast::InterfaceIndex;
use mcast_capture::{FileError, FileErrorKind, Frame, Statistics};

use super::files::{Complete, Files};
use super::report::{FileRecord, Summary, Totals};
use super::source::{CapturedInterface, RecordedFrame};
use super::stream::FrameKind;
use crate::console::{Console, Output};
use crate::output::{InterfaceNames, bytes, count_of, write_json};
use crate::receiving::Tally;

/// The time between attempts to start the next file.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The files, and the counts of their content.
pub(super) struct FrameWriter<'a> {
    files: Files,
    json: bool,
    console: &'a Console,
    out: Output,
    tally: Tally,
    totals: Totals,
    names: InterfaceNames,
    interfaces: Vec<CapturedInterface>,
    /// The interfaces described in the current file.
    described: HashSet<InterfaceIndex>,
    /// Statistics that are not in a file yet.
    pending_statistics: BTreeMap<InterfaceIndex, Statistics>,
    progress: Progress,
    /// When to try again to start the next file, after a failure.
    not_before: Option<Instant>,
}

/// Whether writing succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Flowing,
    /// Writing fails for now.
    Stuck,
    /// The reader of the pipe has closed it.
    ReaderGone,
}

impl<'a> FrameWriter<'a> {
    pub(super) fn new(files: Files, json: bool, console: &'a Console) -> Self {
        Self {
            files,
            json,
            console,
            out: console.output(),
            tally: Tally::default(),
            totals: Totals::default(),
            names: InterfaceNames::new(),
            interfaces: Vec::new(),
            described: HashSet::new(),
            pending_statistics: BTreeMap::new(),
            progress: Progress::Flowing,
            not_before: None,
        }
    }

    /// Adds interfaces whose frames will be written.
    pub(super) fn describe(&mut self, interfaces: &[CapturedInterface]) {
        self.interfaces = interfaces.to_vec();
        self.described.clear();
        for interface in interfaces {
            let result = self.files.describe(interface.index, &interface.name, interface.link_type);
            self.described.insert(interface.index);
            self.note_result(result);
        }
    }

    pub(super) fn take(&mut self, found: &RecordedFrame<'_>) {
        let RecordedFrame { frame, piece } = found;
        if self.files.is_due(frame.bytes.len()) {
            self.rotate();
        }
        self.describe_one(frame);
        let (is_taken, result) = self.files.write(frame);
        self.note_result(result);
        if !is_taken {
            self.totals.unwritten += 1;
            return;
        }
        self.totals.frames += 1;
        match piece {
            FrameKind::Datagram(arrival) => self.tally.add(arrival),
            FrameKind::Fragment => self.totals.fragments += 1,
        }
    }

    /// Writes buffered data.
    pub(super) fn flush(&mut self) {
        if self.files.waiting() > 0 {
            let result = self.files.flush();
            self.note_result(result);
        }
    }

    /// Adds statistics, which are written at the end of the file.
    pub(super) fn add_statistics(&mut self, lost: Vec<(InterfaceIndex, Statistics)>) {
        for (interface, more) in lost {
            let sum = self.pending_statistics.entry(interface).or_default();
            sum.frames += more.frames;
            sum.dropped += more.dropped;
            sum.unreadable += more.unreadable;
        }
    }

    pub(super) fn rotate_if_old(&mut self) {
        if self.files.is_due(0) {
            self.rotate();
        }
    }

    /// Starts another file. If that fails, the current file is continued.
    pub(super) fn rotate(&mut self) {
        if !self.files.is_series() {
            self.console.warn("there is only one file: --rotate sets when another one starts");
            return;
        }
        if self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return;
        }
        let pending_statistics: Vec<_> =
            self.pending_statistics.iter().map(|(interface, lost)| (*interface, *lost)).collect();
        match self.files.rotate(&pending_statistics) {
            Ok(None) => {}
            Ok(Some((complete, warnings))) => {
                self.not_before = None;
                self.pending_statistics.clear();
                self.complete(&complete);
                warnings.iter().for_each(|warning| self.console.warn(warning));
                let interfaces = std::mem::take(&mut self.interfaces);
                self.describe(&interfaces);
            }
            Err(error) => {
                if self.not_before.is_none() {
                    self.console
                        .warn(format_args!("{error:#}; continuing in {}", self.files.path().display()));
                }
                self.not_before = Instant::now().checked_add(RETRY_INTERVAL);
            }
        }
    }

    /// Returns whether the reader has closed the pipe, so that nothing more can be written.
    pub(super) fn is_reader_gone(&self) -> bool {
        self.progress == Progress::ReaderGone
    }

    /// Returns the number of recorded datagrams.
    pub(super) fn datagrams(&self) -> u64 {
        self.tally.datagrams()
    }

    pub(super) fn path(&self) -> &Path {
        self.files.path()
    }

    /// Ends the last file.
    pub(super) fn end(self) -> anyhow::Result<Summary<'a>> {
        let Self { files, pending_statistics, mut totals, tally, names, console, json, mut out, .. } = self;
        let pending_statistics: Vec<_> = pending_statistics.into_iter().collect();
        let complete = files.end(&pending_statistics);
        let reported = report_complete(&complete, &mut totals, json, &mut out, console);
        reported?;
        Ok(Summary { totals, tally, names, console, json, out })
    }

    /// Counts and reports a complete file.
    fn complete(&mut self, complete: &Complete) {
        // An error means that the reader of standard output is gone; the recording continues.
        let _ = report_complete(complete, &mut self.totals, self.json, &mut self.out, self.console);
    }

    /// Describes an interface when its first frame arrives. With sockets it is not known before.
    fn describe_one(&mut self, frame: &Frame<'_>) {
        if self.described.insert(frame.interface) {
            let name = self.names.of(frame.interface);
            let result = self.files.describe(frame.interface, &name, frame.link_type);
            self.note_result(result);
        }
    }

    /// Reports once that writing fails, and once that it works again.
    fn note_result(&mut self, result: Result<(), FileError>) {
        match result {
            Err(error) if error.kind() == FileErrorKind::BrokenPipe => self.progress = Progress::ReaderGone,
            Err(error) if self.progress == Progress::Flowing => {
                self.progress = Progress::Stuck;
                self.console.warn(format_args!(
                    "{error}; buffering up to 64 MiB in memory until there is \
                    room"
                ));
            }
            Ok(()) if self.progress == Progress::Stuck && self.files.waiting() == 0 => {
                self.progress = Progress::Flowing;
                self.console.note("there is room again: everything buffered is written");
            }
            _ => {}
        }
    }
}

fn report_complete(
    complete: &Complete,
    totals: &mut Totals,
    json: bool,
    out: &mut Output,
    console: &Console,
) -> anyhow::Result<()> {
    totals.files += 1;
    totals.file_bytes += complete.bytes;
    totals.frames -= complete.unwritten.min(totals.frames);
    match &complete.failure {
        // The reader closed the pipe, so nothing is missing.
        Some(failure) if failure.kind() == FileErrorKind::BrokenPipe => console.note(failure),
        Some(failure) => {
            totals.unwritten += complete.unwritten;
            console.error(failure);
        }
        None => totals.unwritten += complete.unwritten,
    }
    console.note(format_args!(
        "{}: {}, {}",
        complete.path.display(),
        count_of(complete.frames, "frame"),
        bytes(complete.bytes)
    ));
    if json {
        write_json(out, &FileRecord::new(complete))?;
        out.flush()?;
    }
    Ok(())
}
