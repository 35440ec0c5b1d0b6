//! A report for programs: an object a finding, an open question, a thing seen, and a verdict.

use std::io;
use std::time::SystemTime;

use mcast_doctor::{Finding, Report, Seen, Severity, Unknown};
use serde::Serialize;

use crate::console::Output;
use crate::output::{rfc3339, write_json};

/// `schemas/doctor-*.json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Object<'a> {
    Finding(&'a Finding),
    Seen(&'a Seen),
    Unknown(&'a Unknown),
    Verdict(Verdict),
}

#[derive(Serialize)]
struct Verdict {
    faults: usize,
    warnings: usize,
    notes: usize,
    unknown: usize,
}

pub(super) fn write(report: &Report, out: &mut Output) -> io::Result<()> {
    for finding in &report.findings {
        write_json(out, &Object::Finding(finding))?;
    }
    for seen in &report.observations {
        write_json(out, &Object::Seen(seen))?;
    }
    for unknown in &report.unknown {
        write_json(out, &Object::Unknown(unknown))?;
    }
    let number = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let verdict = Verdict {
        faults: number(Severity::Fault),
        warnings: number(Severity::Warning),
        notes: number(Severity::Note),
        unknown: report.unknown.len(),
    };
    write_json(out, &Object::Verdict(verdict))
}

/// A finding that came or went: `schemas/doctor-change.json`.
#[derive(Serialize)]
pub(super) struct Change<'a> {
    event: &'static str,
    time: String,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl<'a> Change<'a> {
    pub(super) fn new(event: &'static str, finding: &'a Finding) -> Self {
        Self { event, time: rfc3339(SystemTime::now()), finding }
    }
}
