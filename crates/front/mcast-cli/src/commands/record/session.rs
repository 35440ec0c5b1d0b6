//! The main loop: records frames, and maintains files and interfaces in between.

use std::time::{Duration, Instant};

use anyhow::Context;
use mcast_capture::{ErrorKind, Recorder};
use mcast_terminal::Console;
use mcast_watch::live::{
    GroupFrames, GroupFramesOptions, LiveError, NextGroupFrame, SocketFrames, WireFrames,
};

use super::recording::Recording;
use super::{Plan, Via};
use crate::arguments::Goal;
use crate::exit::{self, Outcome};
use crate::interrupt::{Hangup, Interrupt};
use crate::receiving::{UnreachableInterfaces, print_buffer, print_memberships};
use crate::service::Service;

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
    recording: Recording<'a>,
    buffer: Option<usize>,
    interrupt: Interrupt,
    hangup: Hangup,
    goal: Goal<'a>,
    start: Instant,
    last_check: Instant,
    service: Service,
}

/// Why the loop ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Enough,
    TimeOver,
    Interrupted,
    /// The reader closed the pipe: the recording ends, and nothing is missing.
    ReaderGone,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        plan: &Plan<'a>,
        kind: &'static SourceKind,
        source: Box<dyn GroupFrames>,
        recorder: Recorder,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        Ok(Self {
            goal: Goal::new(plan.limits, start),
            recording: Recording::new(recorder, plan.json, console),
            buffer: plan.reception.buffer_size,
            console,
            kind,
            source,
            interrupt,
            hangup: Hangup::catch()?,
            start,
            last_check: start,
            service: Service::begin(),
        })
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let mut unreachable_interfaces = UnreachableInterfaces::default();
        unreachable_interfaces.warn(&self.source.memberships(), self.console);
        self.print_start()?;
        self.source.describe(&mut self.recording.recorder);
        self.service.ready(&self.status());
        let end = self.record();
        self.service.stopping();
        // Even after a failure, so that earlier frames are written.
        let _ = self.source.add_statistics(&mut self.recording.recorder);
        let time = self.start.elapsed();
        let counts = self.recording.end();
        let end = end?;
        let mut counts = counts?;
        let losses = self.source.losses()?;
        let misses = self.goal.misses(counts.tally.datagrams(), losses.dropped);
        let is_complete = counts.totals.unwritten == 0 && losses.unreadable == 0;
        counts.print(losses, time, self.kind.name)?;
        unreachable_interfaces.warn(&self.source.memberships(), self.console);
        match end {
            End::Interrupted => Ok(self.interrupt.outcome().unwrap_or(Outcome::Yes)),
            End::ReaderGone => Ok(Outcome::Yes),
            End::Enough | End::TimeOver => {
                misses.iter().for_each(|miss| self.console.note(miss));
                Ok(Outcome::of(misses.is_empty() && is_complete))
            }
        }
    }

    fn record(&mut self) -> anyhow::Result<End> {
        let mut max_wait = FLUSH_AFTER;
        loop {
            if self.interrupt.has_arrived() {
                return Ok(End::Interrupted);
            }
            if self.recording.is_reader_gone {
                return Ok(End::ReaderGone);
            }
            if self.goal.is_past_deadline() {
                return Ok(End::TimeOver);
            }
            let left = self.goal.time_left();
            match self.source.next(left.map_or(max_wait, |left| left.min(max_wait)))? {
                NextGroupFrame::Frame(frame, kind) => {
                    self.recording.take(&frame, kind);
                    self.goal.record_arrival();
                    max_wait = FLUSH_AFTER;
                    if self.goal.is_reached(self.recording.counts.tally.datagrams()) {
                        return Ok(End::Enough);
                    }
                }
                // Frames that are not recorded must not prevent `--idle` from ending the recording.
                NextGroupFrame::Other if self.goal.is_overdue(CHECK_INTERVAL) => return Ok(End::TimeOver),
                NextGroupFrame::Other => max_wait = FLUSH_AFTER,
                NextGroupFrame::Nothing if left == Some(Duration::ZERO) => return Ok(End::TimeOver),
                NextGroupFrame::Nothing => {
                    self.recording.recorder.flush();
                    self.recording.report();
                    max_wait = POLL_INTERVAL;
                }
            }
            self.maintain()?;
        }
    }

    fn maintain(&mut self) -> anyhow::Result<()> {
        if self.hangup.has_arrived() {
            self.console.note("received SIGHUP: starting another file");
            self.service.reloading();
            self.recording.rotate();
            self.service.ready(&self.status());
        }
        self.service.alive();
        if self.last_check.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        self.last_check = Instant::now();
        let recorder = &mut self.recording.recorder;
        self.source.add_statistics(recorder)?;
        if self.source.refresh().context("cannot continue after interfaces have changed")? {
            self.source.memberships().iter().for_each(|status| self.console.note(status));
            self.source.describe(recorder);
        }
        recorder.rotate_if_due();
        self.recording.report();
        Ok(())
    }

    /// The status for the service manager.
    fn status(&self) -> String {
        format!("Recording {}", self.description())
    }

    /// Returns from where the frames come, and into which file they go.
    fn description(&self) -> String {
        format!("from {} into {}", self.kind.description, self.recording.recorder.path().display())
    }

    /// Prints once what was joined where, into which file it goes, and what was not granted.
    fn print_start(&self) -> anyhow::Result<()> {
        print_memberships(&self.source.memberships(), self.console);
        print_buffer(self.source.buffer_size()?, self.buffer, "", self.console);
        self.console.note(format_args!("recording {}", self.description()));
        Ok(())
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
    Ok((&SOCKETS, Box::new(SocketFrames::open(options)?)))
}

/// Returns whether capturing is denied, in which case sockets may be used.
fn is_denied(error: &mcast_capture::Error) -> bool {
    matches!(error.kind(), ErrorKind::Permission | ErrorKind::Unsupported(_) | ErrorKind::LinkType(_))
}
