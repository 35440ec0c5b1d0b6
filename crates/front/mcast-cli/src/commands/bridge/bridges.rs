//! The bridges of a file, each on a thread.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast_metrics::{Exporter, Health};
use mcast_terminal::Console;
use serde::Serialize;

use super::config::{self, Entry};
use super::figures::{self, Figures, Latest};
use super::text::BridgeRecord;
use super::{Arguments, engine, run_one};
use crate::exit::{Outcome, USAGE};
use crate::interrupt::{Hangup, Interrupt, Service};
use crate::output::print_json;
use crate::{exit, metrics};

/// The longest wait before checking for signals.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a bridge that has failed waits until it is started again: at first, and at most.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// A bridge that ran for this long waits for the shortest time.
const STEADY: Duration = Duration::from_secs(60);
/// The status for the service manager.
const STATUS: &str = "Bridging";

/// Runs the bridges of a file until all have ended.
pub(super) fn run(path: &Path, arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let entries = config::read(path, arguments, console)?;
    if arguments.check {
        return check_all(&entries, console);
    }
    // Threads inherit it, so before the first one.
    let (hangup, interrupt) = (Hangup::catch()?, Interrupt::catch(|| {})?);
    let (ended, endings) = channel();
    let end = arguments.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut bridges = Bridges {
        path,
        arguments,
        console,
        end,
        running: entries.into_iter().map(|entry| Bridge::new(entry.into(), console, end)).collect(),
        leaving: Vec::new(),
        shown: Shown::default(),
        all_succeeded: true,
        ended,
        endings,
    };
    bridges.show();
    let _exporter = bridges.serve()?;
    bridges.run(&hangup, &interrupt)
}

/// Shows what the broker of each bridge holds.
fn check_all(entries: &[Entry], console: &Console) -> anyhow::Result<Outcome> {
    let mut answer = true;
    for Entry { name, arguments, .. } in entries {
        let console = console.named(name);
        match engine::check(arguments, &console) {
            Ok(outcome) => answer &= outcome == Outcome::Yes,
            Err(error) => {
                exit::print_failure(&error, &console);
                answer = false;
            }
        }
    }
    Ok(Outcome::of(answer))
}

/// The names and figures that are served.
type Shown = Arc<Mutex<Vec<(Arc<str>, Figures)>>>;

/// A bridge that has ended: its number, and how.
type Ending = (u64, anyhow::Result<Outcome>);

struct Bridges<'a> {
    path: &'a Path,
    arguments: &'a Arguments,
    console: &'a Console,
    end: Option<Instant>,
    running: Vec<Bridge>,
    /// Those that are to end, because the file does not have them any more.
    leaving: Vec<Bridge>,
    shown: Shown,
    all_succeeded: bool,
    ended: Sender<Ending>,
    endings: Receiver<Ending>,
}

struct Bridge {
    entry: Arc<Entry>,
    seat: Seat,
    console: Arc<Console>,
    state: State,
    retry: Duration,
    /// Whether it was connected, or failed, at least once.
    was_tried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is started at this time.
    Waiting(Instant),
    /// It runs since then, under this number.
    Running(u64, Instant),
    /// Only another line in the file can correct its failure.
    Failed,
    Over,
}

