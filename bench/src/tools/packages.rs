//! Programs that come as packages of the system.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{has_program, output_of};

/// A program's version line, the one that contains `marker`; installs its package where it is missing.
pub(super) fn provide(
    (program, package): (&str, &str),
    ask: &[&str],
    marker: &str,
    install: bool,
) -> Result<String> {
    if !has_program(program) {
        if !install {
            bail!("`{program}` is not installed");
        }
        self::install(&[package])?;
    }
    // Some answer on standard error, some with a status of their own.
    let output = Command::new(program).args(ask).output().with_context(|| format!("asking {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.to_lowercase().contains(marker)).unwrap_or(program);
    Ok(line.trim().to_owned())
}

/// Installs packages; does nothing where they are there.
pub(super) fn install(names: &[&str]) -> Result<()> {
    let listed = names.join(", ");
    if !has_program("apt-get") {
        bail!("`{listed}` is not installed, and there is no apt-get to install it with");
    }
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(names);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    eprintln!("installing {listed}");
    output_of(&mut command).with_context(|| format!("`{listed}` is not installed"))?;
    Ok(())
}
