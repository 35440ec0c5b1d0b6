//! The main loop of a bridge into an engine, and the plain groups that it keeps.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mcast::{InterfaceIndex, Receiver, Waker};
use mcast_bridge::{BridgeConfig, BridgeError, BridgeNotice, StreamBridge};
use mcast_metrics::BoundExporter;
use mcast_stream::seal::Keys;
use mcast_stream::wire::StreamId;
use mcast_stream::{HistoryServerStatistics, RefusedRequest};
use mcast_terminal::{Console, Output};
use serde::Serialize;

use super::bridges::Process;
use super::figures::{Figures, KeepingState, Latest};
use super::text::{BridgeRecord, Summary, backlog_text, describe_bridge, summary_text};
use super::{Arguments, History, engine, random};
use crate::arguments::{KeyFile, KeyReload, select_memberships};
use crate::exit::Outcome;
use crate::interrupt::{Interrupt, Service};
use crate::log_lines::{LogLimiter, LogLines, and_more};
use crate::message_layer::{ServedHistory, refusal_text};
use crate::metrics;
use crate::output::{InterfaceNames, rfc3339, write_json, write_record};
use crate::receiving::{EventRecord, Importance, describe, print_memberships};

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// The interval of notes on a backlog, and its least age.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long to store what was received after an interrupt.
const GRACE: Duration = Duration::from_secs(2);
/// How long to repeat to the publisher that everything was received.
const CONFIRMATION: Duration = Duration::from_secs(2);
/// The status for the service manager.
const STATUS: &str = "Bridging";

