//! Checks of dependencies: their licences, their sources, and which crate may use which.

use anyhow::Result;

use super::sources::check;
use crate::command::{cargo, succeeds};
use crate::step::{Outcome, RunOptions, Step};

pub(super) fn steps() -> Vec<Step> {
    vec![Step::new("deny", "licences and sources of dependencies, and dependencies between our crates", deny)]
}

/// Does not check advisories, which `cargo soak` does: that needs the network, and a merge must not fail because an
/// advisory was published overnight.
fn deny(options: &RunOptions) -> Result<Outcome> {
    if !succeeds(cargo(["deny", "--version"])) {
        return Ok(Outcome::skipped("cargo-deny is not installed (`cargo install --locked cargo-deny`)"));
    }
    let what = ["bans", "licenses", "sources"].iter();
    let mut outcome = check(cargo(["deny", "check", "--hide-inclusion-graph"].iter().chain(what)), options)?;
    if outcome.note.is_empty() {
        outcome.note = "cargo soak checks advisories".to_owned();
    }
    Ok(outcome)
}
