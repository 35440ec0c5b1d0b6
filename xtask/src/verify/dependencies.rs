//! Checks of dependencies: their licences, their sources, and which crate may use which.

use anyhow::Result;

use super::sources::check;
use crate::command::{cargo, succeeds};
use crate::step::{Outcome, RunOptions, Step, Verdict};

/// The workspaces whose dependencies `deny.toml` judges: the product, and the comparison with peers.
pub(crate) const MANIFESTS: [&str; 2] = ["Cargo.toml", "bench/Cargo.toml"];

pub(super) fn steps() -> Vec<Step> {
    vec![Step::new("deny", "licences and sources of dependencies, and dependencies between our crates", deny)]
}

/// Does not check advisories, which `cargo soak` does: that needs the network, and a merge must not fail because an
/// advisory was published overnight.
fn deny(options: &RunOptions) -> Result<Outcome> {
    if !succeeds(cargo(["deny", "--version"])) {
        return Ok(Outcome::skipped("cargo-deny is not installed (`cargo install --locked cargo-deny`)"));
    }
    for manifest in MANIFESTS {
        let head = ["deny", "--manifest-path", manifest, "check", "--hide-inclusion-graph"];
        let outcome = check(cargo(head.iter().chain(&["bans", "licenses", "sources"])), options)?;
        if outcome.verdict != Verdict::Passed {
            return Ok(outcome);
        }
    }
    Ok(Outcome::passed("cargo soak checks advisories"))
}
