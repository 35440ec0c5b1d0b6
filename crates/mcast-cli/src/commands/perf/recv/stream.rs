//! `--stream`: receives messages of the message layer, checks each one, and measures them.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mcast::Membership;
use mcast_doctor::clock_id;
use mcast_measure::wire::UnixNanos;
use mcast_measure::{Histogram, MessageCounts, MessageMeter, lost_percent};
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, Message, SubscriberEvent, SubscriberStatistics};
use mcast_stream::{StreamError, Subscriber, SubscriberBuilder};
use serde::Serialize;

use super::{Arguments, Limits};
use crate::arguments::read_keys;
use crate::commands::perf::figures::{Micros, micros, percentiles, share, short_time};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{count, count_of, excess_loss, per_second, rates, seconds, too_few, write_record};

/// Options for the message layer.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Message layer")]
pub(super) struct StreamOptions {
    /// Receive the messages of `mcast perf send --stream`, and check each
    #[arg(long, conflicts_with_all = ["reply", "spin", "no_gro"])]
    pub(super) stream: bool,

    /// Open sealed messages with the secrets in this file
    #[arg(long, value_name = "FILE", requires = "stream")]
    key: Option<PathBuf>,
}

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What to subscribe to, and how: the arguments, resolved.
struct Plan<'a> {
    paths: Vec<Membership>,
    /// The memberships as typed.
    memberships: String,
    receive_buffer: Option<usize>,
    keys: Keys,
    json: bool,
    limits: &'a Limits,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    measure(&plan(arguments, console)?, console)
}

fn plan<'a>(arguments: &'a Arguments, console: &Console) -> anyhow::Result<Plan<'a>> {
    let key = arguments.messages.key.as_deref();
    let keys = key.map(|path| read_keys(path, console)).transpose()?.unwrap_or_default();
    let paths = arguments.joining.selected(console)?.items;
    if paths.len() > 4 {
        return Err(Failure::usage("a stream has at most four paths")
            .remedy("name single groups, each on one interface")
            .into());
    }
    Ok(Plan {
        paths,
        memberships: arguments.joining.memberships.join(", "),
        receive_buffer: arguments.buffer,
        keys,
        json: arguments.json,
        limits: &arguments.limits,
    })
}

impl Plan<'_> {
    fn subscriber(&self) -> Result<Subscriber, StreamError> {
        let builder: SubscriberBuilder = Subscriber::builder();
        let builder = self.paths.iter().cloned().fold(builder, SubscriberBuilder::path);
        let builder = match self.receive_buffer {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        builder.keys(self.keys.clone()).build()
    }
}

fn measure(plan: &Plan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let mut subscriber = plan.subscriber()?;
    let interrupt = Interrupt::waking(subscriber.waker())?;
    console.note(format_args!("waiting for mcast perf send --stream on {}", plan.memberships));
    let Limits { count, keep, timeout, .. } = *plan.limits;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (mut runs, mut is_good) = (0, true);
    loop {
        let mut run = StreamRun::new(&plan.keys);
        let ended = run.listen(&mut subscriber, plan, deadline, &interrupt, console)?;
        if run.joined.is_some() {
            run.print(&subscriber.statistics(), plan.json, console)?;
            let misses = run.misses(plan.limits);
            misses.iter().for_each(|miss| console.note(miss));
            is_good &= misses.is_empty();
            runs += 1;
        }
        if !ended || (!keep && runs >= count) {
            let required = if keep { 1 } else { count };
            if runs < required && !interrupt.has_arrived() {
                console.note(too_few_runs(runs, required));
            }
            return Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(is_good && runs >= required)));
        }
        subscriber = plan.subscriber()?;
    }
}

fn too_few_runs(runs: u64, required: u64) -> String {
    match runs {
        0 => "no run ended".into(),
        _ => too_few(&count_of(runs, "run"), required),
    }
}

/// The results of one stream.
struct StreamRun {
    is_sealed: bool,
    meter: MessageMeter,
    start: Instant,
    /// The publisher, its incarnation, and the first message received.
    joined: Option<(SocketAddr, u32, u64)>,
    stream: String,
    /// The number of the message after the last, once it is known.
    ended: Option<u64>,
    lost: u64,
    stalls: u64,
    /// Whether the publisher has fallen silent.
    is_silent: bool,
    /// The time and counts at the last interim line.
    last_line: (Instant, MessageCounts),
}

