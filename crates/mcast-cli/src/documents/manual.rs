//! Man pages.

use std::fs;
use std::io;
use std::path::Path;

pub(super) fn write(folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(crate::cli::manual(), folder)?;
    for page in fs::read_dir(folder)? {
        let page = page?.path();
        fs::write(&page, with_lines_kept(&fs::read_to_string(&page)?))?;
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
