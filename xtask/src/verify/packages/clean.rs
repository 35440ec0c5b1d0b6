//! A clean Debian system: the base, Python, systemd and `ip`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::command::{finish, program, succeeds};
use crate::step::RunOptions;
use crate::verify::ordinary_user;

/// Packages in addition to the base.
const INCLUDED: &str = "python3,python3-venv,systemd,iproute2";

/// A copy of the system, which is deleted when this is dropped.
#[derive(Debug)]
pub(super) struct CleanSystem {
    root: PathBuf,
}

impl CleanSystem {
    /// Copies the system and adds files to its folder `/given`; or returns why that is not possible.
    pub(super) fn with(given: &[&Path], options: &RunOptions) -> Result<Result<Self, String>> {
        let base = match super::system(options)? {
            Ok(base) => base,
            Err(why) => return Ok(Err(why)),
        };
        // Steps of several lanes have one each.
        static COPIES: AtomicUsize = AtomicUsize::new(0);
        let copy = COPIES.fetch_add(1, Ordering::Relaxed);
        let system = Self { root: base.with_file_name(format!("copy-{}-{copy}", std::process::id())) };
        let mut copy = program("cp", ["--archive", "--reflink=auto"]);
        copy.args([&base, &system.root]);
        anyhow::ensure!(succeeds(copy), "the clean system could not be copied to {}", system.root.display());
        let folder = system.root.join("given");
        fs::create_dir_all(&folder)?;
        for file in given {
            let name = file.file_name().context("a file without a name")?;
            fs::copy(file, folder.join(name)).with_context(|| format!("copying {}", file.display()))?;
        }
        Ok(Ok(system))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for CleanSystem {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Creates the base, unless it exists, from the Debian archive of this machine.
pub(super) fn base(options: &RunOptions) -> Result<Result<PathBuf, String>> {
    if !ordinary_user::is_root()? {
        return Ok(Err("only root can create a system and chroot into it".to_owned()));
    }
    let base = crate::root().join("target/clean-root/base");
    let complete = base.with_file_name("complete");
    if fs::read_to_string(&complete).is_ok_and(|included| included == INCLUDED) {
        return Ok(Ok(base));
    }
    if !succeeds(program("debootstrap", ["--version"])) {
        return Ok(Err("debootstrap is not installed".to_owned()));
    }
    let Some((archive, name)) = archive()? else {
        return Ok(Err("this system has no Debian archive to install from".to_owned()));
    };
    let _ = fs::remove_file(&complete);
    let _ = fs::remove_dir_all(&base);
    // It mounts `proc` in the folder, and leaves it there if it is killed: not in this namespace.
    let mut make = program("unshare", ["--mount", "debootstrap", "--variant=minbase"]);
    make.arg(format!("--include={INCLUDED}")).arg(name).arg(&base).arg(archive);
    let finished = finish(make, options.verbose)?;
    anyhow::ensure!(finished.success, "debootstrap failed:\n{}", finished.output);
    fs::write(&complete, INCLUDED).with_context(|| format!("writing {}", complete.display()))?;
    Ok(Ok(base))
}

/// Returns the Debian archive of this machine and its codename.
fn archive() -> Result<Option<(String, String)>> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"];
    let Ok(finished) = finish(program("apt-get", format), false) else { return Ok(None) };
    let line = finished.output.lines().find(|line| line.ends_with(" main"));
    Ok(line.and_then(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    }))
}
