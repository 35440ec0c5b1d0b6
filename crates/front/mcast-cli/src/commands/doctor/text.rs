//! A report as text.

use std::io::{self, Write};

use anstyle::Style;
use mcast_doctor::{
    ArrivalStatus, ExaminedPart, Finding, FlowStatus, Instructions, Persistence, Remedy, Report, Severity,
    Tool,
};
use mcast_terminal::{Console, Output};

use crate::output::{Palette, SafeText, text_width, wrap};

/// The width of the labels at the left of a finding.
const LABEL: usize = 10;
const INDENT: usize = 2;

/// Writes findings, observations and open questions, then notes the verdict.
pub(super) fn write(
    report: &Report,
    shows_observations: bool,
    console: &Console,
    out: &mut Output,
) -> io::Result<()> {
    let palette = console.palette();
    for finding in &report.findings {
        write_finding(finding, palette, out)?;
        writeln!(out)?;
    }
    if shows_observations || console.is_verbose() {
        for observation in &report.observations {
            let text = format!("{}: {}", observation.layer, observation.message);
            labelled("observed", palette.dim, &text, 0, out)?;
        }
    }
    if console.is_verbose() {
        for flow in &report.flows {
            labelled("flow", palette.dim, &description(flow), 0, out)?;
        }
    }
    for question in &report.open_questions {
        labelled("open", palette.warning, &question.to_string(), 0, out)?;
    }
    if report.arrival != ArrivalStatus::Arrives || console.is_verbose() {
        write_examined(&report.examined, palette, out)?;
    }
    out.flush()?;
    console.note(report.summary());
    Ok(())
}

/// Returns a flow and how far it came: `10.0.0.7:6000 to 239.1.2.3:5000 on eth0: arrives`.
fn description(flow: &FlowStatus) -> String {
    let source = flow.source.map_or_else(|| "any source".to_owned(), |source| source.to_string());
    let program = flow.program.as_ref().map(|program| format!(", for {program}")).unwrap_or_default();
    format!("{source} to {} on {}{program}: {}", flow.destination, flow.interface, flow.depth)
}

/// Writes what was examined, and what could not be.
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

pub(super) fn write_finding(finding: &Finding, palette: &Palette, out: &mut Output) -> io::Result<()> {
    let (style, group) = (style_of(finding.severity, palette), palette.group);
    write!(out, "{style}{:<LABEL$}{style:#}{group}{}{group:#}", finding.severity, finding.id)?;
    writeln!(out, "{}", about(finding))?;
    for line in wrap(&safe(&finding.cause), text_width() - INDENT) {
        writeln!(out, "{:INDENT$}{line}", "")?;
    }
    let mut label = "because";
    for evidence in &finding.evidence {
        labelled(label, palette.dim, &evidence.to_string(), INDENT, out)?;
        label = "";
    }
    let mut last = None;
    for remedy in finding.remedies_here() {
        write_remedy(remedy, last, palette, out)?;
        last = Some(remedy);
    }
    let references: String =
        finding.id.references().iter().map(|reference| format!("{reference}; ")).collect();
    let dim = palette.dim;
    writeln!(out, "{:INDENT$}{dim}{:<LABEL$}{dim:#}{references}mcast explain {}", "", "see", finding.id)
}

/// Returns the subject of a finding: ` on eth0, 239.1.2.3:5000, from 10.0.0.7, player (4711)`.
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

#[cfg(test)]
mod tests {
    use mcast_doctor::Id;

    use super::*;

    #[test]
    fn the_subject_of_a_finding_follows_its_name() {
        let finding = Finding::new(Id::NoRoute, Severity::Fault, "x");
        assert_eq!(about(&finding), "");
        assert_eq!(about(&finding.on_interface("eth0").from_source("10.0.0.7")), "  on eth0, from 10.0.0.7");
    }

    #[test]
    fn the_name_of_a_program_is_escaped() {
        let finding = Finding::new(Id::BoundToUnicast, Severity::Fault, "x").in_program("\x1b[31mevil (7)");
        assert_eq!(about(&finding), "  \\x1b[31mevil (7)");
    }
}
