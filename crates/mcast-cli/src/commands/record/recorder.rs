//! The main loop: records frames, and maintains files and interfaces in between.

use std::time::{Duration, Instant};

use super::Arguments;
use super::files::Files;
use super::source::{Next, Source};
use super::writer::FrameWriter;
use crate::arguments::Goal;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt};
use crate::output::{count, count_of};
use crate::receiving::UnreachableInterfaces;
use crate::service::Service;

/// The silence after which buffered frames are written.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval of checks for changed interfaces and losses.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of `mcast record`.
pub(super) struct Recorder<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    source: Source,
    writer: FrameWriter<'a>,
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

impl<'a> Recorder<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        source: Source,
        files: Files,
        interrupt: Interrupt,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        Ok(Self {
            goal: Goal::new(&arguments.limits, start),
            writer: FrameWriter::new(files, arguments.json, console),
            arguments,
            console,
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
        self.writer.describe(&self.source.interfaces());
        self.service.ready(&self.status());
        let end = self.record();
        self.service.stopping();
        // Even after a failure, so that earlier frames are written.
        let lost = self.source.take_statistics();
        self.writer.add_statistics(lost.unwrap_or_default());
        let time = self.start.elapsed();
        let written = self.writer.end();
        let end = end?;
        let summary = written?;
        let dropped = self.source.dropped()?;
        let unreadable = self.source.unreadable()?;
        let misses = self.goal.misses(summary.datagrams(), dropped);
        let is_complete = summary.unwritten() == 0 && unreadable == 0;
        summary.print(dropped, unreadable, time, self.source.name())?;
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
            if self.writer.is_reader_gone() {
                return Ok(End::ReaderGone);
            }
            if self.goal.is_past_deadline() {
                return Ok(End::TimeOver);
            }
            let left = self.goal.time_left();
            match self.source.next(left.map_or(max_wait, |left| left.min(max_wait)))? {
                Next::Frame(found) => {
                    self.writer.take(&found);
                    self.goal.record_arrival();
                    max_wait = FLUSH_AFTER;
                    if self.goal.is_reached(self.writer.datagrams()) {
                        return Ok(End::Enough);
                    }
                }
                // Frames that are not recorded must not prevent `--idle` from ending the recording.
                Next::Passed if self.goal.is_overdue(CHECK_INTERVAL) => return Ok(End::TimeOver),
                Next::Passed => max_wait = FLUSH_AFTER,
                Next::Nothing if left == Some(Duration::ZERO) => return Ok(End::TimeOver),
                Next::Nothing => {
                    self.writer.flush();
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
            self.writer.rotate();
            self.service.ready(&self.status());
        }
        self.service.alive();
        if self.last_check.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        self.last_check = Instant::now();
        let lost = self.source.take_statistics()?;
        self.writer.add_statistics(lost);
        if self.source.refresh()? {
            self.source.memberships().iter().for_each(|status| self.console.note(status));
            self.writer.describe(&self.source.interfaces());
        }
        self.writer.rotate_if_old();
        Ok(())
    }

    /// The status for the service manager.
    fn status(&self) -> String {
        format!("Recording from {} into {}", self.source.description(), self.writer.path().display())
    }

    /// Says once what was joined where, into which file it goes, and what was not granted.
    fn print_start(&self) -> anyhow::Result<()> {
        const MAX_LISTED: usize = 8;
        let statuses = self.source.memberships();
        let is_few = statuses.len() <= MAX_LISTED || self.console.is_verbose();
        for status in statuses.iter().filter(|status| is_few || !status.is_joined()) {
            self.console.note(status);
        }
        if !is_few {
            let joined = statuses.iter().filter(|status| status.is_joined()).count();
            let all = count_of(statuses.len() as u64, "membership");
            self.console.note(format_args!("joined {} of {all} (-v names them)", count(joined as u64)));
        }
        let granted = self.source.buffer()?;
        match self.arguments.buffer {
            Some(asked) if granted < asked => self.console.warn(format_args!(
                "the system granted {} of the {} bytes of receive buffer (Linux: raise net.core.rmem_max)",
                count(granted as u64),
                count(asked as u64)
            )),
            _ => self.console.detail(format_args!("receive buffer: {} bytes", count(granted as u64))),
        }
        self.console.note(format_args!(
            "recording from {} into {}",
            self.source.description(),
            self.writer.path().display()
        ));
        Ok(())
    }
}
