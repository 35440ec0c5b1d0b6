//! What holds for the sources as text: lock file, layout, lints, documentation.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, finish, program, succeeds, words};
use crate::step::{Manner, Outcome, Step};

/// The fuzz targets are a workspace of their own.
const FUZZ: &str = "fuzz/Cargo.toml";

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("lock", "Cargo.lock is what the manifests ask for", |manner| {
            check(cargo(["tree", "--locked", "--workspace", "--depth", "0"]), manner)
        }),
        Step::new("format", "cargo fmt changes nothing", |manner| {
            check(cargo(["fmt", "--all", "--check"]), manner)
        }),
        Step::new("fuzz-format", "cargo fmt changes nothing in the fuzz targets", |manner| {
            check(cargo(["fmt", "--manifest-path", FUZZ, "--check"]), manner)
        }),
        Step::new("clippy", "no warning in any target of any crate, all features on", |manner| {
            check(clippy(&["--workspace", "--all-targets", "--all-features"]), manner)
        }),
        Step::new("clippy-plain", "no warning in the library with its features off", |manner| {
            check(clippy(&["--package", "mcast", "--all-targets", "--no-default-features"]), manner)
        }),
        Step::new("fuzz-clippy", "no warning in the fuzz targets", fuzz_targets),
        Step::new("registry", "the tables of registered groups are made from the files kept here", |_| {
            Ok(match crate::registry::check() {
                Ok(()) => Outcome::passed(""),
                Err(error) => {
                    Outcome::failed("`cargo xtask registry` makes them anew", format!("{error:#}\n"))
                }
            })
        }),
        Step::new("language", "no banned name or phrase, and no public name twice", |_| {
            let complaints = crate::language::check()?;
            Ok(match complaints.is_empty() {
                true => Outcome::passed(""),
                false => Outcome::failed("`cargo xtask language --list` shows the places", complaints + "\n"),
            })
        }),
        Step::new("doc", "the documentation builds without a warning", |manner| {
            check(documentation(), manner)
        }),
    ]
}

/// Clippy with every warning an error; `what` says on which packages and targets.
pub(super) fn clippy(what: &[&str]) -> Command {
    let head = ["clippy", "--quiet", "--keep-going"].iter();
    cargo(head.chain(what).chain(&["--", "--deny", "warnings"]))
}

fn fuzz_targets(manner: &Manner) -> Result<Outcome> {
    if !succeeds(program("c++", ["--version"])) {
        return Ok(Outcome::skipped("no C++ compiler is installed, and libFuzzer is C++"));
    }
    check(clippy(&["--manifest-path", FUZZ, "--target-dir", "target/fuzz"]), manner)
}

/// Runs `command`; its status is the verdict, its output the evidence.
pub(super) fn check(command: Command, manner: &Manner) -> Result<Outcome> {
    let called = words(&command);
    let finished = finish(command, manner.verbose)?;
    Ok(match finished.success {
        true => Outcome::passed(""),
        false => Outcome::failed(finished.status, format!("`{called}`:\n{}", finished.output)),
    })
}

fn documentation() -> Command {
    let mut command = cargo(["doc", "--quiet", "--workspace", "--no-deps", "--all-features"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    command
}
