//! Running steps, and reporting their outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::step::{Count, Lane, Outcome, RunOptions, Step, StepResult, Verdict};

const GREEN: Style = AnsiColor::Green.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// What is not checked by the steps of a run, and what checks it.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    what: String,
    by: &'static str,
}

impl Elsewhere {
    pub(crate) fn new(what: impl Into<String>, by: &'static str) -> Self {
        Self { what: what.into(), by }
    }
}

/// Runs the steps of each lane in order, prints the outcome of each, and then all of them in a table.
/// Returns whether none failed.
pub(crate) fn run(steps: &[Step], options: RunOptions) -> bool {
    run_in_part(steps, options, None)
}

/// The same; the table ends with what is checked elsewhere.
pub(crate) fn run_in_part(steps: &[Step], options: RunOptions, elsewhere: Option<&Elsewhere>) -> bool {
    let started = Instant::now();
    let stop = AtomicBool::new(false);
    let ended = Ended::default();
    let run_lane = |lane| {
        let own = || steps.iter().enumerate().filter(move |(_, step)| step.lane == lane);
        let _end = EndOfLane { ended: &ended, names: own().map(|(_, step)| step.name.as_str()).collect() };
        let mut results = Vec::new();
        for (place, step) in own() {
            if let Some(other) = step.after.filter(|other| steps.iter().any(|step| step.name == *other)) {
                ended.wait_for(other);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let result = run_one(step, options);
            stop.fetch_or(options.fail_fast && result.outcome.verdict == Verdict::Failed, Ordering::Relaxed);
            ended.add([step.name.as_str()]);
            results.push((place, result));
        }
        results
    };
    let results: BTreeMap<_, _> = thread::scope(|scope| {
        let main = scope.spawn(|| run_lane(Lane::Main));
        let beside = scope.spawn(|| {
            yield_to_others();
            run_lane(Lane::Beside)
        });
        let second = scope.spawn(|| run_lane(Lane::Second));
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
    summarize(&report, &not_run, elsewhere, started.elapsed())
}

/// The names of the steps that have ended, or will not run.
#[derive(Debug, Default)]
struct Ended {
    names: Mutex<BTreeSet<String>>,
    changed: Condvar,
}

impl Ended {
    fn add<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut ended = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        ended.extend(names.into_iter().map(str::to_owned));
        self.changed.notify_all();
    }

    fn wait_for(&self, name: &str) {
        let ended = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let _ended = self.changed.wait_while(ended, |ended| !ended.contains(name));
    }
}

/// Whatever becomes of a lane, nobody waits for its steps when it has ended.
struct EndOfLane<'a> {
    ended: &'a Ended,
    names: Vec<&'a str>,
}

impl Drop for EndOfLane<'_> {
    fn drop(&mut self) {
        self.ended.add(self.names.drain(..));
    }
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

fn summarize(report: &[StepResult], not_run: &[&str], elsewhere: Option<&Elsewhere>, took: Duration) -> bool {
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
    if let Some(Elsewhere { what, by }) = elsewhere {
        anstream::println!("{DIM}Not here, but in {by}:{DIM:#} {what}");
    }
    show_list("Skipped", report, |outcome| &outcome.skips);
    show_list("Passed only at the second attempt", report, |outcome| &outcome.second_attempts);
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

/// Shows what the steps list, if they do.
fn show_list(title: &str, report: &[StepResult], list: impl Fn(&Outcome) -> &Vec<String>) {
    let lines: Vec<_> = report
        .iter()
        .flat_map(|result| list(&result.outcome).iter().map(|line| format!("  {}: {line}", result.name)))
        .collect();
    if !lines.is_empty() {
        anstream::println!("\n{YELLOW}{title}:{YELLOW:#}\n{}", lines.join("\n"));
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
    use std::sync::mpsc;

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
    fn a_step_waits_for_the_one_that_it_names_and_not_for_those_behind_it() {
        let (ended, has_ended) = mpsc::channel();
        let (started, has_started) = mpsc::channel();
        let (has_ended, has_started) = (Mutex::new(has_ended), Mutex::new(has_started));
        let timeout = Duration::from_secs(60);
        let steps = [
            Step::new("before", "", move |_| {
                ended.send(())?;
                Ok(Outcome::passed(""))
            }),
            Step::new("second", "", move |_| {
                has_ended.lock().unwrap().try_recv()?;
                started.send(())?;
                Ok(Outcome::passed(""))
            })
            .after("before"),
            Step::new("behind", "", move |_| {
                has_started.lock().unwrap().recv_timeout(timeout)?;
                Ok(Outcome::passed(""))
            }),
        ];

        assert!(run(&steps, RunOptions::default()));
    }

    #[test]
    fn nobody_waits_for_a_step_that_does_not_run() {
        let good = |name: &str| Step::new(name, "", |_| Ok(Outcome::passed("")));
        let fail_fast = RunOptions { fail_fast: true, ..RunOptions::default() };
        let bad = Step::new("bad", "", |_| anyhow::bail!("broken"));

        assert!(run(&[good("alone").after("other")], RunOptions::default()));
        assert!(!run(&[bad, good("other"), good("waits").after("other")], fail_fast));
    }

    #[test]
    fn a_skip_is_a_failure_only_if_everything_is_required() {
        let steps = [Step::new("rare", "", |_| Ok(Outcome::skipped("not here")))];

        assert!(run(&steps, RunOptions::default()));
        assert!(!run(&steps, RunOptions { require_all: true, ..RunOptions::default() }));
    }
}
