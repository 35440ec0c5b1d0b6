//! The other systems: everything compiles for them, and lints clean.

use super::sources::{check, clippy};
use crate::command::{cargo, finish};
use crate::step::{Outcome, Step, Verdict};
use crate::target;

/// Systems that the whole workspace is built for.
const SYSTEMS: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "x86_64-pc-windows-gnu",
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
    "aarch64-linux-android",
];

/// What only ever runs on the machine it was built on.
const STAYS_HERE: [&str; 2] = ["xtask", "mcast-bench"];

/// What has ciphers, directly or not. They are made of C and assembly, which needs a compiler for each target, so
/// these are built without them.
const HAS_CIPHERS: [&str; 3] = ["mcast-stream", "mcast-cli", "mcast-python"];

/// A target without an operating system, for the crates that need none.
const BARE_METAL: &str = "thumbv7em-none-eabi";
const NO_STD_CRATES: [&str; 3] = ["mcast-group", "mcast-packet", "mcast-stream"];

pub(super) fn steps() -> Vec<Step> {
    // The host is left out: the step `clippy` has checked more of it than this would.
    let systems = SYSTEMS.into_iter().filter(|system| *system != host());
    let whole = systems.map(|target| {
        let others = STAYS_HERE.iter().chain(&HAS_CIPHERS).flat_map(|package| ["--exclude", package]);
        let head = ["--workspace", "--lib", "--bins", "--all-features"];
        step(target, "all crates compile, and lint clean", head.into_iter().chain(others).collect())
    });
    let packages = NO_STD_CRATES.iter().flat_map(|package| ["--package", package]);
    let bare = step(
        BARE_METAL,
        "the no_std crates compile without an operating system",
        packages.chain(["--lib", "--no-default-features"]).collect(),
    );
    whole.chain([bare]).collect()
}

fn step(target: &'static str, about: &str, packages: Vec<&'static str>) -> Step {
    Step::new(format!("cross:{target}"), about, move |manner| {
        if !target::is_there_or_added(target) {
            return Ok(Outcome::skipped(format!("rustup has not, and could not add, the target {target}")));
        }
        // Clippy does all that `cargo check` does, and then its lints.
        let whole = check(clippy(&[&["--target", target], packages.as_slice()].concat()), manner)?;
        if target == BARE_METAL || whole.verdict != Verdict::Passed {
            return Ok(whole);
        }
        let packages = HAS_CIPHERS.iter().flat_map(|package| ["--package", package]);
        let head = [
            "--target",
            target,
            "--lib",
            "--bins",
            "--no-default-features",
            "--features",
            "mcast-stream/std",
        ];
        check(clippy(&head.into_iter().chain(packages).collect::<Vec<_>>()), manner)
    })
}

/// The target that the compiler builds for by itself.
pub(super) fn host() -> String {
    let version = finish(cargo(["--version", "--verbose"]), false).map(|finished| finished.output);
    let version = version.unwrap_or_default();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
}
