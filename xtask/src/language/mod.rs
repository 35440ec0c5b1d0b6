//! Checks the language of sources and documents: no banned names, no banned phrases, and no public type name in two
//! crates.
//!
//! The lists are in `docs/design/language/`. Violations that predate the check are counted per crate in `debt.txt`. A
//! count may only fall: `cargo xtask language --update` lowers it.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

const LISTS: &str = "docs/design/language";
/// Generated files, and the lists themselves.
const EXCLUDED: [&str; 4] = ["docs/man", "docs/completions", "docs/reference", "docs/design/language"];

/// A violation of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// The crate, or `docs`.
    area: String,
    location: String,
    description: String,
}

/// The rules.
struct Rules {
    names: BTreeSet<String>,
    /// Banned phrases in lower case, each with its replacement.
    phrases: Vec<(String, String)>,
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
            allowed: lines("idioms.txt")?,
            shared_names: lines("shared-names.txt")?.into_iter().collect(),
        })
    }

    /// Returns the banned phrases in `text`, matched as whole words.
    fn phrases_in<'a>(&'a self, text: &str) -> impl Iterator<Item = &'a (String, String)> {
        let text = text.to_lowercase();
        let text = self.allowed.iter().fold(text, |text, idiom| text.replace(idiom, "…"));
        self.phrases.iter().filter(move |(phrase, _)| has_words(&text, phrase))
    }

    fn bans_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Returns whether `text` contains `phrase` as whole words.
fn has_words(text: &str, phrase: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(phrase).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + phrase.len()..].chars().next())
    })
}

/// Returns whether every count matches the debt; prints those that do not. With `update`, lowers the counts.
pub(crate) fn run(update: bool, list: bool) -> Result<bool> {
    let violations = violations()?;
    if list {
        violations.iter().for_each(|Violation { location, description, .. }| {
            anstream::println!("{location}: {description}");
        });
    }
    let complaints = complaints(&violations, &debt()?);
    if update {
        let text = counts(&violations).iter().fold(String::new(), |mut text, (area, count)| {
            let _ = writeln!(text, "{area} {count}");
            text
        });
        fs::write(crate::root().join(LISTS).join("debt.txt"), text)?;
        return Ok(true);
    }
    complaints.iter().for_each(|complaint| anstream::eprintln!("{complaint}"));
    Ok(complaints.is_empty())
}

/// Returns the report of the step of `cargo verify`: empty if there are no violations.
pub(crate) fn check() -> Result<String> {
    Ok(complaints(&violations()?, &debt()?).join("\n"))
}

fn complaints(violations: &[Violation], debt: &BTreeMap<String, usize>) -> Vec<String> {
    let counts = counts(violations);
    let areas: BTreeSet<&String> = counts.keys().chain(debt.keys()).collect();
    let mut complaints = Vec::new();
    for area in areas {
        let count = counts.get(area).copied().unwrap_or(0);
        let allowed = debt.get(area).copied().unwrap_or(0);
        if count > allowed {
            complaints
                .push(format!("{area}: {count} banned names and phrases, of which {allowed} are allowed:"));
            let here = violations.iter().filter(|violation| violation.area == *area);
            complaints.extend(
                here.map(|Violation { location, description, .. }| format!("  {location}: {description}")),
            );
        } else if count < allowed {
            complaints.push(format!(
                "{area}: the number of banned names and phrases fell from {allowed} to {count}: run `cargo xtask language --update`"
            ));
        }
    }
    complaints
}

fn counts(violations: &[Violation]) -> BTreeMap<String, usize> {
    violations.iter().fold(BTreeMap::new(), |mut counts, violation| {
        *counts.entry(violation.area.clone()).or_insert(0) += 1;
        counts
    })
}

fn debt() -> Result<BTreeMap<String, usize>> {
    let parse = |line: String| {
        let (area, count) = line.split_once(' ').context("a line of debt.txt is an area and a number")?;
        Ok((area.to_owned(), count.parse().with_context(|| format!("the count of {area} in debt.txt"))?))
    };
    lines("debt.txt")?.into_iter().map(parse).collect()
}

