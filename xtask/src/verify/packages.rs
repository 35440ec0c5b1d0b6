//! The Debian package and the wheel, installed by strangers: in a Debian system that has nothing else,
//! with no network, where each must run the demonstration, and leave nothing behind when it goes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{ordinary_user, python, sources};
use crate::command::{finish, program, succeeds};
use crate::dist::{self, Release};
use crate::step::{Manner, Outcome, Step, Verdict};

pub(super) fn steps() -> Vec<Step> {
    vec![
        Step::new("packages:deb", "the Debian package installs in a clean system, works and goes", debian),
        Step::new("packages:wheel", "the wheel installs in a clean system, and brings the command", wheel),
    ]
}

fn debian(manner: &Manner) -> Result<Outcome> {
    let release = Release::of(&crate::root())?;
    let [native, ..] = &dist::PROGRAMS;
    let command = match dist::build(&release, native, "first")? {
        Ok(command) => command,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    let out = crate::root().join("target/clean-root");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let package = match dist::debian_package(&release, "amd64", &command, &out)? {
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

fn wheel(manner: &Manner) -> Result<Outcome> {
    match python::wheel()? {
        Some(wheel) => in_clean_system(&wheel, "wheel.sh", manner),
        None => Ok(Outcome::skipped("no wheel was built: see python:tests")),
    }
}

/// Puts `package` into a copy of the clean system and runs our `script` there.
fn in_clean_system(package: &Path, script: &str, manner: &Manner) -> Result<Outcome> {
    let base = match clean_system(manner)? {
        Ok(base) => base,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    let root = base.with_file_name(format!("root-{}", script.trim_end_matches(".sh")));
    let _ = fs::remove_dir_all(&root);
    let mut copy = program("cp", ["--archive", "--reflink=auto"]);
    copy.args([&base, &root]);
    anyhow::ensure!(succeeds(copy), "the clean system could not be copied to {}", root.display());
    let folder = root.join("given");
    fs::create_dir_all(&folder)?;
    let name = package.file_name().context("a package without a name")?;
    fs::copy(package, folder.join(name)).with_context(|| format!("copying {}", package.display()))?;
    fs::copy(scripts().join(script), folder.join("script.sh"))
        .with_context(|| format!("copying {script}"))?;
    // A network of its own without any interface: what is installed must need none.
    let mut command = program("unshare", ["--mount", "--pid", "--fork", "--net", "sh", "-c"]);
    command
        .arg("mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /bin/sh -e /given/script.sh")
        .arg("sh")
        .arg(&root);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    let outcome = sources::check(command, manner)?;
    let _ = fs::remove_dir_all(&root);
    Ok(outcome)
}

/// A minimal Debian with Python, made once from the archive that this machine installs from.
fn clean_system(manner: &Manner) -> Result<Result<PathBuf, String>> {
    if !ordinary_user::is_root()? {
        return Ok(Err("only root can make a system and change into it".to_owned()));
    }
    let base = crate::root().join("target/clean-root/base");
    let complete = base.with_file_name("complete");
    if complete.exists() {
        return Ok(Ok(base));
    }
    if !succeeds(program("debootstrap", ["--version"])) {
        return Ok(Err("debootstrap is not installed".to_owned()));
    }
    let Some((archive, name)) = archive()? else {
        return Ok(Err("this system has no Debian archive to install from".to_owned()));
    };
    let _ = fs::remove_dir_all(&base);
    let mut make = program("debootstrap", ["--variant=minbase", "--include=python3,python3-venv", &name]);
    make.arg(&base).arg(archive);
    let finished = finish(make, manner.verbose)?;
    anyhow::ensure!(finished.success, "debootstrap failed:\n{}", finished.output);
    fs::write(&complete, "").with_context(|| format!("writing {}", complete.display()))?;
    Ok(Ok(base))
}

/// Where this system's packages come from, and which Debian it is.
fn archive() -> Result<Option<(String, String)>> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"];
    let Ok(finished) = finish(program("apt-get", format), false) else { return Ok(None) };
    let line = finished.output.lines().find(|line| line.ends_with(" main"));
    Ok(line.and_then(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    }))
}

fn scripts() -> PathBuf {
    crate::root().join("xtask/runners/packages")
}
