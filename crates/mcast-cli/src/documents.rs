//! Man pages and shell completions, from the definitions of the command.

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Shell;

/// Writes `man/*.1` and `completions/*` into a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn write_documents(folder: &Path) -> io::Result<()> {
    let (manual, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&manual)?;
    fs::create_dir_all(&completions)?;
    let mut command = crate::command();
    clap_mangen::generate_to(crate::cli::manual(), &manual)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
        clap_complete::generate_to(shell, &mut command, "mcast", &completions)?;
    }
    Ok(())
}
