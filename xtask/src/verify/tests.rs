//! Runs tests, and reads the number of tests from their output.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::Result;

use super::built;
use super::changed::{Changed, READER};
use super::environment;
use super::skips::Skips;
use super::sources::check;
use super::{engines, specialists, variants};
use crate::command::{Finished, cargo, command_line, finish, program, succeeds};
use crate::step::{Count, Outcome, RunOptions, Step, Verdict};

/// With this variable set, tests fail instead of skipping.
const REQUIRE_ALL: &str = "MCAST_REQUIRE_ALL";

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("tests", "unit, property and lab tests", every_test),
        Step::new("doc-tests", "the examples in the documentation", doc_tests),
        Step::new("demo", "the demonstration passes", demo),
    ]
}

/// The crate of which the step `core` tests what is left without options.
const CORE: &str = "mcast-stream-proto";

/// Compiles the dependencies of its tests with other features. At each merge, clippy compiles the library without options.
pub(crate) fn core_step() -> Step {
    Step::new("core", "the protocol of messages passes its tests without its options", |options| {
        let selection = ["--package", CORE, "--no-default-features", "--lib", "--test", "core"];
        check(cargo(["test", "--quiet"].iter().chain(&selection)), options)
    })
}

/// Injects the causes that `cargo verify` leaves out.
pub(crate) fn variants_step() -> Step {
    Step::new("variants", "the doctor names each cause, however it is injected", |options| {
        if !environment::has_namespaces() {
            return Ok(Outcome::skipped(environment::NO_NAMESPACES));
        }
        run_selected(variants::filter()?, &[variants::PACKAGE], &[], options)
    })
}

/// Runs the tests of bridges that `cargo verify` leaves out.
pub(crate) fn engines_step() -> Step {
    Step::new(
        "engines",
        "bridges lose nothing when engines are killed, fail, or have several nodes",
        |options| {
            if !environment::has_namespaces() {
                return Ok(Outcome::skipped(environment::NO_NAMESPACES));
            }
            let installed = engines::install(options)?;
            if !matches!(installed.verdict, Verdict::Passed) {
                return Ok(installed);
            }
            run_selected(engines::filter(), &[engines::PACKAGE, engines::TESTED], &[], options)
        },
    )
}

/// Compares what is discovered with what other programs show.
pub(crate) fn specialists_step() -> Step {
    Step::new("specialists", "what is discovered is what the programs for each protocol show", |options| {
        beside_specialists(options, |environment| {
            run_selected(specialists::filter(), &[specialists::PACKAGE], environment, options)
        })
    })
}

/// Compares in 20 networks for each protocol, which takes longer than nextest lets a test run.
pub(crate) fn drawn_step() -> Step {
    Step::new("drawn", "what is discovered is what other programs show in 20 networks each", |options| {
        beside_specialists(options, |environment| {
            let head =
                ["test", "--quiet", "--no-fail-fast", "--all-features", "--package", specialists::PACKAGE];
            let mut command = cargo(head.iter().chain(&["--tests", "--", "drawn_by_seed", "--show-output"]));
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            command.env("MCAST_SEEDS", "20").env("MCAST_SURVEY", "1");
            // They wait most of the time, and each checks three networks at a time.
            command.env("RUST_TEST_THREADS", "4");
            outcome(command, "cargo test", options)
        })
    })
}

/// Runs tests with the programs for each protocol.
fn beside_specialists(
    options: &RunOptions,
    run: impl FnOnce(&[(&str, String)]) -> Result<Outcome>,
) -> Result<Outcome> {
    if !environment::has_namespaces() {
        return Ok(Outcome::skipped(environment::NO_NAMESPACES));
    }
    let installed = engines::install(options)?;
    if !matches!(installed.verdict, Verdict::Passed) {
        return Ok(installed);
    }
    specialists::unpack_resolved()?;
    run(&[("PATH", specialists::path()?.to_string_lossy().into_owned())])
}

/// A selection of the tests of all crates.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Suite {
    /// All tests except ignored ones, which other tests start.
    All,
    /// Unit tests.
    Unit,
    /// Integration tests, in `tests/`.
    Integration,
}

