//! What is generated from the command's definitions. Man pages, shell completions, the guide's reference and its table of
//! contents are written to `target/generated-docs`, for packages and the site. The pages of findings and the schemas of
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

/// The generated folder of which a copy is committed under `docs/`.
const FINDINGS: &str = "findings";

/// The schemas of records, beside the types that they are made from.
const SCHEMAS: &str = "crates/front/mcast-cli/schemas";

/// Returns the folder with `man`, `completions`, `reference`, `findings`, `schemas` and `SUMMARY.md`.
pub(crate) fn folder() -> PathBuf {
    crate::root().join(FOLDER)
}

/// Generates everything, and then replaces what is committed, without pages of findings that no longer exist. If the command
/// does not compile, nothing has changed.
pub(crate) fn write() -> Result<bool> {
    generate()?;
    let (root, fresh) = (crate::root(), folder());
    let committed = root.join("docs").join(FINDINGS);
    replace(&committed, &fresh.join(FINDINGS))?;
    for (name, bytes) in files(&fresh.join("schemas"))? {
        let into = root.join(SCHEMAS).join(name);
        fs::write(&into, bytes).with_context(|| format!("writing {}", into.display()))?;
    }
    anstream::println!("written: {}, docs/{FINDINGS}, {SCHEMAS}", fresh.display());
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
    Step::new(
        "docs",
        "manual, completions and reference are generated; findings and schemas are up to date",
        check,
    )
}

fn check(_: &RunOptions) -> Result<Outcome> {
    if let Some(failed) = generate_once()? {
        return Ok(failed);
    }
    let (root, fresh) = (crate::root(), folder());
    let findings = differences(&files(&root.join("docs").join(FINDINGS))?, &files(&fresh.join(FINDINGS))?);
    // Which schemas there are is checked by a test of mcast-cli.
    let schemas = differences(&files(&root.join(SCHEMAS))?, &files(&fresh.join("schemas"))?);
    let stale: Vec<_> =
        findings.into_iter().chain(schemas.into_iter().filter(|line| !line.starts_with(SURPLUS))).collect();
    Ok(match stale.is_empty() {
        true => Outcome::passed(""),
        false => Outcome::failed(
            "run `cargo xtask docs`",
            format!("out of date in docs/{FINDINGS} and {SCHEMAS}:\n{}\n", stale.join("\n")),
        ),
    })
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

/// Writes the files of `fresh` that `committed` lacks, or has otherwise, and removes the others.
fn replace(committed: &Path, fresh: &Path) -> Result<()> {
    let (old, new) = (files(committed)?, files(fresh)?);
    for gone in old.keys().filter(|name| !new.contains_key(*name)) {
        let path = committed.join(gone);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    for (name, bytes) in new.iter().filter(|(name, bytes)| old.get(*name) != Some(bytes)) {
        let path = committed.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The mark of a committed file that is not generated.
const SURPLUS: &str = "  surplus";

fn differences(committed: &BTreeMap<String, Vec<u8>>, fresh: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let changed = fresh.iter().filter_map(|(name, bytes)| match committed.get(name) {
        None => Some(format!("  missing  {name}")),
        Some(old) if old != bytes => Some(format!("  changed  {name}")),
        Some(_) => None,
    });
    let gone = committed.keys().filter(|name| !fresh.contains_key(*name));
    changed.chain(gone.map(|name| format!("{SURPLUS}  {name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_files_are_replaced_by_generated_ones() {
        let folder = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        let (committed, fresh) = (folder.join("committed"), folder.join("fresh"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, text) in [("a.md", "old"), ("gone.md", "x")] {
            write(committed.join(name), text);
        }
        for (name, text) in [("a.md", "new"), ("b.md", "b")] {
            write(fresh.join(name), text);
        }
        replace(&committed, &fresh).unwrap();
        assert_eq!(files(&committed).unwrap(), files(&fresh).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn missing_changed_and_surplus_files_are_listed() {
        let tree = |files: &[(&str, &str)]| {
            files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let committed = tree(&[("mcast.1", "a"), ("mcast-recv.1", "b"), ("mcast-old.1", "c")]);
        let fresh = tree(&[("mcast.1", "a"), ("mcast-recv.1", "B"), ("mcast-new.1", "d")]);

        let stale = differences(&committed, &fresh);

        assert_eq!(stale, ["  missing  mcast-new.1", "  changed  mcast-recv.1", "  surplus  mcast-old.1"]);
    }
}
