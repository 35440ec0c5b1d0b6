//! The summary: datagrams sent, timing accuracy, and omitted frames.

use std::io::Write;
use std::time::Duration;

use mcast_measure::Histogram;
use serde::Serialize;

use super::measure::TimingAccuracy;
use super::skipped::Skipped;
use crate::console::Console;
use crate::output::{bits_per_second, bytes, count, count_of, datagrams_per_second, seconds, write_record};

/// The results.
#[derive(Debug)]
pub(super) struct Report {
    /// Datagrams of the file that were selected.
    pub(super) taken: u64,
    /// Datagrams sent, counted per interface.
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) refused: u64,
    pub(super) rounds: u64,
    pub(super) skipped: Skipped,
    pub(super) bad_checksums: u64,
    pub(super) clock_jumps: u64,
    pub(super) is_damaged: bool,
    /// How late datagrams were passed to the kernel.
    pub(super) late: Histogram,
    /// Whether `--measure` was given.
    pub(super) measured: bool,
    pub(super) accuracy: Option<TimingAccuracy>,
    pub(super) time: Duration,
}

pub(super) fn print(report: &Report, json: bool, console: &Console) -> anyhow::Result<()> {
    if json {
        let mut out = console.output();
        write_record(&mut out, "summary", &Summary::new(report))?;
        out.flush()?;
    }
    let rates = match report.sent {
        0 | 1 => String::new(),
        _ => {
            let rates =
                [datagrams_per_second(report.sent, report.time), bits_per_second(report.bytes, report.time)];
            format!(" ({})", rates.into_iter().flatten().collect::<Vec<_>>().join(", "))
        }
    };
    console.note(format_args!(
        "sent {}, {} in {}{rates}; refused by the kernel: {}",
        count_of(report.sent, "datagram"),
        bytes(report.bytes),
        seconds(report.time),
        count(report.refused)
    ));
    print_timing(report, console);
    if let Some(words) = report.skipped.description() {
        console.note(format_args!("not sent: {words}"));
    }
    if report.bad_checksums > 0 {
        console.note(format_args!(
            "{} had a wrong checksum in the file; sent with a correct one",
            count_of(report.bad_checksums, "datagram")
        ));
    }
    if report.clock_jumps > 0 {
        let times = count_of(report.clock_jumps, "time");
        console.warn(format_args!("the clock was set back {times} during the recording; sent without a gap"));
    }
    if report.sent == 0 && report.refused == 0 {
        console.error("the file contains nothing that can be sent");
    }
    Ok(())
}

fn print_timing(report: &Report, console: &Console) {
    if let Some(late) = report.late.percentiles() {
        console.note(format_args!(
            "send lateness: p50 {}, p99 {}, max {}",
            seconds(late.p50),
            seconds(late.p99),
            seconds(late.max)
        ));
    }
    match report.accuracy {
        Some(TimingAccuracy { datagrams, p50, p99, max }) => console.note(format_args!(
            "kernel transmit times of {} are off by {} (half), {} (99%), {} (all)",
            count_of(datagrams, "datagram"),
            seconds(p50),
            seconds(p99),
            seconds(max)
        )),
        None if report.measured => {
            console.warn("not every datagram was captured when it was sent: the accuracy is unknown");
        }
        None => {}
    }
}

/// The summary as JSON: `schemas/replay-summary.json`.
#[derive(Debug, Serialize)]
struct Summary {
    sent: u64,
    bytes: u64,
    seconds: f64,
    refused: u64,
    rounds: u64,
    skipped: Skipped,
    bad_checksums: u64,
    clock_jumps: u64,
    late_p50_us: Option<f64>,
    late_p99_us: Option<f64>,
    late_max_us: Option<f64>,
    transmit_error_p50_us: Option<f64>,
    transmit_error_p99_us: Option<f64>,
    transmit_error_max_us: Option<f64>,
}

impl Summary {
    fn new(report: &Report) -> Self {
        let late = report.late.percentiles();
        let exact = report.accuracy;
        Self {
            sent: report.sent,
            bytes: report.bytes,
            seconds: report.time.as_secs_f64(),
            refused: report.refused,
            rounds: report.rounds,
            skipped: report.skipped,
            bad_checksums: report.bad_checksums,
            clock_jumps: report.clock_jumps,
            late_p50_us: late.map(|late| microseconds(late.p50)),
            late_p99_us: late.map(|late| microseconds(late.p99)),
            late_max_us: late.map(|late| microseconds(late.max)),
            transmit_error_p50_us: exact.map(|exact| microseconds(exact.p50)),
            transmit_error_p99_us: exact.map(|exact| microseconds(exact.p99)),
            transmit_error_max_us: exact.map(|exact| microseconds(exact.max)),
        }
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
