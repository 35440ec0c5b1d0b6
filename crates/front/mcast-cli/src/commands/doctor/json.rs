//! A report for programs: as JSON (findings, observations, open questions, and a verdict), and as Prometheus metrics of the
//! latest examination.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mcast_doctor::{
    ArrivalStatus, ExaminedPart, Finding, FlowStatus, LayerObservation, OpenQuestion, Report, Severity,
    Verdict,
};
use mcast_metrics::{BoundExporter, Exporter, Exposition, MetricKind};
use mcast_terminal::Output;
use serde::Serialize;

use crate::metrics;
use crate::output::{record, rfc3339, write_json};

/// `schemas/doctor-*.json`.
#[derive(Debug, Serialize)]
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
        /// Time of the verdict (RFC 3339, UTC), with `--watch` only
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String> = time,
        /// Verdict: `healthy`, `warnings`, `faults`, or `unknown` if the examination is undecided; the exit status
        /// is 0, 5, 1, or 6; for `unknown`, 3 if only privileges are missing
        verdict: Verdict = report.verdict(),
        /// Whether the datagrams arrive: all flows, all until a stream stopped (`stopped`), some (`incomplete`),
        /// none, or not observed
        arrival: ArrivalStatus = report.arrival,
        /// Number of faults; if not 0, the exit status is 1
        faults: usize = report.count(Severity::Fault),
        /// Number of warnings; if not 0 and there is no fault, the exit status is 5, or 1 with `--strict`
        warnings: usize = report.count(Severity::Warning),
        /// Number of notes
        notes: usize = report.count(Severity::Note),
        /// Number of open questions
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
        /// Whether the finding appeared (`found`) or disappeared (`gone`)
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["found", "gone"])))]
        event: &'static str = event,
        /// Time at which the change was noticed (RFC 3339, UTC)
        time: String = rfc3339(SystemTime::now()),
        #[serde(flatten)]
        finding: &'a Finding = finding,
    }
}

mcast_json::schemas! { pub(super),
    describe_finding(
        RecordSchema::new::<Finding>("doctor-finding", "Finding (`mcast doctor --json`)")
            .event("finding")
            .about("One object per finding, most severe first."),
        "",
    ),
    describe_finding(
        RecordSchema::new::<Change<'_>>(
            "doctor-change",
            "Change of findings (`mcast doctor --watch --json`)",
        )
        .about("One object per change."),
        "",
    ),
    RecordSchema::new::<LayerObservation>("doctor-observation", "Observation (`mcast doctor --json`)")
        .event("observation")
        .about("Layers that datagrams reached on this machine: one object per observation."),
    RecordSchema::new::<OpenQuestion>("doctor-open-question", "Open question (`mcast doctor --json`)")
        .event("open-question")
        .about(
            "One object per question. With `--watch`, one object before each unknown verdict for \
             every question that keeps it unknown.",
        ),
    RecordSchema::new::<FlowStatus>("doctor-flow", "Flow (`mcast doctor --json`)")
        .event("flow")
        .about("One object per flow that should arrive, or that an examined program sends."),
    RecordSchema::new::<ExaminedPart>("doctor-examined", "Examined part (`mcast doctor --json`)")
        .event("examined")
        .about(
            "One object per part of this machine or its network that was examined, or could not \
             be.",
        ),
    RecordSchema::new::<VerdictRecord>("doctor-verdict", "Verdict (`mcast doctor --json`)")
        .event("verdict")
        .about("One object at the end; with `--watch`, one object whenever the verdict changes."),
}

/// Describes the items of lists in a finding, which is at this path of a schema.
#[cfg(feature = "schema")]
pub(super) fn describe_finding(schema: mcast_json::RecordSchema, path: &str) -> mcast_json::RecordSchema {
    const ITEMS: [(&str, &str); 8] = [
        ("evidence[]", "Piece of evidence"),
        ("remedies[]", "Remedy: a command or advice"),
        ("remedies[].steps[].args[]", "Argument, passed as is"),
        ("remedies[].undo.steps[].args[]", "Argument, passed as is"),
        ("remedies[].undo.advice", "What to do, if the steps are known only after the remedy was applied"),
        ("references[]", "Reference"),
        ("flows[]", "Flow"),
        ("subject", "What the finding concerns; fields that do not apply are omitted"),
    ];
    ITEMS.iter().fold(schema, |schema, (field, text)| schema.describe(&format!("{path}{field}"), text))
}

/// The examinations so far, shared with the metrics server.
#[derive(Clone, Debug, Default)]
pub(super) struct Examinations(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    number: u64,
    failed: u64,
    latest: Option<Examination>,
}

