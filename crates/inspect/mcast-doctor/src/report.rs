//! The result of an examination.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::singular::agreeing;
use crate::{ArrivalStatus, Depth, ExaminedPart, Finding, FlowStatus, Id, Severity};

/// The result of an examination: findings, open questions and observations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The findings, most severe first.
    pub findings: Vec<Finding>,
    /// Questions that the examination could not answer.
    pub open_questions: Vec<OpenQuestion>,
    /// What was observed at each layer, good or bad. It shows how far the datagrams came.
    pub observations: Vec<LayerObservation>,
    /// Whether datagrams of the examined membership arrive.
    pub arrival: ArrivalStatus,
    /// The flows that should arrive, or that an examined program sends, and how far they came.
    pub flows: Vec<FlowStatus>,
    /// What was examined, and what could not be.
    pub examined: Vec<ExaminedPart>,
    /// The number of flows in an examined file.
    #[serde(skip)]
    pub(crate) flows_in_file: usize,
}

/// A question that the examination could not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenQuestion {
    /// Question
    pub question: String,
    /// Why the question cannot be answered
    pub reason: String,
    /// Time to listen until the question can be answered, in seconds; omitted if listening longer does not help
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    #[serde(
        rename = "known_after_seconds",
        serialize_with = "seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub known_after: Option<Duration>,
    /// Effect on the verdict: none (`minor`), the verdict is unknown (`no-answer`), or the verdict is unknown
    /// because a privilege is missing (`needs-rights`)
    pub effect: Effect,
}

/// How an open question affects the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It does not affect the verdict.
    #[default]
    Minor,
    /// The examination is undecided while the question is open.
    NoAnswer,
    /// Like [`NoAnswer`](Self::NoAnswer), because this process lacks a privilege.
    NeedsRights,
}

/// The verdict of an examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// Datagrams arrive, or those of an examined program leave; if no datagrams were expected, nothing is wrong.
    Healthy,
    /// There are warnings and no faults.
    Warnings,
    /// No fault was found, but the examination is undecided: see [`Effect`].
    Unknown,
    /// There are faults.
    Faults,
}

/// An observation at one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LayerObservation {
    /// Layer of the observation: the wire, the IP layer or a socket
    pub layer: String,
    /// What was observed
    pub message: String,
}

impl Report {
    /// Changes the remedies so that they apply to the network namespace of a process. Those that configure this machine
    /// permanently are removed, because they would not reach it.
    #[must_use]
    pub fn with_remedies_in_network_of(mut self, pid: u32) -> Self {
        for finding in &mut self.findings {
            let remedies = std::mem::take(&mut finding.remedies);
            finding.remedies = remedies.into_iter().filter_map(|remedy| remedy.in_network_of(pid)).collect();
        }
        self
    }

    /// Marks the report as that of an examination which was ended before its time. What did not arrive until then may have
    /// arrived later, so that silence is not a fault.
    #[must_use]
    pub fn interrupted(mut self) -> Self {
        self.findings.retain(|finding| finding.id != Id::NothingArrives);
        if matches!(self.arrival, ArrivalStatus::Nothing | ArrivalStatus::Stopped) {
            self.arrival = ArrivalStatus::NotObserved;
        }
        let question = OpenQuestion::new(
            "what the rest of the examination would have shown",
            "it was interrupted before its end",
        );
        self.open_questions.insert(0, question.with_effect(Effect::NoAnswer));
        self
    }

