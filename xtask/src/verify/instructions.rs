//! Counts the instructions of the hot path, because times on a shared machine vary too much.

use super::environment;
use super::sources::check;
use crate::command::{cargo, program, succeeds};
use crate::step::{Outcome, Step};

pub(super) fn steps() -> Vec<Step> {
    vec![Step::new("instructions", "the hot path needs no more instructions than its limits", |options| {
        if !succeeds(program("valgrind", ["--version"])) {
            return Ok(Outcome::skipped("valgrind is not installed"));
        }
        if !environment::has_namespaces() {
            return Ok(Outcome::skipped(environment::NO_NAMESPACES));
        }
        check(
            cargo(["run", "--quiet", "--release", "--package", "mcast-bench", "--", "instructions"]),
            options,
        )
    })]
}
