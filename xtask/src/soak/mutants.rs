//! Mutants of the code that cargo-mutants forms: an operator that became another one, a condition without its negation, a function
//! whose body returns a default. Each must be noticed by the tests of its crate. What these cannot express, `cargo xtask mutate` breaks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{Finished, cargo, command_line, finish, program, succeeds};
use crate::step::{Count, Outcome, RunOptions, Step, Verdict};

/// A crate of decisions, and how its mutants are tested.
struct Mutated {
    package: &'static str,
    /// Options of `cargo test` that select the tests which must notice: unit tests, and the simulation if there is one.
    tests: &'static [&'static str],
    /// The features that these need.
    features: &'static str,
    /// In how many parts its mutants are divided. One run tests one part, chosen by the seed.
    parts: u32,
}

const CRATES: [Mutated; 6] = [
    Mutated { package: "mcast-pace", tests: &["--lib"], features: "", parts: 1 },
    Mutated {
        package: "mcast-log",
        tests: &["--lib", "--test=simulation", "--test=directory"],
        features: "",
        parts: 20,
    },
    Mutated {
        package: "mcast-tunnel",
        tests: &["--lib", "--test=simulation", "--test=tunnel"],
        features: "",
        parts: 20,
    },
    Mutated {
        package: "mcast-relay",
        tests: &["--lib", "--test=simulation", "--test=relay", "--test=amt"],
        features: "http,seal",
        parts: 80,
    },
    Mutated {
        package: "mcast-bridge",
        tests: &["--lib", "--test=simulation", "--test=machine", "--test=reverse"],
        features: "nats,rabbitmq,redis",
        parts: 80,
    },
    Mutated {
        package: "mcast-stream-proto",
        tests: &["--lib", "--test=simulation", "--test=model"],
        features: "seal",
        parts: 200,
    },
];

/// Returns a step for what differs from the main branch, and one for each crate.
pub(super) fn steps(seed: u32) -> Vec<Step> {
    let changed =
        Step::new("mutants:changed", "tests notice each mutant of what differs from origin/main", changed);
    let crates = CRATES.iter().map(move |mutated| {
        let about =
            format!("tests notice the mutants of one of {} parts of {}", mutated.parts, mutated.package);
        Step::new(format!("mutants:{}", mutated.package), about, move |options| {
            of_crate(mutated, seed, options)
        })
    });
    [changed].into_iter().chain(crates).collect()
}

fn changed(options: &RunOptions) -> Result<Outcome> {
    let folder = folder()?;
    let change = folder.join("change.diff");
    let compared = finish(program("git", ["diff", "--no-color", "--merge-base", "origin/main"]), false)?;
    if !compared.success {
        bail!("`git diff` with origin/main failed, {}:\n{}", compared.status, compared.output);
    }
    if compared.output.is_empty() {
        return Ok(Outcome::passed("nothing differs"));
    }
    fs::write(&change, compared.output).with_context(|| format!("writing {}", change.display()))?;
    run(&["--in-diff".as_ref(), change.as_path()], "changed", &[], options)
}

fn of_crate(mutated: &Mutated, seed: u32, options: &RunOptions) -> Result<Outcome> {
    let part = format!("{}/{}", seed % mutated.parts, mutated.parts);
    let selection =
        ["--package", mutated.package, "--features", mutated.features, "--shard", &part].map(Path::new);
    run(&selection, mutated.package, mutated.tests, options)
}

/// Runs cargo-mutants, which builds in a copy of the tree.
fn run(selection: &[&Path], name: &str, tests: &[&str], options: &RunOptions) -> Result<Outcome> {
    if !succeeds(cargo(["mutants", "--version"])) {
        return Ok(Outcome::skipped(
            "cargo-mutants is not installed (`cargo install --locked cargo-mutants`)",
        ));
    }
    let mut command =
        cargo(["mutants", "--no-shuffle", "--colors", "never", "--minimum-test-timeout", "120"]);
    command.arg("--output").arg(folder()?.join(name));
    command.args(selection);
    if !tests.is_empty() {
        command.arg("--").args(tests);
    }
    // What is left of a seed that failed is shrunk for people.
    command.env("MCAST_SHRINK", "0");
    let called = command_line(&command);
    let finished = finish(command, options.verbose)?;
    Ok(outcome(&finished, &called))
}

/// Makes the folder of what cargo-mutants writes, which expects it to exist.
fn folder() -> Result<PathBuf> {
    let folder = crate::root().join("target/mutants");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// Reads the outcome from the last line of cargo-mutants: `98 mutants tested in 4m: 3 missed, 90 caught, 4 unviable, 1 timeouts`.
/// An endless loop was noticed.
fn outcome(finished: &Finished, called: &str) -> Outcome {
    let evidence = format!("`{called}`:\n{}", finished.output);
    let Some(summary) = finished.output.lines().rev().find(|line| line.contains(" tested in ")) else {
        return match finished.success {
            true => Outcome::passed("no mutants"),
            false => Outcome::failed(&finished.status, evidence),
        };
    };
    let number = |word: &str| -> usize {
        let (_, results) = summary.split_once(": ").unwrap_or_default();
        let counts = results.split(", ").filter_map(|part| part.split_once(' '));
        counts.filter(|(_, what)| *what == word).find_map(|(count, _)| count.parse().ok()).unwrap_or(0)
    };
    let missed = number("missed");
    let count = Count {
        passed: number("caught") + number("timeout") + number("timeouts"),
        failed: missed,
        skipped: 0,
    };
    let verdict = if missed == 0 { Verdict::Passed } else { Verdict::Failed };
    Outcome { count, evidence, verdict, ..Outcome::passed(summary) }
}

#[cfg(test)]
mod checks {
    use super::*;

    fn judged(output: &str, success: bool) -> Outcome {
        let finished = Finished { success, status: "exit status: 2".to_owned(), output: output.to_owned() };
        outcome(&finished, "cargo mutants")
    }

    #[test]
    fn a_missed_mutant_is_a_failed_test() {
        let missed = judged(
            "MISSED a.rs:1:2\n9 mutants tested in 4m: 2 missed, 5 caught, 1 unviable, 1 timeouts\n",
            false,
        );
        assert_eq!((missed.verdict, missed.count.failed, missed.count.passed), (Verdict::Failed, 2, 6));

        let caught = judged("6 mutants tested in 12s: 6 caught\n", true);
        assert_eq!((caught.verdict, caught.count.failed, caught.count.passed), (Verdict::Passed, 0, 6));
    }

    #[test]
    fn a_run_without_a_summary_passes_only_if_it_succeeded() {
        assert_eq!(judged("No mutants to filter\n", true).verdict, Verdict::Passed);
        assert_eq!(judged("the tests fail without a mutant\n", false).verdict, Verdict::Failed);
    }

    #[test]
    fn each_crate_has_the_tests_that_must_notice() {
        for mutated in &CRATES {
            let folder = crate::root().join(crate::products::folder_of(mutated.package).unwrap());
            let simulation = folder.join("tests/simulation");
            let has_simulation = simulation.is_dir() || simulation.with_extension("rs").is_file();
            assert_eq!(mutated.tests.contains(&"--test=simulation"), has_simulation, "{}", mutated.package);
        }
    }
}