impl StreamRun {
    fn new(keys: &Keys) -> Self {
        Self {
            is_sealed: !keys.is_empty(),
            meter: MessageMeter::new(clock_id()),
            start: Instant::now(),
            joined: None,
            stream: String::new(),
            ended: None,
            lost: 0,
            stalls: 0,
            is_silent: false,
            last_line: (Instant::now(), MessageCounts::default()),
        }
    }

    /// Listens until the stream has ended; returns `false` if something else ended the wait.
    fn listen(
        &mut self,
        subscriber: &mut Subscriber,
        plan: &Plan<'_>,
        deadline: Option<Instant>,
        interrupt: &Interrupt,
        console: &Console,
    ) -> anyhow::Result<bool> {
        let mut quiet_since = Instant::now();
        loop {
            if interrupt.has_arrived() {
                return Ok(false);
            }
            let now = Instant::now();
            let left = deadline.map_or(POLL_INTERVAL, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(false);
            }
            if let Some(stream) = subscriber.stream().filter(|_| self.stream.is_empty()) {
                self.stream = stream.to_string();
            }
            let has_arrived = match subscriber.next_timeout(left.min(POLL_INTERVAL))? {
                Some(Item::Message(Message { number, bytes, .. })) => {
                    self.meter.record(number.0, bytes, self.start.elapsed(), UnixNanos::now());
                    true
                }
                Some(Item::Event(event)) => {
                    self.note(&event, console);
                    true
                }
                None => false,
            };
            if has_arrived {
                quiet_since = now;
            } else if subscriber.has_ended() || (self.is_silent && quiet_since.elapsed() > plan.limits.idle) {
                return Ok(true);
            }
            self.line(plan.json, console);
        }
    }

    fn note(&mut self, event: &SubscriberEvent, console: &Console) {
        match *event {
            SubscriberEvent::Joined { incarnation, publisher, message } => {
                self.joined = Some((publisher, incarnation.0, message.0));
            }
            SubscriberEvent::Lost { first, end, .. } => self.lost += end.ahead_of(first),
            SubscriberEvent::Stalled { .. } => self.stalls += 1,
            SubscriberEvent::Ended { messages } => self.ended = Some(messages),
            SubscriberEvent::PublisherSilent => {
                self.is_silent = true;
                console.warn("the publisher has gone silent");
            }
            SubscriberEvent::PublisherBack => self.is_silent = false,
            SubscriberEvent::Evicted => console.warn("evicted by the publisher: too slow"),
            SubscriberEvent::KeyMissing(epoch) => console.warn(format_args!(
                "sealed with the secret of epoch {epoch}, which is not known here (--key)"
            )),
            _ => {}
        }
    }

    /// Prints an interim line every second.
    fn line(&mut self, json: bool, console: &Console) {
        const EACH: Duration = Duration::from_secs(1);

        let (before, shown) = self.last_line;
        let counts = self.meter.counts();
        let since = before.elapsed();
        if since < EACH {
            return;
        }
        if counts.messages > shown.messages && !json {
            let rates = rates(counts.messages - shown.messages, "message", counts.bytes - shown.bytes, since);
            let jitter = short_time(self.meter.jitter());
            console.note(format_args!("{rates}  lost {}  jitter {jitter}", count(self.lost)));
        }
        self.last_line = (Instant::now(), counts);
    }

    /// Returns the number of messages published since the first one received; `None` while the end is unknown.
    fn sent(&self) -> Option<u64> {
        let (.., first) = self.joined?;
        Some(self.ended?.saturating_sub(first))
    }

    /// Returns the unmet conditions of success; empty if all messages, or as many as required, arrived as published.
    fn misses(&self, limits: &Limits) -> Vec<String> {
        let MessageCounts { messages, wrong, .. } = self.meter.counts();
        let mut misses = Vec::new();
        if self.ended.is_none() {
            misses.push("the run has not ended".into());
        }
        if wrong > 0 {
            let wrong = count_of(wrong, "message");
            misses.push(format!("{wrong} received that differ from what was published"));
        }
        misses.extend(excess_loss(lost_percent(self.lost, messages + self.lost), limits.max_loss));
        if limits.max_loss.is_none() && self.lost > 0 {
            misses.push(format!("{} lost", count_of(self.lost, "message")));
        }
        if let Some(required) = limits.expect.filter(|required| messages < *required) {
            misses.push(too_few(&count(messages), required));
        }
        misses
    }

