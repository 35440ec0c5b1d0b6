//! What the dependencies may be: their licences, where they come from, which crate may use which.

use anyhow::Result;

use super::sources::check;
use crate::command::{cargo, succeeds};
use crate::step::{Manner, Outcome, Step};

pub(super) fn steps() -> Vec<Step> {
    vec![Step::new("deny", "dependencies' licences and sources, and the arrows between our crates", deny)]
}

/// Advisories are left to `cargo soak`: their database lives on the network, and a landing must not
/// fail because of what was published about a dependency overnight.
fn deny(manner: &Manner) -> Result<Outcome> {
    if !succeeds(cargo(["deny", "--version"])) {
        return Ok(Outcome::skipped("cargo-deny is not installed (`cargo install --locked cargo-deny`)"));
    }
    let what = ["bans", "licenses", "sources"].iter();
    let mut outcome = check(cargo(["deny", "check", "--hide-inclusion-graph"].iter().chain(what)), manner)?;
    if outcome.note.is_empty() {
        outcome.note = "advisories are checked by cargo soak, which may use the network".to_owned();
    }
    Ok(outcome)
}
