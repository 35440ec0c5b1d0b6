//! Records frames, counts them, and maintains files and interfaces in between.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Wire, WireStatus};
use mcast_capture::{ErrorKind, FileErrorKind, Frame, RecordedFile, Recorder, RecorderEvent};
use mcast_terminal::{Console, Output};
use mcast_watch::live::{
    FrameLosses, GroupFrameKind, GroupFrames, GroupFramesOptions, LiveError, NextGroupFrame, SocketFrames,
    WireFrames,
};
use serde::Serialize;

use super::{FileRecord, RecordPlan, SummaryRecord, Via};
use crate::arguments::{Goal, Limits, parse_duration, parse_size};
use crate::commands::record;
use crate::exit::{self, Outcome};
use crate::interrupt::{Hangup, Interrupt, Service};
use crate::output::{InterfaceNames, write_record};
use crate::receiving::{SilentInterfaces, Tally, WireNotes, print_buffer, print_memberships};
use crate::session::{Control, End, SessionSteps, Step};

/// The silence after which buffered frames are written.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval of checks for changed interfaces and losses.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The state of `mcast record`.
pub(super) struct Session<'a> {
    console: &'a Console,
    kind: &'static SourceKind,
    source: Box<dyn GroupFrames>,
    wire: WireNotes,
    recording: Recording<'a>,
    buffer: Option<usize>,
    /// Whether a frame may not be in the file yet.
    is_unflushed: bool,
    last_check: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        plan: &RecordPlan<'a>,
        kind: &'static SourceKind,
        source: Box<dyn GroupFrames>,
        recorder: Recorder,
        console: &'a Console,
    ) -> Self {
        Self {
            recording: Recording::new(recorder, plan.json, console),
            buffer: plan.reception.buffer_size,
            console,
            kind,
            wire: WireNotes::default(),
            source,
            is_unflushed: true,
            last_check: Instant::now(),
        }
    }

    pub(super) fn run(mut self, limits: &Limits, interrupt: Interrupt) -> anyhow::Result<Outcome> {
        let (start, hangup) = (Instant::now(), Hangup::catch()?);
        let control = Control::new(interrupt, Goal::new(limits, start), self.console);
        let mut control = control.with_service(Service::begin(), Some(hangup));
        let mut silent_interfaces = SilentInterfaces::default();
        silent_interfaces.warn(&self.source.memberships(), self.console);
        self.print_start()?;
        self.source.describe(&mut self.recording.recorder);
        self.recording.counts.names.list();
        let end = control.run(&mut self);
        // Even after a failure, so that earlier frames are written.
        let _ = self.source.add_statistics(&mut self.recording.recorder);
        let time = start.elapsed();
        let counts = self.recording.end();
        let end = end?;
        let mut counts = counts?;
        let losses = self.source.losses()?;
        let wire = self.source.wire_status();
        counts.print(losses, time, self.kind.name, &wire)?;
        self.wire.update(wire, self.console);
        silent_interfaces.warn(&self.source.memberships(), self.console);
        let is_complete = counts.totals.unwritten == 0 && losses.unreadable == 0;
        Ok(control.judge(end, is_complete, counts.tally.datagrams(), losses.dropped))
    }

    /// Returns from where the frames come, and into which file they go.
    fn description(&self) -> String {
        format!("from {} into {}", self.kind.description, self.recording.recorder.path().display())
    }

    /// Prints once what was joined where, into which file it goes, and what was not granted.
    fn print_start(&mut self) -> anyhow::Result<()> {
        print_memberships(&self.source.memberships(), self.console);
        print_buffer(self.source.buffer_size()?, self.buffer, "", self.console);
        self.wire = WireNotes::print(self.source.wire_status(), self.console);
        self.console.note(format_args!("recording {}", self.description()));
        Ok(())
    }
}

