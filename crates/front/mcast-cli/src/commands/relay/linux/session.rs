//! The main loop.

use std::time::{Duration, Instant};

use mcast_metrics::BoundExporter;
use mcast_relay::RelayEvent;
use mcast_relay::driver::{Driver, DriverEvent};
use mcast_terminal::Console;

use super::export::Figures;
use super::json::{EventRecord, Summary};
use super::names::Names;
use super::text::{EventPrinter, summary_lines};
use crate::commands::relay::Arguments;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt, Service};

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval of figures for metrics.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// The status for the service manager.
const STATUS: &str = "Relaying";

/// The state of `mcast relay`.
pub(super) struct Session<'a> {
    driver: Driver,
    names: Names,
    arguments: &'a Arguments,
    console: &'a Console,
    printer: EventPrinter<'a>,
    figures: Figures,
    next_figures: Instant,
    loops: u64,
    start: Instant,
    interrupt: Interrupt,
    hangup: Option<Hangup>,
    service: Service,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        driver: Driver,
        arguments: &'a Arguments,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let (waker, start, service) = (driver.waker(), Instant::now(), Service::begin());
        Ok(Self {
            names: Names::of(driver.relay()),
            driver,
            arguments,
            console,
            printer: EventPrinter::new(arguments.json, console),
            figures: Figures::default(),
            next_figures: start,
            loops: 0,
            start,
            // If the waker fails, the wait ends after its longest time.
            interrupt: Interrupt::catch(move || drop(waker.wake()))?,
            hangup: match arguments.has_files() {
                true => Some(Hangup::catch()?),
                // Rules of the command line cannot change. A service manager may request a reload anyway.
                false => service.hangups()?,
            },
            service,
        })
    }

    pub(super) fn run(mut self, bound: Option<BoundExporter>) -> anyhow::Result<Outcome> {
        let exporter = bound.map(|bound| self.figures.serve(bound)).transpose()?;
        if let Some(exporter) = &exporter {
            self.console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
        }
        if let Err(error) = self.figures.serve_locally() {
            self.console.note(format_args!("mcast doctor will not see what is not forwarded: {error}"));
        }
        if let Some(address) = self.arguments.tunnels.listen_tunnel {
            self.console.note(format_args!("listening for tunnels at {address}"));
        }
        self.service.ready(STATUS);
        self.console.note("waiting 1.7 s for announcements of other relays before forwarding");
        let ended = self.relay();
        self.service.stopping();
        self.driver.count_losses();
        let (time, lost) = (self.start.elapsed(), self.driver.counts().lost);
        let summary = Summary::new(&self.driver, self.loops, time);
        let lines = summary_lines(&self.driver, time);
        // Another relay takes over at once.
        let stopped = self.driver.stop();
        self.print_events()?;
        self.printer.print_withheld(true)?;
        if !self.printer.print_json("summary", &summary)? {
            lines.iter().for_each(|line| self.console.note(line));
        }
        ended?;
        stopped?;
        Ok(self.interrupt.outcome().unwrap_or_else(|| Outcome::of(self.loops == 0 && lost == 0)))
    }

    fn relay(&mut self) -> anyhow::Result<()> {
        let end = self.arguments.timeout.and_then(|timeout| self.start.checked_add(timeout));
        while !self.interrupt.has_arrived() {
            let left = end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            self.driver.poll(left.min(POLL_INTERVAL))?;
            self.print_events()?;
            self.service.alive();
            if self.hangup.as_ref().is_some_and(Hangup::has_arrived) {
                self.reload()?;
            }
            if self.next_figures <= Instant::now() {
                self.next_figures = Instant::now() + FIGURES_INTERVAL;
                self.figures.update(&self.driver, &self.names, self.loops);
            }
        }
        Ok(())
    }

    fn print_events(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.driver.next_event() {
            self.loops += u64::from(matches!(event, DriverEvent::Relay(RelayEvent::LoopFound { .. })));
            self.printer.print(&event, &self.names)?;
        }
        self.printer.print_withheld(false)
    }

    /// Rereads the rules, the key file, and the token and the playlist of HTTP clients. Unless all are valid, the current ones
    /// remain.
    fn reload(&mut self) -> anyhow::Result<()> {
        self.service.reloading();
        match self.replace() {
            Ok(count) => {
                self.names = Names::of(self.driver.relay());
                let text = format!("reread the rules: {count}");
                let count = Some(count as u64);
                self.printer.print_record(EventRecord { count, text, ..EventRecord::new("reloaded") })?;
            }
            Err(error) => {
                self.console.warn(format_args!("keeping the current rules and keys: {error:#}"));
                let (reason, text) =
                    (Some(format!("{error:#}")), "kept the current rules and keys".to_owned());
                self.printer.print_record(EventRecord {
                    reason,
                    text,
                    ..EventRecord::new("not-reloaded")
                })?;
            }
        }
        self.service.ready(STATUS);
        Ok(())
    }

    /// Replaces all of them, or nothing. Returns the number of rules.
    fn replace(&mut self) -> anyhow::Result<usize> {
        let rules = self.arguments.read_rules()?;
        let keys = self.arguments.read_keys(self.console)?;
        let authenticators = self.arguments.read_authenticators(self.console)?;
        let token = self.arguments.clients.read_token(self.console)?;
        let channels = self.arguments.clients.read_channels(self.console)?;
        let count = rules.len();
        // Gateways of AMT, for example, cannot be served at every address.
        self.driver.replace_rules(rules)?;
        self.driver.set_tunnel_keys(&keys);
        self.driver.set_authenticators(authenticators);
        self.driver.set_http_access(token, channels);
        Ok(count)
    }
}