/// The state of `mcast bridge`.
pub(super) struct Session<'a> {
    bridge: StreamBridge,
    engine: String,
    reload: KeyReload<'a>,
    arguments: &'a Arguments,
    /// What is kept: messages or datagrams.
    unit: &'static str,
    process: &'a Process,
    console: &'a Console,
    lines: LogLines<'a>,
    /// Requests for the history that were refused.
    refusals: LogLimiter<(), RefusedRequest>,
    out: Output,
    figures: Figures,
    start: Instant,
    next_figures: Instant,
    next_backlog: Instant,
    ended: Option<Instant>,
    was_connected: bool,
    /// The latest reason why the engine cannot be used, which is reported once.
    problem: Option<String>,
    /// The history server, if there is one.
    history: Option<History>,
    /// Whether it was reported that it serves.
    is_serving: bool,
    interrupt: Interrupt,
    service: Service,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        bridge: StreamBridge,
        waker: Waker,
        engine: String,
        key_file: Option<KeyFile<'a>>,
        arguments: &'a Arguments,
        process: &'a Process,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let (start, service) = (Instant::now(), process.service());
        Ok(Self {
            bridge,
            engine,
            reload: KeyReload::new(key_file, &service)?,
            arguments,
            unit: if arguments.datagrams { "datagram" } else { "message" },
            process,
            console,
            lines: LogLines::new(console),
            refusals: LogLimiter::new(),
            out: console.output(),
            figures: process.figures(),
            start,
            next_figures: start,
            next_backlog: start,
            ended: None,
            was_connected: false,
            problem: None,
            history: None,
            is_serving: false,
            interrupt: process.interrupt(|| Interrupt::waking(waker))?,
            service,
        })
    }

    /// Serves the history, if there is one to serve.
    pub(super) fn serving(self, history: Option<History>) -> Self {
        Self { history, ..self }
    }

    pub(super) fn run(mut self, bound: Option<BoundExporter>) -> anyhow::Result<Outcome> {
        let exporter = bound.map(|bound| self.figures.serve(bound)).transpose()?;
        if let Some(exporter) = &exporter {
            self.console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
        }
        let outcome = self.keep();
        self.service.stopping();
        let is_stored = match &outcome {
            Ok(()) => self.bridge.flush(GRACE),
            Err(_) => Ok(false),
        };
        while let Some(notice) = self.bridge.left_notice() {
            self.handle(&notice)?;
        }
        self.summarize()?;
        outcome?;
        let (statistics, _) = self.bridge.statistics();
        let has_gaps = statistics.gaps > 0 || statistics.not_stored > 0;
        Ok(self
            .interrupt
            .outcome()
            .unwrap_or_else(|| Outcome::of(matches!(is_stored, Ok(true)) && !has_gaps)))
    }

    /// Keeps the stream until its end, the end of the time, or an interrupt.
    fn keep(&mut self) -> anyhow::Result<()> {
        let end = self.process.end(self.start, self.arguments.timeout);
        while !self.interrupt.has_arrived() && !self.is_over() {
            let left = end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            if let Some(notice) = self.bridge.next(left.min(POLL_INTERVAL))? {
                self.handle(&notice)?;
            }
            self.service.alive();
            if let Some(history) = self.history.take() {
                self.history = Some(history.poll(&self.bridge, self.console)?);
                self.report_serving()?;
            }
            let set = |keys: Keys| {
                self.history.iter_mut().for_each(|history| history.set_keys(&keys));
                self.bridge.set_keys(keys);
            };
            self.reload.poll(&self.service, STATUS, self.console, set);
            self.update_figures()?;
        }
        Ok(())
    }

    fn report_serving(&mut self) -> anyhow::Result<()> {
        let Some((at, _)) = self.history.as_ref().and_then(History::statistics) else { return Ok(()) };
        match std::mem::replace(&mut self.is_serving, true) {
            true => Ok(()),
            false => self.print(&BridgeRecord::serving_history(at)),
        }
    }

    fn history_statistics(&self) -> Option<HistoryServerStatistics> {
        self.history.as_ref().and_then(History::statistics).map(|(_, statistics)| statistics)
    }

    /// Reports requests for the history that were refused.
    fn report_refused(&mut self) -> anyhow::Result<()> {
        while let Some(refused) = self.history.as_ref().and_then(History::take_refused) {
            if let Some(refused) = self.refusals.admit((), Some(refused.client.ip()), refused) {
                self.print_refused(refused, 0)?;
            }
        }
        while let Some((refused, more)) = self.refusals.due() {
            self.print_refused(refused, more)?;
        }
        Ok(())
    }

    fn print_refused(&mut self, refused: RefusedRequest, more: u64) -> anyhow::Result<()> {
        let total = self.history_statistics().map_or(0, |statistics| statistics.refused);
        self.console.warn(format_args!("{}{}", refusal_text("the history", &refused), and_more(more)));
        self.print(&BridgeRecord::history_refused(refused, total, more))
    }

    /// Whether the stream has ended, everything is stored, and the publisher knows that it was received.
    fn is_over(&mut self) -> bool {
        let Some(subscriber) = self.bridge.subscriber() else { return false };
        if self.arguments.stream.stay || !subscriber.has_ended() || self.bridge.statistics().0.pending > 0 {
            return false;
        }
        let ended = *self.ended.get_or_insert_with(Instant::now);
        subscriber.is_over() || ended.elapsed() >= CONFIRMATION
    }

    fn handle(&mut self, notice: &BridgeNotice) -> anyhow::Result<()> {
        match notice {
            BridgeNotice::Stream(event) => {
                let (importance, text) = describe(event, self.arguments.stream.key.is_some());
                let lines = self.lines.of(event.name());
                match importance {
                    Importance::Warning => lines.warn(text),
                    Importance::Note => lines.note(text),
                    Importance::Detail => lines.detail(text),
                }
                self.print(&EventRecord::new(event, rfc3339(SystemTime::now())))
            }
            BridgeNotice::StreamBridge(event) => {
                let (is_warning, text) = describe_bridge(event, self.unit);
                let record = BridgeRecord::of(event);
                let lines = self.lines.of(record.event());
                match is_warning {
                    true => lines.warn(text),
                    false => lines.note(text),
                }
                self.print(&record)
            }
            BridgeNotice::Connected => {
                self.service.ready(STATUS);
                if !self.was_connected {
                    let what = if self.arguments.datagrams { "datagrams" } else { "the stream" };
                    self.console.note(format_args!("keeping {what} in {}", self.engine));
                    self.was_connected = true;
                }
                self.print(&BridgeRecord::connected(&self.engine))
            }
            BridgeNotice::Disconnected(error) if !self.was_connected => {
                Err(BridgeError::Engine(error.clone()).into())
            }
            BridgeNotice::Disconnected(error) => {
                if self.problem.as_ref() == Some(&error.what) {
                    return Ok(());
                }
                self.problem = Some(error.what.clone());
                let text = format!("{}s are buffered until the engine can be used: {error}", self.unit);
                self.lines.advise(text, error.remedy.clone());
                self.print(&BridgeRecord::disconnected(&self.engine, error))
            }
        }
    }

    fn update_figures(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.next_figures > now {
            return Ok(());
        }
        self.next_figures = now + FIGURES_INTERVAL;
        self.figures.set(Latest::Keeping(KeepingState::of(&self.bridge, self.history_statistics())));
        self.report_refused()?;
        self.lines.poll();
        let (statistics, lag) = self.bridge.statistics();
        if statistics.pending == 0 && self.problem.take().is_some() {
            self.lines.note("everything is stored again");
        }
        if lag >= BACKLOG_INTERVAL && self.next_backlog <= now {
            self.next_backlog = now + BACKLOG_INTERVAL;
            self.console.note(backlog_text(&statistics, lag));
        }
        Ok(())
    }

    fn summarize(&mut self) -> anyhow::Result<()> {
        self.report_refused()?;
        while let Some((refused, more)) = self.refusals.rest() {
            self.print_refused(refused, more)?;
        }
        self.lines.finish();
        let history = self.history_statistics();
        let (time, (statistics, lag)) = (self.start.elapsed(), self.bridge.statistics());
        if statistics.pending > 0 {
            self.console.warn(backlog_text(&statistics, lag));
        }
        if self.arguments.json {
            let stream = self.bridge.stream().map(|stream| stream.to_string());
            let summary = Summary::new(&self.engine, stream, &statistics, history.as_ref(), time);
            write_record(&mut self.out, "summary", &self.process.label(&summary))?;
            self.out.flush()?;
        } else if self.was_connected {
            self.console.note(summary_text(&statistics, self.unit, time));
            history.iter().for_each(|history| self.console.note(ServedHistory::new(history).text()));
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

pub(super) fn run(arguments: &Arguments, process: &Process, console: &Console) -> anyhow::Result<Outcome> {
    let target = engine::Target::parse(arguments)?;
    let bound = arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    let interfaces = arguments.interface.as_slice();
    let admission = &arguments.admission;
    let places = arguments.place.as_slice();
    let chosen = select_memberships(places, interfaces, &admission.sources, admission.families, console)?;
    // The groups identify what is stored there, whichever interfaces and sources are admitted.
    let groups: BTreeSet<String> =
        chosen.items.iter().map(|membership| membership.address.to_string()).collect();
    let groups = groups.into_iter().collect::<Vec<_>>().join(" ");
    let stream = StreamId::named(&format!("datagrams of {groups}"));
    // Without GRO, because it makes the count of drops a lower bound.
    let receiver = Receiver::builder().join_all(chosen.items).gro(false).build_raising_limit()?;
    print_memberships(&receiver.memberships(), console);
    let config = BridgeConfig { buffer: arguments.keeping.buffer, ..BridgeConfig::new(stream, random()) };
    let (description, waker) = (target.description(), receiver.waker());
    let bridge = StreamBridge::start_group(receiver, Box::new(names()), target.connector(), config)?;
    Session::new(bridge, waker, description, None, arguments, process, console)?.run(bound)
}

/// Returns a function that returns the names of interfaces.
fn names() -> impl FnMut(InterfaceIndex) -> Arc<str> + Send {
    let mut names = InterfaceNames::new();
    move |index| names.of(index)
}
