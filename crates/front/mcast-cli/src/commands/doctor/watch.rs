//! `mcast doctor --watch`: repeats the examination and reports what is new, what is gone, and each new verdict; `--journal` keeps
//! that in a file, from which follows since when something is wrong.

use std::cell::RefMut;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mcast_doctor::{Finding, Report, Severity, StartedProgram, Verdict};
use mcast_fleet::{
    History, HistoryEntry, HistoryPath, HistoryQuerier, HistoryStream, HistoryTimeline, Onset,
};
use mcast_metrics::BoundExporter;
use mcast_terminal::{Console, Level, Output};
use serde::Serialize;

use super::apply::Repairer;
use super::json::{self, Change, Examinations};
use super::{Doctor, text};
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt, Service};
use crate::output::{clock_time, write_json, write_record};

/// The interval of keep-alives and of checks for hang-ups during a wait.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long an interrupted program has to end before it counts as running on.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

pub(super) fn run(
    doctor: &Doctor<'_>,
    every: Duration,
    mut repairer: Repairer<'_>,
    bound: Option<BoundExporter>,
    history: Option<History>,
    is_json: bool,
) -> anyhow::Result<Outcome> {
    let (console, service) = (doctor.console, &doctor.service);
    let hangup = service.hangups()?;
    let examinations = Examinations::default();
    if let Some(bound) = bound {
        let exporter = examinations.serve(bound)?;
        console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
    }
    let mut reporter = Reporter {
        doctor,
        out: console.output(),
        is_json,
        known: Vec::new(),
        verdict: None,
        failure: None,
        history,
    };
    match doctor.subject.running() {
        Some(program) => console.note(format_args!("examining {} until it ends", program.name())),
        None => console.note("repeating the examination until Ctrl-C"),
    }
    let status = format!("Examines every {} s", every.as_secs_f64());
    service.ready(&status);
    let outcome = loop {
        let start = Instant::now();
        let examined = doctor.examine();
        doctor.is_repeating.set(true);
        if let Some(outcome) = doctor.interrupt.outcome() {
            // After an interrupted examination, missing findings are not gone.
            break outcome;
        }
        if let Some(outcome) = ended(doctor)? {
            break outcome;
        }
        match examined {
            Ok(report) => {
                examinations.add(&report, start.elapsed());
                // What is applied now is judged by an examination that begins at once, not after the interval.
                let is_to_be_verified = repairer.handle(&report);
                reporter.report(report)?;
                if is_to_be_verified {
                    continue;
                }
            }
            // The examination worked before and may work again, for example when the interface is back.
            Err(error)
                if (examinations.has_completed()
                    || repairer.is_active()
                    || doctor.subject.running().is_some())
                    && doctor.subject.may_come_back() =>
            {
                examinations.fail();
                reporter.report_failure(&error);
            }
            Err(error) => return Err(error),
        }
        // A program is examined again when it joins or leaves a group, and noticed when it ends.
        let is_due = || {
            let Some(mut program) = doctor.subject.running() else { return false };
            program.has_changed().unwrap_or(false) || matches!(program.end_status(), Ok(Some(_)))
        };
        match wait_unless(&doctor.interrupt, service, hangup.as_ref(), start + every, is_due) {
            Next::Examine => {
                if let Some(outcome) = ended(doctor)? {
                    break outcome;
                }
            }
            Next::Reload => {
                console.note("received SIGHUP: examining now and reporting all findings");
                service.reloading();
                reporter.forget();
                service.ready(&status);
            }
            Next::End => break doctor.interrupt.outcome().unwrap_or(Outcome::Yes),
        }
    };
    if let Some(program) = doctor.subject.running().filter(|_| matches!(outcome, Outcome::Interrupted(_))) {
        report_running(program, console);
    }
    service.stopping();
    Ok(outcome)
}

/// Returns the outcome of the program that runs, once it has ended.
fn ended(doctor: &Doctor<'_>) -> anyhow::Result<Option<Outcome>> {
    let Some(mut program) = doctor.subject.running() else { return Ok(None) };
    Ok(program.end_status()?.map(Outcome::of_program))
}

