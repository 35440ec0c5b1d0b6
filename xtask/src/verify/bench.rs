//! Checks of the comparison with peers, which is a workspace of its own: its lints, its tests, and the instructions of
//! the hot path, which are counted because times on a shared machine vary too much.

use anyhow::Result;

use super::sources::{check, clippy};
use super::{environment, tests};
use crate::command::{cargo, program, succeeds};
use crate::step::{Lane, Outcome, RunOptions, Step};

/// Selects the workspace; it shares the target directory.
const BENCH: [&str; 4] = ["--manifest-path", "bench/Cargo.toml", "--target-dir", "target"];

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("bench-format", "the comparison with peers is formatted", |options| {
            check(cargo(["fmt", "--all", "--manifest-path", BENCH[1], "--check"]), options)
        }),
        Step::new("bench-clippy", "no warning there, and bench/Cargo.lock is up to date", |options| {
            check(clippy(&[&BENCH[..], &["--locked", "--workspace", "--all-targets"]].concat()), options)
        }),
        Step::new("bench-tests", "its tests", |options| {
            if !environment::has_namespaces() {
                return Ok(Outcome::skipped(environment::NO_NAMESPACES));
            }
            tests::outcome(cargo(["test", "--quiet"].iter().chain(&BENCH)), "cargo test", options)
        }),
    ]
}

/// Returns the step that builds the program whose instructions are counted: the only step that compiles with the
/// profile `release`.
pub(super) fn build_step() -> Step {
    Step::new("instructions:build", "the program whose instructions are counted compiles", |options| {
        let package = ["build", "--quiet", "--release", "--package", "hot-path"];
        check(cargo(package.iter().chain(&BENCH)), options)
    })
    .on(Lane::Beside)
}

/// Returns the step that counts them.
pub(super) fn instructions_step() -> Step {
    let about = "the hot path needs no more instructions than its limits";
    Step::new("instructions", about, instructions).after("instructions:build")
}

fn instructions(options: &RunOptions) -> Result<Outcome> {
    if !succeeds(program("valgrind", ["--version"])) {
        return Ok(Outcome::skipped("valgrind is not installed"));
    }
    if !environment::has_namespaces() {
        return Ok(Outcome::skipped(environment::NO_NAMESPACES));
    }
    let guard =
        ["run", "--quiet", "--package", "mcast-bench"].iter().chain(&BENCH).chain(&["--", "instructions"]);
    check(cargo(guard), options)
}
