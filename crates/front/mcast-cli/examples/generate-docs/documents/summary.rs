//! The contents of the guide.

use mcast_doctor::Id;

use super::reference;

/// The contents, with a word for the pages of the commands and one for those of the findings.
const CONTENTS: &str = include_str!("summary.md");

/// Returns the text of `SUMMARY.md` in mdBook's format.
pub(super) fn text() -> String {
    let commands = reference::subcommands().into_iter();
    let commands = commands.map(|named| entry(&format!("mcast {}", named.words), "reference", &named.file()));
    let findings = Id::ALL.iter().map(|id| entry(id.as_str(), "findings", &format!("{id}.md")));
    CONTENTS
        .replace("{commands}\n", &commands.collect::<String>())
        .replace("{findings}\n", &findings.collect::<String>())
}

/// Returns the entry of a page, at the third level.
fn entry(title: &str, folder: &str, file: &str) -> String {
    format!("    - [{title}]({folder}/{file})\n")
}
