//! One JSON object per responder.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_measure::{ProbeResults, ProbeSession, RespondingHost};
use mcast_terminal::Console;

use super::lost;
use crate::output::{record, write_record};
use crate::probe::millis;

pub(super) fn write(pings: &ProbeSession, now: Duration, console: &Console) -> io::Result<()> {
    let mut out = console.output();
    let mut responders = pings.responders().iter();
    responders.try_for_each(|responder| {
        write_record(&mut out, "responder", &Figures::new(pings, responder, now))
    })?;
    out.flush()
}

record! {
    fn new(pings: &ProbeSession, responder: &RespondingHost, now: Duration) {}

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
