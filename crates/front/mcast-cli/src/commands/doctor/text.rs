//! Progress of an examination, a line that is updated on a terminal, otherwise a note; and its report as text.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use anstyle::Style;
use mcast_doctor::{
    ArrivalStatus, Depth, Effect, ExaminedPart, Finding, FlowStatus, Instructions, OpenQuestion, Options,
    Persistence, Progress as Step, Remedy, Report, Severity, Tool, Verdict,
};
use mcast_terminal::{Console, Output};

use super::Doctor;
use crate::interrupt::{Interrupt, Service};
use crate::output::{Palette, SafeText, count, count_of, seconds, text_width, wrap};
use crate::sys::{Capability, holds_capability};

/// The width of the labels at the left of a finding.
const LABEL: usize = 10;
const INDENT: usize = 2;
/// The lines of evidence for a finding on a terminal; the others are shown with `-v`.
const MAX_EVIDENCE: usize = 3;

/// Writes findings, observations and open questions, then notes the verdict. Somebody at a terminal gets the verdict first, and
/// what was observed and examined only with `-v`.
pub(super) fn write(
    report: &Report,
    shows_observations: bool,
    console: &Console,
    out: &mut Output,
) -> io::Result<()> {
    let palette = console.palette();
    let is_brief = mcast_terminal::is_terminal() && !console.is_verbose();
    if is_brief {
        console.note(report.summary());
    }
    for finding in &report.findings {
        write_finding(finding, is_brief, palette, out)?;
        writeln!(out)?;
    }
    if shows_observations && !is_brief || console.is_verbose() {
        for observation in &report.observations {
            let text = format!("{}: {}", observation.layer, observation.message);
            labelled("observed", palette.dim, &text, 0, out)?;
        }
    }
    if console.is_verbose() {
        for flow in &report.flows {
            labelled("flow", palette.dim, &description(report, flow), 0, out)?;
        }
        labelled("verdict", palette.dim, &grounds(report), 0, out)?;
    }
    let is_minor = |question: &&OpenQuestion| is_brief && question.effect == Effect::Minor;
    for question in report.open_questions.iter().filter(|question| !is_minor(question)) {
        labelled("open", palette.warning, &question.to_string(), 0, out)?;
    }
    match report.open_questions.iter().filter(is_minor).count() {
        0 => {}
        hidden => {
            let hidden = count_of(hidden as u64, "question");
            let text = format!("{hidden} that cannot change the verdict: -v shows more");
            labelled("open", palette.dim, &text, 0, out)?;
        }
    }
    if report.arrival != ArrivalStatus::Arrives && !is_brief || console.is_verbose() {
        write_examined(&report.examined, palette, out)?;
    }
    out.flush()?;
    if !is_brief {
        console.note(report.summary());
    }
    Ok(())
}

/// Returns what the verdict rests on: `faults, because of no-route (fault), wrong-port (warning); nothing shows 88 other causes`.
fn grounds(report: &Report) -> String {
    let verdict = match report.verdict() {
        Verdict::Healthy => "healthy",
        Verdict::Warnings => "warnings",
        Verdict::Faults => "faults",
        _ => "unknown",
    };
    let findings = report.findings.iter().filter(|finding| finding.severity > Severity::Note);
    let findings: Vec<_> = findings.map(|finding| format!("{} ({})", finding.id, finding.severity)).collect();
    let questions: Vec<_> = report.undecided().map(|open| open.question.clone()).collect();
    let reasons = [("because of", findings), ("because it is open", questions)];
    let reasons = reasons.into_iter().filter(|(_, all)| !all.is_empty());
    let reasons: Vec<_> = reasons.map(|(word, all)| format!(", {word} {}", all.join(", "))).collect();
    format!("{verdict}{}; nothing shows {} other causes", reasons.join(""), report.unfound())
}

/// Returns a flow, how far it came, by which counts, and what explains it: `10.0.0.7:6000 to 239.255.1.3:5000 on eth0: on the wire,
/// not accepted by the IP layer (50 on the wire, 0 received), explained by reverse-path-filter`.
fn description(report: &Report, flow: &FlowStatus) -> String {
    let source = flow.sender().map_or_else(|| "any source".to_owned(), |source| source.to_string());
    let program = flow.program.as_ref().map(|program| format!(", for {program}")).unwrap_or_default();
    let counts = [
        flow.on_wire.map(|count| format!("{count} on the wire")),
        flow.received.map(|count| format!("{count} received")),
    ];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
    let mut explaining: Vec<_> = match flow.depth {
        Depth::Arrives | Depth::Leaves => Vec::new(),
        _ => report.explanations(flow).map(|finding| finding.id.as_str()).collect(),
    };
    explaining.dedup();
    let explained = match explaining.as_slice() {
        [] => String::new(),
        ids => format!(", explained by {}", ids.join(", ")),
    };
    format!("{source} to {} on {}{program}: {}{counts}{explained}", flow.group(), flow.interface, flow.depth)
}

