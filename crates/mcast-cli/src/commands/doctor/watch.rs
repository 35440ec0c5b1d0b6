//! `mcast doctor --watch`: looks again and again, and tells what is new and what is gone.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use mcast_doctor::{Finding, Id, Severity, Subject};

use super::json::Change;
use super::{Doctor, tell};
use crate::console::Output;
use crate::exit::Outcome;
use crate::output::{clock_time, write_json};

pub(super) fn run(doctor: &Doctor<'_>, every: Duration, is_json: bool) -> anyhow::Result<Outcome> {
    let mut out = doctor.console.output();
    let mut known: Vec<Finding> = Vec::new();
    doctor.console.note("looking again and again; Ctrl-C ends");
    loop {
        let start = Instant::now();
        let findings = doctor.examine()?.findings;
        if let Some(outcome) = doctor.interrupt.outcome() {
            // What was not looked at to the end is not gone.
            return Ok(outcome);
        }
        for finding in findings.iter().filter(|finding| !holds(&known, finding)) {
            write(doctor, &mut out, "found", finding, is_json)?;
        }
        for finding in known.iter().filter(|finding| !holds(&findings, finding)) {
            write(doctor, &mut out, "gone", finding, is_json)?;
        }
        out.flush()?;
        known = findings;
        if doctor.interrupt.sleep(every.saturating_sub(start.elapsed())) {
            return Ok(doctor.interrupt.outcome().unwrap_or(Outcome::Yes));
        }
    }
}

/// Whether one like it is among them: evidence changes from look to look.
fn holds(findings: &[Finding], finding: &Finding) -> bool {
    fn key(finding: &Finding) -> (Id, Severity, &Subject) {
        (finding.id, finding.severity, &finding.subject)
    }
    findings.iter().any(|other| key(other) == key(finding))
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
    let (dim, style, group) = (palette.dim, tell::style_of(finding.severity, palette), palette.group);
    writeln!(
        out,
        "{dim}{}{dim:#} {event:<5} {style}{}{style:#} {group}{}{group:#}{}: {}",
        clock_time(SystemTime::now()),
        finding.severity,
        finding.id,
        tell::about(finding),
        tell::safe(&finding.cause),
    )
}