/// A completed examination.
#[derive(Debug)]
struct Examination {
    end: SystemTime,
    took: Duration,
    report: Report,
}

impl Examinations {
    /// Records a completed examination.
    pub(super) fn add(&self, report: &Report, took: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.number += 1;
        state.latest = Some(Examination { end: SystemTime::now(), took, report: report.clone() });
    }

    /// Records a failed examination.
    pub(super) fn fail(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
    }

    /// Returns whether an examination has completed.
    pub(super) fn has_completed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latest.is_some()
    }

    /// Starts to serve metrics.
    pub(super) fn serve(&self, bound: BoundExporter) -> anyhow::Result<Exporter> {
        let examinations = self.clone();
        metrics::start(bound, move || figures(&examinations.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn figures(state: &State) -> Exposition {
    let mut out = Exposition::default();
    out.family("mcast_doctor_examinations_total", MetricKind::Counter, "Completed examinations.")
        .sample(&[], state.number);
    out.family(
        "mcast_doctor_examination_failures_total",
        MetricKind::Counter,
        "Failed examinations, for example because the interface is gone.",
    )
    .sample(&[], state.failed);
    if let Some(examination) = &state.latest {
        of_findings(&mut out, &examination.report);
        of_examination(&mut out, examination);
    }
    out
}

fn of_findings(out: &mut Exposition, report: &Report) {
    let findings = &report.findings;
    let family = out.family(
        "mcast_doctor_finding",
        MetricKind::Gauge,
        "Always 1; the labels name a finding of the latest examination and its subject.",
    );
    for (number, finding) in findings.iter().enumerate() {
        // Findings that differ only in their evidence would be the same sample twice.
        if !findings[..number].iter().any(|earlier| earlier.is_same(finding)) {
            with_labels(finding, |labels| family.sample(labels, 1_u8));
        }
    }
    let family = out.family("mcast_doctor_findings", MetricKind::Gauge, "Number of findings by severity.");
    for severity in [Severity::Fault, Severity::Warning, Severity::Note] {
        family.sample(&[("severity", &severity)], report.count(severity));
    }
}

fn with_labels(finding: &Finding, then: impl FnOnce(&[(&str, &dyn Display)])) {
    let subject = &finding.subject;
    let text = Option::<String>::unwrap_or_default;
    let (interface, group) = (text(subject.interface()), text(subject.group()));
    let (source, program) = (text(subject.source()), text(subject.program.clone()));
    then(&[
        ("finding", &finding.id),
        ("severity", &finding.severity),
        ("interface", &interface),
        ("group", &group),
        ("source", &source),
        ("program", &program),
    ]);
}

fn of_examination(out: &mut Exposition, examination: &Examination) {
    let end = examination.end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    out.family(
        "mcast_doctor_open_questions",
        MetricKind::Gauge,
        "Questions that the latest examination could not answer.",
    )
    .sample(&[], examination.report.open_questions.len());
    out.family(
        "mcast_doctor_examination_duration_seconds",
        MetricKind::Gauge,
        "Duration of the latest examination.",
    )
    .sample(&[], examination.took.as_secs_f64());
    out.family(
        "mcast_doctor_examination_end_seconds",
        MetricKind::Gauge,
        "When the latest examination ended, in seconds since 1970.",
    )
    .sample(&[], end.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use mcast_doctor::Id;

    use super::*;

    #[test]
    fn findings_that_differ_only_in_evidence_are_one_sample() {
        let examinations = Examinations::default();
        let fault = |cause: &str| Finding::new(Id::NoRoute, Severity::Fault, cause).on_interface("eth0");
        let mut report = Report::default();
        report.findings.extend([fault("one"), fault("two")]);

        examinations.add(&report, Duration::from_millis(1500));
        let text = figures(&examinations.0.lock().unwrap()).to_text();

        let finding = "mcast_doctor_finding{finding=\"no-route\",severity=\"fault\",interface=\"eth0\",group=\"\",\
                       source=\"\",program=\"\"} 1\n";
        assert_eq!(text.matches(finding).count(), 1, "{text}");
        assert!(text.contains("mcast_doctor_findings{severity=\"fault\"} 2\n"), "{text}");
        assert!(text.contains("mcast_doctor_findings{severity=\"note\"} 0\n"), "{text}");
        assert!(text.contains("mcast_doctor_examination_duration_seconds 1.5\n"), "{text}");
    }

    #[test]
    fn before_the_first_examination_there_are_no_findings() {
        let text = figures(&State::default()).to_text();

        assert!(text.contains("mcast_doctor_examinations_total 0\n") && !text.contains("findings"), "{text}");
    }
}
