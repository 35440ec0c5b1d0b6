//! The report on a fleet as a page of its own: no scripts, no other files, light and dark.

use std::fmt::{self, Display};
use std::io::{self, Write};

use mcast_doctor::{Finding, Instructions, Remedy};
use mcast_fleet::{FleetHostStatus, FleetPair, FleetReport, FleetVerdict, PathOutcome};

use super::text::{LEGEND, not_probed, pairs, ports, reason, summary};

const STYLE: &str = "\
:root { color-scheme: light dark; --ok: #1a7f37; --bad: #c62828; --warn: #9a6700; --dim: #767676; }
@media (prefers-color-scheme: dark) { :root { --ok: #3fb950; --bad: #ff7b72; --warn: #d29922; --dim: #8b949e; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; } caption { text-align: left; font-weight: bold; padding: .3rem 0; }
th, td { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: .25rem .6rem; }
th { text-align: left; font-weight: 600; } .matrix td, .matrix th.number { text-align: center; }
.complete, .examined, .healthy { color: var(--ok); }
.silent, .forgotten, .absent, .fault, .faults { color: var(--bad); font-weight: 600; }
.limited, .lossy, .warning, .warnings, .unknown, .needs-rights { color: var(--warn); font-weight: 600; }
.not-tested, .dim { color: var(--dim); }
.fault.finding, .warning.finding { font-weight: 400; } .finding { border-left: .25rem solid currentColor; padding-left: .8rem; margin: 1rem 0; }
.finding > * { color: CanvasText; } .finding .id { font-weight: 600; }
ul { margin: .3rem 0; }";

/// Text in which no character has a meaning in HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            character if character.is_control() && character != '\n' => f.write_str("\u{fffd}"),
            // Marks that change the direction of writing, which would also reorder the text around them.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                f.write_str("\u{fffd}")
            }
            character => fmt::Write::write_char(f, character),
        })
    }
}

pub(super) fn write(report: &FleetReport, out: &mut impl Write) -> io::Result<()> {
    let out = &mut io::BufWriter::new(out);
    let summary = summary(report);
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>mcast doctor: {0}</title>\n<style>\n{STYLE}\n</style>\n\
         </head>\n<body>\n<h1>Multicast between {1} machines</h1>\n<p class=\"{2}\">{0}</p>",
        Escaped(&summary),
        report.hosts.len(),
        verdict_class(report.verdict()),
    )?;
    machines(report, out)?;
    (0..report.matrix.targets.len()).try_for_each(|target| matrix(report, target, out))?;
    findings(report, out)?;
    failing_paths(report, out)?;
    writeln!(out, "</body>\n</html>")?;
    out.flush()
}

const fn verdict_class(verdict: FleetVerdict) -> &'static str {
    match verdict {
        FleetVerdict::Healthy => "healthy",
        FleetVerdict::Warnings => "warnings",
        FleetVerdict::Unknown => "unknown",
        FleetVerdict::NeedsRights => "needs-rights",
        FleetVerdict::Faults => "faults",
    }
}

const fn outcome_class(outcome: PathOutcome) -> &'static str {
    match outcome {
        PathOutcome::NotTested => "not-tested",
        PathOutcome::Silent => "silent",
        PathOutcome::Forgotten => "forgotten",
        PathOutcome::Limited => "limited",
        PathOutcome::Lossy => "lossy",
        PathOutcome::Complete => "complete",
    }
}

fn machines(report: &FleetReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "<h2>Machines</h2>\n<div class=\"scroll\"><table>\n<tr><th>#</th><th>machine</th><th>status</th>\
         <th>switch port</th><th></th></tr>"
    )?;
    for (index, host) in report.hosts.iter().enumerate() {
        let class = if host.status == FleetHostStatus::Examined { "examined" } else { "absent" };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td class=\"dim\">{}</td></tr>",
            index + 1,
            Escaped(&host.name),
            host.status.as_str(),
            Escaped(&ports(host)),
            Escaped(&reason(host)),
        )?;
    }
    writeln!(out, "</table></div>")?;
    not_probed(report).try_for_each(|(name, why)| {
        writeln!(out, "<p class=\"unknown\">{} did not probe {}</p>", Escaped(name), Escaped(why))
    })
}

