//! Events in words, with what to do about them.

use std::io::Write;
use std::time::Duration;

use mcast_json::EventReport;
use mcast_relay::driver::{Driver, DriverEvent};
use mcast_relay::http::HttpCounts;
use mcast_relay::{RelayNames, Rule, RuleCounts};
use mcast_terminal::{Console, Output};

use super::json::{EventKind, EventRecord};
use crate::log_lines::{LogLimiter, and_more};
use crate::output::{clock_time, count, count_of, seconds, write_json};

/// Prints events, as lines of text or as JSON.
pub(super) struct EventPrinter<'a> {
    console: &'a Console,
    json: bool,
    out: Output,
    limiter: LogLimiter<EventKind, EventRecord>,
}

impl<'a> EventPrinter<'a> {
    pub(super) fn new(json: bool, console: &'a Console) -> Self {
        Self { console, json, out: console.output(), limiter: LogLimiter::new() }
    }

    /// Prints an event of the driver.
    pub(super) fn print(&mut self, event: &DriverEvent, names: &RelayNames) -> anyhow::Result<()> {
        let record = EventRecord::new(event.report(names));
        let is_limited = matches!(
            event,
            DriverEvent::Http(_) | DriverEvent::WrongTunnelKey { .. } | DriverEvent::UnknownTunnel { .. }
        );
        // Those are counted where they happen.
        let admitted = match is_limited {
            true => Some(record),
            false => self.limiter.admit(record.kind(), record.source(), record),
        };
        admitted.map_or(Ok(()), |record| self.print_record(record))
    }

    /// Prints what was withheld and is due; at the end, all that is left. An error also if earlier events could not be written.
    pub(super) fn print_withheld(&mut self, is_end: bool) -> anyhow::Result<()> {
        while let Some((mut record, more)) = if is_end { self.limiter.rest() } else { self.limiter.due() } {
            record.report.text += &and_more(more);
            self.print_record(EventRecord { more, ..record })?;
        }
        Ok(self.out.flush()?)
    }

    /// Prints an event that is not limited.
    pub(super) fn print_report(&mut self, report: EventReport) -> anyhow::Result<()> {
        self.print_record(EventRecord::new(report))
    }

    fn print_record(&mut self, record: EventRecord) -> anyhow::Result<()> {
        if self.json {
            write_json(&mut self.out, &record)?;
            return Ok(self.out.flush()?);
        }
        let dim = self.console.palette().dim;
        let EventReport { text, remedy, .. } = &record.report;
        writeln!(self.out, "{dim}{}{dim:#} {text}", clock_time(record.time))?;
        self.out.flush()?;
        remedy.iter().for_each(|remedy| self.console.advise(remedy));
        Ok(())
    }

    /// Prints an object as JSON; returns whether that was requested.
    pub(super) fn print_json(
        &mut self,
        event: &'static str,
        fields: &impl serde::Serialize,
    ) -> anyhow::Result<bool> {
        if self.json {
            crate::output::write_record(&mut self.out, event, fields)?;
            self.out.flush()?;
        }
        Ok(self.json)
    }
}

/// Returns the summary.
pub(super) fn summary_lines(driver: &Driver, time: Duration) -> Vec<String> {
    let mut lines: Vec<_> = driver.relay().rules().map(|(rule, counts)| summary_line(rule, counts)).collect();
    lines.extend(super::json::summary_lines(driver));
    lines.extend(http_line(&driver.http_counts()));
    let amt = driver.amt();
    if amt.sent > 0 || amt.gateways > 0 || !amt.refused.is_empty() {
        let refused: Vec<_> =
            amt.refused.iter().map(|(reason, number)| format!("{} ({reason})", count(*number))).collect();
        let refused =
            if refused.is_empty() { String::new() } else { format!("; not used: {}", refused.join(", ")) };
        let (gateways, sent) = (count_of(amt.gateways, "gateway"), count_of(amt.sent, "datagram"));
        lines.push(format!("AMT: {gateways}, sent {sent}{refused}"));
    }
    let unsent = match driver.counts().unsent {
        0 => String::new(),
        unsent => format!("; not taken by the system: {}", count(unsent)),
    };
    let lost = match driver.counts().lost {
        0 => String::new(),
        lost => {
            format!(
                "; datagrams or coalesced buffers lost, because a receive buffer was full: {}",
                count(lost)
            )
        }
    };
    lines.push(format!("relayed for {}{lost}{unsent}", seconds(time)));
    lines
}

/// Returns what HTTP clients have been served, if there was one.
fn http_line(counts: &HttpCounts) -> Option<String> {
    let refused: Vec<_> =
        counts.refusals().map(|(reason, number)| format!("{} ({})", count(number), reason.name())).collect();
    if counts.served == 0 && refused.is_empty() {
        return None;
    }
    let mut text = format!(
        "HTTP: served {}, sent {}",
        count_of(counts.served, "stream"),
        count_of(counts.sent_bytes, "byte")
    );
    if counts.skipped > 0 {
        text += &format!(", skipped {} for slow clients", count_of(counts.skipped, "datagram"));
    }
    if !refused.is_empty() {
        text += &format!("; refused or dropped: {}", refused.join(", "));
    }
    Some(text)
}

fn summary_line(rule: &Rule, counts: &RuleCounts) -> String {
    let copies =
        if counts.copies == 1 { "1 copy".into() } else { format!("{} copies", count(counts.copies)) };
    let mut text = format!("{rule}: received {}, sent {copies}", count_of(counts.arrived, "datagram"));
    if counts.replies > 0 {
        let replies = if counts.replies == 1 { "reply" } else { "replies" };
        text += &format!(" and {} {replies}", count(counts.replies));
    }
    let refusals = counts.refusals();
    let refused: Vec<_> =
        refusals.map(|(reason, number)| format!("{} ({})", count(number), reason.why())).collect();
    if !refused.is_empty() {
        text += &format!("; not forwarded: {}", refused.join(", "));
    }
    text
}
