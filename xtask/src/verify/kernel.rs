//! Runs tests on a second kernel: Debian's, in an emulated machine that reads the files of this one.

mod judge;
mod machine;
mod system;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{environment, ordinary_user};
use crate::command::{cargo, command_line, finish, program};
use crate::step::{Outcome, RunOptions, Step};
use judge::Listed;
use system::System;

/// Tests to run there.
struct Suite {
    name: &'static str,
    /// A filterset of nextest.
    tests: &'static str,
    /// Whether it selects the ignored tests.
    ignored: bool,
    /// Whether the tests connect their hosts by network cards of the machine.
    cables: bool,
}

const SUITES: [Suite; 3] = [
    Suite {
        name: "common",
        // Without the test that measures how fast a lab is, which says nothing about an emulated processor. Of the
        // doctor's tests, those of healthy networks and those that depend on what the kernel reports about its bridges and
        // drops: each takes about a minute there. Without what takes datagrams off the interface: before Linux 6.8, veth
        // removes VLAN tags and does not report them, so that nothing is taken.
        tests: "package(mcast) & binary(contract) - test(/(^|::)wire::/) + package(mcast-lab) & kind(test) - test(=hosts::four_hosts_are_ready_in_less_than_a_second) + package(mcast-stream) & binary(networks) + package(mcast-doctor) & binary(lab) & test(/^(healthy|unusual|depth|drops|boxes)::/)",
        ignored: false,
        cables: false,
    },
    // The kernel of this machine may not support these.
    Suite {
        name: "interfaces",
        tests: "package(mcast-doctor) & binary(links) + package(mcast-stream) & binary(netem)",
        ignored: true,
        cables: false,
    },
    Suite { name: "virtio-net", tests: "package(mcast) & binary(contract)", ignored: false, cables: true },
];

/// The packages with these tests.
const PACKAGES: [&str; 4] = ["mcast", "mcast-lab", "mcast-stream", "mcast-doctor"];

/// The environment variable with a nextest filterset that limits the tests of all suites.
const ONLY: &str = "MCAST_KERNEL_TESTS";

impl Suite {
    /// Returns the filterset of the tests to run.
    fn filterset(&self) -> String {
        match std::env::var(ONLY) {
            Ok(only) => format!("({}) & ({only})", self.tests),
            Err(_) => self.tests.to_owned(),
        }
    }

    /// The value of nextest's option `--run-ignored`.
    fn run_ignored(&self) -> &'static str {
        if self.ignored { "only" } else { "default" }
    }
}

/// Returns the step, which takes several minutes.
pub(crate) fn step() -> Step {
    Step::new("kernel", "the tests pass on Debian's kernel, with all kinds of interfaces and netem", outcome)
}

