//! Runs the libraries' tests as Windows programs with Wine in a network namespace; and the Windows command together
//! with the native command, on two hosts of a lab.
//!
//! Wine lacks source-specific joins and segmentation offload, and delivers groups that other sockets have joined. The
//! tests show that the Windows backend works in general.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::built::{self, Built};
use super::{environment, sources, tests, unoptimized};
use crate::command::{cargo, command_line, finish, program, succeeds};
use crate::step::{Lane, Outcome, RunOptions, Step, Verdict};
use crate::target;

const TARGET: &str = "x86_64-pc-windows-gnu";
const COMPILER: &str = "x86_64-w64-mingw32-gcc";
/// No other step compiles for Windows.
const FLAGS: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUSTFLAGS";
const DENY_WARNINGS: &str = "--deny warnings";
/// The libraries that call the system, or behave differently on Windows.
const PACKAGES: [&str; 10] = [
    "mcast-sys",
    "mcast-capture",
    "mcast-host",
    "mcast-doctor",
    "mcast-path",
    "mcast-fleet",
    "mcast",
    "mcast-log",
    "mcast-metrics",
    "mcast-stream",
];
/// Those with a simulation among their tests, and what it needs.
const SIMULATED: [&str; 3] = ["mcast-sim", "mcast-disk", "mcast-log"];

/// Candidates for Wine's loader. Debian's 64-bit loader is not in the search path.
const LOADERS: [&str; 3] = ["wine64", "/usr/lib/wine/wine64", "wine"];

/// Returns the step that builds what the others need.
pub(crate) fn build_step() -> Step {
    let about = "the tests and the command compile for Windows without warnings";
    Step::new("wine:build", about, |options| with_wine(|_, _| build(options))).on(Lane::Beside)
}

pub(crate) fn steps() -> Vec<Step> {
    let library =
        Step::new("wine:library", "the libraries' tests pass as Windows programs under Wine", |options| {
            with_wine(|loader, home| library_tests(loader, home, options))
        });
    let command =
        Step::new("wine:command", "the Windows command and the native command interoperate", |options| {
            with_wine(|loader, home| command_tests(loader, home, options))
        });
    [library, command].map(|step| step.after("wine:build")).into()
}

fn with_wine(work: impl FnOnce(&Path, &Path) -> Result<Outcome>) -> Result<Outcome> {
    let Some(loader) = LOADERS.into_iter().find_map(installed) else {
        return Ok(Outcome::skipped("Wine is not installed (Debian's wine64)"));
    };
    if !succeeds(program(COMPILER, ["--version"])) {
        return Ok(Outcome::skipped("no linker for Windows is installed (Debian's gcc-mingw-w64-x86-64)"));
    }
    if !target::ensure_installed(TARGET) {
        return Ok(Outcome::skipped(format!("rustup cannot add the target {TARGET}")));
    }
    let home = crate::root().join("target/wine");
    if !environment::has_namespaces() {
        return Ok(Outcome::skipped(environment::NO_NAMESPACES));
    }
    if let Some(failed) = build_shim(&home)? {
        return Ok(failed);
    }
    work(&loader, &home)
}

/// Returns the full path of the loader, which looks for other programs next to it.
fn installed(loader: &str) -> Option<PathBuf> {
    environment::installed(loader).filter(|path| succeeds(program(path, ["--version"])))
}

/// Builds a DLL that this version of Wine lacks. Returns an outcome only if that fails.
fn build_shim(home: &Path) -> Result<Option<Outcome>> {
    // Steps of several lanes need it.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    fs::create_dir_all(home).with_context(|| format!("making {}", home.display()))?;
    let library: PathBuf = home.join("bcryptprimitives.dll");
    let mut compiler = program(COMPILER, ["-shared", "-o"]);
    compiler.arg(&library).arg(folder().join("bcryptprimitives.c")).arg("-ladvapi32");
    let finished = finish(compiler, false)?;
    Ok((!finished.success).then(|| Outcome::failed("the missing DLL could not be built", finished.output)))
}

/// Builds what the other steps run; if they run first, they build it themselves.
fn build(options: &RunOptions) -> Result<Outcome> {
    let mut tests = windows_tests();
    tests.arg("--no-run");
    for command in [tests, windows_command()] {
        let outcome = sources::check(command, options)?;
        if outcome.verdict != Verdict::Passed {
            return Ok(outcome);
        }
    }
    Ok(Outcome::passed(""))
}

/// Also creates Wine's prefix, unless the tests of the library did.
fn command_tests(loader: &Path, home: &Path, options: &RunOptions) -> Result<Outcome> {
    let exe = crate::root().join("target").join(TARGET).join("debug/mcast.exe");
    let mut first = program(folder().join("wine"), [exe.as_os_str(), "--version".as_ref()]);
    first.env("MCAST_WINE", home).env("MCAST_WINE_PROGRAM", loader);
    // The tests copy the prefix, whose registry is complete once its server has ended.
    let mut wait = program(loader.with_file_name("wineserver64"), ["-w"]);
    wait.env("WINEPREFIX", home.join("prefix"));
    for command in [windows_command(), first, wait] {
        let called = command_line(&command);
        let finished = finish(command, options.verbose)?;
        if !finished.success {
            return Ok(Outcome::failed(finished.status, format!("`{called}`:\n{}", finished.output)));
        }
    }
    let windows = match built::build()? {
        Built::Programs(programs) => {
            programs.into_iter().find(|each| each.tests("mcast-cli") && each.is_called("windows"))
        }
        Built::Failed(messages) => return Ok(Outcome::failed("it does not compile", messages)),
    };
    let windows = windows.context("cargo built no test called windows")?;
    let mut tests = program(&windows.executable, ["--ignored", "--show-output"]);
    tests.current_dir(&windows.folder);
    tests.env("MCAST_WINE", home).env("MCAST_WINE_PROGRAM", loader).env("MCAST_WINDOWS_COMMAND", exe);
    tests::outcome(tests, "libtest", options)
}

fn library_tests(loader: &Path, home: &Path, options: &RunOptions) -> Result<Outcome> {
    let mut tests = windows_tests();
    tests
        .args(["--", "--show-output"])
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", folder().join("wine"))
        .env("MCAST_WINE", home)
        .env("MCAST_WINE_PROGRAM", loader);
    tests::outcome(tests, "cargo test", options)
}

fn windows_tests() -> Command {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let head =
        ["test", "--quiet", "--target", TARGET, "--all-features", "--no-fail-fast", "--lib", "--tests"];
    let mut command = cargo(head.into_iter().chain(packages));
    command.args(unoptimized(&SIMULATED)).env(FLAGS, DENY_WARNINGS);
    command
}

fn windows_command() -> Command {
    let mut command =
        cargo(["build", "--quiet", "--target", TARGET, "--package", "mcast-cli", "--bin", "mcast"]);
    command.args(unoptimized(&SIMULATED)).env(FLAGS, DENY_WARNINGS);
    command
}

fn folder() -> PathBuf {
    crate::root().join("xtask/runners")
}
