//! Programs that come as packages of the system.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{has_program, output_of};

/// A program's version line, the one that contains `marker`; installs it where it is missing.
pub(super) fn provide(program: &str, ask: &[&str], marker: &str, install: bool) -> Result<String> {
    if !has_program(program) {
        if !install {
            bail!("`{program}` is not installed");
        }
        install_package(program)?;
    }
    // Some answer on standard error, some with a status of their own.
    let output = Command::new(program).args(ask).output().with_context(|| format!("asking {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.to_lowercase().contains(marker)).unwrap_or(program);
    Ok(line.trim().to_owned())
}

fn install_package(name: &str) -> Result<()> {
    if !has_program("apt-get") {
        bail!("`{name}` is not installed, and there is no apt-get to install it with");
    }
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends", name]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    eprintln!("installing {name}");
    output_of(&mut command).with_context(|| format!("`{name}` is not installed"))?;
    Ok(())
}
