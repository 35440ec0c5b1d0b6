//! Checks the language of sources, documents and JSON schemas: no banned names, no banned phrases, and no public type
//! name in two crates. Pages for users must also use the terms of network engineers.
//!
//! The lists are in `docs/design/language/`.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

const LISTS: &str = "docs/design/language";

/// The rules.
struct Rules {
    names: BTreeSet<String>,
    /// Banned phrases in lower case, each with its replacement.
    phrases: Vec<(String, String)>,
    /// Phrases that are banned in pages for users only.
    page_phrases: Vec<(String, String)>,
    /// Idioms that contain a banned phrase.
    allowed: Vec<String>,
    shared_names: BTreeSet<String>,
}

impl Rules {
    fn read() -> Result<Self> {
        let phrase = |line: &str| {
            let (phrase, instead) = line.split_once(" => ").unwrap_or((line, ""));
            (phrase.trim().to_lowercase(), instead.trim().to_owned())
        };
        Ok(Self {
            names: lines("names.txt")?.into_iter().collect(),
            phrases: lines("phrases.txt")?.iter().map(|line| phrase(line)).collect(),
            page_phrases: lines("page-phrases.txt")?.iter().map(|line| phrase(line)).collect(),
            allowed: lines("idioms.txt")?,
            shared_names: lines("shared-names.txt")?.into_iter().collect(),
        })
    }

    /// Returns the banned phrases in the `text` of the file `name`, matched as whole words.
    fn phrases_in<'a>(&'a self, text: &str, name: &str) -> impl Iterator<Item = &'a (String, String)> {
        let text = text.to_lowercase();
        let text = self.allowed.iter().fold(text, |text, idiom| text.replace(idiom, "…"));
        let of_pages = if is_page(name) { self.page_phrases.as_slice() } else { &[] };
        self.phrases.iter().chain(of_pages).filter(move |(phrase, _)| has_words(&text, phrase))
    }

    fn bans_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Returns whether a file is a page that users read: what contributors read may say how the code names things.
fn is_page(name: &str) -> bool {
    let folders = ["docs/how-to/", "docs/explanation/", "docs/python/", "docs/rust/"];
    let pages = ["README.md", "docs/index.md", "docs/tutorial.md", "docs/price-feed.md", "docs/platforms.md"];
    folders.iter().any(|folder| name.starts_with(folder)) || pages.contains(&name) || name.contains("/pages/")
}

/// Returns whether `text` contains `phrase` as whole words.
fn has_words(text: &str, phrase: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(phrase).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + phrase.len()..].chars().next())
    })
}

/// Prints the violations; returns whether there are none.
pub(crate) fn run() -> Result<bool> {
    let violations = violations()?;
    violations.iter().for_each(|violation| anstream::println!("{violation}"));
    Ok(violations.is_empty())
}

/// Reads the lines of a list, without comments and empty lines.
fn lines(name: &str) -> Result<Vec<String>> {
    let path = crate::root().join(LISTS).join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// Returns the violations, each with its location.
pub(crate) fn violations() -> Result<Vec<String>> {
    let rules = Rules::read()?;
    let root = crate::root();
    let mut files = Vec::new();
    for folder in ["crates", "bench", "fuzz/fuzz_targets", "xtask", "docs", ".github"] {
        collect(&root.join(folder), &mut files)?;
    }
    let top = fs::read_dir(&root)?.filter_map(|entry| Some(entry.ok()?.path()));
    files.extend(top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    files.sort();

    let mut violations = Vec::new();
    // Of each public type, the crates that declare one of this name, and where.
    let mut public: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if name.starts_with(LISTS) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let prose = if name.ends_with(".rs") {
            let source = text::read(&text);
            for declared in source.names {
                let location = format!("{name}:{}", declared.line);
                if rules.bans_name(&declared.name) {
                    violations.push(format!("{location}: the name `{}`", declared.name));
                }
                if let Some(library) = library(&name).filter(|_| declared.is_public && !declared.is_module) {
                    let locations = public.entry(declared.name).or_default();
                    locations.entry(library.to_owned()).or_insert(location);
                }
            }
            source.prose
        } else if name.ends_with(".json") {
            descriptions(&text)
        } else {
            paragraphs(&text)
        };
        for (line, text) in prose {
            violations.extend(rules.phrases_in(&text, &name).map(|(phrase, instead)| {
                let advice = if instead.is_empty() { String::new() } else { format!(": {instead}") };
                format!("{name}:{line}: \"{phrase}\"{advice}")
            }));
        }
    }
    public.retain(|name, locations| locations.len() > 1 && !rules.shared_names.contains(name));
    violations.extend(public.into_iter().map(|(name, locations)| {
        let locations: Vec<_> = locations.into_values().collect();
        format!("{}: the public type `{name}` in several crates", locations.join(", "))
    }));
    Ok(violations)
}

/// Returns the library crate that a source file belongs to. The types of what people run are not public.
fn library(file: &str) -> Option<&str> {
    let (product, path) = file.strip_prefix("crates/")?.split_once('/')?;
    let (library, path) = path.split_once('/')?;
    (product != "front" && path.starts_with("src/")).then_some(library)
}

/// Splits a document into paragraphs with their first line numbers. Code blocks are included: they show output.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        match paragraphs.last_mut().filter(|_| is_open && !line.is_empty()) {
            Some((_, paragraph)) => paragraph.extend([" ", line]),
            None if !line.is_empty() => paragraphs.push((index + 1, line.to_owned())),
            None => {}
        }
        is_open = !line.is_empty();
    }
    paragraphs
}

