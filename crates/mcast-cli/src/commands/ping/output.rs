//! Prints one note per answer, and one row per responder at the end.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_measure::wire::ProbeReply;
use mcast_measure::{ProbeResults, Responder};
use serde::Serialize;

use super::probe::PingState;
use crate::console::Console;
use crate::output::{Cell, Palette, Table, count, count_of, seconds, write_record};

/// Shows answers on standard error when they arrive.
#[derive(Debug)]
pub(super) struct AnswerPrinter {
    palette: Palette,
}

impl AnswerPrinter {
    pub(super) fn new(console: &Console) -> Self {
        Self { palette: *console.palette_for_notes() }
    }

    pub(super) fn show(
        &self,
        responder: &Responder,
        is_new: bool,
        number: u64,
        answer: &ProbeReply,
        round_trip: Duration,
    ) {
        let Palette { address, good, dim, .. } = self.palette;
        let results = if answer.by_unicast { "unicast  " } else { "multicast" };
        let hops = answer.hops().map(|hops| format!("  {}", hops_text(hops, hops))).unwrap_or_default();
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

fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

/// `this network`, `1 hop`, `2 to 3 hops`.
fn hops_text(fewest: u8, most: u8) -> String {
    match (fewest, most) {
        (0, 0) => "same network".into(),
        (fewest, most) if fewest == most => count_of(fewest.into(), "hop"),
        (fewest, most) => format!("{fewest} to {most} hops"),
    }
}

/// The share of probes without an answer.
pub(super) fn lost_percent(sent: u64, received: u64) -> f64 {
    if sent == 0 { 0.0 } else { sent.saturating_sub(received) as f64 * 100.0 / sent as f64 }
}

pub(super) fn summary(state: &PingState, now: Duration, json: bool, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    let responders = state.pings.responders();
    if json {
        responders
            .iter()
            .try_for_each(|responder| write_record(&mut out, "responder", &figures(state, responder, now)))?;
    } else if !responders.is_empty() {
        table(state, now, console.palette()).write(&mut out)?;
        for responder in responders {
            if let Some(time) = responder.join_to_first {
                writeln!(
                    out,
                    "{} had joined {} before it received the first",
                    responder.address,
                    seconds(time)
                )?;
            }
        }
    }
    out.flush()?;
    console.note(format_args!(
        "{} to the group, {} answering",
        count_of(state.pings.sent(), "probe"),
        count_of(responders.len() as u64, "host")
    ));
    for (number, what) in
        [(state.foreign, "of another ping"), (state.pings.refused(), "that answer no probe")]
    {
        if number > 0 {
            console.note(format_args!("ignored {} {what}", count_of(number, "datagram")));
        }
    }
    Ok(())
}

fn table(state: &PingState, now: Duration, palette: &Palette) -> Table {
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
    for responder in state.pings.responders() {
        let hops = responder.hops.map_or_else(|| "?".into(), |(fewest, most)| hops_text(fewest, most));
        let name = Cell::new(responder.address.to_string()).style(palette.address);
        let group = cells(responder.multicast(), state.pings.sent_to_group(responder, now), palette);
        let alone = cells(responder.unicast(), state.pings.sent_to(responder, now), palette);
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

/// A responder as JSON: `schemas/ping.json`.
#[derive(Serialize)]
struct Figures {
    address: IpAddr,
    responder: String,
    hops: Option<u8>,
    hops_most: Option<u8>,
    join_to_first_ms: Option<f64>,
    multicast: DirectionFigures,
    unicast: DirectionFigures,
}

#[derive(Serialize)]
struct DirectionFigures {
    sent: u64,
    received: u64,
    lost: u64,
    loss_percent: f64,
    duplicated: u64,
    rtt_min_ms: Option<f64>,
    rtt_mean_ms: Option<f64>,
    rtt_p99_ms: Option<f64>,
}

fn figures(state: &PingState, responder: &Responder, now: Duration) -> Figures {
    Figures {
        address: responder.address,
        responder: format!("{:016x}", responder.id),
        hops: responder.hops.map(|(fewest, _)| fewest),
        hops_most: responder.hops.map(|(_, most)| most),
        join_to_first_ms: responder.join_to_first.map(millis),
        multicast: direction_figures(responder.multicast(), state.pings.sent_to_group(responder, now)),
        unicast: direction_figures(responder.unicast(), state.pings.sent_to(responder, now)),
    }
}

fn direction_figures(results: &ProbeResults, sent: u64) -> DirectionFigures {
    let times = results.round_trips();
    DirectionFigures {
        sent,
        received: results.received(),
        lost: sent.saturating_sub(results.received()),
        loss_percent: lost_percent(sent, results.received()),
        duplicated: results.duplicated(),
        rtt_min_ms: times.min().map(millis),
        rtt_mean_ms: times.mean().map(millis),
        rtt_p99_ms: times.quantile(0.99).map(millis),
    }
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

    #[test]
    fn without_probes_there_is_no_loss() {
        assert_eq!((lost_percent(0, 0), lost_percent(4, 3), lost_percent(1, 2)), (0.0, 25.0, 0.0));
    }
}
