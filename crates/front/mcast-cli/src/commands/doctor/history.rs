//! `--journal`: the results of `--watch` in a file, and since when something is wrong.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use mcast_doctor::{
    History, HistoryEntry, HistoryPath, HistoryQuerier, HistoryStream, HistoryTimeline, Onset,
};
use mcast_terminal::{Console, Output};
use serde::Serialize;

use crate::exit::Outcome;
use crate::output::{write_json, write_record};

/// `schemas/doctor-since.json`, without the event.
#[derive(Serialize)]
struct OnsetRecord<'a> {
    since: String,
    healthy_until: Option<String>,
    stopped: Vec<Stopped<'a>>,
    queriers: &'a [HistoryQuerier],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<FailingPath<'a>>,
}

/// A path of a fleet on which not everything arrives.
#[derive(Serialize)]
struct FailingPath<'a> {
    #[serde(flatten)]
    path: &'a HistoryPath,
    since: String,
}

#[derive(Serialize)]
struct Stopped<'a> {
    #[serde(flatten)]
    stream: &'a HistoryStream,
    last_heard: String,
}

/// Continues the history in a file, or begins one.
pub(super) fn open(path: &Path, console: &Console) -> anyhow::Result<History> {
    let mut history =
        History::open(path).with_context(|| format!("cannot record a history in {}", path.display()))?;
    if let Err(error) = history.watch_queriers() {
        console.note(format_args!("the history does not contain queriers: {error}"));
    }
    Ok(history)
}

/// Prints the changes of a history, and since when something is wrong.
pub(super) fn show(path: &Path, is_json: bool, console: &Console) -> anyhow::Result<Outcome> {
    let timeline = HistoryTimeline::read(path)
        .with_context(|| format!("cannot read the history in {}", path.display()))?;
    let mut out = console.output();
    for entry in timeline.changes() {
        write_change(entry, is_json, console, &mut out)?;
    }
    let onset = timeline.onset();
    if let Some(onset) = &onset {
        write_onset(onset, is_json, &mut out)?;
    }
    out.flush()?;
    if timeline.changes().next().is_none() {
        console.note("the history is empty");
        return Ok(Outcome::Undecided);
    }
    Ok(Outcome::of(onset.is_none()))
}

fn write_change(entry: &HistoryEntry, is_json: bool, console: &Console, out: &mut Output) -> io::Result<()> {
    if is_json {
        return write_json(out, entry);
    }
    let dim = console.palette().dim;
    let time = entry.date_and_time().unwrap_or_default();
    let findings = super::text::safe(&entry.findings.join("; "));
    writeln!(out, "{dim}{time}{dim:#}  {:<8}  {findings}", super::text::safe(&entry.verdict))
}

pub(super) fn write_onset(onset: &Onset, is_json: bool, out: &mut Output) -> io::Result<()> {
    if !is_json {
        return writeln!(out, "{}", super::text::safe(&onset.to_string()));
    }
    let stopped = onset.stopped.iter().map(|(stream, last)| Stopped { stream, last_heard: last.to_string() });
    let paths = onset.paths.iter().map(|(path, since)| FailingPath { path, since: since.to_string() });
    let record = OnsetRecord {
        since: onset.since.to_string(),
        healthy_until: onset.healthy_until.map(|until| until.to_string()),
        stopped: stopped.collect(),
        queriers: &onset.queriers,
        paths: paths.collect(),
    };
    write_record(out, "since", &record)
}
