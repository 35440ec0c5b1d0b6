//! Figures of `--watch` for Prometheus: what the latest look has found.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mcast_doctor::{Finding, Report, Severity};

use crate::metrics::{Bound, Exporter, Exposition, Kind};

/// What was found so far, as those see it who ask for figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    number: u64,
    failed: u64,
    latest: Option<Look>,
}

/// One look.
#[derive(Debug)]
struct Look {
    end: SystemTime,
    took: Duration,
    findings: Vec<Finding>,
    unknown: usize,
}

impl Looks {
    /// A look has come to its end.
    pub(super) fn add(&self, report: &Report, took: Duration) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.number += 1;
        known.latest = Some(Look {
            end: SystemTime::now(),
            took,
            findings: report.findings.clone(),
            unknown: report.unknown.len(),
        });
    }

    /// A look was not possible.
    pub(super) fn fail(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
    }

    /// Whether a look has come to its end.
    pub(super) fn is_begun(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latest.is_some()
    }

    /// Begins to hand out figures of all that is added.
    pub(super) fn hand_out(&self, bound: Bound) -> anyhow::Result<Exporter> {
        let looks = self.clone();
        Exporter::start(bound, move || figures(&looks.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn figures(known: &Known) -> Exposition {
    let mut out = Exposition::default();
    out.family("mcast_doctor_looks_total", Kind::Counter, "Completed examinations.")
        .sample(&[], known.number);
    out.family(
        "mcast_doctor_look_failures_total",
        Kind::Counter,
        "Failed examinations, for example because the interface is gone.",
    )
    .sample(&[], known.failed);
    if let Some(look) = &known.latest {
        of_findings(&mut out, &look.findings);
        of_look(&mut out, look);
    }
    out
}

fn of_findings(out: &mut Exposition, findings: &[Finding]) {
    let mut family = out.family(
        "mcast_doctor_finding",
        Kind::Gauge,
        "Always 1; the labels name a finding of the latest \
            examination and its subject.",
    );
    for (place, finding) in findings.iter().enumerate() {
        // What differs in its evidence alone would be the same sample twice.
        if !super::watch::holds(&findings[..place], finding) {
            with_labels(finding, |labels| family.sample(labels, 1));
        }
    }
    let mut family = out.family("mcast_doctor_findings", Kind::Gauge, "Number of findings by severity.");
    for severity in [Severity::Fault, Severity::Warning, Severity::Note] {
        let number = findings.iter().filter(|finding| finding.severity == severity).count();
        family.sample(&[("severity", &severity)], number);
    }
}

fn with_labels(finding: &Finding, then: impl FnOnce(&[(&str, &dyn Display)])) {
    let subject = &finding.subject;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (interface, group) = (text(&subject.interface), text(&subject.group));
    let (source, program) = (text(&subject.source), text(&subject.program));
    then(&[
        ("finding", &finding.id),
        ("severity", &finding.severity),
        ("interface", &interface),
        ("group", &group),
        ("source", &source),
        ("program", &program),
    ]);
}

fn of_look(out: &mut Exposition, look: &Look) {
    let end = look.end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    out.family(
        "mcast_doctor_unknown",
        Kind::Gauge,
        "Questions that the latest examination could not answer.",
    )
    .sample(&[], look.unknown);
    out.family("mcast_doctor_look_seconds", Kind::Gauge, "Duration of the latest examination.")
        .sample(&[], look.took.as_secs_f64());
    out.family(
        "mcast_doctor_look_end_seconds",
        Kind::Gauge,
        "When the latest examination ended, in seconds \
        since 1970.",
    )
    .sample(&[], end.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use mcast_doctor::Id;

    use super::*;

    #[test]
    fn a_finding_is_a_sample_once_whatever_its_evidence() {
        let looks = Looks::default();
        let fault = |cause: &str| Finding::new(Id::NoRoute, Severity::Fault, cause).on_interface("eth0");
        let mut report = Report::default();
        report.findings.extend([fault("one"), fault("two")]);

        looks.add(&report, Duration::from_millis(1500));
        let text = figures(&looks.0.lock().unwrap()).into_text();

        let finding = "mcast_doctor_finding{finding=\"no-route\",severity=\"fault\",interface=\"eth0\",group=\"\",\
                       source=\"\",program=\"\"} 1\n";
        assert_eq!(text.matches(finding).count(), 1, "{text}");
        assert!(text.contains("mcast_doctor_findings{severity=\"fault\"} 2\n"), "{text}");
        assert!(text.contains("mcast_doctor_findings{severity=\"note\"} 0\n"), "{text}");
        assert!(text.contains("mcast_doctor_look_seconds 1.5\n"), "{text}");
    }

    #[test]
    fn before_the_first_look_nothing_is_claimed() {
        let text = figures(&Known::default()).into_text();

        assert!(text.contains("mcast_doctor_looks_total 0\n") && !text.contains("findings"), "{text}");
    }
}