fn outcome(options: &RunOptions) -> Result<Outcome> {
    let home = crate::root().join("target/kernel");
    let Some(nextest) = environment::installed("cargo-nextest") else {
        return Ok(Outcome::skipped(
            "cargo-nextest is not installed (`cargo install --locked cargo-nextest`)",
        ));
    };
    if let Some(missing) = PROGRAMS.iter().find(|(name, _)| environment::installed(name).is_none()) {
        return Ok(Outcome::skipped(format!("{} is not installed (Debian's {})", missing.0, missing.1)));
    }
    // The machine has a file system of its own there.
    if home.starts_with("/tmp") {
        return Ok(Outcome::skipped("this checkout is in /tmp, which the machine cannot read; move it"));
    }
    if !machine::has_cables()? {
        return Ok(Outcome::skipped("this user cannot create TAP interfaces in a network namespace"));
    }
    let system = match system::prepare(&home, options)? {
        Ok(system) => system,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    let exchange = home.join("exchange");
    let listed = match prepare_exchange(&exchange, &system, &nextest)? {
        Ok(listed) => listed,
        Err(failed) => return Ok(failed),
    };
    if listed.iter().all(|suite| suite.tests.is_empty()) {
        return Ok(Outcome::failed(format!("no test matches {ONLY}"), ""));
    }
    let booted = machine::run(&system, &exchange, options)?;
    judge::judge(&listed, &exchange, &booted)
}

/// Required programs with their Debian packages. The tests call the last three.
const PROGRAMS: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("unshare", "util-linux"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("wg", "wireguard-tools"),
];

/// Builds the tests, and writes the files for the machine; returns the names of the tests to run.
fn prepare_exchange(
    exchange: &Path,
    system: &System,
    nextest: &Path,
) -> Result<Result<Vec<Listed>, Outcome>> {
    let _ = fs::remove_dir_all(exchange);
    fs::create_dir_all(exchange).with_context(|| format!("making {}", exchange.display()))?;
    let mut listed = Vec::new();
    for suite in &SUITES {
        let text = match output(list(suite, &[]))? {
            Ok(text) => text,
            Err(failed) => return Ok(Err(failed)),
        };
        listed.push(Listed { suite: suite.name, tests: judge::listed(&text)? });
    }
    let binaries = ["--list-type", "binaries-only"];
    let workspace = cargo(["metadata", "--format-version", "1", "--locked"]);
    for (file, command) in [("binaries.json", list(&SUITES[0], &binaries)), ("workspace.json", workspace)] {
        match output(command)? {
            Ok(text) => write(exchange, file, &text)?,
            Err(failed) => return Ok(Err(failed)),
        }
    }
    let line = |suite: &Suite| {
        let cables = if suite.cables { "cables" } else { "virtual" };
        format!("{}\t{cables}\t{}\t{}\n", suite.name, suite.run_ignored(), suite.filterset())
    };
    let suites = SUITES.iter().map(line);
    write(exchange, "tests", &suites.collect::<String>())?;
    write(exchange, "given", &given(system, nextest))?;
    let inside = runners().join("inside.sh");
    fs::copy(&inside, exchange.join("inside.sh")).with_context(|| format!("copying {}", inside.display()))?;
    Ok(Ok(listed))
}

/// Builds only the packages with these tests, because those of the command take minutes to build.
fn list(suite: &Suite, more: &[&str]) -> std::process::Command {
    let head = ["nextest", "list", "--all-features", "--cargo-quiet", "--message-format", "json"];
    let filterset = suite.filterset();
    let which = ["--run-ignored", suite.run_ignored(), "--filterset", &filterset];
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    cargo(head.into_iter().chain(packages).chain(which).chain(more.iter().copied()))
}

/// Returns the standard output of a command.
fn output(mut command: std::process::Command) -> Result<Result<String, Outcome>> {
    let called = command_line(&command);
    let output = command.output().with_context(|| format!("starting `{called}`"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(Outcome::failed(output.status.to_string(), format!("`{called}`:\n{messages}"))));
    }
    Ok(Ok(String::from_utf8(output.stdout).with_context(|| format!("reading `{called}`"))?))
}

/// Shell variables for `inside.sh`.
fn given(system: &System, nextest: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    [
        ("PATH", path.as_str()),
        ("CHECKOUT", &crate::root().to_string_lossy()),
        ("MODULES", &system.modules().to_string_lossy()),
        ("NEXTEST", &nextest.to_string_lossy()),
    ]
    .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
    .concat()
}

fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    let path = folder.join(file);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn runners() -> PathBuf {
    crate::root().join("xtask/runners/kernel")
}

/// Runs a command that must succeed.
fn run_checked(command: std::process::Command, options: &RunOptions) -> Result<()> {
    let called = command_line(&command);
    let finished = finish(command, options.verbose)?;
    anyhow::ensure!(finished.success, "`{called}`: {}\n{}", finished.status, finished.output);
    Ok(())
}

/// A shell script to run in a folder.
fn shell(folder: &Path, words: &str) -> std::process::Command {
    let mut command = program("sh", ["-ec", words]);
    command.current_dir(folder);
    command
}
