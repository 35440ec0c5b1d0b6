//! `mcast perf`: measures rate, loss and delay, and shows where loss happened. The counts of a receiver are the same on
//! both sides, as JSON and as text.

mod recv;
mod send;

use std::time::Duration;

use mcast_measure::wire::{ReceiverReport, SessionSettings};
use mcast_measure::{ClockRelation, Histogram, HistogramBar, Percentiles};
use mcast_terminal::Console;
use serde::Serialize;

use crate::exit::Outcome;
use crate::output::{Palette, count, per_second, rates, record, seconds};

/// Measure rates, loss, reordering, jitter and delays
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    side: Side,
}

#[derive(Debug, clap::Subcommand)]
enum Side {
    Recv(Box<recv::Arguments>),
    Send(Box<send::Arguments>),
}

const EXAMPLES: &str = "\
The first command of each pair runs on one or several hosts, the second on another.

Examples:
  mcast perf recv 239.255.1.2:5000
  mcast perf send 239.255.1.2:5000 --size 1400 --duration 5s          as fast as possible

  mcast perf recv 239.255.1.2:5000
  mcast perf send 239.255.1.2:5000 --sweep                            at which rate does loss start?

  mcast perf recv 239.255.1.2:5000 --reply
  mcast perf send 239.255.1.2:5000 --latency --size 64                what is the delay?

  mcast perf recv 239.255.1.2:5000 --stream
  mcast perf send 239.255.1.2:5000 --stream --rate 20kpps             messages with repair";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.side {
        Side::Recv(arguments) => recv::run(arguments, console),
        Side::Send(arguments) => send::run(arguments, console),
    }
}

record! {
    fn new(report: &ReceiverReport, settings: Option<&SessionSettings>) {
        let drops =
            report.drops.nonzero().map(|(place, count)| DropFigure { counter: place.counter(), count });
    }