fn write_examined(parts: &[ExaminedPart], palette: &Palette, out: &mut Output) -> io::Result<()> {
    let (examined, others): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.gap.is_none());
    let examined: Vec<_> = examined.iter().map(|part| part.part.as_str()).collect();
    let with_gap = |part: &&ExaminedPart| match &part.gap {
        Some(gap) => format!("{} ({gap})", part.part),
        None => part.part.clone(),
    };
    let others: Vec<_> = others.iter().map(with_gap).collect();
    for (label, parts) in [("examined", examined.join(", ")), ("not", others.join(", "))] {
        if !parts.is_empty() {
            labelled(label, palette.dim, &parts, 0, out)?;
        }
    }
    Ok(())
}

/// Writes a finding: what is wrong, what repairs it, and the evidence.
pub(super) fn write_finding(
    finding: &Finding,
    is_brief: bool,
    palette: &Palette,
    out: &mut Output,
) -> io::Result<()> {
    let (style, group) = (style_of(finding.severity, palette), palette.group);
    write!(out, "{style}{:<LABEL$}{style:#}{group}{}{group:#}", finding.severity, finding.id)?;
    writeln!(out, "{}", about(finding))?;
    for line in wrap(&safe(&finding.cause), text_width() - INDENT) {
        writeln!(out, "{:INDENT$}{line}", "")?;
    }
    let mut last = None;
    for remedy in finding.remedies_here() {
        write_remedy(remedy, last, palette, out)?;
        last = Some(remedy);
    }
    let mut label = "because";
    let shown = if is_brief { MAX_EVIDENCE } else { usize::MAX };
    for evidence in finding.evidence.iter().take(shown) {
        labelled(label, palette.dim, &evidence.to_string(), INDENT, out)?;
        label = "";
    }
    match finding.evidence.len().saturating_sub(shown) {
        0 => {}
        more => labelled(label, palette.dim, &format!("and {more} more with -v"), INDENT, out)?,
    }
    let references: String = finding.references.iter().map(|reference| format!("{reference}; ")).collect();
    labelled("see", palette.dim, &format!("{references}mcast explain {}", finding.id), INDENT, out)
}

/// Returns the subject of a finding: ` on eth0, 239.255.1.3:5000, from 10.0.0.7, player (4711)`.
pub(super) fn about(finding: &Finding) -> String {
    match finding.subject.to_string() {
        subject if subject.is_empty() => subject,
        subject => format!("  {}", safe(&subject)),
    }
}

/// Escapes control characters, which names of programs and files may contain.
pub(super) fn safe(text: &str) -> String {
    SafeText::new(text.as_bytes()).to_string()
}

/// Writes a remedy. Its label is its kind, or `or` for an alternative to the previous remedy of the same kind. Its scope
/// is omitted if it is that of the previous remedy.
fn write_remedy(
    remedy: &Remedy,
    last: Option<&Remedy>,
    palette: &Palette,
    out: &mut Output,
) -> io::Result<()> {
    let kind = kind_of(remedy);
    let label = if last.map(kind_of) == Some(kind) { "or" } else { kind };
    if let Instructions::Advice(advice) = &remedy.instructions {
        return labelled(label, palette.good, advice, INDENT, out);
    }
    // On one line, however long, so that it can be pasted.
    let (good, command) = (palette.good, remedy.command().unwrap_or_default());
    writeln!(out, "{:INDENT$}{good}{label:<LABEL$}{good:#}{}", "", safe(&command))?;
    let Some(scope) = &remedy.scope else { return Ok(()) };
    if last.and_then(|last| last.scope.as_ref()) != Some(scope) {
        labelled("scope", palette.dim, &scope.to_string(), INDENT, out)?;
        if let Some(warning) = &scope.warning {
            labelled("warning", palette.warning, warning, INDENT, out)?;
        }
    }
    match &remedy.undo {
        // On one line, like the command.
        Some(undo @ Instructions::Actions { .. }) => {
            let (dim, undo) = (palette.dim, undo.text());
            writeln!(out, "{:INDENT$}{dim}{:<LABEL$}{dim:#}{}", "", "undo", safe(&undo))
        }
        Some(Instructions::Advice(advice)) => labelled("undo", palette.dim, advice, INDENT, out),
        None => labelled("undo", palette.dim, "not possible", INDENT, out),
    }
}

fn kind_of(remedy: &Remedy) -> &'static str {
    match (&remedy.instructions, remedy.persistence) {
        (Instructions::Advice(_), _) => "advice",
        // A command that changes nothing shows what works.
        _ if remedy.tool == Tool::Mcast && remedy.scope.is_none() => "try",
        (_, Persistence::Now) => "now",
        (_, Persistence::Permanent) => "permanent",
    }
}

/// Writes a label, and beside it text in lines.
fn labelled(label: &str, style: Style, text: &str, indent: usize, out: &mut Output) -> io::Result<()> {
    let mut label = label;
    for line in wrap(&safe(text), text_width() - LABEL - indent) {
        writeln!(out, "{:indent$}{style}{label:<LABEL$}{style:#}{line}", "")?;
        label = "";
    }
    Ok(())
}

