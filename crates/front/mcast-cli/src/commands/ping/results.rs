//! One note per answer, and one row or JSON object per responder at the end.

use std::io::{self, Write};
use std::net::IpAddr;

use mcast_measure::{AcceptedReply, ClockTime, ProbeResults, ProbeSession, RespondingHost};
use mcast_terminal::Console;

use super::lost;
use crate::output::{Cell, Palette, Table, count, count_of, record, seconds, write_record};
use crate::probe::{distance, millis, round_trip};

/// Prints an answer on standard error when it arrives.
pub(super) fn print_reply(responder: &RespondingHost, accepted: &AcceptedReply, palette: &Palette) {
    let AcceptedReply { is_new, number, reply, .. } = *accepted;
    let Palette { address, good, dim, .. } = *palette;
    let results = if reply.by_unicast { "unicast  " } else { "multicast" };
    let hops = reply.hops().map(|hops| format!("  {}", distance(Some((hops, hops))))).unwrap_or_default();
    let new = if is_new { format!("  {good}new{good:#}") } else { String::new() };
    // If standard error is closed, answers cannot be shown.
    let _ = writeln!(
        anstream::stderr(),
        "{address}{}{address:#}  {dim}{results} {number}{dim:#}  {}{hops}{new}",
        responder.address,
        round_trip(Some(accepted.round_trip)),
    );
}

/// Writes a row per responder.
pub(super) fn write_text(pings: &ProbeSession, now: ClockTime, console: &Console) -> io::Result<()> {
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

fn table(pings: &ProbeSession, now: ClockTime, palette: &Palette) -> Table {
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
        let name = Cell::new(responder.address.to_string()).style(palette.address);
        let group = cells(responder.multicast(0), pings.sent_to_group(responder, now), palette);
        let alone = cells(responder.unicast(), pings.sent_to(responder, now), palette);
        table.row([name, Cell::new(distance(responder.hops))].into_iter().chain(group).chain(alone));
    }
    table
}

/// Returns the cells for answers, loss, round trips and duplicates.
fn cells(results: &ProbeResults, sent: u64, palette: &Palette) -> [Cell; 6] {
    let times = results.round_trips();
    let time = |time| Cell::new(round_trip(time)).right();
    let lost = lost(results, sent);
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

/// Writes a JSON object per responder.
pub(super) fn write_json(pings: &ProbeSession, now: ClockTime, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    let mut responders = pings.responders().iter();
    responders.try_for_each(|responder| {
        write_record(&mut out, "responder", &Figures::new(pings, responder, now))
    })?;
    out.flush()
}

record! {
    fn new(pings: &ProbeSession, responder: &RespondingHost, now: ClockTime) {}

    /// A responder as JSON: `schemas/ping.json`.
    struct Figures {
        address: IpAddr = responder.address,
        responder: String = format!("{:016x}", responder.id),
        hops: Option<u8> = responder.hops.map(|(fewest, _)| fewest),
        hops_max: Option<u8> = responder.hops.map(|(_, most)| most),
        join_to_first_ms: Option<f64> = responder.join_to_first.map(millis),
        multicast: DirectionFigures =
            DirectionFigures::new(responder.multicast(0), pings.sent_to_group(responder, now)),
        unicast: DirectionFigures = DirectionFigures::new(responder.unicast(), pings.sent_to(responder, now)),
    }
}

record! {
    fn new(results: &ProbeResults, sent: u64) {
        let times = results.round_trips();
    }

    struct DirectionFigures {
        sent: u64 = sent,
        received: u64 = results.received(),
        lost: u64 = sent.saturating_sub(results.received()),
        loss_percent: f64 = lost(results, sent),
        duplicated: u64 = results.duplicated(),
        rtt_min_ms: Option<f64> = times.min().map(millis),
        rtt_mean_ms: Option<f64> = times.mean().map(millis),
        rtt_p99_ms: Option<f64> = times.quantile(0.99).map(millis),
    }
}
