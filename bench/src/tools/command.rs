//! The command `mcast`, built from this checkout.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::output_of;

/// Builds it, and keeps a copy of what was built; says which version.
pub(super) fn build(source: &Path, target: &Path, program: &Path) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--package", "mcast-cli", "--bin", "mcast"]);
    output_of(command.current_dir(source.join(".."))).context("building the command `mcast`")?;
    let built = target.join("release/mcast");
    std::fs::copy(&built, program).with_context(|| format!("copying {}", built.display()))?;
    // The first line is the version; what follows says what it can do.
    let version = output_of(Command::new(program).arg("--version"))?;
    Ok(version.lines().next().unwrap_or_default().trim().to_owned())
}