/// Reports a program that runs on, unless it ends soon: Ctrl-C interrupts it, too.
fn report_running(mut program: RefMut<'_, StartedProgram>, console: &Console) {
    let deadline = Instant::now() + GRACE_PERIOD;
    while Instant::now() < deadline {
        match program.end_status() {
            Ok(None) => std::thread::sleep(GRACE_PERIOD / 20),
            _ => return,
        }
    }
    console.note(format_args!("{} runs on, as repaired", program.name()));
}

/// Reports changes since the last examination.
struct Reporter<'a> {
    doctor: &'a Doctor<'a>,
    out: Output,
    is_json: bool,
    known: Vec<Finding>,
    verdict: Option<Verdict>,
    /// Why the last examination failed, if it did.
    failure: Option<String>,
    history: Option<History>,
}

impl Reporter<'_> {
    /// Reports new findings, findings that are gone, and the verdict if it has changed.
    fn report(&mut self, report: Report) -> io::Result<()> {
        let findings = &report.findings;
        for finding in findings.iter().filter(|finding| !holds(&self.known, finding)) {
            write(self.doctor, &mut self.out, "found", finding, self.is_json)?;
        }
        for finding in self.known.iter().filter(|finding| !holds(findings, finding)) {
            write(self.doctor, &mut self.out, "gone", finding, self.is_json)?;
        }
        self.record(&report);
        if self.verdict.replace(report.verdict()) != Some(report.verdict()) {
            self.report_verdict(&report)?;
            if let Some(onset) = self.history.as_ref().and_then(History::onset) {
                write_onset(&onset, self.is_json, &mut self.out)?;
            }
        }
        self.known = report.findings;
        if self.failure.take().is_some() {
            self.doctor.console.note("can examine again");
        }
        self.out.flush()
    }

    /// Records the examination in the history. If that fails, the history ends, and the watch continues.
    fn record(&mut self, report: &Report) {
        let Some(history) = &mut self.history else { return };
        if let Err(error) = history.record(report) {
            self.doctor.console.warn(format_args!("the history ends: {error}"));
            self.history = None;
        }
    }

    fn report_verdict(&mut self, report: &Report) -> io::Result<()> {
        if self.is_json {
            return json::write_verdict(report, &mut self.out);
        }
        let level = match report.verdict() {
            Verdict::Unknown => Level::Warning,
            _ => Level::Information,
        };
        let dim = self.doctor.console.palette().dim;
        writeln!(
            self.out,
            "{}{dim}{}{dim:#} verdict {}",
            self.doctor.console.mark(level),
            clock_time(SystemTime::now()),
            text::safe(&report.summary()),
        )
    }

    /// Forgets what was reported, so that all findings are reported again.
    fn forget(&mut self) {
        self.known.clear();
        self.verdict = None;
        self.failure = None;
    }

    /// Reports a failed examination, unless the last one failed for the same reason.
    fn report_failure(&mut self, error: &anyhow::Error) {
        let failure = format!("{error:#}");
        if self.failure.as_ref() != Some(&failure) {
            self.doctor.console.warn(format_args!("cannot examine: {failure}; trying again"));
            self.failure = Some(failure);
        }
    }
}

/// What to do after a wait.
pub(super) enum Next {
    Examine,
    /// Report all findings again.
    Reload,
    End,
}

/// Waits until `end`, or until an interrupt or a hang-up.
pub(super) fn wait(interrupt: &Interrupt, service: &Service, hangup: Option<&Hangup>, end: Instant) -> Next {
    wait_unless(interrupt, service, hangup, end, || false)
}

