//! The reference in C, compiled at run time: no build of the workspace needs a C compiler.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::output_of;

/// Compiles all of a directory into one program; says by which compiler.
pub(super) fn build(source: &Path, program: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(source).with_context(|| format!("reading {}", source.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            files.push(path);
        }
    }
    files.sort();
    let mut command = Command::new("cc");
    command.args(["-O2", "-std=gnu11", "-Wall", "-Wextra", "-pthread", "-o"]).arg(program).args(files);
    output_of(&mut command).context("compiling the reference in C")?;
    let version = output_of(Command::new("cc").arg("--version"))?;
    Ok(format!("C compiler: {}", version.lines().next().unwrap_or("unknown")))
}
