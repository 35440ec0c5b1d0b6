//! The summary as JSON.

use std::time::Duration;

use mcast_capture::SkippedFrames;
use mcast_measure::Histogram;
use serde::Serialize;

use super::deliver::Report;

/// The summary: `schemas/replay-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    sent: u64,
    bytes: u64,
    seconds: f64,
    refused: u64,
    rounds: u64,
    #[serde(with = "SkippedRecord")]
    skipped: SkippedFrames,
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
    pub(super) fn new(report: &Report) -> Self {
        let late = report.late.percentiles();
        let exact = report.transmit_errors.as_ref().and_then(Histogram::percentiles);
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

/// Frames that were not sent, by reason.
#[derive(Serialize)]
#[serde(remote = "SkippedFrames")]
struct SkippedRecord {
    not_udp: u64,
    not_multicast: u64,
    fragments: u64,
    truncated: u64,
    malformed: u64,
    unsupported_link_type: u64,
    not_selected: u64,
}
