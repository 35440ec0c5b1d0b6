//! The log of a stream: how fast messages are appended and synced, beside `fio` on the same disk.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mcast_stream::history::HistoryContent;
use mcast_stream::log::{LogOptions, LogTime, SyncPolicy, Writer};
use mcast_stream::wire::{Incarnation, StreamId};
use serde::Deserialize;

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::report::Figures;
use crate::tools::Need;

/// The bytes of a message.
const SIZE: usize = 1_024;
/// The messages that share a sync.
const BATCH: usize = 1_024;
/// The batches of a run: 512 MiB.
const BATCHES: usize = 512;

const FIO: &str = "fio";
const EACH: &str = "mcast-log, each batch synced";
const NONE: &str = "mcast-log, synced at the end";

pub(super) fn measure(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = "512 MiB are written to the disk of the target directory, in batches of 1,024 messages of 1 KiB: megabytes \
                 (10^6 bytes) per second until everything is synced. fio writes blocks of the size of a batch in sequence, and \
                 syncs each (`--rw=write --bs=1m --fdatasync=1`).";
    let mut figures = bench.figures(plan, about.to_owned(), "written", FIO);
    if let Some(why) = bench.missing(Need::Fio) {
        figures.absent.insert(FIO.to_owned(), why.to_owned());
        return Ok(figures);
    }
    let folder = bench.tools.made().join("log");
    let folder = &folder;
    let turns = [
        Turn { name: FIO.to_owned(), run: Box::new(move || with_folder(folder, fio)) },
        turn(folder, EACH, SyncPolicy::Each),
        turn(folder, NONE, SyncPolicy::None),
    ];
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("written"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&turns, options)?;
    fill(&mut figures, rounds, |name| match name {
        EACH => {
            "one write and one sync for each batch, with numbers, times, checksums and an index".to_owned()
        }
        NONE => "the same with one sync".to_owned(),
        _ => "writes blocks without any format".to_owned(),
    });
    Ok(figures)
}

fn turn<'a>(folder: &'a Path, name: &str, sync: SyncPolicy) -> Turn<'a> {
    Turn { name: name.to_owned(), run: Box::new(move || with_folder(folder, |folder| append(folder, sync))) }
}

/// Runs this with an empty folder, which is removed afterwards.
fn with_folder(folder: &Path, run: impl FnOnce(&Path) -> Result<f64>) -> Result<Values> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).context("removing the log of an earlier run")?;
    }
    std::fs::create_dir_all(folder).context("making the folder of a log")?;
    let written = run(folder);
    std::fs::remove_dir_all(folder).context("removing a log")?;
    Ok(vec![("written", written?)])
}

fn append(folder: &Path, sync: SyncPolicy) -> Result<f64> {
    let payload = vec![0x5a; SIZE];
    let batch = vec![HistoryContent::Message { key: None, bytes: &payload[..] }; BATCH];
    let options = LogOptions { sync, ..LogOptions::default() };
    let (mut writer, _) = Writer::open(folder, StreamId(1), "rate", Incarnation(1), options)?;
    let began = Instant::now();
    for _ in 0..BATCHES {
        writer.append(LogTime::now(), &batch)?;
    }
    writer.sync()?;
    Ok((SIZE * BATCH * BATCHES) as f64 / began.elapsed().as_secs_f64() / 1e6)
}

/// What fio prints.
#[derive(Deserialize)]
struct FioReport {
    jobs: Vec<FioJob>,
}

#[derive(Deserialize)]
struct FioJob {
    write: FioWrites,
}

#[derive(Deserialize)]
struct FioWrites {
    io_bytes: f64,
    /// In milliseconds.
    runtime: f64,
}

fn fio(folder: &Path) -> Result<f64> {
    let mut command = Command::new("fio");
    command.args(["--name=log", "--rw=write", "--bs=1m", "--fdatasync=1", "--ioengine=sync"]);
    command.args(["--output-format=json", &format!("--size={BATCHES}m")]).arg("--directory").arg(folder);
    let output = command.output().context("starting fio")?;
    ensure!(output.status.success(), "fio: {}", String::from_utf8_lossy(&output.stderr));
    let report: FioReport = serde_json::from_slice(&output.stdout).context("reading what fio prints")?;
    let writes = &report.jobs.first().context("fio did nothing")?.write;
    Ok(writes.io_bytes / writes.runtime / 1e3)
}