/// Returns the steps that test the selected packages, options of cargo.
pub(super) fn steps_of(packages: Vec<String>) -> Vec<Step> {
    let examples = packages.clone();
    let selected = Selected { by_nextest: packages.clone(), by_cargo: packages };
    vec![
        Step::new("tests", "unit, property and lab tests", move |options| every_test_of(&selected, options)),
        Step::new("doc-tests", "the examples in the documentation", move |options| {
            doc_tests_of(&examples, options)
        }),
    ]
}

/// Returns the steps that test the crates that a change concerns.
pub(super) fn steps_for(changed: &Changed) -> Result<Vec<Step>> {
    let selected = Selected::of(changed)?;
    let mut steps = vec![Step::new(
        "tests",
        "unit, property and lab tests of the changed crates and those above",
        move |options| every_test_of(&selected, options),
    )];
    if changed.has_examples {
        let names = changed.touched.iter().chain(&changed.above);
        let crates: String = names.map(|name| format!("{},", name.replace('-', "_"))).collect();
        steps.push(Step::new("doc-tests", "the examples in their documentation", move |options| {
            doc_tests_among(&crates, options)
        }));
    }
    if changed.touched.contains(CORE) {
        steps.push(core_step());
    }
    Ok(steps)
}

/// The packages to test, as options of the runners.
#[derive(Clone, Debug)]
struct Selected {
    by_nextest: Vec<String>,
    by_cargo: Vec<String>,
}

impl Selected {
    fn workspace() -> Self {
        Self { by_nextest: workspace(), by_cargo: workspace() }
    }

    /// nextest builds with the features of the whole workspace, as the other steps do, and runs some of it: with fewer packages, cargo
    /// would choose other features for their dependencies, and compile nearly everything a second time.
    fn of(changed: &Changed) -> Result<Self> {
        let names = changed.touched.iter().chain(&changed.above);
        let mut filters: Vec<_> = names.map(|name| format!("package(={name})")).collect();
        let mut by_cargo = changed.packages();
        if changed.has_pages {
            let (package, test) = READER;
            filters.push(format!("package(={package}) & binary(={test})"));
            // Without nextest, all tests of that crate.
            by_cargo.extend(["--package".to_owned(), package.to_owned()]);
        }
        let mut postponed = vec![specialists::filter()];
        if !changed.touched.contains(variants::PACKAGE) {
            postponed.push(variants::filter()?);
        }
        if !changed.touched.contains(engines::TESTED) {
            postponed.push(engines::filter());
        }
        for (package, programs) in &changed.left_out {
            postponed
                .extend(programs.iter().map(|program| format!("package(={package}) & binary(={program})")));
        }
        let filter = format!("({}) - ({})", filters.join(" | "), any_of(&postponed));
        let mut by_nextest = filtered(filter);
        by_nextest.extend(["--lib", "--bins"].map(str::to_owned));
        by_nextest.extend(changed.programs.iter().flat_map(|name| ["--test".to_owned(), name.clone()]));
        Ok(Self { by_nextest, by_cargo })
    }

    /// Without nextest, all tests.
    fn of_each_merge() -> Result<Self> {
        let postponed =
            [variants::filter()?, specialists::filter(), engines::filter(), LONG_FLOWS.to_owned()];
        let postponed = any_of(&postponed);
        Ok(Self { by_nextest: filtered(format!("not ({postponed})")), ..Self::workspace() })
    }
}

/// Returns a filter of nextest that selects what one of these selects.
fn any_of(filters: &[String]) -> String {
    filters.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" | ")
}

fn workspace() -> Vec<String> {
    vec!["--workspace".to_owned()]
}

/// Returns the options of nextest that select tests of the workspace by a filter.
fn filtered(filter: String) -> Vec<String> {
    [workspace(), vec!["--filterset".to_owned(), filter]].concat()
}

fn every_test(options: &RunOptions) -> Result<Outcome> {
    every_test_of(&Selected::of_each_merge()?, options)
}

/// Simulations of the automatic rate on fast links, which the step `seeds` runs. Each merge runs those on slower ones.
const LONG_FLOWS: &str = "package(mcast-stream-proto) & binary(fairness) & test(/^on_a_gigabit/)";

/// Selects half of the seeds of each simulation.
const HALF: &str = "MCAST_HALF";
/// The crates with simulations.
const SIMULATED: [&str; 8] = [
    "mcast-bridge",
    "mcast-log",
    "mcast-packet",
    "mcast-relay",
    "mcast-sim",
    "mcast-stream-proto",
    "mcast-tunnel",
    "mcast-watch",
];