impl SessionSteps for Session<'_> {
    /// Once the end of a burst is in the file, only signals and interfaces are waited for.
    const FLUSH_AFTER: Duration = FLUSH_AFTER;

    fn step(&mut self, control: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        if self.recording.is_reader_gone {
            return Ok(Step::Over(End::ReaderGone));
        }
        let step = match self.source.next(wait)? {
            NextGroupFrame::Frame(frame, kind) => {
                self.recording.take(&frame, kind);
                control.goal.record_arrival();
                match control.goal.is_reached(self.recording.counts.tally.datagrams()) {
                    true => Step::Over(End::Enough),
                    false => Step::Handled,
                }
            }
            NextGroupFrame::Other => Step::Ignored,
            NextGroupFrame::Nothing => {
                // Also without a new frame: what could not be written is tried again.
                self.recording.recorder.flush();
                self.recording.report();
                Step::Idle
            }
        };
        self.is_unflushed = step != Step::Idle;
        Ok(step)
    }

    fn longest_wait(&mut self) -> Duration {
        POLL_INTERVAL
    }

    fn is_unflushed(&self) -> bool {
        self.is_unflushed
    }

    fn maintain(&mut self) -> anyhow::Result<()> {
        if self.last_check.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        self.last_check = Instant::now();
        let recorder = &mut self.recording.recorder;
        self.source.add_statistics(recorder)?;
        if self.source.refresh().context("cannot continue after interfaces have changed")? {
            self.source.memberships().iter().for_each(|status| self.console.note(status));
            self.source.describe(recorder);
            self.recording.counts.names.list();
        }
        recorder.rotate_if_due();
        self.wire.update(self.source.wire_status(), self.console);
        self.recording.report();
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        self.console.note("received SIGHUP: starting another file");
        self.recording.rotate();
        Ok(())
    }

    fn status(&self) -> String {
        format!("Recording {}", self.description())
    }
}

/// Where datagrams come from.
#[derive(Debug)]
pub(super) struct SourceKind {
    /// The name in JSON.
    pub(super) name: &'static str,
    /// The description for text.
    pub(super) description: &'static str,
    /// The comment for the file.
    pub(super) comment: &'static str,
}

const WIRE: SourceKind = SourceKind {
    name: "wire",
    description: "the wire",
    comment: "Recorded from the wire by mcast record: unmodified frames of the requested groups.",
};

const SOCKETS: SourceKind = SourceKind {
    name: "sockets",
    description: "sockets",
    comment: "Recorded from sockets by mcast record: payload, addresses, ports, TTL, DSCP and times are those \
              that the kernel reported; all other fields of the IP and UDP headers are reconstructed, and \
              fragmented datagrams are whole.",
};

const TAKEN: SourceKind = SourceKind {
    comment: "Recorded from sockets and past them (AF_XDP) by mcast record --wire: payload, addresses, ports, TTL \
              and DSCP are those that arrived; times are those of the driver or the kernel, or when the datagram \
              was read; all other fields of the IP and UDP headers are reconstructed, and fragmented datagrams \
              are whole.",
    ..SOCKETS
};

