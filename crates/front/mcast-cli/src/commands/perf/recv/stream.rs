//! `--stream`: receives messages of the message layer, checks each one, and measures them.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use mcast::Membership;
use mcast_measure::{Histogram, MessageCounts, MessageMeter, lost_percent};
use mcast_path::clock_id;
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{SubscriberEvent, SubscriberStatistics};
use mcast_stream::{StreamError, Subscriber, SubscriberBuilder};
use mcast_terminal::Console;
use mcast_traffic::{MessageRun, RunEnd, RunEvent, RunSecond};

use super::{Arguments, Limits};
use crate::arguments::read_keys;
use crate::commands::perf::{Micros, micros, percentiles, share, short_time};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{
    count, count_of, excess_loss, per_second, rates, record, seconds, too_few, write_line, write_record,
};
use crate::receiving::SilentInterfaces;

/// Options for the message layer.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Message layer")]
pub(super) struct StreamOptions {
    /// Receive the messages of `mcast perf send --stream`, and check each
    #[arg(long, conflicts_with_all = ["reply", "spin", "no_gro", "wire"])]
    pub(super) stream: bool,

    /// Open sealed messages with the secrets in this file
    #[arg(long, value_name = "FILE", requires = "stream")]
    key: Option<PathBuf>,
}

/// What to subscribe to, and how: the arguments, resolved.
struct StreamReceivePlan<'a> {
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

fn plan<'a>(arguments: &'a Arguments, console: &Console) -> anyhow::Result<StreamReceivePlan<'a>> {
    let key = arguments.messages.key.as_deref();
    let keys = key.map(|path| read_keys(path, console)).transpose()?.unwrap_or_default();
    let paths = arguments.joining.selected(console)?.items;
    if paths.len() > 4 {
        return Err(Failure::usage("a stream has at most four paths")
            .remedy("name single groups, each on one interface")
            .into());
    }
    Ok(StreamReceivePlan {
        paths,
        memberships: arguments.joining.memberships.join(", "),
        receive_buffer: arguments.buffer,
        keys,
        json: arguments.json,
        limits: &arguments.limits,
    })
}

impl StreamReceivePlan<'_> {
    fn subscriber(&self) -> Result<Subscriber, StreamError> {
        let builder: SubscriberBuilder = Subscriber::builder();
        let builder = self.paths.iter().cloned().fold(builder, SubscriberBuilder::join);
        let builder = match self.receive_buffer {
            Some(bytes) => builder.receive_buffer(bytes),
            None => builder,
        };
        builder.keys(self.keys.clone()).build()
    }
}