/// Reads the lines of a list, without comments and empty lines.
fn lines(name: &str) -> Result<Vec<String>> {
    let path = crate::root().join(LISTS).join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn violations() -> Result<Vec<Violation>> {
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
    let mut public: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if EXCLUDED.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let area = area(&name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let violation = |line: usize, description: String| Violation {
            area: area.clone(),
            location: format!("{name}:{line}"),
            description,
        };
        let prose = if name.ends_with(".rs") {
            let source = text::read(&text);
            for declared in source.names {
                if rules.bans_name(&declared.name) {
                    violations.push(violation(declared.line, format!("the name `{}`", declared.name)));
                }
                if declared.is_public && !declared.is_module && name.contains("/src/") {
                    let locations = public.entry(declared.name).or_default();
                    locations.entry(area.clone()).or_insert_with(|| format!("{name}:{}", declared.line));
                }
            }
            source.prose
        } else {
            paragraphs(&text)
        };
        for (line, text) in prose {
            let found = rules.phrases_in(&text);
            violations.extend(found.map(|(phrase, instead)| {
                let advice = if instead.is_empty() { String::new() } else { format!(": {instead}") };
                violation(line, format!("\"{phrase}\"{advice}"))
            }));
        }
    }
    violations.extend(public.into_iter().filter_map(|(name, locations)| {
        let libraries =
            locations.iter().filter(|(area, _)| !["bench", "xtask", "mcast-cli"].contains(&area.as_str()));
        let libraries: Vec<_> = libraries.collect();
        let is_shared = libraries.len() > 1 && !rules.shared_names.contains(&name);
        is_shared.then(|| Violation {
            area: "shared-names".to_owned(),
            location: libraries.iter().map(|(_, location)| location.as_str()).collect::<Vec<_>>().join(", "),
            description: format!("the public type `{name}` in several crates"),
        })
    }));
    violations.sort();
    Ok(violations)
}

/// Returns the crate of a file, or its top-level folder.
fn area(name: &str) -> String {
    let mut parts = name.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("crates"), Some(krate), _) => krate.to_owned(),
        (Some(folder), Some(_), _) => folder.to_owned(),
        _ => "top".to_owned(),
    }
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

/// Collects the Rust and Markdown files below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let is_built = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
        if path.is_dir() && !is_built {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod checks {
    use super::*;

    fn rules() -> Rules {
        Rules {
            names: ["Told".to_owned()].into(),
            phrases: vec![("tick off".to_owned(), "check".to_owned())],
            allowed: vec!["a tick offset".to_owned(), "tick off items".to_owned()],
            shared_names: BTreeSet::new(),
        }
    }

    #[test]
    fn phrases_are_found_as_whole_words() {
        let rules = rules();
        assert_eq!(rules.phrases_in("They Tick off messages").count(), 1);
        assert_eq!(rules.phrases_in("untick offline").count(), 0);
        assert_eq!(rules.phrases_in("tick offset").count(), 0);
        assert_eq!(rules.phrases_in("tick off items").count(), 0, "an idiom");
    }

    #[test]
    fn a_paragraph_is_read_across_its_lines() {
        let rules = rules();
        let paragraphs = paragraphs("# Title\n\nThey tick\noff.\n");
        assert_eq!(paragraphs[1], (3, "They tick off.".to_owned()));
        assert_eq!(rules.phrases_in(&paragraphs[1].1).count(), 1);
    }

    #[test]
    fn counts_may_fall_and_not_rise() {
        let violation = |line: u32| Violation {
            area: "mcast".into(),
            location: format!("crates/mcast/src/lib.rs:{line}"),
            description: "the name `Told`".into(),
        };
        let debt = |count| BTreeMap::from([("mcast".to_owned(), count)]);
        assert_eq!(complaints(&[violation(1)], &debt(1)), Vec::<String>::new());
        let more = complaints(&[violation(1), violation(2)], &debt(1));
        assert_eq!(more.len(), 3, "the area and both locations: {more:?}");
        assert!(complaints(&[], &debt(1))[0].contains("--update"));
    }

    #[test]
    fn an_area_is_a_crate_or_a_folder() {
        assert_eq!(area("crates/mcast-lab/src/lib.rs"), "mcast-lab");
        assert_eq!(area("docs/how-to/wireless.md"), "docs");
        assert_eq!(area("README.md"), "top");
    }
}
