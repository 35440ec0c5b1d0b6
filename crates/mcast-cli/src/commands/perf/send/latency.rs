//! `--latency`: ping-pong with one receiver, one datagram at a time.

use std::io::{self, Write};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mcast::Sender;
use mcast_measure::wire::{SessionId, UnixNanos};
use mcast_measure::{Percentiles, PingPong, PingPongLimit, PingPongStep, lost_percent};
use serde::Serialize;

use super::Arguments;
use crate::commands::perf::clock::{machine_clock, unix_now};
use crate::commands::perf::figures::{BarFigure, Micros, bar_figures, bars, percentiles, share, short_time};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{bytes, count_of, seconds, write_record};
use crate::random::random_number;
use crate::sending::Target;

/// Receive attempts between two checks of the clock.
const ATTEMPTS: u32 = 16;
/// The longest wait before checking for an interrupt.
const MAX_WAIT: Duration = Duration::from_millis(50);
/// The number of opening and closing messages.
const REPEATS: u32 = 5;
const BETWEEN_REPEATS: Duration = Duration::from_millis(2);
const DURATION: Duration = Duration::from_secs(10);

pub(super) fn run(
    arguments: &Arguments,
    targets: &[Target],
    size: usize,
    sender: &Sender,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let [target] = targets else {
        return Err(Failure::usage("--latency needs one group and one interface")
            .remedy("name one group, and at most one --interface")
            .into());
    };
    let limit = match arguments.count {
        Some(count) => PingPongLimit::Count(count),
        None => PingPongLimit::Duration(arguments.duration.unwrap_or(DURATION)),
    };
    let session = SessionId(random_number());
    let mut player = Player {
        game: PingPong::new(session, size, machine_clock(), limit, arguments.rate),
        target,
        sender,
        interrupt,
        is_spinning: arguments.measure.spin,
        start: Instant::now(),
        buffer: vec![0; 65_536],
    };
    player.announce(PingPong::opening)?;
    player.play_until(|game| game.partner().is_some())?;
    let Some(partner) = player.game.partner() else {
        if !interrupt.has_arrived() {
            console.error("nobody answers: --latency needs `mcast perf recv --reply` on another host");
        }
        return Ok(interrupt.outcome().unwrap_or(Outcome::No));
    };
    console.note(format_args!("ping-pong with {partner}, {} a datagram", bytes(size as u64)));
    player.play_until(|_| false)?;
    player.game.give_up();
    let elapsed = player.game.elapsed(player.start.elapsed());
    player.announce(PingPong::closing)?;
    let game = &player.game;
    match arguments.json {
        true => write_json(arguments, partner, size, elapsed, game, console)?,
        false => write_text(partner, elapsed, game, console)?,
    }
    let lost = lost_percent(game.lost(), game.sent());
    let is_loss_allowed = arguments.criteria.max_loss.is_none_or(|most| lost <= most);
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(game.times().count() > 0 && is_loss_allowed)))
}

/// A running ping-pong.
struct Player<'a> {
    game: PingPong,
    target: &'a Target,
    sender: &'a Sender,
    interrupt: &'a Interrupt,
    is_spinning: bool,
    start: Instant,
    buffer: Vec<u8>,
}

impl Player<'_> {
    fn announce(&self, message: fn(&PingPong, UnixNanos) -> Vec<u8>) -> anyhow::Result<()> {
        let message = message(&self.game, unix_now());
        for _ in 0..REPEATS {
            self.sender.send_one(&self.target.outgoing(&message))?;
            thread::sleep(BETWEEN_REPEATS);
        }
        Ok(())
    }

    /// Plays until its end, an interrupt, or `is_enough`.
    fn play_until(&mut self, is_enough: fn(&PingPong) -> bool) -> anyhow::Result<()> {
        while !self.interrupt.has_arrived() && !is_enough(&self.game) {
            match self.game.step(self.start.elapsed(), unix_now()) {
                PingPongStep::Send(message) => self.sender.send_one(&self.target.outgoing(message))?,
                PingPongStep::Receive(time) => self.receive(time)?,
                PingPongStep::End => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for an answer, at most for this time.
    fn receive(&mut self, time: Duration) -> anyhow::Result<()> {
        let family = self.target.address().group.family();
        // With `--spin`, receive repeatedly without a wait, and check the clock only now and then.
        let (attempts, wait) =
            if self.is_spinning { (ATTEMPTS, Duration::ZERO) } else { (1, time.min(MAX_WAIT)) };
        for _ in 0..attempts {
            if let Some(answer) = self.sender.recv_answer(family, &mut self.buffer, wait)? {
                self.game.record(answer.payload, answer.source, self.start.elapsed());
                return Ok(());
            }
        }
        Ok(())
    }
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
    let Percentiles { p50, p90, p99, p999, max } = times;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|time| time / 2);
    Percentiles { p50, p90, p99, p999, max }
}

/// A ping-pong as JSON: `schemas/perf-latency.json`.
#[derive(Serialize)]
struct Summary {
    partner: IpAddr,
    sent: u64,
    received: u64,
    lost: u64,
    duplicated: u64,
    late: u64,
    seconds: f64,
    size: usize,
    spin: bool,
    latency_us: Option<Micros>,
    round_trip_us: Option<Micros>,
    round_trip_min_us: Option<f64>,
    round_trip_mean_us: Option<f64>,
    histogram: Vec<BarFigure>,
}

fn write_json(
    arguments: &Arguments,
    partner: IpAddr,
    size: usize,
    elapsed: Duration,
    trips: &PingPong,
    console: &Console,
) -> io::Result<()> {
    let times = trips.times();
    let micros = |time: Option<Duration>| time.map(crate::commands::perf::figures::micros);
    let summary = Summary {
        partner,
        sent: trips.sent(),
        received: times.count(),
        lost: trips.lost(),
        duplicated: trips.duplicated(),
        late: trips.late(),
        seconds: elapsed.as_secs_f64(),
        size,
        spin: arguments.measure.spin,
        latency_us: times.percentiles().map(half).map(Micros::from),
        round_trip_us: times.percentiles().map(Micros::from),
        round_trip_min_us: micros(times.min()),
        round_trip_mean_us: micros(times.mean()),
        histogram: bar_figures(times),
    };
    let mut out = console.output();
    write_record(&mut out, "result", &summary)?;
    out.flush()
}
