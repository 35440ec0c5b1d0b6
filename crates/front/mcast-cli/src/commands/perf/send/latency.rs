//! `--latency`: ping-pong with one receiver, one datagram at a time.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mcast_doctor::{Asker, clock_id};
use mcast_measure::wire::SessionId;
use mcast_measure::{Percentiles, PingPong, PingPongLimit, lost_percent};
use mcast_terminal::Console;

use super::Plan;
use crate::commands::perf::figures::{
    BarFigure, Micros, bar_figures, bars, micros, percentiles, share, short_time,
};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{bytes, count_of, record, seconds, write_record};

const DURATION: Duration = Duration::from_secs(10);

pub(super) fn run(plan: &Plan<'_>, interrupt: &Interrupt, console: &Console) -> anyhow::Result<Outcome> {
    let [target] = &plan.targets[..] else {
        return Err(Failure::usage("--latency needs one group and one interface")
            .remedy("name one group, and at most one --interface")
            .into());
    };
    let limit = match plan.count {
        Some(count) => PingPongLimit::Count(count),
        None => PingPongLimit::Duration(plan.duration.unwrap_or(DURATION)),
    };
    let sender = plan.builder.clone().build()?;
    let mut game = PingPong::new(SessionId::random(), plan.size, clock_id(), limit, plan.rate);
    let templates = [target.template()];
    Asker::new(&sender, &templates).spin(plan.spin).run(
        &mut game,
        || !interrupt.has_arrived(),
        |_, partner| {
            let size = bytes(plan.size as u64);
            console.note(format_args!("ping-pong with {partner}, {size} per datagram"));
        },
    )?;
    let Some(partner) = game.partner() else {
        if !interrupt.has_arrived() {
            console.error("no host answers: --latency needs `mcast perf recv --reply` on another host");
        }
        return Ok(interrupt.outcome().unwrap_or(Outcome::No));
    };
    let elapsed = game.elapsed();
    match plan.json {
        true => {
            let mut out = console.output();
            write_record(&mut out, "result", &Summary::new(plan, partner, elapsed, &game))?;
            out.flush()?;
        }
        false => write_text(partner, elapsed, &game, console)?,
    }
    let lost = lost_percent(game.lost(), game.sent());
    let is_loss_allowed = plan.criteria.max_loss.is_none_or(|most| lost <= most);
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(game.times().count() > 0 && is_loss_allowed)))
}

fn write_text(partner: IpAddr, elapsed: Duration, trips: &PingPong, console: &Console) -> io::Result<()> {
    let palette = *console.palette();
    let (heading, address) = (palette.heading, palette.address);
    let mut out = console.output();
    writeln!(
        out,
        "{address}{partner}{address:#}: {} in {}; lost {}, duplicated {}, late {}",
        count_of(trips.times().count(), "round trip"),
        seconds(elapsed),
        share(trips.lost(), trips.sent()),
        trips.duplicated(),
        trips.late()
    )?;
    let times = trips.times();
    if let (Some(min), Some(mean), Some(whole)) = (times.min(), times.mean(), times.percentiles()) {
        writeln!(out, "{heading}round trip{heading:#}   min {}, mean {}", short_time(min), short_time(mean))?;
        writeln!(out, "             {}", percentiles(whole))?;
        writeln!(out, "{heading}one way{heading:#}      {} (half the round trip)", percentiles(half(whole)))?;
        for line in bars(times, &palette) {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()
}

/// Returns half the round trips: the one-way delays if both directions are equal.
fn half(times: Percentiles) -> Percentiles {
    let [p50, p90, p99, p999, max] = times.values().map(|time| time / 2);
    Percentiles { p50, p90, p99, p999, max }
}

record! {
    fn new(plan: &Plan<'_>, partner: IpAddr, elapsed: Duration, trips: &PingPong) {
        let times = trips.times();
    }

    /// A ping-pong as JSON: `schemas/perf-latency.json`.
    struct Summary {
        address: IpAddr = partner,
        sent: u64 = trips.sent(),
        received: u64 = times.count(),
        lost: u64 = trips.lost(),
        duplicated: u64 = trips.duplicated(),
        late: u64 = trips.late(),
        seconds: f64 = elapsed.as_secs_f64(),
        size: usize = plan.size,
        spin: bool = plan.spin,
        latency_us: Option<Micros> = times.percentiles().map(half).map(Micros::from),
        round_trip_us: Option<Micros> = times.percentiles().map(Micros::from),
        round_trip_min_us: Option<f64> = times.min().map(micros),
        round_trip_mean_us: Option<f64> = times.mean().map(micros),
        histogram: Vec<BarFigure> = bar_figures(times),
    }
}
