//! Running steps, and reporting their outcomes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
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
    let run_lane = |lane, wait_for: &mut dyn FnMut(usize)| {
        let mut results = Vec::new();
        for (place, step) in steps.iter().enumerate().filter(|(_, step)| step.lane == lane) {
            wait_for(place);
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let result = run_one(step, options);
            stop.fetch_or(options.fail_fast && result.outcome.verdict == Verdict::Failed, Ordering::Relaxed);
            results.push((place, result));
        }
        results
    };
    let (started_main, main_starts) = mpsc::channel();
    let results: BTreeMap<_, _> = thread::scope(|scope| {
        let main = scope.spawn(move || {
            // The other lane may have finished already.
            run_lane(Lane::Main, &mut |place| started_main.send(place).unwrap_or_default())
        });
        let beside = scope.spawn(|| {
            yield_to_others();
            run_lane(Lane::Beside, &mut |_| ())
        });
        let second = scope.spawn(move || {
            let mut reached = 0;
            run_lane(Lane::Second, &mut |place| {
                while reached < place {
                    // An error means that the main lane has ended.
                    reached = main_starts.recv().unwrap_or(usize::MAX);
                }
            })
        });
        // A lane that panicked has no results, and its steps count as not run.
        [main, beside, second].into_iter().flat_map(|lane| lane.join().unwrap_or_default()).collect()
    });
    let not_run: Vec<_> = steps
        .iter()
        .enumerate()
        .filter(|(place, _)| !results.contains_key(place))
        .map(|(_, step)| step.name.as_str())
        .collect();
    let report: Vec<_> = results.into_values().collect();
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
    use std::sync::Mutex;

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
    fn steps_of_all_lanes_run_and_can_fail() {
        let good = || Step::new("good", "", |_| Ok(Outcome::passed("")));
        let bad = || Step::new("bad", "", |_| anyhow::bail!("broken"));

        for lane in [Lane::Beside, Lane::Second] {
            assert!(run(&[good(), good().on(lane)], RunOptions::default()));
            assert!(!run(&[good(), bad().on(lane)], RunOptions::default()));
            assert!(!run(&[bad(), good().on(lane)], RunOptions::default()));
        }
    }

    #[test]
    fn the_second_lane_waits_for_the_steps_before_it_and_not_for_those_behind_it() {
        let (ended, main_ended) = mpsc::channel();
        let (started, second_started) = mpsc::channel();
        let (main_ended, second_started) = (Mutex::new(main_ended), Mutex::new(second_started));
        let patience = Duration::from_secs(60);
        let steps = [
            Step::new("before", "", move |_| {
                ended.send(())?;
                Ok(Outcome::passed(""))
            }),
            Step::new("second", "", move |_| {
                main_ended.lock().unwrap().try_recv()?;
                started.send(())?;
                Ok(Outcome::passed(""))
            })
            .on(Lane::Second),
            Step::new("behind", "", move |_| {
                second_started.lock().unwrap().recv_timeout(patience)?;
                Ok(Outcome::passed(""))
            }),
        ];

        assert!(run(&steps, RunOptions::default()));
        // Without a step of the main lane behind it, it runs when that lane has ended.
        assert!(run(
            &[Step::new("last", "", |_| Ok(Outcome::passed(""))).on(Lane::Second)],
            RunOptions::default()
        ));
    }

    #[test]
    fn a_skip_is_a_failure_only_if_everything_is_required() {
        let steps = [Step::new("rare", "", |_| Ok(Outcome::skipped("not here")))];

        assert!(run(&steps, RunOptions::default()));
        assert!(!run(&steps, RunOptions { require_all: true, ..RunOptions::default() }));
    }
}
