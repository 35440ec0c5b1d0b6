//! Running steps one after another, and telling a person what came of it.

use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::step::{Count, Manner, Outcome, Ran, Step, Verdict};

const GREEN: Style = AnsiColor::Green.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Runs `steps` in order, shows how each came out, then all of them in a table.
/// True when nothing failed.
pub(crate) fn run(steps: &[Step], manner: Manner) -> bool {
    let started = Instant::now();
    let mut report = Vec::new();
    for step in steps {
        let ran = run_one(step, manner);
        let failed = ran.outcome.verdict == Verdict::Failed;
        report.push(ran);
        if failed && manner.fail_fast {
            break;
        }
    }
    let untried: Vec<_> = steps.iter().skip(report.len()).map(|step| step.name.as_str()).collect();
    summarize(&report, &untried, started.elapsed())
}

fn run_one(step: &Step, manner: Manner) -> Ran {
    anstream::println!("{DIM}start{DIM:#}    {}: {}", step.name, step.about);
    let started = Instant::now();
    let outcome = (step.work)(&manner)
        .unwrap_or_else(|error| Outcome::failed("could not be run", format!("{error:#}\n")));
    let outcome = if manner.require_all { outcome.without_skips() } else { outcome };
    let took = started.elapsed();
    show_end(step, &outcome, took);
    Ran { name: step.name.clone(), took, outcome }
}

fn show_end(step: &Step, outcome: &Outcome, took: Duration) {
    let (style, word) = look(outcome.verdict);
    let note = if outcome.note.is_empty() { String::new() } else { format!(": {}", outcome.note) };
    if outcome.verdict == Verdict::Failed && !outcome.evidence.is_empty() {
        anstream::println!("{}", outcome.evidence.trim_end());
    }
    anstream::println!("{style}{word:<8}{style:#} {} in {:.1} s{note}", step.name, took.as_secs_f64());
}

fn summarize(report: &[Ran], untried: &[&str], took: Duration) -> bool {
    let mut total = Count::default();
    let width = report.iter().map(|ran| ran.name.len()).max().unwrap_or(0);
    anstream::println!("\n{:<width$}  {:<7}  {:>7}  note", "step", "result", "seconds");
    for ran in report {
        total += ran.outcome.count;
        let (style, word) = look(ran.outcome.verdict);
        let seconds = ran.took.as_secs_f64();
        let row =
            format!("{:<width$}  {style}{word:<7}{style:#}  {seconds:>7.1}  {}", ran.name, ran.outcome.note);
        anstream::println!("{}", row.trim_end());
    }
    show_skips(report);
    if !untried.is_empty() {
        anstream::println!("\n{RED}Not tried after the failure:{RED:#} {}", untried.join(", "));
    }
    anstream::println!(
        "\n{} steps in {:.0} s; a step of tests counts each of its tests",
        report.len(),
        took.as_secs_f64()
    );
    anstream::println!("{}", last_line(total));
    report.iter().all(|ran| ran.outcome.verdict != Verdict::Failed)
}

fn show_skips(report: &[Ran]) {
    let skips: Vec<_> =
        report.iter().flat_map(|ran| ran.outcome.skips.iter().map(|why| (&ran.name, why))).collect();
    if skips.is_empty() {
        return;
    }
    anstream::println!("\n{YELLOW}Skipped, and why:{YELLOW:#}");
    for (name, why) in skips {
        anstream::println!("  {name}: {why}");
    }
}

fn last_line(total: Count) -> String {
    let Count { passed, failed, skipped } = total;
    match skipped {
        0 => format!("{passed} passed, {failed} failed"),
        _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
}

fn look(verdict: Verdict) -> (Style, &'static str) {
    match verdict {
        Verdict::Passed => (GREEN, "passed"),
        Verdict::Failed => (RED, "FAILED"),
        Verdict::Skipped => (YELLOW, "skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_names_skips_only_where_there_are_some() {
        let mut total = Count { passed: 4, failed: 1, skipped: 0 };
        assert_eq!(last_line(total), "4 passed, 1 failed");

        total += Count { skipped: 2, ..Count::default() };
        assert_eq!(last_line(total), "4 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_failure_is_told_and_the_steps_after_it_still_run() {
        let steps = [
            Step::new("bad", "", |_| anyhow::bail!("broken")),
            Step::new("good", "", |_| Ok(Outcome::passed(""))),
        ];

        assert!(!run(&steps, Manner::default()));
        assert!(run(&steps[1..], Manner::default()));
    }

    #[test]
    fn a_skip_passes_unless_everything_is_required() {
        let steps = [Step::new("rare", "", |_| Ok(Outcome::skipped("not here")))];

        assert!(run(&steps, Manner::default()));
        assert!(!run(&steps, Manner { require_all: true, ..Manner::default() }));
    }
}
