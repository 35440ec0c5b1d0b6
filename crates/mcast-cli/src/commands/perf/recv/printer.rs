//! Prints one line per second and a summary per run, or one JSON object per run.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_measure::wire::ReceiverReport;
use mcast_measure::{Session, SessionKey, SessionTotals};
use serde::Serialize;

use crate::commands::perf::figures::{Figures, lines, rates, share, short_time};
use crate::console::{Console, Output};
use crate::output::{InterfaceNames, bytes, count, count_of, write_record};

/// Prints runs on standard output.
pub(super) struct RunPrinter<'a> {
    console: &'a Console,
    out: Output,
    names: InterfaceNames,
    json: bool,
}

/// A run as JSON: `schemas/perf-recv.json`.
#[derive(Debug, Serialize)]
struct Summary {
    source: IpAddr,
    interface: String,
    session: String,
    size: Option<u32>,
    streams: usize,
    #[serde(flatten)]
    figures: Figures,
    too_late: u64,
}

impl<'a> RunPrinter<'a> {
    pub(super) fn new(console: &'a Console, json: bool) -> Self {
        Self { console, out: console.output(), names: InterfaceNames::new(), json }
    }

    /// Prints the datagrams received since the last line. `time` is the part of the interval in which the run was
    /// active.
    pub(super) fn line(
        &mut self,
        now: Duration,
        time: Duration,
        origin: &SessionKey,
        session: &Session,
        totals: &SessionTotals,
        before: &SessionTotals,
    ) -> io::Result<()> {
        /// The shortest time for which a rate is meaningful.
        const SHORTEST: Duration = Duration::from_millis(50);

        let since = |now: u64, before: u64| now.saturating_sub(before);
        let (received, sent) = (since(totals.received, before.received), since(totals.sent, before.sent));
        if self.json || (received == 0 && session.is_closed()) {
            return Ok(());
        }
        let arrivals = match rates(received, since(totals.bytes, before.bytes), time) {
            rates if time >= SHORTEST => rates,
            _ => count_of(received, "datagram"),
        };
        let delay = session.delays().and_then(|delays| delays.quantile(0.5));
        let delay = delay.map(|delay| format!("  delay {}", short_time(delay))).unwrap_or_default();
        writeln!(
            self.out,
            "{:>6.1} s  {}  {}  lost {}  duplicated {}  reordered {}  jitter {}{delay}",
            now.as_secs_f64(),
            origin.source,
            arrivals,
            share(since(totals.lost, before.lost), sent),
            count(since(totals.duplicated, before.duplicated)),
            count(since(totals.reordered, before.reordered)),
            short_time(session.jitter()),
        )
    }

    /// Prints the summary of a run that has ended.
    pub(super) fn summary(
        &mut self,
        origin: &SessionKey,
        session: &Session,
        report: &ReceiverReport,
    ) -> io::Result<()> {
        let interface = InterfaceIndex::new(origin.interface).map(|index| self.names.of(index).to_string());
        let interface = interface.unwrap_or_default();
        let settings = session.settings();
        if self.json {
            let summary = Summary {
                source: origin.source,
                interface,
                session: format!("{:016x}", origin.session.0),
                size: settings.map(|settings| settings.size),
                streams: session.streams(),
                figures: Figures::new(report, settings),
                too_late: session.totals().too_late,
            };
            return write_record(&mut self.out, "result", &summary);
        }
        let palette = *self.console.palette();
        let (heading, address) = (palette.heading, palette.address);
        writeln!(
            self.out,
            "{heading}from{heading:#} {address}{}{address:#} on {interface}: {}",
            origin.source,
            describe(session)
        )?;
        for line in lines(report, settings, &palette) {
            writeln!(self.out, "  {line}")?;
        }
        Ok(())
    }

    /// Prints counts of datagrams that belong to no run.
    pub(super) fn strays(&self, foreign: u64, turned_away: u64, withheld: (u64, u64)) {
        let note = |number: u64, what: &str| {
            if number > 0 {
                self.console.note(format_args!("{} {what}", count(number)));
            }
        };
        note(foreign, "ignored: not from mcast perf send");
        note(turned_away, "ignored: too many sessions or streams at once");
        note(withheld.0, "requests not answered (rate limit)");
        note(withheld.1, "answers could not be sent");
    }

    pub(super) fn note(&self, text: &str) {
        self.console.note(text);
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Describes the streams that the sender announced and those received.
fn describe(session: &Session) -> String {
    let received = session.streams() as u64;
    let Some(settings) = session.settings() else { return count_of(received, "stream") };
    let kind = if settings.ping_pong { "pings" } else { "datagrams" };
    let streams = match u64::from(settings.streams) {
        sent if sent == received => count_of(sent, "stream"),
        sent => format!("{} of {}", count(received), count_of(sent, "stream")),
    };
    let rate = settings.rate.map(|rate| format!(", target {}/s", count(rate.round() as u64)));
    format!("{kind} of {}, {streams}{}", bytes(settings.size.into()), rate.unwrap_or_default())
}