    /// Returns the findings that explain why a flow does not arrive: the facts that led to them are their evidence.
    pub fn explanations<'a>(&'a self, flow: &'a FlowStatus) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(|finding| finding.explains(flow))
    }

    /// Returns the number of causes that were judged and of which nothing was found.
    #[must_use]
    pub fn unfound(&self) -> usize {
        let is_found = |id: &Id| self.findings.iter().any(|finding| finding.id == *id);
        Id::ALL.iter().filter(|id| id.is_judged_by_observation() && !is_found(id)).count()
    }

    /// Returns the highest severity among the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Returns the number of findings of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Adds the report on another membership. What both have, such as findings about the machine or about a flow, stays once.
    /// Datagrams arrive only if those of both do.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let is_new = |finding: &Finding| !self.findings.iter().any(|known| known.is_about_flow_of(finding));
        let others = other.findings.into_iter().filter(is_new).collect();
        self.findings.extend(new_in(&self.findings, others));
        self.findings.sort_by_key(|finding| Reverse(finding.severity));
        self.open_questions.extend(new_in(&self.open_questions, other.open_questions));
        self.observations.extend(other.observations);
        self.flows.extend(other.flows);
        self.examined.extend(new_in(&self.examined, other.examined));
        self.arrival = self.arrival.and(other.arrival);
        self
    }

    /// Returns several reports as one, each with the name and the interface by which its group was chosen, if it was by a name. A group
    /// that a network does not use, as it uses another one of the same name, is an observation only.
    #[must_use]
    pub fn together<T: PartialEq>(reports: Vec<(Option<T>, Self)>) -> Self {
        let (silent, present): (Vec<_>, Vec<_>) =
            reports.into_iter().partition(|(_, report)| report.is_silent());
        let in_use = |name: &Option<T>| present.iter().find(|(other, _)| name.is_some() && other == name);
        let silent: Vec<_> = silent
            .into_iter()
            .map(|(name, report)| match in_use(&name) {
                Some((_, other)) => report.unused(other.arrival),
                None => report,
            })
            .collect();
        let all = present.into_iter().map(|(_, report)| report).chain(silent);
        all.reduce(Self::and).unwrap_or_default()
    }

    /// Returns whether nothing was received for a group, and nothing else is known to be wrong.
    fn is_silent(&self) -> bool {
        let is_quiet = matches!(self.arrival, ArrivalStatus::Nothing | ArrivalStatus::NotObserved);
        let is_by_other_family = |finding: &Finding| {
            let v4 = |address: &IpAddr| address.is_ipv4();
            let subject = &finding.subject;
            finding.id == Id::SentToAnotherGroup
                && subject.groups.iter().all(|group| {
                    subject.sources.iter().all(|source| v4(&source.address) != v4(&group.address))
                })
        };
        is_quiet
            && self
                .findings
                .iter()
                .all(|finding| finding.id == Id::NothingArrives || is_by_other_family(finding))
    }

    /// Returns the report on a group of a name, of which another one is in use: that nothing arrives for it is an observation only.
    fn unused(mut self, arrival: ArrivalStatus) -> Self {
        let silence = self.findings.drain(..).map(|finding| finding.cause).next();
        self.open_questions.retain(|question| question.effect != Effect::NoAnswer);
        self.observations.extend(silence.map(|cause| LayerObservation::new("wire", cause)));
        Self { arrival, ..self }
    }

    /// Adds the report on the machine to that on its programs. What it predicts for a program is left out where the program's own
    /// report has found it.
    pub(crate) fn and_of_machine(self, machine: Self) -> Self {
        let is_found = |predicted: &Finding| {
            // What is found may be about each program that gets the group, and what is predicted about each group.
            let is_same = |found: &Finding| {
                let (own, other) = (&found.subject, &predicted.subject);
                let is_of_program = own.program.is_none() || own.program == other.program;
                found.id == predicted.id
                    && is_of_program
                    && (own.groups == other.groups
                        || (other.groups.is_empty() && found.names_the_rule_of(predicted)))
            };
            self.findings.iter().any(is_same)
        };
        let findings = machine.findings.iter().filter(|finding| !is_found(finding)).cloned().collect();
        // Nothing is expected to arrive for the machine itself.
        let (arrival, flows) = (self.arrival, self.flows.clone());
        Self { arrival, flows, ..self.and(Self { findings, ..machine }) }
    }

    /// Returns the verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.worst() {
            Some(Severity::Fault) => Verdict::Faults,
            _ if self.undecided().next().is_some() => Verdict::Unknown,
            Some(Severity::Warning) => Verdict::Warnings,
            _ if matches!(self.arrival, ArrivalStatus::Nothing | ArrivalStatus::Incomplete) => {
                Verdict::Faults
            }
            _ if self.arrival == ArrivalStatus::Stopped => Verdict::Warnings,
            _ => Verdict::Healthy,
        }
    }

    /// Returns the verdict in words: the number of findings of each severity, and whether datagrams arrive, with the
    /// number of open questions; for [`Verdict::Unknown`] the first question that leaves it undecided.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts: Vec<String> = [Severity::Fault, Severity::Warning, Severity::Note]
            .into_iter()
            .filter_map(|severity| count_of(self.count(severity), &severity.to_string()))
            .collect();
        let mut counts = counts.join(", ");
        if let (Verdict::Unknown, Some(open)) = (self.verdict(), self.undecided().next()) {
            let separator = if counts.is_empty() { "" } else { "; " };
            let hint = match open.effect {
                Effect::NeedsRights => " (run as root, or with CAP_NET_RAW)",
                _ => "",
            };
            return format!("{counts}{separator}unknown: {}: {}{hint}", open.question, open.reason);
        }
        if let Some(open) = count_of(self.open_questions.len(), "question") {
            counts += if counts.is_empty() { "" } else { ", " };
            counts += &format!("{open} unanswered");
        }
        match self.outcome() {
            Some(outcome) if counts.is_empty() => outcome,
            Some(outcome) => format!("{outcome}; {counts}"),
            None => counts,
        }
    }

    /// Returns what became of the datagrams, or that nothing is wrong if none were expected.
    fn outcome(&self) -> Option<String> {
        let is_for_some = || {
            let mut faults = self.findings.iter().filter(|finding| finding.severity == Severity::Fault);
            faults.all(|finding| finding.subject.program.is_some())
        };
        let outcome = match self.arrival {
            ArrivalStatus::Arrives if self.worst() == Some(Severity::Fault) && is_for_some() => {
                "datagrams arrive, but not at every program"
            }
            // Such as copies of what this machine sends, of which its queue drops others.
            ArrivalStatus::Arrives if self.worst() == Some(Severity::Fault) => "some datagrams arrive",
            ArrivalStatus::Arrives => "datagrams arrive",
            ArrivalStatus::Stopped => "a stream has stopped",
            ArrivalStatus::Incomplete => "not all datagrams arrive",
            ArrivalStatus::Nothing => "nothing arrives",
            ArrivalStatus::NotObserved if self.worst() == Some(Severity::Fault) => return None,
            ArrivalStatus::NotObserved if self.flows.iter().any(|flow| flow.depth == Depth::Leaves) => {
                "datagrams leave this machine"
            }
            ArrivalStatus::NotObserved if !self.findings.is_empty() => return None,
            ArrivalStatus::NotObserved => match self.flows_in_file {
                0 => "nothing wrong found",
                1 => "nothing wrong with the flow in the file",
                number => return Some(format!("nothing wrong with the {number} flows in the file")),
            },
        };
        Some(outcome.to_owned())
    }

    /// Returns the open questions that leave the examination undecided.
    pub fn undecided(&self) -> impl Iterator<Item = &OpenQuestion> {
        self.open_questions.iter().filter(|question| question.effect != Effect::Minor)
    }
}

