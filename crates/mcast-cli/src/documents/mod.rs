//! Documents generated from the definition of the command: man pages, shell completions, and the guide's reference.

mod findings;
mod manual;
mod reference;
mod summary;

use std::fs;
use std::io;
use std::path::Path;

use crate::cli;
use crate::completion::Shell;

/// Writes `man/*.1`, `completions/*`, `reference/*.md`, `findings/*.md` and `SUMMARY.md` into a
/// folder.
///
/// # Errors
/// When a file cannot be written.
pub fn write_documents(folder: &Path) -> io::Result<()> {
    let [manual, completions, reference, findings] =
        ["man", "completions", "reference", "findings"].map(|name| folder.join(name));
    [&manual, &completions, &reference, &findings].into_iter().try_for_each(fs::create_dir_all)?;
    manual::write(&manual)?;
    for shell in Shell::ALL {
        fs::write(completions.join(shell.file_name()), shell.script()?)?;
    }
    reference::write(&reference)?;
    findings::write(&findings)?;
    fs::write(folder.join("SUMMARY.md"), summary::text())
}

/// Returns the complete definition of the command, before its help is laid out.
fn built() -> clap::Command {
    let mut command = cli::source();
    command.build();
    command
}
