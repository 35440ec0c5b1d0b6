//! The main loop: records frames, and takes care of files and interfaces in between.

use std::time::{Duration, Instant};

use super::Arguments;
use super::files::Files;
use super::source::{Next, Source};
use super::writing::Writing;
use crate::arguments::Goal;
use crate::commands::recv::deaf::DeafInterfaces;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt};
use crate::output::{count, count_of};
use crate::service::Service;

/// After such a silence what waits is written.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a wait looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);
/// How often it is looked whether interfaces have changed, and what was lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everything that a run of `mcast record` holds.
pub(super) struct Recorder<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    source: Source,
    writing: Writing<'a>,
    interrupt: Interrupt,
    hangup: Hangup,
    goal: Goal<'a>,
    start: Instant,
    last_look: Instant,
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
            writing: Writing::new(files, arguments.json, console),
            arguments,
            console,
            source,
            interrupt,
            hangup: Hangup::catch()?,
            start,
            last_look: start,
            service: Service::begin(),
        })
    }

    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let mut deaf = DeafInterfaces::default();
        deaf.tell(&self.source.memberships(), self.console);
        self.tell_start()?;
        self.writing.describe(&self.source.interfaces());
        self.service.ready(&self.status());
        let end = self.record();
        self.service.stopping();
        // Also after a failure: earlier frames are written.
        let lost = self.source.take_statistics();
        self.writing.owe(lost.unwrap_or_default());
        let time = self.start.elapsed();
        let written = self.writing.end();
        let end = end?;
        let summary = written?;
        let dropped = self.source.dropped()?;
        let unreadable = self.source.unreadable()?;
        let misses = self.goal.misses(summary.datagrams(), dropped);
        let is_complete = summary.unwritten() == 0 && unreadable == 0;
        summary.tell(dropped, unreadable, time, self.source.name())?;
        deaf.tell(&self.source.memberships(), self.console);
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
        let mut patience = PAUSE;
        loop {
            if self.interrupt.has_come() {
                return Ok(End::Interrupted);
            }
            if self.writing.is_reader_gone() {
                return Ok(End::ReaderGone);
            }
            if self.goal.is_time_over() {
                return Ok(End::TimeOver);
            }
            let left = self.goal.time_left();
            match self.source.next(left.map_or(patience, |left| left.min(patience)))? {
                Next::Frame(found) => {
                    self.writing.take(&found);
                    self.goal.heard();
                    patience = PAUSE;
                    if self.goal.is_reached(self.writing.datagrams()) {
                        return Ok(End::Enough);
                    }
                }
                // What is not wanted does not keep it for ever.
                Next::Passed if self.goal.is_overdue(LOOK_AGAIN) => return Ok(End::TimeOver),
                Next::Passed => patience = PAUSE,
                Next::Nothing if left == Some(Duration::ZERO) => return Ok(End::TimeOver),
                Next::Nothing => {
                    self.writing.flush();
                    patience = GLANCE;
                }
            }
            self.look_after()?;
        }
    }

    fn look_after(&mut self) -> anyhow::Result<()> {
        if self.hangup.has_come() {
            self.console.note("received SIGHUP: starting another file");
            self.service.reloading();
            self.writing.rotate();
            self.service.ready(&self.status());
        }
        self.service.alive();
        if self.last_look.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        self.last_look = Instant::now();
        let lost = self.source.take_statistics()?;
        self.writing.owe(lost);
        if self.source.look_again()? {
            self.source.memberships().iter().for_each(|status| self.console.note(status));
            self.writing.describe(&self.source.interfaces());
        }
        self.writing.rotate_if_old();
        Ok(())
    }

    /// The status for the service manager.
    fn status(&self) -> String {
        format!("Recording from {} into {}", self.source.words(), self.writing.path().display())
    }

    /// Says once what was joined where, into which file it goes, and what was not granted.
    fn tell_start(&self) -> anyhow::Result<()> {
        const TOLD_SINGLY: usize = 8;
        let statuses = self.source.memberships();
        let is_few = statuses.len() <= TOLD_SINGLY || self.console.is_verbose();
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
            self.source.words(),
            self.writing.path().display()
        ));
        Ok(())
    }
}