/// Returns `1 fault` or `2 faults`; `None` for zero.
fn count_of(number: usize, what: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        more => Some(format!("{more} {what}s")),
    }
}

fn new_in<T: PartialEq>(known: &[T], items: Vec<T>) -> Vec<T> {
    items.into_iter().filter(|item| !known.contains(item)).collect()
}

impl LayerObservation {
    /// Returns an observation at a layer.
    #[must_use]
    pub fn new(layer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { layer: layer.into(), message: agreeing(message) }
    }
}

impl OpenQuestion {
    /// Returns a question that listening longer does not answer and that does not affect the verdict.
    #[must_use]
    pub fn new(question: impl Into<String>, reason: impl Into<String>) -> Self {
        let (question, reason) = (agreeing(question), agreeing(reason));
        Self { question, reason, known_after: None, effect: Effect::Minor }
    }

    /// Sets how the question affects the verdict.
    #[must_use]
    pub fn with_effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    /// Sets how long to listen to answer the question.
    #[must_use]
    pub fn known_after(self, known_after: Duration) -> Self {
        Self { known_after: Some(known_after), ..self }
    }
}

impl fmt::Display for OpenQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.question, self.reason)?;
        match self.known_after {
            Some(time) => write!(f, " (known after {} s of listening)", time.as_secs()),
            None => Ok(()),
        }
    }
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn common_findings_of_two_reports_are_counted_once() {
        let finding = |id, severity| Finding::new(id, severity, "x");
        let common = finding(Id::NoRoute, Severity::Warning);
        let report = |arrival, findings: Vec<Finding>| Report { arrival, findings, ..Report::default() };
        let one = report(ArrivalStatus::Arrives, vec![common.clone()]);
        let fault = finding(Id::InterfaceDown, Severity::Fault);
        let both = one.clone().and(report(ArrivalStatus::Nothing, vec![fault.clone(), common.clone()]));
        assert_eq!((both.arrival, both.findings), (ArrivalStatus::Incomplete, vec![fault, common]));
        assert_eq!(one.clone().and(one).arrival, ArrivalStatus::Arrives);
    }

    #[test]
    fn cause_of_one_flow_is_reported_once_however_many_programs_get_it() {
        let lost = |cause: &str, source: u8| {
            let finding = Finding::fault(Id::LostBeforeThisMachine, cause).on_interface("eth0");
            finding.from_source(std::net::IpAddr::from([10, 9, 0, source]))
        };
        let report = |findings| Report { findings, ..Report::default() };
        let other_flow = lost("3 of 100", 2);
        let both =
            report(vec![lost("5 of 100", 1)]).and(report(vec![lost("6 of 101", 1), other_flow.clone()]));
        assert_eq!(both.findings, [lost("5 of 100", 1), other_flow]);
        // What is wrong with each program is listed for each.
        let in_program = |name: &str| lost("5 of 100", 1).in_program(name);
        assert_eq!(report(vec![in_program("a")]).and(report(vec![in_program("b")])).findings.len(), 2);
    }

    #[test]
    fn undecided_report_is_not_healthy() {
        let verdict = |severity: Option<Severity>, effect| {
            let findings = severity.map(|severity| Finding::new(Id::NoRoute, severity, "x"));
            let report = Report {
                findings: findings.into_iter().collect(),
                open_questions: vec![OpenQuestion::new("the wire", "no right").with_effect(effect)],
                ..Report::default()
            };
            report.verdict()
        };
        assert_eq!(verdict(None, Effect::Minor), Verdict::Healthy);
        assert_eq!(verdict(None, Effect::NeedsRights), Verdict::Unknown);
        assert_eq!(verdict(Some(Severity::Warning), Effect::NoAnswer), Verdict::Unknown);
        assert_eq!(verdict(Some(Severity::Warning), Effect::Minor), Verdict::Warnings);
        assert_eq!(verdict(Some(Severity::Fault), Effect::NoAnswer), Verdict::Faults);
    }

    #[test]
    fn a_protocol_of_two_families_is_sound_if_one_of_them_arrives() {
        let arrives = || Report { arrival: ArrivalStatus::Arrives, ..Report::default() };
        let silent = || Report {
            findings: vec![Finding::new(Id::NothingArrives, Severity::Fault, "Nothing for ff18::8300:1.")],
            arrival: ArrivalStatus::Nothing,
            ..Report::default()
        };
        let resting = || Report {
            open_questions: vec![OpenQuestion::new("ptp", "rarely").with_effect(Effect::NoAnswer)],
            arrival: ArrivalStatus::NotObserved,
            ..Report::default()
        };
        let elsewhere = |source: [u8; 4]| {
            let group: SocketAddr = "[ff0e::181]:320".parse().unwrap();
            let finding = Finding::new(Id::SentToAnotherGroup, Severity::Warning, "It is sent by IPv4.");
            Report { findings: vec![finding.for_group(group).from_source(IpAddr::from(source))], ..resting() }
        };
        let by_ipv4 = || elsewhere([10, 9, 0, 1]);
        for quiet in [&silent as &dyn Fn() -> Report, &resting, &by_ipv4] {
            let report = Report::together(vec![(Some("sacn"), arrives()), (Some("sacn"), quiet())]);
            assert_eq!((report.verdict(), report.summary().as_str()), (Verdict::Healthy, "datagrams arrive"));
            // Nobody uses it, or two groups were asked about.
            for names in [[Some("sacn"), Some("ptp")], [None, None]] {
                let report = Report::together(vec![(names[0], arrives()), (names[1], quiet())]);
                assert_ne!(report.verdict(), Verdict::Healthy, "{names:?}");
            }
            let report = Report::together(vec![(Some("sacn"), quiet()), (Some("sacn"), quiet())]);
            assert_ne!(report.verdict(), Verdict::Healthy);
        }
        let report = Report::together(vec![(Some("sacn"), arrives()), (Some("sacn"), silent())]);
        assert_eq!(
            report.observations,
            [LayerObservation::new("wire", "Nothing for ff18::8300:1.".to_owned())]
        );
    }

    #[test]
    fn silence_until_an_interrupt_proves_nothing() {
        let finding = |id| Finding::new(id, Severity::Fault, "x");
        let report =
            |id| Report { findings: vec![finding(id)], arrival: ArrivalStatus::Nothing, ..Report::default() };
        let silent = report(Id::NothingArrives).interrupted();
        assert_eq!((silent.verdict(), silent.findings.len()), (Verdict::Unknown, 0));
        assert!(silent.summary().contains("it was interrupted"), "{}", silent.summary());
        assert_eq!(report(Id::InterfaceDown).interrupted().verdict(), Verdict::Faults);
    }

    #[test]
    fn summary_counts_findings_by_severity_and_open_questions() {
        let mut report = Report::default();
        assert_eq!(report.summary(), "nothing wrong found");
        report.open_questions.push(OpenQuestion::new("the wire", "it needs root"));
        assert_eq!(report.summary(), "nothing wrong found; 1 question unanswered");
        for severity in [Severity::Note, Severity::Fault, Severity::Note] {
            report.findings.push(Finding::new(Id::NoRoute, severity, "x"));
        }
        assert_eq!(report.summary(), "1 fault, 2 notes, 1 question unanswered");
        report.arrival = ArrivalStatus::Nothing;
        assert_eq!(report.summary(), "nothing arrives; 1 fault, 2 notes, 1 question unanswered");
        let arrives = Report { arrival: ArrivalStatus::Arrives, ..Report::default() };
        assert_eq!(arrives.summary(), "datagrams arrive");
        let stopped = Report { arrival: ArrivalStatus::Stopped, ..Report::default() };
        assert_eq!(stopped.summary(), "a stream has stopped");
        assert_eq!(stopped.clone().and(arrives.clone()), stopped);
        assert_eq!((arrives.verdict(), stopped.verdict()), (Verdict::Healthy, Verdict::Warnings));
    }

    #[test]
    fn an_unknown_answer_is_the_end_of_the_summary() {
        let mut report = Report::default();
        let question = OpenQuestion::new("whether it arrives", "no right").with_effect(Effect::NeedsRights);
        report.open_questions.push(question);
        let unknown = "unknown: whether it arrives: no right (run as root, or with CAP_NET_RAW)";
        assert_eq!(report.summary(), unknown);
        report.findings.push(Finding::new(Id::NoRoute, Severity::Warning, "x"));
        assert_eq!(report.summary(), format!("1 warning; {unknown}"));
    }
}
