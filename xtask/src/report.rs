//! Running steps in sequence, and reporting their outcomes.

use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::step::{Count, Outcome, RunOptions, Step, StepResult, Verdict};

const GREEN: Style = AnsiColor::Green.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Runs `steps` in order, prints the outcome of each, and then all of them in a table.
/// Returns whether none failed.
pub(crate) fn run(steps: &[Step], options: RunOptions) -> bool {
    let started = Instant::now();
    let mut report = Vec::new();
    for step in steps {
        let result = run_one(step, options);
        let failed = result.outcome.verdict == Verdict::Failed;
        report.push(result);
        if failed && options.fail_fast {
            break;
        }
    }
    let not_run: Vec<_> = steps.iter().skip(report.len()).map(|step| step.name.as_str()).collect();
    summarize(&report, &not_run, started.elapsed())
}

fn run_one(step: &Step, options: RunOptions) -> StepResult {
    anstream::println!("{DIM}start{DIM:#}    {}: {}", step.name, step.about);
    let started = Instant::now();
    let outcome = (step.work)(&options)
        .unwrap_or_else(|error| Outcome::failed("could not run", format!("{error:#}\n")));
    let outcome = if options.require_all { outcome.without_skips() } else { outcome };
    let took = started.elapsed();
    show_end(step, &outcome, took);
    StepResult { name: step.name.clone(), took, outcome }
}

fn show_end(step: &Step, outcome: &Outcome, took: Duration) {
    let (style, word) = style_of(outcome.verdict);
    let note = if outcome.note.is_empty() { String::new() } else { format!(": {}", outcome.note) };
    if outcome.verdict == Verdict::Failed && !outcome.evidence.is_empty() {
        anstream::println!("{}", outcome.evidence.trim_end());
    }
    anstream::println!("{style}{word:<8}{style:#} {} in {:.1} s{note}", step.name, took.as_secs_f64());
}

fn summarize(report: &[StepResult], not_run: &[&str], took: Duration) -> bool {
    let mut total = Count::default();
    let width = report.iter().map(|result| result.name.len()).max().unwrap_or(0);
    anstream::println!("\n{:<width$}  {:<7}  {:>7}  note", "step", "result", "seconds");
    for result in report {
        total += result.outcome.count;
        let (style, word) = style_of(result.outcome.verdict);
        let seconds = result.took.as_secs_f64();
        let row = format!(
            "{:<width$}  {style}{word:<7}{style:#}  {seconds:>7.1}  {}",
            result.name, result.outcome.note
        );
        anstream::println!("{}", row.trim_end());
    }
    show_skips(report);
    if !not_run.is_empty() {
        anstream::println!("\n{RED}Not run after the failure:{RED:#} {}", not_run.join(", "));
    }
    anstream::println!(
        "\n{} steps in {:.0} s; steps that run tests count each test",
        report.len(),
        took.as_secs_f64()
    );
    anstream::println!("{}", last_line(total));
    report.iter().all(|result| result.outcome.verdict != Verdict::Failed)
}

fn show_skips(report: &[StepResult]) {
    let skips: Vec<_> =
        report.iter().flat_map(|result| result.outcome.skips.iter().map(|why| (&result.name, why))).collect();
    if skips.is_empty() {
        return;
    }
    anstream::println!("\n{YELLOW}Skipped:{YELLOW:#}");
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

fn style_of(verdict: Verdict) -> (Style, &'static str) {
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
    fn the_last_line_mentions_skips_only_if_there_are_any() {
        let mut total = Count { passed: 4, failed: 1, skipped: 0 };
        assert_eq!(last_line(total), "4 passed, 1 failed");

        total += Count { skipped: 2, ..Count::default() };
        assert_eq!(last_line(total), "4 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_failure_is_reported_and_later_steps_still_run() {
        let steps = [
            Step::new("bad", "", |_| anyhow::bail!("broken")),
            Step::new("good", "", |_| Ok(Outcome::passed(""))),
        ];

        assert!(!run(&steps, RunOptions::default()));
        assert!(run(&steps[1..], RunOptions::default()));
    }

    #[test]
    fn a_skip_is_a_failure_only_if_everything_is_required() {
        let steps = [Step::new("rare", "", |_| Ok(Outcome::skipped("not here")))];

        assert!(run(&steps, RunOptions::default()));
        assert!(!run(&steps, RunOptions { require_all: true, ..RunOptions::default() }));
    }
}