    /// A receiver's numbers as JSON: part of `schemas/perf-recv.json` and `schemas/perf-send.json`.
    struct Figures {
        /// Datagrams sent, according to sequence numbers and the closing message
        sent: u64 = report.sent,
        /// Datagrams received, excluding duplicates
        received: u64 = report.received,
        /// Datagrams lost
        lost: u64 = report.lost,
        /// Duplicates received
        duplicated: u64 = report.duplicated,
        /// Datagrams received after one that was sent later
        reordered: u64 = report.reordered,
        /// Time from the first arrival to the last, in seconds
        seconds: f64 = report.elapsed.as_secs_f64(),
        /// Receive rate in datagrams per second; null if the time is zero
        datagrams_per_second: Option<f64> = per_second(report.received as f64, report.elapsed),
        /// Receive rate in payload bits per second; null if the time is zero
        bits_per_second: Option<f64> = per_second(report.bytes as f64 * 8.0, report.elapsed),
        /// One-way delay from sending to arrival, in microseconds; null if the clocks differ or no delay was
        /// measured
        latency_us: Option<Micros> = report.delays.map(Micros::from),
        /// Whether the sender uses UDP segmentation offload (GSO); null if unknown
        gso: Option<bool> = settings.map(|settings| settings.gso),
        /// Whether the receiver's system delivered coalesced datagrams (UDP GRO)
        gro: bool = report.gro,
        /// Payload bytes received, including duplicates
        bytes: u64 = report.bytes,
        /// Datagrams sent before the first one received, if the start of the session was not received; counted as
        /// neither sent nor lost
        before_first: u64 = report.before_first,
        /// Whether the closing message was received; without it, loss at the end of the session is unknown
        closed: bool = report.closed,
        /// Interarrival jitter (RFC 3550) of the stream with the highest jitter, in microseconds
        jitter_us: f64 = micros(report.jitter),
        /// Relation of the clocks of sender and receiver. `same`: delays are exact. `unknown`: delays are as
        /// accurate as the two clocks agree. `apart`: a datagram arrived before it was sent, so the clocks differ.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["same", "unknown", "apart"])))]
        clocks: &'static str = clock_relation_name(report.clocks),
        /// Datagrams per receive call, counting only calls that returned datagrams; null without such calls
        datagrams_per_call: Option<f64> = per_call(report.received + report.duplicated, report.receive_calls),
        /// Datagrams that the receiver's system dropped during the session, by counter; with UDP GRO, counters may
        /// count coalesced buffers
        drops: Vec<DropFigure> = drops.collect(),
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Micros {
    /// Median, in microseconds
    p50: f64,
    /// 90th percentile, in microseconds
    p90: f64,
    /// 99th percentile, in microseconds
    p99: f64,
    /// 99.9th percentile, in microseconds
    p999: f64,
    /// Maximum, in microseconds
    max: f64,
}

/// Counter that increased
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct DropFigure {
    /// Name of the counter
    counter: &'static str,
    /// Increase of the counter
    count: u64,
}

impl From<Percentiles> for Micros {
    fn from(times: Percentiles) -> Self {
        let [p50, p90, p99, p999, max] = times.values().map(micros);
        Self { p50, p90, p99, p999, max }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// Returns the datagrams per system call; `None` without calls.
fn per_call(datagrams: u64, calls: u64) -> Option<f64> {
    (calls > 0).then(|| datagrams as f64 / calls as f64)
}

fn clock_relation_name(clocks: ClockRelation) -> &'static str {
    match clocks {
        ClockRelation::Same => "same",
        ClockRelation::Unknown => "unknown",
        ClockRelation::Apart => "apart",
    }
}

/// `12 (0.600%)`.
fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return count(part);
    }
    format!("{} ({:.3}%)", count(part), part as f64 * 100.0 / whole as f64)
}

/// `3.2 µs`, `45 µs`, `1.23 ms`: more precise than [`seconds`] for short times.
fn short_time(time: Duration) -> String {
    if time < Duration::from_micros(100) { format!("{:.1} µs", micros(time)) } else { seconds(time) }
}

/// Returns the figures as lines of text.
fn lines(report: &ReceiverReport, settings: Option<&SessionSettings>, palette: &Palette) -> Vec<String> {
    let Palette { good, bad, dim, .. } = *palette;
    let style = if report.lost == 0 { good } else { bad };
    let mut lines = vec![
        format!("received    {}", received(report)),
        format!(
            "lost        {style}{}{style:#}; duplicated {}, reordered {}",
            share(report.lost, report.sent),
            count(report.duplicated),
            count(report.reordered)
        ),
        format!("delay       {}; jitter {}", delays(report), short_time(report.jitter)),
        format!("batching    {}", offload_and_calls(report, settings)),
    ];
    for (place, number) in report.drops.nonzero() {
        lines.push(format!(
            "dropped     {bad}{} {}{bad:#}: {}",
            place.counter(),
            count(number),
            place.remedy()
        ));
    }
    if report.lost > 0 && !report.drops.explain_loss() {
        lines.push(
            "dropped     none counted on this host: the loss happened on the path or at the sender".into(),
        );
    }
    if report.before_first > 0 {
        lines.push(format!(
            "{dim}before it   {} sent before the first was received; counted as neither sent nor lost{dim:#}",
            count(report.before_first)
        ));
    }
    if !report.closed {
        lines.push("the closing message was not received: loss after the last datagram is unknown".into());
    }
    lines
}

fn received(report: &ReceiverReport) -> String {
    let text = format!("{} of {}", count(report.received), count(report.sent));
    match rates(report.received, "datagram", report.bytes, report.elapsed) {
        rates if rates.is_empty() => text,
        rates => format!("{text} in {} ({rates})", seconds(report.elapsed)),
    }
}

fn delays(report: &ReceiverReport) -> String {
    let Some(delays) = report.delays else {
        return match report.clocks {
            ClockRelation::Apart => "unknown: the clocks of sender and receiver differ".into(),
            _ => "unknown".into(),
        };
    };
    let note =
        if report.clocks == ClockRelation::Same { "" } else { " (as accurate as the two clocks agree)" };
    format!("{}{note}", percentiles(delays))
}

/// `p50 3.1 µs, p90 …, max …`.
fn percentiles(times: Percentiles) -> String {
    let [p50, p90, p99, p999, max] = times.values().map(short_time);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

fn offload_and_calls(report: &ReceiverReport, settings: Option<&SessionSettings>) -> String {
    let per_call = per_call(report.received + report.duplicated, report.receive_calls);
    let calls = per_call.map(|number| format!("{number:.1} datagrams per call, "));
    let gso = match settings.map(|settings| settings.gso) {
        None => "GSO at the sender unknown",
        Some(true) => "GSO at the sender",
        Some(false) => "no GSO at the sender",
    };
    let gro = if report.gro { "GRO here" } else { "no GRO here" };
    format!("{}{gso}, {gro}", calls.unwrap_or_default())
}

fn bars(times: &Histogram, palette: &Palette) -> Vec<String> {
    const BARS: usize = 20;
    const WIDTH: f64 = 40.0;

    let bars = times.bars(BARS);
    let highest = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let bar_line = |bar: &HistogramBar| {
        // Rounded up, so that every nonempty bar is visible.
        let length = (bar.count as f64 * WIDTH / highest as f64).ceil() as usize;
        let style = palette.group;
        format!(
            "{:>9} to {:>9} {:>12} {style}{}{style:#}",
            short_time(bar.from),
            short_time(bar.to),
            count(bar.count),
            "▆".repeat(length)
        )
    };
    bars.iter().map(bar_line).collect()
}

/// Histogram bar
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct BarFigure {
    /// Lower bound in microseconds, inclusive
    from_us: f64,
    /// Upper bound in microseconds, exclusive
    to_us: f64,
    /// Number of round trips
    count: u64,
}

fn bar_figures(times: &Histogram) -> Vec<BarFigure> {
    const BARS: usize = 50;

    let figure =
        |bar: HistogramBar| BarFigure { from_us: micros(bar.from), to_us: micros(bar.to), count: bar.count };
    times.bars(BARS).into_iter().map(figure).collect()
}

/// The schemas of its records.
#[cfg(feature = "schema")]
pub(super) fn schemas() -> Vec<mcast_json::RecordSchema> {
    [recv::schemas(), send::schemas()].concat()
}

#[cfg(test)]
mod tests {
    use mcast_measure::{DropCounts, DropPoint};

    use super::*;

    fn report() -> ReceiverReport {
        ReceiverReport {
            sent: 1_000,
            received: 990,
            lost: 10,
            bytes: 990_000,
            elapsed: Duration::from_secs(2),
            receive_calls: 99,
            closed: true,
            drops: DropCounts::default().with(DropPoint::Socket, Some(10)),
            ..ReceiverReport::default()
        }
    }

    #[test]
    fn json_has_the_numbers_of_the_report() {
        let figures =
            Figures::new(&report(), Some(&SessionSettings { gso: true, ..SessionSettings::default() }));
        let json = serde_json::to_value(figures).unwrap();
        assert_eq!(json["lost"], 10);
        assert_eq!(json["datagrams_per_second"], 495.0);
        assert_eq!(json["bits_per_second"], 3_960_000.0);
        assert_eq!(json["datagrams_per_call"], 10.0);
        assert_eq!((json["gso"].as_bool(), json["gro"].as_bool()), (Some(true), Some(false)));
        assert_eq!(json["latency_us"], serde_json::Value::Null);
        assert_eq!(json["drops"][0]["counter"], "SO_MEMINFO drops");
    }

    #[test]
    fn text_shows_where_datagrams_were_lost() {
        let plain = Palette::new(false);
        let text = lines(&report(), None, &plain).join("\n");
        assert!(text.contains("lost        10 (1.000%)"), "{text}");
        assert!(text.contains("dropped     SO_MEMINFO drops 10"), "{text}");
        let elsewhere = ReceiverReport { drops: DropCounts::default(), ..report() };
        let text = lines(&elsewhere, None, &plain).join("\n");
        assert!(text.contains("on the path or at the sender"), "{text}");
    }

    #[test]
    fn the_longest_bar_has_the_highest_count() {
        let mut times = Histogram::new();
        (0..100).for_each(|_| times.record(1_000));
        times.record(50_000);
        let lines = bars(&times, &Palette::new(false));
        let lengths: Vec<usize> =
            lines.iter().map(|line| line.chars().filter(|character| *character == '▆').count()).collect();
        assert_eq!((lengths[0], lengths.last()), (40, Some(&1)));
    }
}
