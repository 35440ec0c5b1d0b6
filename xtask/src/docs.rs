//! What is generated from the command's definitions. Man pages, shell completions, the guide's reference, its pages of
//! findings and its table of contents are written to `target/generated-docs`, for packages and the site. The schemas of
//! records, which reviews read, are committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, finish, program};
use crate::folder::files;
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::built;

/// The example of mcast-cli that generates them.
const GENERATOR: &str = "generate-docs";

/// Where they are generated, relative to the root.
const FOLDER: &str = "target/generated-docs";

/// The schemas of records, beside the types that they are made from.
const SCHEMAS: &str = "crates/front/mcast-cli/schemas";

/// The most words of the committed pages.
const MOST_WORDS: usize = 110_000;

/// Returns the folder with `man`, `completions`, `reference`, `findings`, `schemas` and `SUMMARY.md`.
pub(crate) fn folder() -> PathBuf {
    crate::root().join(FOLDER)
}

/// Generates everything, and then replaces what is committed. If the command does not compile, nothing has changed.
pub(crate) fn write() -> Result<bool> {
    generate()?;
    let (root, fresh) = (crate::root(), folder());
    for (name, bytes) in files(&fresh.join("schemas"))? {
        let into = root.join(SCHEMAS).join(name);
        fs::write(&into, bytes).with_context(|| format!("writing {}", into.display()))?;
    }
    anstream::println!("written: {}, {SCHEMAS}", fresh.display());
    Ok(true)
}

/// Generates everything with a generator that cargo builds.
pub(crate) fn generate() -> Result<()> {
    let head =
        ["run", "--quiet", "--package", "mcast-cli", "--features", "schema", "--example", GENERATOR, "--"];
    generate_by(cargo(head))
}

/// Generates everything, once, with the generator that the step `tests` builds; returns an outcome only if that fails.
pub(crate) fn generate_once() -> Result<Option<Outcome>> {
    // Steps of several lanes need the files, and must not write them at once.
    static GENERATED: Mutex<bool> = Mutex::new(false);
    let mut generated = GENERATED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*generated {
        match built::program(GENERATOR)? {
            Ok(generator) => generate_by(program(generator, [""; 0]))?,
            Err(failed) => return Ok(Some(failed)),
        }
        *generated = true;
    }
    Ok(None)
}

/// A step that fails if the files cannot be generated, or the committed ones are out of date.
pub(crate) fn step() -> Step {
    Step::new("docs", "the documentation is generated, and not too long; schemas are up to date", check)
}

fn check(_: &RunOptions) -> Result<Outcome> {
    if let Some(failed) = generate_once()? {
        return Ok(failed);
    }
    let (root, fresh) = (crate::root(), folder());
    // Which schemas there are is checked by a test of mcast-cli.
    let stale = differences(&files(&root.join(SCHEMAS))?, &files(&fresh.join("schemas"))?);
    if !stale.is_empty() {
        let stale = format!("out of date in {SCHEMAS}:\n{}\n", stale.join("\n"));
        return Ok(Outcome::failed("run `cargo xtask docs`", stale));
    }
    let words = words(&root.join("docs"))?;
    Ok(match words <= MOST_WORDS {
        true => Outcome::passed(format!("{words} words in docs")),
        false => Outcome::failed(
            format!("docs have more than {MOST_WORDS} words"),
            format!("docs have {words} words: shorten a page, or state each fact once and link to it\n"),
        ),
    })
}

/// Counts the words of the pages in a folder and in those below it.
fn words(folder: &Path) -> Result<usize> {
    let mut words = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            words += self::words(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            words += text.split_whitespace().count();
        }
    }
    Ok(words)
}

/// Runs a generator that writes into an empty folder.
fn generate_by(mut generator: Command) -> Result<()> {
    let into = folder();
    if into.exists() {
        fs::remove_dir_all(&into).with_context(|| format!("emptying {}", into.display()))?;
    }
    generator.args([&into, &into.join("schemas")]);
    let finished = finish(generator, false)?;
    if !finished.success {
        bail!("the command could not write its documentation ({}):\n{}", finished.status, finished.output);
    }
    Ok(())
}

/// The files of `fresh` that `committed` lacks, or has otherwise.
fn differences(committed: &BTreeMap<String, Vec<u8>>, fresh: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let changed = fresh.iter().filter_map(|(name, bytes)| match committed.get(name) {
        None => Some(format!("  missing  {name}")),
        Some(old) if old != bytes => Some(format!("  changed  {name}")),
        Some(_) => None,
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_changed_files_are_listed() {
        let tree = |files: &[(&str, &str)]| {
            files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let committed = tree(&[("ask.json", "a"), ("recv.json", "b"), ("send.json", "c")]);
        let fresh = tree(&[("ask.json", "a"), ("recv.json", "B"), ("top.json", "d")]);

        let stale = differences(&committed, &fresh);

        assert_eq!(stale, ["  changed  recv.json", "  missing  top.json"]);
    }

    #[test]
    fn words_of_all_pages_are_counted() {
        let folder = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        fs::create_dir_all(folder.join("how-to")).unwrap();
        for (name, text) in
            [("a.md", "two words\n"), ("how-to/b.md", "and\n\n| three | more |"), ("c.svg", "none")]
        {
            fs::write(folder.join(name), text).unwrap();
        }
        // The bars of a table count, as for `wc -w`.
        assert_eq!(words(&folder).unwrap(), 8);
        fs::remove_dir_all(&folder).unwrap();
    }
}
