//! A recording as JSON.

use std::time::Duration;

use mcast_capture::RecordedFile;
use mcast_watch::live::FrameLosses;
use serde::Serialize;

use super::recording::Totals;
use crate::output::{InterfaceNames, rfc3339};
use crate::receiving::{FlowSummary, Tally, certainty};

/// A complete file: `schemas/record-file.json`.
#[derive(Debug, Serialize)]
pub(super) struct FileRecord {
    path: String,
    started: String,
    frames: u64,
    bytes: u64,
    unwritten: u64,
    error: Option<String>,
}

impl FileRecord {
    pub(super) fn new(file: &RecordedFile) -> Self {
        Self {
            path: file.path.display().to_string(),
            started: rfc3339(file.begin),
            frames: file.frames,
            bytes: file.bytes,
            unwritten: file.unwritten,
            error: file.failure.as_ref().map(ToString::to_string),
        }
    }
}

/// The summary: `schemas/record-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct SummaryRecord {
    via: &'static str,
    datagrams: u64,
    bytes: u64,
    #[serde(flatten)]
    totals: Totals,
    seconds: f64,
    dropped: Option<u64>,
    dropped_certainty: &'static str,
    unwritten: u64,
    unreadable: u64,
    flows: Vec<FlowSummary>,
    other_datagrams: u64,
}

impl SummaryRecord {
    pub(super) fn new(
        tally: &Tally,
        totals: Totals,
        losses: FrameLosses,
        time: Duration,
        via: &'static str,
        names: &mut InterfaceNames,
    ) -> Self {
        Self {
            via,
            datagrams: tally.datagrams(),
            bytes: tally.bytes(),
            totals,
            seconds: time.as_secs_f64(),
            dropped: losses.dropped.count(),
            dropped_certainty: certainty(losses.dropped),
            unwritten: totals.unwritten,
            unreadable: losses.unreadable,
            flows: tally.flows(names),
            other_datagrams: tally.other_datagrams(),
        }
    }
}
