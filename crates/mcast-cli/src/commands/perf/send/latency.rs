//! `--latency`: ping-pong with one receiver, one datagram at a time.

use std::io::{self, Write};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Family, PaceDecision, Pacer, Sender};
use mcast_probe::RoundTrips;
use mcast_probe::wire::{Header, Kind, Message, PING_LENGTH, SessionId, Settings, UnixNanos};
use serde::Serialize;

use super::Arguments;
use crate::commands::perf::clock::{machine_clock, random_number, unix_now};
use crate::commands::perf::figures::{BarFigure, Micros, bar_figures, bars, percentiles, share, short_time};
use crate::commands::send::targets::Target;
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{bytes, count_of, seconds, write_record};

/// A receiver that does not answer a call within this time is not there.
const CALLS: u32 = 30;
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
/// A pong that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looks for a pong between two looks at the clock.
const LOOKS: u32 = 16;
/// The number of opening and closing messages.
const REPEATED: u32 = 5;
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
    let mut game = Game::new(arguments, target, size, sender, interrupt);
    game.announce(Kind::Opening)?;
    let Some(partner) = game.call()? else {
        if !interrupt.has_come() {
            console.error("nobody answers: --latency needs `mcast perf recv --reply` on another host");
        }
        return Ok(interrupt.outcome().unwrap_or(Outcome::No));
    };
    console.note(format_args!("ping-pong with {partner}, {} a datagram", bytes(size as u64)));
    let elapsed = game.play()?;
    game.announce(Kind::Closing)?;
    let trips = &game.trips;
    match arguments.json {
        true => tell_json(arguments, partner, size, elapsed, trips, console)?,
        false => tell(partner, elapsed, trips, console)?,
    }
    let lost = trips.lost() as f64 * 100.0 / trips.sent().max(1) as f64;
    let is_bearable = arguments.demand.max_loss.is_none_or(|most| lost <= most);
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(trips.times().count() > 0 && is_bearable)))
}

/// A ping-pong under way.
struct Game<'a> {
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

impl<'a> Game<'a> {
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
        for _ in 0..REPEATED {
            self.sender.send_one(&self.target.outgoing(&message))?;
            thread::sleep(BETWEEN_REPEATS);
        }
        Ok(())
    }

    /// Finds somebody who plays; the first who answers it is. From then on pings carry the token
    /// that only this one gave.
    fn call(&mut self) -> anyhow::Result<Option<IpAddr>> {
        let mut call = self.header.with_kind(Kind::Call).encode().to_vec();
        call.resize(PING_LENGTH, 0);
        for _ in 0..CALLS {
            if self.interrupt.has_come() {
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

    /// One ping after the other; says how long it took in all.
    fn play(&mut self) -> anyhow::Result<Duration> {
        self.start = Instant::now();
        let (duration, most) = match self.arguments.count {
            Some(count) => (None, count),
            None => (Some(self.arguments.duration.unwrap_or(DURATION)), u64::MAX),
        };
        let mut pacer = self.arguments.rate.map(Pacer::new);
        while self.trips.sent() < most && !self.interrupt.has_come() {
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
            if left.is_zero() || self.interrupt.has_come() {
                self.trips.give_up();
                return Ok(());
            }
        }
    }

    /// The header of what is answered next.
    fn next_answer(&mut self, left: Duration) -> anyhow::Result<Option<Header>> {
        // Awake: look again and again, without a wait, and at the clock now and then.
        let (looks, wait) = if self.arguments.measure.spin { (LOOKS, Duration::ZERO) } else { (1, left) };
        for _ in 0..looks {
            if let Some(answer) = self.sender.recv_answer(self.family, &mut self.buffer, wait)? {
                return Ok(Header::decode(answer.payload));
            }
        }
        Ok(None)
    }
}

fn tell(partner: IpAddr, elapsed: Duration, trips: &RoundTrips, console: &Console) -> io::Result<()> {
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

/// One way, if both take as long.
fn half(times: mcast_probe::Percentiles) -> mcast_probe::Percentiles {
    let mcast_probe::Percentiles { p50, p90, p99, p999, max } = times;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|time| time / 2);
    mcast_probe::Percentiles { p50, p90, p99, p999, max }
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

fn tell_json(
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
