//! `--latency`: ping-pong with one receiver, one datagram at a time.

use std::io::{self, Write};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Family, PaceDecision, Pacer, Sender};
use mcast_measure::RoundTrips;
use mcast_measure::wire::{Header, Kind, Message, PING_LENGTH, SessionId, Settings, UnixNanos};
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

/// The number of calls without an answer after which there is no receiver.
const CALLS: u32 = 30;
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
/// A pong that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// Receive attempts between two checks of the clock.
const ATTEMPTS: u32 = 16;
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
    let mut ping_pong = PingPong::new(arguments, target, size, sender, interrupt);
    ping_pong.announce(Kind::Opening)?;
    let Some(partner) = ping_pong.call()? else {
        if !interrupt.has_arrived() {
            console.error("nobody answers: --latency needs `mcast perf recv --reply` on another host");
        }
        return Ok(interrupt.outcome().unwrap_or(Outcome::No));
    };
    console.note(format_args!("ping-pong with {partner}, {} a datagram", bytes(size as u64)));
    let elapsed = ping_pong.run()?;
    ping_pong.announce(Kind::Closing)?;
    let trips = &ping_pong.trips;
    match arguments.json {
        true => write_json(arguments, partner, size, elapsed, trips, console)?,
        false => write_text(partner, elapsed, trips, console)?,
    }
    let lost = trips.lost() as f64 * 100.0 / trips.sent().max(1) as f64;
    let is_loss_allowed = arguments.criteria.max_loss.is_none_or(|most| lost <= most);
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(trips.times().count() > 0 && is_loss_allowed)))
}

/// A running ping-pong.
struct PingPong<'a> {
    arguments: &'a Arguments,
    target: &'a Target,
    sender: &'a Sender,
    interrupt: &'a Interrupt,
    family: Family,
    header: Header,
    settings: Settings,
    start: Instant,
    ping: Vec<u8>,
    buffer: Vec<u8>,
    trips: RoundTrips,
}

impl<'a> PingPong<'a> {
    fn new(
        arguments: &'a Arguments,
        target: &'a Target,
        size: usize,
        sender: &'a Sender,
        interrupt: &'a Interrupt,
    ) -> Self {
        let header = Header {
            kind: Kind::Ping,
            stream: 0,
            session: SessionId(random_number()),
            sequence: 0,
            time: UnixNanos::default(),
        };
        let settings = Settings {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            clock: machine_clock(),
            streams: 1,
            ping_pong: true,
            ..Settings::default()
        };
        Self {
            arguments,
            target,
            sender,
            interrupt,
            family: target.address().group.family(),
            header,
            settings,
            start: Instant::now(),
            ping: vec![0; size],
            buffer: vec![0; 65_536],
            trips: RoundTrips::new(),
        }
    }

    fn announce(&self, kind: Kind) -> anyhow::Result<()> {
        let header = Header { sequence: self.trips.sent(), time: unix_now(), ..self.header };
        let message = match kind {
            Kind::Closing => self.settings.closing(header),
            _ => self.settings.opening(header),
        };
        for _ in 0..REPEATS {
            self.sender.send_one(&self.target.outgoing(&message))?;
            thread::sleep(BETWEEN_REPEATS);
        }
        Ok(())
    }

    /// Finds a partner: the first receiver that answers. From then on pings carry the token from its answer.
    fn call(&mut self) -> anyhow::Result<Option<IpAddr>> {
        let mut call = self.header.with_kind(Kind::Call).encode().to_vec();
        call.resize(PING_LENGTH, 0);
        for _ in 0..CALLS {
            if self.interrupt.has_arrived() {
                break;
            }
            self.sender.send_one(&self.target.outgoing(&call))?;
            if let Some((partner, token)) = self.take_token()? {
                self.header.write(&mut self.ping);
                self.ping[PING_LENGTH - 8..PING_LENGTH].copy_from_slice(&token.to_be_bytes());
                return Ok(Some(partner));
            }
        }
        Ok(None)
    }

    fn take_token(&mut self) -> anyhow::Result<Option<(IpAddr, u64)>> {
        let end = Instant::now() + BETWEEN_CALLS;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(answer) = self.sender.recv_answer(self.family, &mut self.buffer, left)? else {
                return Ok(None);
            };
            match Message::decode(answer.payload) {
                Ok((header, Message::Token(token))) if header.session == self.header.session => {
                    return Ok(Some((answer.source.ip(), token)));
                }
                _ if left.is_zero() => return Ok(None),
                _ => {}
            }
        }
    }

    /// Sends one ping after the other, and returns the total time.
    fn run(&mut self) -> anyhow::Result<Duration> {
        self.start = Instant::now();
        let (duration, most) = match self.arguments.count {
            Some(count) => (None, count),
            None => (Some(self.arguments.duration.unwrap_or(DURATION)), u64::MAX),
        };
        let mut pacer = self.arguments.rate.map(Pacer::new);
        while self.trips.sent() < most && !self.interrupt.has_arrived() {
            if duration.is_some_and(|duration| self.start.elapsed() >= duration) {
                break;
            }
            if let Some(PaceDecision::After(time)) =
                pacer.as_mut().map(|pacer| pacer.allow(Instant::now(), [self.ping.len()]))
            {
                self.interrupt.sleep(time.min(PATIENCE));
                continue;
            }
            self.round_trip()?;
        }
        Ok(self.start.elapsed())
    }

    fn round_trip(&mut self) -> anyhow::Result<()> {
        Header::renumber(&mut self.ping, self.trips.next(), unix_now());
        self.trips.ping(self.start.elapsed());
        self.sender.send_one(&self.target.outgoing(&self.ping))?;
        let end = Instant::now() + PATIENCE;
        let mut left = PATIENCE;
        loop {
            let header = self.next_answer(left)?;
            let now = self.start.elapsed();
            left = end.saturating_duration_since(Instant::now());
            let pong =
                header.filter(|header| header.kind == Kind::Pong && header.session == self.header.session);
            if pong.is_some_and(|pong| self.trips.pong(pong.sequence, now)) {
                return Ok(());
            }
            if left.is_zero() || self.interrupt.has_arrived() {
                self.trips.give_up();
                return Ok(());
            }
        }
    }

    /// Returns the header of the next answer.
    fn next_answer(&mut self, left: Duration) -> anyhow::Result<Option<Header>> {
        // With `--spin`, receive repeatedly without a wait, and check the clock only now and then.
        let (attempts, wait) =
            if self.arguments.measure.spin { (ATTEMPTS, Duration::ZERO) } else { (1, left) };
        for _ in 0..attempts {
            if let Some(answer) = self.sender.recv_answer(self.family, &mut self.buffer, wait)? {
                return Ok(Header::decode(answer.payload));
            }
        }
        Ok(None)
    }
}

fn write_text(partner: IpAddr, elapsed: Duration, trips: &RoundTrips, console: &Console) -> io::Result<()> {
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
fn half(times: mcast_measure::Percentiles) -> mcast_measure::Percentiles {
    let mcast_measure::Percentiles { p50, p90, p99, p999, max } = times;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|time| time / 2);
    mcast_measure::Percentiles { p50, p90, p99, p999, max }
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
    trips: &RoundTrips,
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
