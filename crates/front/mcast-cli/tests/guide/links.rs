//! The contents list every page, and every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::markdown::{files, links, top};

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
    let summary = fs::read_to_string(top().join("SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).iter().map(|link| top().join(link)).collect();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a page is listed twice");
    let pages: BTreeSet<_> = files(&top()).into_iter().filter(|path| !path.ends_with("SUMMARY.md")).collect();
    let missing: Vec<_> = pages.difference(&unique).collect();
    let gone: Vec<_> = unique.difference(&pages).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not listed: {missing:?}; not there: {gone:?} (the list is in examples/generate-docs/documents/summary.rs)"
    );
}

#[test]
fn every_link_has_a_target() {
    let readme = top().join("../README.md");
    let mut broken = Vec::new();
    for file in files(&top()).into_iter().chain([readme]) {
        let text = fs::read_to_string(&file).unwrap();
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            if !leads_somewhere(&file, &text, link) {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn leads_somewhere(file: &Path, text: &str, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = file.parent().unwrap().join(path);
    let text = match path.is_empty() {
        true => text.to_owned(),
        false if target.is_dir() => return true,
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
