//! The tests on a second kernel: Debian's own, in an emulated machine that sees the files of this one.

mod judge;
mod machine;
mod system;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::environment;
use crate::command::{cargo, finish, program, words};
use crate::step::{Manner, Outcome, Step};
use judge::Listed;
use system::System;

/// Tests that run there, in nextest's language, and whether those are meant that are ignored elsewhere.
struct Suite {
    tests: &'static str,
    ignored: bool,
}

const SUITES: [Suite; 2] = [
    Suite {
        // Not the one about a bridge that has given up: this kernel does not tell then how full its table is.
        tests: "package(mcast) & binary(contract) + package(mcast-lab) & kind(test) + package(mcast-stream) & binary(networks) + package(mcast-doctor) & binary(lab) - test(=table::snooping_table_full)",
        ignored: false,
    },
    // This machine's kernel may lack what these need.
    Suite {
        tests: "package(mcast-doctor) & binary(links) + package(mcast-stream) & binary(netem)",
        ignored: true,
    },
];

impl Suite {
    /// What nextest calls it.
    fn run_ignored(&self) -> &'static str {
        if self.ignored { "only" } else { "default" }
    }
}

/// It takes some minutes.
pub(crate) fn step() -> Step {
    Step::new("kernel", "the tests pass on Debian's kernel, over all kinds of interfaces and netem", outcome)
}

fn outcome(manner: &Manner) -> Result<Outcome> {
    let home = crate::root().join("target/kernel");
    let Some(nextest) = environment::installed("cargo-nextest") else {
        return Ok(Outcome::skipped(
            "cargo-nextest is not installed (`cargo install --locked cargo-nextest`)",
        ));
    };
    if let Some(missing) = PROGRAMS.iter().find(|(name, _)| environment::installed(name).is_none()) {
        return Ok(Outcome::skipped(format!("{} is not installed (Debian's {})", missing.0, missing.1)));
    }
    let system = match system::prepare(&home, manner)? {
        Ok(system) => system,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    let exchange = home.join("exchange");
    let listed = match prepare_exchange(&exchange, &system, &nextest)? {
        Ok(listed) => listed,
        Err(failed) => return Ok(failed),
    };
    let booted = machine::run(&system, &exchange, manner)?;
    Ok(judge::judge(&listed, &exchange, &booted))
}

/// What must be at hand, and Debian's package for it. The last three the tests themselves call.
const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("wg", "wireguard-tools"),
];

/// Builds the tests, and writes for the machine what to run; lists which tests that are.
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
        listed.extend(judge::listed(&text)?);
    }
    let binaries = ["--list-type", "binaries-only"];
    let workspace = cargo(["metadata", "--format-version", "1", "--locked"]);
    for (file, command) in [("binaries.json", list(&SUITES[0], &binaries)), ("workspace.json", workspace)] {
        match output(command)? {
            Ok(text) => write(exchange, file, &text)?,
            Err(failed) => return Ok(Err(failed)),
        }
    }
    let suites = SUITES.iter().map(|suite| format!("{}\t{}\n", suite.run_ignored(), suite.tests));
    write(exchange, "tests", &suites.collect::<String>())?;
    write(exchange, "given", &given(system, nextest))?;
    let inside = runners().join("inside.sh");
    fs::copy(&inside, exchange.join("inside.sh")).with_context(|| format!("copying {}", inside.display()))?;
    Ok(Ok(listed))
}

/// The same build as that of the step `tests`.
fn list(suite: &Suite, more: &[&str]) -> std::process::Command {
    let head =
        ["nextest", "list", "--workspace", "--all-features", "--cargo-quiet", "--message-format", "json"];
    let which = ["--run-ignored", suite.run_ignored(), "--filterset", suite.tests];
    cargo(head.iter().chain(&which).chain(more))
}

/// What a command prints as its result, apart from what it says besides.
fn output(mut command: std::process::Command) -> Result<Result<String, Outcome>> {
    let called = words(&command);
    let output = command.output().with_context(|| format!("starting `{called}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(Outcome::failed(output.status.to_string(), format!("`{called}`:\n{said}"))));
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

/// Runs a command that has to succeed.
fn must(command: std::process::Command, manner: &Manner) -> Result<()> {
    let called = words(&command);
    let finished = finish(command, manner.verbose)?;
    anyhow::ensure!(finished.success, "`{called}`: {}\n{}", finished.status, finished.output);
    Ok(())
}

/// A shell's words, run in a folder.
fn shell(folder: &Path, words: &str) -> std::process::Command {
    let mut command = program("sh", ["-ec", words]);
    command.current_dir(folder);
    command
}
