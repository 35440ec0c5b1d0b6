//! `mcast doctor --watch`: repeats the examination and reports what is new, what is gone, and each new verdict.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use mcast_doctor::{Finding, Id, Report, Severity, Subject, Verdict};

use super::export::Looks;
use super::json::{self, Change};
use super::{Doctor, tell};
use crate::console::{Level, Output};
use crate::exit::Outcome;
use crate::interrupt::Hangup;
use crate::metrics::Bound;
use crate::output::{clock_time, write_json};

/// How often a wait gives a sign of life, and looks whether it is to begin anew.
const GLANCE: Duration = Duration::from_millis(500);

pub(super) fn run(
    doctor: &Doctor<'_>,
    every: Duration,
    bound: Option<Bound>,
    is_json: bool,
) -> anyhow::Result<Outcome> {
    let (console, service) = (doctor.console, &doctor.service);
    let hangup = service.hangups()?;
    let looks = Looks::default();
    if let Some(bound) = bound {
        let exporter = looks.hand_out(bound)?;
        console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
    }
    let mut told =
        Told { doctor, out: console.output(), is_json, known: Vec::new(), verdict: None, failure: None };
    console.note("repeating the examination until Ctrl-C");
    let status = format!("Examines every {} s", every.as_secs_f64());
    service.ready(&status);
    let outcome = loop {
        let start = Instant::now();
        let looked = doctor.examine();
        doctor.is_repeating.set(true);
        if let Some(outcome) = doctor.interrupt.outcome() {
            // What was not looked at to the end is not gone.
            break outcome;
        }
        match looked {
            Ok(report) => {
                looks.add(&report, start.elapsed());
                told.tell(report)?;
            }
            // What worked before may work again, as when the interface is back.
            Err(error) if looks.is_begun() && doctor.subject.may_come_back() => {
                looks.fail();
                told.tell_of_failure(&error);
            }
            Err(error) => return Err(error),
        }
        match wait(doctor, hangup.as_ref(), start, every) {
            Next::Look => {}
            Next::BeginAnew => {
                console.note("received SIGHUP: examining now and reporting all findings");
                service.reloading();
                told.forget();
                service.ready(&status);
            }
            Next::End => break doctor.interrupt.outcome().unwrap_or(Outcome::Yes),
        }
    };
    service.stopping();
    Ok(outcome)
}

/// What was told already.
struct Told<'a> {
    doctor: &'a Doctor<'a>,
    out: Output,
    is_json: bool,
    known: Vec<Finding>,
    verdict: Option<Verdict>,
    /// Why the last look failed, if it did.
    failure: Option<String>,
}

impl Told<'_> {
    /// Reports what is new and what is gone, and the verdict if it is another than before.
    fn tell(&mut self, report: Report) -> io::Result<()> {
        let findings = &report.findings;
        for finding in findings.iter().filter(|finding| !holds(&self.known, finding)) {
            write(self.doctor, &mut self.out, "found", finding, self.is_json)?;
        }
        for finding in self.known.iter().filter(|finding| !holds(findings, finding)) {
            write(self.doctor, &mut self.out, "gone", finding, self.is_json)?;
        }
        if self.verdict.replace(report.verdict()) != Some(report.verdict()) {
            self.tell_of_verdict(&report)?;
        }
        self.known = report.findings;
        if self.failure.take().is_some() {
            self.doctor.console.note("can examine again");
        }
        self.out.flush()
    }

    fn tell_of_verdict(&mut self, report: &Report) -> io::Result<()> {
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
            tell::safe(&tell::verdict(report)),
        )
    }

    /// All will be told again.
    fn forget(&mut self) {
        self.known.clear();
        self.verdict = None;
        self.failure = None;
    }

    /// Tells once why nothing can be seen.
    fn tell_of_failure(&mut self, error: &anyhow::Error) {
        let failure = format!("{error:#}");
        if self.failure.as_ref() != Some(&failure) {
            self.doctor.console.warn(format_args!("cannot examine: {failure}; trying again"));
            self.failure = Some(failure);
        }
    }
}

/// What ended a wait.
enum Next {
    Look,
    BeginAnew,
    End,
}

/// Waits until the time after `start` is over, or something else is to be done.
fn wait(doctor: &Doctor<'_>, hangup: Option<&Hangup>, start: Instant, every: Duration) -> Next {
    loop {
        let left = every.saturating_sub(start.elapsed());
        if doctor.interrupt.sleep(left.min(GLANCE)) {
            return Next::End;
        }
        doctor.service.alive();
        if hangup.is_some_and(Hangup::has_come) {
            return Next::BeginAnew;
        }
        if left <= GLANCE {
            return Next::Look;
        }
    }
}

/// Whether one like it is among them: evidence changes from look to look.
pub(super) fn holds(findings: &[Finding], finding: &Finding) -> bool {
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
        "{}{dim}{}{dim:#} {event:<5} {style}{}{style:#} {group}{}{group:#}{}: {}",
        doctor.console.mark(level(event, finding.severity)),
        clock_time(SystemTime::now()),
        finding.severity,
        finding.id,
        tell::about(finding),
        tell::safe(&finding.cause),
    )
}

/// How much it matters to whoever reads the journal.
fn level(event: &str, severity: Severity) -> Level {
    match (event, severity) {
        ("found", Severity::Fault) => Level::Error,
        ("found", Severity::Warning) => Level::Warning,
        _ => Level::Information,
    }
}
