//! The guide's pages about findings, with the text that `mcast explain` shows.

use std::fs;
use std::io;
use std::path::Path;

use mcast_doctor::Id;

pub(super) fn write(folder: &Path) -> io::Result<()> {
    for id in Id::ALL {
        fs::write(folder.join(format!("{id}.md")), id.page())?;
    }
    fs::write(folder.join("index.md"), index())
}

fn index() -> String {
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
