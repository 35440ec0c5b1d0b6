//! Plain English and one vocabulary, checked: no banned name, no banned phrase, and no name for public types of two
//! crates.
//!
//! The lists are in `docs/design/language/`. What existed when the check was introduced is counted per crate in
//! `debt.txt`. A count may only fall: `cargo xtask language --update` writes the lower one.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

const LISTS: &str = "docs/design/language";
/// Generated, or written by others.
const NOT_OURS: [&str; 4] = ["docs/man", "docs/completions", "docs/reference", "docs/design/language"];

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    /// The crate, or `docs`.
    area: String,
    at: String,
    what: String,
}

/// The rules.
struct Rules {
    names: BTreeSet<String>,
    /// In lower case, with what to write instead.
    phrases: Vec<(String, String)>,
    /// Idioms that hold a banned phrase.
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

    /// The banned phrases that stand in `text` as whole words.
    fn phrases_in<'a>(&'a self, text: &str) -> impl Iterator<Item = &'a (String, String)> {
        let text = text.to_lowercase();
        let text = self.allowed.iter().fold(text, |text, idiom| text.replace(idiom, "…"));
        self.phrases.iter().filter(move |(phrase, _)| has_words(&text, phrase))
    }

    fn bans_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Whether `text` has `phrase`, not as a part of longer words.
fn has_words(text: &str, phrase: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(phrase).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + phrase.len()..].chars().next())
    })
}

/// Whether every count is what the debt allows; prints what is not. With `update`, lowers the counts.
pub(crate) fn run(update: bool, list: bool) -> Result<bool> {
    let offences = offences()?;
    if list {
        offences.iter().for_each(|Offence { at, what, .. }| anstream::println!("{at}: {what}"));
    }
    let complaints = complaints(&offences, &debt()?);
    if update {
        let text = counts(&offences).iter().fold(String::new(), |mut text, (area, count)| {
            let _ = writeln!(text, "{area} {count}");
            text
        });
        fs::write(crate::root().join(LISTS).join("debt.txt"), text)?;
        return Ok(true);
    }
    complaints.iter().for_each(|complaint| anstream::eprintln!("{complaint}"));
    Ok(complaints.is_empty())
}

/// What a step of `cargo verify` reports: nothing if all is well.
pub(crate) fn check() -> Result<String> {
    Ok(complaints(&offences()?, &debt()?).join("\n"))
}

fn complaints(offences: &[Offence], debt: &BTreeMap<String, usize>) -> Vec<String> {
    let counts = counts(offences);
    let areas: BTreeSet<&String> = counts.keys().chain(debt.keys()).collect();
    let mut complaints = Vec::new();
    for area in areas {
        let count = counts.get(area).copied().unwrap_or(0);
        let allowed = debt.get(area).copied().unwrap_or(0);
        if count > allowed {
            complaints.push(format!("{area}: {count} banned names and phrases, {allowed} are allowed:"));
            let here = offences.iter().filter(|offence| offence.area == *area);
            complaints.extend(here.map(|Offence { at, what, .. }| format!("  {at}: {what}")));
        } else if count < allowed {
            complaints.push(format!(
                "{area}: {count} banned names and phrases are left of {allowed}: `cargo xtask language --update`"
            ));
        }
    }
    complaints
}

