//! Running steps, and reporting their outcomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::step::{Count, Lane, Outcome, RunOptions, Step, StepResult, Verdict};

const GREEN: Style = AnsiColor::Green.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Runs the steps of each lane in order, prints the outcome of each, and then all of them in a table.
/// Returns whether none failed.
pub(crate) fn run(steps: &[Step], options: RunOptions) -> bool {
    let started = Instant::now();
    let stop = AtomicBool::new(false);
    let run_lane = |lane| {
        let results = steps.iter().map(|step| {
            if step.lane != lane || stop.load(Ordering::Relaxed) {
                return None;
            }
            let result = run_one(step, options);
            stop.fetch_or(options.fail_fast && result.outcome.verdict == Verdict::Failed, Ordering::Relaxed);
            Some(result)
        });
        results.collect::<Vec<_>>()
    };
    let (main, beside) = thread::scope(|scope| {
        let beside = scope.spawn(|| {
            yield_to_others();
            run_lane(Lane::Beside)
        });
        (run_lane(Lane::Main), beside.join().unwrap_or_default())
    });
    // A lane that panicked has no results, and its steps count as not run.
    let beside = beside.into_iter().chain(std::iter::repeat_with(|| None));
    let results: Vec<_> = main.into_iter().zip(beside).map(|(main, beside)| main.or(beside)).collect();
    let not_run: Vec<_> = steps
        .iter()
        .zip(&results)
        .filter(|(_, result)| result.is_none())
        .map(|(step, _)| step.name.as_str())
        .collect();
    let report: Vec<_> = results.into_iter().flatten().collect();
    summarize(&report, &not_run, started.elapsed())
}

/// Gives this thread, and the programs that it starts, the lowest priority, where the system does so for one thread.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    // Without the right to do so, the steps only take more of the time of others.
    let _ = rustix::process::nice(19);
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
    not_run.is_empty() && report.iter().all(|result| result.outcome.verdict != Verdict::Failed)
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
    fn steps_of_both_lanes_run_and_can_fail() {
        let good = || Step::new("good", "", |_| Ok(Outcome::passed("")));
        let bad = || Step::new("bad", "", |_| anyhow::bail!("broken"));

        assert!(run(&[good(), good().beside()], RunOptions::default()));
        assert!(!run(&[good(), bad().beside()], RunOptions::default()));
        assert!(!run(&[bad(), good().beside()], RunOptions::default()));
    }

    #[test]
    fn a_skip_is_a_failure_only_if_everything_is_required() {
        let steps = [Step::new("rare", "", |_| Ok(Outcome::skipped("not here")))];

        assert!(run(&steps, RunOptions::default()));
        assert!(!run(&steps, RunOptions { require_all: true, ..RunOptions::default() }));
    }
}