impl Bridges<'_> {
    fn run(&mut self, hangup: &Hangup, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
        let service = Service::begin();
        let (mut is_ready, mut count) = (false, 0);
        while !interrupt.has_arrived() && self.is_busy() {
            self.start_due(&mut count)?;
            self.take_ending(POLL_INTERVAL)?;
            if hangup.has_arrived() {
                service.reloading();
                self.reload()?;
                service.ready(STATUS);
            }
            if !is_ready && self.running.iter_mut().all(Bridge::was_tried) {
                is_ready = true;
                service.ready(STATUS);
            }
            if !self.is_stuck() {
                service.alive();
            }
        }
        service.stopping();
        self.running.iter().for_each(|bridge| bridge.seat.stop.set());
        while self.running.iter().chain(&self.leaving).any(Bridge::must_finish) {
            self.take_ending(POLL_INTERVAL)?;
            service.alive();
        }
        let has_usage_errors = self.running.iter().any(|bridge| bridge.state == State::Failed);
        let own = match has_usage_errors {
            true => Outcome::Delegated(USAGE),
            false => Outcome::of(self.all_succeeded && self.running.iter().all(|it| it.state == State::Over)),
        };
        Ok(interrupt.outcome().unwrap_or(own))
    }

    /// Whether a bridge runs or will, and there is time for it.
    fn is_busy(&self) -> bool {
        let has_time = self.end.is_none_or(|end| Instant::now() < end);
        let is_active = |bridge: &Bridge| match bridge.state {
            State::Waiting(_) => has_time,
            State::Running(..) => true,
            State::Failed | State::Over => false,
        };
        self.running.iter().any(is_active)
    }

    /// Starts the bridges whose time has come, once those whose place they may take have ended.
    fn start_due(&mut self, count: &mut u64) -> anyhow::Result<()> {
        self.leaving.retain(Bridge::must_finish);
        if !self.leaving.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        for bridge in &mut self.running {
            if matches!(bridge.state, State::Waiting(at) if at <= now) {
                *count += 1;
                bridge.start(*count, self.ended.clone())?;
            }
        }
        Ok(())
    }

    /// Waits until a bridge ends, and decides what follows.
    fn take_ending(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let (number, result) = match self.endings.recv_timeout(timeout) {
            Ok(ending) => ending,
            // `ended` is there as long as this is.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let is_it =
            |bridge: &&mut Bridge| matches!(bridge.state, State::Running(other, _) if other == number);
        if let Some(bridge) = self.leaving.iter_mut().find(is_it) {
            bridge.state = State::Over;
            return result.map(drop).or_else(|error| {
                exit::print_failure(&error, &bridge.console);
                Ok(())
            });
        }
        let Some(bridge) = self.running.iter_mut().find(is_it) else { return Ok(()) };
        let record = bridge.end(result);
        self.all_succeeded &= record.is_none();
        match record {
            Some(Some(record)) if self.arguments.json => {
                let labelled = Process::shared(bridge.seat.clone());
                Ok(print_json(self.console, &labelled.label(&record))?)
            }
            _ => Ok(()),
        }
    }

    /// Rereads the file. Bridges whose line is the same are left alone, the others end, and those that are new or
    /// changed are started. An invalid file changes nothing.
    fn reload(&mut self) -> anyhow::Result<()> {
        let record = match config::read(self.path, self.arguments, self.console) {
            Err(error) => {
                self.console.warn(format_args!("keeping the current bridges: {}", exit::describe(&error)));
                BridgeRecord::not_reloaded(exit::describe(&error))
            }
            Ok(entries) => {
                let count = entries.len();
                let mut old: Vec<_> = std::mem::take(&mut self.running);
                let mut kept = 0;
                for entry in entries {
                    // One that failed or has ended is started again.
                    let is_kept =
                        |it: &Bridge| it.entry.is_same(&entry) && matches!(it.state, State::Running(..));
                    let bridge = match old.iter().position(is_kept) {
                        Some(index) => {
                            kept += 1;
                            old.swap_remove(index)
                        }
                        None => Bridge::new(entry.into(), self.console, self.end),
                    };
                    self.running.push(bridge);
                }
                let stopped = old.len();
                old.iter().for_each(|bridge| bridge.seat.stop.set());
                self.leaving.extend(old);
                self.show();
                self.console.note(format_args!(
                    "read {} again: {kept} unchanged, {} to start, {stopped} to stop",
                    self.path.display(),
                    count - kept
                ));
                BridgeRecord::reloaded(count as u64)
            }
        };
        if self.arguments.json {
            print_json(self.console, &record)?;
        }
        Ok(())
    }

    /// Starts to serve metrics, if that is requested.
    fn serve(&self) -> anyhow::Result<Option<Exporter>> {
        let Some(bound) = self.arguments.metrics.as_ref().map(metrics::bind).transpose()? else {
            return Ok(None);
        };
        let (shown, states) = (Arc::clone(&self.shown), Arc::clone(&self.shown));
        let latest = |shown: &Shown| -> Vec<(Arc<str>, Latest)> {
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.iter().map(|(name, figures)| (Arc::clone(name), figures.latest())).collect()
        };
        let exposition = move || {
            let latest = latest(&shown);
            let named: Vec<_> = latest.iter().map(|(name, latest)| (Some(&**name), latest.clone())).collect();
            figures::exposition(&named)
        };
        let health = move || figures::health(&latest(&states));
        metrics::start_with_health(bound, exposition, health, self.console).map(Some)
    }

    /// Shows the figures of the present bridges.
    fn show(&self) {
        let shown = self.running.iter().map(|it| (Arc::clone(&it.seat.name), it.seat.figures.clone()));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
    }

    fn is_stuck(&self) -> bool {
        let is_stuck = |bridge: &Bridge| matches!(bridge.seat.figures.latest().health(), Health::Stuck(_));
        self.running.iter().any(is_stuck)
    }
}

