//! A recording as JSON.

use std::time::Duration;

use mcast_capture::RecordedFile;
use mcast_watch::live::FrameLosses;

use super::recording::Totals;
use crate::output::{InterfaceNames, record, rfc3339};
use crate::receiving::{FlowSummary, Tally};

record! {
    pub(super) fn new(file: &RecordedFile) {}

    /// A complete file: `schemas/record-file.json`.
    pub(super) struct FileRecord {
        path: String = file.path.display().to_string(),
        started: String = rfc3339(file.begin),
        frames: u64 = file.frames,
        bytes: u64 = file.bytes,
        unwritten: u64 = file.unwritten,
        error: Option<String> = file.failure.as_ref().map(ToString::to_string),
    }
}

record! {
    pub(super) fn new(
        tally: &Tally,
        totals: Totals,
        losses: FrameLosses,
        time: Duration,
        via: &'static str,
        names: &mut InterfaceNames,
    ) {}

    /// The summary: `schemas/record-summary.json`.
    pub(super) struct SummaryRecord {
        via: &'static str = via,
        datagrams: u64 = tally.datagrams(),
        bytes: u64 = tally.bytes(),
        #[serde(flatten)]
        totals: Totals = totals,
        seconds: f64 = time.as_secs_f64(),
        dropped: Option<u64> = losses.dropped.count(),
        dropped_certainty: &'static str = losses.dropped.certainty(),
        unwritten: u64 = totals.unwritten,
        unreadable: u64 = losses.unreadable,
        flows: Vec<FlowSummary> = tally.flows(names),
        other_datagrams: u64 = tally.other_datagrams(),
    }
}
