//! Documents generated from the definition of the command: man pages, shell completions, and the guide's reference.

mod manual;
mod reference;
mod summary;

use std::fs;
use std::io;
use std::path::Path;

use mcast_doctor::Id;

/// The results of the doctor's tests, which they write.
const DOCTOR_TABLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../inspect/mcast-doctor/tests/lab/results.md");

/// Writes `man/*.1`, `completions/*`, `reference/*.md`, `findings/*.md`, `doctor-table.md` and `SUMMARY.md` into a folder.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let [manual, completions, reference, findings] =
        ["man", "completions", "reference", "findings"].map(|name| folder.join(name));
    [&manual, &completions, &reference, &findings].into_iter().try_for_each(fs::create_dir_all)?;
    manual::write(&manual)?;
    for (name, script) in mcast_cli::completion_scripts()? {
        fs::write(completions.join(name), script)?;
    }
    reference::write(&reference)?;
    for id in Id::ALL {
        fs::write(findings.join(format!("{id}.md")), id.page())?;
    }
    fs::write(findings.join("index.md"), index_of_findings())?;
    fs::copy(DOCTOR_TABLE, folder.join("doctor-table.md"))?;
    fs::write(folder.join("SUMMARY.md"), summary::text())
}

/// Returns the index of the pages about findings, which have the text that `mcast explain` shows.
fn index_of_findings() -> String {
    let mut text = String::from(
        "# Findings\n\n\
         Each finding of `mcast doctor` has a page with its symptoms, its cause, how mcast detects it, the remedy,\n\
         and how to check that the remedy worked. `mcast explain FINDING` shows the same text.\n\n\
         Words in capitals in commands are placeholders for your values: INTERFACE, GROUP, PORT, SOURCE (the sender's\n\
         address), BRIDGE. In the doctor's own output, the values are filled in.\n\n\
         | finding | meaning |\n|---|---|\n",
    );
    for id in Id::ALL {
        text += &format!("| [{id}]({id}.md) | {} |\n", id.summary());
    }
    text
}

/// Returns the complete definition of the command, before its help is laid out.
fn built() -> clap::Command {
    let mut command = mcast_cli::definition();
    command.build();
    command
}
