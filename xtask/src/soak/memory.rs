//! Checks of `unsafe` code and threads: Miri interprets the crates that make no system calls, and sanitizers run the
//! tests of those that do.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::{finish, program, succeeds};
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::tests;

/// Crates that make no system calls with default features off.
const INTERPRETED: [&str; 7] = [
    "mcast-group",
    "mcast-packet",
    "mcast-measure",
    "mcast-watch",
    "mcast-stream-proto",
    "mcast-mold",
    "mcast-relay",
];

/// The tests to run with sanitizers, as a nextest filterset: those with sockets, threads and labs.
const SANITIZED: &str = "package(mcast) & kind(test) + package(mcast-lab) & kind(test) + package(mcast-stream) & binary(networks) + package(mcast-mold) & kind(test) + package(mcast-capture) & kind(test)";
const PACKAGES: [&str; 5] = ["mcast", "mcast-lab", "mcast-stream", "mcast-mold", "mcast-capture"];

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("miri", "the tests of crates without system calls, interpreted by Miri", miri),
        Step::new("sanitizer:address", "the tests with sockets and labs, with AddressSanitizer", |options| {
            sanitized("address", &[], options)
        }),
        Step::new("sanitizer:thread", "the tests with sockets and labs, with ThreadSanitizer", |options| {
            if !has_sources() {
                return Ok(Outcome::skipped(
                    "it has to build the standard library (`rustup component add --toolchain nightly rust-src`)",
                ));
            }
            sanitized("thread", &["-Zbuild-std"], options)
        }),
    ]
}

fn miri(options: &RunOptions) -> Result<Outcome> {
    if !succeeds(nightly(&["miri", "--version"])) {
        return Ok(Outcome::skipped(
            "Miri is not installed (`rustup component add --toolchain nightly miri rust-src`)",
        ));
    }
    let mut command =
        nightly(&["miri", "test", "--no-default-features", "--lib", "--target-dir", "target/miri"]);
    command.args(INTERPRETED.iter().flat_map(|package| ["--package", package]));
    // Few cases, because Miri is about a hundred times slower.
    command.env("PROPTEST_CASES", "4").env("MIRIFLAGS", "-Zmiri-disable-isolation");
    tests::outcome(command, "Miri", options)
}

fn sanitized(sanitizer: &str, more: &[&str], options: &RunOptions) -> Result<Outcome> {
    if !succeeds(nightly(&["nextest", "--version"])) {
        return Ok(Outcome::skipped("cargo-nextest and a nightly toolchain are needed"));
    }
    let host = crate::verify::host();
    let folder = format!("target/sanitizer-{sanitizer}");
    let head = ["nextest", "run", "--cargo-quiet", "--no-fail-fast", "--all-features", "--profile", "kernel"];
    let mut command = nightly(&head);
    // With an explicit target, RUSTFLAGS do not apply to build scripts and procedural macros.
    command.args(["--target", &host, "--target-dir", &folder, "--filterset", SANITIZED]).args(more);
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    command.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
    // Labs intentionally leave processes running until they stop them.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    tests::outcome(command, "nextest", options)
}

fn has_sources() -> bool {
    let sysroot = finish(program("rustup", ["run", "nightly", "rustc", "--print", "sysroot"]), false);
    sysroot.is_ok_and(|found| Path::new(found.output.trim()).join("lib/rustlib/src").is_dir())
}

/// Uses rustup to select the toolchain, because the cargo that runs this task is the stable one.
fn nightly(arguments: &[&str]) -> Command {
    program("rustup", ["run", "nightly", "cargo"].iter().chain(arguments))
}
