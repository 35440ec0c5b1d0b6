//! What the main loops of both directions have in common: what they report, where, and until when they run.

use std::io::Write;
use std::time::{Duration, Instant};

use mcast_bridge::{BridgeError, EngineError};
use mcast_metrics::{BoundExporter, Exporter};
use mcast_stream::seal::Keys;
use mcast_terminal::{Console, Output};
use serde::Serialize;

use super::Arguments;
use super::bridges::Process;
use super::figures::Figures;
use crate::arguments::{KeyFile, KeyReload};
use crate::interrupt::{Interrupt, Service};
use crate::log_lines::LogLines;
use crate::output::{write_json, write_record};

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// The status for the service manager.
const STATUS: &str = "Bridging";

/// The surroundings of a bridge in either direction.
pub(super) struct Surroundings<'a> {
    pub(super) engine: String,
    reload: KeyReload<'a>,
    pub(super) arguments: &'a Arguments,
    process: &'a Process,
    pub(super) console: &'a Console,
    pub(super) lines: LogLines<'a>,
    out: Output,
    pub(super) figures: Figures,
    pub(super) start: Instant,
    end: Option<Instant>,
    next_figures: Instant,
    /// Whether the broker could be used.
    pub(super) was_connected: bool,
    /// The latest reason why the broker cannot be used, which is reported once.
    problem: Option<String>,
    pub(super) interrupt: Interrupt,
    pub(super) service: Service,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(
        engine: String,
        key_file: Option<KeyFile<'a>>,
        interrupt: impl FnOnce() -> anyhow::Result<Interrupt>,
        arguments: &'a Arguments,
        process: &'a Process,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let (start, service) = (Instant::now(), process.service());
        Ok(Self {
            engine,
            reload: KeyReload::new(key_file, &service)?,
            arguments,
            process,
            console,
            lines: LogLines::new(console),
            out: console.output(),
            figures: process.figures(),
            start,
            end: process.end(start, arguments.timeout),
            next_figures: start,
            was_connected: false,
            problem: None,
            interrupt: process.interrupt(interrupt)?,
            service,
        })
    }

    /// Serves the figures, and says where.
    pub(super) fn serve(&self, bound: Option<BoundExporter>) -> anyhow::Result<Option<Exporter>> {
        bound.map(|bound| self.figures.serve(bound, self.console)).transpose()
    }

    /// Returns how long to wait for the next notice at most; nothing after an interrupt, or at the end of the time.
    pub(super) fn wait_at_most(&self) -> Option<Duration> {
        let left = self.end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
        (!self.interrupt.has_arrived() && !left.is_zero()).then(|| left.min(POLL_INTERVAL))
    }

    /// Does what is due between two notices; `set` replaces the keys, if they were to be read again.
    pub(super) fn handle_timeout(&mut self, set: impl FnOnce(Keys)) -> anyhow::Result<()> {
        self.service.alive();
        self.out.flush()?;
        self.lines.poll();
        self.reload.poll(&self.service, STATUS, self.console, set);
        Ok(())
    }

    /// Whether it is time for new figures.
    pub(super) fn are_figures_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.next_figures <= now;
        if is_due {
            self.next_figures = now + FIGURES_INTERVAL;
        }
        is_due
    }

    /// The broker can be used; returns whether that is so for the first time.
    pub(super) fn on_connected(&mut self) -> bool {
        self.service.ready(STATUS);
        !std::mem::replace(&mut self.was_connected, true)
    }

    /// The broker cannot be used. Returns whether that must be reported: the same reason is reported once.
    ///
    /// # Errors
    /// If it could never be used.
    pub(super) fn on_disconnected(&mut self, error: &EngineError, consequence: &str) -> anyhow::Result<bool> {
        if !self.was_connected {
            return Err(BridgeError::Engine(error.clone()).into());
        }
        if self.problem.as_ref() == Some(&error.what) {
            return Ok(false);
        }
        self.problem = Some(error.what.clone());
        self.lines
            .advise(format!("{consequence} until the broker can be used: {error}"), error.remedy.clone());
        Ok(true)
    }

    /// The latest problem is over; returns whether there was one.
    pub(super) fn settle_problem(&mut self) -> bool {
        self.problem.take().is_some()
    }

    /// Writes a record of an event, if records are wanted.
    pub(super) fn print(&mut self, record: &impl Serialize) -> anyhow::Result<()> {
        if self.arguments.json {
            write_json(&mut self.out, &self.process.label(record))?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Writes the last record.
    pub(super) fn print_summary(&mut self, summary: &impl Serialize) -> anyhow::Result<()> {
        write_record(&mut self.out, "summary", &self.process.label(summary))?;
        Ok(self.out.flush()?)
    }
}
