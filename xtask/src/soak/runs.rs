//! Repeats the integration tests, to find those that fail rarely.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::step::{Count, Outcome, RunOptions, Step, Verdict};
use crate::verify::tests::{self, Suite};

/// Returns a step with at most `runs` runs, of which none starts after `limit`.
pub(super) fn step(runs: u32, limit: Duration) -> Step {
    let about = format!("the integration tests, {runs} times");
    Step::new("runs", about, move |options| repeat(runs, limit, options))
}

fn repeat(runs: u32, limit: Duration, options: &RunOptions) -> Result<Outcome> {
    let started = Instant::now();
    let mut tally = Tally::default();
    for run in 1..=runs {
        if started.elapsed() > limit {
            tally.cut_short = Some(run - 1);
            break;
        }
        let outcome = tests::run(Suite::Integration, &[], options)?;
        let Count { passed, failed, .. } = outcome.count;
        anstream::println!(
            "        run {run} of {runs}: {passed} passed, {failed} failed, {:.0} s so far",
            started.elapsed().as_secs_f64()
        );
        tally.add(run, outcome);
    }
    Ok(tally.into_outcome(runs))
}

#[derive(Default)]
struct Tally {
    count: Count,
    skips: Vec<String>,
    /// How often each test failed.
    failures: BTreeMap<String, u32>,
    failed_runs: Vec<u32>,
    evidence: String,
    cut_short: Option<u32>,
}

impl Tally {
    fn add(&mut self, run: u32, outcome: Outcome) {
        self.count += outcome.count;
        self.skips.extend(outcome.skips);
        self.skips.sort();
        self.skips.dedup();
        if outcome.verdict != Verdict::Failed {
            return;
        }
        self.failed_runs.push(run);
        for test in failed_tests(&outcome.evidence) {
            *self.failures.entry(test).or_default() += 1;
        }
        self.evidence.push_str(&format!("run {run}:\n{}\n", outcome.evidence));
    }

    fn into_outcome(self, runs: u32) -> Outcome {
        let done = self.cut_short.unwrap_or(runs);
        let verdict = if self.failed_runs.is_empty() { Verdict::Passed } else { Verdict::Failed };
        let mut note = format!("{done} runs, {} of them failed", self.failed_runs.len());
        for (test, times) in &self.failures {
            note.push_str(&format!("; {test} failed {times} times"));
        }
        if self.cut_short.is_some() {
            note.push_str(&format!("; stopped after the time limit, before the other {}", runs - done));
        }
        Outcome {
            verdict,
            count: self.count,
            note,
            skips: self.skips,
            second_attempts: Vec::new(),
            evidence: self.evidence,
        }
    }
}

/// Returns the names of the failed tests, each once.
fn failed_tests(evidence: &str) -> Vec<String> {
    let mut names: Vec<_> = evidence.lines().filter_map(failed_test).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Parses nextest's `FAIL [ 0.1s] (3/3) crate::binary test` and libtest's `test --- FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(name) = line.strip_suffix(" --- FAILED") {
        return Some(name);
    }
    let verdicts = ["FAIL [", "TIMEOUT [", "SIGABRT [", "SIGSEGV [", "LEAK-FAIL ["];
    verdicts.iter().find(|verdict| line.starts_with(**verdict))?;
    let (_, after_time) = line.split_once(']')?;
    after_time.split_once(") ").map(|(_, name)| name)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn failed_tests_are_read_from_both_runners() {
        let evidence = "        FAIL [   0.114s] (3/3) nt tests::b\n     TIMEOUT [  60.0s] ( 4/12) mcast::exact never_twice\ntests::c --- FAILED\n";

        assert_eq!(failed_tests(evidence), ["mcast::exact never_twice", "nt tests::b", "tests::c"]);
    }

    #[test]
    fn failures_are_counted_by_test() {
        let mut tally = Tally::default();
        let bad = || Outcome::failed("", "FAIL [ 0.1s] (1/1) mcast::exact flaky\n");
        tally.add(1, bad());
        tally.add(2, Outcome::passed(""));
        tally.add(3, bad());

        let outcome = tally.into_outcome(3);

        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.note, "3 runs, 2 of them failed; mcast::exact flaky failed 2 times");
    }
}
