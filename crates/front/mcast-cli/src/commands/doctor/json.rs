//! A report as JSON: findings, observations, open questions, and a verdict.

use std::io;
use std::time::SystemTime;

use mcast_doctor::{
    ArrivalStatus, ExaminedPart, Finding, FlowStatus, LayerObservation, OpenQuestion, Report, Severity,
    Verdict,
};
use mcast_terminal::Output;
use serde::Serialize;

use crate::output::{record, rfc3339, write_json};

/// `schemas/doctor-*.json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Object<'a> {
    Finding(&'a Finding),
    Observation(&'a LayerObservation),
    OpenQuestion(&'a OpenQuestion),
    Flow(&'a FlowStatus),
    Examined(&'a ExaminedPart),
    Verdict(VerdictRecord),
}

record! {
    fn of(report: &Report, time: Option<String>) {}

    struct VerdictRecord {
        /// The time of the examination, with `--watch`.
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String> = time,
        verdict: Verdict = report.verdict(),
        arrival: ArrivalStatus = report.arrival,
        faults: usize = report.count(Severity::Fault),
        warnings: usize = report.count(Severity::Warning),
        notes: usize = report.count(Severity::Note),
        open_questions: usize = report.open_questions.len(),
    }
}

pub(super) fn write(report: &Report, out: &mut Output) -> io::Result<()> {
    for finding in &report.findings {
        write_json(out, &Object::Finding(finding))?;
    }
    for observation in &report.observations {
        write_json(out, &Object::Observation(observation))?;
    }
    for question in &report.open_questions {
        write_json(out, &Object::OpenQuestion(question))?;
    }
    for flow in &report.flows {
        write_json(out, &Object::Flow(flow))?;
    }
    for part in &report.examined {
        write_json(out, &Object::Examined(part))?;
    }
    write_json(out, &Object::Verdict(VerdictRecord::of(report, None)))
}

/// Writes the verdict of one examination of `--watch`, after the questions that keep it unknown.
pub(super) fn write_verdict(report: &Report, out: &mut Output) -> io::Result<()> {
    for question in report.undecided() {
        write_json(out, &Object::OpenQuestion(question))?;
    }
    write_json(out, &Object::Verdict(VerdictRecord::of(report, Some(rfc3339(SystemTime::now())))))
}

record! {
    pub(super) fn new(event: &'static str, finding: &'a Finding) {}

    /// A finding that appeared or disappeared: `schemas/doctor-change.json`.
    pub(super) struct Change<'a> {
        event: &'static str = event,
        time: String = rfc3339(SystemTime::now()),
        #[serde(flatten)]
        finding: &'a Finding = finding,
    }
}