pub(super) fn style_of(severity: Severity, palette: &Palette) -> Style {
    match severity {
        Severity::Fault => palette.bad,
        Severity::Warning => palette.warning,
        Severity::Note => palette.heading,
    }
}

/// A line of a terminal that shows what happens now, until it is dropped.
pub(super) struct LiveLine<'a> {
    console: &'a Console,
    /// Whether there is a terminal that shows it.
    pub(super) is_live: bool,
    shown: String,
}

impl<'a> LiveLine<'a> {
    pub(super) fn new(console: &'a Console) -> Self {
        let is_live = io::stderr().is_terminal() && !console.is_quiet();
        Self { console, is_live, shown: String::new() }
    }

    pub(super) fn show(&mut self, line: String) {
        if self.is_live && line != self.shown {
            self.write(&format!("\r\x1b[K{}", mcast_terminal::fit_notes(&line)));
            self.shown = line;
        }
    }

    fn write(&self, text: &str) {
        // If standard error is closed, progress cannot be shown.
        let _ = self.console.notes().write_all(text.as_bytes());
    }
}

impl Drop for LiveLine<'_> {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            self.write("\r\x1b[K");
        }
    }
}

/// Shows the progress of listening, and ends it at an interrupt, or once enough has arrived.
pub(super) struct Progress<'a> {
    console: &'a Console,
    service: &'a Service,
    interrupt: Interrupt,
    is_repeating: bool,
    line: LiveLine<'a>,
    ends_early: bool,
    /// What was announced last. In another network namespace, the same subject is examined again.
    announced: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(doctor: &'a Doctor<'_>) -> Self {
        Self {
            console: doctor.console,
            service: &doctor.service,
            interrupt: doctor.interrupt.clone(),
            is_repeating: doctor.is_repeating.get(),
            line: LiveLine::new(doctor.console),
            ends_early: doctor.ends_early,
            announced: None,
        }
    }

    /// Announces that listening begins, except for repeated examinations.
    pub(super) fn begin(&mut self, what: impl Display, options: &Options) {
        let limit = if self.ends_early { "up to " } else { "" };
        let line = format!("examining {what}: listening for {limit}{}", seconds(options.duration()));
        if self.announced.as_ref() == Some(&line) {
            return;
        }
        if self.is_repeating {
            self.console.detail(&line);
        } else {
            self.console.note(&line);
            // Who watches the firewall sees them.
            if self.line.is_live && options.experiments && holds_capability(Capability::NetAdmin) {
                self.console.note("temporary nftables rules count packets (--no-experiments: none)");
            }
        }
        self.announced = Some(line);
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.has_arrived()
    }

    /// Updates the progress.
    pub(super) fn show(&mut self, step: Step) -> ControlFlow<()> {
        if self.interrupt.has_arrived() {
            return ControlFlow::Break(());
        }
        self.service.alive();
        self.line.show(line(&step));
        match self.ends_early && step.is_enough() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

fn line(step: &Step) -> String {
    let (elapsed, of) = (step.elapsed.as_secs(), step.of.as_secs());
    let (wire, socket) = (count(step.on_wire), count(step.at_socket));
    format!("{elapsed} of {of} s: {wire} on the wire, {socket} at the socket")
}

#[cfg(test)]
mod tests {
    use mcast_doctor::Id;

    use super::*;

    #[test]
    fn the_subject_of_a_finding_follows_its_name() {
        let finding = Finding::new(Id::NoRoute, Severity::Fault, "x");
        assert_eq!(about(&finding), "");
        assert_eq!(
            about(&finding.on_interface("eth0").from_source(std::net::IpAddr::from([10, 0, 0, 7]))),
            "  on eth0, from 10.0.0.7"
        );
    }

    #[test]
    fn verdict_is_stated_with_what_it_rests_on() {
        let mut report = Report::default();
        let others = Report::default().unfound();
        assert_eq!(grounds(&report), format!("healthy; nothing shows {others} other causes"));
        let question = mcast_doctor::OpenQuestion::new("whether it arrives", "no right");
        report.open_questions.push(question.with_effect(mcast_doctor::Effect::NoAnswer));
        let unknown = "unknown, because it is open whether it arrives; nothing shows";
        assert!(grounds(&report).starts_with(unknown), "{}", grounds(&report));
        report.findings.push(Finding::new(Id::NoRoute, Severity::Fault, "x"));
        report.findings.push(Finding::new(Id::FastLeave, Severity::Note, "x"));
        report.open_questions.clear();
        let faults =
            format!("faults, because of no-route (fault); nothing shows {} other causes", others - 2);
        assert_eq!(grounds(&report), faults);
    }

    #[test]
    fn the_name_of_a_program_is_escaped() {
        let finding = Finding::new(Id::BoundToUnicast, Severity::Fault, "x").in_program("\x1b[31mevil (7)");
        assert_eq!(about(&finding), "  \\x1b[31mevil (7)");
    }
}
