//! Checks of `unsafe` code and threads: Miri interprets the crates that make no system calls, and sanitizers run the
//! tests of those that do.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{finish, program, succeeds};
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::tests;

/// Crates that make no system calls with default features off.
const INTERPRETED: [&str; 6] =
    ["mcast-group", "mcast-packet", "mcast-measure", "mcast-watch", "mcast-stream-proto", "mcast-relay"];

/// The tests to run with sanitizers, as a nextest filterset: those with sockets, threads and labs.
const SANITIZED: &str = "package(mcast) & kind(test) + package(mcast-lab) & kind(test) + package(mcast-stream) & binary(networks) + package(mcast-capture) & kind(test)";
const PACKAGES: [&str; 4] = ["mcast", "mcast-lab", "mcast-stream", "mcast-capture"];

/// Reports to ThreadSanitizer what the standard library synchronizes, where that was built without it.
const SYNCHRONIZATION: &str = "xtask/src/soak/synchronization.c";
const SUPPRESSIONS: &str = "xtask/src/soak/thread-sanitizer.txt";

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("miri", "the tests of crates without system calls, interpreted by Miri", miri),
        Step::new("sanitizer:address", "the tests with sockets and labs, with AddressSanitizer", |options| {
            sanitized("address", &[], &[], options)
        }),
        Step::new("sanitizer:thread", "the tests with sockets and labs, with ThreadSanitizer", |options| {
            match has_sources() {
                true => sanitized("thread", &["-Zbuild-std"], &[], options),
                false => without_sources(options),
            }
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

fn sanitized(sanitizer: &str, more: &[&str], flags: &[String], options: &RunOptions) -> Result<Outcome> {
    if !succeeds(nightly(&["nextest", "--version"])) {
        return Ok(Outcome::skipped("cargo-nextest and a nightly toolchain are needed"));
    }
    let host = crate::verify::host();
    let folder = folder(sanitizer);
    let head = ["nextest", "run", "--cargo-quiet", "--no-fail-fast", "--all-features", "--profile", "kernel"];
    let mut command = nightly(&head);
    // With an explicit target, RUSTFLAGS do not apply to build scripts and procedural macros.
    command.args(["--target", &host, "--target-dir", &folder, "--filterset", SANITIZED]).args(more);
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    command.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer} {}", flags.join(" ")));
    // Labs intentionally leave processes running until they stop them.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    command.env("TSAN_OPTIONS", format!("suppressions={}", absolute(SUPPRESSIONS)?.display()));
    tests::outcome(command, "nextest", options)
}

/// Runs ThreadSanitizer with a standard library that was built without it.
fn without_sources(options: &RunOptions) -> Result<Outcome> {
    let Some(name) = symbol_of_std()? else {
        return Ok(Outcome::skipped(
            "it needs a nightly toolchain for x86-64 Linux whose standard library it knows, or one with its sources \
             (`rustup component add --toolchain nightly rust-src`)",
        ));
    };
    std::fs::create_dir_all(folder("thread"))?;
    let object = absolute(&folder("thread"))?.join("synchronization.o");
    let mut compiler = program("cc", [format!("-DCRATE=\"{name}\""), "-c".into(), SYNCHRONIZATION.into()]);
    finish(
        {
            compiler.arg("-o").arg(&object);
            compiler
        },
        false,
    )?;
    let symbols = finish(
        program("nm", ["--defined-only"].map(OsStr::new).into_iter().chain([object.as_os_str()])),
        false,
    )?;
    let wrapped = symbols.output.split_whitespace().filter_map(|word| word.strip_prefix("__wrap_"));
    let mut flags: Vec<String> = wrapped.map(|symbol| format!("-Clink-arg=-Wl,--wrap={symbol}")).collect();
    flags.push(format!("-Clink-arg={}", object.display()));
    flags.push("-Cunsafe-allow-abi-mismatch=sanitizer".into());
    sanitized("thread", &[], &flags, options)
}

/// Returns how the nightly toolchain's standard library is called in symbols; `None` if it lacks a function that
/// [`SYNCHRONIZATION`] wraps.
fn symbol_of_std() -> Result<Option<String>> {
    let libraries = sysroot()?.join("lib/rustlib/x86_64-unknown-linux-gnu/lib");
    let Ok(entries) = std::fs::read_dir(libraries) else { return Ok(None) };
    let is_std = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("libstd-") && name.ends_with(".so")
    };
    let Some(library) = entries.flatten().map(|entry| entry.path()).find(is_std) else { return Ok(None) };
    let options = ["--dynamic", "--defined-only"].map(OsStr::new);
    let symbols = finish(program("nm", options.into_iter().chain([library.as_os_str()])), false)?.output;
    let (before, after) = ("_RNvMNtNtNtNt", "3sys4sync5mutex5futexNtB2_5Mutex14lock_contended");
    let name = symbols.split_whitespace().find_map(|symbol| symbol.strip_prefix(before)?.strip_suffix(after));
    let source = std::fs::read_to_string(SYNCHRONIZATION)?;
    let has_all = source
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.rsplit('"').nth(1))
        .filter(|end| end.contains("NtB"))
        .all(|end| symbols.contains(end));
    Ok(name.filter(|_| has_all).map(String::from))
}

fn has_sources() -> bool {
    sysroot().is_ok_and(|sysroot| sysroot.join("lib/rustlib/src").is_dir())
}

fn sysroot() -> Result<PathBuf> {
    let found = finish(program("rustup", ["run", "nightly", "rustc", "--print", "sysroot"]), false)?;
    Ok(found.output.trim().into())
}

fn folder(sanitizer: &str) -> String {
    format!("target/sanitizer-{sanitizer}")
}

fn absolute(path: &str) -> Result<PathBuf> {
    Ok(std::env::current_dir()?.join(path))
}

/// Uses rustup to select the toolchain, because the cargo that runs this task is the stable one.
fn nightly(arguments: &[&str]) -> Command {
    program("rustup", ["run", "nightly", "cargo"].iter().chain(arguments))
}