/// Joins the groups and starts to receive.
pub(super) fn open(
    options: &GroupFramesOptions,
    via: Via,
    console: &Console,
) -> anyhow::Result<(&'static SourceKind, Box<dyn GroupFrames>)> {
    if via != Via::Sockets {
        match WireFrames::open(options) {
            Ok(wire) => return Ok((&WIRE, Box::new(wire))),
            Err(LiveError::Capture(error)) if via == Via::Auto && is_denied(&error) => {
                console.warn(&error);
                if let Some(remedy) = exit::remedy(&error.into()) {
                    console.advise(remedy);
                }
                console.warn(
                    "recording from sockets instead: payloads, addresses, TTL, DSCP and kernel times are \
                     real, and the other header fields are reconstructed",
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    let kind = if options.wire == Wire::Off { &SOCKETS } else { &TAKEN };
    Ok((kind, Box::new(SocketFrames::open(options)?)))
}

/// Returns whether capturing is denied, in which case sockets may be used.
fn is_denied(error: &mcast_capture::Error) -> bool {
    matches!(error.kind(), ErrorKind::Permission | ErrorKind::Unsupported(_) | ErrorKind::LinkType(_))
}

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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Totals {
    /// Frames in the files: datagrams and their fragments
    pub(super) frames: u64,
    /// Frames that are later fragments of a datagram
    pub(super) fragments: u64,
    /// Files written
    pub(super) files: u64,
    /// Total length of the files in bytes
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
        wire: &[WireStatus],
    ) -> anyhow::Result<()> {
        let Self { tally, totals, json, console, out, names } = self;
        if *json {
            write_record(
                out,
                "summary",
                &SummaryRecord::new(tally, *totals, losses, time, via, wire, names),
            )?;
            out.flush()?;
        }
        record::print_summary(tally, totals, losses, time, names, console);
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
        record::print_file(file, self.console);
        if self.json {
            write_record(&mut self.out, "file", &FileRecord::new(file))?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// A limit of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Bytes(u64),
    Age(Duration),
}

/// Returns the smallest size and the smallest age; a file ends at whichever it reaches first.
pub(super) fn smallest(limits: &[Limit]) -> (Option<u64>, Option<Duration>) {
    let bytes = limits.iter().filter_map(|limit| match limit {
        Limit::Bytes(bytes) => Some(*bytes),
        Limit::Age(_) => None,
    });
    let age = limits.iter().filter_map(|limit| match limit {
        Limit::Age(age) => Some(*age),
        Limit::Bytes(_) => None,
    });
    (bytes.min(), age.min())
}

/// The smallest limits, so that files contain more than a few frames.
const MIN_SIZE: u64 = 64 << 10;
const MIN_AGE: Duration = Duration::from_secs(1);

/// Parses a size such as `100MB` or `512k` (k is 1,024), or an age such as `60s`, `10min`, `1h`.
pub(super) fn parse_limit(text: &str) -> Result<Limit, String> {
    let error = || "write a size such as 100MB or 512k, or an age such as 60s, 10min or 1h".to_owned();
    let is_age = text.ends_with(['s', 'h', 'n']) || text.ends_with('m');
    if is_age {
        return match parse_duration(text).map_err(|_| error())? {
            age if age < MIN_AGE => Err("the shortest age is 1s".into()),
            age => Ok(Limit::Age(age)),
        };
    }
    let size = text.strip_suffix('B').filter(|size| !size.ends_with('i')).unwrap_or(text);
    match parse_size(size).map_err(|_| error())? as u64 {
        bytes if bytes < MIN_SIZE => Err("the smallest size is 64k".into()),
        bytes => Ok(Limit::Bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_distinguishes_sizes_and_ages() {
        let age = |seconds| Ok(Limit::Age(Duration::from_secs(seconds)));
        assert_eq!(["60s", "2m", "2min", "1h"].map(parse_limit), [age(60), age(120), age(120), age(3_600)]);
        let size = |bytes| Ok(Limit::Bytes(bytes));
        assert_eq!(
            ["100MB", "100M", "100MiB", "512k", "1GB", "65536"].map(parse_limit),
            [size(100 << 20), size(100 << 20), size(100 << 20), size(512 << 10), size(1 << 30), size(65_536)]
        );
    }

    #[test]
    fn invalid_and_too_small_limits_are_refused() {
        for text in ["", "B", "MB", "-1s", "10", "1kB", "10ms", "0s", "1x", "nan", "infs"] {
            parse_limit(text).unwrap_err();
        }
    }

    #[test]
    fn the_smallest_limit_of_each_kind_counts() {
        let limits = ["1MB", "1h", "512k", "60s"].map(|text| parse_limit(text).unwrap());
        assert_eq!(smallest(&limits), (Some(512 << 10), Some(Duration::from_secs(60))));
        assert_eq!(smallest(&[]), (None, None));
    }
}
