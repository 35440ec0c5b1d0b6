//! The guide's pages of findings: the text that `mcast explain` shows.

use std::fs;
use std::io;
use std::path::Path;

use mcast_doctor::{Id, Page};

pub(super) fn write(folder: &Path) -> io::Result<()> {
    for id in Id::ALL {
        fs::write(folder.join(format!("{id}.md")), Page::of(*id).text())?;
    }
    fs::write(folder.join("index.md"), index())
}

fn index() -> String {
    let mut text = String::from(
        "# Findings\n\n\
         A page for each finding of `mcast doctor`: what one sees, why it is so, how it is known, what helps, and\n\
         how to check the cure. `mcast explain FINDING` shows the same text.\n\n\
         What is written in capitals in commands stands for a value of yours: INTERFACE, GROUP, PORT, SOURCE (the sender's\n\
         address), BRIDGE. The findings themselves come with the values filled in.\n\n\
         | finding | what it is |\n|---|---|\n",
    );
    for id in Id::ALL {
        text += &format!("| [{id}]({id}.md) | {} |\n", Page::of(*id).summary());
    }
    text
}