/// Simulates the networks that `cargo verify` leaves out.
pub(crate) fn second_half_step() -> Step {
    Step::new("seeds", "the simulations hold for the second half of their seeds", |options| {
        let crates = SIMULATED.map(|name| format!("package({name})")).join(" | ");
        let selected = Selected {
            // The servers of engines are not simulated. The doctor's networks are drawn by seed, too.
            by_nextest: filtered(format!(
                "(({crates}) - binary(engines) - ({})) | (package({}) & binary(lab) & test(/^drawn::/))",
                specialists::filter(),
                variants::PACKAGE
            )),
            by_cargo: SIMULATED
                .iter()
                .chain([&variants::PACKAGE])
                .flat_map(|name| ["--package".to_owned(), (*name).to_owned()])
                .collect(),
        };
        run_of(&selected, Suite::All, &[(HALF, "2".to_owned())], options)
    })
}

/// Runs all tests; without network namespaces, only unit tests, because most others need labs.
fn every_test_of(selected: &Selected, options: &RunOptions) -> Result<Outcome> {
    let half = [(HALF, "1".to_owned())];
    if environment::has_namespaces() {
        return run_of(selected, Suite::All, &half, options);
    }
    let mut outcome = run_of(selected, Suite::Unit, &half, options)?;
    outcome.skips.push(format!("integration tests, most of which need labs: {}", environment::NO_NAMESPACES));
    outcome.count.skipped += 1;
    Ok(outcome)
}

/// Runs `suite` of all packages, with nextest if it is installed, with additional environment variables.
pub(crate) fn run(suite: Suite, environment: &[(&str, String)], options: &RunOptions) -> Result<Outcome> {
    run_of(&Selected::workspace(), suite, environment, options)
}

/// Runs the tests that a filter selects, which are in these packages.
pub(super) fn run_selected(
    filter: String,
    packages: &[&str],
    environment: &[(&str, String)],
    options: &RunOptions,
) -> Result<Outcome> {
    let by_cargo = packages.iter().flat_map(|package| ["--package", package]).map(str::to_owned).collect();
    run_of(&Selected { by_nextest: filtered(filter), by_cargo }, Suite::All, environment, options)
}

fn run_of(
    selected: &Selected,
    suite: Suite,
    environment: &[(&str, String)],
    options: &RunOptions,
) -> Result<Outcome> {
    let nextest = succeeds(cargo(["nextest", "--version"]));
    let mut command = match nextest {
        true => with_nextest(&selected.by_nextest, suite),
        false => with_libtest(&selected.by_cargo, suite),
    };
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    outcome(command, if nextest { "nextest" } else { "cargo test" }, options)
}

fn with_nextest(packages: &[String], suite: Suite) -> Command {
    let reporting = ["--no-fail-fast", "--status-level", "fail", "--cargo-quiet"];
    // A merge should not fail because the machine was busy for a moment. The report lists the tests that needed a second
    // attempt; `cargo soak --only runs` does not retry.
    let which: &[&str] = match suite {
        Suite::All => &["--retries", "1"],
        Suite::Unit => &["--lib", "--bins"],
        Suite::Integration => &["--test", "*"],
    };
    let head = ["nextest", "run", "--all-features"].iter();
    let mut command = cargo(head.chain(&reporting).chain(which));
    command.args(packages);
    command
}

fn with_libtest(packages: &[String], suite: Suite) -> Command {
    let which: &[&str] = match suite {
        Suite::All => &["--lib", "--bins", "--tests"],
        Suite::Unit => &["--lib", "--bins"],
        Suite::Integration => &["--test", "*"],
    };
    let mut command = cargo(["test", "--quiet", "--all-features", "--no-fail-fast"]);
    command.args(packages).args(which).args(["--", "--show-output"]);
    command
}

fn doc_tests(options: &RunOptions) -> Result<Outcome> {
    doc_tests_of(&workspace(), options)
}

fn doc_tests_of(packages: &[String], options: &RunOptions) -> Result<Outcome> {
    outcome(documentation_tests(packages), "rustdoc", options)
}

fn documentation_tests(packages: &[String]) -> Command {
    let mut command = cargo(["test", "--quiet", "--doc", "--all-features", "--no-fail-fast"]);
    command.args(packages);
    command
}

