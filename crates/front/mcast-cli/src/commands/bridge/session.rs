//! The main loop of a bridge into a broker, and the plain groups that it keeps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{InterfaceIndex, Receiver};
use mcast_bridge::{BridgeConfig, BridgeNotice, StreamBridge};
use mcast_metrics::BoundExporter;
use mcast_stream::wire::StreamId;
use mcast_stream::{HistoryServerStatistics, RefusedRequest};
use mcast_terminal::Console;

use super::bridges::Process;
use super::figures::{KeepingState, Latest};
use super::surroundings::Surroundings;
use super::text::{BridgeRecord, KeepingSummary, backlog_text, connected, disconnected, summary_text};
use super::{Arguments, History, engine, random};
use crate::arguments::select_memberships;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::log_lines::{LogLimiter, and_more};
use crate::message_layer::{ServedHistory, refusal_text};
use crate::metrics;
use crate::output::InterfaceNames;
use crate::receiving::{EventRecord, print_memberships};

/// The interval of notes on a backlog, and its least age.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long to store what was received after an interrupt.
const GRACE: Duration = Duration::from_secs(2);
/// How long to repeat to the publisher that everything was received.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// The state of `mcast bridge`.
pub(super) struct Session<'a> {
    bridge: StreamBridge,
    around: Surroundings<'a>,
    /// What is kept: messages or datagrams.
    unit: &'static str,
    /// Requests for the history that were refused.
    refusals: LogLimiter<(), RefusedRequest>,
    next_backlog: Instant,
    ended: Option<Instant>,
    /// The history server, if there is one.
    history: Option<History>,
    /// Whether it was reported that it serves.
    is_serving: bool,
    /// Whether it was reported that it waits for those that read the history.
    waits_for_readers: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(bridge: StreamBridge, around: Surroundings<'a>) -> Self {
        Self {
            bridge,
            unit: if around.arguments.datagrams { "datagram" } else { "message" },
            around,
            refusals: LogLimiter::new(),
            next_backlog: Instant::now(),
            ended: None,
            history: None,
            is_serving: false,
            waits_for_readers: false,
        }
    }

    /// Serves the history, if there is one to serve.
    pub(super) fn serving(self, history: Option<History>) -> Self {
        Self { history, ..self }
    }

    pub(super) fn run(mut self, bound: Option<BoundExporter>) -> anyhow::Result<Outcome> {
        let _exporter = self.around.serve(bound)?;
        let outcome = self.keep();
        self.around.service.stopping();
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
            .around
            .interrupt
            .outcome()
            .unwrap_or_else(|| Outcome::of(matches!(is_stored, Ok(true)) && !has_gaps)))
    }

    /// Keeps the stream until its end, the end of the time, or an interrupt.
    fn keep(&mut self) -> anyhow::Result<()> {
        while !self.is_over()
            && let Some(timeout) = self.around.wait_at_most()
        {
            if let Some(notice) = self.bridge.next(timeout)? {
                self.handle(&notice)?;
            }
            if let Some(history) = self.history.take() {
                self.history = Some(history.poll(&self.bridge, self.around.console)?);
                self.report_serving()?;
            }
            self.around.handle_timeout(|keys| {
                self.history.iter_mut().for_each(|history| history.set_keys(&keys));
                self.bridge.set_keys(keys);
            })?;
            self.update_figures()?;
        }
        Ok(())
    }

    fn report_serving(&mut self) -> anyhow::Result<()> {
        let Some((at, _)) = self.history.as_ref().and_then(History::statistics) else { return Ok(()) };
        match std::mem::replace(&mut self.is_serving, true) {
            true => Ok(()),
            false => self.around.print(&BridgeRecord::serving_history(at)),
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
        self.around.console.warn(format_args!("{}{}", refusal_text("the history", &refused), and_more(more)));
        self.around.print(&BridgeRecord::history_refused(refused, total, more))
    }

    /// Whether the stream has ended, everything is stored, the publisher knows that it was received, and nobody reads what
    /// is stored.
    fn is_over(&mut self) -> bool {
        let Some(subscriber) = self.bridge.subscriber() else { return false };
        if self.around.arguments.stream.stay
            || !subscriber.has_ended()
            || self.bridge.statistics().0.pending > 0
        {
            return false;
        }
        let ended = *self.ended.get_or_insert_with(Instant::now);
        if !subscriber.is_over() && ended.elapsed() < CONFIRMATION {
            return false;
        }
        let is_read = self.history.as_ref().is_some_and(History::is_in_use);
        if is_read && !std::mem::replace(&mut self.waits_for_readers, true) {
            self.around
                .console
                .note("the stream has ended; waiting for the subscribers that read its history");
        }
        !is_read
    }

    fn handle(&mut self, notice: &BridgeNotice) -> anyhow::Result<()> {
        match notice {
            BridgeNotice::Stream(event) => {
                let report = event.report(self.around.arguments.stream.key.is_some());
                self.around.lines.event(&report, event.severity());
                self.around.print(&EventRecord::new(report))
            }
            BridgeNotice::StreamBridge(event) => {
                let report = event.report(self.unit);
                self.around.lines.event(&report, event.severity());
                self.around.print(&BridgeRecord::of(report))
            }
            BridgeNotice::Connected => {
                if self.around.on_connected() {
                    let what = if self.around.arguments.datagrams { "datagrams" } else { "the stream" };
                    self.around.console.note(format_args!("keeping {what} in {}", self.around.engine));
                }
                self.around.print(&BridgeRecord::of(connected(&self.around.engine)))
            }
            BridgeNotice::Disconnected(error) => {
                let consequence = format!("{}s are buffered", self.unit);
                match self.around.on_disconnected(error, &consequence)? {
                    true => self.around.print(&BridgeRecord::of(disconnected(&self.around.engine, error))),
                    false => Ok(()),
                }
            }
        }
    }

    fn update_figures(&mut self) -> anyhow::Result<()> {
        if !self.around.are_figures_due() {
            return Ok(());
        }
        let state = KeepingState::of(&self.bridge, self.history_statistics());
        self.around.figures.set(Latest::Keeping(state));
        self.report_refused()?;
        let (statistics, lag) = self.bridge.statistics();
        if statistics.pending == 0 && self.bridge.is_connected() && self.around.settle_problem() {
            self.around.lines.note("everything is stored again");
        }
        let now = Instant::now();
        if lag >= BACKLOG_INTERVAL && self.next_backlog <= now {
            self.next_backlog = now + BACKLOG_INTERVAL;
            self.around.console.note(backlog_text(&statistics, lag));
        }
        Ok(())
    }

    fn summarize(&mut self) -> anyhow::Result<()> {
        self.report_refused()?;
        while let Some((refused, more)) = self.refusals.rest() {
            self.print_refused(refused, more)?;
        }
        self.around.lines.finish();
        let history = self.history_statistics();
        let (time, (statistics, lag)) = (self.around.start.elapsed(), self.bridge.statistics());
        if statistics.pending > 0 {
            self.around.console.warn(backlog_text(&statistics, lag));
        }
        if self.around.arguments.json {
            let stream = self.bridge.stream().map(|stream| stream.to_string());
            let summary =
                KeepingSummary::new(&self.around.engine, stream, &statistics, history.as_ref(), time);
            self.around.print_summary(&summary)?;
        } else if self.around.was_connected {
            self.around.console.note(summary_text(&statistics, self.unit, time));
            history.iter().for_each(|history| self.around.console.note(ServedHistory::new(history).text()));
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
    let (description, engine) = (target.description(), target.engine());
    let config = BridgeConfig {
        buffer: arguments.keeping.buffer(),
        stops_at_unstorable: arguments.keeping.oversize == super::Oversize::Stop,
        batch_records: engine.batch_records(),
        ..BridgeConfig::new(stream, random())
    };
    let waker = receiver.waker();
    let bridge = StreamBridge::start_group(receiver, Box::new(names()), engine, config)?;
    let interrupt = || Interrupt::waking(waker);
    let around = Surroundings::new(description, None, interrupt, arguments, process, console)?;
    Session::new(bridge, around).run(bound)
}

/// Returns a function that returns the names of interfaces.
fn names() -> impl FnMut(InterfaceIndex) -> Arc<str> + Send {
    let mut names = InterfaceNames::new();
    move |index| names.of(index)
}
