//! Summaries of a recording, as text and as JSON.

use std::io::Write;
use std::time::Duration;

use mcast::Drops;
use serde::Serialize;

use super::files::Complete;
use crate::console::{Console, Output};
use crate::output::{InterfaceNames, bytes, count, count_of, rfc3339, seconds, write_json};
use crate::receiving::{FlowSummary, Tally, certainty, drops_text};

/// Counts of frames and files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) frames: u64,
    /// The fragments among them, except first ones.
    pub(super) fragments: u64,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    /// Frames that could not be written.
    pub(super) unwritten: u64,
}

/// The data of the summary.
pub(super) struct Summary<'a> {
    pub(super) totals: Totals,
    pub(super) tally: Tally,
    pub(super) names: InterfaceNames,
    pub(super) console: &'a Console,
    pub(super) json: bool,
    pub(super) out: Output,
}

impl Summary<'_> {
    pub(super) fn datagrams(&self) -> u64 {
        self.tally.datagrams()
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.totals.unwritten
    }

    pub(super) fn print(
        mut self,
        dropped: Drops,
        unreadable: u64,
        time: Duration,
        via: &'static str,
    ) -> anyhow::Result<()> {
        if self.json {
            let record = self.record(dropped, unreadable, time, via);
            write_json(&mut self.out, &record)?;
            self.out.flush()?;
        }
        if self.console.is_quiet() {
            return Ok(());
        }
        let Totals { frames, fragments, files, file_bytes, unwritten } = self.totals;
        let mut text = format!(
            "recorded {} ({} of payload) as {} in {}",
            count_of(self.tally.datagrams(), "datagram"),
            bytes(self.tally.bytes()),
            count_of(frames, "frame"),
            seconds(time)
        );
        if fragments > 0 {
            text += &format!(", of which {}", count_of(fragments, "later fragment"));
        }
        text += &format!("; {}, {}", count_of(files, "file"), bytes(file_bytes));
        text += &format!("; dropped by this machine: {}", drops_text(dropped));
        if unreadable > 0 {
            text += &format!("; unreadable: {}", count(unreadable));
        }
        self.console.note(text);
        if unwritten > 0 {
            self.console.error(format_args!("{} could not be written", count_of(unwritten, "frame")));
        }
        if self.tally.datagrams() > 0 {
            self.console.note(self.tally.table(&mut self.names, self.console));
        }
        Ok(())
    }

    fn record(
        &mut self,
        dropped: Drops,
        unreadable: u64,
        time: Duration,
        via: &'static str,
    ) -> SummaryRecord {
        let Totals { frames, fragments, files, file_bytes, unwritten } = self.totals;
        SummaryRecord {
            event: "summary",
            via,
            datagrams: self.tally.datagrams(),
            bytes: self.tally.bytes(),
            frames,
            fragments,
            files,
            file_bytes,
            seconds: time.as_secs_f64(),
            dropped: dropped.count(),
            dropped_is: certainty(dropped),
            unwritten,
            unreadable,
            flows: self.tally.flows(&mut self.names),
            other_datagrams: self.tally.other_datagrams(),
        }
    }
}

/// A complete file as JSON: `schemas/record-file.json`.
#[derive(Debug, Serialize)]
pub(super) struct FileRecord {
    event: &'static str,
    path: String,
    begin: String,
    frames: u64,
    bytes: u64,
    unwritten: u64,
    error: Option<String>,
}

impl FileRecord {
    pub(super) fn new(complete: &Complete) -> Self {
        Self {
            event: "file",
            path: complete.path.display().to_string(),
            begin: rfc3339(complete.begin),
            frames: complete.frames,
            bytes: complete.bytes,
            unwritten: complete.unwritten,
            error: complete.failure.as_ref().map(ToString::to_string),
        }
    }
}

/// The summary as JSON: `schemas/record-summary.json`.
#[derive(Debug, Serialize)]
struct SummaryRecord {
    event: &'static str,
    via: &'static str,
    datagrams: u64,
    bytes: u64,
    frames: u64,
    fragments: u64,
    files: u64,
    file_bytes: u64,
    seconds: f64,
    dropped: Option<u64>,
    dropped_is: &'static str,
    unwritten: u64,
    unreadable: u64,
    flows: Vec<FlowSummary>,
    other_datagrams: u64,
}