/// Runs the examples of these crates, each with a comma behind it.
fn doc_tests_among(crates: &str, options: &RunOptions) -> Result<Outcome> {
    let mut command = documentation_tests(&workspace());
    command
        .env("RUSTDOC", crate::root().join("xtask/runners/rustdoc-selected"))
        .env("MCAST_EXAMPLES", crates);
    outcome(command, "rustdoc", options)
}

fn demo(options: &RunOptions) -> Result<Outcome> {
    match built::program("mcast")? {
        Ok(mcast) => run_demo(program(mcast, ["demo"]), options),
        Err(failed) => Ok(failed),
    }
}

/// Runs the demonstration, which checks its own results.
pub(super) fn run_demo(mut command: Command, options: &RunOptions) -> Result<Outcome> {
    demand_all(&mut command, options);
    check(command, options)
}

/// Runs a test runner, and reads the outcome from its output.
pub(crate) fn outcome(mut command: Command, runner: &str, options: &RunOptions) -> Result<Outcome> {
    demand_all(&mut command, options);
    let called = command_line(&command);
    let skips = Skips::of(&mut command)?;
    let finished = finish(command, options.verbose)?;
    let reasons = skips.read()?;
    let count = count(&finished, reasons.len());
    let evidence = format!("`{called}`:\n{}", evidence(&finished));
    if finished.success && count == Count::default() {
        return Ok(Outcome::failed("found no tests", evidence));
    }
    let note = match (finished.success, finished.output.lines().any(is_summary)) {
        (true, _) => format!("{} tests by {runner}", count.passed),
        (false, true) => format!("{} of {} tests by {runner}", count.failed, count.failed + count.passed),
        (false, false) => format!("no tests ran: {}", finished.status),
    };
    let verdict = if finished.success { Verdict::Passed } else { Verdict::Failed };
    let second_attempts = second_attempts(&finished.output);
    Ok(Outcome { verdict, count, note, skips: tallied(reasons), second_attempts, evidence })
}

fn demand_all(command: &mut Command, options: &RunOptions) {
    if options.require_all {
        command.env(REQUIRE_ALL, "1");
    }
}

