//! The hot path's instructions: counted, since times on a shared machine say little.

use super::environment;
use super::sources::check;
use crate::command::{cargo, program, succeeds};
use crate::step::{Outcome, Step};

pub(super) fn steps() -> Vec<Step> {
    vec![Step::new("instructions", "the hot path takes no more instructions than it did", |manner| {
        if !succeeds(program("valgrind", ["--version"])) {
            return Ok(Outcome::skipped("valgrind is not installed, which counts instructions"));
        }
        if !environment::has_namespaces() {
            return Ok(Outcome::skipped(environment::NO_NAMESPACES));
        }
        check(
            cargo(["run", "--quiet", "--release", "--package", "mcast-bench", "--", "instructions"]),
            manner,
        )
    })]
}