impl Bridge {
    fn new(entry: Arc<Entry>, console: &Console, end: Option<Instant>) -> Self {
        let name: Arc<str> = entry.name.as_str().into();
        Self {
            console: Arc::new(console.named(&name)),
            entry,
            seat: Seat { name, stop: Interrupt::default(), figures: Figures::default(), end },
            state: State::Waiting(Instant::now()),
            retry: RETRY[0],
            was_tried: false,
        }
    }

    fn start(&mut self, number: u64, ended: Sender<Ending>) -> anyhow::Result<()> {
        self.state = State::Running(number, Instant::now());
        self.seat.figures.set(Latest::Starting);
        let (entry, console) = (Arc::clone(&self.entry), Arc::clone(&self.console));
        let process = Process::shared(self.seat.clone());
        let run = move || {
            // Nobody receives it when the process ends.
            let _ = ended.send((number, run_one(&entry.arguments, &process, &console)));
        };
        thread::Builder::new()
            .name(format!("bridge {}", self.seat.name))
            .spawn(run)
            .map(drop)
            .context("cannot start the thread of a bridge")
    }

    /// It has ended: returns nothing if it succeeded, otherwise what is reported of its failure.
    fn end(&mut self, result: anyhow::Result<Outcome>) -> Option<Option<BridgeRecord>> {
        let State::Running(_, since) = self.state else { return None };
        self.state = State::Over;
        let error = match result {
            Ok(Outcome::Yes | Outcome::Interrupted(_)) => return None,
            Ok(_) => return Some(None),
            Err(error) => error,
        };
        let status = exit::print_failure(&error, &self.console);
        self.state = match status {
            USAGE => State::Failed,
            _ => {
                self.retry = if since.elapsed() >= STEADY { RETRY[0] } else { self.retry };
                let after = self.retry;
                self.retry = RETRY[1].min(after * 2);
                self.console.note(format_args!("starting it again in {} s", after.as_secs()));
                State::Waiting(Instant::now() + after)
            }
        };
        let reason = exit::describe(&error);
        self.seat.figures.set(Latest::Failed(reason.as_str().into()));
        self.was_tried = true;
        Some(Some(BridgeRecord::failed(reason, crate::exit::remedy(&error))))
    }

    /// Whether it was connected, or failed, at least once.
    fn was_tried(&mut self) -> bool {
        self.was_tried |= self.state == State::Over || self.seat.figures.latest().is_connected();
        self.was_tried
    }

    /// Whether it runs, and has something to finish: not while it looks for its stream or its broker.
    fn must_finish(&self) -> bool {
        let has_begun = matches!(self.seat.figures.latest(), Latest::Keeping(_) | Latest::Publishing(_));
        matches!(self.state, State::Running(..)) && has_begun
    }
}

/// The process of a bridge.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// If it runs other bridges, too.
    shared: Option<Seat>,
}

/// The place of a bridge among others of a file.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) name: Arc<str>,
    /// Set when it is to end.
    pub(super) stop: Interrupt,
    pub(super) figures: Figures,
    pub(super) end: Option<Instant>,
}

// A record with the name of its bridge, if that is one of several. Its schema has the description of the record.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Labelled<'a, T> {
    #[serde(flatten)]
    record: &'a T,
    /// Name of the bridge, if it is one of several (`mcast bridge --config`)
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<&'a str>,
}

impl Process {
    pub(super) fn shared(seat: Seat) -> Self {
        Self { shared: Some(seat) }
    }

    /// Returns the connection to the service manager. Who runs several bridges has it for all of them.
    pub(super) fn service(&self) -> Service {
        self.shared.as_ref().map_or_else(Service::begin, |_| Service::none())
    }

    /// Returns what ends the bridge. Signals are caught once per process.
    pub(super) fn interrupt(
        &self,
        catch: impl FnOnce() -> anyhow::Result<Interrupt>,
    ) -> anyhow::Result<Interrupt> {
        self.shared.as_ref().map_or_else(catch, |seat| Ok(seat.stop.clone()))
    }

    pub(super) fn figures(&self) -> Figures {
        self.shared.as_ref().map(|seat| seat.figures.clone()).unwrap_or_default()
    }

    /// Returns when a bridge that was started at `start` is to end.
    pub(super) fn end(&self, start: Instant, timeout: Option<Duration>) -> Option<Instant> {
        match &self.shared {
            Some(seat) => seat.end,
            None => timeout.and_then(|timeout| start.checked_add(timeout)),
        }
    }

    pub(super) fn label<'a, T>(&'a self, record: &'a T) -> Labelled<'a, T> {
        Labelled { record, bridge: self.shared.as_ref().map(|seat| &*seat.name) }
    }
}
