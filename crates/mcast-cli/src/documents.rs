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
    for page in fs::read_dir(&manual)? {
        let page = page?.path();
        fs::write(&page, with_lines_kept(&fs::read_to_string(&page)?))?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
        clap_complete::generate_to(shell, &mut command, "mcast", &completions)?;
    }
    Ok(())
}

/// A page whose notes and examples keep their lines: as running text, tables and commands would
/// flow into each other.
fn with_lines_kept(page: &str) -> String {
    const EXTRA: &str = ".SH EXTRA\n";

    let Some((before, extra)) = page.split_once(EXTRA) else { return page.into() };
    let end = extra.find(".SH ").unwrap_or(extra.len());
    let (extra, after) = extra.split_at(end);
    format!("{before}.SH NOTES\n.nf\n{extra}.fi\n{after}")
}
