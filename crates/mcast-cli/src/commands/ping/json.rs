//! One JSON object per responder.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_measure::{ProbeResults, ProbeSession, Responder};
use serde::Serialize;

use super::lost;
use crate::console::Console;
use crate::output::write_record;
use crate::probe::millis;

pub(super) fn write(pings: &ProbeSession, now: Duration, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    let mut responders = pings.responders().iter();
    responders
        .try_for_each(|responder| write_record(&mut out, "responder", &figures(pings, responder, now)))?;
    out.flush()
}

/// A responder as JSON: `schemas/ping.json`.
#[derive(Serialize)]
struct Figures {
    address: IpAddr,
    responder: String,
    hops: Option<u8>,
    hops_max: Option<u8>,
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

fn figures(pings: &ProbeSession, responder: &Responder, now: Duration) -> Figures {
    Figures {
        address: responder.address,
        responder: format!("{:016x}", responder.id),
        hops: responder.hops.map(|(fewest, _)| fewest),
        hops_max: responder.hops.map(|(_, most)| most),
        join_to_first_ms: responder.join_to_first.map(millis),
        multicast: direction_figures(responder.multicast(0), pings.sent_to_group(responder, now)),
        unicast: direction_figures(responder.unicast(), pings.sent_to(responder, now)),
    }
}

fn direction_figures(results: &ProbeResults, sent: u64) -> DirectionFigures {
    let times = results.round_trips();
    DirectionFigures {
        sent,
        received: results.received(),
        lost: sent.saturating_sub(results.received()),
        loss_percent: lost(results, sent),
        duplicated: results.duplicated(),
        rtt_min_ms: times.min().map(millis),
        rtt_mean_ms: times.mean().map(millis),
        rtt_p99_ms: times.quantile(0.99).map(millis),
    }
}