fn measure(plan: &StreamReceivePlan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let mut subscriber = plan.subscriber()?;
    let mut silent_interfaces = SilentInterfaces::default();
    silent_interfaces.warn(&subscriber.receiver().memberships(), console);
    let interrupt = Interrupt::waking(subscriber.waker())?;
    console.note(format_args!("waiting for mcast perf send --stream on {}", plan.memberships));
    let Limits { count, keep, timeout, .. } = *plan.limits;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (mut runs, mut is_good) = (0, true);
    loop {
        let mut run = MessageRun::new(clock_id());
        let print = |event: RunEvent| print_event(&event, plan.json, console);
        let end = run.listen(&mut subscriber, plan.limits.idle, deadline, &interrupt, print)?;
        if run.joined.is_some() {
            let summary = StreamReceiveSummary::new(&run, !plan.keys.is_empty(), &subscriber.statistics());
            summary.print(&run, plan.json, console)?;
            let misses = misses(&run, plan.limits);
            misses.iter().for_each(|miss| console.note(miss));
            is_good &= misses.is_empty();
            runs += 1;
        }
        silent_interfaces.warn(&subscriber.receiver().memberships(), console);
        if end != RunEnd::Ended || (!keep && runs >= count) {
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

/// Prints events, and an interim line every second.
fn print_event(event: &RunEvent, json: bool, console: &Console) {
    match *event {
        RunEvent::Subscriber(SubscriberEvent::PublisherSilent) => {
            console.warn("the publisher has gone silent");
        }
        RunEvent::Subscriber(SubscriberEvent::Evicted) => {
            console.warn("evicted by the publisher: too slow, or the group no longer arrives here");
        }
        RunEvent::Subscriber(SubscriberEvent::KeyMissing(epoch)) => console
            .warn(format_args!("sealed with the secret of epoch {epoch}, which is not known here (--key)")),
        RunEvent::Second(RunSecond { time, messages, bytes, lost, jitter }) if !json => {
            let (rates, jitter) = (rates(messages, "message", bytes, time), short_time(jitter));
            console.note(format_args!("{rates}  lost {}  jitter {jitter}", count(lost)));
        }
        _ => {}
    }
}

/// Returns the unmet conditions of success; empty if all messages, or as many as required, arrived as published.
fn misses(run: &MessageRun, limits: &Limits) -> Vec<String> {
    let (MessageCounts { messages, wrong, .. }, lost) = (run.meter.counts(), run.lost);
    let mut misses = Vec::new();
    if run.ended.is_none() {
        misses.push("the run has not ended".into());
    }
    if wrong > 0 {
        let wrong = count_of(wrong, "message");
        misses.push(format!("{wrong} received that differ from what was published"));
    }
    misses.extend(excess_loss(lost_percent(lost, messages + lost), limits.max_loss));
    if limits.max_loss.is_none() && lost > 0 {
        misses.push(format!("{} lost", count_of(lost, "message")));
    }
    if let Some(required) = limits.expect.filter(|required| messages < *required) {
        misses.push(too_few(&count(messages), required));
    }
    misses
}

record! {
    fn new(run: &MessageRun, sealed: bool, statistics: &SubscriberStatistics) {
        let meter = &run.meter;
        let (MessageCounts { messages, bytes, wrong }, time) = (meter.counts(), meter.elapsed());
    }

    /// One object per stream, after its end.
    pub(super) struct StreamReceiveSummary {
        /// Address and port of the publisher; null if unknown
        source: Option<SocketAddr> = run.joined.map(|joined| joined.publisher),
        /// Stream ID, 16 hexadecimal digits
        stream: String = run.stream.map(|stream| stream.to_string()).unwrap_or_default(),
        /// Publisher's incarnation; null if unknown
        incarnation: Option<u32> = run.joined.map(|joined| joined.incarnation),
        /// Whether the stream is sealed
        sealed: bool = sealed,
        /// Length of the first message in bytes; null without messages
        size: Option<usize> = meter.size(),
        /// Messages published since this subscriber joined; null if the end of the stream was not received
        sent: Option<u64> = run.sent(),
        /// Messages received
        received: u64 = messages,
        /// Messages lost
        lost: u64 = run.lost,
        /// Messages that differ from what was published under their number
        corrupted: u64 = wrong,
        /// Bytes in the messages received
        bytes: u64 = bytes,
        /// Time from the first message to the last, in seconds
        seconds: f64 = time.as_secs_f64(),
        /// Messages per second; null if the time is zero
        messages_per_second: Option<f64> = per_second(messages as f64, time),
        /// Message bits per second; null if the time is zero
        bits_per_second: Option<f64> = per_second(bytes as f64 * 8.0, time),
        /// Interarrival jitter of messages (RFC 3550), in microseconds
        jitter_us: f64 = micros(meter.jitter()),
        /// Delay from publishing to delivery, including repairs, in microseconds; null unless publisher and
        /// subscriber share a clock
        latency_us: Option<Micros> = meter.delays().and_then(Histogram::percentiles).map(Micros::from),
        /// Whether publisher and subscriber share a clock
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["same", "unknown"])))]
        clocks: &'static str = if meter.delays().is_some() { "same" } else { "unknown" },
        /// Data datagrams received, excluding duplicates
        datagrams: u64 = statistics.received,
        /// Data datagrams received as repairs
        repaired: u64 = statistics.repaired,
        /// Data datagrams given up
        unrecoverable: u64 = statistics.given_up,
        /// Duplicate data datagrams received
        duplicated: u64 = statistics.copies,
        /// NAKs sent
        naks: u64 = statistics.naks,
        /// Number of times that delivery stalled while waiting for a repair
        stalls: u64 = run.stalls,
        /// Round-trip time to the publisher, in microseconds; that of the group until it is measured
        round_trip_us: f64 = micros(statistics.round_trip),
        /// Whether the end of the stream was received
        closed: bool = run.ended.is_some(),
    }
}

impl StreamReceiveSummary {
    fn print(&self, run: &MessageRun, json: bool, console: &Console) -> io::Result<()> {
        let mut out = console.output();
        match json {
            true => write_record(&mut out, "result", self)?,
            false => self.write_text(&run.meter, &mut out)?,
        }
        out.flush()
    }

    fn write_text(&self, meter: &MessageMeter, out: &mut impl Write) -> io::Result<()> {
        let source = self.source.map(|source| source.ip().to_string()).unwrap_or_default();
        let sealed = if self.sealed { ", sealed" } else { "" };
        writeln!(out, "from {source}: stream {}{sealed}", self.stream)?;
        let of = self.sent.map_or_else(|| "an unknown number".into(), count);
        let time = meter.elapsed();
        let line = format!(
            "  received    {} of {of} in {}: {}",
            count_of(self.received, "message"),
            seconds(time),
            rates(self.received, "message", self.bytes, time)
        );
        write_line(out, line)?;
        let line = format!(
            "  lost        {}; corrupted {}",
            share(self.lost, self.received + self.lost),
            count(self.corrupted)
        );
        write_line(out, line)?;
        let line = format!(
            "  repaired    {}; requested {}, unrecoverable {}, duplicates {}, stalled {}",
            share(self.repaired, self.datagrams),
            count_of(self.naks, "time"),
            count(self.unrecoverable),
            count(self.duplicated),
            count_of(self.stalls, "time")
        );
        write_line(out, line)?;
        let delays = match meter.delays().and_then(Histogram::percentiles) {
            Some(times) => percentiles(times),
            None => "unknown: the clocks differ".into(),
        };
        write_line(out, format_args!("  delay       {delays}; jitter {}", short_time(meter.jitter())))
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
