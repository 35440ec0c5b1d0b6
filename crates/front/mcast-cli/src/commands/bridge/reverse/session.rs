//! The main loop.

use std::io::Write;
use std::time::{Duration, Instant};

use mcast_bridge::ReverseNotice;
use mcast_metrics::BoundExporter;
use mcast_terminal::{Console, Output};
use serde::Serialize;

use super::export::State;
use super::json::{EventRecord, Summary};
use super::running::Running;
use super::text;
use crate::arguments::{KeyFile, KeyReload};
use crate::commands::bridge::Arguments;
use crate::commands::bridge::figures::{Figures, Latest};
use crate::commands::bridge::process::Process;
use crate::exit::Outcome;
use crate::interrupt::{Interrupt, Service};
use crate::log_lines::LogLines;
use crate::output::{write_json, write_record};

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// The status for the service manager.
const STATUS: &str = "Bridging";

/// The state of `mcast bridge` out of an engine.
pub(super) struct Session<'a> {
    bridge: Running,
    engine: String,
    reload: KeyReload<'a>,
    arguments: &'a Arguments,
    process: &'a Process,
    console: &'a Console,
    lines: LogLines<'a>,
    out: Output,
    figures: Figures,
    start: Instant,
    next_figures: Instant,
    was_connected: bool,
    /// The latest reason why the engine cannot be used, which is reported once.
    problem: Option<String>,
    interrupt: Interrupt,
    service: Service,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        bridge: Running,
        engine: String,
        key_file: Option<KeyFile<'a>>,
        arguments: &'a Arguments,
        process: &'a Process,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let (start, service) = (Instant::now(), process.service());
        Ok(Self {
            interrupt: process.interrupt(|| bridge.interrupt())?,
            bridge,
            engine,
            reload: KeyReload::new(key_file, &service)?,
            arguments,
            process,
            console,
            lines: LogLines::new(console),
            out: console.output(),
            figures: process.figures(),
            start,
            next_figures: start,
            was_connected: false,
            problem: None,
            service,
        })
    }

    pub(super) fn run(mut self, bound: Option<BoundExporter>) -> anyhow::Result<Outcome> {
        let exporter = bound.map(|bound| self.figures.serve(bound)).transpose()?;
        if let Some(exporter) = &exporter {
            self.console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
        }
        let outcome = self.publish();
        self.service.stopping();
        let is_complete = outcome.is_ok() && self.bridge.finish(self.arguments.reverse.linger());
        self.summarize(is_complete)?;
        outcome?;
        let has_gaps = self.bridge.statistics().gaps > 0;
        Ok(self.interrupt.outcome().unwrap_or_else(|| Outcome::of(is_complete && !has_gaps)))
    }

    /// Publishes until the end of the stream in the engine, the end of the time, or an interrupt.
    fn publish(&mut self) -> anyhow::Result<()> {
        let end = self.process.end(self.start, self.arguments.timeout);
        while !self.interrupt.has_arrived() && !self.bridge.is_over() {
            let left = end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            if let Some(notice) = self.bridge.next(left.min(POLL_INTERVAL))? {
                self.handle(&notice)?;
            }
            self.service.alive();
            self.lines.poll();
            let set = |keys| self.bridge.set_keys(keys);
            self.reload.poll(&self.service, STATUS, self.console, set);
            if self.next_figures <= Instant::now() {
                self.next_figures = Instant::now() + FIGURES_INTERVAL;
                self.figures.set(Latest::Publishing(State::of(&self.bridge)));
            }
        }
        Ok(())
    }

    fn handle(&mut self, notice: &ReverseNotice) -> anyhow::Result<()> {
        match notice {
            ReverseNotice::Bridge(event) => {
                text::print(event, self.bridge.unit(), &self.lines);
                self.print(&EventRecord::of(event))
            }
            ReverseNotice::Publisher(event) => {
                text::print_publisher(event, &self.lines);
                Ok(())
            }
            ReverseNotice::Connected => {
                self.service.ready(STATUS);
                (self.was_connected, self.problem) = (true, None);
                self.print(&EventRecord::connected(&self.engine))
            }
            ReverseNotice::Disconnected(error) if !self.was_connected => Err(error.clone().into()),
            ReverseNotice::Disconnected(error) => {
                if self.problem.as_ref() == Some(&error.what) {
                    return Ok(());
                }
                self.problem = Some(error.what.clone());
                let text = format!("nothing is published until the engine can be used: {error}");
                self.lines.advise(text, error.remedy.clone());
                self.print(&EventRecord::disconnected(&self.engine, error))
            }
        }
    }

    fn summarize(&mut self, is_complete: bool) -> anyhow::Result<()> {
        self.lines.finish();
        let (time, statistics) = (self.start.elapsed(), self.bridge.statistics());
        if self.arguments.json {
            let summary = Summary::new(&self.engine, self.bridge.stream(), &statistics, time, is_complete);
            write_record(&mut self.out, "summary", &self.process.label(&summary))?;
            self.out.flush()?;
        } else if self.was_connected {
            self.console.note(text::summary(&statistics, self.bridge.unit(), time));
        }
        if !is_complete && statistics.messages > 0 {
            self.console.warn("not all subscribers have everything that was published");
        }
        Ok(())
    }

    fn print(&mut self, record: &impl Serialize) -> anyhow::Result<()> {
        if self.arguments.json {
            write_json(&mut self.out, &self.process.label(record))?;
            self.out.flush()?;
        }
        Ok(())
    }
}
