//! The instructions of the hot path, which are counted because times on a shared machine vary too much.

use anyhow::Result;

use super::sources::check;
use super::{built, environment};
use crate::command::{cargo, program, succeeds};
use crate::step::{Lane, Outcome, RunOptions, Step};

/// Returns the step that builds the program whose instructions are counted: the only step that compiles with the
/// profile `measured`.
pub(crate) fn build_step() -> Step {
    Step::new("instructions:build", "the program whose instructions are counted compiles", |options| {
        check(cargo(["build", "--quiet", "--profile", "measured", "--package", "hot-path"]), options)
    })
    .on(Lane::Beside)
}

/// Returns the step that counts them.
pub(crate) fn step() -> Step {
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
    match built::program("mcast-bench")? {
        Ok(bench) => check(program(bench, ["instructions"]), options),
        Err(failed) => Ok(failed),
    }
}
