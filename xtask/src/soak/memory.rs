//! What the compiler cannot prove about `unsafe` code and threads: Miri interprets the crates that ask nothing of a system,
//! sanitizers watch the tests that do.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::{finish, program, succeeds};
use crate::step::{Manner, Outcome, Step};
use crate::verify::tests;

/// They call no system, or only where features say so, and these are off.
const INTERPRETED: [&str; 5] = ["mcast-group", "mcast-packet", "mcast-probe", "mcast-watch", "mcast-stream"];

/// The tests that sanitizers watch, in nextest's language: those with sockets, threads and labs.
const WATCHED: &str = "package(mcast) & kind(test) + package(mcast-lab) & kind(test) + package(mcast-stream) & binary(networks) + package(mcast-capture) & kind(test)";
const PACKAGES: [&str; 4] = ["mcast", "mcast-lab", "mcast-stream", "mcast-capture"];

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("miri", "the crates that ask nothing of a system, interpreted by Miri", miri),
        Step::new(
            "sanitizer:address",
            "the tests with sockets and labs, watched for bad accesses",
            |manner| sanitized("address", &[], manner),
        ),
        Step::new("sanitizer:thread", "the same, watched for data races", |manner| {
            if !has_sources() {
                return Ok(Outcome::skipped(
                    "the standard library must be built for it (`rustup component add --toolchain nightly rust-src`)",
                ));
            }
            sanitized("thread", &["-Zbuild-std"], manner)
        }),
    ]
}

fn miri(manner: &Manner) -> Result<Outcome> {
    if !succeeds(nightly(&["miri", "--version"])) {
        return Ok(Outcome::skipped(
            "Miri is not installed (`rustup component add --toolchain nightly miri rust-src`)",
        ));
    }
    let mut command =
        nightly(&["miri", "test", "--no-default-features", "--lib", "--target-dir", "target/miri"]);
    command.args(INTERPRETED.iter().flat_map(|package| ["--package", package]));
    // Properties are tried with few cases: Miri is some hundred times slower.
    command.env("PROPTEST_CASES", "4").env("MIRIFLAGS", "-Zmiri-disable-isolation");
    tests::outcome(command, "Miri", manner)
}

fn sanitized(sanitizer: &str, more: &[&str], manner: &Manner) -> Result<Outcome> {
    if !succeeds(nightly(&["nextest", "--version"])) {
        return Ok(Outcome::skipped("cargo-nextest and a nightly toolchain are needed"));
    }
    let host = crate::verify::host();
    let folder = format!("target/sanitizer-{sanitizer}");
    let head = ["nextest", "run", "--cargo-quiet", "--no-fail-fast", "--all-features", "--profile", "kernel"];
    let mut command = nightly(&head);
    // With a target named, build scripts and macros are spared.
    command.args(["--target", &host, "--target-dir", &folder, "--filterset", WATCHED]).args(more);
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    command.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
    // Labs leave processes on purpose until they have ended them.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    tests::outcome(command, "nextest", manner)
}

fn has_sources() -> bool {
    let sysroot = finish(program("rustup", ["run", "nightly", "rustc", "--print", "sysroot"]), false);
    sysroot.is_ok_and(|found| Path::new(found.output.trim()).join("lib/rustlib/src").is_dir())
}

/// rustup chooses the toolchain: the cargo that runs this task is the stable one.
fn nightly(arguments: &[&str]) -> Command {
    program("rustup", ["run", "nightly", "cargo"].iter().chain(arguments))
}
