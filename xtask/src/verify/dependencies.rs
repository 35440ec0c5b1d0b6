//! Checks of dependencies: their licences, their sources, and which crate may use which.

use anyhow::Result;

use super::sources::check;
use crate::command::{cargo, rustup, succeeds};
use crate::step::{Outcome, RunOptions, Step, Verdict};
use crate::{circles, products};

/// Those that compile nothing.
pub(super) fn of_text() -> Vec<Step> {
    vec![
        Step::new("arrows", "every crate is in a product, and uses only what its product may use", |_| {
            Ok(match products::check_arrows() {
                Ok(()) => Outcome::passed(""),
                Err(error) => Outcome::failed("see xtask/src/products.rs", format!("{error:#}\n")),
            })
        }),
        Step::new("circles", "no files import each other, except a module and those inside it", |_| {
            Ok(match circles::check() {
                Ok(()) => Outcome::passed(""),
                Err(error) => Outcome::failed("break the circle", format!("{error:#}\n")),
            })
        }),
        Step::new("package", "the published crates can be packaged", package),
        Step::new("deny", "licences and sources of dependencies, and dependencies between our crates", deny),
    ]
}

/// Compiles all dependencies with another compiler. At each merge, clippy reports what is newer in the standard library.
pub(crate) fn minimum_version_step() -> Step {
    Step::new("msrv", "the published crates compile with the minimum version of Rust", minimum_version)
}

fn minimum_version(options: &RunOptions) -> Result<Outcome> {
    let version = products::minimum_version()?;
    if !succeeds(rustup(&["run", &version, "cargo", "--version"])) {
        return Ok(Outcome::unsupported(format!(
            "Rust {version} is not installed (`rustup toolchain install {version} --profile minimal`)"
        )));
    }
    let mut command = rustup(&["run", &version, "cargo", "check", "--quiet", "--locked", "--all-features"]);
    for name in products::published()? {
        command.args(["--package", &name]);
    }
    // In a folder of its own: cargo would compile everything again after another compiler.
    command.env("CARGO_TARGET_DIR", crate::root().join("target/msrv"));
    check(command, options)
}

/// Packages them without compiling the packages, which takes minutes. Cargo puts them in order, and refuses what a registry
/// would refuse: a dependency that is not published, or one without a version.
fn package(options: &RunOptions) -> Result<Outcome> {
    let mut command = cargo(["package", "--quiet", "--offline", "--no-verify", "--allow-dirty"]);
    for name in products::published()? {
        command.args(["--package", &name]);
    }
    check(command, options)
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
