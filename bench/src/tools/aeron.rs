//! Aeron's C driver and client, built from what the crate rusteron brings along.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{output_of, packages};

/// What it is built with, beside CMake.
const PACKAGES: [&str; 3] = ["libclang-dev", "uuid-dev", "libbsd-dev"];
/// The oldest CMake that builds it.
const CMAKE: (u32, u32) = (3, 30);

/// Builds the program and puts it there; says which version.
pub(super) fn build(source: &Path, made: &Path, program: &Path, install: bool) -> Result<String> {
    if install {
        let built = made.join("aeron");
        let path = path_with_cmake(&made.join("cmake"))?;
        if let Err(first) = cargo(source, &built, &path) {
            packages::install(&PACKAGES).with_context(|| format!("{first:#}"))?;
            cargo(source, &built, &path)?;
        }
        let built = built.join("release/aeron-peer");
        std::fs::copy(&built, program).with_context(|| format!("copying {}", built.display()))?;
    } else if !program.exists() {
        bail!("Aeron is not built");
    }
    Ok(output_of(Command::new(program).arg("version"))?.trim().to_owned())
}

/// Where its drivers keep their files: they add a number of their own.
pub(crate) fn directory() -> PathBuf {
    let place = Path::new("/dev/shm");
    let place = if place.is_dir() { place.to_owned() } else { std::env::temp_dir() };
    place.join(format!("mcast-bench-aeron-{}-", std::process::id()))
}

/// Takes away, when dropped, what drivers that were killed have left there.
#[derive(Debug)]
pub(crate) struct Leftovers;

impl Drop for Leftovers {
    fn drop(&mut self) {
        let prefix = directory();
        let entries = prefix.parent().and_then(|place| std::fs::read_dir(place).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            if path.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes()) {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

fn cargo(source: &Path, target: &Path, path: &OsString) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--locked", "--target-dir"]).arg(target);
    command.arg("--manifest-path").arg(source.join("Cargo.toml")).env("PATH", path);
    output_of(&mut command).context("building Aeron")?;
    Ok(())
}

/// Where programs are found, a CMake that is new enough first.
fn path_with_cmake(place: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if version_of(Path::new("cmake")).is_some_and(|version| version >= CMAKE) {
        return Ok(path);
    }
    let programs = place.join("bin");
    if version_of(&programs.join("cmake")).is_none_or(|version| version < CMAKE) {
        eprintln!("installing CMake");
        output_of(Command::new("python3").args(["-m", "venv"]).arg(place))?;
        let mut pip = Command::new(programs.join("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "cmake"]);
        output_of(&mut pip).context("installing CMake")?;
    }
    let all = std::iter::once(programs).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all)?)
}

fn version_of(cmake: &Path) -> Option<(u32, u32)> {
    let text = output_of(Command::new(cmake).arg("--version")).ok()?;
    let mut numbers = text.split_whitespace().nth(2)?.split('.').map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}
