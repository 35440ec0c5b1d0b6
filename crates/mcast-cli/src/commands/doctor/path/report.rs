//! The results: one table row or JSON object per listener and case.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_measure::Responder;
use serde::Serialize;

use super::family_of;
use super::probe::ProbeResult;
use crate::console::Output;
use crate::output::{Cell, Palette, Table, count, write_json};

/// Writes a table of all groups, if there were replies.
pub(super) fn table(probed: &[ProbeResult], palette: &Palette, out: &mut Output) -> io::Result<()> {
    let titles = ["listener", "family", "distance", "size", "TTL", "arrived", "dup", "min", "mean"];
    let mut table = Table::new(&titles, palette.heading);
    let mut is_empty = true;
    for one in probed {
        for listener in one.path.responders() {
            (0..one.path.cases().len()).for_each(|case| table.row(row(one, listener, case, palette)));
            is_empty = false;
        }
    }
    if is_empty {
        return Ok(());
    }
    table.write(out)?;
    writeln!(out)
}

fn row(one: &ProbeResult, listener: &Responder, case: usize, palette: &Palette) -> Vec<Cell> {
    let (received, sent) = (listener.multicast(case).received(), one.path.sent(case));
    let arrived = match sent {
        0 => Cell::new("not sent").style(palette.dim).right(),
        _ => {
            let style = if received < sent { palette.bad } else { palette.good };
            Cell::new(format!("{}/{}", count(received), count(sent))).style(style).right()
        }
    };
    let [min, mean] = times(listener, case).map(|time| {
        Cell::new(time.map_or_else(|| "-".into(), |time| format!("{:.3} ms", millis(time)))).right()
    });
    let Some(tried) = one.path.cases().get(case) else { return Vec::new() };
    vec![
        Cell::new(listener.address.to_string()).style(palette.address),
        Cell::new(family_of(&one.destination).to_string()),
        Cell::new(distance(listener)),
        Cell::new(count(tried.size as u64)).right(),
        Cell::new(tried.hop_limit.to_string()).right(),
        arrived,
        Cell::new(count(listener.multicast(case).duplicated())).right(),
        min,
        mean,
    ]
}

fn distance(listener: &Responder) -> String {
    match listener.hops {
        None => "?".into(),
        Some((0, 0)) => "same network".into(),
        Some((1, 1)) => "1 hop".into(),
        Some((fewest, most)) if fewest == most => format!("{fewest} hops"),
        Some((fewest, most)) => format!("{fewest} to {most} hops"),
    }
}

/// Returns the shortest round trip and the mean.
fn times(listener: &Responder, case: usize) -> [Option<Duration>; 2] {
    let times = listener.multicast(case).round_trips();
    [times.min(), times.mean()]
}

fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
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
    rtt_min_ms: Option<f64>,
    rtt_mean_ms: Option<f64>,
}

pub(super) fn objects(one: &ProbeResult, out: &mut Output) -> io::Result<()> {
    for listener in one.path.responders() {
        for (case, tried) in one.path.cases().iter().enumerate() {
            let [rtt_min_ms, rtt_mean_ms] = times(listener, case).map(|time| time.map(millis));
            let object = Object {
                event: "path",
                address: listener.address,
                listener: format!("{:016x}", listener.id),
                group: one.destination.address.to_string(),
                interface: one.interface.clone(),
                size: tried.size,
                ttl: tried.hop_limit,
                hops: listener.hops.map(|(fewest, _)| fewest),
                sent: one.path.sent(case),
                received: listener.multicast(case).received(),
                duplicated: listener.multicast(case).duplicated(),
                rtt_min_ms,
                rtt_mean_ms,
            };
            write_json(out, &object)?;
        }
    }
    Ok(())
}