fn counts(offences: &[Offence]) -> BTreeMap<String, usize> {
    offences.iter().fold(BTreeMap::new(), |mut counts, offence| {
        *counts.entry(offence.area.clone()).or_insert(0) += 1;
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

/// The lines of a list, without comments and empty ones.
fn lines(name: &str) -> Result<Vec<String>> {
    let path = crate::root().join(LISTS).join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn offences() -> Result<Vec<Offence>> {
    let rules = Rules::read()?;
    let root = crate::root();
    let mut files = Vec::new();
    for folder in ["crates", "bench", "fuzz/fuzz_targets", "xtask", "docs", ".github"] {
        collect(&root.join(folder), &mut files)?;
    }
    let top = fs::read_dir(&root)?.filter_map(|entry| Some(entry.ok()?.path()));
    files.extend(top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    files.sort();

    let mut offences = Vec::new();
    let mut public: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if NOT_OURS.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let area = area(&name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let offend =
            |line: usize, what: String| Offence { area: area.clone(), at: format!("{name}:{line}"), what };
        let prose = if name.ends_with(".rs") {
            let source = text::read(&text);
            for declared in source.names {
                if rules.bans_name(&declared.name) {
                    offences.push(offend(declared.line, format!("the name `{}`", declared.name)));
                }
                if declared.is_public && !declared.is_module && name.contains("/src/") {
                    let places = public.entry(declared.name).or_default();
                    places.entry(area.clone()).or_insert_with(|| format!("{name}:{}", declared.line));
                }
            }
            source.prose
        } else {
            paragraphs(&text)
        };
        for (line, text) in prose {
            let found = rules.phrases_in(&text);
            offences.extend(found.map(|(phrase, instead)| {
                let advice = if instead.is_empty() { String::new() } else { format!(": {instead}") };
                offend(line, format!("\"{phrase}\"{advice}"))
            }));
        }
    }
    offences.extend(public.into_iter().filter_map(|(name, places)| {
        let libraries =
            places.iter().filter(|(area, _)| !["bench", "xtask", "mcast-cli"].contains(&area.as_str()));
        let libraries: Vec<_> = libraries.collect();
        let is_shared = libraries.len() > 1 && !rules.shared_names.contains(&name);
        is_shared.then(|| Offence {
            area: "shared-names".to_owned(),
            at: libraries.iter().map(|(_, at)| at.as_str()).collect::<Vec<_>>().join(", "),
            what: format!("the public type `{name}` in several crates"),
        })
    }));
    offences.sort();
    Ok(offences)
}

/// The crate that a file belongs to, or its folder.
fn area(name: &str) -> String {
    let mut parts = name.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("crates"), Some(krate), _) => krate.to_owned(),
        (Some(folder), Some(_), _) => folder.to_owned(),
        _ => "top".to_owned(),
    }
}

/// The paragraphs of a document, each with the number of its first line. Code blocks count: they show output.
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

/// Rust sources and Markdown below a folder.
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
            phrases: vec![("hand out".to_owned(), "deliver".to_owned())],
            allowed: vec!["a hand outside".to_owned(), "hand out alms".to_owned()],
            shared_names: BTreeSet::new(),
        }
    }

    #[test]
    fn phrases_are_found_as_whole_words() {
        let rules = rules();
        assert_eq!(rules.phrases_in("They Hand out messages").count(), 1);
        assert_eq!(rules.phrases_in("beforehand outside").count(), 0);
        assert_eq!(rules.phrases_in("hand output").count(), 0);
        assert_eq!(rules.phrases_in("hand out alms").count(), 0, "an idiom");
    }

    #[test]
    fn a_paragraph_is_read_across_its_lines() {
        let rules = rules();
        let paragraphs = paragraphs("# Title\n\nThey hand\nout.\n");
        assert_eq!(paragraphs[1], (3, "They hand out.".to_owned()));
        assert_eq!(rules.phrases_in(&paragraphs[1].1).count(), 1);
    }

    #[test]
    fn counts_may_fall_and_not_rise() {
        let offence = |line: u32| Offence {
            area: "mcast".into(),
            at: format!("crates/mcast/src/lib.rs:{line}"),
            what: "the name `Told`".into(),
        };
        let debt = |count| BTreeMap::from([("mcast".to_owned(), count)]);
        assert_eq!(complaints(&[offence(1)], &debt(1)), Vec::<String>::new());
        let more = complaints(&[offence(1), offence(2)], &debt(1));
        assert_eq!(more.len(), 3, "the area and both places: {more:?}");
        assert!(complaints(&[], &debt(1))[0].contains("--update"));
    }

    #[test]
    fn an_area_is_a_crate_or_a_folder() {
        assert_eq!(area("crates/mcast-lab/src/lib.rs"), "mcast-lab");
        assert_eq!(area("docs/how-to/wireless.md"), "docs");
        assert_eq!(area("README.md"), "top");
    }
}
