//! Builds the Python wheel, installs it in an empty virtual environment, and tests it there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::environment;
use crate::command::{Finished, command_line, finish, program, succeeds};
use crate::step::{Count, Lane, Outcome, RunOptions, Step, Verdict};

const CRATE: &str = "crates/front/mcast-python";
const REQUIREMENTS: &str = "requirements-test.txt";
const VERSION: &str = "import sys; sys.exit(sys.version_info < (3, 10))";

/// Returns the step that builds what the others need.
pub(crate) fn build_step() -> Step {
    Step::new("python:build", "the wheel and the environment of its tests can be made", |options| {
        Ok(ensure_built(options)?.unwrap_or_else(|| Outcome::passed("")))
    })
    .on(Lane::Beside)
}

pub(super) fn steps() -> Vec<Step> {
    let steps = [
        Step::new("python:tests", "the tests of the wheel in a new virtual environment", tests),
        Step::new("python:mypy", "mypy reports no errors in package, tests and examples", |options| {
            types("mypy", &["--python-executable"], options)
        }),
        Step::new("python:pyright", "pyright reports no errors in package, tests and examples", |options| {
            types("pyright", &["--warnings", "--pythonpath"], options)
        }),
        Step::new("python:stubs", "the stubs match the native module", stubs),
    ];
    steps.map(|step| step.after("python:build")).into()
}

fn tests(options: &RunOptions) -> Result<Outcome> {
    if !environment::has_namespaces() {
        return Ok(Outcome::skipped(environment::NO_NAMESPACES));
    }
    if let Some(other) = ensure_built(options)? {
        return Ok(other);
    }
    let mut pytest = program(python(), ["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    // Most tests wait. Each worker has its own network.
    pytest.args(["--numprocesses", "4", "--dist", "worksteal"]);
    pytest.current_dir(crate::root().join(CRATE)).env("PYTHONDONTWRITEBYTECODE", "1");
    if options.require_all {
        pytest.env("MCAST_REQUIRE_ALL", "1");
    }
    let called = command_line(&pytest);
    let finished = finish(pytest, options.verbose)?;
    Ok(pytest_outcome(&finished, &called))
}

fn types(checker: &str, python_follows: &[&str], options: &RunOptions) -> Result<Outcome> {
    if let Some(other) = ensure_installed(options)? {
        return Ok(other);
    }
    let mut command = program(home().join("venv/bin").join(checker), python_follows);
    command.arg(python()).current_dir(crate::root().join(CRATE));
    if checker == "mypy" {
        command.arg("--cache-dir").arg(home().join("mypy"));
    }
    super::sources::check(command, options)
}

fn stubs(options: &RunOptions) -> Result<Outcome> {
    if let Some(other) = ensure_installed(options)? {
        return Ok(other);
    }
    let mut command = program(python(), ["-m", "mypy.stubtest", "pymcast"]);
    command.args(["--mypy-config-file", "pyproject.toml"]).current_dir(crate::root().join(CRATE));
    super::sources::check(command, options)
}

/// Whether this run has installed the wheel. Steps of several lanes need it, and must not write the same files at once.
static BUILT: Mutex<bool> = Mutex::new(false);

/// Installs the wheel of the current sources. Returns an outcome only if that fails.
fn ensure_built(options: &RunOptions) -> Result<Option<Outcome>> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if *built {
        return Ok(None);
    }
    let failure = install(options)?;
    *built = failure.is_none();
    Ok(failure)
}

/// The same if no wheel is installed.
fn ensure_installed(options: &RunOptions) -> Result<Option<Outcome>> {
    let built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_installed = python().exists();
    drop(built);
    if is_installed { Ok(None) } else { ensure_built(options) }
}

/// Creates a virtual environment with the wheel and the requirements of the tests. Returns an outcome only if that
/// fails.
fn install(options: &RunOptions) -> Result<Option<Outcome>> {
    if !succeeds(program("python3", ["-c", VERSION])) {
        return Ok(Some(Outcome::skipped("Python 3.10 or later is not installed (python3)")));
    }
    fs::create_dir_all(home()).with_context(|| format!("making {}", home().display()))?;
    let wheels = home().join("wheels");
    // Otherwise pip would install the newest of several wheels.
    let _ = fs::remove_dir_all(&wheels);
    let mut environment = program("python3", ["-m", "venv", "--clear"]);
    environment.arg(home().join("venv"));
    if !finish(environment, options.verbose)?.success {
        return Ok(Some(Outcome::skipped("Python's venv is not installed (Debian's python3-venv)")));
    }
    let fetched = finish(pip(&["--requirement", REQUIREMENTS]), options.verbose)?;
    if !fetched.success {
        let why = last_line(&fetched.output);
        return Ok(Some(Outcome::skipped(format!(
            "pip cannot install the requirements of the tests: {why}"
        ))));
    }
    let mut maturin = program(home().join("venv/bin/maturin"), ["build", "--quiet", "--profile", "dev"]);
    maturin.args(["--compatibility", "linux", "--interpreter"]).arg(python()).arg("--out").arg(&wheels);
    maturin
        .current_dir(crate::root().join(CRATE))
        .env("CARGO", crate::root().join("xtask/runners/maturin-cargo"));
    for command in [maturin, pip(&["--no-index", "--find-links", &wheels.to_string_lossy(), "pymcast"])] {
        let called = command_line(&command);
        let finished = finish(command, options.verbose)?;
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

/// Returns the wheel that the tests used, if they ran.
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

/// Reads the outcome from the last line of pytest: `3 failed, 186 passed, 1 skipped in 5.25s`.
fn pytest_outcome(finished: &Finished, called: &str) -> Outcome {
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
    Outcome { verdict, count, note, skips, second_attempts: Vec::new(), evidence }
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
    fn pytest_results_are_read_from_the_last_line() {
        let expected = Count { passed: 186, failed: 5, skipped: 1 };
        assert_eq!(count("3 failed, 186 passed, 1 skipped, 2 errors in 5.25s"), expected);
        assert_eq!(count("===== 186 passed, 5 failed, 1 skipped in 5s ====="), expected);
        assert_eq!(count("no tests ran in 0.01s"), Count::default());
    }

    #[test]
    fn running_no_tests_is_a_failure() {
        let output = "no tests ran in 0.01s\n".to_owned();
        let outcome = pytest_outcome(&Finished { success: true, status: String::new(), output }, "pytest");

        assert_eq!((outcome.verdict, outcome.count.failed), (Verdict::Failed, 1));
    }

    #[test]
    fn the_requirements_file_exists() {
        assert!(crate::root().join(CRATE).join(REQUIREMENTS).exists());
    }
}