/// Returns the tests that passed only at the second attempt, from nextest's lines
/// `FLAKY 2/2 [   0.353s] (17/1960) mcast-lab::lab switches::forgets`.
fn second_attempts(output: &str) -> Vec<String> {
    let lines = output.lines().filter(|line| line.trim_start().starts_with("FLAKY "));
    let names = lines.filter_map(|line| {
        let mut words = line.split_whitespace().rev();
        let (test, binary) = (words.next()?, words.next()?);
        Some(format!("{binary} {test}"))
    });
    // nextest names them as they pass, and again in its summary.
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Each reason once, with the number of tests that gave it.
fn tallied(reasons: Vec<String>) -> Vec<String> {
    let mut tally = BTreeMap::new();
    for reason in reasons {
        *tally.entry(reason).or_insert(0) += 1;
    }
    tally.into_iter().map(|(reason, tests)| format!("{reason} ({tests} tests)")).collect()
}

/// Adds up the summary lines of the runners. A run that failed without a failed test, such as a compile error, is one
/// failure.
fn count(finished: &Finished, skipped: usize) -> Count {
    let mut count = Count { skipped, ..Count::default() };
    for line in finished.output.lines().filter(|line| is_summary(line)) {
        count.passed += number_before(line, "passed");
        count.failed += ["failed", "timed out", "exec failed"]
            .iter()
            .map(|word| number_before(line, word))
            .sum::<usize>();
    }
    if !finished.success && count.failed == 0 {
        count.failed = 1;
    }
    count.passed = count.passed.saturating_sub(skipped);
    count
}

fn is_summary(line: &str) -> bool {
    let nextest = line.trim_start().starts_with("Summary [") && line.contains(" run: ");
    // An indented line is from a nested libtest, and already counted.
    nextest || line.starts_with("test result: ")
}

/// Returns the number before `word`, as in `12 passed`, or 0.
fn number_before(line: &str, word: &str) -> usize {
    let parts = line.split([',', ';', '.', ':']).map(str::trim);
    let number = |part: &str| part.split_once(word)?.0.trim().parse().ok();
    parts.filter_map(number).next().unwrap_or(0)
}

/// Returns nextest's output up to its summary; the rest is the output of passed tests.
fn evidence(finished: &Finished) -> String {
    let lines: Vec<_> = finished.output.lines().collect();
    let end = lines.iter().position(|line| line.trim_start().starts_with("Summary ["));
    lines[..end.map_or(lines.len(), |end| end + 1)].join("\n") + "\n"
}

#[cfg(test)]
mod checks {
    use super::*;

    fn finished(success: bool, output: &str) -> Finished {
        Finished { success, status: String::new(), output: output.to_owned() }
    }

    /// nextest ignores an override whose filter matches nothing.
    #[test]
    fn overrides_name_tests_that_exist() {
        let config = std::fs::read_to_string(crate::root().join(".config/nextest.toml")).unwrap();
        let names: Vec<&str> =
            config.split("test(=").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(!names.is_empty());
        for name in names {
            // The name may have the module before it.
            let name = name.rsplit("::").next().unwrap_or(name);
            let found = crate::command::succeeds(crate::command::program(
                "git",
                ["grep", "--quiet", &format!("fn {name}()"), "--", "crates"],
            ));
            assert!(found, "there is no test {name}");
        }
    }

    #[test]
    fn the_second_half_of_all_seeds_is_simulated() {
        let drawing = "for_seeds\\(|mcast_sim::seeds\\(";
        let search = ["grep", "--files-with-matches", "--extended-regexp", drawing, "--", "crates/*.rs"];
        let found = finish(crate::command::program("git", search), false).unwrap();
        let crates: BTreeSet<_> = found.output.lines().filter_map(|path| path.split('/').nth(2)).collect();

        assert_eq!(crates, BTreeSet::from(SIMULATED));
    }

    /// rustdoc ignores the examples of a crate without `doctest`.
    #[test]
    fn crates_without_documentation_tests_have_no_examples() {
        let git =
            |arguments: &[&str]| finish(crate::command::program("git", arguments), false).unwrap().output;
        let manifests = git(&["grep", "--files-with-matches", "^doctest = false", "--", "crates"]);
        assert!(manifests.lines().count() > 1, "{manifests}");
        for manifest in manifests.lines() {
            let sources = manifest.replace("Cargo.toml", "src");
            let examples = git(&["grep", "-E", "//[/!].*```", "--", &sources]);
            assert_eq!(examples, "", "{manifest}");
        }
    }

    #[test]
    fn tests_that_needed_a_second_attempt_are_named() {
        let output = "   Summary [ 3.1s] 2 tests run: 2 passed (1 flaky), 0 skipped\n\
                      \u{20}  FLAKY 2/2 [   0.353s] (2/2) mcast-lab::lab switches::forgets\n";
        assert_eq!(second_attempts(output), ["mcast-lab::lab switches::forgets"]);
        assert_eq!(second_attempts(&output.repeat(2)), second_attempts(output));
        assert_eq!(second_attempts("        PASS [   0.1s] (1/1) mcast lib\n"), [""; 0]);
        assert_eq!(count(&finished(true, output), 0).passed, 2);
    }

    #[test]
    fn nextest_results_are_read_from_its_summary() {
        let output = "    test result: ok. 1 passed; 0 failed; 0 ignored\n\
                      ────\n     Summary [   0.115s] 9 tests run: 5 passed (1 slow), 3 failed, 1 timed out, 1 skipped\n";

        let count = count(&finished(false, output), 0);

        assert_eq!(count, Count { passed: 5, failed: 4, skipped: 0 });
    }

    #[test]
    fn libtest_results_of_all_binaries_are_added() {
        let output = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.07s\n\
                      test result: FAILED. 10 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s\n";

        let count = count(&finished(false, output), 0);

        assert_eq!(count, Count { passed: 12, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_run_that_did_not_compile_is_one_failure() {
        assert_eq!(count(&finished(false, "error: no such crate\n"), 0).failed, 1);
    }

    #[test]
    fn a_reason_to_skip_is_reported_once() {
        let reasons = ["socat is not installed", "no lab", "socat is not installed"];

        let tally = tallied(reasons.map(str::to_owned).into());

        assert_eq!(tally, ["no lab (1 tests)", "socat is not installed (2 tests)"]);
    }

    #[test]
    fn the_evidence_ends_with_the_summary() {
        let output = "FAIL one\n  Summary [ 1s] 2 tests run: 1 passed, 1 failed\nPASS two\n";

        assert_eq!(
            evidence(&finished(false, output)),
            "FAIL one\n  Summary [ 1s] 2 tests run: 1 passed, 1 failed\n"
        );
    }
}
