//! Checks of dependencies: their licences, their sources, and which crate may use which.

use anyhow::Result;

use super::sources::check;
use crate::command::{cargo, succeeds};
use crate::products;
use crate::step::{Outcome, RunOptions, Step, Verdict};

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("arrows", "every crate is in a product, and uses only what its product may use", |_| {
            Ok(match products::check_arrows() {
                Ok(()) => Outcome::passed(""),
                Err(error) => Outcome::failed("see xtask/src/products.rs", format!("{error:#}\n")),
            })
        }),
        Step::new("deny", "licences and sources of dependencies, and dependencies between our crates", deny),
    ]
}

/// Does not check advisories, which `cargo soak` does: that needs the network, and a merge must not fail because an
/// advisory was published overnight.
fn deny(options: &RunOptions) -> Result<Outcome> {
    if !succeeds(cargo(["deny", "--version"])) {
        return Ok(Outcome::skipped("cargo-deny is not installed (`cargo install --locked cargo-deny`)"));
    }
    let checks = ["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    let outcome = check(cargo(checks), options)?;
    Ok(match outcome.verdict {
        Verdict::Passed => Outcome::passed("cargo soak checks advisories"),
        _ => outcome,
    })
}
