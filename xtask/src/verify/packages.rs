//! Installs the Debian package and the wheel in a clean Debian system without network. Each must run the demonstration,
//! and leave no files when it is removed. Also runs the services under a separate systemd.

mod clean;
mod control_group;
mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use super::{python, sources};
use crate::command::{program, succeeds};
use crate::dist::{self, Profile, Release};
use crate::step::{Lane, Outcome, RunOptions, Step, Verdict};
use clean::CleanSystem;

/// Returns the step that builds what the others need. It uses a folder of cargo that no other step uses.
pub(super) fn build_step() -> Step {
    let about = "the Debian package and a clean system to try it in can be made";
    let build = |options: &RunOptions| {
        Ok(match package(options)? {
            Ok(_) => Outcome::passed(""),
            Err(why) => Outcome::skipped(why),
        })
    };
    Step::new("packages:build", about, build).on(Lane::Beside)
}

/// Returns the step that tries the Debian package.
pub(super) fn debian_step() -> Step {
    let about = "the Debian package installs in a clean system, works, and is removed completely";
    Step::new("packages:deb", about, debian).on(Lane::Second)
}

/// Returns the step that tries its services.
pub(super) fn services_step() -> Step {
    let about = "systemd runs the packaged units, from installation to purge";
    Step::new("packages:services", about, |options| match package(options)? {
        Ok(package) => services::outcome(&package, options),
        Err(why) => Ok(Outcome::skipped(why)),
    })
}

/// Returns the step that tries the wheel, which `python:tests` uses before it.
pub(super) fn wheel_step() -> Step {
    Step::new("packages:wheel", "the wheel and its command work in a clean system", wheel)
}

fn debian(options: &RunOptions) -> Result<Outcome> {
    let package = match package(options)? {
        Ok(package) => package,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    // Debian's package checker, if installed.
    if succeeds(program("lintian", ["--version"])) {
        let mut lintian = program("lintian", ["--fail-on", "error,warning"]);
        lintian.arg(&package);
        let outcome = sources::check(lintian, options)?;
        if outcome.verdict != Verdict::Passed {
            return Ok(outcome);
        }
    }
    in_clean_system(&package, "debian.sh", options)
}

/// Builds the package for this machine and the clean system, once; or returns why that is not possible.
fn package(options: &RunOptions) -> Result<Result<PathBuf, String>> {
    // Steps of several lanes need them, and must not write the same files at once.
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(package) = &*built {
        return Ok(Ok(package.clone()));
    }
    let package = thread::scope(|scope| {
        // Mostly downloads and unpacks, while the program compiles. If it fails, copying the system reports why.
        scope.spawn(|| clean::base(options));
        debian_package()
    })?;
    *built = package.as_ref().ok().cloned();
    Ok(package)
}

fn debian_package() -> Result<Result<PathBuf, String>> {
    let release = Release::of(&crate::root())?;
    let [native, ..] = &dist::PROGRAMS;
    let command = match dist::build(&release, native, "first", Profile::Trial)? {
        Ok(command) => command,
        Err(why) => return Ok(Err(why)),
    };
    let out = crate::root().join("target/clean-root");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    dist::debian_package(&release, "amd64", &command, &out)
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
