//! Records frames, counts them, and reports what happens to the files.

use std::io::Write;
use std::time::Duration;

use mcast_capture::{FileErrorKind, Frame, RecordedFile, Recorder, RecorderEvent};
use mcast_terminal::{Console, Output};
use mcast_watch::live::{FrameLosses, GroupFrameKind};
use serde::Serialize;

use super::json::{FileRecord, SummaryRecord};
use super::text;
use crate::output::{InterfaceNames, write_record};
use crate::receiving::Tally;

/// A recorder, and what it has recorded.
pub(super) struct Recording<'a> {
    pub(super) recorder: Recorder,
    pub(super) counts: Counts<'a>,
    /// Whether the reader has closed the pipe, so that nothing more can be written.
    pub(super) is_reader_gone: bool,
}

/// What was recorded, and where to report it.
pub(super) struct Counts<'a> {
    pub(super) tally: Tally,
    pub(super) totals: Totals,
    json: bool,
    console: &'a Console,
    out: Output,
    names: InterfaceNames,
}

/// Counts of frames and files.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) frames: u64,
    /// The fragments among them, except first ones.
    pub(super) fragments: u64,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    /// Frames that could not be written.
    #[serde(skip)]
    pub(super) unwritten: u64,
}

impl<'a> Recording<'a> {
    pub(super) fn new(recorder: Recorder, json: bool, console: &'a Console) -> Self {
        let counts = Counts {
            tally: Tally::default(),
            totals: Totals::default(),
            json,
            console,
            out: console.output(),
            names: InterfaceNames::new(),
        };
        Self { recorder, counts, is_reader_gone: false }
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>, kind: GroupFrameKind) {
        let is_taken = self.recorder.write(frame);
        self.report();
        if !is_taken {
            self.counts.totals.unwritten += 1;
            return;
        }
        self.counts.totals.frames += 1;
        match kind {
            GroupFrameKind::Datagram(arrival) => self.counts.tally.add(&arrival),
            GroupFrameKind::Fragment => self.counts.totals.fragments += 1,
        }
    }

    /// Starts another file on request.
    pub(super) fn rotate(&mut self) {
        if !self.recorder.rotate() {
            self.counts.console.warn("there is only one file: --rotate sets when another one starts");
        }
        self.report();
    }

    /// Reports what has happened to the files.
    pub(super) fn report(&mut self) {
        let console = self.counts.console;
        while let Some(event) = self.recorder.next_event() {
            match event {
                // An error means that the reader of standard output is gone; the recording continues.
                RecorderEvent::Completed(file) => drop(self.counts.complete(&file)),
                RecorderEvent::NotDeleted(error) => console.warn(error),
                RecorderEvent::NotRotated(error) => {
                    console.warn(format_args!("{error}; continuing in {}", self.recorder.path().display()));
                }
                RecorderEvent::Stalled(error) => console
                    .warn(format_args!("{error}; buffering up to 64 MiB in memory until there is room")),
                RecorderEvent::Resumed => {
                    console.note("there is room again: everything buffered is written");
                }
                RecorderEvent::ReaderGone => self.is_reader_gone = true,
                _ => {}
            }
        }
    }

    /// Ends the last file.
    pub(super) fn end(self) -> anyhow::Result<Counts<'a>> {
        let Self { recorder, mut counts, .. } = self;
        counts.complete(&recorder.finish())?;
        Ok(counts)
    }
}

impl Counts<'_> {
    pub(super) fn print(
        &mut self,
        losses: FrameLosses,
        time: Duration,
        via: &'static str,
    ) -> anyhow::Result<()> {
        let Self { tally, totals, json, console, out, names } = self;
        if *json {
            write_record(out, "summary", &SummaryRecord::new(tally, *totals, losses, time, via, names))?;
            out.flush()?;
        }
        text::print_summary(tally, totals, losses, time, names, console);
        Ok(())
    }

    /// Counts and reports a complete file.
    fn complete(&mut self, file: &RecordedFile) -> anyhow::Result<()> {
        self.totals.files += 1;
        self.totals.file_bytes += file.bytes;
        self.totals.frames -= file.unwritten.min(self.totals.frames);
        // If the reader closed the pipe, nothing is missing.
        if file.failure.as_ref().is_none_or(|failure| failure.kind() != FileErrorKind::BrokenPipe) {
            self.totals.unwritten += file.unwritten;
        }
        text::print_file(file, self.console);
        if self.json {
            write_record(&mut self.out, "file", &FileRecord::new(file))?;
            self.out.flush()?;
        }
        Ok(())
    }
}
