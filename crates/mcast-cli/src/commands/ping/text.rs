//! One note per answer, and one row per responder at the end.

use std::io::{self, Write};
use std::time::Duration;

use mcast_measure::{AcceptedReply, ProbeResults, ProbeSession, Responder};

use super::session::{lost_percent, millis};
use crate::console::Console;
use crate::output::{Cell, Palette, Table, count, count_of, seconds};

/// Shows answers on standard error when they arrive.
#[derive(Debug)]
pub(super) struct AnswerPrinter {
    palette: Palette,
}

impl AnswerPrinter {
    pub(super) fn new(console: &Console) -> Self {
        Self { palette: *console.palette_for_notes() }
    }

    pub(super) fn show(&self, responder: &Responder, accepted: &AcceptedReply) {
        let AcceptedReply { is_new, number, reply, round_trip, .. } = *accepted;
        let Palette { address, good, dim, .. } = self.palette;
        let results = if reply.by_unicast { "unicast  " } else { "multicast" };
        let hops = reply.hops().map(|hops| format!("  {}", hops_text(hops, hops))).unwrap_or_default();
        let new = if is_new { format!("  {good}new{good:#}") } else { String::new() };
        // If standard error is closed, answers cannot be shown.
        let _ = writeln!(
            anstream::stderr(),
            "{address}{}{address:#}  {dim}{results} {number}{dim:#}  {}{hops}{new}",
            responder.address,
            trip(round_trip),
        );
    }
}

/// `0.123 ms`.
fn trip(time: Duration) -> String {
    format!("{:.3} ms", millis(time))
}

/// `this network`, `1 hop`, `2 to 3 hops`.
fn hops_text(fewest: u8, most: u8) -> String {
    match (fewest, most) {
        (0, 0) => "same network".into(),
        (fewest, most) if fewest == most => count_of(fewest.into(), "hop"),
        (fewest, most) => format!("{fewest} to {most} hops"),
    }
}

/// Writes a row per responder.
pub(super) fn write(pings: &ProbeSession, now: Duration, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    if pings.responders().is_empty() {
        return Ok(());
    }
    table(pings, now, console.palette()).write(&mut out)?;
    for responder in pings.responders() {
        if let Some(time) = responder.join_to_first {
            writeln!(out, "{} had joined {} before it received the first", responder.address, seconds(time))?;
        }
    }
    out.flush()
}

/// Notes how much was sent, answered and ignored.
pub(super) fn note_totals(pings: &ProbeSession, console: &Console) {
    console.note(format_args!(
        "{} to the group, {} answering",
        count_of(pings.sent(0), "probe"),
        count_of(pings.responders().len() as u64, "host")
    ));
    for (number, what) in [(pings.foreign(), "of another ping"), (pings.refused(), "that answer no probe")] {
        if number > 0 {
            console.note(format_args!("ignored {} {what}", count_of(number, "datagram")));
        }
    }
}

fn table(pings: &ProbeSession, now: Duration, palette: &Palette) -> Table {
    let titles = [
        "responder",
        "distance",
        "multicast",
        "lost",
        "min",
        "mean",
        "p99",
        "dup",
        "unicast",
        "lost",
        "min",
        "mean",
        "p99",
        "dup",
    ];
    let mut table = Table::new(&titles, palette.heading);
    for responder in pings.responders() {
        let hops = responder.hops.map_or_else(|| "?".into(), |(fewest, most)| hops_text(fewest, most));
        let name = Cell::new(responder.address.to_string()).style(palette.address);
        let group = cells(responder.multicast(0), pings.sent_to_group(responder, now), palette);
        let alone = cells(responder.unicast(), pings.sent_to(responder, now), palette);
        table.row([name, Cell::new(hops)].into_iter().chain(group).chain(alone));
    }
    table
}

/// Returns the cells for answers, loss, round trips and duplicates.
fn cells(results: &ProbeResults, sent: u64, palette: &Palette) -> [Cell; 6] {
    let times = results.round_trips();
    let time = |time: Option<Duration>| Cell::new(time.map_or_else(|| "-".into(), trip)).right();
    let lost = lost_percent(sent, results.received());
    let style = if lost > 0.0 { palette.bad } else { palette.good };
    [
        Cell::new(format!("{}/{}", count(results.received()), count(sent))).right(),
        Cell::new(format!("{lost:.1}%")).style(style).right(),
        time(times.min()),
        time(times.mean()),
        time(times.quantile(0.99)),
        Cell::new(count(results.duplicated())).right(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_as_text() {
        assert_eq!(hops_text(0, 0), "same network");
        assert_eq!(hops_text(1, 1), "1 hop");
        assert_eq!(hops_text(2, 3), "2 to 3 hops");
    }
}
