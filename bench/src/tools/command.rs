//! Programs built from this checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{output_of, target_directory};

/// Builds the command `mcast`, and keeps a copy of what was built; says which version.
pub(super) fn build(source: &Path, target: &Path, program: &Path) -> Result<String> {
    let mut command = cargo_build();
    command.args(["--package", "mcast-cli", "--bin", "mcast"]);
    output_of(command.current_dir(source.join(".."))).context("building the command `mcast`")?;
    let built = target.join("measured/mcast");
    std::fs::copy(&built, program).with_context(|| format!("copying {}", built.display()))?;
    // The first line is the version; what follows says what it can do.
    let version = output_of(Command::new(program).arg("--version"))?;
    Ok(version.lines().next().unwrap_or_default().trim().to_owned())
}

/// Builds the program that exercises the hot path, and returns its path.
pub(crate) fn hot_path() -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = target_directory(source);
    let mut command = cargo_build();
    command.args(["--package", "hot-path", "--target-dir"]).arg(&target);
    output_of(command.current_dir(source)).context("building the program `hot-path`")?;
    Ok(target.join("measured/hot-path"))
}

fn cargo_build() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--profile", "measured"]);
    command
}
