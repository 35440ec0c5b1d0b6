//! Installs the Debian package and the wheel in a clean Debian system without network. Each must run the demonstration,
//! and leave no files when it is removed. Also runs the services under a separate systemd.

mod clean;
mod control_group;
mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::{built, python, sources};
use crate::command::{finish, program, succeeds};
use crate::dist::{self, Release};
use crate::docs;
use crate::step::{Lane, Outcome, RunOptions, Step, Verdict};
use clean::CleanSystem;

/// The program in the package to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    /// The one that the tests run. It is linked with libraries of this system, which the clean one, of the same version, has:
    /// building a static one takes more than a minute.
    Tested,
    /// The static one of a release.
    Released,
}

/// Returns the step that makes the clean system, which mostly downloads and unpacks.
pub(crate) fn system_step() -> Step {
    let make = |options: &RunOptions| {
        Ok(match system(options)? {
            Ok(_) => Outcome::passed(""),
            Err(why) => Outcome::skipped(why),
        })
    };
    Step::new("packages:system", "a clean system to try packages in can be made", make).on(Lane::Beside)
}

/// Returns the steps that try a Debian package and its services.
fn debian_steps(contents: Contents) -> [Step; 2] {
    let about = "the Debian package installs in a clean system, works, and is removed completely";
    let debian = Step::new("packages:deb", about, move |options| debian(contents, options));
    let about = "systemd runs the packaged units, from installation to purge";
    let services = Step::new("packages:services", about, move |options| services(contents, options));
    [debian, services]
}

/// Returns those for the package with the program that the tests run.
pub(super) fn tested() -> [Step; 2] {
    debian_steps(Contents::Tested).map(|step| step.after("tests"))
}

/// Returns those of `cargo soak`, for the package of a release.
pub(crate) fn released() -> [Step; 2] {
    debian_steps(Contents::Released)
}

/// Returns the step that tries the wheel that `python:tests` uses, too.
pub(crate) fn wheel_step() -> Step {
    Step::new("packages:wheel", "the wheel and its command work in a clean system", wheel)
        .after("python:build")
}

fn debian(contents: Contents, options: &RunOptions) -> Result<Outcome> {
    let package = match package(contents)? {
        Ok(package) => package,
        Err(outcome) => return Ok(outcome),
    };
    // Debian's package checker, if installed.
    if succeeds(program("lintian", ["--version"])) {
        let mut lintian = program("lintian", ["--fail-on", "error,warning"]);
        if contents == Contents::Tested {
            lintian.args(["--suppress-tags", "undeclared-elf-prerequisites"]);
        }
        lintian.arg(&package);
        let outcome = sources::check(lintian, options)?;
        if outcome.verdict != Verdict::Passed {
            return Ok(outcome);
        }
    }
    in_clean_system(&package, "debian.sh", options)
}

fn services(contents: Contents, options: &RunOptions) -> Result<Outcome> {
    match package(contents)? {
        Ok(package) => services::outcome(&package, options),
        Err(outcome) => Ok(outcome),
    }
}

/// Builds the package for this machine, once; or returns the outcome if that is not possible.
fn package(contents: Contents) -> Result<Result<PathBuf, Outcome>> {
    // Steps of several lanes need it, and must not write the same files at once.
    static BUILT: Mutex<Option<(Contents, PathBuf)>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, package)) = built.as_ref().filter(|(of, _)| *of == contents) {
        return Ok(Ok(package.clone()));
    }
    let native = dist::PROGRAMS.iter().find(|build| build.runs_here());
    let Some((native, architecture)) = native.and_then(|build| Some((build, build.debian?))) else {
        return Ok(Err(Outcome::skipped("no package is made for this kind of machine")));
    };
    if let Some(failed) = docs::generate_once()? {
        return Ok(Err(failed));
    }
    let release = Release::of(&crate::root())?;
    let folder = crate::root().join("target/clean-root");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let command = match contents {
        Contents::Tested => tested_program(&folder)?,
        Contents::Released => dist::build(&release, native, "first")?.map_err(Outcome::skipped),
    };
    let command = match command {
        Ok(command) => command,
        Err(outcome) => return Ok(Err(outcome)),
    };
    Ok(match dist::debian_package(&release, architecture, &command, &folder)? {
        Ok(package) => {
            *built = Some((contents, package.clone()));
            Ok(package)
        }
        Err(why) => Err(Outcome::skipped(why)),
    })
}

/// Returns a copy, without symbols, of the program that the tests run.
fn tested_program(folder: &Path) -> Result<Result<PathBuf, Outcome>> {
    let built = match built::program("mcast")? {
        Ok(built) => built,
        Err(failed) => return Ok(Err(failed)),
    };
    let copy = folder.join("mcast");
    let mut strip = program("strip", ["-o"]);
    strip.args([&copy, &built]);
    let finished = finish(strip, false)?;
    anyhow::ensure!(finished.success, "strip failed:\n{}", finished.output);
    Ok(Ok(copy))
}

/// Makes the clean system, once.
fn system(options: &RunOptions) -> Result<Result<PathBuf, String>> {
    // Steps of several lanes need it.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    clean::base(options)
}

fn wheel(options: &RunOptions) -> Result<Outcome> {
    match python::wheel()? {
        Some(wheel) => in_clean_system(&wheel, "wheel.sh", options),
        None => Ok(Outcome::skipped("no wheel was built: see python:tests")),
    }
}

/// Runs `script` in a copy of the clean system that contains `package`.
fn in_clean_system(package: &Path, script: &str, options: &RunOptions) -> Result<Outcome> {
    let script = scripts().join(script);
    let system = match CleanSystem::with(&[package, &script], options)? {
        Ok(system) => system,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    // A network namespace without interfaces: installation must not need the network.
    let mut command = program("unshare", ["--mount", "--pid", "--fork", "--net", "sh", "-c"]);
    command
        .arg("mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /bin/sh -e \"/given/$2\"")
        .arg("sh")
        .arg(system.root())
        .arg(script.file_name().context("a script without a name")?);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    sources::check(command, options)
}

fn scripts() -> PathBuf {
    crate::root().join("xtask/runners/packages")
}
