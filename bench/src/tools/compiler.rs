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
    // Another harness may run the program meanwhile: it is replaced, not written to.
    let fresh = program.with_extension(std::process::id().to_string());
    let mut command = Command::new("cc");
    command.args(["-O2", "-std=gnu11", "-Wall", "-Wextra", "-pthread", "-o"]).arg(&fresh).args(files);
    output_of(&mut command).context("compiling the reference in C")?;
    std::fs::rename(&fresh, program).with_context(|| format!("writing {}", program.display()))?;
    let version = output_of(Command::new("cc").arg("--version"))?;
    Ok(format!("C compiler: {}", version.lines().next().unwrap_or("unknown")))
}
