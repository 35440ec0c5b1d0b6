//! Evaluates the results of the tests in the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::step::{Count, Outcome, Verdict};
use crate::verify::skips;

/// A test, as nextest names it: `mcast::contract exact::v4::ignores_other_interfaces`.
pub(super) type TestName = String;

/// The tests that a suite is to run. The machine writes their results to a file with its name.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) suite: &'static str,
    pub(super) tests: Vec<TestName>,
}

/// How many failed tests the note names at most.
const MAX_NAMED: usize = 5;

/// Reads the tests that must be run from nextest's list.
pub(super) fn listed(list: &str) -> Result<Vec<TestName>> {
    let list: Value = serde_json::from_str(list).context("reading nextest's list of tests")?;
    let suites = list["rust-suites"].as_object().context("nextest lists no suites")?;
    let tests = suites.iter().flat_map(|(binary, suite)| {
        let cases = suite["testcases"].as_object().into_iter().flatten();
        let chosen = cases.filter(|(_, case)| case["filter-match"]["status"] == "matches");
        chosen.map(move |(name, _)| format!("{binary} {name}"))
    });
    Ok(tests.collect())
}

/// Compares the tests to run with the results that the machine wrote.
pub(super) fn judge(listed: &[Listed], exchange: &Path, console: &Option<String>) -> Result<Outcome> {
    let read = |file: &str| fs::read_to_string(exchange.join(file)).unwrap_or_default();
    let (release, ended) = (read("release"), read("ended"));
    let console = console.as_deref().unwrap_or("stopped after the time limit");
    if release.is_empty() {
        return Ok(Outcome::failed("the machine did not start the tests", format!("{console}\n")));
    }
    let (mut count, mut bad, mut logs) = (Count::default(), Vec::new(), String::new());
    for Listed { suite, tests } in listed {
        let log = read(suite);
        let results = results(&log);
        for test in tests {
            match results.get(test.as_str()) {
                Some(Verdict::Passed) => count.passed += 1,
                Some(_) => bad.push(format!("{suite}: {test}")),
                None => bad.push(format!("{suite}: {test} (did not run)")),
            }
        }
        logs = logs + &up_to_summary(&log) + "\n";
    }
    count.failed = bad.len();
    let skips = skips::read(&exchange.join("skips"))?;
    count.skipped = skips.len();
    count.passed = count.passed.saturating_sub(skips.len());
    let kernel = format!("Linux {}, up for {} s", release.trim(), ended.trim());
    let note = match bad.len() {
        0 => format!("{} tests on {kernel}", count.passed),
        failed => {
            let all: usize = listed.iter().map(|suite| suite.tests.len()).sum();
            format!("{failed} of {all} tests on {kernel}: {}", some(&bad))
        }
    };
    let verdict = if bad.is_empty() { Verdict::Passed } else { Verdict::Failed };
    let evidence = format!("{}\n{logs}\nthe console:\n{console}\n", bad.join("\n"));
    Ok(Outcome { verdict, count, note, skips, second_attempts: Vec::new(), evidence })
}

fn some(names: &[String]) -> String {
    let more = if names.len() > MAX_NAMED { ", and more" } else { "" };
    names[..names.len().min(MAX_NAMED)].join(", ") + more
}

/// Returns the last result of each test, from nextest's lines such as `PASS [   1.2s] mcast::contract exact::v4::this`.
/// Ignores other lines, which tests print.
fn results(log: &str) -> BTreeMap<&str, Verdict> {
    log.lines().filter_map(result).collect()
}

fn result(line: &str) -> Option<(&str, Verdict)> {
    let (word, rest) = line.trim_start().split_once(" [")?;
    let (_, name) = rest.split_once("s] ")?;
    // A counter such as `( 3/12)` may precede the name.
    let name = name.strip_prefix('(').and_then(|name| name.split_once(") ")).map_or(name, |(_, name)| name);
    let verdict = match word {
        "PASS" => Verdict::Passed,
        "SLOW" | "LEAK" => return None,
        _ if word.chars().all(|each| each.is_ascii_uppercase() || each == '-') => Verdict::Failed,
        _ => return None,
    };
    Some((name.trim(), verdict))
}

/// Removes the output of tests that passed, which follows each summary.
fn up_to_summary(log: &str) -> String {
    let mut shown = true;
    let lines = log.lines().filter(|line| {
        let words = line.trim_start();
        shown |= words.starts_with("Starting ");
        let keep = shown;
        shown &= !words.starts_with("Summary [");
        keep
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod checks {
    use super::*;

    const LOG: &str = "    Starting 3 tests\n        PASS [   1.231s] (1/3) a::b one\n        SLOW [> 30.000s] a::b two\n        FAIL [   2.0s] a::b two\n     Summary [ 3s] 2 tests run\n";

    fn judged(listed: &[&str], release: &str) -> Outcome {
        let folder = std::env::temp_dir().join(format!("judge-{}-{}", std::process::id(), listed.len()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("one"), LOG).unwrap();
        fs::write(folder.join("release"), release).unwrap();
        fs::write(folder.join("skips"), "{\"test\":\"one\",\"reason\":\"no socat\"}\n").unwrap();
        let listed = Listed { suite: "one", tests: listed.iter().map(|name| (*name).to_owned()).collect() };
        let outcome = judge(&[listed], &folder, &None).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        outcome
    }

    #[test]
    fn a_test_without_a_result_has_failed() {
        let outcome = judged(&["a::b one", "a::b two", "a::b three"], "6.1\n");

        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.count.failed, 2);
        assert!(outcome.note.contains("one: a::b three (did not run)"), "{}", outcome.note);
        assert!(outcome.note.contains("a::b two"), "{}", outcome.note);
    }

    #[test]
    fn skips_are_reported_and_counted() {
        let outcome = judged(&["a::b one"], "6.1\n");

        assert_eq!(outcome.skips, ["no socat"]);
        assert_eq!(outcome.count, Count { passed: 0, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_machine_that_does_not_boot_has_failed() {
        assert_eq!(judged(&["a::b one", "a::b two"], "").verdict, Verdict::Failed);
    }

    #[test]
    fn the_tests_to_run_are_those_that_match_the_filter() {
        let list = r#"{"rust-suites": {"a::b": {"testcases": {
            "one": {"filter-match": {"status": "matches"}},
            "two": {"filter-match": {"status": "mismatch", "reason": "expression"}}}}}}"#;

        assert_eq!(listed(list).unwrap(), ["a::b one"]);
    }
}
