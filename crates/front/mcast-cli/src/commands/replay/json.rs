//! The summary as JSON.

use std::time::Duration;

use crate::output::record;
use mcast_capture::SkippedFrames;
use mcast_measure::Histogram;
use mcast_traffic::{DispatchCounts, ReplayReport, TransmitErrors};
use serde::Serialize;

record! {
    pub(super) fn new(report: &ReplayReport) {
        let late = report.late.percentiles();
        let exact = match &report.transmit_errors {
            TransmitErrors::Known(errors) => Histogram::percentiles(errors),
            TransmitErrors::Unknown | TransmitErrors::NotMeasured => None,
        };
        let DispatchCounts { sent, bytes, refused } = report.counts;
    }

    /// The summary: `schemas/replay-summary.json`.
    pub(super) struct Summary {
        sent: u64 = sent,
        bytes: u64 = bytes,
        seconds: f64 = report.elapsed.as_secs_f64(),
        refused: u64 = refused,
        rounds: u64 = report.rounds,
        #[serde(with = "SkippedRecord")]
        skipped: SkippedFrames = report.skipped,
        bad_checksums: u64 = report.bad_checksums,
        clock_jumps: u64 = report.clock_jumps,
        late_p50_us: Option<f64> = late.map(|late| microseconds(late.p50)),
        late_p99_us: Option<f64> = late.map(|late| microseconds(late.p99)),
        late_max_us: Option<f64> = late.map(|late| microseconds(late.max)),
        transmit_error_p50_us: Option<f64> = exact.map(|exact| microseconds(exact.p50)),
        transmit_error_p99_us: Option<f64> = exact.map(|exact| microseconds(exact.p99)),
        transmit_error_max_us: Option<f64> = exact.map(|exact| microseconds(exact.max)),
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
