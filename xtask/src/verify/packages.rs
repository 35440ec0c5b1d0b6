//! The Debian package and the wheel, installed by strangers: in a Debian system that has nothing else,
//! with no network, where each must run the demonstration, and leave nothing behind when it goes; and the
//! services, under a systemd of their own.

mod clean;
mod control_group;
mod services;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{python, sources};
use crate::command::{program, succeeds};
use crate::dist::{self, Release};
use crate::step::{Manner, Outcome, Step, Verdict};
use clean::CleanSystem;

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("packages:deb", "the Debian package installs in a clean system, works and goes", debian),
        Step::new(
            "packages:services",
            "systemd runs the packaged units, from installing to purging",
            |manner| match package()? {
                Ok(package) => services::outcome(&package, manner),
                Err(why) => Ok(Outcome::skipped(why)),
            },
        ),
        Step::new("packages:wheel", "the wheel installs in a clean system, and brings the command", wheel),
    ]
}

fn debian(manner: &Manner) -> Result<Outcome> {
    let package = match package()? {
        Ok(package) => package,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    // Debian's own judge of packages, where it is at hand.
    if succeeds(program("lintian", ["--version"])) {
        let mut lintian = program("lintian", ["--fail-on", "error,warning"]);
        lintian.arg(&package);
        let outcome = sources::check(lintian, manner)?;
        if outcome.verdict != Verdict::Passed {
            return Ok(outcome);
        }
    }
    in_clean_system(&package, "debian.sh", manner)
}

/// The package for this machine, made anew; or why it can't be.
fn package() -> Result<Result<PathBuf, String>> {
    let release = Release::of(&crate::root())?;
    let [native, ..] = &dist::PROGRAMS;
    let command = match dist::build(&release, native, "first")? {
        Ok(command) => command,
        Err(why) => return Ok(Err(why)),
    };
    let out = crate::root().join("target/clean-root");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    dist::debian_package(&release, "amd64", &command, &out)
}

fn wheel(manner: &Manner) -> Result<Outcome> {
    match python::wheel()? {
        Some(wheel) => in_clean_system(&wheel, "wheel.sh", manner),
        None => Ok(Outcome::skipped("no wheel was built: see python:tests")),
    }
}

/// Puts `package` into a copy of the clean system and runs our `script` there.
fn in_clean_system(package: &Path, script: &str, manner: &Manner) -> Result<Outcome> {
    let script = scripts().join(script);
    let system = match CleanSystem::with(&[package, &script], manner)? {
        Ok(system) => system,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    // A network of its own without any interface: what is installed must need none.
    let mut command = program("unshare", ["--mount", "--pid", "--fork", "--net", "sh", "-c"]);
    command
        .arg("mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /bin/sh -e \"/given/$2\"")
        .arg("sh")
        .arg(system.root())
        .arg(script.file_name().context("a script without a name")?);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    sources::check(command, manner)
}

fn scripts() -> PathBuf {
    crate::root().join("xtask/runners/packages")
}
