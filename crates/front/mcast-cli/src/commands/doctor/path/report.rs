//! The results: one table row or JSON object per listener and case.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_doctor::PathTest;
use mcast_measure::RespondingHost;
use mcast_terminal::Output;
use serde::Serialize;

use crate::output::{Cell, Palette, Table, count, write_json};
use crate::probe::{distance, millis, round_trip};

/// Writes a table of all groups, if there were replies.
pub(super) fn table(probed: &[PathTest], palette: &Palette, out: &mut Output) -> io::Result<()> {
    let titles =
        ["listener", "family", "distance", "size", "TTL", "arrived", "unicast", "dup", "min", "mean"];
    let mut table = Table::new(&titles, palette.heading);
    let mut is_empty = true;
    for one in probed {
        for listener in one.session.responders() {
            (0..one.session.cases().len()).for_each(|case| table.row(row(one, listener, case, palette)));
            is_empty = false;
        }
    }
    if is_empty {
        return Ok(());
    }
    table.write(out)?;
    writeln!(out)
}

fn row(one: &PathTest, listener: &RespondingHost, case: usize, palette: &Palette) -> Vec<Cell> {
    let (received, sent) = (listener.multicast(case).received(), one.session.sent(case));
    let [min, mean] = times(listener, case).map(|time| Cell::new(round_trip(time)).right());
    let Some(tried) = one.session.cases().get(case) else { return Vec::new() };
    vec![
        Cell::new(listener.address.to_string()).style(palette.address),
        Cell::new(one.address.group.family().to_string()),
        Cell::new(distance(listener.hops)),
        Cell::new(count(tried.size as u64)).right(),
        Cell::new(tried.hop_limit.to_string()).right(),
        arrivals(Some((received, sent)), palette),
        arrivals(one.unicast_results(listener, case), palette),
        Cell::new(count(listener.multicast(case).duplicated())).right(),
        min,
        mean,
    ]
}

/// Returns `5/5`; empty if nothing was probed.
fn arrivals(counts: Option<(u64, u64)>, palette: &Palette) -> Cell {
    match counts {
        None => Cell::default(),
        Some((_, 0)) => Cell::new("not sent").style(palette.dim).right(),
        Some((received, sent)) => {
            let style = if received < sent { palette.bad } else { palette.good };
            Cell::new(format!("{}/{}", count(received), count(sent))).style(style).right()
        }
    }
}

/// Returns the shortest round trip and the mean.
fn times(listener: &RespondingHost, case: usize) -> [Option<Duration>; 2] {
    let times = listener.multicast(case).round_trips();
    [times.min(), times.mean()]
}

/// A result as JSON: `schemas/doctor-path.json`.
#[derive(Serialize)]
struct Object {
    event: &'static str,
    address: IpAddr,
    listener: String,
    group: String,
    interface: Option<String>,
    size: usize,
    ttl: u8,
    hops: Option<u8>,
    sent: u64,
    received: u64,
    duplicated: u64,
    unicast_sent: Option<u64>,
    unicast_received: Option<u64>,
    rtt_min_ms: Option<f64>,
    rtt_mean_ms: Option<f64>,
}

pub(super) fn objects(one: &PathTest, out: &mut Output) -> io::Result<()> {
    for listener in one.session.responders() {
        for (case, tried) in one.session.cases().iter().enumerate() {
            let [rtt_min_ms, rtt_mean_ms] = times(listener, case).map(|time| time.map(millis));
            let unicast = one.unicast_results(listener, case);
            let object = Object {
                event: "path",
                address: listener.address,
                listener: format!("{:016x}", listener.id),
                group: one.address.to_string(),
                interface: one.interface.clone(),
                size: tried.size,
                ttl: tried.hop_limit,
                hops: listener.hops.map(|(fewest, _)| fewest),
                sent: one.session.sent(case),
                received: listener.multicast(case).received(),
                duplicated: listener.multicast(case).duplicated(),
                unicast_sent: unicast.map(|(_, sent)| sent),
                unicast_received: unicast.map(|(received, _)| received),
                rtt_min_ms,
                rtt_mean_ms,
            };
            write_json(out, &object)?;
        }
    }
    Ok(())
}
