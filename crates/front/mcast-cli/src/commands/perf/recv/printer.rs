//! Prints one line per second and a summary per run, or one JSON object per run.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_measure::{EndedSession, Session, SessionProgress, SessionTotals};
use mcast_terminal::{Console, Output};

use crate::commands::perf::figures::{Figures, lines, share, short_time};
use crate::output::{InterfaceNames, bytes, count, count_of, rates, record, write_record};

/// Prints runs on standard output.
pub(super) struct RunPrinter<'a> {
    console: &'a Console,
    out: Output,
    names: InterfaceNames,
    json: bool,
}

record! {
    fn new(EndedSession { key, session, report }: &EndedSession, interface: String) {
        let settings = session.settings();
    }

    /// A run as JSON: `schemas/perf-recv.json`.
    struct Summary {
        source: IpAddr = key.source,
        interface: String = interface,
        session: String = format!("{:016x}", key.session.0),
        size: Option<u32> = settings.map(|settings| settings.size),
        streams: usize = session.streams(),
        #[serde(flatten)]
        figures: Figures = Figures::new(report, settings),
        too_late: u64 = session.totals().too_late,
    }
}

impl<'a> RunPrinter<'a> {
    pub(super) fn new(console: &'a Console, json: bool) -> Self {
        Self { console, out: console.output(), names: InterfaceNames::new(), json }
    }

    /// Shows what was printed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Prints what a session has received since the last line.
    pub(super) fn line(&mut self, now: Duration, progress: &SessionProgress<'_>) -> io::Result<()> {
        /// The shortest time for which a rate is meaningful.
        const SHORTEST: Duration = Duration::from_millis(50);

        let SessionProgress { key, session, totals, active } = progress;
        let SessionTotals { received, sent, lost, duplicated, reordered, bytes, .. } = *totals;
        if self.json || (received == 0 && session.is_closed()) {
            return Ok(());
        }
        let arrivals = match rates(received, "datagram", bytes, *active) {
            rates if *active >= SHORTEST => rates,
            _ => count_of(received, "datagram"),
        };
        let delay = session.delays().and_then(|delays| delays.quantile(0.5));
        let delay = delay.map(|delay| format!("  delay {}", short_time(delay))).unwrap_or_default();
        writeln!(
            self.out,
            "{:>6.1} s  {}  {}  lost {}  duplicated {}  reordered {}  jitter {}{delay}",
            now.as_secs_f64(),
            key.source,
            arrivals,
            share(lost, sent),
            count(duplicated),
            count(reordered),
            short_time(session.jitter()),
        )
    }

    /// Prints the summaries of runs that have ended.
    pub(super) fn summaries(&mut self, ended: &[EndedSession]) -> io::Result<()> {
        ended.iter().try_for_each(|ended| self.summary(ended))?;
        self.out.flush()
    }

    fn summary(&mut self, ended: &EndedSession) -> io::Result<()> {
        let EndedSession { key, session, report } = ended;
        let interface = InterfaceIndex::new(key.interface).map(|index| self.names.of(index).to_string());
        let interface = interface.unwrap_or_default();
        if self.json {
            return write_record(&mut self.out, "result", &Summary::new(ended, interface));
        }
        let palette = *self.console.palette();
        let (heading, address) = (palette.heading, palette.address);
        writeln!(
            self.out,
            "{heading}from{heading:#} {address}{}{address:#} on {interface}: {}",
            key.source,
            describe(session)
        )?;
        for line in lines(report, session.settings(), &palette) {
            writeln!(self.out, "  {line}")?;
        }
        Ok(())
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