/// Waits until `end`, an interrupt or a hang-up, or until `is_due` returns true.
fn wait_unless(
    interrupt: &Interrupt,
    service: &Service,
    hangup: Option<&Hangup>,
    end: Instant,
    is_due: impl Fn() -> bool,
) -> Next {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if interrupt.sleep(left.min(POLL_INTERVAL)) {
            return Next::End;
        }
        service.alive();
        if hangup.is_some_and(Hangup::has_arrived) {
            return Next::Reload;
        }
        if left <= POLL_INTERVAL || is_due() {
            return Next::Examine;
        }
    }
}

fn holds(findings: &[Finding], finding: &Finding) -> bool {
    findings.iter().any(|other| other.is_same(finding))
}

fn write(
    doctor: &Doctor<'_>,
    out: &mut Output,
    event: &'static str,
    finding: &Finding,
    is_json: bool,
) -> io::Result<()> {
    if is_json {
        return write_json(out, &Change::new(event, finding));
    }
    let palette = doctor.console.palette();
    let (dim, style, group) = (palette.dim, text::style_of(finding.severity, palette), palette.group);
    write!(
        out,
        "{}{dim}{}{dim:#} {event:<5} {style}{}{style:#} {group}{}{group:#}{}",
        doctor.console.mark(level(event, finding.severity)),
        clock_time(SystemTime::now()),
        finding.severity,
        finding.id,
        text::about(finding),
    )?;
    // The cause and the figures are those of the last time when it was found.
    match event {
        "gone" => writeln!(out),
        _ => writeln!(out, ": {}", text::safe(&finding.cause)),
    }
}

/// Returns the level of a line in the journal.
fn level(event: &str, severity: Severity) -> Level {
    match (event, severity) {
        ("found", Severity::Fault) => Level::Error,
        ("found", Severity::Warning) => Level::Warning,
        _ => Level::Information,
    }
}

/// `schemas/doctor-since.json`, without the event.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct OnsetRecord<'a> {
    /// Time of the first examination that was not healthy (RFC 3339, UTC)
    since: String,
    /// Time of the last healthy examination before; null if there was none
    healthy_until: Option<String>,
    /// Streams that arrived until then and no longer arrive
    stopped: Vec<Stopped<'a>>,
    /// Queriers
    queriers: &'a [HistoryQuerier],
    /// Paths between the machines of a fleet on which not everything arrives, with `--fleet` only
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<FailingPath<'a>>,
}

/// A path of a fleet on which not everything arrives.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct FailingPath<'a> {
    #[serde(flatten)]
    path: &'a HistoryPath,
    /// Time of the first examination that found it (RFC 3339, UTC)
    since: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Stopped<'a> {
    #[serde(flatten)]
    stream: &'a HistoryStream,
    /// Time of the last examination that received it (RFC 3339, UTC)
    last_heard: String,
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<HistoryEntry>(
        "doctor-history",
        "Line of a history (`mcast doctor --watch --journal FILE`)",
    )
    .event("history")
    .about(
        "One object per examination; `mcast doctor --journal FILE --json` prints those that \
             differ from the one before.",
    )
    .describe("findings[]", "A finding id and its subject")
    .describe("streams[]", "One stream")
    .describe("queriers[]", "One querier")
    .describe("paths[]", "One path"),
    RecordSchema::new::<OnsetRecord<'_>>(
        "doctor-since",
        "Since when something is wrong (`mcast doctor --journal FILE --json`)",
    )
    .event("since")
    .about("One object after a verdict that is not healthy.")
    .describe("stopped[]", "One stream")
    .describe("queriers[]", "One querier")
    .describe("paths[]", "One path"),
}

/// Continues the history in a file, or begins one.
pub(super) fn open_journal(path: &Path, console: &Console) -> anyhow::Result<History> {
    let mut history =
        History::open(path).with_context(|| format!("cannot record a history in {}", path.display()))?;
    if let Err(error) = history.watch_queriers() {
        console.note(format_args!("the history does not contain queriers: {error}"));
    }
    Ok(history)
}

/// Prints the changes of a history, and since when something is wrong.
pub(super) fn show_journal(path: &Path, is_json: bool, console: &Console) -> anyhow::Result<Outcome> {
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
