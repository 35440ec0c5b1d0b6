//! The contents list every page, and every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::generator;
use crate::markdown::{files, links, top};

/// What is generated for the guide: its contents and the reference.
fn generated() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generator::write(folder.path()).unwrap();
    folder
}

/// The names of a page's headings, as links call them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn the_contents_list_every_page_once() {
    let generated = generated();
    let summary = fs::read_to_string(generated.path().join("SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).iter().map(PathBuf::from).collect();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a page is listed twice");
    let names = |folder: &Path| {
        let names = files(folder).into_iter().map(|path| path.strip_prefix(folder).unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let pages = names(&top()).into_iter().chain(names(generated.path()));
    let pages: BTreeSet<_> = pages.filter(|path| !path.ends_with("SUMMARY.md")).collect();
    let missing: Vec<_> = pages.difference(&unique).collect();
    let gone: Vec<_> = unique.difference(&pages).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not listed: {missing:?}; not there: {gone:?} (the list is in examples/generate-docs/documents/summary.md)"
    );
}

/// The most entries in the first two levels of the contents: what a reader looks through to find a page.
const MOST_ENTRIES: usize = 60;

#[test]
fn the_first_two_levels_of_the_contents_are_short() {
    let generated = generated();
    let summary = fs::read_to_string(generated.path().join("SUMMARY.md")).unwrap();
    let depth = |line: &str| (line.len() - line.trim_start().len()) / 2;
    let entries = || summary.lines().filter(|line| line.contains("]("));
    let shown: Vec<_> = entries().filter(|line| depth(line) < 2).collect();
    assert!(shown.len() <= MOST_ENTRIES, "{}: {shown:#?}", shown.len());
    assert!(shown.len() > MOST_ENTRIES / 2 && entries().count() > 2 * MOST_ENTRIES, "{summary}");
}

#[test]
fn every_link_has_a_target() {
    let readme = top().join("../README.md");
    let findings = files(&top().join("../crates/inspect/mcast-doctor/pages"));
    let generated = generated();
    let mut broken = Vec::new();
    for file in files(&top()).into_iter().chain(findings).chain([readme]) {
        let text = fs::read_to_string(&file).unwrap();
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            if !leads_somewhere(&file, &text, link, generated.path()) {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Whether a link of a committed page leads to something that is committed, or to the page of a command, for which
/// `reference/index.md#mcast-NAME` stands.
fn leads_somewhere(file: &Path, text: &str, link: &str, generated: &Path) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.ends_with("reference/index.md") && !anchor.is_empty() {
        return generated.join("reference").join(anchor).with_extension("md").exists();
    }
    let target = file.parent().unwrap().join(path);
    let text = match path.is_empty() {
        true => text.to_owned(),
        false if anchor.is_empty() => return target.exists(),
        false => match fs::read_to_string(&target) {
            Ok(text) => text,
            Err(_) => return false,
        },
    };
    anchor.is_empty() || anchors(&text).contains(anchor)
}

#[test]
fn links_and_headings_are_parsed_as_by_browsers() {
    assert_eq!(links("a [b](c.md) and [d](e.md#f)\n```\n[x](y)\n```\n"), ["c.md", "e.md#f"]);
    assert_eq!(anchor("What `bind` does, on Linux"), "what-bind-does-on-linux");
}
