//! The Python package: its wheel is built, installed where nothing else is, and tested there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::environment;
use crate::command::{Finished, finish, program, succeeds, words};
use crate::step::{Count, Manner, Outcome, Step, Verdict};

const CRATE: &str = "crates/mcast-python";
const REQUIREMENTS: &str = "requirements-test.txt";
const VERSION: &str = "import sys; sys.exit(sys.version_info < (3, 10))";

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("python:tests", "the wheel, installed afresh, passes its tests", tests),
        Step::new("python:mypy", "mypy finds nothing in package, tests and examples", |manner| {
            types("mypy", &["--python-executable"], manner)
        }),
        Step::new("python:pyright", "pyright finds nothing in package, tests and examples", |manner| {
            types("pyright", &["--warnings", "--pythonpath"], manner)
        }),
        Step::new("python:stubs", "the stubs say what the native part has", stubs),
    ]
}

fn tests(manner: &Manner) -> Result<Outcome> {
    if !environment::has_namespaces() {
        return Ok(Outcome::skipped(environment::NO_NAMESPACES));
    }
    if let Some(other) = install(manner)? {
        return Ok(other);
    }
    let mut pytest = program(python(), ["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    pytest.current_dir(crate::root().join(CRATE)).env("PYTHONDONTWRITEBYTECODE", "1");
    if manner.require_all {
        pytest.env("MCAST_REQUIRE_ALL", "1");
    }
    let called = words(&pytest);
    let finished = finish(pytest, manner.verbose)?;
    Ok(told(&finished, &called))
}

fn types(checker: &str, python_follows: &[&str], manner: &Manner) -> Result<Outcome> {
    if !python().exists()
        && let Some(other) = install(manner)?
    {
        return Ok(other);
    }
    let mut command = program(home().join("venv/bin").join(checker), python_follows);
    command.arg(python()).current_dir(crate::root().join(CRATE));
    if checker == "mypy" {
        command.arg("--cache-dir").arg(home().join("mypy"));
    }
    super::sources::check(command, manner)
}

fn stubs(manner: &Manner) -> Result<Outcome> {
    if !python().exists()
        && let Some(other) = install(manner)?
    {
        return Ok(other);
    }
    let mut command = program(python(), ["-m", "mypy.stubtest", "pymcast"]);
    command.args(["--mypy-config-file", "pyproject.toml"]).current_dir(crate::root().join(CRATE));
    super::sources::check(command, manner)
}

/// Makes a virtual environment with what the tests need and the wheel; an outcome only where that
/// can't be.
fn install(manner: &Manner) -> Result<Option<Outcome>> {
    if !succeeds(program("python3", ["-c", VERSION])) {
        return Ok(Some(Outcome::skipped("Python 3.10 or later is not installed (python3)")));
    }
    fs::create_dir_all(home()).with_context(|| format!("making {}", home().display()))?;
    let wheels = home().join("wheels");
    // Of former wheels, pip would take the newest.
    let _ = fs::remove_dir_all(&wheels);
    let mut environment = program("python3", ["-m", "venv", "--clear"]);
    environment.arg(home().join("venv"));
    if !finish(environment, manner.verbose)?.success {
        return Ok(Some(Outcome::skipped("Python's venv is not installed (Debian's python3-venv)")));
    }
    let fetched = finish(pip(&["--requirement", REQUIREMENTS]), manner.verbose)?;
    if !fetched.success {
        let why = last_line(&fetched.output);
        return Ok(Some(Outcome::skipped(format!("pip cannot install what the tests need: {why}"))));
    }
    let mut maturin = program(home().join("venv/bin/maturin"), ["build", "--quiet", "--profile", "dev"]);
    maturin.args(["--compatibility", "linux", "--interpreter"]).arg(python()).arg("--out").arg(&wheels);
    maturin.current_dir(crate::root().join(CRATE));
    for command in [maturin, pip(&["--no-index", "--find-links", &wheels.to_string_lossy(), "pymcast"])] {
        let called = words(&command);
        let finished = finish(command, manner.verbose)?;
        if !finished.success {
            return Ok(Some(Outcome::failed(finished.status, format!("`{called}`:\n{}", finished.output))));
        }
    }
    Ok(None)
}

fn pip(what: &[&str]) -> Command {
    let head = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"].iter();
    let mut command = program(python(), head.chain(what));
    command.current_dir(crate::root().join(CRATE));
    command
}

fn home() -> PathBuf {
    crate::root().join("target/python")
}

fn python() -> PathBuf {
    home().join("venv/bin/python")
}

/// The wheel that the tests were run against, if they were.
pub(super) fn wheel() -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(home().join("wheels")) else { return Ok(None) };
    for entry in entries {
        let path = entry.context("listing the wheels")?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// What pytest says in its last line: `3 failed, 186 passed, 1 skipped in 5.25s`.
fn told(finished: &Finished, called: &str) -> Outcome {
    let count = count(last_line(&finished.output));
    let skips: Vec<String> =
        finished.output.lines().filter_map(|line| line.strip_prefix("SKIPPED ")).map(str::to_owned).collect();
    let evidence = format!("`{called}`:\n{}", finished.output);
    let verdict = match finished.success && count.passed > 0 {
        true => Verdict::Passed,
        false => Verdict::Failed,
    };
    let count = match verdict {
        Verdict::Failed if count.failed == 0 => Count { failed: 1, ..count },
        _ => count,
    };
    let note = format!("{} tests by pytest", count.passed + count.failed);
    Outcome { verdict, count, note, skips, evidence }
}

fn count(summary: &str) -> Count {
    let mut count = Count::default();
    let words: Vec<&str> = summary.split([' ', ',', '=']).filter(|word| !word.is_empty()).collect();
    for pair in words.windows(2) {
        let Ok(number) = pair[0].parse::<usize>() else { continue };
        match pair[1] {
            "passed" => count.passed += number,
            "skipped" => count.skipped += number,
            "failed" | "error" | "errors" => count.failed += number,
            _ => {}
        }
    }
    count
}

fn last_line(output: &str) -> &str {
    output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn pytest_is_counted_by_its_last_line() {
        let expected = Count { passed: 186, failed: 5, skipped: 1 };
        assert_eq!(count("3 failed, 186 passed, 1 skipped, 2 errors in 5.25s"), expected);
        assert_eq!(count("===== 186 passed, 5 failed, 1 skipped in 5s ====="), expected);
        assert_eq!(count("no tests ran in 0.01s"), Count::default());
    }

    #[test]
    fn no_test_at_all_is_a_failure() {
        let output = "no tests ran in 0.01s\n".to_owned();
        let outcome = told(&Finished { success: true, status: String::new(), output }, "pytest");

        assert_eq!((outcome.verdict, outcome.count.failed), (Verdict::Failed, 1));
    }

    #[test]
    fn the_requirements_are_where_they_are_looked_for() {
        assert!(crate::root().join(CRATE).join(REQUIREMENTS).exists());
    }
}