/// Returns the titles and descriptions of a JSON schema with their line numbers. The schemas have one key per line.
fn descriptions(schema: &str) -> Vec<(usize, String)> {
    let description = |(index, line): (usize, &str)| {
        let line = line.trim();
        let text = [r#""title": ""#, r#""description": ""#].iter().find_map(|key| line.strip_prefix(key))?;
        Some((index + 1, text.trim_end_matches([',', '"']).to_owned()))
    };
    schema.lines().enumerate().filter_map(description).collect()
}

/// Collects the Rust and Markdown files and the JSON schemas below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let is_built = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
        if path.is_dir() && !is_built {
            collect(&path, files)?;
        } else if is_checked(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_checked(path: &Path) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs" | "md") => true,
        Some("json") => path.parent().is_some_and(|folder| folder.ends_with("mcast-cli/schemas")),
        _ => false,
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    fn rules() -> Rules {
        Rules {
            names: ["Wanted".to_owned()].into(),
            phrases: vec![("tick off".to_owned(), "check".to_owned())],
            page_phrases: vec![("tick box".to_owned(), "check box".to_owned())],
            allowed: vec!["a tick offset".to_owned(), "tick off items".to_owned()],
            shared_names: BTreeSet::new(),
        }
    }

    #[test]
    fn phrases_are_found_as_whole_words() {
        let rules = rules();
        assert_eq!(rules.phrases_in("They Tick off messages", "xtask/src/main.rs").count(), 1);
        assert_eq!(rules.phrases_in("untick offline", "README.md").count(), 0);
        assert_eq!(rules.phrases_in("tick offset", "README.md").count(), 0);
        assert_eq!(rules.phrases_in("tick off items", "README.md").count(), 0, "an idiom");
    }

    #[test]
    fn phrases_of_pages_are_found_in_pages_only() {
        let rules = rules();
        for (name, found) in [
            ("README.md", 1),
            ("docs/how-to/services.md", 1),
            ("crates/inspect/mcast-doctor/pages/no-querier.md", 1),
            ("docs/design/glossary.md", 0),
            ("crates/net/mcast/src/lib.rs", 0),
        ] {
            assert_eq!(rules.phrases_in("a tick box", name).count(), found, "{name}");
        }
    }

    #[test]
    fn a_paragraph_is_read_across_its_lines() {
        let rules = rules();
        let paragraphs = paragraphs("# Title\n\nThey tick\noff.\n");
        assert_eq!(paragraphs[1], (3, "They tick off.".to_owned()));
        assert_eq!(rules.phrases_in(&paragraphs[1].1, "README.md").count(), 1);
    }

    #[test]
    fn a_schema_is_read_for_its_titles_and_descriptions() {
        let schema = r#"{
  "title": "Ticks",
  "properties": {
    "description": {
      "enum": ["tick off"],
      "description": "They \"tick off\" items"
    }
  }
}"#;
        let expected = [(2, "Ticks"), (6, r#"They \"tick off\" items"#)];
        assert_eq!(descriptions(schema), expected.map(|(line, text)| (line, text.to_owned())));
        assert!(is_checked(Path::new("crates/front/mcast-cli/schemas/ping.json")));
        assert!(!is_checked(Path::new("bench/results/loss.json")));
    }

    #[test]
    fn a_library_has_its_sources_in_its_crate() {
        assert_eq!(library("crates/testing/mcast-lab/src/lib.rs"), Some("mcast-lab"));
        assert_eq!(library("crates/testing/mcast-lab/tests/lab.rs"), None);
        assert_eq!(library("crates/front/mcast-cli/src/lib.rs"), None);
        assert_eq!(library("xtask/src/main.rs"), None);
    }
}