fn matrix(report: &FleetReport, target: usize, out: &mut impl Write) -> io::Result<()> {
    let hosts = report.hosts.len();
    writeln!(
        out,
        "<h2>{}</h2>\n<div class=\"scroll\"><table class=\"matrix\">\n<caption>{}</caption>\n<tr><th></th>{}</tr>",
        Escaped(&report.matrix.target_name(target)),
        Escaped(LEGEND),
        (1..=hosts).map(|number| format!("<th class=\"number\">{number}</th>")).collect::<String>()
    )?;
    for (from, host) in report.hosts.iter().enumerate() {
        write!(out, "<tr><th>{} {}</th>", from + 1, Escaped(&host.name))?;
        for to in 0..hosts {
            cell(report, target, (from, to), out)?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

fn cell(report: &FleetReport, target: usize, pair: FleetPair, out: &mut impl Write) -> io::Result<()> {
    if pair.0 == pair.1 {
        return write!(out, "<td class=\"dim\">-</td>");
    }
    let class = outcome_class(report.matrix.outcome(target, pair));
    let (from, to) = (&report.matrix.hosts[pair.0], &report.matrix.hosts[pair.1]);
    let text = report.matrix.short_outcome(target, pair);
    write!(
        out,
        "<td class=\"{class}\" title=\"{} to {}\">{}</td>",
        Escaped(from),
        Escaped(to),
        Escaped(&text)
    )
}

fn findings(report: &FleetReport, out: &mut impl Write) -> io::Result<()> {
    let all = report.all_findings();
    if !all.is_empty() {
        writeln!(out, "<h2>Findings</h2>")?;
    }
    all.iter().try_for_each(|each| finding(each, out))
}

fn finding(finding: &Finding, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "<div class=\"finding {0}\">\n<div class=\"id\">{0}: {1}</div>\n<div>{2}</div>\n<ul>",
        finding.severity,
        finding.id,
        Escaped(&finding.cause)
    )?;
    for evidence in &finding.evidence {
        writeln!(out, "<li class=\"dim\">{}</li>", Escaped(&evidence.to_string()))?;
    }
    for remedy in &finding.remedies {
        match &remedy.instructions {
            Instructions::Advice(advice) => writeln!(out, "<li>{}</li>", Escaped(advice))?,
            Instructions::Actions { .. } => {
                let command = remedy.command().unwrap_or_default();
                writeln!(out, "<li><code>{}</code>{}</li>", Escaped(&command), Escaped(&risk(remedy)))?;
            }
        }
    }
    writeln!(out, "</ul>\n</div>")
}

/// Returns the scope and the warning of a remedy.
fn risk(remedy: &Remedy) -> String {
    let Some(scope) = &remedy.scope else { return String::new() };
    let warning = scope.warning.as_ref().map(|warning| format!("; {warning}")).unwrap_or_default();
    format!(" ({scope}{warning})")
}

/// Writes the counts of each path that is not complete.
fn failing_paths(report: &FleetReport, out: &mut impl Write) -> io::Result<()> {
    let is_failing = |target: usize, pair: &FleetPair| {
        !matches!(report.matrix.outcome(target, *pair), PathOutcome::Complete | PathOutcome::NotTested)
    };
    let failing = (0..report.matrix.targets.len()).flat_map(|target| {
        pairs(report).filter(move |pair| is_failing(target, pair)).map(move |pair| (target, pair))
    });
    let mut failing = failing.peekable();
    if failing.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "<h2>Failing paths</h2>")?;
    for (target, pair) in failing {
        let (from, to) = (&report.matrix.hosts[pair.0], &report.matrix.hosts[pair.1]);
        writeln!(
            out,
            "<details>\n<summary>{} to {}, {}</summary>\n<table>\n<tr><th>bytes</th><th>hop limit</th>\
             <th>round</th><th>sent</th><th>arrived</th><th>answers</th></tr>",
            Escaped(from),
            Escaped(to),
            Escaped(&report.matrix.target_name(target))
        )?;
        for cell in report.matrix.between(target, pair) {
            writeln!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                cell.size,
                cell.hop_limit,
                cell.round + 1,
                cell.sent,
                cell.received,
                cell.answered
            )?;
        }
        writeln!(out, "</table>\n</details>")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_become_markup() {
        let text = Escaped("<script>\"a\" & 'b'\x1b\u{202e}</script>").to_string();
        assert_eq!(text, "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}\u{fffd}&lt;/script&gt;");
    }
}
