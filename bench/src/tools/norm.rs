//! NORM: a small program of ours on libnorm.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{output_of, packages};

/// Compiles the program and puts it there; says which version.
pub(super) fn build(source: &Path, program: &Path, install: bool) -> Result<String> {
    if let Err(first) = compile(source, program) {
        if !install {
            bail!("{first:#}");
        }
        packages::install(&["libnorm-dev"]).with_context(|| format!("{first:#}"))?;
        compile(source, program)?;
    }
    Ok(output_of(Command::new(program).arg("version"))?.trim().to_owned())
}

fn compile(source: &Path, program: &Path) -> Result<()> {
    // Another harness may run the program meanwhile: it is replaced, not written to.
    let fresh = program.with_extension(std::process::id().to_string());
    let mut command = Command::new("c++");
    command.args(["-O2", "-Wall", "-Wextra", "-o"]).arg(&fresh);
    command.arg(source.join("norm_peer.cpp")).arg("-lnorm");
    output_of(&mut command).context("compiling the program on libnorm")?;
    std::fs::rename(&fresh, program).with_context(|| format!("writing {}", program.display()))
}