    fn print(&self, statistics: &SubscriberStatistics, json: bool, console: &Console) -> anyhow::Result<()> {
        let mut out = console.output();
        let summary = Summary::new(self, statistics);
        if json {
            write_record(&mut out, "result", &summary)?;
        } else {
            self.write(&mut out, &summary)?;
        }
        Ok(out.flush()?)
    }

    fn write(&self, out: &mut impl Write, summary: &Summary) -> std::io::Result<()> {
        let (counts, time) = (self.meter.counts(), self.meter.elapsed());
        let source = summary.source.map(|source| source.ip().to_string()).unwrap_or_default();
        let sealed = if self.is_sealed { ", sealed" } else { "" };
        writeln!(out, "from {source}: stream {}{sealed}", self.stream)?;
        let of = summary.sent.map_or_else(|| "an unknown number".into(), count);
        writeln!(
            out,
            "  received    {} of {of} in {}: {}",
            count_of(counts.messages, "message"),
            seconds(time),
            rates(counts.messages, "message", counts.bytes, time)
        )?;
        writeln!(
            out,
            "  lost        {}; corrupted {}",
            share(self.lost, counts.messages + self.lost),
            count(counts.wrong)
        )?;
        writeln!(
            out,
            "  repaired    {}; requested {}, unrecoverable {}, duplicates {}, stalled {}",
            share(summary.repaired, summary.datagrams),
            count_of(summary.naks, "time"),
            count(summary.unrecoverable),
            count(summary.duplicated),
            count_of(self.stalls, "time")
        )?;
        let delays = match self.meter.delays().and_then(Histogram::percentiles) {
            Some(times) => percentiles(times),
            None => "unknown: the clocks differ".into(),
        };
        writeln!(out, "  delay       {delays}; jitter {}", short_time(self.meter.jitter()))
    }
}

/// `schemas/perf-stream-recv.json`.
#[derive(Debug, Serialize)]
struct Summary {
    source: Option<SocketAddr>,
    stream: String,
    incarnation: Option<u32>,
    sealed: bool,
    size: Option<usize>,
    sent: Option<u64>,
    received: u64,
    lost: u64,
    corrupted: u64,
    bytes: u64,
    seconds: f64,
    messages_per_second: Option<f64>,
    bits_per_second: Option<f64>,
    jitter_us: f64,
    latency_us: Option<Micros>,
    clocks: &'static str,
    datagrams: u64,
    repaired: u64,
    unrecoverable: u64,
    duplicated: u64,
    naks: u64,
    stalls: u64,
    round_trip_us: f64,
    closed: bool,
}

impl Summary {
    fn new(run: &StreamRun, statistics: &SubscriberStatistics) -> Self {
        let StreamRun { meter, .. } = run;
        let (MessageCounts { messages, bytes, wrong }, time) = (meter.counts(), meter.elapsed());
        Self {
            source: run.joined.map(|(source, ..)| source),
            stream: run.stream.clone(),
            incarnation: run.joined.map(|(_, incarnation, _)| incarnation),
            sealed: run.is_sealed,
            size: meter.size(),
            sent: run.sent(),
            received: messages,
            lost: run.lost,
            corrupted: wrong,
            bytes,
            seconds: time.as_secs_f64(),
            messages_per_second: per_second(messages as f64, time),
            bits_per_second: per_second(bytes as f64 * 8.0, time),
            jitter_us: micros(meter.jitter()),
            latency_us: meter.delays().and_then(Histogram::percentiles).map(Micros::from),
            clocks: if meter.delays().is_some() { "same" } else { "unknown" },
            datagrams: statistics.received,
            repaired: statistics.repaired,
            unrecoverable: statistics.given_up,
            duplicated: statistics.copies,
            naks: statistics.naks,
            stalls: run.stalls,
            round_trip_us: micros(statistics.round_trip.into()),
            closed: run.ended.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_runs_are_reported_as_numbers() {
        assert_eq!(too_few_runs(0, 1), "no run ended");
        assert_eq!(too_few_runs(0, 3), "no run ended");
        assert_eq!(too_few_runs(1, 2), "received 1 run, expected at least 2");
    }
}
